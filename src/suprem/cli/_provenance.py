"""What a training knows of itself, for the model card of what it exports."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer

from suprem.datamodules.ct import CTDataModule
from suprem.tasks.base import BaseTask
from suprem.zoo import Provenance, used_datasets

__all__ = ["provenance"]


def provenance(
    task: BaseTask, data: CTDataModule, trainer: Trainer, config: Mapping[str, Any], seconds: float
) -> Provenance:
    """Data, procedure and scores of a run that has ended.

    Args:
        task: with its best weights.
        data: what it was trained on.
        trainer: that trained it.
        config: the resolved configuration of the run.
        seconds: how long it took.
    """
    datasets, digest = used_datasets(case.record for case in data.split.train)
    settings, optimisation = config["data"], task.optimisation
    procedure: dict[str, Any] = {
        "steps": f"{trainer.global_step:,}",
        "epochs": trainer.current_epoch,
        "patches per step": settings["batch_size"] * trainer.world_size * trainer.accumulate_grad_batches,
        "augmentation": settings.get("augmentation", "none"),
        "learning rate": f"{optimisation.learning_rate:g}",
        "weight decay": f"{optimisation.weight_decay:g}",
        "precision": str(trainer.precision),
        **_of_task(task),
        "averaged weights": "no" if config["ema"] is None else f"decay {config['ema']:g}",
        "seed": settings["seed"],
        "duration": f"{seconds / 3600:.2f} h on {trainer.world_size} x {trainer.strategy.root_device.type}",
    }
    scores, validation = getattr(task, "scores", ()), data.split.val
    names = sorted({case.record.dataset for case in validation})
    optimistic = "The scores are from the cases that selected these weights, so they are optimistic."
    return Provenance(
        datasets=datasets,
        cases_sha256=digest,
        procedure={name: str(value) for name, value in procedure.items()},
        scores=scores,
        scored_on=f"{len(validation)} validation cases of {', '.join(names)}" if scores else "",
        limits=(optimistic,) if scores else (),
    )


def _of_task(task: Any) -> dict[str, str]:
    """Which parameters were trained, or by which proxies."""
    if hasattr(task, "proxies"):
        return {"supervision": f"none: {', '.join(task.proxies)}"}
    return {"supervision": "masks", "trained parameters": task.strategy}

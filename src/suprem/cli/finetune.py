"""``suprem finetune``: from pre-trained weights to a model of one's own classes."""

import typer

__all__ = ["finetune"]

PARSES_ITS_WORDS = True

_DEFAULTS = {
    "model.init": "unet.suprem_2100",
    "model.prior": 0.02,
    "trainer.max_epochs": 200,
    "out": "runs/finetune",
}


def finetune(context: typer.Context) -> None:
    """Train pre-trained weights further on data of your own; `suprem finetune --help` lists all settings.

    For instance: suprem finetune --data.dataset folder --data.root DIR --classes [liver,spleen]. The data are prepared
    first; the best model is exported to runs/finetune/model, which `suprem predict` takes.
    """
    from suprem.cli._training import fit

    fit("finetune", context.args, _DEFAULTS)

"""``suprem pretrain``: supervised pre-training from random weights."""

import typer

__all__ = ["pretrain"]

PARSES_ITS_WORDS = True

_DEFAULTS = {
    "model.backbone": "unet",
    "model.optimisation": {"learning_rate": 1e-3, "warmup_epochs": 20},
    "trainer.max_epochs": 800,
    "out": "runs/pretrain",
}


def pretrain(context: typer.Context) -> None:
    """Train a network from random weights on stores; `suprem pretrain --help` lists all settings.

    Defaults are the paper's: U-Net, AdamW with a peak of 1e-3, warm-up over 20 of 800 epochs. A YAML file given with
    --config sets any of them, and --print_config shows all.
    """
    from suprem.cli._training import fit

    fit("pretrain", context.args, _DEFAULTS)

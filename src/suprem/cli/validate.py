"""``suprem validate``: the Dice coefficients of a checkpoint or of pre-trained weights."""

import typer

__all__ = ["validate"]

PARSES_ITS_WORDS = True


def validate(context: typer.Context) -> None:
    """Score a run on its validation cases; `suprem validate --help` lists all settings.

    For instance: suprem validate --config runs/finetune/config.yaml --ckpt_path runs/finetune/best.ckpt
    """
    from suprem.cli._training import validate as run

    run(context.args)

"""``suprem pretrain-self``: self-supervised pre-training, from scans without labels."""

import typer

__all__ = ["pretrain_self"]

PARSES_ITS_WORDS = True

_DEFAULTS = {
    "model.backbone": "swinunetr",
    "model.optimisation": {"learning_rate": 4e-4, "warmup_steps": 500},
    "trainer.max_epochs": 800,
    "out": "runs/pretrain-self",
}


def pretrain_self(context: typer.Context) -> None:
    """Train a network on scans without labels; `suprem pretrain-self --help` lists all settings.

    For instance: suprem pretrain-self --data.stores STORE. Defaults are Swin UNETR with masked inpainting, rotation and
    contrastive coding; --model.backbone unet --model.proxies [restoration] is Models Genesis. What was learned goes to
    runs/pretrain-self/model, which `suprem finetune --model.init local-dir:...` takes.
    """
    from suprem.cli._self_supervised import fit

    fit("pretrain-self", context.args, _DEFAULTS)

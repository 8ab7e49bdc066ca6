"""``suprem train-classifier``: from pre-trained weights to a decision per scan or lesion."""

import typer

__all__ = ["train_classifier"]

PARSES_ITS_WORDS = True

_DEFAULTS = {
    "model.init": "unet.suprem_2100",
    "model.optimisation": {"head_rate": 10.0},
    "trainer.max_epochs": 100,
    "out": "runs/classifier",
}


def train_classifier(context: typer.Context) -> None:
    """Train a classifier of scans or lesions; `suprem train-classifier --help` lists all settings.

    For instance: suprem train-classifier --data.stores STORE --data.table categories.csv --data.region pancreas.
    The table has the columns case and category. Probabilities of the validation cases go to
    runs/classifier/predictions.csv.
    """
    from suprem.cli._classifier import fit

    fit("train-classifier", context.args, _DEFAULTS)

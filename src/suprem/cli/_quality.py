"""How much work a prediction is worth: what the commands that predict have in common."""

from typing import Annotated, Literal

import typer

__all__ = ["Overlap", "Precision", "Quality"]

Quality = Literal["fast", "balanced", "exhaustive"]
"""Names of :data:`suprem.inference.levels.LEVELS`, said again because that package is slow to import."""

Precision = Literal["float32", "bfloat16"]
"""The same of :data:`suprem.inference.predictor.PrecisionName`."""

Overlap = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=0.95,
        show_default=False,
        help="Least fraction of the trained window that neighbours share; default: that of --quality.",
    ),
]

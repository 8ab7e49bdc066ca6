"""How much of a scan is put through the network: three named levels of quality, and what each of them means."""

from dataclasses import dataclass
from typing import Literal

from suprem.errors import ConfigurationError

__all__ = ["LEVELS", "QualityLevel", "QualityName", "quality_level"]

QualityName = Literal["fast", "balanced", "exhaustive"]


@dataclass(frozen=True)
class QualityLevel:
    """What a level of quality asks for.

    Attributes:
        overlap: least fraction of a window of the trained size that neighbours share along each axis. Longer windows
            share as many voxels, so that no voxel is decided nearer to a border than with the trained size.
        fitted: windows lie evenly where the body is, and nothing is labelled outside of it; otherwise they lie over the
            whole volume, where MONAI's sliding-window inference has them.
        growth: how many times longer than the trained window a window may be along each axis, where that saves work.
        bulk: and how many times as many voxels it may have,
        lone_bulk: the same where, along an axis, one such window does what takes several of the trained size. There
            nothing is averaged, which costs more the larger the window is.
    """

    overlap: float
    fitted: bool
    growth: float = 1.0
    bulk: float = 1.0
    lone_bulk: float = 1.0

    def limits(self, share: float = 1.0) -> dict[str, float]:
        """What :func:`~suprem.inference.windows.best_window` is told, with only a share of the growth."""
        limits = {"growth": self.growth, "bulk": self.bulk, "lone_bulk": self.lone_bulk}
        return {name: 1 + share * (most - 1) for name, most in limits.items()}


LEVELS: dict[str, QualityLevel] = {
    "fast": QualityLevel(overlap=0.25, fitted=True, growth=1.25, bulk=1.6, lone_bulk=1.4),
    "balanced": QualityLevel(overlap=0.5, fitted=True, growth=1.25, bulk=1.6, lone_bulk=1.4),
    "exhaustive": QualityLevel(overlap=0.5, fitted=False),
}
"""Name -> what it asks for, from the quickest to the most thorough."""


def quality_level(name: str) -> QualityLevel:
    """The level called ``name``.

    Raises:
        ConfigurationError: no level is called that.

    Example:
        >>> quality_level("exhaustive").overlap
        0.5
    """
    if name not in LEVELS:
        raise ConfigurationError(f"quality is {name!r}; it must be one of {', '.join(map(repr, LEVELS))}.")
    return LEVELS[name]

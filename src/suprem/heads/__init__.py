"""Heads that turn backbone features into logits, one file per head; listing their names imports no torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from suprem._registry import Registry

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["HEADS"]

HEADS: Registry[Callable[["SegmentationNetwork", int], "SegmentationNetwork"]] = Registry("head", "suprem.heads")
"""Functions ``(backbone with its own output convolution, num_classes) -> network``, one per public module."""

"""Segmentation networks, one file per architecture; listing their names imports no torch."""

from suprem.backbones._create import BACKBONES, create_model, list_backbones

__all__ = ["BACKBONES", "create_model", "list_backbones"]

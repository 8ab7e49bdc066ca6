"""Seeds that the bundled checkpoint and the baseline have seen; everything else is unseen."""

__all__ = ["TRAINING_SEEDS", "VALIDATION_SEEDS"]

TRAINING_SEEDS = range(1000, 1080)
"""Phantoms the bundled checkpoint ``segresnet_tiny.phantom`` and the baseline were fitted on."""

VALIDATION_SEEDS = range(2000, 2004)
"""Phantoms watched during that training."""

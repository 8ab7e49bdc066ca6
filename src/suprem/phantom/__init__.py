"""Synthetic abdominal CT with known truth, for tests, demonstrations and the bundled checkpoint."""

from suprem.phantom.generator import PhantomCase, generate, phantom_table
from suprem.phantom.seeds import TRAINING_SEEDS, VALIDATION_SEEDS

__all__ = ["TRAINING_SEEDS", "VALIDATION_SEEDS", "PhantomCase", "generate", "phantom_table"]

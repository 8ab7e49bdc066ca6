"""Checks of what goes into a prediction or a training: scans, stores, checkpoints and the environment."""

from suprem.doctor.diagnosis import EXIT_CODES, Diagnosis, Target, diagnose, exit_code, find_targets
from suprem.doctor.tables import CHECKS

__all__ = ["CHECKS", "EXIT_CODES", "Diagnosis", "Target", "diagnose", "exit_code", "find_targets"]

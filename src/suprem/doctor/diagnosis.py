"""From the words of a user to what is examined, and what was found there."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from suprem._files import parse_size
from suprem.doctor._checkpoints import checkpoint_symptoms
from suprem.doctor._scans import scan_symptoms
from suprem.doctor._stores import store_symptoms
from suprem.errors import ConfigurationError
from suprem.volumes._remote import is_remote
from suprem.volumes.scans import ScanInput, find_scans
from suprem.volumes.symptoms import Severity, Symptom, worst

__all__ = ["ENVIRONMENT", "EXIT_CODES", "Diagnosis", "Kind", "Target", "diagnose", "exit_code", "find_targets"]

Kind = Literal["scan", "environment", "store", "checkpoint"]

ENVIRONMENT = "env"
"""The word for the environment."""

EXIT_CODES: Mapping[Severity | None, int] = MappingProxyType({None: 0, "info": 0, "warning": 3, "error": 1})
"""Worst severity -> exit code; as everywhere, 2 means bad arguments."""

_SCHEMES = ("local-dir:", "local-file:", "hf-hub:")
_WEIGHTS = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")


@dataclass(frozen=True)
class Target:
    """One thing to examine.

    Attributes:
        name: what reports call it.
        kind: ``"scan"``, ``"environment"``, ``"store"`` or ``"checkpoint"``.
        place: path, address or name of a checkpoint.
        scan: of a scan, how it is read.
    """

    name: str
    kind: Kind
    place: str
    scan: ScanInput | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        target: where.
        symptoms: an empty tuple where everything is as it should be.
    """

    target: Target
    symptoms: tuple[Symptom, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "target": self.target.name,
            "kind": self.target.kind,
            "place": self.target.place,
            "worst": worst(self.symptoms),
            "symptoms": [symptom.to_dict() for symptom in self.symptoms],
        }


def find_targets(words: Sequence[str]) -> list[Target]:
    """What the words mean.

    A word is, in this order: ``env``; a checkpoint (a name of ``suprem zoo list``, ``local-dir:``, ``local-file:``,
    ``hf-hub:``, a file of weights, a published folder); a store (a folder with ``store.json``, an address); else scans,
    as :func:`~suprem.volumes.scans.find_scans` takes them.

    Args:
        words: none means the environment.

    Raises:
        ConfigurationError: a word is none of these.

    Example:
        >>> [target.kind for target in find_targets(["env", "segresnet_tiny.phantom", "s3://bucket/store"])]
        ['environment', 'checkpoint', 'store']
    """
    found: list[Target] = []
    for word in words or (ENVIRONMENT,):
        found += _targets(word)
    return found


def _targets(word: str) -> list[Target]:
    from suprem.zoo.card import list_checkpoints

    path = Path(word)
    if word.lower() == ENVIRONMENT and not os.path.exists(path):
        return [Target("environment", "environment", word)]
    if word.startswith(_SCHEMES) or word in list_checkpoints():
        return [Target(word, "checkpoint", word)]
    if is_remote(word):
        return [Target(word, "store", word)]
    if path.is_file() and path.name.lower().endswith(_WEIGHTS):
        return [Target(word, "checkpoint", f"local-file:{word}")]
    if (path / "model.safetensors").is_file() or (path / "config.json").is_file():
        return [Target(word, "checkpoint", f"local-dir:{word}")]
    if (path / "store.json").is_file():
        return [Target(word, "store", word)]
    if not os.path.exists(path):
        raise ConfigurationError(
            f"{word!r} is no scan, store or folder that exists, and no checkpoint of `suprem zoo list`; check the "
            f"path, or write {ENVIRONMENT!r} for the environment."
        )
    return [Target(scan.case_id, "scan", str(scan.path), scan) for scan in find_scans(path)]


def diagnose(
    target: Target, *, max_ram: str | int | None = "4GiB", series: str | int | None = None, cases: int = 3
) -> Diagnosis:
    """Examines one target.

    Args:
        target: as :func:`find_targets` gives it.
        max_ram: of scans: memory that prediction may take; ``None`` for no limit.
        series: of DICOM folders: which series.
        cases: of stores: how many cases to read.

    Raises:
        ConfigurationError: ``max_ram`` is no size, or ``cases`` is negative.
    """
    if max_ram is not None:
        parse_size(max_ram)
    if cases < 0:
        raise ConfigurationError(f"cases is {cases}; it must be 0 or more.")
    symptoms: Iterable[Symptom]
    if target.scan is not None:
        symptoms = scan_symptoms(target.scan, max_ram, series)
    elif target.kind == "store":
        symptoms = store_symptoms(target.place, cases)
    elif target.kind == "checkpoint":
        symptoms = checkpoint_symptoms(target.place)
    else:
        from suprem.doctor._environment import environment_symptoms

        symptoms = environment_symptoms()
    return Diagnosis(target, tuple(symptoms))


def exit_code(diagnoses: Iterable[Diagnosis]) -> int:
    """0 where nothing or only information was found, 3 with warnings, 1 with errors."""
    return EXIT_CODES[worst(symptom for diagnosis in diagnoses for symptom in diagnosis.symptoms)]

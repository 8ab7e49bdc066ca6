"""What checks of scans, stores, checkpoints and the environment find: one sentence each, and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

__all__ = ["SEVERITIES", "Meaning", "Severity", "Symptom", "worst"]

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the mildest: ``"info"`` is good to know, ``"warning"`` makes results doubtful, ``"error"`` makes them wrong or
impossible."""


@dataclass(frozen=True)
class Meaning:
    """What one kind of symptom says, whatever its numbers.

    Attributes:
        severity: how much it matters.
        meaning: what is found, in a few words.
        advice: what to do, a sentence.
    """

    severity: Severity
    meaning: str
    advice: str


@dataclass(frozen=True)
class Symptom:
    """One thing that was found.

    Attributes:
        code: its kind, a key of the table of the check that found it.
        severity: ``"info"``, ``"warning"`` or ``"error"``.
        text: a sentence with the measured values.
        advice: what to do, a sentence.
    """

    code: str
    severity: Severity
    text: str
    advice: str

    @classmethod
    def of(cls, table: Mapping[str, Meaning], code: str, text: str) -> "Symptom":
        """A symptom whose severity and advice stand in a table; a code that does not is a KeyError of the caller's."""
        return cls(code, table[code].severity, text, table[code].advice)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity}: {self.text} {self.advice} [{self.code}]"


def worst(symptoms: Iterable[Symptom]) -> Severity | None:
    """The highest severity, ``None`` where nothing was found.

    Example:
        >>> worst([Symptom("metal", "warning", "Metal.", "Look."), Symptom("phase", "info", "Phase.", "")])
        'warning'
    """
    return max((symptom.severity for symptom in symptoms), key=SEVERITIES.index, default=None)

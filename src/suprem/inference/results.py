"""What a run over many scans tells while it goes on, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from suprem.volumes.scans import ScanInput
from suprem.volumes.symptoms import Symptom

if TYPE_CHECKING:
    from suprem.inference.memory import Plan

__all__ = ["CaseResult", "Reporter", "RunResult"]


@dataclass(frozen=True)
class CaseResult:
    """How one case ended.

    Attributes:
        case_id: name of the case and its folder.
        input: the scan's path.
        status: ``"done"``, ``"skipped"`` (finished by an earlier run) or ``"failed"``.
        folder: where its results are; ``None`` if it failed.
        seconds: from the start of reading to the end of writing.
        found: structures with at least one voxel, in the order of the classes.
        flags: structure -> its quality flags, see :class:`suprem.quality.Finding`; structures without are left out.
        error: what was wrong, ``None`` unless it failed.
        error_type: class of the error.
    """

    case_id: str
    input: str
    status: Literal["done", "skipped", "failed"]
    folder: str | None = None
    seconds: float = 0.0
    found: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None
    error_type: str | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        cases: one result per scan, in the order they ended.
        manifest: content of the run's ``manifest.json``.
    """

    cases: tuple[CaseResult, ...]
    manifest: Mapping[str, Any]

    def count(self, status: str) -> int:
        """Cases that ended with ``status``."""
        return sum(case.status == status for case in self.cases)


class Reporter:
    """Is told what happens during a run, always from the calling thread; this one keeps silent."""

    def started(self, scan: ScanInput) -> None:
        """The network starts on a scan."""

    def checked(self, scan: ScanInput, symptoms: Sequence[Symptom]) -> None:
        """What :func:`~suprem.volumes.scan_checks.check_scan` found in the scan."""

    def planned(self, scan: ScanInput, plan: "Plan") -> None:
        """It is known how the scan will be run and the memory that takes."""

    def windows(self, scan: ScanInput, done: int, total: int) -> None:
        """So many windows of the scan are done."""

    def ended(self, result: CaseResult) -> None:
        """A case was written, skipped, or failed."""

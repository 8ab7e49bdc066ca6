"""Progress on standard error."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from suprem.inference.folder import CaseResult, Reporter
from suprem.quality import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from suprem.inference.memory import Plan
    from suprem.volumes.scans import ScanInput
    from suprem.volumes.symptoms import Symptom

__all__ = ["CountBar", "Display", "stderr_console"]


def stderr_console() -> "Console":
    """Standard error, without wrapping or colouring what programs may parse."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class Display(Reporter):
    """Progress on standard error: bars on a terminal, one line per case everywhere."""

    def __init__(self, console: "Console", count: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console, self._count, self._ended = console, count, 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._cases = self._progress.add_task("scans", total=count)
        self._windows = self._progress.add_task("windows", total=None, visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def checked(self, scan: "ScanInput", symptoms: "Sequence[Symptom]") -> None:
        """Prints what makes a scan doubtful; the manifest has the rest."""
        for symptom in symptoms:
            if symptom.severity != "info":
                self._console.print(f"{scan.case_id}: {symptom}")

    def planned(self, scan: "ScanInput", plan: "Plan") -> None:
        """Prints the plan."""
        lines = plan.describe().splitlines()
        # What each GiB is for, once; it is much the same for the scans that follow.
        shown = lines if self._ended == 0 else lines[:2]
        self._console.print("\n".join([f"{scan.case_id}: {shown[0]}", *shown[1:]]))

    def windows(self, scan: "ScanInput", done: int, total: int) -> None:
        """Moves the bar of the scan at hand."""
        self._progress.update(
            self._windows, description=scan.case_id, completed=done, total=total, visible=done < total
        )

    def ended(self, result: CaseResult) -> None:
        """Prints how a case ended."""
        self._ended += 1
        self._progress.advance(self._cases)
        head = f"[{self._ended}/{self._count}] {result.case_id}: {result.status}"
        if result.status == "failed":
            self._console.print(f"{head}: {result.error}")
        elif result.status == "done":
            found = f"{len(result.found)} structures found, {in_words(result.flags)}"
            self._console.print(f"{head} in {result.seconds:.1f} s, {found}")
        else:
            self._console.print(f"{head}, finished by an earlier run")


class CountBar:
    """A bar that counts cases on standard error, where that is a terminal."""

    def __init__(self, name: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = stderr_console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._cases = self._bar.add_task(name, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def ended(self, case: str, count: int) -> None:
        """One more of so many cases."""
        self._bar.update(self._cases, advance=1, total=count, description=case)

"""Progress of work on many cases, on standard error."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CaseBar", "EndedStep"]


class EndedStep(Protocol):
    """What is shown of a case that has ended."""

    @property
    def case(self) -> str:
        """Its name."""

    @property
    def reason(self) -> str | None:
        """Why it failed, ``None`` when it did not."""

    @property
    def done(self) -> int:
        """Cases that have ended."""

    @property
    def total(self) -> int:
        """Cases that there are to do."""


class CaseBar:
    """A bar with rate and remaining time on a terminal, one line per case elsewhere; failures show on both."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._cases = self._bar.add_task("cases", total=None, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def ended(self, step: EndedStep) -> None:
        """Shows that a case has ended."""
        speed = self._bar.tasks[0].speed
        rate = f"{60 * speed:.1f}/min" if speed else ""
        self._bar.update(self._cases, completed=step.done, total=step.total, rate=rate)
        if step.reason is not None or not self._console.is_terminal:
            outcome = "done" if step.reason is None else f"failed: {step.reason}"
            self._console.print(f"[{step.done}/{step.total}] {step.case}: {outcome}")

"""What happened to each tensor when weights were loaded."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LoadReport"]

_SHOWN = 6


@dataclass(frozen=True)
class LoadReport:
    """The record that :func:`suprem.load_pretrained` leaves on the network.

    Every tensor of the network is in ``loaded`` or ``initialised``.

    Attributes:
        source: what was asked for.
        path: the file that was read.
        sha256: its digest.
        container: key of the file that held the tensors; ``None`` for a flat file.
        loaded: own names filled from the file.
        renamed: name in the file -> own name, where they differ.
        adapted: of ``loaded``, those repeated for more input channels, and position tables fitted to a patch size.
        dropped: names in the file that were not used.
        initialised: own names that hold, at least in some rows, fresh random values.
        kept_classes: classes whose output comes from the file.
        new_classes: classes whose output is fresh and has to be trained.
        notes: what a user should know.
    """

    source: str
    path: str
    sha256: str
    container: str | None
    loaded: tuple[str, ...]
    renamed: Mapping[str, str]
    adapted: tuple[str, ...]
    dropped: tuple[str, ...]
    initialised: tuple[str, ...]
    kept_classes: tuple[str, ...]
    new_classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """A few lines for people."""
        total = len(set(self.loaded) | set(self.initialised))
        lines = [
            f"{self.source}: {len(self.loaded)} of {total} tensors loaded from {self.path} "
            f"(SHA-256 {self.sha256[:12]}...)",
            f"  renamed {len(self.renamed)}, dropped {_listed(self.dropped)}, initialised {_listed(self.initialised)}",
        ]
        if self.adapted:
            lines.append(f"  fitted to the input channels or the patch size: {', '.join(self.adapted)}")
        if self.new_classes:
            lines.append(f"  kept classes: {', '.join(self.kept_classes) or 'none'}")
            lines.append(f"  new classes, to be trained: {', '.join(self.new_classes)}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"

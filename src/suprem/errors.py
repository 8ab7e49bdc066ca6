"""Every error that `suprem` raises on purpose.

Each class also inherits the built-in exception it refines, so ``except ValueError`` keeps working. Messages say what is
wrong, with the value, and what to do next; the command line prints the message alone.
"""

import difflib
import reprlib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DicomError",
    "HubError",
    "IntegrityError",
    "LabelSpaceError",
    "OfflineError",
    "OutputError",
    "RemoteError",
    "SupremError",
    "TrainingError",
    "UnknownNameError",
    "UnsafeFileError",
    "VolumeError",
    "brief",
    "did_you_mean",
    "first_line",
]


class SupremError(Exception):
    """Base class of all errors raised on purpose."""


class ConfigurationError(SupremError, ValueError):
    """An argument or a combination of arguments that cannot work."""


class UnknownNameError(SupremError, ValueError):
    """A name that no registry holds; the message offers the closest ones."""


class LabelSpaceError(SupremError, ValueError):
    """A label value or class that does not exist in the label space at hand."""


class VolumeError(SupremError, ValueError):
    """An image that cannot be read, or is not the three-dimensional CT that is needed."""


class DicomError(VolumeError):
    """A DICOM folder that is not one complete, regular CT series."""


class CheckpointError(SupremError, ValueError):
    """Weights that are damaged, incomplete, or made for another network."""


class UnsafeFileError(SupremError, ValueError):
    """A file that would execute code or write outside its folder when read."""


class HubError(SupremError, OSError):
    """The model hub refused, failed, or sent something else than announced."""


class OfflineError(HubError):
    """The file is not cached and the hub cannot be reached."""


class IntegrityError(HubError):
    """A downloaded or stored file differs in size or hash from what was announced."""


class RemoteError(SupremError, OSError):
    """A store on another machine that cannot be read."""


class TrainingError(SupremError, ArithmeticError):
    """A training that cannot go on, such as one whose loss is no number."""


class OutputError(SupremError, OSError):
    """Results that cannot be written."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence that rejects ``name`` and offers the closest known names.

    Example:
        >>> did_you_mean("structure", "livr", ["liver", "spleen"])
        "Unknown structure 'livr'; did you mean 'liver'?"
    """
    names = sorted(known)
    # Comparing takes the product of the lengths, and no name of anything is that long.
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6) if len(name) <= _LONGEST else []
    if close:
        return f"Unknown {kind} {name!r}; did you mean {' or '.join(repr(c) for c in close)}?"
    shown = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
    return f"Unknown {kind} {brief(name)}; known: {shown or 'none'}."


def first_line(error: BaseException) -> str:
    r"""What a library said, without the lines that follow, and cut: it may repeat what stands in a file.

    Example:
        >>> first_line(ValueError("no header\nin 7 bytes")), first_line(ValueError())
        ('no header', 'ValueError')
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    shown = "".join(character if character.isprintable() else " " for character in line[:_LONGEST])
    return shown + "..." * (len(line) > _LONGEST)


def brief(value: object) -> str:
    """The representation of a value from a file, cut where it becomes long or deep; a file may hold anything.

    Example:
        >>> brief("livr"), len(brief("x" * 10**6)) < 300
        ("'livr'", True)
    """
    return _BRIEF.repr(value)


_LONGEST = 200
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _LONGEST
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 10
_BRIEF.maxlevel = 3

"""Looks for what could tell who a patient is: in headers of images, in tables, and in names."""

import gzip
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from suprem.errors import ConfigurationError, brief
from suprem.volumes._nifti_header import header_dtype

__all__ = ["Finding", "check_free_of_identifiers", "header_findings", "identifying", "text_findings"]

_PATTERNS = (
    ("a date", re.compile(r"(?<!\d)(19|20)\d\d[-_./]?(0[1-9]|1[0-2])[-_./]?(0[1-9]|[12]\d|3[01])(?!\d)")),
    ("a date", re.compile(r"(?<!\d)(0?[1-9]|[12]\d|3[01])[-_./](0?[1-9]|1[0-2])[-_./](19|20)\d\d(?!\d)")),
    ("a long number, as of a patient or an examination", re.compile(r"(?<![\d.])\d{6,}(?![\d.])")),
    ("a name as DICOM writes it", re.compile(r"[^\W\d_]+\^[^\W\d_]+")),
    ("a unique identifier of DICOM", re.compile(r"(?<![\d.])[0-2](\.\d+){5,}")),
    ("an address for mail", re.compile(r"[\w.+-]+@[\w-]+\.\w+")),
    ("a path on a machine", re.compile(r"(^|[\s\"'=:])(/[\w.-]+){2,}|[A-Za-z]:\\\w|\\\\\w+\\")),
)
_HASH = re.compile(r"((?<=@)|(?<![^\W_])(?=[0-9a-f]*[a-f]))[0-9a-f]{12,64}(?![^\W_])")
"""Commits and digests, in which any number may occur."""
_TEXTS = ("unused", "descrip", "aux_file", "intent_name")
_HEADER, _DATA = 348, 352
_NAMED = 0x02 | 0x04 | 0x08 | 0x10  # gzip: header checksum, extra field, name, comment
_SHORTEST = 3
"""Private names of fewer characters, such as case 1, would be found everywhere."""


@dataclass(frozen=True)
class Finding:
    """Something that could identify a patient or a person.

    Attributes:
        place: the file, and where in it.
        text: what was found.
        reason: what it looks like.
    """

    place: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {brief(self.text)} looks like {self.reason}"


def identifying(text: str) -> list[tuple[str, str]]:
    """The parts of a text that could identify somebody, each with what it looks like.

    Example:
        >>> identifying("liver_tumor"), identifying("DOE^JANE 1961-02-28")
        ([], [('1961-02-28', 'a date'), ('DOE^JANE', 'a name as DICOM writes it')])
    """
    text, found = _HASH.sub(" ", text), dict[str, str]()
    for reason, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            found.setdefault(match[0].strip(), reason)
    return list(found.items())


def header_findings(path: Path) -> list[Finding]:
    """What a NIfTI file, compressed or not, carries besides voxels and geometry.

    Texts of the header, extensions, and the name and time that gzip can keep.

    Raises:
        ConfigurationError: it is no NIfTI-1 file.
    """
    start, findings = _beginning(path)
    order = "<" if int.from_bytes(start[:4], "little") == _HEADER else ">"
    header_type = header_dtype(1, order)
    if len(start) < _DATA or int.from_bytes(start[:4], "little" if order == "<" else "big") != _HEADER:
        raise ConfigurationError(f"{path} is no NIfTI-1 file; remove it, or release again.")
    position = 0
    for name in header_type.names or ():
        size = header_type[name].itemsize
        content = start[position : position + size].strip(b"\0 ")
        position += size
        if name in _TEXTS and content not in (b"", b"r"):  # the format asks for an r at the end of the unused part
            text = content.decode("utf-8", "backslashreplace")
            findings.append(Finding(f"{path.name}, header field {name}", text, "a text that is not needed"))
    if any(start[_HEADER:_DATA]):
        findings.append(Finding(f"{path.name}, header", "extension", "further content beside the voxels"))
    return findings


def _beginning(path: Path) -> tuple[bytes, list[Finding]]:
    """The first bytes, decompressed, and what the gzip header tells."""
    with path.open("rb") as file:
        raw = file.read(_DATA)
    if raw[:2] != b"\x1f\x8b":
        return raw, []
    findings = []
    if len(raw) > 3 and raw[3] & _NAMED:
        findings.append(Finding(f"{path.name}, gzip header", raw[10:60].decode("ascii", "replace"), "a file's name"))
    if any(raw[4:8]):
        findings.append(Finding(f"{path.name}, gzip header", raw[4:8].hex(), "the time of a file"))
    try:
        with gzip.open(path, "rb") as packed:
            return packed.read(_DATA), findings
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConfigurationError(f"{path} is damaged: {error}; release again.") from error


def text_findings(place: str, text: str, private: Iterable[str] = (), known: Iterable[str] = ()) -> list[Finding]:
    """What in a text could identify somebody.

    Args:
        place: For the findings.
        text: What is to be made public.
        private: Names that must not appear, such as those of the cases of one's own clinic.
        known: Texts without significance here, such as the new names of the cases.
    """
    for word in sorted(known, key=len, reverse=True):
        text = text.replace(word, " ")
    findings = [Finding(place, part, reason) for part, reason in identifying(text)]
    words = {word for word in private if len(word) >= _SHORTEST}
    if words:
        whole = re.compile("|".join(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" for word in sorted(words)))
        findings += [Finding(place, match, "a private name") for match in sorted(set(whole.findall(text)))]
    return findings


def check_free_of_identifiers(findings: Iterable[Finding], advice: str) -> None:
    """Refuses what could identify somebody.

    Raises:
        ConfigurationError: there is something; the first findings are in the message.
    """
    found = list(dict.fromkeys(findings))
    if found:
        shown = "; ".join(str(finding) for finding in found[:3])
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise ConfigurationError(f"Not released, since it could identify a person. {shown}{more}. {advice}")

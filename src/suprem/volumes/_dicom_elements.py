"""The lengths that a DICOM file claims, compared with its size before a library believes them.

GDCM takes the memory that an element claims, up to 4 GiB, before it finds that the file ends; and it hands out whatever
is in memory for pixels that are not there.
"""

import math
import mmap
import struct
from pathlib import Path

__all__ = ["lengths_fit"]

_IMPLICIT, _BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
_NATIVE = (_IMPLICIT, b"1.2.840.10008.1.2.1", _BIG_ENDIAN)  # pixels as they are
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_PIXELS, _DELIMITERS, _ITEM = (0x7FE0, 0x0010), 0xFFFE, 0xE000
_SYNTAX, _SEQUENCE_END = (0x0002, 0x0010), (0xFFFE, 0xE0DD)
_SAMPLES, _ROWS, _COLUMNS, _BITS = (0x0028, 0x0002), (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0100)
_SIZES = frozenset((_SAMPLES, _ROWS, _COLUMNS, _BITS))
_UNDEFINED = 0xFFFFFFFF
_MAX_ELEMENTS = 100_000  # a slice has a few hundred


def lengths_fit(path: Path) -> bool:
    """Whether no element of a DICOM file, nested ones included, reaches beyond its end, and the pixels are all there.

    True for a file without the mark of DICOM, and for a deflated one, in which nothing can be seen.
    """
    if path.stat().st_size < 140:
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data[128:132] != b"DICM" or _Walk(data).fits()


class _Walk:
    """One flat pass: what a sequence or an item holds simply comes next."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._end = data, len(data)
        self._syntax, self._order = b"", "<"
        self._in_pixels = False
        self._open: list[int] = []  # where each sequence that surrounds the place ends; the file's end if not said
        self._sizes: dict[tuple[int, int], int] = {}

    def fits(self) -> bool:
        at = 132
        for _ in range(_MAX_ELEMENTS):
            if at + 8 > self._end:
                break
            in_meta = self._data[at : at + 2] == b"\x02\0"
            if not in_meta and self._syntax == _DEFLATED:
                break
            self._order = ">" if self._syntax == _BIG_ENDIAN and not in_meta else "<"
            while self._open and at >= self._open[-1]:
                self._open.pop()
            tag, kind, length, value = self._element(at, in_meta or self._syntax != _IMPLICIT)
            if length != _UNDEFINED and (length > self._end - value or not self._enough(tag, length, value)):
                return False
            at = self._next(tag, kind, length, value)
        return True

    def _element(self, at: int, explicit: bool) -> tuple[tuple[int, int], bytes, int, int]:
        """Tag, value representation (empty if implicit), length, and where the value begins."""
        data, order = self._data, self._order
        group, number = struct.unpack_from(order + "HH", data, at)
        kind = data[at + 4 : at + 6] if explicit and group != _DELIMITERS else b""
        if kind in _LONG and at + 12 <= self._end:
            return (group, number), kind, struct.unpack_from(order + "I", data, at + 8)[0], at + 12
        if kind.isalpha() and kind.isupper() and kind not in _LONG:
            return (group, number), kind, struct.unpack_from(order + "H", data, at + 6)[0], at + 8
        return (group, number), b"", struct.unpack_from(order + "I", data, at + 4)[0], at + 8

    def _enough(self, tag: tuple[int, int], length: int, value: int) -> bool:
        """Notes the sizes of the image itself, not of an icon in it, and compares its pixels with them."""
        if self._open:
            return True
        if tag in _SIZES and length == 2:
            self._sizes[tag] = struct.unpack_from(self._order + "H", self._data, value)[0]
        if tag != _PIXELS or self._syntax not in _NATIVE or not {_ROWS, _COLUMNS, _BITS} <= set(self._sizes):
            return True
        bits = math.prod(self._sizes.values())  # samples per pixel are 1 where they are not given
        return bits <= 8 * length < bits + 16  # a byte of padding; of more, GDCM may take the wrong ones

    def _next(self, tag: tuple[int, int], kind: bytes, length: int, value: int) -> int:
        if tag == _SYNTAX and length != _UNDEFINED:
            self._syntax = self._data[value : value + length].rstrip(b"\0 ")
        if tag == _SEQUENCE_END and self._open:
            self._open.pop()
        if length == _UNDEFINED:
            self._in_pixels |= tag == _PIXELS
            if tag[0] != _DELIMITERS:
                self._open.append(self._end)
            return value
        if self._in_pixels:
            return value + length
        item = struct.pack(self._order + "HH", _DELIMITERS, _ITEM)
        if kind == b"SQ" or (tag != _PIXELS and self._data[value : value + 4] == item):
            self._open.append(value + length)
            return value
        return value if tag == (_DELIMITERS, _ITEM) else value + length

"""Changes of valid files that keep their structure, so that a reader gets past the first look; all are seeded."""

import copy
import json
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "Rng",
    "change_bytes",
    "change_json",
    "change_lines",
    "deep_lists",
    "json_text",
    "odd_json",
    "odd_number",
    "odd_text",
    "pick",
]

Rng = np.random.Generator

NUMBERS: tuple[int | float, ...] = (
    0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**32, 2**40,
    2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -2, -128, -(2**31), -(2**63), 10**30,
    0.5, -0.5, 1.5, 1e-300, 1e-9, 1e9, 1e300, float("nan"), float("inf"), float("-inf"), -0.0,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "x" * 5000, "\0", "a\0b", "ä ö ü", "日本語", "../../up", "/etc/passwd", "..", ".", "%s%n%d", "{0}",
    "nan", "inf", "-1", "1e309", "0x10", "1,5", "1 2 3", "true", "none", "null", "[]", "{}", "a: b", "\n", "\r\n", "\t",
    "liver", "spleen", "'; rm", "<b>", "\\", '"', "-", "--", "=", "\x7f", "\u2028", "1" * 400, "🙂", "-0", "+5", "1e3",
)  # fmt: skip


def pick(rng: Rng, items: Sequence[Any]) -> Any:
    """One of ``items``, also where they are of different kinds."""
    return items[int(rng.integers(len(items)))]


def odd_number(rng: Rng) -> int | float:
    """A number at which programs break, or any other."""
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.integers(-1000, 1000))
    if kind == 1:
        return float(rng.normal() * 10.0 ** rng.integers(-5, 6))
    return pick(rng, NUMBERS)  # type: ignore[no-any-return]


def odd_text(rng: Rng) -> str:
    """A text at which programs break, or an odd number as text."""
    return str(odd_number(rng)) if rng.integers(3) == 0 else str(pick(rng, TEXTS))


def odd_json(rng: Rng, depth: int = 2) -> Any:
    """Any value of JSON."""
    kind = int(rng.integers(8 if depth else 5))
    if kind == 0:
        return pick(rng, (None, True, False))
    if kind in (1, 2):
        return odd_number(rng)
    if kind in (3, 4):
        return odd_text(rng)
    if kind == 5:
        return [odd_json(rng, depth - 1) for _ in range(int(rng.integers(5)))]
    if kind == 6:
        return {odd_text(rng): odd_json(rng, depth - 1) for _ in range(int(rng.integers(4)))}
    value = odd_json(rng, 0)
    for _ in range(int(pick(rng, (5, 50, 900)))):
        value = [value]
    return value


def change_bytes(rng: Rng, data: bytes, hot: Sequence[tuple[int, int]] = ()) -> bytes:
    """One to three changes: bits, cut off, put in, zeros, a number written over, a piece repeated or moved.

    Args:
        rng: decides.
        data: the valid bytes.
        hot: where structure lies, as (start, stop); three of four changes begin there.
    """
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not result:
            break
        start, stop = pick(rng, hot) if hot and rng.integers(4) else (0, len(result))
        start, stop = max(0, min(start, len(result) - 1)), min(max(stop, start + 1), len(result))
        where = int(rng.integers(start, max(stop, start + 1)))
        _BYTE_CHANGES[int(rng.integers(len(_BYTE_CHANGES)))](rng, result, where)
    return bytes(result)


def _flip(rng: Rng, data: bytearray, where: int) -> None:
    data[where] ^= 1 << int(rng.integers(8))


def _replace(rng: Rng, data: bytearray, where: int) -> None:
    data[where] = int(pick(rng, (0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))))


def _number(rng: Rng, data: bytearray, where: int) -> None:
    width = int(pick(rng, (2, 4, 8)))
    value = int(pick(rng, [n for n in NUMBERS if isinstance(n, int)])) % 2 ** (8 * width)
    data[where : where + width] = value.to_bytes(width, str(pick(rng, ("little", "big"))))  # type: ignore[arg-type]


def _floating(rng: Rng, data: bytearray, where: int) -> None:
    with np.errstate(over="ignore"):
        data[where : where + 4] = struct.pack("<f", np.float32(odd_number(rng)))


def _cut(rng: Rng, data: bytearray, where: int) -> None:
    del data[where:]


def _remove(rng: Rng, data: bytearray, where: int) -> None:
    del data[where : where + int(rng.integers(1, 40))]


def _insert(rng: Rng, data: bytearray, where: int) -> None:
    data[where:where] = rng.bytes(int(rng.integers(1, 200)))


def _zeros(rng: Rng, data: bytearray, where: int) -> None:
    count = min(int(rng.integers(1, 64)), len(data) - where)
    data[where : where + count] = bytes([int(pick(rng, (0, 0xFF)))]) * count


def _repeat(rng: Rng, data: bytearray, where: int) -> None:
    data[where:where] = data[where : where + int(rng.integers(1, 300))]


def _move(rng: Rng, data: bytearray, where: int) -> None:
    count, source = int(rng.integers(1, 64)), int(rng.integers(len(data)))
    piece = data[source : source + count]
    data[where : where + len(piece)] = piece


_BYTE_CHANGES: tuple[Callable[[Rng, bytearray, int], None], ...] = (
    _flip, _flip, _replace, _replace, _number, _number, _floating, _cut, _remove, _insert, _zeros, _repeat, _move,
)  # fmt: skip


def change_lines(rng: Rng, lines: Sequence[str], separator: str) -> list[str]:
    """One to three changes of ``key<separator>value`` lines: values, keys, lines gone, doubled, or exchanged."""
    result = list(lines)
    for _ in range(int(rng.integers(1, 4))):
        if not result:
            break
        index = int(rng.integers(len(result)))
        key, found, value = result[index].partition(separator)
        kind = int(rng.integers(10))
        if kind < 4 and value:
            words = value.split(" ")
            words[int(rng.integers(len(words)))] = odd_text(rng)
            result[index] = key + found + " ".join(words)
        elif kind == 4:
            result[index] = key + found + odd_text(rng)
        elif kind == 5:
            del result[index]
        elif kind == 6:
            result.insert(int(rng.integers(len(result))), result[index])
        elif kind == 7:
            other = int(rng.integers(len(result)))
            result[index], result[other] = result[other], result[index]
        elif kind == 8:
            result[index] = odd_text(rng) + found + value
        else:
            words = value.split(" ")
            result[index] = key + found + " ".join(words[: int(rng.integers(len(words)))] or words * 2)
    return result


def change_json(rng: Rng, value: Any) -> Any:
    """A copy with one to three changes: values of another kind, keys gone, renamed or added, lists cut or doubled."""
    result = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(result))
        if not places:
            return odd_json(rng)
        holder, key = pick(rng, places)
        kind = int(rng.integers(8))
        if kind < 4:
            holder[key] = odd_json(rng)
        elif kind == 4:
            del holder[key]
        elif kind == 5:
            _add(rng, holder, key)
        elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = odd_number(rng)
        elif isinstance(holder[key], str):
            holder[key] = odd_text(rng)
        else:
            other, place = pick(rng, places)
            # A value from elsewhere in the same file has the right kind more often than an odd one.
            holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else odd_json(rng)
    return result


def _add(rng: Rng, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[odd_text(rng)] = copy.deepcopy(holder[key])
    else:
        holder.insert(key, copy.deepcopy(holder[key]))


def _keys(holder: Any) -> Sequence[Any]:
    return list(holder) if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> Any:
    """(holder, key) of every value inside."""
    if isinstance(value, dict | list):
        for key in _keys(value):
            yield value, key
            yield from _places(value[key])


def json_text(rng: Rng, value: Any) -> bytes:
    """Changed JSON as bytes; one of five has its bytes changed instead."""
    if rng.integers(5) == 0:
        return change_bytes(rng, json.dumps(value).encode())
    with deep_lists():
        text = json.dumps(change_json(rng, value), ensure_ascii=bool(rng.integers(2)))
    return text.encode("utf-8", "surrogatepass")


@contextmanager
def deep_lists() -> Iterator[None]:
    """For the lists in lists that are made here; those who read them have the usual limit."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)

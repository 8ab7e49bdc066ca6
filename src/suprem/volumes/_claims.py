"""What image headers claim, checked against the size of their file before anything is allocated."""

import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from suprem.errors import VolumeError, brief

__all__ = ["MAX_VOXELS", "check_claim", "check_metaimage", "check_nrrd"]

MAX_VOXELS = 2**31
_DEFLATE_MAX_RATIO = 1032  # no deflate stream expands more, see https://zlib.net/zlib_tech.html
_FIELD_LIMIT = 1000  # characters of a field; the affine, the longest that is needed, takes some 200
_HEADER_LIMIT = 2**20
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    "float": 4,
    "double": 8,
}
_META_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


def check_claim(
    name: str, shape: Sequence[int], voxel_bytes: int, stored_bytes: int, *, compressed: bool, max_voxels: int
) -> None:
    """Refuses a header whose image cannot be in the file, or is larger than allowed.

    Args:
        name: What the message calls the file.
        shape: Voxels per axis, as claimed.
        voxel_bytes: Bytes of one voxel.
        stored_bytes: Bytes of the file after the header.
        compressed: The data are a deflate stream, which expands 1032-fold at most.
        max_voxels: Largest number of voxels that is read at all.

    Raises:
        VolumeError: the claim does not hold.
    """
    shown = " x ".join(str(n) for n in shape)
    if min(shape) < 1:
        raise VolumeError(f"{name} claims {shown} voxels, which is no image; export it again.")
    voxels = math.prod(shape)
    if voxels > max_voxels:
        raise VolumeError(
            f"{name} claims {shown} voxels, more than the limit of {max_voxels}; crop the scan, or raise max_voxels "
            "if the claim is true."
        )
    if voxels * voxel_bytes > stored_bytes * (_DEFLATE_MAX_RATIO if compressed else 1):
        raise VolumeError(
            f"{name} claims {shown} voxels ({voxels * voxel_bytes} bytes) but holds only {stored_bytes} "
            f"{'compressed ' if compressed else ''}bytes; the file is truncated or its header is wrong, so copy or "
            "export it again."
        )


def check_dimensions(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """The three spatial sizes of ``shape``; further axes must have length 1.

    Raises:
        VolumeError: two-dimensional, or several volumes in one file.
    """
    shown = " x ".join(str(n) for n in shape)
    if len(shape) < 3:
        raise VolumeError(f"{name} is {len(shape)}-D ({shown}); a three-dimensional scan is needed: stack its slices.")
    if any(n != 1 for n in shape[3:]):
        raise VolumeError(
            f"{name} is {len(shape)}-D ({shown}), several volumes in one file; split it and give one volume per file."
        )
    return shape[0], shape[1], shape[2]


def _numbers(name: str, field: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split())
    except ValueError as error:
        raise VolumeError(f"{name} has {field} {brief(text)}, not whole numbers; export it again.") from error


def _check_spacing(name: str, text: str) -> None:
    """ITK turns a negative spacing into a flipped axis instead of refusing it."""
    try:
        values = [float(part) for part in text.split()]
    except ValueError:
        values = [math.nan]
    if not all(value > 0 and math.isfinite(value) for value in values):
        raise VolumeError(
            f"{name} has spacing ({brief(', '.join(text.split()))[1:-1]}) mm; it must be positive. Export it again."
        )


def _required(name: str, fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise VolumeError(f"{name} has no {key!r} in its header; export it again.")
    return fields[key]


def check_nrrd(path: Path, name: str, max_voxels: int, *, layers: bool = False) -> None:
    """Checks the claims of a ``.nrrd`` file; its data must lie in the file itself.

    Args:
        path: The file.
        name: What messages call it.
        max_voxels: Largest number of values that is read at all.
        layers: A first axis of several values per voxel is allowed, as in segmentations.

    Raises:
        VolumeError: the header is incomplete, points to another file, or claims more than the file can hold.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_LIMIT)
    if not head.startswith(b"NRRD"):
        raise VolumeError(f"{name} is not an NRRD file, whatever its name says; export it again.")
    blank = re.search(rb"\r?\n\r?\n", head)
    if not blank:
        raise VolumeError(
            f"{name} has no end of header, so it is truncated or keeps its data in another file; export it as one "
            ".nrrd file."
        )
    fields: dict[str, str] = {}
    for line in head[: blank.start()].decode("latin-1").splitlines()[1:]:
        key, colon, value = line.partition(":")
        _check_length(name, key, value)
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[key.strip().lower()] = value.strip()
    if "data file" in fields or "datafile" in fields:
        raise VolumeError(f"{name} keeps its data in another file; export it as one .nrrd file.")
    kind = _required(name, fields, "type").lower()
    if kind not in _NRRD_BYTES:
        raise VolumeError(f"{name} has voxels of type {brief(kind)}, not scalar numbers; export it as a scalar volume.")
    shape = _numbers(name, "sizes", _required(name, fields, "sizes"))
    if layers and len(shape) == 4:
        check_dimensions(name, shape[1:])
    else:
        _check_scalar_kinds(name, fields)
        check_dimensions(name, shape)
    _check_spacing(name, " ".join(fields.get("spacings", "").split()[:3]))
    stored = path.stat().st_size - blank.end()
    encoding = _required(name, fields, "encoding").lower()
    if encoding in ("bzip2", "bz2", "txt", "text", "ascii", "hex"):
        raise VolumeError(
            f"{name} has encoding {brief(encoding)}, which is not read; export it with encoding gzip or raw."
        )
    compressed = encoding in ("gzip", "gz")
    check_claim(name, shape, _NRRD_BYTES[kind], stored, compressed=compressed, max_voxels=max_voxels)
    if compressed:
        _check_deflate(path, name, blank.end(), math.prod(shape) * _NRRD_BYTES[kind])


def _check_length(name: str, key: str, value: str) -> None:
    """SimpleITK crashes at some long lines, now and then; comments, and values of free text, may be long."""
    if key.startswith("#"):
        return
    free = value.startswith("=") or key.strip().lower() == "content"
    length = len(key) if free else len(key) + len(value)
    if length > _FIELD_LIMIT:
        raise VolumeError(f"{name} has a {brief(key.strip())} of {length} characters in its header; export it again.")


def _check_scalar_kinds(name: str, fields: dict[str, str]) -> None:
    colour = [k for k in fields.get("kinds", "").lower().split() if "color" in k or "vector" in k or "point" in k]
    if colour:
        raise VolumeError(f"{name} has {colour[0]} voxels, not one intensity each; export it as grey values in HU.")


def check_metaimage(path: Path, name: str, max_voxels: int) -> None:
    """Checks the claims of a ``.mha`` file, or of a ``.mhd`` file with its data beside it.

    A compressed stream is also decompressed once, piecewise: SimpleITK reads a damaged one without an error, and
    leaves one behind, equally silent, when the disk is full.

    Raises:
        VolumeError: the header is incomplete, points outside its folder, or claims more than the file can hold.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_LIMIT)
    fields, start = _metaimage_fields(head)
    source = _required(name, fields, "ElementDataFile")
    if source.upper() == "LOCAL":
        data = path
    elif source == Path(source).name and "%" not in source and source.upper() != "LIST" and "\\" not in source:
        data, start = path.parent / source, 0
    else:
        raise VolumeError(f"{name} keeps its data in {brief(source)}, outside its folder; export it as one .mha file.")
    if not data.is_file():
        raise VolumeError(f"{name} keeps its data in {brief(source)}, which does not exist; copy both files.")
    channels = fields.get("ElementNumberOfChannels", "1")
    if _numbers(name, "ElementNumberOfChannels", channels) != (1,):
        raise VolumeError(f"{name} has {brief(channels)[1:-1]} values per voxel (colour?); export it as grey values.")
    kind = _required(name, fields, "ElementType")
    if kind not in _META_BYTES:
        raise VolumeError(f"{name} has voxels of type {brief(kind)}, not scalar numbers; export it as a scalar volume.")
    shape = _numbers(name, "DimSize", _required(name, fields, "DimSize"))
    check_dimensions(name, shape)
    if _numbers(name, "NDims", _required(name, fields, "NDims")) != (len(shape),):  # SimpleITK crashes at some
        raise VolumeError(f"{name} has NDims {brief(fields['NDims'])} and {len(shape)} sizes; export it again.")
    _check_spacing(name, fields.get("ElementSpacing", ""))
    packed = fields.get("CompressedData", "False").lower()
    if packed not in ("true", "false"):  # SimpleITK looks at the first letter
        raise VolumeError(
            f"{name} has CompressedData {brief(packed)}, which is neither True nor False; export it again."
        )
    compressed = packed == "true"
    stored = data.stat().st_size - start
    check_claim(name, shape, _META_BYTES[kind], stored, compressed=compressed, max_voxels=max_voxels)
    header_size = fields.get("HeaderSize", "0")
    if header_size not in (("0",) if compressed else ("0", "-1")):
        raise VolumeError(f"{name} has HeaderSize {brief(header_size)}, which is not read; export it as one .mha file.")
    if compressed:
        needed = _check_deflate(data, name, start, math.prod(shape) * _META_BYTES[kind])
        _check_packed_size(name, fields, needed, stored)


def _metaimage_fields(head: bytes) -> tuple[dict[str, str], int]:
    """The key = value lines up to ElementDataFile, which is always the last, and where the data begin."""
    fields: dict[str, str] = {}
    start = 0
    while (end := head.find(b"\n", start)) >= 0:
        key, equals, value = head[start:end].decode("latin-1").partition("=")
        start = end + 1
        if not equals:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return fields, start


def _check_packed_size(name: str, fields: dict[str, str], needed: int, stored: int) -> None:
    """SimpleITK hands out uninitialised memory, without an error, where this field is absent, early or too small."""
    text, order = fields.get("CompressedDataSize", ""), list(fields)
    if "CompressedDataSize" in order[: order.index("CompressedData")]:
        raise VolumeError(f"{name} has its CompressedDataSize before CompressedData; export it again.")
    try:
        fits = needed <= int(text) <= stored
    except ValueError:
        fits = False
    if not fits:
        raise VolumeError(
            f"{name} has CompressedDataSize {brief(text)} for {needed} bytes of compressed voxels; export it again."
        )


def _check_deflate(path: Path, name: str, start: int, expected: int) -> int:
    """Decompresses a zlib or gzip stream piecewise, which checks its length and checksum; returns its bytes."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    found = taken = 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            while not stream.eof and found <= expected and (block := file.read(2**16)):
                taken += len(block)
                found += len(stream.decompress(block))
    except zlib.error as error:
        raise VolumeError(f"{name} holds damaged compressed data ({error}); copy or export it again.") from error
    if not stream.eof or found != expected:
        raise VolumeError(f"{name} ends after {found} of {expected} bytes of voxels; copy or export it again.")
    return taken - len(stream.unused_data)

"""Images: NIfTI, NRRD, MetaImage, DICOM folders and Slicer segmentations, each compared with another reader."""

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from suprem.errors import UnknownNameError
from suprem.volumes import Volume
from suprem.volumes._nifti_header import header_dtype
from suprem.volumes.io import read_ct, read_volume, write_volume
from suprem.volumes.slicer import read_segmentation, write_segmentation
from tests.fuzz.mutations import Rng, change_bytes, change_lines, odd_number, odd_text, pick
from tests.fuzz.targets import Target, Wrong
from tests.volumes.dicom_data import make_slices, random_hu, save_slices

__all__ = ["CONTENT"]

SHAPE = (6, 7, 8)
DTYPES = ("int16", "uint8", "float32", "int32", "uint16", "float64")
NRRD_TYPES = {
    "signed char": "i1", "int8": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "short": "i2",
    "int16": "i2", "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4",
    "unsigned int": "u4", "uint32": "u4", "longlong": "i8", "int64": "i8", "uint64": "u8", "float": "f4",
    "double": "f8",
}  # fmt: skip
META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def volume(dtype: str = "int16") -> Volume:
    """A small scan on an oblique grid."""
    rng = np.random.default_rng(5)
    array = rng.integers(-1000, 1000, SHAPE) if dtype[0] != "u" else rng.integers(0, 250, SHAPE)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (1.5, 1.25, 2.5), (-11, 7, 23)
    return Volume(array.astype(dtype), affine)


def check_volume(found: Volume, values: np.ndarray | None, affine: np.ndarray | None = None) -> None:
    """What every result must be, and what another reader found."""
    if min(found.shape) < 1 or not np.isfinite(found.affine).all() or min(found.spacing_mm) <= 0:
        raise Wrong(f"shape {found.shape}, affine {found.affine.tolist()}")
    if found.array.dtype.kind not in "iuf":
        raise Wrong(f"dtype {found.array.dtype}")
    if values is not None:
        if found.shape != values.shape:
            raise Wrong(f"shape {found.shape} instead of {values.shape}")
        with np.errstate(all="ignore"):
            same = np.allclose(found.array.astype(np.float64), values.astype(np.float64), rtol=1e-5, equal_nan=True)
        if not same:
            raise Wrong("other voxels than another reader finds")
    if affine is not None and not np.allclose(found.affine, affine, rtol=1e-4, atol=1e-4):
        raise Wrong(f"affine {found.affine.tolist()} instead of {affine.tolist()}")


def open_both(path: Path) -> Volume:
    """Read as any volume; a result of the CT reader must agree with it."""
    found = read_volume(path, max_voxels=2**24)
    from suprem.errors import VolumeError

    try:
        scan = read_ct(path, max_voxels=2**24)
    except VolumeError:
        return found
    check_volume(scan, found.array, found.affine)
    return found


# NIfTI


def prepare_nifti(folder: Path) -> list[bytes]:
    files = []
    for dtype in DTYPES:
        write_volume(volume(dtype), folder / "a.nii")
        files.append((folder / "a.nii").read_bytes())
    for kind in (nib.Nifti2Image, nib.Nifti1Image):
        image = kind(volume().array, volume().affine)
        if kind is nib.Nifti1Image:
            image = nib.Nifti1Image(image.dataobj, image.affine, image.header.as_byteswapped())
        nib.save(image, folder / "b.nii")
        files.append((folder / "b.nii").read_bytes())
    return files


def write_nifti(packed: bool) -> Any:
    def write(rng: Rng, files: list[bytes], folder: Path) -> Path:
        data = pick(rng, files)
        kind = int(rng.integers(4 if packed else 3))
        data = _change_header(rng, data) if kind < 2 else data
        data = change_bytes(rng, data, [(0, 352)]) if kind == 2 else data
        path = folder / ("x.nii.gz" if packed else "x.nii")
        if packed:
            data = gzip.compress(data, 1, mtime=0)
            if kind == 3 or rng.integers(8) == 0:
                data = change_bytes(rng, data, [(0, 12), (len(data) - 10, len(data))])
        path.write_bytes(data)
        return path

    return write


def _change_header(rng: Rng, data: bytes) -> bytes:
    """Writes odd values over one to three whole fields of the header."""
    order = "<" if data[0] in (92, 28) else ">"
    version = 1 if 348 in (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")) else 2
    kind = header_dtype(version, order)
    header = np.frombuffer(data[: kind.itemsize], kind).copy()
    for _ in range(int(rng.integers(1, 4))):
        field = header[str(pick(rng, list(kind.names or ())))][0:1]
        if field.dtype.kind in "iuf":
            flat = field.reshape(-1)
            limits = np.iinfo(field.dtype) if field.dtype.kind in "iu" else None
            value = odd_number(rng)
            if limits:
                value = int(np.clip(0 if value != value else value, float(limits.min), float(limits.max)))
                value = max(limits.min, min(limits.max, value))
            with np.errstate(over="ignore"):
                flat[int(rng.integers(flat.size))] = value
            field[...] = flat.reshape(field.shape)
    return header.tobytes() + data[kind.itemsize :]


def open_nifti(path: Path, _: Path) -> None:
    found = open_both(path)
    try:
        image = nib.load(path)
        values, affine = np.asanyarray(image.dataobj), np.asarray(image.affine)
    except Exception:  # nibabel's refusals have no common class, and bind nobody
        return
    if values.dtype.kind in "iuf":
        check_volume(found, values.reshape(values.shape[:3]), affine)


# NRRD and MetaImage: a header of lines before the voxels


def prepare_lines(suffix: str) -> Any:
    def prepare(folder: Path) -> list[tuple[bytes, bytes]]:
        parts = []
        for dtype in DTYPES:
            path = folder / f"a{suffix}"
            write_volume(volume(dtype), path)
            parts.append(_split(path.read_bytes()))
        head, _ = parts[0]
        raw = volume().array.T.tobytes()
        # And without compression.
        head = head.replace(b"encoding: gzip", b"encoding: raw").replace(
            b"CompressedData = True", b"CompressedData = False"
        )
        return [*parts, (re.sub(rb"CompressedDataSize = \d+\n", b"", head), raw)]

    return prepare


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Header and voxels."""
    end = content.find(b"\n\n") + 2 if content.startswith(b"NRRD") else content.find(b"ElementDataFile = LOCAL\n") + 24
    return content[:end], content[end:]


def write_lines(suffix: str, separator: str) -> Any:
    def write(rng: Rng, parts: list[tuple[bytes, bytes]], folder: Path) -> Path:
        head, data = pick(rng, parts)
        kind = int(rng.integers(6))
        if kind < 4:
            lines = change_lines(rng, head.decode("latin-1").split("\n"), separator)
            head = "\n".join(lines).encode("utf-8", "surrogatepass")
        elif kind == 4:
            head = change_bytes(rng, head)
        else:
            data = change_bytes(rng, data, [(0, 12), (len(data) - 12, len(data))])
        path = folder / f"x{suffix}"
        path.write_bytes(head + data)
        return path

    return write


def open_nrrd(path: Path, _: Path) -> None:
    check_volume(open_both(path), _nrrd_values(path))


def _nrrd_values(path: Path) -> np.ndarray | None:
    """The voxels of a plain NRRD file by another way; ``None`` where this way does not understand it."""
    head, data = re.split(rb"\r?\n\r?\n", path.read_bytes(), maxsplit=1)
    lines = [line.partition(": ") for line in head.decode("latin-1").split("\n")[1:] if ": " in line]
    fields = {key: value.strip() for key, _, value in lines}
    if len(fields) < len(lines) or {"line skip", "lineskip", "byte skip", "byteskip"} & set(fields):
        return None
    kind = NRRD_TYPES.get(fields.get("type", ""))
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little"))
    if kind is None or order is None or fields.get("encoding") not in ("raw", "gzip"):
        return None
    shape = [int(n) for n in fields["sizes"].split()]
    # What follows the stream is nobody's.
    values = zlib.decompressobj(31).decompress(data) if fields["encoding"] == "gzip" else data
    return _shaped(values, order + kind, shape)


def _shaped(values: bytes, kind: str, shape: list[int]) -> np.ndarray | None:
    count = int(np.prod(shape))
    array = np.frombuffer(values[: count * np.dtype(kind).itemsize], kind)
    return array.reshape(shape[::-1]).T.reshape(shape[:3]) if array.size == count else None


def open_metaimage(path: Path, _: Path) -> None:
    check_volume(open_both(path), _metaimage_values(path))


def _metaimage_values(path: Path) -> np.ndarray | None:
    head, data = _split(path.read_bytes())
    lines = [line.partition(" = ") for line in head.decode("latin-1").split("\n") if " = " in line]
    fields = {key: value.strip() for key, _, value in lines}
    plain = len(fields) == len(lines) and "HeaderSize" not in fields and fields.get("BinaryData") == "True"
    kind = META_TYPES.get(fields.get("ElementType", ""))
    order = {"True": ">", "False": "<"}.get(fields.get("BinaryDataByteOrderMSB", ""))
    if not plain or kind is None or order is None or not head.endswith(b"ElementDataFile = LOCAL\n"):
        return None
    try:
        values = zlib.decompressobj().decompress(data) if fields.get("CompressedData") == "True" else data
    except zlib.error:
        return None
    return _shaped(values, order + kind, [int(n) for n in fields["DimSize"].split()])


# DICOM


def prepare_dicom(folder: Path) -> list[tuple[str, bytes]]:
    paths = save_slices(make_slices(random_hu((7, 6, 5))), folder)
    return [(path.name, path.read_bytes()) for path in sorted(paths)]


def write_dicom(rng: Rng, files: list[tuple[str, bytes]], folder: Path) -> Path:
    changed = int(rng.integers(len(files)))
    everywhere = rng.integers(4) == 0  # the same change in all slices passes the checks of uniformity
    state = rng.bit_generator.state
    for number, (name, data) in enumerate(files):
        if everywhere:
            rng.bit_generator.state = state
        if number == changed or everywhere:
            data = change_bytes(rng, data, [(128, 700)]) if rng.integers(3) == 0 else _change_elements(rng, data)
        (folder / name).write_bytes(data)
    return folder


def _elements(data: bytes) -> list[tuple[int, int, int, int]]:
    """(start, start of the length, bytes of the length, start of the value) of each explicit-VR element."""
    found, at = [], 132
    while at + 8 <= len(data):
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
        width, place = (4, at + 8) if long else (2, at + 6)
        found.append((at, place, width, place + width))
        at = place + width + int.from_bytes(data[place : place + width], "little")
    return found


def _change_elements(rng: Rng, data: bytes) -> bytes:
    elements = _elements(data)
    index = int(rng.integers(len(elements)))
    start, place, width, value = elements[index]
    end = elements[index + 1][0] if index + 1 < len(elements) else len(data)
    kind = int(rng.integers(8))
    if kind == 0:
        length = int(pick(rng, (0, 1, 2, 7, 255, 65535, 2**32 - 1, 2**31))) % 2 ** (8 * width)
        return data[:place] + length.to_bytes(width, "little") + data[value:]
    if kind == 1:
        vr = bytes(pick(rng, (b"OB", b"OW", b"SQ", b"UN", b"US", b"DS", b"UI", b"LO", b"FD", b"\0\0", b"zz")))
        return data[: start + 4] + vr + data[start + 6 :]
    if kind == 2:
        return data[:start] + data[end:]
    if kind == 3:
        return data[:end] + data[start:end] + data[end:]
    if kind == 4:
        return data[:value] + change_bytes(rng, data[value:end] or b"\0\0") + data[end:]
    if kind == 5:
        number = int(pick(rng, (0, 1, 2, 3, 8, 12, 16, 32, 64, 255, 1000, 32767, 65535))).to_bytes(2, "little")
        content = number if end - value == 2 else rng.bytes(min(end - value, 2**12))
    else:
        old = data[value:end].split(b"\\")
        old[int(rng.integers(len(old)))] = odd_text(rng).encode("utf-8", "replace")[:60000]
        content = b"\\".join(old)
        content = content[: 2 ** (8 * width) - 2]
        content += b" " * (len(content) % 2)
    return data[:place] + len(content).to_bytes(width, "little") + content + data[end:]


def open_dicom(folder: Path, _: Path) -> None:
    found = open_both(folder)
    check_volume(found, None)
    try:
        expected = []
        for path in sorted(folder.iterdir()):
            data = pydicom.dcmread(path)
            slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
            expected.append(data.pixel_array.astype(np.float64).T * slope + intercept)
    except Exception:  # pydicom's refusals have no common class, and bind nobody
        return
    for z in range(found.shape[2]):
        plane = found.array[:, :, z].astype(np.float64)
        if not any(plane.shape == e.shape and np.allclose(plane, e, rtol=1e-4, atol=0.01) for e in expected):
            raise Wrong(f"slice {z} is not what another reader finds in any file")


# 3D Slicer


def prepare_slicer(folder: Path) -> list[tuple[bytes, bytes]]:
    rng = np.random.default_rng(1)
    parts = []
    for count in (1, 3):
        names = ["liver", "liver_tumor", "spleen"][:count]
        table = [frozenset(n for bit, n in enumerate(names) if index >> bit & 1) for index in range(2**count)]
        path = folder / "a.seg.nrrd"
        write_segmentation(path, rng.integers(0, 2**count, SHAPE).astype(np.uint8), table, volume().affine, names)
        parts.append(_split(path.read_bytes()))
    return parts


def write_slicer(rng: Rng, parts: list[tuple[bytes, bytes]], folder: Path) -> Path:
    return write_lines(".seg.nrrd", str(pick(rng, (": ", ":="))))(rng, parts, folder)  # type: ignore[no-any-return]


def open_slicer(path: Path, _: Path) -> None:
    found = read_segmentation(path, max_voxels=2**24)
    if found.layers.ndim != 4 or not np.isfinite(found.affine).all() or found.layers.dtype.kind not in "iu":
        raise Wrong(f"layers {found.layers.shape} {found.layers.dtype}, affine {found.affine.tolist()}")
    if abs(np.linalg.det(found.affine)) < 1e-12:
        raise Wrong(f"singular affine {found.affine.tolist()}")
    for segment in found.segments:
        if found.mask(segment.name).shape != found.shape:
            raise Wrong(f"mask of {segment.name!r}")
    try:
        found.mask("no such segment")
    except UnknownNameError:
        return
    raise Wrong("a segment that does not exist")


def _first(write_name: str) -> Any:
    def valid(material: Any, folder: Path) -> Path:
        if write_name == "dicom":
            for name, data in material:
                (folder / name).write_bytes(data)
            return folder
        content = material[0] if isinstance(material[0], bytes) else b"".join(material[0])
        path = folder / f"x{write_name}"
        path.write_bytes(gzip.compress(content) if write_name.endswith(".gz") else content)
        return path

    return valid


CONTENT = (
    Target("nifti", prepare_nifti, write_nifti(False), open_nifti, _first(".nii")),
    Target("nifti_gz", prepare_nifti, write_nifti(True), open_nifti, _first(".nii.gz")),
    Target("nrrd", prepare_lines(".nrrd"), write_lines(".nrrd", ": "), open_nrrd, _first(".nrrd")),
    Target("metaimage", prepare_lines(".mha"), write_lines(".mha", " = "), open_metaimage, _first(".mha")),
    Target("dicom", prepare_dicom, write_dicom, open_dicom, _first("dicom")),
    Target("slicer", prepare_slicer, write_slicer, open_slicer, _first(".seg.nrrd")),
)

"""NIfTI files, read and written without a detour.

Pixels go past SimpleITK on purpose. Measured with SimpleITK 2.5: a truncated or damaged gzip stream is read without an
error, a full disk is not reported, non-orthonormal affines are refused, and the affine of an oblique image changes in
the last digits on writing. Masks must carry exactly the affine of their scan.
"""

import gzip
import zlib
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from zlib_ng import gzip_ng, zlib_ng

from suprem.errors import VolumeError
from suprem.volumes._claims import check_claim, check_dimensions
from suprem.volumes._nifti_header import NiftiGeometry, geometry_of, header_dtype, stored_affine
from suprem.volumes.geometry import Array, Volume

__all__ = ["read_nifti", "write_nifti"]

_Source = gzip_ng.GzipNGFile | BufferedReader
_DEFLATE_ERROR: type[Exception] = zlib_ng.error  # type: ignore[assignment]  # its stubs call the class an instance
_READ_BYTES = 2**20
_BLOCK_BYTES = 2**20
_SLAB_PLANES = 64  # whole cache lines, also of an array in C order
_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_CODES = {np.dtype(kind): code for code, kind in _DTYPES.items()}
_NOT_SCALAR = {128: "RGB colours", 2304: "RGBA colours", 32: "complex numbers", 1792: "complex numbers"}


def read_nifti(path: Path, name: str, max_voxels: int) -> Volume:
    """Reads ``.nii`` or ``.nii.gz`` (NIfTI-1 and NIfTI-2, either byte order, scl_slope and scl_inter applied).

    The affine follows nibabel's rule: the sform if its code is set, else the qform, else an unoriented grid.

    Raises:
        VolumeError: not a NIfTI file, truncated, damaged, not scalar, not three-dimensional, or larger than it can be.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    stored = path.stat().st_size
    try:
        with _unpacked(path) if packed else path.open("rb") as file:
            header = _read_header(file, name)
            shape = _shape(header, name)
            dtype = _dtype(header, name)
            offset = int(np.nan_to_num(header["vox_offset"], posinf=-1.0))
            if not int(header["sizeof_hdr"]) <= offset <= 2**24:
                raise VolumeError(f"{name} has its voxels at byte {offset}, which is impossible; export it again.")
            room = stored if packed else stored - offset
            check_claim(name, shape, dtype.itemsize, room, compressed=packed, max_voxels=max_voxels)
            affine, warnings = stored_affine(header, shape, name)
            file.seek(offset)
            array = np.empty(shape, dtype=dtype, order="F")
            _fill(file, array, name)
            if packed:
                _finish(file, name)
    except (EOFError, gzip.BadGzipFile, _DEFLATE_ERROR) as error:
        raise VolumeError(
            f"{name} holds truncated or damaged gzip data ({error}); copy or download it again."
        ) from error
    array = _scaled(array.astype(dtype.newbyteorder("="), copy=False), header, name)
    geometry = NiftiGeometry(
        affine,
        tuple(float(v) for v in header["pixdim"][:4]),
        int(header["qform_code"]),
        int(header["sform_code"]),
        tuple(float(v) for v in header["quatern"]),
        tuple(float(v) for v in header["qoffset"]),
        tuple(tuple(float(v) for v in row) for row in header["srow"]),
    )
    return Volume(array, affine, name, warnings=warnings, stored_geometry=geometry)


def _unpacked(path: Path) -> gzip_ng.GzipNGFile:
    return gzip_ng.GzipNGFile(path, "rb")  # type: ignore[no-untyped-call]


def _read_header(file: _Source, name: str) -> np.void:
    data = file.read(544)
    for version, size in ((1, 348), (2, 540)):
        for order in "<>":
            if len(data) < size or int.from_bytes(data[:4], "little" if order == "<" else "big") != size:
                continue
            header: np.void = np.frombuffer(data[:size], dtype=header_dtype(version, order))[0]
            if bytes(header["magic"])[:3] == b"n+%d" % version:
                return header
            raise VolumeError(
                f"{name} is an Analyze file or the header of a .hdr/.img pair; export it as one .nii.gz file."
            )
    raise VolumeError(f"{name} is not a NIfTI file, whatever its name says; export it again.")


def _shape(header: np.void, name: str) -> tuple[int, int, int]:
    dims = int(header["dim"][0])
    if not 1 <= dims <= 7:
        raise VolumeError(f"{name} claims {dims} dimensions; NIfTI has 1 to 7, so export it again.")
    return check_dimensions(name, [int(n) for n in header["dim"][1 : dims + 1]])


def _dtype(header: np.void, name: str) -> np.dtype[Any]:
    code = int(header["datatype"])
    if code in _NOT_SCALAR:
        raise VolumeError(f"{name} holds {_NOT_SCALAR[code]}, not one intensity per voxel; export it in HU.")
    if code not in _DTYPES:
        raise VolumeError(f"{name} has NIfTI datatype {code}, which is not read; export it as int16.")
    return np.dtype(_DTYPES[code]).newbyteorder(header.dtype["sizeof_hdr"].byteorder)


def _fill(file: _Source, array: Array, name: str) -> None:
    """Reads exactly the array's bytes into it; ``array`` is Fortran-ordered, as the file is."""
    view = array.T.data.cast("B")
    done = 0
    while done < len(view):
        count = file.readinto(view[done : done + _READ_BYTES])
        if not count:
            raise VolumeError(f"{name} ends after {done} of {len(view)} bytes of voxels; copy or export it again.")
        done += count


def _finish(file: _Source, name: str) -> None:
    """Reads on to the end of the gzip stream, where its checksum is verified."""
    if len(file.read(2**20 + 1)) > 2**20:
        raise VolumeError(f"{name} holds more data than its header claims; export it again.")


def _scaled(array: Array, header: np.void, name: str) -> Array:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # the standard's way to say: no scaling
        return array
    inter = 0.0 if np.isnan(inter) else inter
    if not (np.isfinite(slope) and np.isfinite(inter)):
        raise VolumeError(f"{name} has scl_slope {slope} and scl_inter {inter}; export it with finite scaling.")
    if (slope, inter) == (1.0, 0.0):
        return array
    whole = array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and slope.is_integer() and inter.is_integer()
    if whole and max(abs(slope), abs(inter)) < 2**15:
        return array.astype(np.int32) * np.int32(slope) + np.int32(inter)
    ends = [np.float64(end(array)) for end in (np.min, np.max)]
    fits = all(not abs(end * slope + inter) > np.finfo(np.float32).max for end in ends)
    result = np.empty(array.shape, dtype=np.float32 if array.dtype.itemsize <= 4 and fits else np.float64, order="F")
    for z in range(array.shape[2]):
        result[:, :, z] = array[:, :, z] * np.float64(slope) + inter
    return result


def write_nifti(volume: Volume, path: Path, description: str, *, compress: bool) -> None:
    """Writes NIfTI-1 with sform and qform; the same content always gives the same bytes."""
    header = _header(volume, description)
    with path.open("wb") as file:
        sink = _Deflate(file, volume.array.dtype.itemsize) if compress else file
        sink.write(header)
        for z in range(0, volume.shape[2], _SLAB_PLANES):
            slab = _file_order(volume.array[:, :, z : z + _SLAB_PLANES]).data.cast("B")
            for start in range(0, len(slab), _BLOCK_BYTES):
                sink.write(slab[start : start + _BLOCK_BYTES])
        if isinstance(sink, _Deflate):
            sink.finish()


def _file_order(slab: Array) -> Array:
    """(X, Y, z) as a C-ordered (z, Y, X), x fastest: a view where possible, else copied in pieces that fit a cache."""
    if slab.T.flags.c_contiguous:
        return slab.T
    result = np.empty(slab.shape[::-1], dtype=slab.dtype)
    for y in range(slab.shape[1]):
        result[:, y, :] = slab[:, y, :].T
    return result


def _header(volume: Volume, description: str) -> bytes:
    header = np.zeros((), dtype=header_dtype(1, "<"))
    if max(volume.shape) > 32767:
        raise VolumeError(f"{volume.name} has shape {volume.shape}; NIfTI-1 holds 32767 voxels per axis. Crop it.")
    header["sizeof_hdr"], header["vox_offset"], header["magic"] = 348, 352, b"n+1\0"
    header["dim"] = (3, *volume.shape, 1, 1, 1, 1)
    header["datatype"], header["bitpix"] = _CODES[volume.array.dtype], 8 * volume.array.dtype.itemsize
    header["scl_slope"], header["xyzt_units"] = 1.0, 2
    header["descrip"] = description.encode("ascii", "replace")[:79]
    for key, value in vars(geometry_of(volume)).items():
        if key == "pixdim":
            header["pixdim"][:4] = value
        elif key != "affine":
            header[key] = value
    return header.tobytes() + b"\0\0\0\0"


class _Deflate:
    """A gzip stream of independently compressed blocks, so that a block of zeros, most of a mask, is a look-up.

    Run-length matching for one-byte voxels: as fast as level 1, a third of its size on masks.
    """

    def __init__(self, file: IO[bytes], voxel_bytes: int) -> None:
        self._file = file
        self._strategy = zlib.Z_RLE if voxel_bytes == 1 else zlib.Z_DEFAULT_STRATEGY
        self._crc = self._size = 0
        self._zeros: dict[int, bytes] = {}
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def write(self, block: memoryview | bytes) -> None:
        self._crc = zlib_ng.crc32(block, self._crc)
        self._size += len(block)
        if np.frombuffer(block, np.uint8).any():
            self._file.write(self._compressed(block))
        else:
            if len(block) not in self._zeros:
                self._zeros[len(block)] = self._compressed(block)
            self._file.write(self._zeros[len(block)])

    def _compressed(self, block: memoryview | bytes) -> bytes:
        stream = zlib_ng.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, self._strategy)
        return stream.compress(block) + stream.flush(zlib.Z_FULL_FLUSH)

    def finish(self) -> None:
        end = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
        self._file.write(end + self._crc.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little"))

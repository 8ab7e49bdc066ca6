"""Files that once got past a reader; each was found by tests/fuzz, and is made here in its smallest form."""

import json
import re
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from suprem.errors import ConfigurationError, DicomError, VolumeError
from suprem.volumes import Volume
from suprem.volumes import _chunks as chunks
from suprem.volumes._dicom_elements import lengths_fit
from suprem.volumes.dicom import read_series
from suprem.volumes.io import read_ct, read_volume, write_volume
from suprem.volumes.slicer import read_segmentation, write_segmentation
from suprem.volumes.store import Store, StoreSettings, create_store, write_case, write_index
from tests.volumes.dicom_data import make_slices, random_hu, save_slices
from tests.volumes.test_io import random_array, save_nifti

SHAPE = (6, 7, 8)


def edited(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(re.sub(old, new, path.read_bytes(), count=1))
    return path


@pytest.mark.parametrize("code", [6, 1000, -1])
@pytest.mark.parametrize("field", ["sform_code", "qform_code"])
def test_orientation_codes_that_readers_understand_differently(tmp_path: Path, field: str, code: int) -> None:
    with pytest.raises(VolumeError, match=f"{field} {code}"):
        read_volume(save_nifti(tmp_path / "a.nii", random_array(shape=SHAPE), np.eye(4), **{field: code}))


# SimpleITK gave uninitialised memory for the first three, tried to take 2^64 bytes for the fourth.
@pytest.mark.parametrize("line", [b"", b"CompressedDataSize = 17\n", b"HeaderSize = 3\n", b"CompressedDataSize = -5\n"])
def test_metaimage_whose_compressed_voxels_are_not_where_it_says(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.mha"
    write_volume(Volume(random_array(shape=SHAPE), np.eye(4)), path)
    keeps = rb"\g<0>" if line.startswith(b"Header") else b""
    edited(path, rb"CompressedDataSize = \d+\n", keeps + line)
    with pytest.raises(VolumeError, match=r"CompressedDataSize|HeaderSize"):
        read_volume(path)


@pytest.mark.parametrize("value", [b"x", b"2", b"1 1", b"9" * 5000])
def test_metaimage_with_odd_channels(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "a.mha"
    write_volume(Volume(random_array(shape=SHAPE), np.eye(4)), path)
    edited(path, rb"DimSize", b"ElementNumberOfChannels = " + value + b"\nDimSize")
    with pytest.raises(VolumeError, match=r"not whole numbers|values per voxel") as caught:
        read_volume(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [b"-985", b"0", b"2", b"x"])  # SimpleITK crashed at the first
def test_metaimage_with_odd_dimensions(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "a.mha"
    write_volume(Volume(random_array(shape=SHAPE), np.eye(4)), path)
    edited(path, rb"NDims = 3", b"NDims = " + value)
    with pytest.raises(VolumeError, match="NDims"):
        read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_nifti_whose_voxels_begin_nowhere(tmp_path: Path, value: float) -> None:
    path = save_nifti(tmp_path / "a.nii", random_array(shape=SHAPE), np.eye(4))
    data = bytearray(path.read_bytes())
    data[108:112] = np.float32(value).tobytes()
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="which is impossible"):
        read_volume(path)


# DICOM


def length_of(data: bytes, tag: bytes) -> int:
    """Where the two bytes of an element's length stand."""
    return data.index(tag) + 6


def test_dicom_element_that_claims_gigabytes(tmp_path: Path) -> None:
    path = save_slices(make_slices(random_hu()), tmp_path)[2]
    data = bytearray(path.read_bytes())
    at = data.index(b"\xe0\x7f\x10\x00OW") + 8
    data[at : at + 4] = (2**32 - 2**20).to_bytes(4, "little")
    path.write_bytes(data)
    assert not lengths_fit(path)
    with pytest.raises(DicomError, match=f"{path.name} is a CT slice that cannot be read"):
        read_series(tmp_path)


@pytest.mark.parametrize("rows", [1000, 1])  # without pixels; with more pixels than rows
def test_dicom_rows_that_are_not_those_of_the_pixels(tmp_path: Path, rows: int) -> None:
    for path in save_slices(make_slices(random_hu()), tmp_path):
        data = bytearray(path.read_bytes())
        at = data.index(b"\x28\x00\x10\x00US") + 8
        data[at : at + 2] = rows.to_bytes(2, "little")
        path.write_bytes(data)
    with pytest.raises(DicomError, match="cannot be read"):
        read_series(tmp_path)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_dicom_icon_and_nested_sequences_are_not_mistaken_for_the_image(
    tmp_path: Path, implicit: bool, undefined: bool
) -> None:
    slices = make_slices(random_hu())
    for data in slices:
        icon = Dataset()
        icon.Rows, icon.Columns, icon.BitsAllocated, icon.SamplesPerPixel = 512, 512, 16, 1
        inner = Dataset()
        inner.CodeValue = "113014"
        icon.PurposeOfReferenceCodeSequence = Sequence([inner])
        icon.is_undefined_length_sequence_item = undefined
        data.IconImageSequence = Sequence([icon])
        data["IconImageSequence"].is_undefined_length = undefined
        if implicit:
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    paths = save_slices(slices, tmp_path)
    assert all(lengths_fit(path) for path in paths)
    np.testing.assert_array_equal(np.sort(read_series(tmp_path).array, axis=None), np.sort(random_hu(), axis=None))


def test_a_nested_element_beyond_the_end_is_seen(tmp_path: Path) -> None:
    (data,) = make_slices(random_hu((4, 4, 1)))
    inner = Dataset()
    inner.CodeValue = "113014"
    data.PurposeOfReferenceCodeSequence = Sequence([inner])
    (path,) = save_slices([data], tmp_path)
    assert lengths_fit(path)
    content = bytearray(path.read_bytes())
    at = length_of(content, b"\x08\x00\x00\x01SH")
    content[at : at + 2] = b"\xff\xff"
    path.write_bytes(content)
    assert not lengths_fit(path)


def test_dicom_values_beyond_int32(tmp_path: Path) -> None:
    slices = make_slices(random_hu((4, 4, 2)), intercept=0.0)
    for data in slices:
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 32, 32, 31, 0
        data.PixelData = np.full((4, 4), 3_000_000_000, np.uint32).tobytes()
    save_slices(slices, tmp_path)
    assert (read_series(tmp_path).array == 3_000_000_000).all()


# 3D Slicer


@pytest.mark.parametrize("line", [b"Segment0_\xff\xfe:=x\n", b"Segment" + b"9" * 900 + b"_Name:=x\n"])
def test_slicer_fields_that_nobody_can_have_written(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, np.ones(SHAPE, np.uint8), [frozenset(), frozenset({"liver"})], np.eye(4), ["liver"])
    edited(path, rb"Segment0_ID", line + b"Segment0_ID")
    assert read_segmentation(path).mask("liver").all()


# The store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    create_store(tmp_path, StoreSettings((1.5, 1.5, 2.0)))
    rng = np.random.default_rng(0)
    write_case(
        tmp_path, dataset="word", case="a", scan="a", subject="a", split=None, original_shape=SHAPE,
        original_affine=np.eye(4), ct=Volume(rng.integers(-1000, 1000, SHAPE).astype(np.int16), np.eye(4)),
    )  # fmt: skip
    write_index(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        {"affine": [[1, 0], [0], [0], [1]]},
        {"affine": [[[1]] * 4] * 4},
        {"affine": [[10**400, 0, 0, 0]] * 4},
        {"original_affine": [["1", "0", "0", "0"]] * 4},
        {"shape": [6, 7, 8.5]},
        {"shape": [6, 7, -8]},
        {"ignored_voxels": "many"},
        {"dataset": 3},
        {"annotated": [["liver"]]},
        {"labelled": "yes"},
        {"voxels": {"liver": float("inf")}},
        {"files": {"ct.b2nd": {"size": "1", "sha256": "x"}}},
    ],
)
def test_records_of_other_kinds(store: Path, change: dict[str, Any]) -> None:
    index = store / "index.jsonl"
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}))
    with pytest.raises(ConfigurationError, match=r"index\.jsonl is damaged"):
        Store.open(store)


def test_lists_in_lists(store: Path) -> None:
    index, deep = store / "index.jsonl", "[" * 900 + "]" * 900  # as deep as the parser goes
    index.write_text(json.dumps({**json.loads(index.read_text()), "flags": "DEEP"}).replace('"DEEP"', deep))
    with pytest.raises(ConfigurationError, match=r"index\.jsonl (is damaged|cannot be read)"):
        Store.open(store)


def test_whole_numbers_beyond_64_bits(store: Path) -> None:
    index = store / "index.jsonl"
    content = json.loads(index.read_text())
    content["affine"][0][0] = 10**30
    index.write_text(json.dumps(content))
    assert Store.open(store).records[0].spacing_mm[0] == pytest.approx(1e30)


def test_a_file_of_chunks_that_is_no_array(tmp_path: Path) -> None:
    blosc2.SChunk(chunksize=4096, data=bytes(4096), urlpath=str(tmp_path / "a.b2nd"))
    with pytest.raises(VolumeError, match="holds no array but a SChunk"):
        chunks.open_array(tmp_path / "a.b2nd", (4, 4, 4), ("int16",))


@pytest.mark.parametrize("name", ["index.jsonl", "store.json"])
def test_json_nested_without_end(store: Path, name: str) -> None:
    (store / name).write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Store.open(store)


def test_settings_with_infinite_numbers(store: Path) -> None:
    path = store / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hu_range": [0, float("inf")]}))
    with pytest.raises(ConfigurationError, match="is damaged"):
        Store.open(store)


def _header(text: str, rows: bytes = b"") -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + rows


@pytest.mark.parametrize(
    "content",
    [
        _header("{'descr': '<u2', 'fortran_order': False, 'shape': (1000000000, 4), }"),
        _header("{'descr': '<u2', 'fortran_order': False, 'shape': (1, 4"),
        _header("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 4), }", np.full(8, 65535, "<u2").tobytes()),
        _header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4), }", bytes(64)),
        b"PK\x03\x04" + bytes(60),
        b"\x93NUMPY\x07\x00",
    ],
    ids=["claims 8 GB", "cut", "outside of the scan", "objects", "an archive", "a later format"],
)
def test_foreground_that_is_damaged(store: Path, content: bytes) -> None:
    path = store / "cases/word/a/foreground.npy"
    path.write_bytes(content)
    for name in (store / "cases/word/a/case.json", store / "index.jsonl"):
        facts = json.loads(name.read_text())
        facts["files"]["foreground.npy"]["size"] = len(content)
        name.write_text(json.dumps(facts))
    with pytest.raises(VolumeError, match=r"foreground\.npy"):
        Store.open(store).case("word/a").foreground()


def test_valid_files_are_still_read(tmp_path: Path) -> None:
    volume = Volume(random_array(shape=SHAPE), np.eye(4))
    for suffix in ("mha", "nrrd", "nii"):
        write_volume(volume, tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_ct(tmp_path / f"a.{suffix}").array, volume.array)

"""Damaged, hostile and unsuitable images: one sentence that names the file, what is wrong and what to do."""

import gzip
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from suprem.errors import ConfigurationError, VolumeError
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct, read_volume, write_volume
from tests.volumes.test_io import random_array, save_nifti

SHAPE = (6, 7, 8)


def refused(path: Path, words: str, **options: object) -> str:
    """Reading ``path`` fails with one line that names it; next to nothing is allocated before."""
    tracemalloc.start()
    with pytest.raises(VolumeError) as caught:
        read_ct(path, **options)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    message = str(caught.value)
    assert re.search(words, message), message
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert peak < 2**26
    return message


def plain(path: Path) -> Path:
    write_volume(Volume(random_array(shape=SHAPE) - np.int16(1000), np.eye(4)), path)
    return path


def edit(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(old) == 1, data[:600]
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha", "nii"])
@pytest.mark.parametrize("left", [0, 10, 0.5, 0.98])
def test_truncated(tmp_path: Path, suffix: str, left: float) -> None:
    path = plain(tmp_path / f"cut.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: left if left > 1 else int(left * len(data))])
    refused(path, "truncated|damaged|ends after|is not a|empty|no end of header|no '")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("where", [0.6, 0.8, 0.95])
def test_damaged_in_the_middle(tmp_path: Path, suffix: str, where: float) -> None:
    path = plain(tmp_path / f"bad.{suffix}")
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 0xFF
    path.write_bytes(data)
    refused(path, "damaged|ends after")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    "dim", [(3, 10_000, 10_000, 10_000), (3, 500, 500, 500), (3, 30_000, 30_000, 2), (3, -5, 7, 8)]
)
def test_nifti_header_claims_too_much(tmp_path: Path, suffix: str, dim: tuple[int, ...]) -> None:
    path = save_nifti(tmp_path / f"claim.{suffix}", random_array(shape=SHAPE), np.eye(4), dim=(*dim, 1, 1, 1, 1))
    refused(path, "claims")


def test_nifti2_header_claims_more_than_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "claim.nii"
    nib.save(nib.Nifti2Image(random_array(shape=SHAPE), np.eye(4)), path)
    data = bytearray(path.read_bytes())
    data[24:48] = np.array([2**40, 2**40, 2**40], dtype="<i8").tobytes()
    path.write_bytes(data)
    refused(path, "claims 1099511627776 x")


def test_claims_of_nrrd_and_metaimage(tmp_path: Path) -> None:
    refused(edit(plain(tmp_path / "a.nrrd"), b"sizes: 6 7 8", b"sizes: 10000 10000 10000"), "claims 10000")
    refused(edit(plain(tmp_path / "b.nrrd"), b"sizes: 6 7 8", b"sizes: 600 700 800"), "claims 600")
    refused(edit(plain(tmp_path / "a.mha"), b"DimSize = 6 7 8", b"DimSize = 10000 10000 10000"), "claims 10000")
    refused(edit(plain(tmp_path / "b.mha"), b"DimSize = 6 7 8", b"DimSize = 600 700 800"), "claims 600")
    refused(edit(plain(tmp_path / "c.mha"), b"DimSize = 6 7 8", b"DimSize = 6 seven 8"), "not whole numbers")


def test_a_bomb_behind_a_modest_header(tmp_path: Path) -> None:
    path = plain(tmp_path / "bomb.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**27)))
    refused(path, "more data than its header claims")


def test_the_voxel_limit_is_an_argument(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.nii.gz")
    assert read_ct(path, max_voxels=6 * 7 * 8).shape == SHAPE
    refused(path, "limit of 335", max_voxels=335)
    for suffix in ("nrrd", "mha"):
        refused(plain(tmp_path / f"a.{suffix}"), "limit of 335", max_voxels=335)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_not_finite(tmp_path: Path, value: float, suffix: str) -> None:
    array = random_array("float32", SHAPE)
    array[1, 2, 3] = array[5, 6, 7] = value
    write_volume(Volume(array, np.eye(4)), tmp_path / f"a.{suffix}")
    refused(tmp_path / f"a.{suffix}", "2 voxels that are NaN, infinite or beyond 3.4e\\+38")


def test_more_than_float32_holds(tmp_path: Path) -> None:
    array = np.full(SHAPE, 40.0)
    array[1, 2, 3] = 1e131
    write_volume(Volume(array, np.eye(4)), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "1 voxels that are NaN, infinite or beyond")
    assert read_volume(tmp_path / "a.nii").array[1, 2, 3] == 1e131
    data = bytearray(plain(tmp_path / "b.nii").read_bytes())
    data[112:116] = np.float32(2e37).tobytes()  # scl_slope
    (tmp_path / "b.nii").write_bytes(data)
    refused(tmp_path / "b.nii", "beyond")
    assert np.isfinite(read_volume(tmp_path / "b.nii").array).all()


def test_a_size_before_its_time_in_metaimage(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.mha")
    lines = rb"(CompressedData = True\n)(CompressedDataSize = \d+\n)"
    content, count = re.subn(lines, rb"\2\1", path.read_bytes())
    assert count == 1
    path.write_bytes(content)
    refused(path, "CompressedDataSize before CompressedData")


def test_half_a_yes_in_metaimage(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.mha")
    path.write_bytes(re.sub(rb"CompressedData = \w+", b"CompressedData = 1,5", path.read_bytes()))
    refused(path, "neither True nor False")


@pytest.mark.parametrize("line", [b"kinds: domain domain " + b"x" * 5000, b"y" * 5000, b"z" * 5000 + b":=1"])
def test_long_lines_of_nrrd(tmp_path: Path, line: bytes) -> None:
    path = plain(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"kinds: domain domain domain", line))
    refused(path, "of 50[0-9]{2} characters")


def test_long_texts_of_nrrd(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.nrrd")
    free = b"content: " + b"c" * 5000 + b"\n# " + b"d" * 5000 + b"\nkey:=" + b"e" * 5000 + b"\nkinds: "
    path.write_bytes(path.read_bytes().replace(b"kinds: ", free))
    assert read_ct(path).shape == SHAPE


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_nifti_spacing(tmp_path: Path, spacing: float, axis: int) -> None:
    pixdim = [1.0] * 8
    pixdim[axis] = spacing
    refused(save_nifti(tmp_path / "a.nii.gz", random_array(shape=SHAPE), np.eye(4), pixdim=pixdim), "spacing")


def test_spacing_of_nrrd_and_metaimage(tmp_path: Path) -> None:
    refused(edit(plain(tmp_path / "a.mha"), b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 0"), "spacing|export")
    refused(edit(plain(tmp_path / "b.mha"), b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 -1 1"), "spacing")
    refused(edit(plain(tmp_path / "a.nrrd"), b"(0,0,1)", b"(0,0,0)"), "spacing|export")


def test_zero_sform_column(tmp_path: Path) -> None:
    srow = np.eye(4)[:3]
    srow[2, 2] = 0
    image = nib.Nifti1Image(random_array(shape=SHAPE), np.eye(4))
    image.set_sform(np.eye(4), 1)
    nib.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[280:328] = srow.astype("<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    refused(tmp_path / "a.nii", "spacing")


@pytest.mark.parametrize(
    ("shape", "words"), [((6, 7), "is 2-D"), ((6, 7, 8, 2), "is 4-D"), ((6, 7, 1), "single slice")]
)
def test_dimensions(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    nib.save(
        nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.eye(4)), tmp_path / "a.nii.gz"
    )
    refused(tmp_path / "a.nii.gz", words)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_dimensions_of_nrrd_and_metaimage(tmp_path: Path, suffix: str) -> None:
    flat = sitk.GetImageFromArray(np.zeros((4, 5), np.int16))
    sitk.WriteImage(flat, str(tmp_path / f"flat.{suffix}"))
    refused(tmp_path / f"flat.{suffix}", "is 2-D")
    series = sitk.JoinSeries([sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))] * 2)
    sitk.WriteImage(series, str(tmp_path / f"series.{suffix}"))
    refused(tmp_path / f"series.{suffix}", "is 4-D")
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / f"colour.{suffix}"))
    refused(tmp_path / f"colour.{suffix}", "colour|vector")


def test_trailing_axes_of_one_are_dropped(tmp_path: Path) -> None:
    array = random_array(shape=SHAPE) - np.int16(1000)
    nib.save(nib.Nifti1Image(array[..., None], np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "a.nii.gz").array, array)
    image = sitk.JoinSeries([sitk.GetImageFromArray(np.ascontiguousarray(array.T))])
    for suffix in ("nrrd", "mha"):
        sitk.WriteImage(image, str(tmp_path / f"a.{suffix}"))
        np.testing.assert_array_equal(read_ct(tmp_path / f"a.{suffix}").array, array)


def test_colour_and_complex_nifti(tmp_path: Path) -> None:
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
    refused(tmp_path / "rgb.nii.gz", "RGB colours")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.complex64), np.eye(4)), tmp_path / "c.nii.gz")
    refused(tmp_path / "c.nii.gz", "complex")


def test_sheared_axes_are_refused_and_rounding_is_not(tmp_path: Path) -> None:
    for size, fine in ((5e-4, True), (0.01, False), (0.2, False)):
        affine = np.diag([0.8, 0.8, 2.0, 1.0])
        affine[1, 2] = size * 2.0
        image = nib.Nifti1Image(random_array(shape=SHAPE) - np.int16(1000), affine)
        image.set_sform(affine, 1)
        nib.save(image, tmp_path / "shear.nii.gz")
        if fine:
            np.testing.assert_array_equal(read_ct(tmp_path / "shear.nii.gz").affine, image.affine)
        else:
            refused(tmp_path / "shear.nii.gz", "sheared axes")
    refused(edit(plain(tmp_path / "a.nrrd"), b"(0,0,1)", b"(0,0.2,1)"), "sheared axes")


def test_scaling_that_is_not_finite(tmp_path: Path) -> None:
    refused(save_nifti(tmp_path / "a.nii", random_array(shape=SHAPE), np.eye(4), scl_slope=np.inf), "scl_slope")


def test_units_other_than_millimetres(tmp_path: Path) -> None:
    refused(save_nifti(tmp_path / "a.nii", random_array(shape=SHAPE), np.eye(4), xyzt_units=1), "metres")


def test_unoriented_file_warns(tmp_path: Path) -> None:
    path = save_nifti(
        tmp_path / "a.nii", random_array(shape=SHAPE) - np.int16(9), np.eye(4), sform_code=0, qform_code=0
    )
    assert "no orientation" in read_ct(path).warnings[0]
    np.testing.assert_array_equal(read_ct(path).affine, nib.load(path).affine)


def test_intensities_that_are_not_hu(tmp_path: Path) -> None:
    write_volume(Volume(random_array("uint8", SHAPE), np.eye(4)), tmp_path / "a.nii.gz")
    assert "check its rescaling" in read_ct(tmp_path / "a.nii.gz").warnings[0]
    write_volume(Volume(np.full(SHAPE, -1000, np.int16), np.eye(4)), tmp_path / "b.nii.gz")
    refused(tmp_path / "b.nii.gz", "-1000 in every voxel")


def test_data_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(6 * 7 * 8 * 2))
    outside = str(tmp_path / "secret.raw").encode()
    (tmp_path / "in").mkdir()
    for target in (outside, b"../secret.raw", b"LIST", b"%03d.raw"):
        path = edit(plain(tmp_path / "in" / "a.mha"), b"ElementDataFile = LOCAL", b"ElementDataFile = " + target)
        refused(path, "outside its folder")
    path = edit(plain(tmp_path / "in" / "a.nrrd"), b"encoding: gzip", b"encoding: gzip\ndata file: " + outside)
    refused(path, "in another file")
    path = edit(plain(tmp_path / "in" / "b.mha"), b"ElementDataFile = LOCAL", b"ElementDataFile = gone.raw")
    refused(path, "does not exist")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nii.gz", b"", "is empty"),
        ("a.nii.gz", gzip.compress(b"hello" * 200, mtime=0), "is not a NIfTI file"),
        ("a.nii", b"\x89PNG" + bytes(400), "is not a NIfTI file"),
        ("a.nrrd", b"\x89PNG" + bytes(400), "is not an NRRD file"),
        ("a.mha", b"\x89PNG" + bytes(400), "ElementDataFile"),
        ("a.nii", (348).to_bytes(4, "little") + bytes(400), "Analyze"),
        ("a.png", b"\x89PNG" + bytes(400), "not an image that is read"),
        ("a.dcm", bytes(400), "Give the folder of a DICOM series"),
    ],
)
def test_other_content(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, words)


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "a.nii.gz", "does not exist")


@pytest.mark.parametrize("reader", [read_ct, read_volume])
def test_series_makes_no_sense_for_a_file(tmp_path: Path, reader: Callable[..., Volume]) -> None:
    with pytest.raises(ConfigurationError, match="not a DICOM folder"):
        reader(plain(tmp_path / "a.nii.gz"), series=3)

"""Files in and out, checked with nibabel and SimpleITK."""

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from suprem.errors import ConfigurationError, OutputError, VolumeError
from suprem.volumes import io
from suprem.volumes.geometry import Volume, to_ras
from suprem.volumes.io import read_ct, read_volume, write_volume
from tests.volumes.test_geometry import ORIENTATIONS, oriented_affine

FORMATS = ("nii.gz", "nii", "nrrd", "mha")
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def random_array(dtype: str = "int16", shape: tuple[int, int, int] = (5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def oblique(affine: np.ndarray) -> np.ndarray:
    turned = affine.copy()
    turned[:3, :3] = Rotation.from_euler("xyz", (31, -12, 7), degrees=True).as_matrix() @ affine[:3, :3]
    return turned


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, **header: object) -> Path:
    """With nibabel; ``header`` overwrites fields."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 2)
    image.set_qform(affine, 1)
    nib.save(image, path)
    if header:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        fields = nib.Nifti1Header(raw[:348], check=False)
        for key, value in header.items():
            fields[key] = value
        raw = fields.binaryblock + raw[348:]
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_of_every_dtype(tmp_path: Path, suffix: str, dtype: str) -> None:
    volume = Volume(random_array(dtype), oblique(oriented_affine("LPS")))
    path = tmp_path / f"a.{suffix}"
    write_volume(volume, path)
    back = read_volume(path)
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_simpleitk_sees_the_same_image(tmp_path: Path, suffix: str) -> None:
    volume = Volume(random_array(), oblique(oriented_affine("PIR")))
    path = tmp_path / f"a.{suffix}"
    write_volume(volume, path, description="numbering: universal_32")
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, volume.array)
    for index in ((0, 0, 0), (4, 0, 0), (1, 5, 6)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(lps * (-1, -1, 1), (volume.affine @ (*index, 1))[:3], atol=1e-4)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_simpleitk_writes_is_read(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.ascontiguousarray(random_array().T))
    image.SetSpacing((0.7, 1.5, 3.0))
    image.SetOrigin((1.0, -2.0, 3.5))
    image.SetDirection(Rotation.from_euler("xyz", (31, -12, 7), degrees=True).as_matrix().ravel().tolist())
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(image, str(path), useCompression=True)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, random_array())
    for index in ((0, 0, 0), (4, 0, 0), (1, 5, 6)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(lps * (-1, -1, 1), (volume.affine @ (*index, 1))[:3], atol=1e-4)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("turned", [False, True])
def test_labels_come_back_on_the_scanner_grid(tmp_path: Path, codes: str, turned: bool) -> None:
    """Scan -> RAS -> labels -> scanner grid -> file: voxels bit-exact, affine as nibabel reads it identical."""
    affine = oblique(oriented_affine(codes)) if turned else oriented_affine(codes)
    source = save_nifti(tmp_path / "ct.nii.gz", random_array(), affine)
    scan = read_volume(source)
    np.testing.assert_array_equal(scan.affine, nib.load(source).affine)
    ras, step = to_ras(scan)
    labels = (ras.array > 50).astype(np.uint8)
    write_volume(replace(scan, array=step.invert(labels)), tmp_path / "mask.nii.gz")
    mask = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, nib.load(source).affine)
    np.testing.assert_array_equal(mask.dataobj, random_array() > 50)
    ours, theirs = (sitk.ReadImage(str(tmp_path / name)) for name in ("mask.nii.gz", "ct.nii.gz"))
    assert ours.GetOrigin() == theirs.GetOrigin()
    assert ours.GetDirection() == theirs.GetDirection()
    assert ours.GetSpacing() == theirs.GetSpacing()


@pytest.mark.parametrize(("sform", "qform"), [(2, 0), (0, 1), (4, 2), (1, 1), (0, 0)])
def test_orientation_fields_are_kept_digit_for_digit(tmp_path: Path, sform: int, qform: int) -> None:
    source = save_nifti(
        tmp_path / "a.nii", random_array(), oblique(oriented_affine("LAS")), sform_code=sform, qform_code=qform
    )
    scan = read_volume(source)
    write_volume(replace(scan, array=scan.array > 3), tmp_path / "b.nii")
    before, after = nib.load(source), nib.load(tmp_path / "b.nii")
    np.testing.assert_array_equal(before.affine, after.affine)
    # nibabel computes the quaternion's rotation in its own order of operations.
    np.testing.assert_allclose(scan.affine, before.affine, atol=1e-5)
    for key in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_z"):
        np.testing.assert_array_equal(before.header[key], after.header[key])
    np.testing.assert_array_equal(before.header["pixdim"][:4], after.header["pixdim"][:4])
    assert bool(scan.warnings) == (sform == qform == 0)


def test_new_geometry_gets_new_fields(tmp_path: Path) -> None:
    scan = read_volume(save_nifti(tmp_path / "a.nii", random_array(), oriented_affine("LAS")))
    moved = scan.affine + 1
    moved[3] = (0, 0, 0, 1)
    write_volume(replace(scan, affine=moved), tmp_path / "b.nii.gz", description="x" * 200)
    image = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(image.affine, moved, rtol=1e-6)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert len(image.header["descrip"].item()) == 79


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SPR"])
def test_qform_and_sform_agree(tmp_path: Path, codes: str) -> None:
    affine = oblique(oriented_affine(codes))
    write_volume(Volume(random_array(), affine), tmp_path / "a.nii", description="model x")
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-4)
    np.testing.assert_array_equal(image.get_sform(), affine.astype(np.float32))
    assert image.header["descrip"].item() == b"model x"


def test_qform_conflict_is_told_and_the_sform_used(tmp_path: Path) -> None:
    other = oriented_affine("LAS")
    other[0, 3] += 20
    image = nib.Nifti1Image(random_array(), oriented_affine("LAS"))
    image.set_sform(oriented_affine("LAS"), 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.affine, image.get_sform())
    assert "qform that disagrees" in volume.warnings[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", "<>")
def test_nifti_of_either_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    image = nib.Nifti1Image(random_array(dtype), np.eye(4), nib.Nifti1Header(endianness=order))
    image.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    nib.save(image, tmp_path / "a.nii.gz")
    array = read_volume(tmp_path / "a.nii.gz").array
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, random_array(dtype))


def test_nifti2_and_64_bit(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(random_array("int64"), oriented_affine("LAS"), dtype="int64"), tmp_path / "a.nii.gz")
    volume = read_ct(tmp_path / "a.nii.gz")
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, random_array())
    np.testing.assert_array_equal(volume.affine, nib.load(tmp_path / "a.nii.gz").affine)


@pytest.mark.parametrize(
    ("dtype", "slope", "inter"),
    [("int16", 1, -1024), ("uint8", 2, 0), ("uint16", 0.5, -3), ("int16", 0, 5), ("int16", np.nan, 5), ("int32", 3, 1)],
)
def test_scaling_equals_nibabel(tmp_path: Path, dtype: str, slope: float, inter: float) -> None:
    path = save_nifti(tmp_path / "a.nii", random_array(dtype), np.eye(4), scl_slope=slope, scl_inter=inter)
    np.testing.assert_allclose(read_volume(path).array, nib.load(path).get_fdata(), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(st.sampled_from(["uint8", "int16", "float32"]), hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)),
    st.tuples(*[st.floats(0.2, 8)] * 3),
    st.tuples(*[st.floats(-180, 180)] * 3),
)
def test_any_grid_round_trips(tmp_path_factory: pytest.TempPathFactory, array, spacing, angles) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    path = tmp_path_factory.mktemp("any") / "a.nii.gz"
    write_volume(Volume(array, affine), path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_array_equal(nib.load(path).dataobj, array)
    np.testing.assert_array_equal(back.affine, affine.astype(np.float32))
    np.testing.assert_array_equal(back.affine, nib.load(path).affine)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_large_masks_in_blocks(tmp_path: Path, order: str, dtype: str) -> None:
    """More than one compressed block and slab, all-zero blocks included; valid for gzip, nibabel and ITK."""
    array = np.zeros((160, 150, 140), dtype=dtype, order=order)
    array[20:60, 30:70, 70:75] = 1
    write_volume(Volume(array, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, array)
    np.testing.assert_array_equal(nib.load(tmp_path / "a.nii.gz").dataobj, array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz"))).T, array)
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + array.astype(np.uint8).size * (
        2 if dtype == "uint16" else 1
    )


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(Volume(random_array(), np.eye(4)), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", ["nii.gz", "nii"])
def test_reading_holds_one_array(tmp_path: Path, suffix: str) -> None:
    array = np.zeros((256, 256, 128), dtype=np.int16)
    array[0, 0, 0] = -1000
    write_volume(Volume(array, np.eye(4)), tmp_path / f"a.{suffix}")
    tracemalloc.start()
    read_ct(tmp_path / f"a.{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * array.nbytes


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([-1024, 3071]), np.int16),
        (np.array([-1024.0, 3071.0]), np.int16),
        (np.array([-1024, 40000]), np.float32),
        (np.array([-1024.5, 10.0]), np.float32),
    ],
)
def test_read_ct_is_int16_where_nothing_is_lost(tmp_path: Path, values: np.ndarray, dtype: type) -> None:
    kind = np.float64 if values.dtype.kind == "f" else np.int32
    array = np.resize(values, (3, 4, 5)).astype(kind)
    write_volume(Volume(array, np.eye(4)), tmp_path / "a.nii")
    volume = read_ct(tmp_path / "a.nii")
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    assert volume.warnings == ()


def test_real_scan(real_ct: Path) -> None:
    volume, image = read_ct(real_ct), nib.load(real_ct)
    assert volume.array.dtype == np.int16
    assert volume.orientation == "RAS"
    np.testing.assert_array_equal(volume.array, image.dataobj)
    np.testing.assert_array_equal(volume.affine, image.affine)


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    write_volume(Volume(random_array(), np.eye(4)), tmp_path / "a.nii.gz")
    write_volume(Volume(random_array(), np.eye(4)), tmp_path / "b.nii")
    (tmp_path / "a.nii.gz").rename(tmp_path / "c.nii")
    (tmp_path / "b.nii").rename(tmp_path / "d.nii.gz")
    for name in ("c.nii", "d.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, random_array())


def test_mhd_with_its_raw_file(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(random_array().T)), str(tmp_path / "a.mhd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mhd").array, random_array())


@pytest.mark.parametrize("name", ["a.img", "a.tif", "a", "a.mhd"])
def test_other_endings_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="ending"):
        write_volume(Volume(random_array(), np.eye(4)), tmp_path / name)


def test_dtypes_without_a_file_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="complex128"):
        write_volume(Volume(random_array().astype(complex), np.eye(4)), tmp_path / "a.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_a_write_that_simpleitk_breaks_off_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    write = sitk.WriteImage

    def broken(image: sitk.Image, path: str, **options: bool) -> None:
        write(image, path, **options)
        Path(path).write_bytes(Path(path).read_bytes()[:-40])

    monkeypatch.setattr(sitk, "WriteImage", broken)
    with pytest.raises(OutputError, match="incomplete"):
        write_volume(Volume(random_array(), np.eye(4)), tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_image_suffix() -> None:
    assert io.image_suffix("x/A.Nii.GZ") == ".nii.gz"
    assert io.image_suffix("x.gz") is None

"""Segmentations as 3D Slicer saves them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from suprem.errors import UnknownNameError, VolumeError
from suprem.volumes.slicer import read_segmentation, terminology_entry, write_points, write_segmentation

SHAPE = (7, 5, 4)
AFFINE = np.array([[1.5, 0, 0, -10.0], [0, 2.0, 0, 20.5], [0, 0, 3.0, 5.0], [0, 0, 0, 1]])
HEADER = """NRRD0004
type: unsigned char
dimension: {dimension}
space: left-posterior-superior
sizes: {sizes}
space directions: {none}(-1.5,0,0) (0,-2,0) (0,0,3)
kinds: {kinds}domain domain domain
encoding: gzip
space origin: (10,-20.5,5)
"""


def _palette(seed: int, count: int) -> tuple[np.ndarray, list[frozenset[str]], dict[str, np.ndarray]]:
    """Random palette labels of overlapping structures, and the masks that they mean."""
    rng = np.random.default_rng(seed)
    names = ["spleen", "liver", "liver_tumor", "kidney_left", "my organ"][:count]
    masks = {name: rng.random(SHAPE) < rng.uniform(0, 0.6) for name in names}
    indices = sum((mask.astype(np.uint8) << bit for bit, mask in enumerate(masks.values())), np.zeros(SHAPE, np.uint8))
    table = [frozenset(name for bit, name in enumerate(names) if index >> bit & 1) for index in range(2**count)]
    return indices, table, masks


@pytest.mark.parametrize("seed", range(12))
def test_simpleitk_reads_back_the_same_masks(tmp_path: Path, seed: int) -> None:
    indices, table, masks = _palette(seed, 1 + seed % 5)
    path = tmp_path / "labels.seg.nrrd"
    write_segmentation(path, indices, table, AFFINE, masks)
    image = sitk.ReadImage(str(path))  # an independent reader of the format
    facts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image).T
    layers = array if array.ndim == 4 else array[None]
    assert np.allclose(image.GetOrigin(), (10.0, -20.5, 5.0))
    assert np.allclose(image.GetSpacing(), (1.5, 2.0, 3.0))
    for number, (name, mask) in enumerate(masks.items()):
        field = f"Segment{number}_"
        assert (facts[field + "ID"], facts[field + "Name"]) == (name, name)
        assert np.array_equal(layers[int(facts[field + "Layer"])] == int(facts[field + "LabelValue"]), mask)
        # Slicer crops a layer to the extent of its first segment.
        assert facts[field + "Extent"] == "0 6 0 4 0 3"
    found = read_segmentation(path)
    assert np.allclose(found.affine, AFFINE)
    assert all(np.array_equal(found.mask(name), mask) for name, mask in masks.items())


def test_disjoint_structures_share_a_layer_and_empty_ones_are_listed(tmp_path: Path) -> None:
    indices = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3).astype(np.uint8)
    table = [frozenset[str](), frozenset({"liver"}), frozenset({"spleen"})]
    path = tmp_path / "labels.seg.nrrd"
    write_segmentation(path, indices, table, AFFINE, ["liver", "spleen", "aorta"], flagged=["spleen"])
    found = read_segmentation(path)
    assert found.layers.shape == (1, *SHAPE)
    assert [segment.name for segment in found.segments] == ["liver", "spleen", "aorta"]
    assert not found.mask("aorta").any()
    tags = [sitk.ReadImage(str(path)).GetMetaData(f"Segment{number}_Tags") for number in range(3)]
    assert ["Segmentation.Status:flagged|" in text for text in tags] == [False, True, False]
    with pytest.raises(UnknownNameError, match="liver"):
        found.mask("livr")


def test_terminology() -> None:
    parts = terminology_entry("kidney_tumor").split("~")
    assert len(parts) == 7
    assert parts[1:4] == ["SCT^49755003^Morphologically Abnormal Structure", "SCT^108369006^Neoplasm", "^^"]
    assert parts[5:] == ["SCT^64033007^Kidney", "^^"]  # of either side
    assert terminology_entry("lung_right").split("~")[2:4] == ["SCT^39607008^Lung", "SCT^24028007^Right"]
    assert terminology_entry("flux capacitor").split("~")[2] == "SCT^85756007^Tissue"


def test_points(tmp_path: Path) -> None:
    path = tmp_path / "points.mrk.json"
    write_points(path, [("aorta", "leaks, here", (10.0, -20.5, 3.0)), ("liver", "hole", (0.0, 1.0, 2.0))])
    (markup,) = json.loads(path.read_text())["markups"]
    assert (markup["type"], markup["coordinateSystem"]) == ("Fiducial", "LPS")
    found = [(point["label"], point["description"], point["position"]) for point in markup["controlPoints"]]
    assert found == [("aorta", "leaks, here", [-10.0, 20.5, 3.0]), ("liver", "hole", [0.0, -1.0, 2.0])]


def _file(path: Path, layers: np.ndarray, fields: str) -> Path:
    """As Slicer writes it: the list axis first, here in other orders and places than we write."""
    several = len(layers) > 1
    sizes = [len(layers)] * several + list(layers.shape[1:])
    header = HEADER.format(
        dimension=len(sizes), sizes=" ".join(map(str, sizes)), none="none " * several, kinds="list " * several
    )
    path.write_bytes(header.encode() + fields.encode() + b"\n" + gzip.compress(layers.tobytes(order="F")))
    return path


def test_layers_of_old_slicer_files(tmp_path: Path) -> None:
    layers = (np.random.default_rng(0).random((2, *SHAPE)) < 0.5).astype(np.uint8)
    found = read_segmentation(_file(tmp_path / "a.seg.nrrd", layers, "Segment0_Name:=liver\nSegment1_ID:=spleen\n"))
    assert np.array_equal(found.mask("liver"), layers[0] == 1)
    assert np.array_equal(found.mask("spleen"), layers[1] == 1)
    assert np.allclose(found.affine, AFFINE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "names no segments"),
        ("Segment0_Name:=liver\nSegment0_Layer:=1\n", "layer 1 of 1"),
        ("Segment0_Name:=liver\nSegment0_Layer:=0\nSegment0_LabelValue:=x\n", "'x'"),
        ("Segment0_Name:=a\nSegment0_Layer:=0\nSegment1_Name:=a\nSegment1_Layer:=0\n", "several segments called a"),
    ],
)
def test_headers_that_cannot_be(tmp_path: Path, fields: str, message: str) -> None:
    path = _file(tmp_path / "a.seg.nrrd", np.ones((1, *SHAPE), np.uint8), fields)
    with pytest.raises(VolumeError, match=message):
        read_segmentation(path)


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="does not exist"):
        read_segmentation(tmp_path / "no.seg.nrrd")
    path = _file(tmp_path / "a.seg.nrrd", np.ones((2, *SHAPE), np.uint8), "Segment0_Name:=liver\n")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(VolumeError, match=r"damaged|ends after"):
        read_segmentation(path)
    path.write_bytes(path.read_bytes().replace(b"sizes: 2 7 5 4", b"sizes: 2 7000 5000 4000"))
    with pytest.raises(VolumeError, match="claims"):
        read_segmentation(path)

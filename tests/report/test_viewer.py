"""The packed volumes, unpacked with zlib and NumPy and compared with the scan."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from suprem.errors import ConfigurationError, OutputError, VolumeError
from suprem.report import StructureRow, Viewer, ViewerBuilder
from suprem.report._grid import MAX_VOXELS, ReducedGrid
from suprem.report.companding import expand
from suprem.volumes import Volume


def unpacked(text: str, viewer: Viewer, dtype: str = "<u1") -> np.ndarray:
    """(X, Y, Z), as the page sees it."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)
    return raw.reshape(viewer.geometry["shape"][::-1]).transpose(2, 1, 0)


def scan(shape: tuple[int, int, int], signs: tuple[int, int, int] = (1, 1, 1), seed: int = 0) -> Volume:
    array = np.random.default_rng(seed).integers(-150, 240, shape, dtype=np.int16)
    affine = np.diag([*(np.array([0.8, 0.8, 2.5]) * signs), 1.0])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Volume(array, affine, "made up")


def members(viewer: Viewer, layer: int = 0) -> np.ndarray:
    """object (X, Y, Z): names of the structures at each voxel."""
    packed = viewer.layers[layer]
    index = unpacked(packed.data, viewer, f"<u{packed.bytes_per_voxel}")
    names = np.empty(len(packed.palette), dtype=object)
    names[:] = [frozenset(viewer.structures[n].name for n in entry) for entry in packed.palette]
    return names[index]


def holds(viewer: Viewer, name: str, layer: int = 0) -> np.ndarray:
    return np.vectorize(lambda names: name in names, otypes=[bool])(members(viewer, layer))


def test_a_small_scan_is_kept_voxel_by_voxel() -> None:
    ct = scan((9, 8, 7))
    viewer = ViewerBuilder(ct).build()
    assert viewer.geometry["shape"] == (9, 8, 7)
    assert np.abs(expand(unpacked(viewer.ct, viewer)) - ct.array).max() <= 1


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_axes_grow_to_the_right_the_front_and_the_head(signs: tuple[int, int, int]) -> None:
    ct = scan((9, 8, 7), signs)
    mask = np.zeros(ct.shape, dtype=bool)
    mask[1, 2, 5] = True
    builder = ViewerBuilder(ct)
    builder.add("spleen", mask)
    viewer = builder.build()
    turned = tuple(i if sign > 0 else n - 1 - i for i, n, sign in zip((1, 2, 5), ct.shape, signs, strict=True))
    assert viewer.structures[0].centre == turned
    assert np.argwhere(holds(viewer, "spleen")).tolist() == [list(turned)]
    assert abs(expand(unpacked(viewer.ct, viewer))[turned] - ct.array[1, 2, 5]) <= 1
    # The place in the patient is the scan's own.
    place = np.array(viewer.geometry["affine"]) @ (*turned, 1)
    np.testing.assert_allclose(place, (ct.affine @ (1, 2, 5, 1))[:3], atol=1e-4)
    assert [axis["flip"] for axis in viewer.geometry["axes"]] == [sign < 0 for sign in signs]


def test_permuted_axes_are_named_as_the_scan_names_them() -> None:
    base = scan((9, 8, 7))
    ct = Volume(base.array.transpose(2, 0, 1), base.affine[:, [2, 0, 1, 3]], "turned")
    geometry = ViewerBuilder(ct).build().geometry
    assert geometry["shape"] == (9, 8, 7)
    assert [(axis["name"], axis["size"]) for axis in geometry["axes"]] == [("y", 9), ("z", 8), ("x", 7)]


def test_large_planes_are_averaged_over_blocks() -> None:
    ct = scan((512, 512, 3))
    viewer = ViewerBuilder(ct).build()
    assert viewer.geometry["shape"] == (256, 256, 3)
    assert viewer.geometry["spacing"] == [1.6, 1.6, 2.5]
    blocks = ct.array.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(expand(unpacked(viewer.ct, viewer)) - blocks).max() <= 1.5
    # The outer faces stay where they were: the middle of the first block is between its two voxels.
    np.testing.assert_allclose(np.array(viewer.geometry["affine"])[:, 3], (ct.affine @ (0.5, 0.5, 0, 1))[:3], atol=1e-4)


def test_odd_ratios_keep_the_mean() -> None:
    ct = scan((391, 300, 4))
    grid = ReducedGrid.of(ct)
    assert grid.shape == (256, 256, 4)
    ramp = Volume(np.broadcast_to(np.arange(391, dtype=np.float32)[:, None, None] / 2, ct.shape), ct.affine)
    values = expand(ReducedGrid.of(ramp).codes()).transpose(2, 1, 0)
    middles = ((np.arange(256) + 0.5) * 391 / 256 - 0.5) / 2
    assert np.abs(values - middles[:, None, None]).max() <= 1.5 + 0.1


def test_very_many_slices_are_averaged_too() -> None:
    ct = Volume(np.zeros((256, 256, 700), np.int8), np.eye(4))
    shape = ReducedGrid.of(ct).shape
    assert shape == (256, 256, MAX_VOXELS // 256**2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_masks_are_looked_up_at_the_centres(order: tuple[int, int, int]) -> None:
    """The same whatever the order of the axes in memory."""
    ct = scan((512, 300, 6))
    mask = np.zeros([ct.shape[a] for a in order], dtype=bool).transpose(np.argsort(order))
    mask[100:200, 40:90, 1:4] = True
    builder = ViewerBuilder(ct)
    builder.add("liver", mask)
    viewer = builder.build()
    x, y, z = (
        np.floor((np.arange(m) + 0.5) * n / m).astype(int)
        for n, m in zip(ct.shape, viewer.geometry["shape"], strict=True)
    )
    np.testing.assert_array_equal(holds(viewer, "liver"), mask[np.ix_(x, y, z)])


def test_nothing_disappears() -> None:
    ct = scan((512, 512, 3))
    mask = np.zeros(ct.shape, dtype=bool)
    mask[100, 201, 1] = True  # missed by the centres of the blocks of four
    builder = ViewerBuilder(ct)
    builder.add("liver_tumor", mask)
    viewer = builder.build()
    assert np.argwhere(holds(viewer, "liver_tumor")).tolist() == [[50, 100, 1]]
    assert viewer.structures[0].centre == (50, 100, 1)


def _boxes(ct: Volume) -> dict[str, np.ndarray]:
    liver, tumour = np.zeros(ct.shape, bool), np.zeros(ct.shape, bool)
    liver[2:8, 2:8, 2:6] = True
    tumour[4:6, 4:6, 3:5] = True
    return {"liver": liver, "liver_tumor": tumour}


def test_overlaps_and_layers() -> None:
    ct = scan((10, 10, 8))
    builder = ViewerBuilder(ct)
    for name, mask in _boxes(ct).items():
        builder.add(name, mask)
        builder.add(name, np.roll(mask, 1, axis=0), layer="reference")
    builder.add("spleen", np.zeros(ct.shape, bool))
    viewer = builder.build(
        [StructureRow("liver", {"Volume (ml)": 1.5}), StructureRow("colon", {"DSC": None}, ("odd", ("cut", "Why.")))]
    )
    assert [layer.name for layer in viewer.layers] == ["prediction", "reference"]
    for name, mask in _boxes(ct).items():
        np.testing.assert_array_equal(holds(viewer, name), mask)
        np.testing.assert_array_equal(holds(viewer, name, 1), np.roll(mask, 1, axis=0))
    assert [item.name for _, item in viewer.found] == ["liver", "liver_tumor"]
    assert [(item.name, item.flags) for item in viewer.not_found] == [
        ("spleen", ()),
        ("colon", (("odd", ""), ("cut", "Why."))),
    ]
    assert viewer.columns == ("Volume (ml)", "DSC")
    assert viewer.structures[0].values == (1.5, None)
    assert len({item.color for item in viewer.structures}) == 4


def test_the_centre_lies_inside_even_of_a_ring() -> None:
    ct = scan((21, 21, 5))
    x, y = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10, indexing="ij")
    mask = np.repeat((((x**2 + y**2) > 50) & ((x**2 + y**2) < 90))[:, :, None], 5, axis=2)
    builder = ViewerBuilder(ct)
    builder.add("colon", mask)
    assert mask[builder.build().structures[0].centre]


def test_more_than_256_combinations_take_two_bytes() -> None:
    ct = scan((12, 12, 12))
    rng = np.random.default_rng(1)
    masks = {f"structure_{n}": rng.random(ct.shape) < 0.5 for n in range(9)}
    builder = ViewerBuilder(ct)
    for name, mask in masks.items():
        builder.add(name, mask)
    viewer = builder.build()
    assert viewer.layers[0].bytes_per_voxel == 2
    for name in ("structure_0", "structure_8"):
        np.testing.assert_array_equal(holds(viewer, name), masks[name])


def test_the_grid_gets_coarser_until_it_fits() -> None:
    ct = scan((80, 80, 40))
    whole = ViewerBuilder(ct).build()
    limit = whole.packed_bytes // 3
    builder = ViewerBuilder(ct, max_bytes=limit)
    mask = np.zeros(ct.shape, bool)
    mask[40:, :, :] = True
    builder.add("liver", mask)
    viewer = builder.build()
    assert viewer.packed_bytes <= limit
    shape = viewer.geometry["shape"]
    assert np.prod(shape) < np.prod(ct.shape) / 3
    assert min(shape) > 20  # all axes alike, not one sacrificed
    assert " x ".join(map(str, shape)) in viewer.facts["CT in this page"]
    assert "80 x 80 x 40" in viewer.facts["scan"]
    liver = holds(viewer, "liver")
    assert liver[viewer.structures[0].centre]
    assert abs(liver.mean() - 0.5) < 0.02
    with pytest.raises(OutputError, match="fits into 10 bytes"):
        ViewerBuilder(ct, max_bytes=10).build()


@pytest.mark.parametrize("mask", [np.zeros((4, 4, 4), bool), np.zeros((9, 8, 7), np.uint8)])
def test_masks_that_do_not_belong(mask: Any) -> None:
    with pytest.raises(VolumeError, match=r"must be bool \(9, 8, 7\)"):
        ViewerBuilder(scan((9, 8, 7))).add("liver", mask)


def test_two_rows_of_one_structure() -> None:
    with pytest.raises(ConfigurationError, match="same structure"):
        ViewerBuilder(scan((9, 8, 7))).build([StructureRow("liver"), StructureRow("liver")])

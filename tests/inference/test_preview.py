"""The picture: orientation, proportions, colours, and a legend in which no two lines collide."""

import itertools
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from suprem.inference.planes import cut_across
from suprem.inference.preview import Preview, _arranged
from suprem.inference.statistics import StructureStatistics, measure
from suprem.labels import color, label_space
from suprem.volumes.geometry import Volume

# A patient of 20 x 30 x 40 mm in RAS with one bright voxel block per direction.
_SHAPE = (20, 15, 10)
_SPACING = (1.0, 2.0, 4.0)
_MARKS = {
    "R": np.s_[17:19, 6:8, 4:6],
    "L": np.s_[1:3, 6:8, 4:6],
    "A": np.s_[9:11, 13:14, 4:6],
    "P": np.s_[9:11, 1:2, 4:6],
    "S": np.s_[9:11, 6:8, 8:9],
    "I": np.s_[9:11, 6:8, 1:2],
}
_CENTRE_RAS = (10, 7, 5)


def _patient() -> Volume:
    array = np.zeros(_SHAPE, np.int16)
    for number, box in enumerate(_MARKS.values(), start=1):
        array[box] = number
    return Volume(array, np.diag([*_SPACING, 1.0]))


def _reoriented(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[Volume, tuple[int, int, int]]:
    """The same patient on permuted and flipped index axes, and where the centre voxel went."""
    array = volume.array.transpose(axes)
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, list(axes)]
    centre = [_CENTRE_RAS[a] for a in axes]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            centre[axis] = array.shape[axis] - 1 - centre[axis]
    array = np.flip(array, [axis for axis, flip in enumerate(flips) if flip])
    return Volume(np.ascontiguousarray(array), affine), (centre[0], centre[1], centre[2])


def _rows(preview: Preview, scan: Volume, masks: dict[str, np.ndarray]) -> list[StructureStatistics]:
    for name, mask in masks.items():
        preview.add(name, mask)
    return [measure(name, mask, scan) for name, mask in masks.items()]


def test_planes_follow_the_radiological_convention() -> None:
    planes = {plane.title: plane for plane in Preview(_patient(), _CENTRE_RAS).planes}
    for plane in planes.values():
        image = plane.image
        middle_row, middle_column = image.shape[0] / 2 - 0.5, image.shape[1] / 2 - 0.5
        left, right, top, bottom = (np.argwhere(image == 1 + list(_MARKS).index(letter)) for letter in plane.letters)
        assert left[:, 1].max() < middle_column < right[:, 1].min()
        assert top[:, 0].max() < middle_row < bottom[:, 0].min()
    assert planes["axial"].letters == ("R", "L", "A", "P")
    assert planes["coronal"].letters == ("R", "L", "S", "I")
    assert planes["sagittal"].letters == ("A", "P", "S", "I")
    assert planes["axial"].size_mm == (30.0, 20.0)
    assert planes["coronal"].size_mm == (40.0, 20.0)
    assert planes["sagittal"].size_mm == (40.0, 30.0)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_every_orientation_shows_the_same_picture(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    patient = _patient()
    # Every slice differs from its neighbours.
    patient.array[patient.array == 0] = np.random.default_rng(3).integers(100, 900, (patient.array == 0).sum())
    expected = Preview(patient, _CENTRE_RAS)
    expected.add("liver", patient.array == 1)
    turned, centre = _reoriented(patient, axes, flips)
    shown = Preview(turned, centre)
    shown.add("liver", turned.array == 1)
    for ours, theirs in zip(shown.planes, expected.planes, strict=True):
        assert np.array_equal(ours.image, theirs.image)
        assert ours.spacing_mm == pytest.approx(theirs.spacing_mm)
        assert ours.masks.keys() == theirs.masks.keys()
        assert all(np.array_equal(ours.masks[name], theirs.masks[name]) for name in ours.masks)
    assert [bool(plane.masks) for plane in shown.planes] == [True, True, False]


@pytest.mark.parametrize(
    ("wide", "deep", "high"), [(400, 320, 350), (400, 320, 40), (400, 300, 1800), (200, 200, 200), (60, 400, 90)]
)
def test_planes_keep_their_proportions_and_fit(wide: float, deep: float, high: float) -> None:
    sizes = [(deep, wide), (high, wide), (high, deep)]
    boxes, row_wide, row_high = _arranged(sizes)
    for (x, y, box_wide, box_high), (mm_high, mm_wide) in zip(boxes, sizes, strict=True):
        assert box_wide / box_high == pytest.approx(mm_wide / mm_high)
        assert x >= 0
        assert y >= -1e-9
        assert x + box_wide <= row_wide + 1e-9
        assert y + box_high <= row_high + 1e-9
    assert boxes[1][2] / wide == pytest.approx(boxes[2][2] / deep)
    assert row_wide <= 14.0 + 1e-9
    assert row_high <= 8.5 + 1e-9
    assert [a[0] + a[2] < b[0] for a, b in itertools.pairwise(boxes)] == [True, True]


@pytest.mark.parametrize("count", [1, 3, 32, 117])
def test_legend_lines_neither_collide_nor_leave_the_picture(count: int) -> None:
    scan = Volume(np.zeros((40, 30, 35), np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
    names = label_space("totalsegmentator_v2" if count > 32 else "universal_32").names[:count]
    rng = np.random.default_rng(1)
    masks = {name: np.zeros(scan.shape, dtype=bool) for name in names}
    for index, mask in enumerate(masks.values()):
        if index % 5 != 4:
            x, y, z = (int(v) for v in rng.integers(2, 24, 3))
            mask[x : x + 5, y : y + 5, z : z + 5] = True
    preview = Preview(scan, (20, 15, 17))
    figure = preview.figure("case 1", "model", _rows(preview, scan, masks))
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for t in figure.texts]
    shown = " ".join(" ".join(text for text, _ in boxes).split())
    assert all(name.replace("_", " ") in shown for name in names)
    width, height = figure.canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for (text, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (text, other)
    # Small enough for a page, large enough to read: 8 points at 130 dots per inch.
    assert width <= 1900
    assert min(t.get_fontsize() for t in figure.texts) >= 7


def _pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(np.rint(imread(path)[..., :3] * 255), dtype=np.int16)


def _near(pixels: np.ndarray, name: str) -> np.ndarray:
    return np.asarray((np.abs(pixels - np.array(color(name))) <= 12).all(axis=-1))


def test_overlay_has_the_colour_and_the_side_of_the_structure(tmp_path: Path) -> None:
    scan = Volume(np.full((60, 50, 40), -50, np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))
    liver, spleen = np.zeros(scan.shape, dtype=bool), np.zeros(scan.shape, dtype=bool)
    liver[38:52, 18:34, 14:28] = True  # the patient's right
    spleen[8:16, 18:34, 14:28] = True
    preview = Preview(scan, (30, 25, 20))
    rows = _rows(preview, scan, {"liver": liver, "spleen": spleen, "colon": liver & spleen})
    preview.save(tmp_path / "a.png", "case", "model", rows)
    pixels = _pixels(tmp_path / "a.png")
    boxes, wide, _ = _arranged([plane.size_mm for plane in preview.planes])
    width = pixels.shape[1]
    upper = pixels[: int(pixels.shape[0] * 0.75)]
    for x, _, box_wide, _ in boxes[:2]:  # axial and coronal: the right side of the patient is on the left
        start = int(((14.0 - wide) / 2 + x) / 14.0 * width)
        half = int(box_wide / 2 / 14.0 * width)
        left, right = upper[:, start : start + half], upper[:, start + half : start + 2 * half]
        assert _near(left, "liver").sum() > 100
        assert _near(right, "spleen").sum() > 100
        assert _near(right, "liver").sum() == _near(left, "spleen").sum() == 0
    assert _near(pixels, "colon").sum() == 0


def test_small_structures_lie_on_large_ones(tmp_path: Path) -> None:
    scan = Volume(np.zeros((40, 40, 40), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))
    liver, tumour = np.zeros(scan.shape, dtype=bool), np.zeros(scan.shape, dtype=bool)
    liver[5:35, 5:35, 5:35] = True
    tumour[19:22, 19:22, 19:22] = True
    # Grey of 0 HU in a window from -160 to 240, seen through the liver and then through the tumour.
    grey = 160 / 400 * 255
    expected = 0.38 * np.array(color("liver_tumor")) + 0.62 * (0.38 * np.array(color("liver")) + 0.62 * grey)
    for masks in ({"liver": liver, "liver_tumor": tumour}, {"liver_tumor": tumour, "liver": liver}):
        preview = Preview(scan, (20, 20, 20))
        preview.save(tmp_path / "a.png", "case", "", _rows(preview, scan, masks))
        pixels = _pixels(tmp_path / "a.png")
        planes = pixels[: int(pixels.shape[0] * 0.85)]  # without the legend
        assert _near(planes, "liver_tumor").sum() > 100  # outlines
        (x, y, wide, high), *_ = _arranged([plane.size_mm for plane in preview.planes])[0]
        # Inches to pixels of 1/130 inch; 0.12 to the left of the planes, 0.58 + 0.22 above them.
        middle = pixels[int((0.8 + y + high / 2) * 130), int((0.12 + x + wide / 2) * 130)]
        assert np.abs(middle - expected).max() <= 3


def test_awkward_content_is_drawn(tmp_path: Path) -> None:
    scan = Volume(np.zeros((1, 8, 300), np.float32), np.diag([5.0, 0.7, 1.0, 1.0]))
    mask = np.zeros(scan.shape, dtype=bool)
    mask[0, 0, 0] = True  # a single voxel in the corner of a single slice
    preview = Preview(scan, (0, 0, 0))
    rows = _rows(preview, scan, {"$x_{1}$ lesion": mask, "all": ~(mask & ~mask)})
    preview.save(tmp_path / "a.png", r"cost$ \frac{a}$ <b>", "", rows)
    assert _pixels(tmp_path / "a.png").shape[2] == 3
    assert min(_pixels(tmp_path / "a.png").shape[:2]) > 100


def test_nothing_found_is_said(tmp_path: Path) -> None:
    preview = Preview(_patient(), _CENTRE_RAS)
    rows = _rows(preview, _patient(), {"liver": np.zeros(_SHAPE, dtype=bool)})
    texts = [t.get_text() for t in preview.figure("case", "", rows).texts]
    assert "Not found: liver" in texts


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        preview = Preview(_patient(), _CENTRE_RAS)
        preview.save(tmp_path / name, "case", "model", _rows(preview, _patient(), {"liver": _patient().array == 1}))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_global_matplotlib_state(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from suprem.inference.preview import Preview\n"
        "before = 'matplotlib' in sys.modules\n"
        "from suprem.volumes.geometry import Volume\n"
        "scan = Volume(np.zeros((8, 8, 8), np.int16), np.eye(4))\n"
        f"Preview(scan, (4, 4, 4)).save(Path({str(tmp_path / 'a.png')!r}), 'case', '', [])\n"
        "print(before, 'matplotlib.pyplot' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_of_a_mirrored_mask_copies_that_slice_alone(axis: int) -> None:
    mask = (np.random.default_rng(0).random((40, 50, 60)) < 0.3)[::-1, ::-1].transpose(2, 0, 1)
    tracemalloc.start()
    cut = cut_across(mask, axis, 7)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(cut, np.take(mask, 7, axis=axis).T[::-1, ::-1])
    assert not np.shares_memory(cut, mask)  # it may be kept longer than the mask
    assert peak < mask.nbytes / 4

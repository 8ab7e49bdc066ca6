"""The folder of one case, read back with nibabel, hashlib and the csv module; and what failures leave behind."""

import csv
import errno
import hashlib
import json
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from suprem.errors import ConfigurationError, OutputError
from suprem.inference import outputs
from suprem.inference.grid import ModelGrid
from suprem.inference.outputs import write_case
from suprem.inference.segmentation import Segmentation
from suprem.inference.store import BitStore, IndexStore
from suprem.labels import LabelSpace, label_space
from suprem.volumes.geometry import Volume, to_ras


@dataclass
class FakeSegmentation:
    """Masks in memory behind the interface of a segmentation."""

    scan: Volume
    masks: dict[str, np.ndarray]
    fail_at: str = ""
    undecided_ml: dict[str, float] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)
    most_alive: int = 0
    counting: Any = field(default_factory=threading.Lock)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.masks)

    def mask(self, name: str) -> np.ndarray:
        if name == self.fail_at:
            raise RuntimeError("stopped on purpose")
        result = self.masks[name].copy()
        with self.counting:
            self.alive = [ref for ref in self.alive if ref() is not None] + [weakref.ref(result)]
            self.most_alive = max(self.most_alive, len(self.alive))
        return result

    @property
    def grid_spacing_mm(self) -> tuple[float, float, float]:
        return to_ras(self.scan)[0].spacing_mm

    def grid_mask(self, name: str) -> np.ndarray:
        return to_ras(self.scan)[1].apply(self.masks[name]).copy()

    def combined(self, space: LabelSpace) -> np.ndarray:
        result = np.zeros(self.scan.shape, np.uint8)
        for number, name in space.numbers.items():
            if name in self.masks:
                result[self.masks[name]] = number
        return result

    def left_out(self, space: LabelSpace) -> tuple[str, ...]:
        return tuple(name for name in self.classes if name not in space.names)


def _segmentation() -> FakeSegmentation:
    """A tilted scan in LPS order with a liver, a tumour in it, a gall bladder and an empty spleen."""
    angle = np.deg2rad(7)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, -1.5, 4.0])
    affine[:3, 3] = (101.25, 88.5, -345.75)
    array = np.random.default_rng(5).integers(-150, 250, (24, 20, 12), dtype=np.int16)
    liver, tumour, gall, spleen = (np.zeros(array.shape, dtype=bool) for _ in range(4))
    liver[4:14, 5:15, 2:10] = True
    tumour[6:9, 7:9, 4:6] = True
    gall[15:18, 8:10, 3:5] = True
    masks = {"liver": liver, "liver_tumor": tumour, "gall_bladder": gall, "spleen": spleen}
    return FakeSegmentation(Volume(array, affine, "scan.nii.gz"), masks)


def _write(folder: Path, segmentation: FakeSegmentation | None = None, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "label_space": label_space("universal_32"),
        "manifest": {"model": "tiny", "seconds": 1.5},
    }
    return write_case(segmentation or _segmentation(), folder, **{**settings, **options})  # type: ignore[arg-type]


def test_layout_of_abdomenatlas(tmp_path: Path) -> None:
    _write(tmp_path / "case_1")
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == [
        "case_1/combined_labels.nii.gz",
        "case_1/manifest.json",
        "case_1/preview.png",
        "case_1/segmentations/gall_bladder.nii.gz",
        "case_1/segmentations/liver.nii.gz",
        "case_1/segmentations/liver_tumor.nii.gz",
        "case_1/segmentations/spleen.nii.gz",
        "case_1/statistics.csv",
        "case_1/statistics.json",
    ]


def test_masks_lie_on_the_grid_of_the_scan(tmp_path: Path) -> None:
    segmentation = _segmentation()
    _write(tmp_path / "a", segmentation)
    for name, mask in segmentation.masks.items():
        image = nibabel.load(tmp_path / "a" / "segmentations" / f"{name}.nii.gz")
        assert image.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(image.dataobj), mask.astype(np.uint8))
        assert np.allclose(image.affine, segmentation.scan.affine, atol=1e-5)
        assert image.header.get_zooms() == pytest.approx((1.5, 1.5, 4.0))


def test_combined_labels_name_their_numbering(tmp_path: Path) -> None:
    segmentation = _segmentation()
    _write(tmp_path / "a", segmentation)
    image = nibabel.load(tmp_path / "a" / "combined_labels.nii.gz")
    labels = np.asarray(image.dataobj)
    assert image.header["descrip"].item().decode() == "label_space=universal_32"
    assert image.get_data_dtype() == np.uint8
    assert np.allclose(image.affine, segmentation.scan.affine, atol=1e-5)
    expected = np.select([segmentation.masks[n] for n in ("liver_tumor", "liver", "gall_bladder")], [27, 6, 4], 0)
    assert np.array_equal(labels, expected)
    numbering = json.loads((tmp_path / "a" / "manifest.json").read_text())["label_space"]
    assert numbering["name"] == "universal_32"
    assert numbering["left_out"] == []
    assert {entry["number"]: entry["name"] for entry in numbering["numbers"]} == dict(
        label_space("universal_32").numbers
    )
    assert [entry["number"] for entry in numbering["numbers"]] == list(range(1, 33))


def test_another_numbering_changes_numbers_and_spelling(tmp_path: Path) -> None:
    rows = _write(tmp_path / "a", label_space=label_space("totalsegmentator_v2"))
    image = nibabel.load(tmp_path / "a" / "combined_labels.nii.gz")
    assert set(np.unique(np.asarray(image.dataobj))) == {0, 4, 5}
    assert image.header["descrip"].item().decode() == "label_space=totalsegmentator_v2"
    assert {row.structure: row.number for row in rows} == {
        "liver": 5,
        "liver_tumor": None,
        "gall_bladder": 4,
        "spleen": 1,
    }
    written = {p.name for p in (tmp_path / "a" / "segmentations").iterdir()}
    assert written == {"liver.nii.gz", "liver_tumor.nii.gz", "gallbladder.nii.gz", "spleen.nii.gz"}
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["label_space"]["left_out"] == ["liver_tumor"]


def test_statistics_by_hand(tmp_path: Path) -> None:
    segmentation = _segmentation()
    returned = _write(tmp_path / "a", segmentation)
    with (tmp_path / "a" / "statistics.csv").open() as file:
        rows = {row["structure"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["liver", "liver_tumor", "gall_bladder", "spleen"] == [row.structure for row in returned]
    # Voxels of 1.5 * 1.5 * 4 = 9 mm3.
    assert float(rows["liver"]["volume_ml"]) == pytest.approx(10 * 10 * 8 * 9 / 1000)
    assert float(rows["liver_tumor"]["volume_ml"]) == pytest.approx(3 * 2 * 2 * 9 / 1000)
    values = segmentation.scan.array[6:9, 7:9, 4:6].astype(float)
    assert float(rows["liver_tumor"]["mean_hu"]) == pytest.approx(values.mean(), abs=0.005)
    assert float(rows["liver_tumor"]["std_hu"]) == pytest.approx(values.std(), abs=0.005)
    assert rows["spleen"]["empty"] == "true"
    assert rows["spleen"]["number"] == "1"
    content = json.loads((tmp_path / "a" / "statistics.json").read_text())
    assert [row["structure"] for row in content["structures"]] == list(rows)


def test_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    _write(tmp_path / "a", manifest={"zebra": 1, "model": {"name": "tiny", "sha256": "00"}})
    text = (tmp_path / "a" / "manifest.json").read_text()
    manifest = json.loads(text)
    assert list(manifest) == sorted(manifest) == ["label_space", "model", "outputs", "zebra"]
    assert manifest["model"] == {"name": "tiny", "sha256": "00"}
    listed = {entry["path"]: (entry["bytes"], entry["sha256"]) for entry in manifest["outputs"]}
    found = {}
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            data = path.read_bytes()
            found[path.relative_to(tmp_path / "a").as_posix()] = (len(data), hashlib.sha256(data).hexdigest())
    assert listed == found
    assert len(listed) == 8


def test_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for parent in ("one", "two"):
        _write(tmp_path / parent / "case")
        folder = tmp_path / parent / "case"
        contents.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("exclusive", [True, False])
def test_real_segmentation_on_a_coarser_model_grid(tmp_path: Path, exclusive: bool) -> None:
    scan = _segmentation().scan
    grid = ModelGrid.of(scan, (3.0, 3.0, 4.0))
    store = (IndexStore if exclusive else BitStore)(2, grid.shape)
    labels = Segmentation(("spleen", "gallbladder"), scan, grid, store, {})
    assert grid.shape == (12, 10, 12)
    box = np.zeros(grid.shape, dtype=bool)
    box[2:5, 3:6, 4:8] = True
    labels.set_grid_mask("gallbladder", box)
    rows = write_case(labels, tmp_path / "a", label_space=label_space("abdomenatlas_1_1"), manifest={})
    image = nibabel.load(tmp_path / "a" / "segmentations" / "gall_bladder.nii.gz")
    mask = np.asarray(image.dataobj)
    ras = nibabel.as_closest_canonical(image)
    # Along x, model voxels 2, 3, 4 lie at 6, 9, 12 mm. The scan has a voxel every 1.5 mm; those from 4.5 to 13.5 mm are
    # nearest to them: a voxel in the middle between two goes to the even one.
    x, y, z = (np.flatnonzero(np.asarray(ras.dataobj).any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    assert (x.tolist(), y.tolist(), z.tolist()) == (list(range(3, 10)), list(range(6, 11)), list(range(4, 8)))
    assert [row.voxels for row in rows] == [0, 7 * 5 * 4] == [0, mask.sum()]
    combined = np.asarray(nibabel.load(tmp_path / "a" / "combined_labels.nii.gz").dataobj)
    assert np.array_equal(combined, mask * 2)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_more_masks_than_threads(tmp_path: Path, threads: int) -> None:
    segmentation = _segmentation()
    rows = _write(tmp_path / "a", segmentation, threads=threads)
    assert 1 <= segmentation.most_alive <= threads
    assert [row.structure for row in rows] == list(segmentation.masks)


def test_files_do_not_depend_on_threads(tmp_path: Path) -> None:
    written = []
    for threads in (1, 3):
        folder = tmp_path / str(threads) / "a"
        _write(folder, threads=threads)
        written.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert written[0] == written[1]


def test_planes_go_through_the_centre_of_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = outputs.Preview

    def spy(scan: Volume, centre: tuple[int, int, int]) -> Any:
        seen.append(centre)
        return original(scan, centre)

    monkeypatch.setattr(outputs, "Preview", spy)
    segmentation = _segmentation()
    _write(tmp_path / "a", segmentation)
    empty = FakeSegmentation(segmentation.scan, {"spleen": segmentation.masks["spleen"]})
    _write(tmp_path / "b", empty)
    union = np.logical_or.reduce(list(segmentation.masks.values()))
    assert seen == [tuple(np.rint(np.argwhere(union).mean(axis=0)).astype(int)), (12, 10, 6)]


@pytest.mark.parametrize("threads", [1, 2])
def test_failure_leaves_nothing_behind(tmp_path: Path, threads: int) -> None:
    segmentation = _segmentation()
    segmentation.fail_at = "gall_bladder"
    with pytest.raises(RuntimeError, match="on purpose"):
        _write(tmp_path / "cases" / "a", segmentation, threads=threads)
    assert [p for p in tmp_path.rglob("*") if p.name != "cases"] == []


def test_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outputs.Preview, "save", full)
    with pytest.raises(OutputError, match="No space"):
        _write(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_existing_results_survive_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    _write(tmp_path / "a", manifest={"run": 1})
    before = (tmp_path / "a" / "manifest.json").read_text()
    with pytest.raises(OutputError, match="already exists"):
        _write(tmp_path / "a", manifest={"run": 2})
    assert (tmp_path / "a" / "manifest.json").read_text() == before
    broken = _segmentation()
    broken.fail_at = "spleen"
    with pytest.raises(RuntimeError):
        _write(tmp_path / "a", broken, overwrite=True)
    assert (tmp_path / "a" / "manifest.json").read_text() == before
    _write(tmp_path / "a", manifest={"run": 2}, overwrite=True)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["run"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"path": Path("x")}, "not plain JSON"),
        ({"loss": float("nan")}, "not plain JSON"),
        ({"outputs": []}, "already has outputs"),
    ],
)
def test_bad_manifest_is_refused_before_the_work(tmp_path: Path, manifest: dict[str, Any], message: str) -> None:
    segmentation = _segmentation()
    with pytest.raises(ConfigurationError, match=message):
        _write(tmp_path / "a", segmentation, manifest=manifest)
    assert segmentation.most_alive == 0
    assert list(tmp_path.iterdir()) == []


def test_classes_that_share_a_file_name_are_refused(tmp_path: Path) -> None:
    scan = _segmentation().scan
    mask = np.zeros(scan.shape, dtype=bool)
    for names in (("my lesion", "my-lesion"), ("Node", "node"), ("liver", "..")):
        classes = FakeSegmentation(scan, dict.fromkeys(names, mask))
        with pytest.raises(ConfigurationError, match="cannot both be written"):
            _write(tmp_path / "a", classes, label_space=LabelSpace.from_classes("mine", names))
    assert list(tmp_path.iterdir()) == []


def test_names_from_a_model_cannot_leave_the_folder(tmp_path: Path) -> None:
    scan = _segmentation().scan
    classes = FakeSegmentation(scan, {"../../evil": np.ones(scan.shape, dtype=bool)})
    _write(tmp_path / "deep" / "a", classes, label_space=LabelSpace.from_classes("mine", classes.classes))
    assert [p.name for p in (tmp_path / "deep" / "a" / "segmentations").iterdir()] == ["evil.nii.gz"]
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]

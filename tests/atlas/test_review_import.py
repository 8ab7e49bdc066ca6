"""Taking labels back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from suprem.atlas._review_ticket import read_ticket
from suprem.atlas.journal import Journal
from suprem.atlas.label_set import LabelSet, Provenance, read_provenance
from suprem.atlas.review import export_cases, import_case, import_cases
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError, VolumeError
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_volume, write_volume
from suprem.volumes.itksnap import write_label_file
from tests.atlas.review_cases import AFFINE, SHAPE, masks_of, random_masks, review_atlas, save

KEY = "own/two"
LIVER, TUMOR = 2, 5  # the numbers that label maps are handed out with


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return review_atlas(tmp_path)


@pytest.fixture
def folder(atlas: Atlas) -> Path:
    """One case, handed out."""
    return export_cases(atlas, 1, to="ben").folders[KEY]


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_of_segments_come_back(atlas: Atlas, folder: Path, seed: int) -> None:
    before = masks_of(atlas.labels(KEY))
    edited = {**before, **random_masks(100 + seed, ("aorta", "pancreas"), 0.1 * seed)}
    save(folder, edited)
    found = import_case(atlas, folder, user="ben", minutes=4.5, note="aorta leaked")
    after = atlas.labels(KEY)
    changed = ["aorta", "pancreas"] if edited["pancreas"].any() else ["aorta"]
    assert list(found.changed) == changed
    assert all(np.array_equal(after.mask(name), mask) for name, mask in edited.items() if name in after.provenance)
    assert {name for name, p in after.provenance.items() if p == Provenance("revised", "ben", 1)} == set(changed)
    assert set(read_provenance(atlas.revision_folder(KEY, 1))) == set(changed)  # only what changed
    event = atlas.journal.events("revision")[-1]
    assert (event.user, event.facts["minutes"], event.facts["note"]) == ("ben", 4.5, "aorta leaked")
    measured, overlap = event.facts["changed"]["aorta"], np.count_nonzero(before["aorta"] & edited["aorta"])
    sizes = [np.count_nonzero(masks["aorta"]) for masks in (before, edited)]
    assert measured["dsc_before_after"] == pytest.approx(2 * overlap / sum(sizes))
    assert [measured["voxels_before"], measured["voxels_after"]] == sizes
    assert measured["added_ml"] == pytest.approx((sizes[1] - overlap) * 0.012)  # a voxel has 2 x 2 x 3 mm
    assert measured["removed_ml"] == pytest.approx((sizes[0] - overlap) * 0.012)


def _rewritten(path: Path, image: sitk.Image, origin: sitk.Image) -> None:
    for key in origin.GetMetaDataKeys():
        if key.startswith("Segment"):
            image.SetMetaData(key, origin.GetMetaData(key))
    sitk.WriteImage(image, str(path), True)


def test_other_axes_crops_layers_and_values(atlas: Atlas, folder: Path) -> None:
    """What Slicer may do to a file on the same lattice."""
    before = masks_of(atlas.labels(KEY))
    box = (slice(2, 8), slice(1, 6), slice(1, 5))
    inside = np.zeros(SHAPE, dtype=bool)
    inside[box] = True
    edited = {**before, "aorta": before["aorta"] & inside, "liver": inside & ~before["liver"]}
    edited |= {"spleen": before["spleen"] & inside, "liver_tumor": before["liver_tumor"] & inside}
    path = folder / "labels.seg.nrrd"
    save(folder, edited)
    image = sitk.ReadImage(str(path))
    cropped = sitk.DICOMOrient(image[box], "PIL")
    _rewritten(path, cropped, image)
    assert sitk.ReadImage(str(path)).GetSize() == (5, 4, 6)
    found = import_case(atlas, folder, user="ben")
    assert set(found.changed) | set(found.conflicting) == set(edited)
    after = atlas.labels(KEY)
    assert all(np.array_equal(after.mask(name), edited[name]) for name in ("aorta", "liver", "liver_tumor"))


def test_a_margin_around_the_scan_must_be_empty(atlas: Atlas, folder: Path) -> None:
    path = folder / "labels.seg.nrrd"
    image = sitk.ReadImage(str(path))
    array = np.pad(sitk.GetArrayFromImage(image), ((0, 0), (0, 2), (1, 0), (0, 0)))  # z, y, x, layer
    for value in (0, 1):
        array[0, 0, 0, 0] = value
        padded = sitk.GetImageFromArray(array, isVector=True)
        padded.SetSpacing(image.GetSpacing())
        padded.SetDirection(image.GetDirection())
        padded.SetOrigin(image.TransformIndexToPhysicalPoint((-1, 0, 0)))
        _rewritten(path, padded, image)
        if not value:
            assert import_case(atlas, folder, user="ben").changed == {}
    with pytest.raises(VolumeError, match="1 labelled voxels outside of the scan"):
        import_case(atlas, folder, user="ben")


def test_all_segments_empty(atlas: Atlas, folder: Path) -> None:
    """Slicer then writes one voxel, on a grid that means nothing."""
    path = folder / "labels.seg.nrrd"
    origin = sitk.ReadImage(str(path))
    _rewritten(path, sitk.Image(1, 1, 1, sitk.sitkUInt8), origin)
    text = path.read_bytes().replace(b"_Layer:=1", b"_Layer:=0").replace(b"_Layer:=2", b"_Layer:=0")
    path.write_bytes(text.replace(b"_Layer:=3", b"_Layer:=0"))
    assert set(import_case(atlas, folder, user="ben").changed) == {"liver", "aorta", "liver_tumor"}
    assert not atlas.labels(KEY).mask("liver").any()


def test_missing_segments(atlas: Atlas, folder: Path) -> None:
    aorta = ~atlas.labels(KEY).mask("aorta")
    liver = atlas.labels(KEY).mask("liver")
    save(folder, {"Aorta": aorta})  # any spelling of the registry
    assert list(import_case(atlas, folder, user="ben").changed) == ["aorta"]
    assert np.array_equal(atlas.labels(KEY).mask("liver"), liver)
    found = import_case(atlas, folder, user="ben", missing_means_empty=True)
    assert list(found.changed) == ["liver", "aorta", "liver_tumor"]
    assert not atlas.labels(KEY).mask("liver").any()
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), aorta)


def _edit(folder: Path, edited: np.ndarray, name: str = "labels.nii.gz") -> None:
    (folder / "labels.nii.gz").unlink()
    write_volume(Volume(edited, AFFINE), folder / name)


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_of_a_label_map_keep_what_it_hides(atlas: Atlas, folder: Path, seed: int) -> None:
    before, old = atlas.labels(KEY), read_volume(folder / "labels.nii.gz").array
    rng = np.random.default_rng(seed)
    new = np.where(rng.random(SHAPE) < 0.2, rng.integers(0, 6, SHAPE), old).astype(np.uint8)
    new[new == 1] = old[new == 1]  # the spleen is the experts'
    new[old == 1] = 1
    _edit(folder, new, ("labels.nii.gz", "labels.nrrd", "labels.mha", "labels.nii")[seed])
    import_case(atlas, folder, user="ben")
    after = atlas.labels(KEY)
    touched = new != old
    for number, name in enumerate(atlas.structures, start=1):
        mask = after.mask(name)
        was = before.mask(name) if name in before.provenance else np.zeros(SHAPE, dtype=bool)
        assert np.array_equal(mask[~touched], was[~touched])
        assert mask[new == number].all()
        erased = touched & (old == number)
        if name == "liver":
            erased &= new != TUMOR
        assert not mask[erased].any()
        hidden = touched & (old != number) & (new != number)
        assert np.array_equal(mask[hidden], was[hidden])


def test_a_tumour_painted_into_the_liver_leaves_the_liver_whole(atlas: Atlas, folder: Path) -> None:
    liver = atlas.labels(KEY).mask("liver")
    labels = read_volume(folder / "labels.nii.gz").array.copy()
    labels[labels == LIVER] = TUMOR
    _edit(folder, labels)
    assert list(import_case(atlas, folder, user="ben").changed) == ["liver_tumor"]
    assert np.array_equal(atlas.labels(KEY).mask("liver"), liver)
    assert not (liver & ~atlas.labels(KEY).mask("liver_tumor") & (labels == TUMOR)).any()


def test_numbers_mean_what_the_label_file_says(atlas: Atlas, folder: Path) -> None:
    labels = read_volume(folder / "labels.nii.gz").array.astype(np.uint16)
    labels[labels == LIVER] = 700
    labels[0, 0, 0] = 4
    _edit(folder, labels)
    with pytest.raises(LabelSpaceError, match="has label 700"):
        import_case(atlas, folder, user="ben")
    names = {1: "spleen", 700: "Liver", 3: "aorta", 4: "pancreas", 5: "liver tumour"}
    write_label_file(folder / "labels.label.txt", names)
    assert set(import_case(atlas, folder, user="ben").changed) >= {"pancreas"}
    assert atlas.labels(KEY).mask("pancreas").sum() == 1
    write_label_file(folder / "labels.label.txt", {**names, 6: "livre"})
    with pytest.raises(UnknownNameError, match=r"'livre'; did you mean 'liver'"):
        import_case(atlas, folder, user="ben")
    _edit(folder, labels.astype(np.float32) + 0.25)
    with pytest.raises(LabelSpaceError, match="not label numbers"):
        import_case(atlas, folder, user="ben")


def test_a_folder_of_masks(atlas: Atlas, folder: Path) -> None:
    aorta = ~atlas.labels(KEY).mask("aorta")
    (folder / "masks").mkdir()
    write_volume(Volume(aorta, AFFINE), folder / "masks" / "aorta.nii.gz")
    write_volume(Volume(atlas.labels(KEY).mask("liver"), AFFINE), folder / "masks" / "Liver.nrrd")
    assert list(import_case(atlas, folder, user="ben").changed) == ["aorta"]
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), aorta)
    (folder / "empty").mkdir()
    with pytest.raises(VolumeError, match="holds no masks"):
        import_case(atlas, folder, user="ben", file=folder / "empty")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda a: a @ np.diag([1.0, 1.0, 2.0, 1.0]), "x 6 mm"),
        (lambda a: a + np.outer([0, 1.0, 0, 0], [0, 0, 0, 1.0]), "13.25"),
        (lambda a: a + np.outer([0.5, 0, 0, 0], [0, 1.0, 0, 0]), "axes"),
    ],
    ids=["spacing", "half a voxel aside", "rotated"],
)
@pytest.mark.parametrize("name", ["labels.seg.nrrd", "labels.nii.gz"])
def test_another_grid_is_refused(atlas: Atlas, folder: Path, name: str, change: object, differs: str) -> None:
    affine = change(AFFINE)  # type: ignore[operator]
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * np.linalg.norm(affine[:3, :3], axis=0)
    affine[:3, :3] *= np.sign(np.diag(affine))[:3]
    path = folder / name
    if name.endswith(".gz"):
        write_volume(replace(read_volume(path), affine=affine, stored_geometry=None), path)
    else:
        origin = sitk.ReadImage(str(path))
        moved = sitk.Image(origin)
        flip = np.diag([-1.0, -1.0, 1.0])
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        moved.SetOrigin((flip @ affine[:3, 3]).tolist())
        moved.SetSpacing(spacing.tolist())
        moved.SetDirection((flip @ affine[:3, :3] / spacing).ravel().tolist())
        _rewritten(path, moved, origin)
    with pytest.raises(VolumeError, match="another grid") as error:
        import_case(atlas, folder, user="ben")
    assert differs in str(error.value)
    assert atlas.journal.events("revision") == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [("livr", "did you mean 'liver'"), ("Segment_1", "Unknown structure of this atlas 'Segment_1'")],
)
def test_unknown_segments_are_refused(atlas: Atlas, folder: Path, name: str, message: str) -> None:
    save(folder, {name: np.ones(SHAPE, dtype=bool)})
    with pytest.raises(UnknownNameError, match=message):
        import_case(atlas, folder, user="ben")


def test_two_spellings_of_one_structure_are_refused(atlas: Atlas, folder: Path) -> None:
    masks = random_masks(1, ("liver_tumor", "liver tumour"))
    save(folder, masks)
    with pytest.raises(VolumeError, match="both liver_tumor"):
        import_case(atlas, folder, user="ben")


def test_folders_that_cannot_be_imported(atlas: Atlas, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no ticket\.json"):
        import_case(atlas, tmp_path)
    with pytest.raises(ConfigurationError, match="minutes is -1"):
        import_case(atlas, folder, minutes=-1)
    other = review_atlas(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="was not handed out by"):
        import_case(other, folder)
    save(folder, random_masks(1), "Segmentation.seg.nrrd")
    save(folder, random_masks(2))
    with pytest.raises(ConfigurationError, match=r"several changed labels: Segmentation\.seg\.nrrd, labels\.seg\.nrrd"):
        import_case(atlas, folder)
    assert import_case(atlas, folder, file=folder / "Segmentation.seg.nrrd").revision == 1
    for path in folder.glob("*labels*"):
        path.unlink()
    (folder / "Segmentation.seg.nrrd").unlink()
    with pytest.raises(ConfigurationError, match="has no labels any more"):
        import_case(atlas, folder)
    (folder / "ticket.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(ConfigurationError, match="is damaged"):
        read_ticket(folder)


def test_a_case_that_nobody_changed_counts_as_reviewed(atlas: Atlas, folder: Path) -> None:
    found = import_case(atlas, folder, user="ben", minutes=2)
    assert (found.revision, found.changed, len(found.checked)) == (None, {}, 4)
    assert atlas.revisions(KEY) == ()
    assert [source.source for source in atlas.provenance(KEY).values()] == ["expert", "pseudo", "pseudo", "pseudo"]
    assert len(Journal(atlas.journal.path).events("revision")) == 1


def test_the_same_twice_does_nothing(atlas: Atlas, folder: Path) -> None:
    save(folder, random_masks(1))
    first = import_case(atlas, folder, user="ben")
    content = atlas.journal.path.read_bytes()
    again = import_case(atlas, folder, user="ben")
    assert (again.repeated, again.revision, again.changed) == (True, first.revision, first.changed)
    assert atlas.journal.path.read_bytes() == content


def test_a_person_may_think_again(atlas: Atlas, folder: Path) -> None:
    handed = masks_of(atlas.labels(KEY))
    for number, masks in enumerate((random_masks(1), random_masks(2), handed), start=1):
        save(folder, {**handed, **masks})
        found = import_case(atlas, folder, user="ben")
        assert (found.revision, found.conflicts) == (number, {})
        assert all(np.array_equal(atlas.labels(KEY).mask(name), mask) for name, mask in masks.items())


def test_minutes_of_several_are_shared(atlas: Atlas) -> None:
    folders = export_cases(atlas, 3).folders
    found = import_cases(atlas, list(folders.values()), user="ben", minutes=9)
    assert [outcome.case for outcome in found] == list(folders)
    assert [event.facts["minutes"] for event in atlas.journal.events("revision")] == [3, 3, 3]


def test_labels_that_were_never_known_can_be_added(atlas: Atlas, folder: Path) -> None:
    added = random_masks(5, ("pancreas",))
    save(folder, {**masks_of(atlas.labels(KEY)), **added})
    found = import_case(atlas, folder, user="ben")
    assert found.changed["pancreas"]["dsc_before_after"] == 0
    assert np.array_equal(LabelSet.read(atlas.revision_folder(KEY, 1)).mask("pancreas"), added["pancreas"])

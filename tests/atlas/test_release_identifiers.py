"""Nothing that could tell who a patient is leaves the atlas."""

import gzip
import re
import struct
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from suprem.atlas.label_set import Provenance
from suprem.atlas.release import ReleaseOptions, release_atlas
from suprem.atlas.release.identifiers import header_findings, identifying, text_findings
from suprem.errors import ConfigurationError
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.store import write_index
from tests.atlas.release_cases import add_case, add_labels, block, make_atlas

OPEN = ReleaseOptions(name="Ours", licences={"folder": "CC-BY-4.0"})
PLANTED = ("DOE^JANE", "MRN00471199", "Jane_Doe_1961-02-28", "4711-Jane")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scan of 1961-02-28", "a date"),
        ("28.02.1961", "a date"),
        ("CT20190312", "a date"),
        ("MRN00471199", "a long number, as of a patient or an examination"),
        ("DOE^JANE", "a name as DICOM writes it"),
        ("1.2.840.113619.2.55.3", "a unique identifier of DICOM"),
        ("ann.smith@clinic.org", "an address for mail"),
        ("local-dir:/data/ann/best", "a path on a machine"),
        (r"C:\Users\ann", "a path on a machine"),
    ],
)
def test_what_looks_like_an_identifier(text: str, reason: str) -> None:
    assert reason in {found for _, found in identifying(text)}


@pytest.mark.parametrize(
    "text",
    ["unet.suprem_2100, swinunetr.tang_5050; majority", "hf-hub:owner/model@0f7b1234567890abcdef01234567890abcdef012",
     "unet.mine@123456789012, other@0a1b2c3d4e5f; mean", "vertebrae_L1", "AbdomenAtlas 1.1", "CC-BY-NC-SA-4.0"],
)  # fmt: skip
def test_what_does_not(text: str) -> None:
    assert identifying(text) == []


def test_private_names_are_found_as_words() -> None:
    found = text_findings("a structure", "liver of anna, annas liver", {"anna", "x", "4711"})
    assert [finding.text for finding in found] == ["anna"]
    assert text_findings("a structure", "old anna", {"anna"}, ["anna"]) == []


def _header(path: Path, **texts: str) -> list[str]:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))  # type: ignore[attr-defined,no-untyped-call]
    for name, text in texts.items():
        image.header[name] = text
    nibabel.save(image, path)  # type: ignore[attr-defined]
    return [finding.place for finding in header_findings(path)]


def test_texts_in_headers_are_found(tmp_path: Path) -> None:
    assert _header(tmp_path / "plain.nii") == []
    assert _header(tmp_path / "a.nii", descrip="DOE^JANE") == ["a.nii, header field descrip"]
    assert _header(tmp_path / "b.nii", aux_file="jane.txt") == ["b.nii, header field aux_file"]
    assert _header(tmp_path / "c.nii", intent_name="jane") == ["c.nii, header field intent_name"]
    assert _header(tmp_path / "d.nii", db_name="jane") == ["d.nii, header field unused"]
    extended = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))  # type: ignore[attr-defined,no-untyped-call]
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"DOE^JANE"))  # type: ignore[no-untyped-call]
    nibabel.save(extended, tmp_path / "e.nii")  # type: ignore[attr-defined]
    assert [finding.place for finding in header_findings(tmp_path / "e.nii")] == ["e.nii, header"]


def test_what_gzip_keeps_is_found(tmp_path: Path) -> None:
    write_volume(Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "plain.nii.gz")
    assert header_findings(tmp_path / "plain.nii.gz") == []
    content = gzip.decompress((tmp_path / "plain.nii.gz").read_bytes())
    with gzip.GzipFile(tmp_path / "jane_doe.nii.gz", "wb", mtime=1_500_000_000) as file:
        file.write(content)
    places = {finding.reason for finding in header_findings(tmp_path / "jane_doe.nii.gz")}
    assert places == {"a file's name", "the time of a file"}
    (tmp_path / "x.nii").write_bytes(struct.pack("<i", 12) + bytes(400))
    with pytest.raises(ConfigurationError, match=r"no NIfTI-1 file"):
        header_findings(tmp_path / "x.nii")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of scans whose names, patients, remarks and reviewers are all private."""
    root = tmp_path_factory.mktemp("planted")
    atlas = make_atlas(root, ())
    for number, name in enumerate(PLANTED):
        facts = {"scan": f"folder/{name}", "subject": f"patient {name}", "flags": (f"seen by {name}",)}
        add_case(root / "store", "folder", name, seed=number, source=f"finger-{name}", **facts)
    write_index(root / "store")
    atlas = type(atlas).open(atlas.root)
    for key in atlas.cases:
        by = "local-dir:/srv/jane_doe/models/best"
        add_labels(atlas.pseudo_folder(1, key), {"liver": block(3, 8)}, Provenance("pseudo", by, 1))
        add_labels(atlas.revision_folder(key, 1), {"my organ": block(2, 3)}, Provenance("revised", "Dr Jane Doe", 1))
        atlas.journal.append("revision", "Dr Jane Doe", case=key, revision=1)
    release_atlas(atlas, root / "out", OPEN)
    return root / "out"


def test_planted_identifiers_are_in_no_file_and_in_no_name(planted: Path) -> None:
    secrets = [*PLANTED, "jane", "doe", "finger", "4711", "1961"]
    files = [path for path in planted.rglob("*") if path.is_file()]
    assert len(files) > 4 * 4
    for path in files:
        content = path.read_bytes()
        shown = gzip.decompress(content)[:352] if path.suffix == ".gz" else content
        shown = re.sub(rb"[0-9a-f]{64}", b"", shown + f"\n{path.relative_to(planted)}".encode())
        assert not [word for word in secrets if word.lower().encode() in shown.lower()], path
    assert "local-dir:best" in (planted / "provenance.csv").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Clinic 1961-02-28"}, "the name of the dataset: '1961-02-28' looks like a date"),
        ({"version": "of DOE^JANE"}, r"the version: 'DOE\^JANE' looks like a name"),
        ({"licences": {"folder": "ask ann@clinic.org"}}, "a dataset: 'ann@clinic.org' looks like an address"),
        ({"name": "The scan of anna"}, "the name of the dataset: 'anna' looks like a private name"),
    ],
)
def test_a_finding_refuses_the_release(tmp_path: Path, change: dict[str, str], message: str) -> None:
    atlas = make_atlas(tmp_path, (("folder", "anna"),))
    with pytest.raises(ConfigurationError, match=message):
        release_atlas(atlas, tmp_path / "out", replace(OPEN, **change))  # type: ignore[arg-type]
    assert not (atlas.root / "release" / "ids.csv").exists()


def test_a_structure_with_a_name_in_it_is_refused_unless_accepted(tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, (("chaos_ct", "1"),), ("spleen", "mass 20240131"))
    labels = {"mass 20240131": block(1, 2)}
    add_labels(atlas.revision_folder("chaos_ct/1", 1), labels, Provenance("revised", "ann", 1))
    atlas.journal.append("revision", "ann", case="chaos_ct/1", revision=1)
    with pytest.raises(ConfigurationError, match="a structure: '20240131' looks like a date"):
        release_atlas(atlas, tmp_path / "out")
    release_atlas(atlas, tmp_path / "out", ReleaseOptions(name="Ours", accept=("mass 20240131",)))
    assert len(list((tmp_path / "out").rglob("mass_20240131.nii.gz"))) == 1

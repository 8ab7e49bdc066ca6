"""The page of a predicted case: its numbers, remarks and provenance."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from suprem.inference.statistics import measure
from suprem.quality import Evidence, Finding
from suprem.report import PredictionReport
from suprem.report.prediction import structure_rows
from suprem.volumes import Volume
from tests.report.test_document import Elements

MANIFEST: dict[str, Any] = {
    "model": {
        "name": "unet.made_up",
        "sha256": "0123abcd",
        "config": {
            "backbone": "unet",
            "classes": ["liver", "spleen"],
            "preprocessing": {"spacing_mm": [1.5, 1.5, 1.5]},
        },
    },
    "settings": {"overlap": 0.5},
    "input": {"path": "scans/a.nii.gz"},
    "versions": {"suprem": "9.9"},
    "outputs": [{"path": "segmentations/liver.nii.gz"}],
    "warnings": ["Two slices were missing."],
}


def case() -> tuple[Volume, dict[str, np.ndarray]]:
    ct = Volume(np.full((20, 20, 10), 55, np.int16), np.diag([10.0, 10.0, 10.0, 1.0]), "a")
    liver = np.zeros(ct.shape, bool)
    liver[5:15, 5:15, 4:] = True
    return ct, {"liver": liver, "spleen": np.zeros(ct.shape, bool)}


def written(path: Path, **options: Any) -> str:
    ct, masks = case()
    page = PredictionReport(ct, "suprem predict scans/")
    for name, mask in masks.items():
        page.add(name, mask)
    rows = [measure(name, mask, ct) for name, mask in masks.items()]
    page.write(path, "case a", rows, options.pop("manifest", MANIFEST), **options)
    return " ".join(" ".join(Elements(path.read_text(encoding="utf-8")).text).split())


def test_numbers_and_what_was_not_found(tmp_path: Path) -> None:
    text = written(tmp_path / "report.html")
    assert "1 of 2 structures found" in text
    assert "liver reaches the superior border of the scan 600 55.0" in text  # 600 voxels of a millilitre
    assert "spleen not found 0.000 -" in text
    assert "Two slices were missing." in text
    assert "Not for clinical use" in text


def test_provenance(tmp_path: Path) -> None:
    text = written(tmp_path / "report.html")
    text = text[text.index("Provenance") :]
    words = ("command suprem predict scans/", "name unet.made_up", "sha256 0123abcd", "backbone unet")
    words += ("spacing_mm 1.5, 1.5, 1.5", "overlap 0.5", "path scans/a.nii.gz", "suprem 9.9")
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert "segmentations" not in text


def test_a_bare_manifest_is_enough(tmp_path: Path) -> None:
    text = written(tmp_path / "report.html", manifest={"model": "unet"})
    assert "name unet" in text
    assert "How the scan was read" not in text


def test_quality_flags_are_shown_in_their_own_words() -> None:
    ct, masks = case()
    row = measure("liver", masks["liver"], ct)
    evidence = Evidence("liver", row.voxels, row.volume_ml)
    finding = Finding("liver", "volume", "Its volume is unusual.")
    judged = [replace(row, evidence=evidence, findings=(finding,)), replace(row, structure="colon", evidence=evidence)]
    assert [one.flags for one in structure_rows(judged)] == [(("volume", "Its volume is unusual."),), ()]


def test_flags_of_the_caller_come_first(tmp_path: Path) -> None:
    ct, masks = case()
    rows = [measure(name, mask, ct) for name, mask in masks.items()]
    flags = {"liver": ("in two pieces", "small"), "spleen": ["expected here"]}
    assert [row.flags for row in structure_rows(rows, flags)] == [("in two pieces", "small"), ("expected here",)]
    assert [row.flags for row in structure_rows(rows)] == [("reaches the superior border of the scan",), ()]
    text = written(tmp_path / "report.html", flags=flags)
    assert "in two pieces small" in text
    assert "expected here" in text

"""Two folders of the same four cases, in other layouts, orientations and spellings."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.label_folders import LIVER, SHAPE, SPLEEN, shifted, write


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """As TotalSegmentator writes them: a file per structure, in LPS."""
    root = tmp_path / "references"
    for case in LIVER:
        write(root / f"case_{case}" / "segmentations" / "liver.nii.gz", LIVER[case], flip=True)
        write(root / f"case_{case}" / "segmentations" / "spleen.nii.gz", SPLEEN[case], flip=True)
    return root


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Label maps of nnU-Net, in RAS, with the names in another order and spelling."""
    root = tmp_path / "predictions"
    for case in LIVER:
        labels = np.zeros(SHAPE, dtype=np.uint8)
        labels[shifted(LIVER[case], 1)] = 2
        labels[SPLEEN[case]] = 1
        write(root / f"case_{case}.nii.gz", labels)
    described = {"labels": {"background": 0, "Spleen": 1, "Liver": 2, "pancreas": 3}}
    (root / "dataset.json").write_text(json.dumps(described))
    return root

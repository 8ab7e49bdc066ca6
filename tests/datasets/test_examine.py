"""Labels that cannot be true are found, and those of 20 different phantoms are let through."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suprem.datasets import dataset
from suprem.datasets._examine import CaseVerdict, Finding, examine, stored_as_read, verify_raw, verify_store
from suprem.datasets._labels import HarmonisedLabels
from suprem.datasets._prepare import prepare
from suprem.datasets._reading import SourceCase
from suprem.phantom import PhantomCase, generate
from suprem.phantom.disguise import disguise
from suprem.volumes import Volume
from suprem.volumes.store import Store

SPACING = (8.0, 8.0, 8.0)


def _case(phantom: PhantomCase) -> SourceCase:
    annotated = frozenset[str]().union(*phantom.table)
    return SourceCase(phantom.ct, HarmonisedLabels(phantom.labels, phantom.table, None, annotated))


def _wrong(case: SourceCase, name: str = "any") -> list[str]:
    return [finding.text for finding in examine(name, case) if finding.verdict == "wrong"]


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm(seed: int) -> None:
    assert not examine("word", _case(generate(seed, spacing_mm=SPACING)))


def test_mirrored_labels() -> None:
    case = _case(generate(3, spacing_mm=SPACING))
    assert case.labels is not None
    flipped = replace(case.labels, volume=replace(case.labels.volume, array=case.labels.volume.array[::-1]))
    texts = _wrong(SourceCase(case.ct, flipped))
    assert any("kidney_right lies" in text and "sides are swapped" in text for text in texts)
    assert any("lung" in text for text in texts)


def test_labels_upside_down() -> None:
    case = _case(generate(3, spacing_mm=SPACING))
    assert case.labels is not None
    flipped = replace(case.labels, volume=replace(case.labels.volume, array=case.labels.volume.array[..., ::-1]))
    assert any("its mask seems to lie elsewhere" in text for text in _wrong(SourceCase(case.ct, flipped)))


@pytest.mark.parametrize("wrong", ["offset", "window"])
def test_intensities_that_are_not_hu(wrong: str) -> None:
    case = _case(generate(3, spacing_mm=SPACING))
    array = case.ct.array + np.int16(1024) if wrong == "offset" else np.clip(case.ct.array, -150, 250)
    texts = _wrong(SourceCase(replace(case.ct, array=array), case.labels))
    assert any("not HU of a patient" in text for text in texts)


def test_ranges_of_single_datasets() -> None:
    array = np.full((4, 4, 4), 30, np.int16)
    array[0] = -1000
    array[:, 0, 0] = 200
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[2] = 1
    ct = Volume(array, np.eye(4))
    found = HarmonisedLabels(Volume(labels, np.eye(4)), (frozenset(), frozenset({"liver"})), None, frozenset({"liver"}))
    assert not _wrong(SourceCase(ct, found))
    assert "outside 60 to 160" in _wrong(SourceCase(ct, found), "chaos_ct")[0]


def test_verdict_is_the_worst_finding() -> None:
    assert CaseVerdict("a").verdict == "ok"
    findings = (Finding("warning", "w"), Finding("wrong", "x"), Finding("warning", "y"))
    assert CaseVerdict("a", findings).verdict == "wrong"
    assert CaseVerdict("a", findings[:1]).verdict == "warning"


def test_raw_and_stored(tmp_path: Path) -> None:
    spec = dataset("msd_spleen")
    for number, seed in (("2", 3), ("3", 5)):
        disguise(generate(seed, spacing_mm=SPACING), spec, "official", tmp_path / "raw", values={"n": number})
    root = tmp_path / "raw"
    verdicts = verify_raw(spec, root)
    assert [v.verdict for v in verdicts[1:]] == ["ok", "ok"]
    assert verdicts[0].case == "*"
    assert [f.text for f in verdicts[0].findings] == [
        "There are 2 cases; 61 are published (verified).",
        "There are 2 labelled cases; 41 are published (verified).",
    ]
    prepare("msd_spleen", root, tmp_path / "store", spacing_mm=SPACING)
    store = Store.open(tmp_path / "store")
    assert [v.verdict for v in verify_store(store)] == ["ok", "ok"]
    read = stored_as_read(store.case(store.records[0].key))
    assert read.labels is not None
    assert read.labels.mask("spleen").sum() == store.records[0].voxels["spleen"]
    next(root.rglob("labelsTr/spleen_3.nii.gz")).write_bytes(b"no image")
    damaged = next((tmp_path / "store").rglob("spleen_2/labels.b2nd"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert [v.verdict for v in verify_raw(spec, root)[1:]] == ["ok", "wrong"]
    assert [v.verdict for v in verify_store(store)] == ["wrong", "ok"]

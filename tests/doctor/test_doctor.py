"""``suprem doctor``: what words mean, what is found in stores, checkpoints and the environment, exit codes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem import _workers
from suprem._files import parse_size
from suprem.cli import main
from suprem.doctor import CHECKS, Diagnosis, Target, _environment, diagnose, exit_code, find_targets
from suprem.doctor._scans import expected_plan
from suprem.errors import ConfigurationError
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index
from suprem.volumes.symptoms import Symptom
from suprem.zoo.card import bundled_folder

BUNDLED = "segresnet_tiny.phantom"
SPACING_MM = (4.0, 4.0, 4.0)


def body(shape: tuple[int, int, int] = (80, 60, 45)) -> np.ndarray:
    """A trunk with a spine, in air; int16 HU (X, Y, Z)."""
    x, y = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    plane = np.where((x / 0.7) ** 2 + (y / 0.7) ** 2 < 1, -100.0, -1000.0)
    plane[(x / 0.6) ** 2 + (y / 0.6) ** 2 < 1] = 40
    plane[(x / 0.15) ** 2 + ((y + 0.4) / 0.15) ** 2 < 1] = 300
    noise = np.random.default_rng(0).normal(0, 10, shape)
    return (plane[:, :, None] + noise).astype(np.int16)


def volume(array: np.ndarray | None = None, spacing: tuple[float, float, float] = SPACING_MM) -> Volume:
    return Volume(body() if array is None else array, np.diag([*spacing, 1.0]))


def codes(diagnosis: Diagnosis) -> list[str]:
    return [symptom.code for symptom in diagnosis.symptoms]


def examine(word: object, **options: Any) -> Diagnosis:
    (target,) = find_targets([str(word)])
    return diagnose(target, **options)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_volume(volume(), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    create_store(root, StoreSettings(SPACING_MM))
    for name in ("one", "two", "three", "four"):
        write_case(
            root, dataset="a", case=name, scan=name, subject=name, split=None, ct=volume(),
            original_shape=(80, 60, 45), original_affine=np.eye(4),
        )  # fmt: skip
    write_index(root)
    return root


def test_words(scan: Path, store: Path, tmp_path: Path) -> None:
    folder = bundled_folder(BUNDLED)
    assert folder is not None
    weights = folder / "model.safetensors"
    words = ["env", BUNDLED, f"local-dir:{folder}", str(folder), str(weights), str(store), str(scan)]
    assert [target.kind for target in find_targets(words)] == ["environment", *["checkpoint"] * 4, "store", "scan"]
    assert [target.place for target in find_targets([str(folder), str(weights)])] == [
        f"local-dir:{folder}",
        f"local-file:{weights}",
    ]
    assert [target.kind for target in find_targets([])] == ["environment"]
    with pytest.raises(ConfigurationError, match="check the"):
        find_targets([str(tmp_path / "absent")])


def test_a_scan_without_symptoms(scan: Path) -> None:
    assert [s for s in examine(scan).symptoms if s.severity != "info"] == []


def test_a_scan_that_does_not_fit(scan: Path) -> None:
    found = examine(scan, max_ram="300MiB").symptoms[-1]
    assert found.code == "memory"
    assert "max_ram is 300MiB, but this scan needs at least" in found.text
    assert "memory" not in codes(examine(scan, max_ram=None))
    with pytest.raises(ConfigurationError, match="not a size"):
        examine(scan, max_ram="much")


def test_the_expected_memory_is_that_of_the_measured_runs() -> None:
    """Within a fifth of the plans that were made with a network of 25 classes, whose peaks were 1.61 and 0.94 GiB."""
    for shape, gib in (((512, 512, 600), 1.81), ((256, 256, 300), 1.06)):
        scan = Volume(np.broadcast_to(np.int16(0), shape), np.diag([0.8, 0.8, 1.0, 1.0]))
        assert expected_plan(scan, None).peak_bytes / 2**30 == pytest.approx(gib, rel=0.2)


def test_a_good_store(store: Path) -> None:
    assert codes(examine(store)) == ["sampled"]
    assert codes(examine(store, cases=4)) == []


def test_a_store_with_defects(store: Path) -> None:
    shutil.rmtree(store / "cases" / "a" / "two")
    (store / "cases" / "a" / "four" / "ct.b2nd").write_bytes(b"damaged")
    index = store / "index.jsonl"
    lines = index.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if '"three"' not in line]
    assert len(kept) == 3
    index.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert codes(examine(store, cases=9)) == ["index", "not-indexed", "case", "sampled"]


def test_a_store_whose_case_has_another_spacing(store: Path) -> None:
    write_case(
        store, dataset="a", case="five", scan="five", subject="five", split=None, ct=volume(spacing=(2.0, 4.0, 4.0)),
        original_shape=(80, 60, 45), original_affine=np.eye(4),
    )  # fmt: skip
    write_index(store)
    assert "case-spacing" in codes(examine(store, cases=0))


def test_a_store_of_label_maps(store: Path) -> None:
    write_case(
        store, dataset="a", case="labels", scan="labels", subject="labels", split=None,
        ct=volume(np.repeat(np.arange(80, dtype=np.int16) // 20, 60 * 45).reshape(80, 60, 45)),
        original_shape=(80, 60, 45), original_affine=np.eye(4),
    )  # fmt: skip
    write_index(store)
    found = [symptom for symptom in examine(store, cases=9).symptoms if symptom.code == "case-scan"]
    assert ["label-map" in symptom.text for symptom in found] == [True]


def test_stores_that_cannot_be_opened(store: Path) -> None:
    (store / "index.jsonl").write_text("", encoding="utf-8")
    assert codes(examine(store)) == ["empty"]
    (store / "index.jsonl").unlink()
    assert codes(examine(store)) == ["store"]


def test_a_good_checkpoint() -> None:
    assert codes(examine(BUNDLED)) == []


def test_checkpoints_with_defects(tmp_path: Path) -> None:
    source = bundled_folder(BUNDLED)
    assert source is not None
    bare = tmp_path / "bare.safetensors"
    shutil.copy(source / "model.safetensors", bare)
    # Nothing tells the options of its backbone, nor how its input was made.
    assert codes(examine(bare)) == ["check-failed", "preprocessing"]
    folder = tmp_path / "changed"
    shutil.copytree(source, folder)
    (folder / "golden.safetensors").unlink()
    assert codes(examine(folder)) == ["no-digest"]
    shutil.copy(source / "golden.safetensors", folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-4:] = b"\0\0\x80\x3f"
    (folder / "model.safetensors").write_bytes(bytes(data))
    assert codes(examine(folder))[0] == "check-failed"
    (folder / "model.safetensors").unlink()
    assert codes(examine(folder)) == ["checkpoint"]


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUPREM_CACHE", str(tmp_path / "cache"))
    found = examine("env")
    assert codes(found)[0] == "versions"
    assert "offline" in codes(found)
    assert "suprem" in found.symptoms[0].text
    assert not (tmp_path / "cache").exists()


def test_an_environment_with_defects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    small = tmp_path / "memory.max"
    small.write_text(f"{parse_size('1GiB')}\n")
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    driver = tmp_path / "nvidia"
    driver.write_text("")
    usage = shutil.disk_usage(tmp_path)._replace(total=64 * 2**20, free=2**20)
    monkeypatch.setenv("SUPREM_CACHE", str(blocked / "cache"))
    monkeypatch.setattr(_environment, "_CGROUP_MEMORY", small)
    monkeypatch.setattr(_workers, "_CGROUP_CPU", quota)
    monkeypatch.setattr(_environment, "_NVIDIA", driver)
    monkeypatch.setattr(_environment, "_SHARED", tmp_path)
    monkeypatch.setattr(
        _environment, "requires", lambda name: ["numpy>=99", "no-such-package>=1", "dask; extra == 'x'"]
    )
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = codes(examine("env"))
    assert found.count("dependency") == 2
    assert {"threads", "gpu-unused", "memory", "shared-memory", "cache", "disk"} <= set(found)


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert [symptom.code for symptom in _environment._hub()] == ["hub"]


def test_exit_codes() -> None:
    target = Target("x", "scan", "x")

    def code(*severities: str) -> int:
        symptoms = tuple(Symptom("c", severity, "T.", "A.") for severity in severities)  # type: ignore[arg-type]
        return exit_code([Diagnosis(target, symptoms), Diagnosis(target, ())])

    assert [code(), code("info"), code("info", "warning"), code("warning", "error")] == [0, 0, 3, 1]


def test_the_command(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(scan)]) == 0
    thin = tmp_path / "thin.nii.gz"
    write_volume(volume(body((80, 60, 20))), thin)
    assert main(["doctor", str(thin), str(scan)]) == 3
    assert "thin: warning: 80 mm of the body's length are in view." in capsys.readouterr().out
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"nothing")
    assert main(["doctor", str(broken), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 1
    assert told["targets"][0]["symptoms"][0]["code"] == "unreadable"
    assert main(["doctor", str(tmp_path / "absent")]) == 2
    assert main(["doctor", str(scan), "--cases", "-1"]) == 2


def test_every_kind_of_symptom_has_advice() -> None:
    for table in CHECKS.values():
        for code, meaning in table.items():
            assert code == code.lower()
            assert meaning.advice.endswith((".", "?"))
            assert not meaning.meaning.endswith(".")

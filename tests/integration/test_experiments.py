"""Every configuration below ``experiments``: each parses as it stands, and a small copy takes a step on phantoms."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from suprem.cli import main
from suprem.phantom import PhantomCase, generate
from suprem.transfer.study import read_study
from suprem.transfer.training import architecture
from suprem.volumes.store import StoreSettings, create_store, write_index
from suprem.zoo import card
from tests.phantom_store import add_phantom

SPACING = (10.0, 10.0, 10.0)
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CONFIGS = sorted(path for path in EXPERIMENTS.rglob("*.yaml") if "\nout:" in path.read_text())
STUDIES = sorted(EXPERIMENTS.glob("*/study.yaml"))
# item.yaml describes a table or figure, study.yaml a transfer study, targets.yaml what benchmarks aim at: no training.
OTHERS = {*EXPERIMENTS.glob("*/item.yaml"), *EXPERIMENTS.glob("benchmarks/*.yaml"), *STUDIES}
OVERLAYS = sorted(set(EXPERIMENTS.rglob("*.yaml")) - {*CONFIGS, *OTHERS})
TINY: dict[str, dict[str, Any]] = {
    "unet": {"base_channels": 4},
    "swinunetr": {"feature_size": 12},
    "segresnet": {"init_filters": 8},
    "segresnet_tiny": {"init_filters": 8},
}
SMALL = {
    "model": {"init": None},
    "data": {
        "patch_size": [32, 32, 32],
        "batch_size": 2,
        "samples_per_volume": 1,
        "samples_per_epoch": 4,
        "val_fraction": 0.5,
        "num_workers": 0,
    },
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "fast_dev_run": True,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _classifies(path: Path) -> bool:
    return "table" in _content(path)["data"]


def _unlabelled(path: Path) -> bool:
    return "proxies" in _content(path)["model"]


def _command(path: Path) -> str:
    if _classifies(path):
        return "train-classifier"
    if _unlabelled(path):
        return "pretrain-self"
    return "finetune" if path.parent.name.startswith("finetune") else "pretrain"


def _content(*paths: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in paths:
        for key, value in yaml.safe_load(path.read_text()).items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def _fitting() -> list[tuple[Path, ...]]:
    """Every configuration alone, and with every overlay of its folder."""
    pairs = [(config, overlay) for config in CONFIGS for overlay in OVERLAYS if overlay.parent == config.parent]
    return [*((config,) for config in CONFIGS), *pairs]


def test_there_are_configurations_and_overlays() -> None:
    folders = {"pretrain_abdomenatlas", "pretrain_self_supervised", "finetune_totalsegmentator", "phantom"}
    assert {path.parent.name for path in CONFIGS} >= folders
    assert all(any(overlay.parent == config.parent for config in CONFIGS) for overlay in OVERLAYS)


@pytest.mark.parametrize("paths", _fitting(), ids=lambda paths: "+".join(map(_name, paths)))
def test_it_parses_at_full_width(paths: tuple[Path, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([_command(paths[0]), *(f"--config={path}" for path in paths), "--print_config"]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    content = _content(*paths)
    if not _classifies(paths[0]) and not _unlabelled(paths[0]):
        assert resolved["classes"] == content["classes"]
    for section in ("model", "data", "trainer"):
        for key, value in content[section].items():
            if not isinstance(value, dict):
                assert resolved[section][key] == value, f"{section}.{key}"


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [generate(90 + number, spacing_mm=SPACING) for number in range(4)]


def _store(root: Path, cases: list[PhantomCase], classes: tuple[str, ...]) -> Path:
    """Phantoms whose labels are small blocks, a voxel of each being one class: a phantom has no ribs of its own.

    Without classes they have no labels at all.
    """
    create_store(root, StoreSettings(SPACING))
    table = (frozenset[str](), *(frozenset({name}) for name in classes))
    for number, case in enumerate(cases):
        x, y, z = np.indices(case.labels.shape) // 3
        blocks = ((x + 5 * y + 11 * z) % len(table)).astype(np.uint8)
        labels = replace(case.labels, array=blocks) if classes else None
        changes = {"labels": labels, "table": table, "annotated": frozenset(classes)}
        add_phantom(root, case, f"case_{number}", subject=f"{number}", **changes)
    write_index(root)
    return root


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_a_small_copy_takes_a_step(
    path: Path, cases: list[PhantomCase], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _content(path)["model"]
    backbone = model.get("backbone") or model["init"].partition(".")[0]
    small = {**SMALL, "model": {**SMALL["model"], "backbone": backbone, "backbone_kwargs": TINY[backbone]}}
    if backbone == "swinunetr":  # its deepest features need two voxels
        small["data"] = {**SMALL["data"], "patch_size": [32, 32, 64]}
    content = _content(path)
    structures = (content["data"]["region"],) if _classifies(path) else tuple(content.get("classes", ()))
    if _classifies(path):
        table, categories = tmp_path / "table.csv", content["data"]["categories"]
        rows = (f"case_{number},{categories[number % len(categories)]}\n" for number in range(len(cases)))
        table.write_text("case,category\n" + "".join(rows))
        small["data"] = {**SMALL["data"], "table": str(table)}
    store = _store(tmp_path / "store", cases, structures)
    overlay = tmp_path / "small.yaml"
    overlay.write_text(yaml.safe_dump(small))
    words = [_command(path), f"--config={path}", f"--config={overlay}", f"--data.stores={store}"]
    assert main([*words, f"--out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("path", STUDIES, ids=_name)
def test_every_study_names_networks_that_are_built(path: Path) -> None:
    study = read_study(path)
    assert study.runs()
    for plan in study.models.values():
        backbone, kwargs = architecture(plan)
        sources = [start.source for name in plan.initialisations if (start := plan.start(name)).source]
        assert {card(source).architecture.backbone for source in sources} == {backbone}
        assert all(dict(card(source).architecture.kwargs) == kwargs for source in sources)

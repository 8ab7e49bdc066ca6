"""`suprem pretrain-self` on phantoms without labels, and the fine-tuning that starts from what it leaves."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from suprem.cli import main
from suprem.phantom import generate
from suprem.volumes.store import StoreSettings, create_store, write_index
from tests.phantom_store import add_phantom, phantom_store

SPACING = (10.0, 10.0, 10.0)
SMALL = [
    "--data.patch_size=[16,16,16]", "--data.samples_per_epoch=4", "--data.val_fraction=0.4",
    "--trainer.accelerator=cpu", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
UNET = ["--model.backbone=unet", "--model.backbone_kwargs={base_channels: 4}"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans without labels."""
    root = tmp_path_factory.mktemp("unlabelled") / "store"
    create_store(root, StoreSettings(SPACING))
    nothing: dict[str, Any] = {"labels": None, "annotated": frozenset(), "table": (frozenset(),)}
    for number in range(4):
        case = generate(50 + number, spacing_mm=SPACING)
        add_phantom(root, case, f"case_{number}", subject=f"{number}", **nothing)
    write_index(root)
    return root


def _pretrain(store: Path, out: Path, *more: str) -> int:
    return main(["pretrain-self", f"--data.stores={store}", f"--out={out}", *UNET, *SMALL, *more])


@pytest.fixture(scope="module")
def run(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "genesis"
    more = ["--model.proxies=[restoration]", "--ema=0.9", "--trainer.log_every_n_steps=1"]
    assert _pretrain(bare, out, *more) == 0
    return out


def test_what_a_run_leaves(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "hparams.yaml", "best.ckpt", "last.ckpt", "model", "run.json", "metrics.csv"
    }  # fmt: skip
    record = json.loads((run / "run.json").read_text())
    assert (record["epochs"], record["steps"]) == (2, 4)
    assert len(record["train"]) == len(record["val"]) == 2
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "train/restoration", "val/loss", "val/restoration"} <= set(header)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["proxies"] == ["restoration"]
    assert "classes" not in config
    best = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    kept = load_file(run / "model/model.safetensors")
    assert len(kept) == 104  # of 106: all but the output layer
    for name, value in kept.items():
        torch.testing.assert_close(value, best[f"network.backbone.{name}"], rtol=0, atol=0)
    contract = json.loads((run / "model/config.json").read_text())
    assert (contract["head"], contract["classes"], contract["name"]) == ("none", [], "unet.genesis")
    assert contract["preprocessing"]["patch_size"] == [16, 16, 16]
    assert contract["backbone_kwargs"] == {"base_channels": 4}


@pytest.mark.parametrize(("proxies", "loaded"), [("[restoration]", 104), ("[inpainting,rotation,contrastive]", 56)])
def test_fine_tuning_starts_from_it(
    proxies: str, loaded: int, bare: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from suprem import load_pretrained

    if loaded == 56:
        run = tmp_path / "tang"
        assert _pretrain(bare, run, f"--model.proxies={proxies}") == 0
        assert f"suprem finetune --model.init local-dir:{run / 'model'}" in capsys.readouterr().out
    source = f"local-dir:{run / 'model'}"
    network = load_pretrained(source, classes=["liver", "spleen"])
    report = network.load_report
    assert report is not None
    assert (len(report.loaded), len(report.initialised)) == (loaded, 106 - loaded)
    store = phantom_store(tmp_path / "labelled", range(60, 64), SPACING)
    tune = ["finetune", f"--data.stores={store}", "--classes=[liver,spleen]", f"--model.init={source}", *SMALL]
    assert main([*tune, f"--out={tmp_path / 'tuned'}", "--model.optimisation.learning_rate=1e-12"]) == 0
    tuned = load_file(tmp_path / "tuned/model/model.safetensors")
    assert len(tuned) == 106
    for name, value in load_file(run / "model/model.safetensors").items():  # the rate moves nothing visible
        torch.testing.assert_close(tuned[name], value, rtol=0, atol=1e-6)


def test_it_resumes(run: Path, tmp_path: Path) -> None:
    more = [f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'last.ckpt'}", f"--out={tmp_path / 'again'}"]
    assert main(["pretrain-self", *more, "--trainer.max_epochs=3"]) == 0
    record = json.loads((tmp_path / "again/run.json").read_text())
    assert (record["epochs"], record["steps"]) == (3, 6)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--model.proxies=[rotations]"], "rotations"),
        (["--model.proxies=[rotation]", "--data.patch_size=[16,32,16]"], "cannot be turned by 90 degrees"),
        (["--model.proxies=[contrastive]", "--data.batch_size=1"], "raise batch_size"),
        (["--model.proxies=[]"], "choose at least one"),
        (["--classes=[liver]"], "classes"),
        (["--data.augmentation=strong"], "augmentation"),
    ],
)
def test_mistakes_are_told_in_a_line(
    more: list[str], says: str, bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _pretrain(bare, tmp_path / "run", *more) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_predicting_with_it_is_refused_in_a_line(
    run: Path, phantom_ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(phantom_ct), "-o", str(tmp_path), "--model", f"local-dir:{run / 'model'}"]) == 2
    assert "has no output layer for segmentation" in capsys.readouterr().err

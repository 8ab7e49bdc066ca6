"""The training commands on phantoms: from a store or raw data to a model that `suprem predict` takes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from suprem.cli import main
from suprem.phantom import generate
from suprem.volumes import read_volume, write_volume
from tests.phantom_store import phantom_store

SPACING = (10.0, 10.0, 10.0)
SMALL = [
    "--data.patch_size=[16,16,16]", "--data.samples_per_epoch=4", "--data.val_fraction=0.4",
    "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
CLASSES = "--classes=[liver,spleen]"
TINY = "--model.init=segresnet_tiny.phantom"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training") / "store"
    return phantom_store(root, range(50, 54), SPACING, lesion_probability=0.0)


def _finetune(store: Path, out: Path, *more: str) -> int:
    return main(["finetune", f"--data.stores={store}", CLASSES, TINY, f"--out={out}", *SMALL, *more])


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "mine"
    assert _finetune(store, out, "--ema=0.9", "--trainer.max_epochs=2") == 0
    return out


def test_what_a_run_leaves(run: Path, store: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "best.ckpt", "last.ckpt", "model", "run.json", "metrics.csv"} <= names
    record = json.loads((run / "run.json").read_text())
    assert (record["epochs"], record["steps"]) == (2, 4)
    assert len(record["train"]) + len(record["val"]) == 4
    assert not set(record["train"]) & set(record["val"])
    assert record["preprocessing"]["spacing_mm"] == list(SPACING)
    assert record["preprocessing"]["patch_size"] == [16, 16, 16]
    assert set(record["dice_at_the_end"]) == {"liver", "spleen"}
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert "val/dice/liver" in header
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["classes"] == ["liver", "spleen"]
    assert config["data"]["stores"] == str(store)


def test_the_model_holds_the_best_weights_and_predicts(run: Path, tmp_path: Path) -> None:
    from suprem import load_pretrained

    network = load_pretrained(f"local-dir:{run / 'model'}")
    best = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, best[f"network.{name}"], rtol=0, atol=0)
    assert network.config is not None
    assert network.config.name == "segresnet_tiny.mine"
    case = generate(60, spacing_mm=(8.0, 8.0, 8.0))
    write_volume(case.ct, tmp_path / "scan.nii.gz")
    command = ["predict", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--model", f"local-dir:{run / 'model'}"]) == 0
    assert read_volume(tmp_path / "out/scan/segmentations/liver.nii.gz").shape == case.ct.shape


def test_the_model_card_tells_how_the_weights_came_about(run: Path, store: Path) -> None:
    text = (run / "model" / "README.md").read_text()
    record = json.loads((run / "run.json").read_text())
    names = {key.split("/")[0] for key in record["train"]}
    for name in names:
        cases = sum(key.startswith(f"{name}/") for key in record["train"])
        assert f"| {name} | {cases} | not recorded |" in text  # no dataset of the registry is called so
    assert "| averaged weights | decay 0.9 |" in text
    assert "| seed | 0 |" in text
    # The digest is that of the training scans: the same for the same ones, without their names.
    records = [json.loads(line) for line in (store / "index.jsonl").read_text().splitlines()]
    used = sorted(r["source"] + "\n" for r in records if f"{r['dataset']}/{r['case']}" in record["train"])
    assert hashlib.sha256("".join(used).encode()).hexdigest() in text
    scores = torch.load(run / "best.ckpt", weights_only=True)["scores"]
    for score in scores:
        assert f"| {score['structure']} | {score['dice']:.3f} |" in text
    assert {score["structure"] for score in scores} == {"liver", "spleen"}
    assert np.mean([score["dice"] for score in scores]) == pytest.approx(record["best"], abs=1e-5)
    metadata = yaml.safe_load(text.split("---\n")[1])
    values = [metric["value"] for metric in metadata["model-index"][0]["results"][0]["metrics"]]
    assert values == [round(score["dice"], 4) for score in scores]
    assert str(run.parent) not in text


def test_without_validation_cases_the_last_weights_are_exported(store: Path, run: Path, tmp_path: Path) -> None:
    from suprem import load_pretrained

    out = tmp_path / "all"
    out.mkdir()
    (out / "best.ckpt").write_bytes((run / "best.ckpt").read_bytes())  # of another run
    assert _finetune(store, out, "--data.val_fraction=0.0") == 0
    last = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in load_pretrained(f"local-dir:{out / 'model'}").state_dict().items():
        torch.testing.assert_close(value, last[f"network.{name}"], rtol=0, atol=0)


def test_validate_repeats_the_score_of_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["validate", f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'best.ckpt'}"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text[text.index("{") :])
    assert document["mean"] == pytest.approx(json.loads((run / "run.json").read_text())["best"], abs=1e-5)


def test_the_saved_configuration_and_a_checkpoint_go_on(store: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    more = [f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'last.ckpt'}", f"--out={out}"]
    assert main(["finetune", *more, "--trainer.max_epochs=3"]) == 0
    record = json.loads((out / "run.json").read_text())
    assert (record["epochs"], record["steps"]) == (3, 6)


def test_own_raw_data_become_a_store_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        case = generate(70 + number, spacing_mm=SPACING)
        name = f"p{number}.nii.gz"
        write_volume(case.ct, tmp_path / "raw/images" / name)
        write_volume(replace(case.labels, array=case.mask("liver").astype(np.uint8)), tmp_path / "raw/labels" / name)
    (tmp_path / "raw/dataset.yaml").write_text(
        "title: Own\nimage: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels:\n  1: liver\n"
    )
    command = ["finetune", "--data.dataset=folder", f"--data.root={tmp_path / 'raw'}", "--classes=[liver]", TINY]
    assert main([*command, "--data.spacing_mm=[10,10,10]", "--out=run", *SMALL]) == 0
    assert (tmp_path / "stores/folder_raw_10x10x10/index.jsonl").exists()
    assert (tmp_path / "run/model/model.safetensors").exists()


def test_pretraining_starts_from_random_weights(store: Path, tmp_path: Path) -> None:
    more = ["--model.backbone=segresnet_tiny", "--model.optimisation.warmup_epochs=2", "--trainer.max_epochs=3"]
    assert main(["pretrain", f"--data.stores={store}", CLASSES, f"--out={tmp_path}", *SMALL, *more]) == 0
    rates = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert any(name.startswith("lr-AdamW") for name in rates[0])
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["model"]["optimisation"]["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--data.pach_size=[16,16,16]"], "pach_size"),
        (["--classes=[livr]"], "did you mean 'liver'"),
        (["--classes=[coronary_arteries]"], "No case has annotations of it"),
        (["--model.init=segresnet_tinny.phantom"], "segresnet_tiny.phantom"),
        (["--ckpt_path=last"], "does not exist"),
        (["--data.dataset=word"], "give either stores, or a dataset"),
        (["--trainer.strategy=fsdp"], "requires a GPU"),
    ],
)
def test_mistakes_are_told_in_a_line(
    more: list[str], says: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _finetune(store, tmp_path / "run", *more) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_a_checkpoint_of_another_network_is_refused(
    store: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _finetune(store, tmp_path / "run", f"--ckpt_path={run / 'last.ckpt'}", "--classes=[liver]") == 1
    err = capsys.readouterr().err
    assert "is a checkpoint of another network: 2 tensors differ, the first is network.conv_final.2.conv." in err
    (tmp_path / "broken.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:5000])
    assert _finetune(store, tmp_path / "run", f"--ckpt_path={tmp_path / 'broken.ckpt'}") == 1
    assert "cannot be read as a checkpoint" in capsys.readouterr().err
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    assert _finetune(store, tmp_path / "run", f"--ckpt_path={tmp_path / 'other.ckpt'}") == 1
    assert "to start from its weights, give model.init" in capsys.readouterr().err


def test_no_space_for_a_checkpoint(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # a checkpoint takes 8 MB
    try:
        assert _finetune(store, tmp_path / "run") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capsys.readouterr().err
    assert "No space is left for" in err
    assert "Traceback" not in err


def test_a_configuration_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\x1f\x8b\x9e")
    assert main(["finetune", f"--config={tmp_path / 'binary.yaml'}"]) == 2
    assert "is no YAML, but binary" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pretrain", "finetune", "validate"])
def test_help_and_print_config(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--data.patch_size" in capsys.readouterr().out
    assert main([command, CLASSES, "--print_config"]) == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert config["classes"] == ["liver", "spleen"]
    assert main([command, CLASSES, "--trainer.strategy=fsdp", "--trainer.devices=8", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["strategy"] == "fsdp"

"""The commands of the tutorials, in the order of the pages, on a few small phantoms.

What takes a GPU or a download is replaced: published weights by the bundled ones, voxels by larger ones, training by a
step. Each replacement must find something, and no command of a page is left out, so that pages and this file stay
together.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.phantom import generate
from suprem.volumes import Volume, read_volume, write_volume
from tests.contracts.test_docs import SNIPPETS, Snippet

pytestmark = pytest.mark.slow

SPACING = (8.0, 8.0, 8.0)
A_STEP = (
    "--data.patch_size=[16,16,16]", "--data.samples_per_epoch=2", "--data.val_fraction=0.4",
    "--model.optimisation.warmup_steps=0", "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
)  # fmt: skip
PUBLISHED = r"(unet|swinunetr|segresnet)\.suprem_2100"
BUNDLED = "segresnet_tiny.phantom"


def _blocks(page: str, language: str) -> list[Snippet]:
    return [snippet for snippet in SNIPPETS if snippet.page.name == page and snippet.language == language]


def _commands(page: str, replaced: Mapping[str, str]) -> list[list[str]]:
    """The words after ``suprem`` of every command of the page, with its replacements, a regular expression each."""
    text = "\n".join(line for snippet in _blocks(page, "bash") for line in snippet.commands())
    for old, new in replaced.items():
        text, count = re.subn(old, new, text)
        assert count, f"{page} has no {old!r} any more"
    return [shlex.split(line, comments=True)[1:] for line in text.splitlines()]


def _run(words: Sequence[str], seed: int = 0) -> None:
    more = (*A_STEP, f"--data.seed={seed}") if words[0] == "finetune" else ()
    assert main([*words, *more]) == 0, f"suprem {shlex.join(words)}"


def _scans(root: Path, names: Sequence[str], labels: Mapping[str, int], labelled: int, first_seed: int = 60) -> None:
    """CTs with label maps, the first few of them, as the pages have them."""
    for seed, name in enumerate(names, start=first_seed):
        case = generate(seed, spacing_mm=SPACING, lesion_probability=1.0)
        write_volume(case.ct, root / "images" / f"{name}.nii.gz")
        if seed - first_seed < labelled:
            array = np.zeros(case.ct.shape, np.uint8)
            for structure, value in labels.items():
                array[case.mask(structure)] = value
            write_volume(Volume(array, case.ct.affine), root / "labels" / f"{name}.nii.gz")


def _describe(root: Path, page: str) -> None:
    """``dataset.yaml`` as the page shows it."""
    (root / "dataset.yaml").write_text(next(s.code for s in _blocks(page, "yaml") if "label:" in s.code))


def test_fine_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    _scans(tmp_path / "my-data", ["patient_01", "patient_02", "patient_03"], {"liver": 1, "liver_tumor": 2}, 3)
    _describe(tmp_path / "my-data", "fine-tune.md")
    _scans(tmp_path / "new-scans", ["new_1"], {}, 0)
    smaller = {
        PUBLISHED: f"{BUNDLED} --data.spacing_mm [8,8,8]",
        r'"\[3,3,3\]"': "[8,8,8]",
        r'--data.patch_size "\[48,48,48\]" +--trainer.max_epochs 20': "",
        "new-scans/": "new-scans/images/",
    }
    for words in _commands("fine-tune.md", smaller):
        _run(words)
    wandb.finish()  # as the end of the program does; the next test in this process begins a run of its own
    left = {path.name for path in (tmp_path / "runs/livers").iterdir()}
    assert {"model", "best.ckpt", "last.ckpt", "pictures", "metrics.csv", "run.json", "config.yaml"} <= left
    assert list(tmp_path.glob("wandb/offline-run-*")), "nothing to upload later"
    mask = read_volume(tmp_path / "masks/new_1/segmentations/liver.nii.gz")
    assert mask.shape == read_volume(tmp_path / "new-scans/images/new_1.nii.gz").shape


def test_grow_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["patient_01", "patient_02", "patient_03", "patient_31", "patient_32"]
    _scans(tmp_path / "my-cts", names, {"liver": 1, "spleen": 2, "pancreas": 3}, 3)
    _describe(tmp_path / "my-cts", "grow-a-dataset.md")
    settings = next(s.code for s in _blocks("grow-a-dataset.md", "yaml") if s.code.startswith("models:"))
    (tmp_path / "loop.yaml").write_text(settings)
    smaller = {PUBLISHED: BUNDLED, "--spacing 1.5": "--spacing 8"}
    for number, words in enumerate(_commands("grow-a-dataset.md", smaller)):
        _run(words, seed=number)  # the page trains three architectures, which differ anyhow
        if words[:3] == ["atlas", "review", "import"]:  # the page goes on when every case has come back
            assert "folder/patient_31: nothing changed, 3 structures looked at" in capsys.readouterr().out
            _run(["atlas", "review", "import", "atlas", "atlas/review/0001/folder__patient_32", "--user", "bob"])
    atlas = Atlas.open(tmp_path / "atlas")
    looked_at = {str(event.facts["case"]) for event in atlas.journal.events("revision")}
    assert looked_at == {"folder/patient_31", "folder/patient_32"}
    assert (tmp_path / "runs/final/model").is_dir()


def test_is_pre_training_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = {"liver": 1, "spleen": 2}
    description = "image: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels: {1: liver, 2: spleen}\n"
    for folder, names, seed in (("my_cts", ["a", "b", "c"], 60), ("my_test_cts", ["t"], 70)):
        _scans(tmp_path / folder, names, labels, len(names), seed)
        (tmp_path / folder / "dataset.yaml").write_text(description)
    smaller = {
        "--spacing 1.5": "--spacing 8",
        "liver,spleen,my_structure": "liver,spleen",
        r"suprem=unet.suprem_2100 --init genesis=unet.genesis_620": f"suprem={BUNDLED} --steps 1 --patch-size 16",
        "--shots 1,5,10,all --seeds 5": "--shots 1,all --seeds 2",
    }
    for words in _commands("is-pre-training-worth-it.md", smaller):
        _run(words)
    tables = {path.name for path in (tmp_path / "study/tables").iterdir()}
    assert {"summary.md", "summary.csv", "structures.md", "runs.csv", "curves.svg"} <= tables

"""The loop goes through its steps, whatever was killed on the way."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.loop import NextStep, next_step, run_loop, run_step, settings_of
from suprem.atlas.loop_settings import LoopSettings, StopRule, read_settings, write_settings
from suprem.atlas.review import Handout, import_case
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError
from suprem.tasks.optimisation import Optimisation
from suprem.transfer.study import Training
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.zoo import load_pretrained
from tests.atlas.ensemble_cases import AFFINE, make_store, save_model

CLASSES = ("liver", "spleen")
TRAINING = Training(
    steps=2, batch_size=1, patch_size=(16, 16, 16), threads=1, checkpoint_every=1,
    optimisation=Optimisation(learning_rate=1e-3, warmup_steps=1), trainer={"accelerator": "cpu"},
)  # fmt: skip


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Atlas, LoopSettings]:
    """Three cases, of which the dataset annotates the spleen of one, and two models."""
    store = make_store(tmp_path / "store", "abc")
    models = tuple(save_model(tmp_path / f"tiny.{n}", CLASSES, seed=n) for n in (1, 2))
    settings = LoopSettings(models, cases=2, training=TRAINING, stop=StopRule(max_rounds=2), device="cpu")
    return Atlas.create(tmp_path / "atlas", store, CLASSES), settings


def _review(atlas: Atlas, handout: Handout) -> None:
    """A person who says that the liver is a block."""
    for case, folder in handout.folders.items():
        mask = np.zeros(atlas.store.record(case).shape, dtype=np.uint8)
        mask[4:12, 4:12, 4:12] = 1
        (folder / "segmentations").mkdir(exist_ok=True)
        write_volume(Volume(mask, AFFINE, case), folder / "segmentations" / "liver.nii.gz")
        import_case(atlas, folder, user="ann")


def _without_last_event(atlas: Atlas) -> None:
    """What the journal holds when a process was killed just before it wrote the event."""
    lines = atlas.journal.path.read_bytes().splitlines(keepends=True)
    atlas.journal.path.write_bytes(b"".join(lines[:-1]))


def test_every_step_can_be_killed_before_its_event(begun: tuple[Atlas, LoopSettings]) -> None:
    atlas, settings = begun
    kinds = []
    while (step := next_step(atlas, settings)).kind != "done":
        kinds.append((step.round, step.kind))
        for killed in (True, False):
            now = next_step(atlas, settings)
            assert (now.kind, now.round) == (step.kind, step.round)
            if step.kind == "review":
                for handout in [_handed(atlas, case) for case in now.waiting]:
                    _review(atlas, handout)
            else:
                run_step(atlas, settings, now)
            if killed:
                _without_last_event(atlas)
    rounds = ("ensemble", "prioritise", "export", "review")
    assert kinds == [*((1, kind) for kind in rounds), (1, "finetune"), *((2, kind) for kind in rounds)]
    exports = atlas.journal.events("export")
    assert [len(event.facts["cases"]) for event in exports] == [2, 2]  # none was handed out twice
    assert [event.facts["round"] for event in atlas.journal.events("finetune")] == [1, 1]
    assert "max_rounds is 2" in step.text
    models = {event.facts["model"]: event.facts["source"] for event in atlas.journal.events("finetune")}
    plan = json.loads((atlas.round_folder(2) / "ensemble.json").read_text())
    assert {model["name"]: model["source"] for model in plan["models"]} == models
    start, end = (load_pretrained(source).state_dict() for source in (settings.models[0], models["tiny.1"]))
    assert any(not np.array_equal(start[key], end[key]) for key in start)
    with pytest.raises(ConfigurationError, match="No program"):
        run_step(atlas, settings, step)


@pytest.mark.parametrize("restart", [False, True])
def test_where_trainings_begin(begun: tuple[Atlas, LoopSettings], restart: bool) -> None:
    atlas, settings = begun
    settings = dataclasses.replace(settings, restart=restart, stop=StopRule(max_rounds=3))
    run_loop(atlas, settings, annotate=lambda handout: _review(atlas, handout))
    events = atlas.journal.events("finetune")
    assert [event.facts["round"] for event in events] == [1, 1, 2, 2]
    first, second = ({e.facts["model"]: e.facts for e in events if e.facts["round"] == n} for n in (1, 2))
    assert tuple(facts["start"] for facts in first.values()) == settings.models
    for name, facts in second.items():
        assert facts["start"] == first[name]["start" if restart else "source"]


def _handed(atlas: Atlas, case: str) -> Handout:
    event = [event for event in atlas.journal.events("export") if case in event.facts["cases"]][-1]
    folder = atlas.root / "review" / event.facts["ticket"] / case.replace("/", "__")
    return Handout(event.facts["ticket"], event.facts["round"], {case: folder})


def test_the_loop_stops_where_people_are_needed(
    begun: tuple[Atlas, LoopSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas, settings = begun
    with pytest.raises(ConfigurationError, match="no finished round"):
        settings_of(atlas)
    write_settings(atlas, settings)
    assert read_settings(atlas.root / "loop.yaml") == settings
    assert main(["atlas", "next", str(atlas.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"]["kind"] == "ensemble"
    assert main(["atlas", "next", str(atlas.root), "--run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [step["kind"] for step in found["done"]] == ["ensemble", "prioritise", "export"]
    assert (found["next"]["kind"], len(found["next"]["waiting"])) == ("review", 2)
    with pytest.raises(ConfigurationError, match="brought none"):
        run_loop(atlas, settings, annotate=lambda handout: None)
    for case in found["next"]["waiting"]:
        _review(atlas, _handed(atlas, case))
    (atlas.root / "loop.yaml").unlink()
    assert settings_of(atlas).models == settings.models  # those of the round go on
    assert main(["atlas", "next", str(atlas.root)]) == 0
    assert "round 1, finetune: 2 of 2 models" in capsys.readouterr().out


def test_the_settings_of_the_tutorial(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "get-started" / "grow-a-dataset.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```yaml\n") if part.startswith("models:")).split("```")[0]
    (tmp_path / "loop.yaml").write_text(block, encoding="utf-8")
    found = read_settings(tmp_path / "loop.yaml")
    assert (found.cases, found.training.steps, found.stop.max_rounds) == (10, 2000, 8)


def test_settings_that_cannot_be(begun: tuple[Atlas, LoopSettings], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a model"):
        LoopSettings(())
    (tmp_path / "loop.yaml").write_text("models: [a]\nsteps: 3\n")
    with pytest.raises(ConfigurationError, match="steps"):
        read_settings(tmp_path / "loop.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")
    assert NextStep("done", 1, "").models == {}

"""A study that is really planned, run and tabulated, on phantoms of 10 mm voxels."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem._files import only_user
from suprem.cli import main
from suprem.datasets._hashes import scan_hash
from suprem.errors import CheckpointError, ConfigurationError
from suprem.phantom import generate
from suprem.tasks.segmentation import SegmentationTask
from suprem.transfer import training
from suprem.transfer.leakage import check_study
from suprem.transfer.output import write_outputs
from suprem.transfer.run_table import StudyFolder, create_folder
from suprem.transfer.scoring import scored_cases
from suprem.transfer.study import Study, read_study, study_from, study_text
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.store import StoreSettings, create_store, write_index
from tests.phantom_store import add_phantom

CLASSES = ["liver", "spleen"]
SPACING = (10.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    make_store(root / "pool", range(900, 903))
    make_store(root / "test", range(910, 911))
    return root


def make_store(root: Path, seeds: range) -> None:
    create_store(root, StoreSettings(SPACING))
    for seed in seeds:
        case = generate(seed, spacing_mm=SPACING)
        add_phantom(root, case, f"phantom_{seed}", subject=f"{seed}", scan_hash=scan_hash(case.ct))
    write_index(root)


TRAINING: dict[str, Any] = {
    "steps": 2,
    "patch_size": [16, 16, 16],
    "threads": 1,
    "optimisation": {"warmup_steps": 1},
    "trainer": {"accelerator": "cpu"},
}
WIDE = {"window": [40, 40, 64], "overlap": 0.0}
"""One window in scoring."""

VALUES: dict[str, Any] = {
    "groups": {"organ": CLASSES},
    "models": {"net": {"initialisations": {"scratch": None, "ours": "segresnet_tiny.phantom"}}},
    "shots": [1, None],
    "seeds": [0, 1],
    "training": TRAINING,
}


def plan(stores: Path, **changes: Any) -> Study:
    values = {**VALUES, "stores": [str(stores / "pool")], "scoring": {"store": str(stores / "test")}}
    return study_from({**values, **changes}, "plan")


@pytest.fixture(scope="module")
def finished(stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study planned and run by the command line: two starting points, two seeds, one case."""
    out = tmp_path_factory.mktemp("study") / "out"
    config = out.parent / "study.yaml"
    config.write_text(study_text(plan(stores, shots=[1], scoring={"store": str(stores / "test"), **WIDE})), "utf-8")
    assert main(["transfer", "plan", "--config", str(config), "-o", str(out)]) == 0
    assert main(["transfer", "run", str(out)]) == 0
    return out


def test_every_run_leaves_scores_and_facts(finished: Path) -> None:
    study = StudyFolder.open(finished)
    results = study.results()
    assert len(results) == len(study.runs()) == 4
    for result in results:
        assert set(result.dsc) == set(CLASSES)
        assert result.facts["steps"] == 2
        assert len(result.facts["train"]) == 1
        with (study.folder(result.run) / "cases.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row["case"] for row in rows} == {"a/phantom_910"}
        assert not study.work(result.run).exists()
    by_name = {result.run.name: result for result in results}
    # The same seed draws the same case for every start; that is what makes runs pairs.
    for seed in (0, 1):
        ours, scratch = (by_name[f"organ__net__{start}__full__n1__s{seed}"].facts for start in ("ours", "scratch"))
        assert ours["train"] == scratch["train"]
    # Weights that know liver and spleen from phantoms beat two steps from random ones.
    assert by_name["organ__net__ours__full__n1__s0"].mean_dsc > by_name["organ__net__scratch__full__n1__s0"].mean_dsc


def test_a_finished_study_is_not_run_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/*")}
    assert main(["transfer", "run", str(finished)]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/*")} == before
    assert "4 of 4 runs are finished already" in capsys.readouterr().out


def test_tables_come_in_every_format_and_carry_the_verdict(finished: Path) -> None:
    shutil.rmtree(finished / "tables", ignore_errors=True)
    assert main(["transfer", "tables", str(finished)]) == 0
    written = {path.name for path in (finished / "tables").iterdir()}
    assert {f"summary.{ending}" for ending in ("md", "tex", "csv", "html")} <= written
    verdict = (finished / "tables" / "verdict.txt").read_text(encoding="utf-8")
    assert verdict.startswith("ours: ")
    assert verdict.strip() in (finished / "tables" / "summary.md").read_text(encoding="utf-8")
    assert "curves.svg" not in written  # one number of cases is no curve
    page = (finished / "tables" / "report.html").read_text(encoding="utf-8")
    assert verdict.split(": ", 1)[1].split(";")[0].strip() in page
    assert "liver, spleen" in page  # the groups, in the provenance


def test_tables_as_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transfer", "tables", str(finished), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [cell["seeds"] for cell in document["cells"]] == [[0, 1], [0, 1]]


def test_curves_are_drawn_over_numbers_of_cases(finished: Path, stores: Path, tmp_path: Path) -> None:
    study = create_folder(tmp_path / "curves", plan(stores))
    done = StudyFolder.open(finished)
    for run in study.runs():
        source = done.folder(run) if run.shots == 1 else None
        if source is not None:
            shutil.copytree(source, study.folder(run))
    lines = write_outputs(study)
    assert lines[0].startswith("4 of 8 runs are not finished")
    assert (study.path / "tables" / "curves.svg").read_text(encoding="utf-8").count("scratch, full") >= 1


def test_a_row_taken_out_by_hand_is_told_of(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    lines = (copy / "runs.csv").read_text(encoding="utf-8").splitlines()
    (copy / "runs.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert "1 runs of the study were taken out" in write_outputs(StudyFolder.open(copy))[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--index", "4"], "runs.csv has 4 rows"),
        (["--index", "0", "--only", "x"], "give one of them"),
        (["--only", "organ__net__ours__full__n1__s5"], "s1"),
    ],
)
def test_a_run_that_is_not_there_is_refused(
    finished: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", "run", str(finished), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {**TRAINING, "steps": 4, "checkpoint_every": 1, "keep_models": True, "curve_every": 2}
    study = plan(stores, shots=[1], seeds=[0], training=settings, scoring={"store": str(stores / "test"), **WIDE})
    whole, broken = (create_folder(tmp_path / name, study) for name in ("whole", "broken"))
    run = study.runs()[0]
    training.execute(whole, run)

    step, taken = SegmentationTask.training_step, []

    def killed(self: Any, batch: Any, batch_idx: int) -> Any:
        taken.append(batch_idx)
        if len(taken) > 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        training.execute(broken, run)
    assert broken.result(run) is None
    assert not broken.folder(run).exists()
    taken.clear()
    training.execute(broken, run)
    assert len(taken) == 1  # the fourth step alone
    files = [folder.folder(run) / "model" / "model.safetensors" for folder in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()
    curves = [folder.results([run])[0].facts["curve"] for folder in (whole, broken)]
    assert curves[0] == curves[1]
    assert [point[0] for point in curves[0]] == [2, 4]
    assert curves[0][-1][1] == whole.results([run])[0].mean_dsc


def test_two_processes_at_one_run_are_refused(stores: Path, tmp_path: Path) -> None:
    study = create_folder(tmp_path / "study", plan(stores))
    run = study.runs()[0]
    study.work(run).mkdir(parents=True)
    with only_user(study.work(run)), pytest.raises(ConfigurationError, match="another process"):
        training.execute(study, run)


def test_a_broken_checkpoint_of_a_killed_run_says_what_to_delete(stores: Path, tmp_path: Path) -> None:
    study = create_folder(tmp_path / "study", plan(stores, training={**TRAINING, "checkpoint_every": 1}))
    run = study.runs()[0]
    study.work(run).mkdir(parents=True)
    (study.work(run) / "last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="delete it"):
        training.execute(study, run)


def test_scores_on_files_equal_those_on_a_store_of_the_same_grid(stores: Path, tmp_path: Path) -> None:
    case = generate(910, spacing_mm=SPACING)
    write_volume(case.ct, tmp_path / "scans" / "case.nii.gz")
    for name in CLASSES:
        mask = np.isin(case.labels.array, [i for i, names in enumerate(case.table) if name in names])
        write_volume(
            Volume(mask.astype(np.uint8), case.labels.affine, name), tmp_path / "masks" / "case" / f"{name}.nii.gz"
        )
    scoring = {"images": str(tmp_path / "scans"), "references": str(tmp_path / "masks"), **WIDE}
    # Nearly everything is called liver and spleen, so that there is something to score.
    same: dict[str, Any] = {"shots": [1], "seeds": [0], "training": {**TRAINING, "prior": 0.9}}
    of_files = plan(stores, **same, scoring=scoring)
    of_store = plan(stores, **same, scoring={"store": str(stores / "test"), **WIDE})
    assert check_study(of_files)
    found = []
    for name, study in (("files", of_files), ("store", of_store)):
        folder = create_folder(tmp_path / name, study)
        training.execute(folder, study.runs()[0])
        found.append(folder.results()[0].dsc)
    assert found[0] == pytest.approx(found[1])
    assert found[0]["liver"] > 0.01


def test_scoring_on_what_was_trained_on_is_refused(stores: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leak into training"):
        check_study(plan(stores, scoring={"store": str(stores / "pool")}))
    models = {
        "net": {"initialisations": {"scratch": None, "ours": {"source": "x", "trained_on": [str(stores / "test")]}}}
    }
    with pytest.raises(ConfigurationError, match=r"Pre-training of net / ours: .* leak"):
        check_study(plan(stores, models=models))
    # The same scan under another name is known by its voxels.
    case = generate(901, spacing_mm=SPACING)
    write_volume(case.ct, tmp_path / "scans" / "other_name.nii.gz")
    write_volume(case.labels, tmp_path / "masks" / "other_name" / "liver.nii.gz")
    scoring = {"images": str(tmp_path / "scans"), "references": str(tmp_path / "masks")}
    with pytest.raises(
        ConfigurationError, match=r"scored case other_name and training case a/phantom_901 are one scan"
    ):
        check_study(plan(stores, groups={"organ": ["liver"]}, scoring=scoring))


def test_what_nobody_can_check_is_said(stores: Path) -> None:
    notes = check_study(plan(stores))
    assert len(notes) == 1
    assert "segresnet_tiny.phantom was trained on is not known case by case" in notes[0]


def test_the_official_test_part_is_scored_when_nothing_else_is_named(tmp_path: Path) -> None:
    root = tmp_path / "store"
    create_store(root, StoreSettings(SPACING))
    for seed, split in ((920, "train"), (921, "test")):
        add_phantom(root, generate(seed, spacing_mm=SPACING), f"p{seed}", subject=f"{seed}", split=split)
    write_index(root)
    study = study_from({**VALUES, "stores": [str(root)]}, "plan")
    assert [case.key for case in scored_cases(study)] == ["a/p921"]
    check_study(study)


def test_no_case_to_score_on_is_refused(stores: Path) -> None:
    with pytest.raises(ConfigurationError, match="no official test part"):
        check_study(plan(stores, scoring={}))
    with pytest.raises(ConfigurationError, match="has rectum_of_nobody of group organ"):
        check_study(plan(stores, groups={"organ": ["liver", "rectum_of_nobody"]}))


def test_planning_by_options_tells_the_cost(stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["transfer", "plan", str(stores / "pool"), "-o", str(tmp_path / "out"), "--classes", "liver,spleen"]
    words += ["--init", "segresnet_tiny.phantom", "--shots", "1,0.5,all", "--seeds", "2", "--patch-size", "16"]
    words += ["--test-store", str(stores / "test"), "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == 12
    assert document["models"][0]["step_seconds"] > 0
    assert document["hours"] > 0
    study = read_study(tmp_path / "out" / "study.yaml")
    assert dict(study.models["model"].initialisations) == {"scratch": None, "pretrained": "segresnet_tiny.phantom"}
    assert study.shots == (1, 0.5, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "liver", "--init", "a=x", "--init", "a=y", "pool"], "Two starting points are called 'a'"),
        (["--classes", "liver", "--init", "x", "--shots", "few", "pool"], "'few' is no number of cases"),
        (["--config", "study.yaml", "--classes", "liver"], "holds the whole study"),
        (["--classes", "liver", "--init", "x"], "stores is empty"),
    ],
)
def test_options_that_contradict_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transfer", "plan", "-o", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err

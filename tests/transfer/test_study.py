from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.transfer.run_table import StudyFolder, create_folder
from suprem.transfer.study import Initialisation, Run, Study, read_study, study_from, study_text

PLAN: dict[str, Any] = {
    "stores": ["pool"],
    "groups": {"organ": ["liver", "spleen"]},
    "models": {"net": {"backbone": "segresnet_tiny", "initialisations": {"scratch": None, "ours": "local-dir:model"}}},
    "shots": [1, 0.5, None],
    "seeds": [0, 1],
}


def plan(**changes: Any) -> Study:
    return study_from({**PLAN, **changes}, "plan")


def test_runs_are_all_choices_once_and_random_weights_are_trained_whole() -> None:
    study = plan(strategies=["full", "lora"])
    runs = study.runs()
    # 3 numbers of cases x 2 seeds x (scratch full, ours full, ours lora)
    assert len(runs) == len(set(runs)) == 18
    assert {run.strategy for run in runs if run.initialisation == "scratch"} == {"full"}
    assert {run.strategy for run in runs if run.initialisation == "ours"} == {"full", "lora"}
    assert runs[0].name == "organ__net__scratch__full__n1__s0"
    assert {run.shown_shots for run in runs} == {"1", "0.5", "all"}


def test_random_weights_stay_when_no_strategy_is_full() -> None:
    runs = plan(strategies=["lora"]).runs()
    assert {(run.initialisation, run.strategy) for run in runs} == {("scratch", "full"), ("ours", "lora")}


def test_a_study_survives_its_file(tmp_path: Path) -> None:
    model = {
        "backbone": "segresnet_tiny",
        "backbone_kwargs": {"init_filters": 16},
        "initialisations": {"scratch": None, "ours": {"source": "local-dir:m", "trained_on": ["seen"]}},
    }
    study = plan(models={"net": model}, training={"steps": 7, "optimisation": {"learning_rate": 0.003}})
    path = tmp_path / "study.yaml"
    path.write_text(study_text(study), encoding="utf-8")
    assert read_study(path) == study
    assert study.models["net"].start("ours").trained_on == ("seen",)
    assert study.models["net"].start("scratch") == Initialisation()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stores": []}, "stores is empty"),
        ({"seeds": [1, 1]}, "there twice"),
        ({"groups": {"a/b": ["liver"]}}, "names a group"),
        ({"groups": {"a__b": ["liver"]}}, "names a group"),
        ({"groups": {"organ": ["liver", "Liver"]}}, "name each once"),
        ({"shots": [0]}, "shots holds 0"),
        ({"shots": [1.5]}, "shots holds 1.5"),
        ({"baseline": "tang"}, "baseline is 'tang'"),
        ({"training": {"steps": 0}}, "steps is 0"),
        ({"training": {"step": 5}}, "unknown keys"),
        ({"scoring": {"images": "a"}}, "belong together"),
        ({"scoring": {"images": "a", "references": "b", "store": "c"}}, "choose one"),
        ({"models": {"net": {"initialisations": {"scratch": None}}}}, "neither a backbone nor weights"),
        ({"models": {"net": {"initialisations": {}}}}, "no initialisations"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan(**changes)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="strategies"):
        plan(strategies=["freeze"])
    with pytest.raises(UnknownNameError, match="full"):
        replace(plan(), strategies=("ful",))  # type: ignore[arg-type]


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("stores: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_study(path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return create_folder(tmp_path / "study", plan())


def edit(folder: StudyFolder, change: Any) -> None:
    path = folder.path / "runs.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")


def test_the_table_holds_every_run(folder: StudyFolder) -> None:
    assert folder.runs() == folder.study.runs()
    assert StudyFolder.open(folder.path).study == folder.study


def test_rows_may_be_deleted_and_sorted_by_hand(folder: StudyFolder) -> None:
    edit(folder, lambda lines: [lines[0], *reversed(lines[1:4])])
    assert folder.runs() == tuple(reversed(folder.study.runs()[:3]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[1]], "line 14: organ__net__scratch__full__n1__s0 is there twice"),
        (lambda lines: [*lines, lines[1].replace("__s0", "__s7")], "line 14: .*is no run of study.yaml"),
        (lambda lines: [lines[0], lines[1].replace(",1,0", ",5,0")], "line 2: shots is '5'.*has '1'"),
        (lambda lines: [lines[0].replace("seed", "sede"), *lines[1:]], "has the columns"),
        (lambda lines: lines[:1], "names no runs"),
    ],
)
def test_a_table_edited_into_nonsense_is_refused_with_the_line(folder: StudyFolder, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(ConfigurationError, match=message):
        folder.runs()


def test_planning_again_keeps_the_table_and_another_study_is_refused(folder: StudyFolder) -> None:
    edit(folder, lambda lines: lines[:3])
    assert len(create_folder(folder.path, folder.study).runs()) == 2
    with pytest.raises(OutputError, match="holds another study"):
        create_folder(folder.path, replace(folder.study, seeds=(0, 1, 2)))


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="plan a study there first"):
        StudyFolder.open(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"run": "other"}', '{"run": "NAME", "dsc": {}, "nsd": {}}', "[1]"])
def test_a_damaged_result_says_what_to_delete(folder: StudyFolder, content: str) -> None:
    run: Run = folder.study.runs()[0]
    assert folder.result(run) is None
    folder.folder(run).mkdir(parents=True)
    (folder.folder(run) / "result.json").write_text(content.replace("NAME", run.name), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="delete"):
        folder.result(run)


def test_the_file_of_a_study_is_plain_yaml(folder: StudyFolder) -> None:
    content = yaml.safe_load((folder.path / "study.yaml").read_text(encoding="utf-8"))
    assert content["groups"] == {"organ": ["liver", "spleen"]}

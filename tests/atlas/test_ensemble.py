"""Rounds of models: predictions, fused labels, what stands, what fails, and what a killed run leaves."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from suprem.atlas.ensemble import begin_atlas, run_ensemble
from suprem.atlas.label_set import LabelSet
from suprem.atlas.models import describe_models
from suprem.atlas.predictions import Prediction
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError, UnknownNameError
from suprem.inference import Predictor
from suprem.inference.probabilities import ProbabilityFile
from suprem.volumes.geometry import Volume
from suprem.volumes.store import write_index
from suprem.zoo import load_pretrained, save_folder
from tests.atlas.ensemble_cases import (
    AFFINE,
    content,
    make_atlas,
    make_case,
    make_store,
    save_model,
    three_models,
)
from tests.inference.tiny_model import tiny_hu


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return three_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def finished(store: Path, models: list[str], tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """One round, undisturbed; to be read only."""
    atlas = make_atlas(tmp_path_factory.mktemp("atlas"), store, models)
    report = run_ensemble(atlas, models, device="cpu")
    assert (report.round, report.finished, report.predicted, report.fused) == (1, True, 6, 2)
    return atlas


def _versions(atlas: Atlas) -> dict[str, str]:
    (event, *_) = atlas.journal.events("ensemble")
    return {model["name"]: model["version"] for model in event.facts["models"]}


def test_predictions_are_those_of_the_models(finished: Atlas, models: list[str], tmp_path: Path) -> None:
    for source, name in zip(models, ("first", "second", "third"), strict=True):
        network = load_pretrained(source)
        found = Prediction.open(finished.prediction_folder(1, name, "own/b"))
        assert found.exclusive == (name == "third")
        assert set(found.classes) == set(network.config.classes)
        assert (found.info["model"], found.info["version"]) == (name, _versions(finished)[name])
        with ProbabilityFile(tmp_path) as sink:
            Predictor(network, device="cpu").predict(Volume(tiny_hu(1), AFFINE), probabilities=sink)
            for structure in found.classes:
                assert np.array_equal(found.probability(structure), sink.on_scan(structure))


def test_what_a_run_could_not_clean_up_the_next_one_does(store: Path, models: list[str], tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, store, models[:1])
    left = atlas.root / ".0123abcd.partial-atlas.json"  # the disk became read-only
    left.write_text("{")
    assert run_ensemble(atlas, models[:1], device="cpu").finished
    assert not left.exists()


def test_structures_are_fused_over_the_models_that_know_them(finished: Atlas) -> None:
    assert finished.structures == ("spleen", "liver", "aorta", "liver_tumor")
    fused = LabelSet.read(finished.pseudo_folder(1, "own/b"))
    assert fused.structures == finished.structures
    predictions = {n: Prediction.open(finished.prediction_folder(1, n, "own/b")) for n in _versions(finished)}
    votes = {
        name: [p.masks(p.classes)[name] for p in predictions.values() if name in p.classes]
        for name in finished.structures
    }
    assert [len(masks) for masks in votes.values()] == [2, 3, 1, 1]
    assert np.array_equal(fused.mask("liver"), np.sum(votes["liver"], axis=0) >= 2)
    for name in ("aorta", "liver_tumor"):
        assert np.array_equal(fused.mask(name), votes[name][0])
    both, either = np.logical_and(*votes["spleen"]), np.logical_or(*votes["spleen"])
    assert not (both & ~fused.mask("spleen")).any()
    assert not (fused.mask("spleen") & ~either).any()
    assert all(0 < fused.mask(name).sum() < fused.indices.size for name in finished.structures)
    versions = _versions(finished)
    assert fused.provenance["aorta"].by == f"third@{versions['third']}; majority"
    assert fused.provenance["spleen"].by == f"first@{versions['first']}, second@{versions['second']}; majority"
    assert {(p.source, p.round) for p in fused.provenance.values()} == {("pseudo", 1)}
    assert np.array_equal(fused.affine, AFFINE)


def test_experts_win_but_what_the_models_say_is_kept(finished: Atlas) -> None:
    assert finished.round == 1
    labels = finished.labels("own/a")
    assert labels.provenance["spleen"].source == "expert"
    assert labels.mask("spleen").all()
    assert {p.source for name, p in labels.provenance.items() if name != "spleen"} == {"pseudo"}
    assert not LabelSet.read(finished.pseudo_folder(1, "own/a")).mask("spleen").all()
    (event,) = finished.journal.events("ensemble")
    assert {key: event.facts[key] for key in ("round", "fusion", "cases")} == {
        "round": 1,
        "fusion": "majority",
        "cases": 2,
    }


def test_what_has_not_changed_is_taken_over(store: Path, models: list[str], tmp_path: Path) -> None:
    own = make_store(tmp_path / "store", "a")
    atlas = make_atlas(tmp_path / "atlas", own, models)
    run_ensemble(atlas, models, device="cpu")
    again = run_ensemble(atlas, list(reversed(models)), device="cpu")
    assert (again.round, again.finished, again.predicted, again.kept) == (1, True, 0, 3)
    before = content(atlas.root)
    other = save_model(tmp_path / "other", ("liver", "spleen"), seed=9, spacing=None, name="second")
    report = run_ensemble(atlas, [models[0], other, models[2]], device="cpu")
    assert (report.round, report.predicted, report.linked, report.fused) == (2, 1, 2, 1)
    first, second = (atlas.prediction_folder(n, "first", "own/a") for n in (1, 2))
    assert all(os.path.samefile(file, second / file.name) for file in first.iterdir())
    assert Prediction.open(atlas.prediction_folder(2, "second", "own/a")).info["version"] == report.models[1].version
    assert {p.round for p in atlas.provenance("own/a").values()} == {0, 2}
    after = content(atlas.root)
    assert all(after[name] == before[name] for name in before if name != "events")
    make_case(own, "b", 1)
    write_index(own)
    grown = Atlas.open(atlas.root)
    assert grown.labels("own/b").structures == ()  # the case waits for a round
    wider = run_ensemble(grown, [models[0], other, models[2]], device="cpu")
    assert (wider.round, wider.predicted, wider.linked) == (3, 3, 3)


def _sparse(source: str, folder: Path) -> str:
    """The model with other biases, so that each class has one voxel in thirty, in many parts."""
    network, scan = load_pretrained(source), Volume(tiny_hu(0), AFFINE)
    with ProbabilityFile(folder) as sink:
        Predictor(network, device="cpu").predict(scan, probabilities=sink)
        shares = [np.quantile(sink.on_grid(name), 0.97) / 255 for name in sink.classes]
    with torch.no_grad():
        network.get_parameter(f"{network.head_path}.bias").sub_(torch.logit(torch.tensor(shares)))
    return f"local-dir:{save_folder(network, folder / 'sparse')}"


def test_other_settings_are_other_predictions(models: list[str], tmp_path: Path) -> None:
    sparse = [_sparse(models[1], tmp_path)]
    atlas = make_atlas(tmp_path / "atlas", make_store(tmp_path / "store", "a"), sparse)
    run_ensemble(atlas, sparse, device="cpu")
    report = run_ensemble(atlas, sparse, device="cpu", postprocess="largest", fusion="staple")
    assert (report.round, report.predicted) == (2, 1)
    predictor = Predictor(load_pretrained(sparse[0]), device="cpu", postprocess="largest")
    repaired = predictor.predict(Volume(tiny_hu(0), AFFINE))
    found = Prediction.open(atlas.prediction_folder(2, "second", "own/a"))
    plain = Prediction.open(atlas.prediction_folder(1, "second", "own/a"))
    before = plain.masks(plain.classes)
    for name, mask in found.masks(found.classes).items():  # this model's grid is the store's
        assert np.array_equal(mask, repaired.mask(name))
        assert 0 < mask.sum() < before[name].sum()


def test_a_round_is_finished_as_it_was_begun(models: list[str], tmp_path: Path) -> None:
    own = make_store(tmp_path / "store")
    atlas = make_atlas(tmp_path / "atlas", own, models[:2])
    path = own / "cases/own/b/ct.b2nd"
    good = path.read_bytes()
    path.write_bytes(good[:-10])
    report = run_ensemble(atlas, models[:2], device="cpu")
    assert (report.finished, report.predicted, report.fused, len(report.failures)) == (False, 2, 1, 2)
    assert {(f.case, f.step) for f in report.failures} == {("own/b", "first"), ("own/b", "second")}
    table = (atlas.round_folder(1) / "failures.csv").read_text()
    assert table.startswith("case,step,reason\nown/b,first,")
    assert "another size than the index says" in table
    assert atlas.round == 0
    assert not atlas.journal.events()
    with pytest.raises(ConfigurationError, match=r"first@\w+, second@\w+, majority.*Finish it as it was begun"):
        run_ensemble(atlas, models, device="cpu")
    path.write_bytes(good)
    report = run_ensemble(atlas, models[:2], device="cpu")
    assert (report.finished, report.predicted, report.kept, report.fused) == (True, 2, 2, 1)
    assert not (atlas.round_folder(1) / "failures.csv").exists()
    assert atlas.round == 1


def test_a_damaged_prediction_is_made_again(finished: Atlas, models: list[str], tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path / "atlas", Path(finished.store_root), models)
    run_ensemble(atlas, models, device="cpu")
    wanted = content(atlas.root)
    atlas.journal.path.unlink()
    (atlas.prediction_folder(1, "first", "own/a") / "prediction.json").write_text("{}")
    (atlas.prediction_folder(1, "second", "own/b") / "000.b2nd").unlink()
    (atlas.pseudo_folder(1, "own/b") / "fusion.json").unlink()
    report = run_ensemble(atlas, models, device="cpu")
    assert (report.predicted, report.kept, report.fused) == (2, 4, 1)
    assert content(atlas.root) == wanted


def test_models_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    sources = [save_model(tmp_path / str(seed), ("liver",), seed=seed, name="same/name") for seed in (1, 2)]
    models = describe_models(sources)
    assert all(re.fullmatch(r"same_name@[0-9a-f]{12}", model.name) for model in models)
    assert [model.label for model in models] == [model.name for model in models]
    atlas = begin_atlas(tmp_path / "atlas", make_store(tmp_path / "store", "a"), models)
    assert run_ensemble(atlas, models, device="cpu", fusion="mean").finished
    by = atlas.provenance("own/a")["liver"].by
    assert by == f"{models[0].name}, {models[1].name}; mean"


def test_what_cannot_work(store: Path, models: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No model is named"):
        describe_models([])
    with pytest.raises(ConfigurationError, match="is there twice"):
        describe_models([models[0], models[1], models[0]])
    described = describe_models(models)
    with pytest.raises(UnknownNameError, match="'liver'"):
        begin_atlas(tmp_path / "atlas", store, described, ["livr"])
    assert not (tmp_path / "atlas").exists()
    atlas = begin_atlas(tmp_path / "atlas", store, described, ["aorta", "Spleen"])
    assert atlas.structures == ("spleen", "aorta")
    with pytest.raises(ConfigurationError, match="Choose another folder"):
        begin_atlas(tmp_path / "atlas", store, described, ["liver"])
    other = describe_models([save_model(tmp_path / "other", ("pancreas",))])
    with pytest.raises(ConfigurationError, match="other knows none of spleen, aorta"):
        run_ensemble(atlas, [*described, *other])
    with pytest.raises(ConfigurationError, match="majority, staple, mean"):
        run_ensemble(atlas, described, fusion="vote")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="largst"):
        run_ensemble(atlas, described, postprocess="largst")
    with pytest.raises(ConfigurationError, match="overlap is 1"):
        run_ensemble(atlas, described, overlap=1.0)
    assert not list((tmp_path / "atlas").glob("rounds/*"))


def test_command(store: Path, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = make_store(tmp_path / "store", "a")
    words = ["atlas", "ensemble", str(own), "-o", str(tmp_path / "atlas"), "--device", "cpu"]
    words += ["--model", models[0], "--model", models[1], "--classes", "liver, spleen", "--fusion", "staple"]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["round"], report["finished"], report["predicted"], report["fused"]) == (1, True, 2, 1)
    assert [model["name"] for model in report["models"]] == ["first", "second"]
    assert "own/a fusion: done" in captured.err
    assert Atlas.open(tmp_path / "atlas").structures == ("spleen", "liver")
    assert main(words) == 0
    assert "round 1: 1 cases, 2 models; 0 predicted" in capsys.readouterr().out
    ct = own / "cases/own/a/ct.b2nd"
    ct.write_bytes(ct.read_bytes()[:-1])
    assert main([*words, "--overlap", "0.25"]) == 1
    assert "not finished: 2 failed; see" in capsys.readouterr().out


def test_a_dask_cluster_gives_the_same_files(finished: Atlas, models: list[str], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    atlas = make_atlas(tmp_path / "atlas", Path(finished.store_root), models)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
    ) as cluster:
        report = run_ensemble(atlas, models, device="cpu", scheduler=cluster.scheduler_address)
    assert report.finished
    assert content(atlas.root) == content(finished.root)


@pytest.mark.slow
def test_processes_give_the_same_files(finished: Atlas, models: list[str], tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path / "atlas", Path(finished.store_root), models)
    assert run_ensemble(atlas, models, device="cpu", jobs=2).finished
    assert content(atlas.root) == content(finished.root)

"""What is disturbed: each command on inputs of seconds, and how its output is compared."""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import told_of
from suprem.errors import SupremError

__all__ = ["COMMANDS", "MINE", "Command", "Content", "as_client"]

Content = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A command that can be run again after whatever happened to it.

    Attributes:
        prepare: Fills a folder of inputs, which the command only reads.
        run: Reads the inputs, makes or goes on with the output, and raises one of our errors if it is not complete.
        content: What of the output an undisturbed run leaves too.
        check: What has to hold for an output at any moment.
        counts: Whether faults happen at steps towards the disk or at calls of functions.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], None]
    content: Callable[[Path], Content]
    check: Callable[[Path], None] = lambda out: None
    counts: str = "steps"


def files(out: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


# predict -------------------------------------------------------------------------------------------------------------

SCANS = 3


def prepare_scans(inputs: Path) -> None:
    from tests.inference.tiny_model import save_scan, save_tiny_model

    save_tiny_model(inputs / "model")
    for number in range(SCANS):
        save_scan(inputs / "scans" / f"scan {number}.nii.gz", number)


def predict(inputs: Path, out: Path) -> None:
    from suprem.inference import Predictor
    from suprem.inference.folder import predict_folder
    from suprem.volumes.scans import find_scans
    from suprem.zoo import load_pretrained

    predictor = Predictor(load_pretrained(f"local-dir:{inputs / 'model'}"), device="cpu")
    result = predict_folder(find_scans([inputs / "scans"]), predictor, out, resume=True)
    failed = [case.error for case in result.cases if case.status == "failed"]
    if failed:
        raise SupremError(f"{len(failed)} cases failed: {failed[0]}")


def prediction(out: Path) -> Content:
    """All files; of the manifests of cases what is no time, and of the run's own nothing: it tells of the last run."""
    found: Content = files(out)
    found.pop("manifest.json", None)
    for name in [name for name in found if name.endswith("/manifest.json")]:
        manifest = json.loads(found[name])
        found[name] = {key: manifest[key] for key in manifest if key not in ("created", "seconds", "device")}
        found[name]["run"] = None
    return found


def check_prediction(out: Path) -> None:
    for folder in out.glob("[!.]*/"):
        assert (folder / "manifest.json").is_file(), f"{folder.name} looks finished"


# data prepare --------------------------------------------------------------------------------------------------------

CASES = 4
STORE_SPACING = (10.0, 10.0, 10.0)


def prepare_raw(inputs: Path) -> None:
    from suprem.phantom import generate
    from suprem.volumes import write_volume
    from suprem.volumes.geometry import Volume

    case = generate(1, spacing_mm=(10.0, 10.0, 10.0), orientation="LPS")
    liver = case.mask("liver").astype(np.uint8)
    for number in range(CASES):
        ct = np.roll(case.ct.array, number, axis=2)  # so that no two cases have the same content
        write_volume(Volume(ct, case.ct.affine), inputs / f"images/p{number}.nii.gz")
        write_volume(Volume(np.roll(liver, number, axis=2), case.ct.affine), inputs / f"labels/p{number}.nii.gz")
    (inputs / "dataset.yaml").write_text(
        "title: Phantome für Tests\nimage: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels:\n  1: liver\n",
        encoding="utf-8",
    )


def prepare_store(inputs: Path, out: Path, jobs: int = 1) -> None:
    from suprem.datasets._prepare import prepare

    report = prepare("folder", inputs, out, spacing_mm=STORE_SPACING, jobs=jobs)
    if report.problems:
        raise SupremError(f"cases failed: {report.problems}")


def check_store(out: Path) -> None:
    from suprem.volumes.store import Store

    if (out / "index.jsonl").exists():
        store = Store.open(out)
        problems = [problem for record in store.records for problem in store.verify(record.key)]
        assert problems == [], problems


# training ------------------------------------------------------------------------------------------------------------


def prepare_training(inputs: Path) -> None:
    from tests.phantom_store import phantom_store

    phantom_store(inputs / "store", range(80, 85), (10.0, 10.0, 10.0))


def train(inputs: Path, out: Path) -> None:
    from tests.integration import training_client

    out.mkdir(exist_ok=True)
    last = out / "last.ckpt"
    options = {"devices": 1, "batch": 2, "epochs": 2, "checkpoint": str(last) if last.exists() else None}
    sys.argv = [training_client.__file__, str(inputs / "store"), str(out), json.dumps(options)]
    training_client.main()


def weights(out: Path) -> Content:
    import torch

    state = torch.load(out / "weights.pt", weights_only=True)
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def check_checkpoint(out: Path) -> None:
    import torch

    if (out / "last.ckpt").exists():
        torch.load(out / "last.ckpt", weights_only=True)


# transfer ------------------------------------------------------------------------------------------------------------


def prepare_study(inputs: Path) -> None:
    from suprem.datasets._hashes import scan_hash
    from suprem.phantom import generate
    from suprem.volumes.store import StoreSettings, create_store, write_index
    from tests.phantom_store import add_phantom

    for part, seeds in (("pool", range(900, 902)), ("test", range(910, 911))):
        create_store(inputs / part, StoreSettings((10.0, 10.0, 10.0)))
        for seed in seeds:
            case = generate(seed, spacing_mm=(10.0, 10.0, 10.0))
            add_phantom(inputs / part, case, f"phantom_{seed}", subject=f"{seed}", scan_hash=scan_hash(case.ct))
        write_index(inputs / part)


def transfer(inputs: Path, out: Path) -> None:
    from suprem.transfer.output import write_outputs
    from suprem.transfer.run_table import create_folder
    from suprem.transfer.study import study_from
    from suprem.transfer.training import execute

    training = {
        "steps": 3, "patch_size": [16, 16, 16], "threads": 1, "checkpoint_every": 1, "keep_models": True,
        "optimisation": {"warmup_steps": 1}, "trainer": {"accelerator": "cpu"},
    }  # fmt: skip
    study = study_from(
        {
            "stores": [str(inputs / "pool")], "groups": {"organ": ["liver", "spleen"]}, "shots": [1], "seeds": [0, 1],
            "models": {"net": {"initialisations": {"scratch": None}, "backbone": "segresnet_tiny"}},
            "scoring": {"store": str(inputs / "test"), "window": [40, 40, 64], "overlap": 0.0}, "training": training,
        },
        "plan",
    )  # fmt: skip
    folder = create_folder(out, study)
    for run in folder.runs():
        execute(folder, run)
    write_outputs(folder)


def study_content(out: Path) -> Content:
    """All files; what holds seconds without them."""
    found: Content = {}
    for name, data in files(out).items():
        if name.startswith("tables/") and not name.endswith((".csv", "verdict.txt")):
            found[name] = None  # pages that repeat the tables and name the day
        elif name.endswith(".json"):
            found[name] = re.sub(rb'"[a-z_]*seconds": [0-9.e-]+', b"", data)
        else:
            found[name] = re.sub(rb"(?m)(,[0-9.]+){2}\r?$", b"", data) if name == "tables/runs.csv" else data
    return found


# zoo -----------------------------------------------------------------------------------------------------------------

PIN, MINE = "c" * 40, "acme/mine"


def prepare_model(inputs: Path) -> None:
    from tests.inference.tiny_model import save_tiny_model

    save_tiny_model(inputs / "model")


def as_client(inputs: Path) -> None:
    """Makes this process a client of the hub whose address lies in the inputs, as a new one would be."""
    os.environ.update(json.loads((inputs / "hub.json").read_text()))
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]
    import huggingface_hub  # noqa: F401  # before anything is counted


def pull(inputs: Path, out: Path) -> None:
    from suprem.zoo.source import pull as fetch

    fetch(f"hf-hub:acme/model@{PIN}", cache_dir=out, progress=False)


def snapshot(out: Path) -> Content:
    """What a load would read."""
    (found,) = out.glob("models--acme--model/snapshots/*")
    return {path.name: path.read_bytes() for path in found.iterdir()}


def push(inputs: Path, out: Path) -> None:
    from suprem import push_to_hub

    if not out.exists():
        copy = out.with_name(".copy")
        shutil.copytree(inputs / "model", copy, dirs_exist_ok=True)
        copy.rename(out)
    push_to_hub(out, MINE, progress=False, tag="v1")


def pushed(out: Path) -> Content:
    """The record of it; what the hub has is compared by ``campaign.py``, which runs it."""
    record = json.loads((out / "pushed.json").read_text())
    return {key: record[key] for key in ("tag", "commit")}


# atlas ---------------------------------------------------------------------------------------------------------------


def prepare_rounds(inputs: Path) -> None:
    from tests.atlas.ensemble_cases import make_store, three_models

    make_store(inputs / "store")
    three_models(inputs / "models")


def ensemble(inputs: Path, out: Path) -> None:
    from suprem.atlas.ensemble import begin_atlas, run_ensemble
    from suprem.atlas.models import describe_models

    models = describe_models([f"local-dir:{inputs / 'models' / name}" for name in ("first", "second", "third")])
    if not run_ensemble(begin_atlas(out, inputs / "store", models), models, device="cpu").finished:
        raise SupremError(f"a case failed: {(out / 'rounds/1/failures.csv').read_text()}")


def atlas_content(out: Path) -> Content:
    from tests.atlas.ensemble_cases import content

    return content(out)


RELEASED = tuple((name, str(number)) for name in ("chaos_ct", "lits") for number in range(3))


def prepare_atlas(inputs: Path) -> None:
    from tests.atlas.release_cases import block, make_atlas, revise

    revise(make_atlas(inputs, RELEASED), "lits/1", "ann", {"liver": block(3, 9)})


def release(inputs: Path, out: Path) -> None:
    """The atlas is written to as well, so it is a copy beside the output; copying fails as our own writing does."""
    from suprem.atlas.release import ReleaseOptions, release_atlas
    from suprem.atlas.workspace import Atlas

    with told_of(out):
        out.mkdir(exist_ok=True)
        if not (out / "atlas").exists():
            shutil.copytree(inputs / "atlas", out / ".copy", dirs_exist_ok=True)
            (out / ".copy").rename(out / "atlas")
    release_atlas(Atlas.open(out / "atlas"), out / "release", ReleaseOptions(name="Ours"))


def released(out: Path) -> Content:
    found: Content = files(out / "release")
    events = [json.loads(line) for line in (out / "atlas" / "journal.jsonl").read_text().splitlines()]
    found["events"] = [event["kind"] for event in events]
    ids = (out / "atlas" / "release" / "ids.csv").read_text().splitlines()
    assert len(ids) == 1 + len(RELEASED)
    return found


def check_release(out: Path) -> None:
    """Whatever has a ``release.json`` is whole."""
    folder = out / "release"
    if (folder / "release.json").is_file():
        listed: Mapping[str, Any] = json.loads((folder / "release.json").read_text())
        assert listed["cases"] == len(RELEASED)
        for line in (folder / "SHA256SUMS").read_text().splitlines():
            digest, _, name = line.partition("  ")
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


COMMANDS: dict[str, Command] = {
    "predict": Command(prepare_scans, predict, prediction, check_prediction),
    "data prepare": Command(prepare_raw, prepare_store, files, check_store),
    "training": Command(prepare_training, train, weights, check_checkpoint),
    "transfer": Command(prepare_study, transfer, study_content),
    "zoo pull": Command(prepare_model, pull, snapshot, counts="calls"),
    "zoo push": Command(prepare_model, push, pushed, counts="calls"),
    "atlas ensemble": Command(prepare_rounds, ensemble, atlas_content),
    "atlas release": Command(prepare_atlas, release, released, check_release),
}

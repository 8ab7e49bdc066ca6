"""One round of an ensemble: what of it is missing, and the work that remains."""

import csv
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suprem._files import atomic_path, remove_leftovers, told_of
from suprem._workers import map_unordered
from suprem.atlas._fuse import FuseJob, fuse_case
from suprem.atlas.fusion import Fusion
from suprem.atlas.models import EnsembleModel, PredictJob, PredictSettings, link_prediction, predict_case
from suprem.atlas.workspace import SETTINGS, Atlas
from suprem.errors import ConfigurationError, SupremError, brief

__all__ = ["FAILURES", "EnsembleReport", "Failure", "Round", "Step"]

logger = logging.getLogger(__name__)

FAILURES = "failures.csv"
"""The file of a round that lists what could not be done: case, step (a model or ``fusion``), reason."""

_PLAN, _FORMAT = "ensemble.json", 1
_FUSE = "fusion"


@dataclass(frozen=True)
class Failure:
    """What could not be done, and why.

    Attributes:
        case: key of the case.
        step: a model, or ``"fusion"``.
        reason: in words.
    """

    case: str
    step: str
    reason: str


@dataclass(frozen=True)
class Step:
    """A step of a run has ended.

    Attributes:
        case: key of the case, and the model or ``fusion``.
        reason: why it failed, ``None`` when it is done.
        done: steps that have ended, in this run.
        total: steps that this run has to do.
    """

    case: str
    reason: str | None
    done: int
    total: int


@dataclass(frozen=True)
class EnsembleReport:
    """What a run has done.

    Attributes:
        round: its number.
        finished: every case of the round has its labels.
        cases: of the store.
        models: of the round.
        fusion: how they were fused.
        predicted: predictions that this run has made.
        linked: predictions that it took from an earlier round.
        kept: predictions that it found.
        fused: cases whose labels it has made.
        unknown: structures of the atlas that no model knows.
        failures: what could not be done, sorted.
    """

    round: int
    finished: bool
    cases: int
    models: tuple[EnsembleModel, ...]
    fusion: Fusion
    predicted: int
    linked: int
    kept: int
    fused: int
    unknown: tuple[str, ...]
    failures: tuple[Failure, ...]


class Round:
    """One round of an atlas; used by the process that holds the lock."""

    def __init__(
        self, atlas: Atlas, models: tuple[EnsembleModel, ...], settings: PredictSettings, fusion: Fusion
    ) -> None:
        self._atlas, self._models, self._settings, self._fusion = atlas, models, settings, fusion
        wanted = set(atlas.structures)
        self._classes = {m.name: tuple(name for name in m.classes if name in wanted) for m in models}
        idle = [m.name for m in models if not self._classes[m.name]]
        if idle:
            raise ConfigurationError(
                f"{', '.join(idle)} knows none of {', '.join(atlas.structures)}; leave it out, or begin another atlas."
            )
        if not atlas.cases:
            raise ConfigurationError(f"{atlas.store_root} has no cases; fill it with `suprem data prepare`.")
        self._number = 0
        self._failures: dict[tuple[str, str], str] = {}
        self._done = 0
        self._counts = {"predicted": 0, "linked": 0, "kept": 0, "fused": 0}

    def run(self, jobs: int, scheduler: str | None, progress: Callable[[Step], None] | None) -> EnsembleReport:
        """Does what is missing."""
        atlas = self._atlas
        self._number = atlas.round
        if self._stands():
            self._counts["kept"] = len(atlas.cases) * len(self._models)
            return self._report(finished=True)
        self._number += 1
        folder = atlas.round_folder(self._number)
        self._plan(folder)
        remove_leftovers(atlas.root, SETTINGS)
        for place in (folder, *folder.glob("models/*/*/"), *folder.glob("labels/*/")):
            remove_leftovers(place)
        todo = {model.name: self._to_predict(model) for model in self._models}
        waiting = sum(map(len, todo.values())) + len(atlas.cases)
        for name, work in todo.items():
            for job, result in map_unordered(predict_case, work, jobs=jobs, scheduler=scheduler):
                waiting -= 1
                self._counts["predicted"] += self._ended(job.case.record.key, name, result, waiting, progress)
        fuse = self._to_fuse()
        waiting = len(fuse)
        for fuse_job, result in map_unordered(fuse_case, fuse, jobs=jobs, scheduler=scheduler):
            waiting -= 1
            self._counts["fused"] += self._ended(fuse_job.case, _FUSE, result, waiting, progress)
        self._write_failures(folder / FAILURES)
        if not self._failures:
            models = [{"name": model.name, "version": model.version} for model in self._models]
            number, cases = self._number, len(atlas.cases)
            atlas.journal.append("ensemble", round=number, models=models, fusion=self._fusion, cases=cases)
        return self._report(finished=not self._failures)

    def _ended(
        self, key: str, step: str, result: object, waiting: int, progress: Callable[[Step], None] | None
    ) -> bool:
        """Notes how a step has ended; tells whether it went well."""
        self._done += 1
        reason = _words(result, key) if isinstance(result, Exception) else None
        if reason is not None:
            self._failures[key, step] = reason
        if progress is not None:
            progress(Step(f"{key} {step}", reason, self._done, self._done + waiting))
        return reason is None

    def _stands(self) -> bool:
        """Whether the last finished round is what would be computed now."""
        if self._number == 0:
            return False
        path = self._atlas.round_folder(self._number) / _PLAN
        same = path.is_file() and _essence(_read_json(path)) == _essence(self._content())
        return same and all(self._fuse_job(key).is_done() for key in self._atlas.cases)

    def _content(self) -> dict[str, Any]:
        models = [{**asdict(model), "classes": list(self._classes[model.name])} for model in self._models]
        return {"format": _FORMAT, "models": models, "fusion": self._fusion, "settings": self._settings.deciding}

    def _plan(self, folder: Path) -> None:
        """Begins the round, or makes sure that it was begun with the same models, fusion and settings."""
        path, content = folder / _PLAN, self._content()
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            return
        found = _read_json(path)
        if _essence(found) != _essence(content):
            raise ConfigurationError(
                f"Round {self._number} was begun with {_in_words(found)}, and is not finished; now it is "
                f"{_in_words(content)}. Finish it as it was begun, or delete {folder} and begin it again."
            )

    def _job(self, model: EnsembleModel, key: str) -> PredictJob:
        folder = self._atlas.prediction_folder(self._number, model.name, key)
        return PredictJob(self._atlas.store.case(key), model, self._classes[model.name], self._settings, folder)

    def _to_predict(self, model: EnsembleModel) -> list[PredictJob]:
        """The cases that neither this round nor an earlier one has predicted; takes over what an earlier one has."""
        todo = []
        for key in self._atlas.cases:
            job = self._job(model, key)
            if job.is_done_in(job.folder):
                self._counts["kept"] += 1
                continue
            earlier = (self._atlas.prediction_folder(n, model.name, key) for n in range(self._number - 1, 0, -1))
            found = next((folder for folder in earlier if job.is_done_in(folder)), None)
            if found is None:
                todo.append(job)
            else:
                link_prediction(found, job.folder)
                self._counts["linked"] += 1
        return todo

    def _to_fuse(self) -> list[FuseJob]:
        failed = {key for key, _ in self._failures}
        jobs = [self._fuse_job(key) for key in self._atlas.cases if key not in failed]
        return [job for job in jobs if not job.is_done()]

    def _fuse_job(self, key: str) -> FuseJob:
        record, jobs = self._atlas.store.record(key), [self._job(model, key) for model in self._models]
        made_of = {"fusion": self._fusion, "round": self._number, "predictions": [job.identity for job in jobs]}
        models = tuple((job.model.label, job.folder) for job in jobs)
        place = self._atlas.pseudo_folder(self._number, key)
        head = (key, place, record.shape, record.affine, self._atlas.structures)
        return FuseJob(*head, self._fusion, self._number, models, made_of)

    def _write_failures(self, path: Path) -> None:
        if not self._failures:
            with told_of(path):
                path.unlink(missing_ok=True)
            return
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("case", "step", "reason"))
            table.writerows((key, step, reason) for (key, step), reason in sorted(self._failures.items()))

    def _report(self, *, finished: bool) -> EnsembleReport:
        known = {name for classes in self._classes.values() for name in classes}
        return EnsembleReport(
            round=self._number,
            finished=finished,
            cases=len(self._atlas.cases),
            models=self._models,
            fusion=self._fusion,
            **self._counts,
            unknown=tuple(name for name in self._atlas.structures if name not in known),
            failures=tuple(Failure(*place, reason) for place, reason in sorted(self._failures.items())),
        )


def _essence(content: dict[str, Any]) -> Any:
    """Of a plan, what decides the result; where models lie does not."""
    try:
        models = [[model["name"], model["version"], model["classes"]] for model in content["models"]]
        return models, content["fusion"], content["settings"]
    except (KeyError, TypeError):
        return None


def _in_words(content: dict[str, Any]) -> str:
    models = [f"{model['name']}@{model['version']}" for model in content.get("models", [])]
    settings = [f"{key} {value}" for key, value in content.get("settings", {}).items()]
    return ", ".join([*models, str(content.get("fusion")), *settings])


def _words(error: Exception, key: str) -> str:
    if isinstance(error, SupremError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{key} does not fit into memory; use fewer jobs or a machine with more."
    logger.error("%s: unexpected error", key, exc_info=error)
    return f"{key} failed with an unexpected {type(error).__name__} ({brief(error)}); please report it."


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}. Delete its folder to begin the round again."
        ) from error
    return content if isinstance(content, dict) else {}

"""The folder of a study: its plan, the table of its runs, and what each run has left behind."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suprem._files import atomic_path, make_folder, one_of_several_users, read_csv
from suprem.errors import ConfigurationError, OutputError, brief
from suprem.transfer.study import Run, Study, read_study, study_text

__all__ = ["COLUMNS", "Result", "StudyFolder", "create_folder"]

STUDY, RUNS, FOLDER, RESULT, CASES = "study.yaml", "runs.csv", "runs", "result.json", "cases.csv"
COLUMNS = ("run", "group", "model", "initialisation", "strategy", "shots", "seed")
_ADVICE = "Restore it, or plan the study again in another folder."


@dataclass(frozen=True)
class Result:
    """What a finished run has found.

    Attributes:
        run: which one.
        dsc: structure -> mean Dice coefficient over the scored cases that have it.
        nsd: structure -> mean normalised surface distance over the same cases.
        facts: how it was made: training cases, seconds, versions, trained parameters.
    """

    run: Run
    dsc: Mapping[str, float]
    nsd: Mapping[str, float]
    facts: Mapping[str, Any]

    @property
    def mean_dsc(self) -> float:
        """Over the structures."""
        return sum(self.dsc.values()) / len(self.dsc)


@dataclass(frozen=True)
class StudyFolder:
    """A planned study on disk.

    Attributes:
        path: the folder.
        study: as its file says.
    """

    path: Path
    study: Study

    @classmethod
    def open(cls, path: str | Path) -> "StudyFolder":
        """The study of a folder.

        Raises:
            ConfigurationError: there is none, or its file was spoilt.
        """
        path = Path(path)
        if not (path / STUDY).is_file():
            raise ConfigurationError(f"{path} holds no {STUDY}; plan a study there first: `suprem transfer plan`.")
        return cls(path, read_study(path / STUDY))

    def runs(self) -> tuple[Run, ...]:
        """The runs of the table, which may have been shortened and sorted by hand, but not invented.

        Raises:
            ConfigurationError: a row is no run of the study or there twice, with its line and what is wrong.
        """
        path = self.path / RUNS
        columns, rows = read_csv(path, advice=_ADVICE)
        if columns != COLUMNS:
            raise ConfigurationError(f"{path} has the columns {brief(columns)}; they are {', '.join(COLUMNS)}.")
        known = {run.name: run for run in self.study.runs()}
        found: dict[str, Run] = {}
        for line, row in enumerate(rows, start=2):
            name = row["run"]
            if name not in known:
                raise ConfigurationError(
                    f"{path}, line {line}: {brief(name)} is no run of {STUDY}. Rows may be deleted or moved; to add "
                    "runs, change the study and plan it in another folder."
                )
            wanted = _row(known[name])
            wrong = [column for column in COLUMNS if row[column] != wanted[column]]
            if wrong:
                raise ConfigurationError(
                    f"{path}, line {line}: {wrong[0]} is {brief(row[wrong[0]])}, but run {name} has "
                    f"{wanted[wrong[0]]!r}. A row is changed by changing the study, not the table."
                )
            if name in found:
                raise ConfigurationError(f"{path}, line {line}: {name} is there twice; delete one of the rows.")
            found[name] = known[name]
        if not found:
            raise ConfigurationError(f"{path} names no runs. {_ADVICE}")
        return tuple(found.values())

    def folder(self, run: Run) -> Path:
        """Where a finished run lies; it appears when the run is complete."""
        return self.path / FOLDER / run.name

    def work(self, run: Run) -> Path:
        """Where a run keeps what it needs to go on after it was killed."""
        return self.path / FOLDER / f".{run.name}"

    def result(self, run: Run) -> Result | None:
        """What a run has found; ``None`` while it is not finished.

        Raises:
            ConfigurationError: its file is damaged.
        """
        path = self.folder(run) / RESULT
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["run"] != run.name:
                raise ValueError(f"it is the result of {content['run']}")
            dsc, nsd = ({str(k): float(v) for k, v in content[key].items()} for key in ("dsc", "nsd"))
            if not dsc:
                raise ValueError("it has no scores")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{path} is damaged ({brief(error)}); delete {path.parent} and run the study again."
            ) from error
        return Result(run, dsc, nsd, content["facts"])

    def results(self, runs: Iterable[Run] | None = None) -> tuple[Result, ...]:
        """Of all runs of the table that are finished, or of the given ones."""
        found = map(self.result, self.runs() if runs is None else runs)
        return tuple(result for result in found if result is not None)


def create_folder(path: str | Path, study: Study) -> StudyFolder:
    """Writes the plan and the table of runs.

    The same study may be planned again in its folder; what has been run stays, and so does an edited table.

    Raises:
        OutputError: the folder holds another study, or cannot be written.
    """
    path, text = Path(path), study_text(study)
    known = path / STUDY
    if known.is_file():
        if known.read_text(encoding="utf-8") != text:
            raise OutputError(
                f"{path} holds another study: {_difference(known.read_text(encoding='utf-8'), text)}. "
                "Its results do not belong to this one; choose another folder."
            )
        if (path / RUNS).is_file():
            return StudyFolder(path, study)
    make_folder(path)
    with one_of_several_users(path):
        with atomic_path(path / RUNS) as temporary:
            _write_rows(temporary, [_row(run) for run in study.runs()])
        with atomic_path(known) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return StudyFolder(path, study)


def _difference(one: str, other: str) -> str:
    lines = zip(one.splitlines(), other.splitlines(), strict=False)
    return next((f"there {a.strip()!r}, here {b.strip()!r}" for a, b in lines if a != b), "one of them is longer")


def _row(run: Run) -> dict[str, str]:
    return {
        "run": run.name,
        "group": run.group,
        "model": run.model,
        "initialisation": run.initialisation,
        "strategy": run.strategy,
        "shots": run.shown_shots,
        "seed": str(run.seed),
    }


def _write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)

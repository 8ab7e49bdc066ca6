"""Scores as files: tables of cases, of structures and of methods, and all as JSON."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from suprem._files import atomic_folder
from suprem._version import __version__
from suprem.evaluation.comparison import FAMILY, Comparison, Rank
from suprem.evaluation.pictures import Picture
from suprem.evaluation.score_tables import CASES, DOCUMENT
from suprem.evaluation.scores import CaseScore, Evaluation, StructureSummary

__all__ = ["CASES", "COMPARISON", "DOCUMENT", "LESIONS", "PICTURES", "RANKING", "SUMMARY", "write_tables"]

SUMMARY, COMPARISON, RANKING, LESIONS, PICTURES = "summary.csv", "comparison.csv", "ranking.csv", "lesions.csv", "worst"


def write_tables(
    folder: str | Path,
    evaluation: Evaluation,
    settings: Mapping[str, Any],
    comparisons: Sequence[Comparison] = (),
    ranks: Sequence[Rank] = (),
    pictures: Sequence[Picture] = (),
    *,
    texts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the tables, all of them or none.

    Args:
        folder: must not exist, unless ``overwrite``.
        evaluation: of the folder of predictions.
        settings: how it was made, plain values.
        comparisons: tests against other predictions.
        ranks: of all predictions.
        pictures: of the worst cases; they go to the folder :data:`PICTURES`.
        texts: name of a file -> what else is to be written.
        overwrite: replace an existing folder.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    summary = evaluation.summary()
    rows = [score.row() for score in evaluation.scores]
    compared, ranked = [asdict(row) for row in comparisons], [asdict(row) for row in ranks]
    document = _document(evaluation, settings, pictures)
    document |= {"summary": [asdict(row) for row in summary], "comparisons": compared, "ranking": ranked}
    lesions = _lesions(evaluation)
    document["lesions"] = lesions
    text = json.dumps(_plain(document | {"cases": rows}), indent=1, ensure_ascii=False)
    with atomic_folder(folder, overwrite=overwrite) as target:
        _write_csv(target / CASES, rows)
        # The header is written also where no structure has a value in any case.
        _write_csv(target / SUMMARY, [asdict(row) for row in summary], [f.name for f in fields(StructureSummary)])
        if lesions:
            _write_csv(target / LESIONS, lesions)
        if compared:
            _write_csv(target / COMPARISON, compared)
            _write_csv(target / RANKING, ranked, [f.name for f in fields(Rank)])
        (target / DOCUMENT).write_text(text + "\n", encoding="utf-8")
        for name, content in (texts or {}).items():
            (target / name).write_text(content, encoding="utf-8")
        for picture in pictures:
            place = target / PICTURES
            place.mkdir(exist_ok=True)
            (place / picture.file).write_bytes(picture.png)
    return Path(folder)


def _document(evaluation: Evaluation, settings: Mapping[str, Any], pictures: Sequence[Picture]) -> dict[str, Any]:
    drawn = {_pair(picture.score): picture for picture in pictures}
    worst = []
    for score in evaluation.worst(max(10, len(pictures))):
        picture = drawn.get(_pair(score))
        found = {"picture": f"{PICTURES}/{picture.file}", "picture_note": picture.note} if picture else {}
        worst.append(score.row() | found)
    return {
        "suprem": __version__,
        "settings": dict(settings),
        "predictions": evaluation.predictions,
        "cases_without_reference": evaluation.without_reference,
        "cases_without_prediction": evaluation.without_prediction,
        "structures_not_predicted": evaluation.not_predicted,
        "structures_without_reference": evaluation.no_reference,
        "masks_without_partner": [f"{case}/{structure}" for case, structure in evaluation.missing],
        "notes": evaluation.notes,
        "family": FAMILY,
        "worst": worst,
    }


def _lesions(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for name, found in evaluation.lesions().items():
        row: dict[str, Any] = {"structure": name, "cases": found.cases, **asdict(found.counts)}
        row["false_per_case"] = found.false_per_case
        for share in ("sensitivity", "precision", "f1"):
            interval = getattr(found, share)
            row |= {share: interval.estimate, f"{share}_low": interval.low, f"{share}_high": interval.high}
        rows.append(row)
    return rows


def _pair(score: CaseScore) -> tuple[str, str]:
    return score.case, score.structure


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]], header: Sequence[str] | None = None) -> None:
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else list(header or ()), lineterminator="\n")
        table.writeheader()
        # What is not a number stays empty, as spreadsheets and pandas read it.
        table.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)


def _is_nan(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity: ``null`` and ``"inf"``."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

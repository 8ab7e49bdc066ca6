"""Scores as files: a table of cases, a table of structures, the comparison of methods, and all of it as JSON."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from suprem._files import atomic_folder
from suprem._version import __version__
from suprem.evaluation.folders import Comparison, Evaluation

__all__ = ["CASES", "COMPARISON", "DOCUMENT", "SUMMARY", "write_tables"]

CASES, SUMMARY, COMPARISON, DOCUMENT = "cases.csv", "summary.csv", "comparison.csv", "evaluation.json"


def write_tables(
    folder: str | Path,
    evaluation: Evaluation,
    settings: Mapping[str, Any],
    *,
    comparisons: Mapping[str, Sequence[Comparison]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the tables, all of them or none.

    Args:
        folder: must not exist, unless ``overwrite``.
        evaluation: of the folder of predictions.
        settings: how it was made, plain values.
        comparisons: other folder of predictions -> tests against it.
        overwrite: replace an existing folder.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    rows = [score.row() for score in evaluation.scores]
    summary = [asdict(row) for row in evaluation.summary()]
    compared = [{"against": other, **asdict(row)} for other, table in (comparisons or {}).items() for row in table]
    document = {
        "suprem": __version__,
        "settings": dict(settings),
        "predictions": evaluation.predictions,
        "cases_without_reference": evaluation.without_reference,
        "cases_without_prediction": evaluation.without_prediction,
        "structures_not_predicted": evaluation.not_predicted,
        "structures_without_reference": evaluation.no_reference,
        "summary": summary,
        "worst": [score.row() for score in evaluation.worst()],
        "comparisons": compared,
        "cases": rows,
    }
    with atomic_folder(folder, overwrite=overwrite) as target:
        _write_csv(target / CASES, rows)
        _write_csv(target / SUMMARY, summary)
        if compared:
            _write_csv(target / COMPARISON, compared)
        text = json.dumps(_plain(document), indent=1, ensure_ascii=False)
        (target / DOCUMENT).write_text(text + "\n", encoding="utf-8")
    return Path(folder)


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
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

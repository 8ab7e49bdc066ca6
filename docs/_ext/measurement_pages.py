"""The pages of measurements: benchmarks with what they aim at, and the other results below experiments/."""

import ast
import csv
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from suprem.report.experiment import ITEM

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
BENCHMARKS = EXPERIMENTS / "benchmarks"
MOST_ROWS = 60  # of a table
COMPARE = {">=": operator.ge, "<=": operator.le}
Table = Callable[[list[str], list[list[Any]]], str]


def measurement_pages(table: Table) -> dict[str, str]:
    """Both pages.

    Args:
        table: Makes a Markdown table of a head and rows.
    """
    return {"benchmarks.md": _benchmarks(table), "measurements.md": _measurements(table)}


def _benchmarks(table: Table) -> str:
    """What is aimed at and what was measured, then each script with its results."""
    parts = [
        "# Benchmarks\n\nSpeed and memory, measured beside other packages where there are any, by scripts that anyone "
        "can run. Every figure is read from the CSV that the named script wrote. Ratios hold better than seconds: "
        "contenders take turns on one machine, in processes of their own.\n\n## What is aimed at\n"
    ]
    rows = []
    for aim in yaml.safe_load((BENCHMARKS / "targets.yaml").read_text(encoding="utf-8")):
        value = figure(BENCHMARKS / aim["file"], aim["row"], aim["column"])
        measured = "not measured" if value is None else f"{value:.3g} {aim['unit']}"
        rows.append([aim["what"], f"{aim['held']} {aim['unit']}", measured, verdict(value, aim["held"])])
    parts.append(table(["what", "aim", "measured", "met"], rows))
    for script in sorted(BENCHMARKS.glob("[!_]*.py")):
        parts.append(_of_script(script, table))
    return "\n".join(parts)


def figure(path: Path, row: dict[str, str], column: str) -> float | None:
    """One figure of a CSV; ``None`` where there is no such file or row yet."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        found = [line for line in csv.DictReader(file) if all(line[key] == value for key, value in row.items())]
    if len(found) > 1:
        raise ValueError(f"{path.name} has {len(found)} rows with {row}; one is wanted.")
    return float(found[0][column]) if found else None


def verdict(value: float | None, held: str) -> str:
    """Whether a figure keeps to an aim such as ``">= 15"``."""
    if value is None:
        return ""
    sign, bound = held.split()
    return "yes" if COMPARE[sign](value, float(bound)) else "no"


def _of_script(script: Path, table: Table) -> str:
    """Its docstring, with the commands, and its results: the text that stands beside it, or the CSVs."""
    head, _, rest = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").partition("\n")
    text = script.with_name(f"results_{script.stem}.md")
    parts = [f"## {script.stem.replace('_', ' ')}\n\n{head}\n"]
    if text.is_file():
        _, _, body = text.read_text(encoding="utf-8").partition("\n")
        parts.append(body.strip("\n") + "\n")
        if "\n|" in body:
            return "\n".join(parts)
    else:
        parts.append(rest.strip("\n") + "\n")
    for results in sorted(script.parent.glob(f"results_{script.stem}*.csv")):
        parts.append(f"`{results.name}`:\n\n{_shown(results, table)}")
    return "\n".join(parts)


def _measurements(table: Table) -> str:
    """Every other result below experiments/ that is none of the paper's items, under the command that wrote it."""
    parts = [
        "# Measurements\n\nEvery figure is read from the CSV that the named script wrote; none is typed by hand. Speed "
        "and memory are on the page of [benchmarks](benchmarks.md).\n"
    ]
    found = {path for path in EXPERIMENTS.rglob("results*.csv") if path.parent != BENCHMARKS}
    for path in sorted(path for path in found if not path.with_name(ITEM).exists()):  # those have pages of their own
        title = f"{path.parent.name}: {path.stem.removeprefix('results').strip('_').replace('_', ' ') or 'results'}"
        parts.append(f"## {title}\n\n{_origin(path)}\n\n{_shown(path, table)}")
    return "\n".join(parts)


def _shown(path: Path, table: Table) -> str:
    """A CSV as a table."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    if len(head) > 2 * len(rows):  # a few runs with many figures each read better as columns
        (head, *rows) = [list(column) for column in zip(head, *rows, strict=True)]
    rest = f"\nThe first {MOST_ROWS} of {len(rows)} rows; all are in the file.\n" if len(rows) > MOST_ROWS else ""
    return table(head, rows[:MOST_ROWS]) + rest


def _origin(results: Path) -> str:
    """The script that writes a CSV, by its name, or else the page that describes the folder."""
    name = results.relative_to(ROOT)
    script = results.with_name(f"{results.stem.removeprefix('results_')}.py")
    if not script.is_file():
        return f"`{name}`, described in `{name.parent}/README.md`."
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    module = f"-m experiments.{results.parent.name}.{script.stem}"
    command = next((line.partition("#")[0].strip() for line in text.splitlines() if module in line), None)
    command = command or f"python {script.relative_to(ROOT)}"
    return f"{text.partition(chr(10))[0]}\n\n```bash\n{command}   # writes {results.name}\n```"

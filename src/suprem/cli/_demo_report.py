"""What ``suprem demo`` leaves for people: a table in three formats and a page with the pictures."""

import csv
import html
import io
import math
from pathlib import Path

from suprem.cli._demo import LARGEST, DemoResult

__all__ = ["DISCLAIMER", "table_text", "write_report"]

DISCLAIMER = (
    "These scans are synthetic: drawn from a random number generator, as were those the network was trained on. The "
    "scores show that the software works; they say nothing about patients. Not for clinical use."
)
BASELINE = (
    "The baseline labels each voxel by its HU value and its position in the body alone, fitted on the same training "
    "phantoms."
)


def write_report(result: DemoResult, output: Path) -> None:
    """Writes ``dice.csv``, ``dice.md``, ``index.html`` and ``README.txt`` into the folder."""
    from suprem._files import atomic_path

    files = {
        "dice.csv": _csv(result),
        "dice.md": _markdown(result),
        "index.html": _page(result),
        "README.txt": _readme(result),
    }
    for name, text in files.items():
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _rows(result: DemoResult) -> list[tuple[str, str, str, str]]:
    return [
        (
            name,
            f"{result.volume_ml(name):.1f}",
            _number(result.dice("network", name)),
            _number(result.dice("baseline", name)),
        )
        for name in result.structures
    ]


def _means(result: DemoResult) -> list[tuple[str, str, str, str]]:
    labels = ((f"mean of the {LARGEST} largest", LARGEST), (f"mean of all {len(result.structures)}", None))
    return [
        (label, "", _number(result.mean_dice("network", count)), _number(result.mean_dice("baseline", count)))
        for label, count in labels
    ]


def table_text(result: DemoResult) -> str:
    """The table for a terminal, largest structures first."""
    head = ("structure", "ml", "network", "baseline")
    lines = [f"Dice coefficient on {len(result.cases)} unseen synthetic phantoms, model {result.model}", ""]
    for row in (head, *_rows(result), *_means(result)):
        lines.append(f"{row[0]:<32}{row[1]:>9}{row[2]:>9}{row[3]:>10}")
    lines += ["", BASELINE, DISCLAIMER]
    lines += [f"{case} failed: {reason}" for case, reason in result.failed.items()]
    return "\n".join(lines)


def _csv(result: DemoResult) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "seed", "structure", "reference_ml", "network_dice", "baseline_dice"])
    for case in result.cases:
        for name in result.structures:
            scores = ("" if math.isnan(v) else f"{v:.4f}" for v in (case.network[name], case.baseline[name]))
            table.writerow([case.case_id, case.seed, name, f"{case.volume_ml[name]:.2f}", *scores])
    return text.getvalue()


def _markdown(result: DemoResult) -> str:
    rows = [*_rows(result), *_means(result)]
    body = "\n".join(f"| {name} | {volume} | {network} | {base} |" for name, volume, network, base in rows)
    return (
        f"# Dice coefficient on {len(result.cases)} unseen synthetic phantoms\n\n"
        f"Model: `{result.model}`. {DISCLAIMER}\n\n"
        f"{BASELINE}\n\n| structure | reference ml | network | baseline |\n|---|---:|---:|---:|\n{body}\n"
    )


def _page(result: DemoResult) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in (*_rows(result), *_means(result))
    )
    pictures = "".join(
        f'<h2>{case.case_id}</h2>\n<p>Predicted organs. <a href="scans/{case.case_id}.nii.gz">CT</a>, '
        f'<a href="predictions/{case.case_id}/">masks and statistics</a>, '
        f'<a href="reference/{case.case_id}.nii.gz">truth</a></p>\n'
        f'<img src="predictions/{case.case_id}/preview.png" '
        f'alt="three planes of {case.case_id} with predicted organs">\n'
        for case in result.cases
    )
    failures = "".join(f"<p>{html.escape(c)} failed: {html.escape(why)}</p>\n" for c, why in result.failed.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>suprem demo</title>\n'
        "<style>body{font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
        "td,th{padding:.15em .8em;text-align:right}td:first-child,th:first-child{text-align:left}"
        "img{max-width:100%}.note{background:#fff3cd;padding:.8em}</style></head>\n<body>\n"
        f'<h1>suprem demo</h1>\n<p class="note">{DISCLAIMER}</p>\n'
        f"<p>Model: {html.escape(result.model)}. {BASELINE}</p>\n"
        f"{failures}{pictures}<h2>Dice coefficient</h2>\n<table>\n"
        "<tr><th>structure</th><th>reference ml</th><th>network</th><th>baseline</th></tr>\n"
        f"{rows}</table>\n</body>\n</html>\n"
    )


def _readme(result: DemoResult) -> str:
    return (
        "suprem demo\n===========\n\n"
        f"{DISCLAIMER}\n\n"
        "index.html                        pictures and the table, for a browser\n"
        "dice.csv, dice.md                 Dice coefficients per case, and their means\n"
        "demo.json                         the same for programs\n"
        "scans/CASE.nii.gz                 the synthetic CTs\n"
        "reference/CASE.nii.gz             the truth as one label map (numbering universal_32, higher number wins)\n"
        "predictions/CASE/segmentations/   one mask per structure, as `suprem predict` writes it\n"
        "predictions/CASE/combined_labels.nii.gz, statistics.csv, preview.png, manifest.json\n\n"
        f"Seeds: {', '.join(str(case.seed) for case in result.cases)}. Model: {result.model}.\n"
    )

"""What the levels of quality, and each lever in them, cost in accuracy and save in work.

```
python experiments/phantom/export.py experiments/phantom/segresnet_3mm.safetensors --recipe gpu --out segresnet.phantom
python experiments/benchmarks/quality_levers.py local-dir:segresnet.phantom segresnet_tiny.phantom
python experiments/benchmarks/quality_levers.py --work       # counts windows only, and runs no network
```

Every scan is run with every setting in turn, so that what else the machine does hits all of them; seconds are those of
the processor, not of the clock. Scans are synthetic CTs that no network was trained with (seeds from 9000 on, 2.5 x 2.5
x 3 mm), and any CTs given with ``--scans``, for which only the agreement is measured. Rows are kept: a second run goes
on. Writes results_quality_levers_cases.csv, a row per network, setting and scan, and results_quality_levers.csv, the
means; with ``--work`` results_quality_work.csv.
"""

import argparse
import csv
import time
from collections.abc import Iterable
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from suprem import load_pretrained
from suprem.evaluation.metrics import dice
from suprem.inference import Predictor
from suprem.inference.body import find_body
from suprem.inference.grid import ModelGrid
from suprem.inference.levels import LEVELS, QualityLevel
from suprem.inference.segmentation import Segmentation
from suprem.inference.windows import best_window, fitted_windows, plan_windows, shared_voxels, whole
from suprem.phantom import PhantomCase, generate
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct

CASES = Path(__file__).with_name("results_quality_levers_cases.csv")
TARGET = Path(__file__).with_name("results_quality_levers.csv")
SPACING_MM = (2.5, 2.5, 3.0)
REFERENCE = "exhaustive"
SETTINGS = {
    REFERENCE: LEVELS[REFERENCE],
    "balanced": LEVELS["balanced"],
    "fast": LEVELS["fast"],
    "over the body, overlap 0.5": QualityLevel(0.5, True),
    "over the body, overlap 0.375": QualityLevel(0.375, True),
    "over the body, overlap 0.25": QualityLevel(0.25, True),
    "over the body, overlap 0.125": QualityLevel(0.125, True),
    "overlap 0.375, windows up to 1.25 times as long": QualityLevel(0.375, True, 1.25, 1.6, 1.4),
    "overlap 0.5, twice the voxels": QualityLevel(0.5, True, 1.25, 2.0, 2.0),
    "overlap 0.25, twice the voxels": QualityLevel(0.25, True, 1.25, 2.0, 2.0),
    "overlap 0.5, windows up to 1.5 times as long": QualityLevel(0.5, True, 1.5, 3.4, 3.4),
    "overlap 0.25, windows up to 1.5 times as long": QualityLevel(0.25, True, 1.5, 3.4, 3.4),
}
FIELDS = ("network", "scan", "setting", "dsc", "agreement", "calls", "window", "voxels", "body_voxels")
FIELDS += ("seconds", "network_s")


def body_voxels(scan: Volume, spacing_mm: tuple[float, float, float] | None) -> int:
    """Voxels of the model's grid inside the patient."""
    grid = ModelGrid.of(scan, spacing_mm)
    body = find_body(scan, grid)
    return prod(grid.shape) if body is None else int(body.coarse[np.ix_(*body.index)].sum())


WORK = Path(__file__).with_name("results_quality_work.csv")
CONTRACTS = {"1.5 mm, windows of 96": (1.5, 96), "3 mm, windows of 96": (3.0, 96), "4 mm, windows of 48": (4.0, 48)}
"""Spacing and window of the published networks, of the SegResNet and of the bundled network of the phantoms."""


def planned(scan: Volume, spacing: float, patch: int) -> Iterable[tuple[str, int, int]]:
    """Setting, windows and voxels through a network per scan; nothing is run."""
    grid = ModelGrid.of(scan, (spacing,) * 3)
    body, trained = find_body(scan, grid), (patch,) * 3
    extent = body.extent if body is not None else whole(grid.shape)
    for setting, level in SETTINGS.items():
        size, windows = trained, plan_windows(grid.shape, trained, level.overlap)
        if level.fitted:
            shared = shared_voxels(trained, level.overlap)
            size = best_window(grid.shape, trained, shared, extent, **level.limits(), divisor=8)
            windows = fitted_windows(grid.shape, size, shared, extent)
            windows = tuple(w for w in windows if body is None or body.touches(w.start, size))
        yield setting, len(windows), len(windows) * prod(size)


def work(scans: Iterable[Volume]) -> list[dict[str, str]]:
    """Windows and voxels through a network, per contract and setting, as means over the scans."""
    found: dict[tuple[str, str], list[tuple[int, float, float, float]]] = {}
    for scan in scans:
        for contract, (spacing, patch) in CONTRACTS.items():
            inside, rows = body_voxels(scan, (spacing,) * 3), list(planned(scan, spacing, patch))
            for setting, count, voxels in rows:
                found.setdefault((contract, setting), []).append(
                    (count, count / rows[0][1], voxels / inside, voxels / rows[0][2])
                )
    table = []
    for (contract, setting), values in found.items():
        calls, calls_ratio, per_voxel, ratio = (np.array(part) for part in zip(*values, strict=True))
        table.append(
            {
                "contract": contract,
                "setting": setting,
                "scans": str(len(values)),
                "calls": f"{calls.mean():.1f}",
                "calls_ratio": f"{calls_ratio.mean():.3f}",
                "voxels_per_body_voxel": f"{per_voxel.mean():.2f}",
                "voxels_ratio": f"{ratio.mean():.2f}",
                "largest_ratio": f"{ratio.max():.2f}",
            }
        )
    return table


def with_level(predictor: Predictor, level: QualityLevel) -> Predictor:
    """The predictor with a level of its own."""
    predictor._level, predictor._overlap = level, level.overlap
    return predictor


def agreement(one: Segmentation, other: Segmentation) -> float:
    """Mean Dice coefficient between two predictions, over the structures that either has."""
    pairs = [(one.grid_mask(name), other.grid_mask(name)) for name in one.classes]
    return float(np.mean([dice(a, b) for a, b in pairs if a.any() or b.any()]))


def rows(
    network: str, predictor: Predictor, name: str, source: Volume | PhantomCase, settings: Iterable[str]
) -> Iterable[dict[str, Any]]:
    """One row per setting; the first is the one that the others are compared with."""
    case = source if isinstance(source, PhantomCase) else None
    scan = source.ct if isinstance(source, PhantomCase) else source
    inside = body_voxels(scan, predictor.config.preprocessing.spacing_mm)
    reference = None
    predictor.plan(scan)  # what a first call takes is in no row
    for setting in settings:
        start = time.process_time()
        found = with_level(predictor, SETTINGS[setting]).predict(scan)
        seconds = time.process_time() - start
        reference = reference or found
        windows, clock = found.info["windows"], found.info["seconds"]
        scores = [dice(found.mask(name), case.mask(name)) for name in case.structures] if case else []
        yield {
            "network": network,
            "scan": name,
            "setting": setting,
            "dsc": f"{np.mean(scores):.5f}" if scores else "",
            "agreement": f"{agreement(found, reference):.5f}",
            "calls": windows["run"],
            "window": "x".join(map(str, windows["size"])),
            "voxels": windows["run"] * prod(windows["size"]),
            "body_voxels": inside,
            "seconds": f"{seconds:.2f}",
            "network_s": f"{clock['network'] / clock['total'] * seconds:.2f}",
        }


def interval(differences: list[float]) -> tuple[float, float]:
    """Half width of the 95 % interval of a mean of paired differences, and their standard deviation."""
    deviation = float(np.std(differences, ddof=1))
    return float(stats.t.ppf(0.975, len(differences) - 1)) * deviation / len(differences) ** 0.5, deviation


def summary(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """Means over the scans of one kind, per network and setting, beside the exhaustive level."""
    table = []
    for network, real in sorted({(row["network"], not row["dsc"]) for row in found}):
        own = [row for row in found if row["network"] == network and (not row["dsc"]) == real]
        by_scan = {row["scan"]: row for row in own if row["setting"] == REFERENCE}
        for setting in SETTINGS:
            mine = [row for row in own if row["setting"] == setting]
            pairs = [(row, by_scan[row["scan"]]) for row in mine]
            if not pairs:
                continue
            line = {
                "network": network,
                "scans": f"{len(pairs)} {'CTs' if real else 'phantoms'}",
                "setting": setting,
                "dsc": "" if real else f"{np.mean([float(row['dsc']) for row in mine]):.4f}",
                "dsc_difference": "",
                "interval_95": "",
                "agreement": f"{np.mean([float(row['agreement']) for row in mine]):.4f}",
                "least_agreement": f"{min(float(row['agreement']) for row in mine):.4f}",
                "calls": f"{np.mean([int(row['calls']) for row in mine]):.1f}",
                "calls_ratio": f"{np.mean([int(a['calls']) / int(b['calls']) for a, b in pairs]):.3f}",
                "voxels_per_body_voxel": f"{np.mean([int(r['voxels']) / int(r['body_voxels']) for r in mine]):.2f}",
                "voxels_ratio": f"{np.mean([int(a['voxels']) / int(b['voxels']) for a, b in pairs]):.2f}",
                "time_ratio": f"{np.median([float(a['seconds']) / float(b['seconds']) for a, b in pairs]):.2f}",
            }
            if not real and setting != REFERENCE and len(pairs) > 1:
                differences = [float(a["dsc"]) - float(b["dsc"]) for a, b in pairs]
                half, _ = interval(differences)
                mean = float(np.mean(differences))
                line["dsc_difference"] = f"{mean:+.4f}"
                line["interval_95"] = f"{mean - half:+.4f} to {mean + half:+.4f}"
            table.append(line)
    return table


def write(path: Path, lines: list[dict[str, str]], fields: Iterable[str]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(fields), lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="as for load_pretrained")
    parser.add_argument("--work", action="store_true", help="count windows, run none")
    parser.add_argument("--seeds", type=int, nargs=2, default=(9000, 9012), metavar=("FIRST", "BEHIND"))
    parser.add_argument("--scans", type=Path, nargs="*", default=[], help="CTs, for the agreement alone")
    parser.add_argument(
        "--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS), help="the first is compared with"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=CASES, help="rows per scan; the means go beside it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.work:
        phantoms = (generate(seed, spacing_mm=SPACING_MM).ct for seed in range(*options.seeds))
        table = work(chain(phantoms, map(read_ct, options.scans)))
        write(WORK, table, table[0])
        return
    found: list[dict[str, Any]] = []
    if options.out.exists():
        with options.out.open(encoding="utf-8") as file:
            found = list(csv.DictReader(file))
    done = {(row["network"], row["scan"]) for row in found}
    predictors = {}
    for source in options.networks:
        predictor = Predictor(load_pretrained(source), device="cpu")
        predictors[predictor.config.name] = predictor
    cases = ((f"phantom {seed}", partial(generate, seed, spacing_mm=SPACING_MM)) for seed in range(*options.seeds))
    scans = ((path.name, partial(read_ct, path)) for path in options.scans)
    for name, make in chain(cases, scans):
        missing = [network for network in predictors if (network, name) not in done]
        scan = make() if missing else None
        for network in missing:
            for row in rows(network, predictors[network], name, scan, options.settings):
                found.append(row)
                print(*row.values(), sep=" | ", flush=True)
            write(options.out, found, FIELDS)
    table = summary(found)
    write(options.out.with_name(options.out.name.replace("_cases", "")), table, table[0])
    for line in table:
        print(*line.values(), sep=" | ")


if __name__ == "__main__":
    main()

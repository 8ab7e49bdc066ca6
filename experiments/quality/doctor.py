"""What the scan checks of `suprem doctor` find: planted defects, false alarms on 200 clean scans, contrast phases.

```
python -m experiments.quality.doctor                            # -> results_doctor.csv
python -m experiments.quality.doctor --cache FOLDER --jobs 4    # keeps the phantoms there for another run
```

The phantoms' seeds are not those on which the bounds of the checks were chosen.
"""

import argparse
import csv
import logging
import tempfile
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from experiments.quality.scan_defects import DEFECTS, check_defect, clean, cut_by_its_own_field, phantom_of
from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS, PhantomCase
from suprem.phantom.generator import phantom_table
from suprem.volumes.geometry import Volume
from suprem.volumes.scan_checks import check_scan
from suprem.volumes.symptoms import Symptom

HERE = Path(__file__).parent
RESULTS = HERE / "results_doctor.csv"

CLEAN_SEEDS = range(7000, 7200)
DEFECT_SEEDS = range(7000, 7010)
CHOSEN_ON = range(6900, 6912)
COLUMNS = ("planted", "expected", "scans", "found", "other_warnings")

_log = logging.getLogger(__name__)


def phantom(seed: int, cache: Path | None) -> PhantomCase:
    """The phantom of a seed, from the cache where it is there."""
    path = cache / f"{seed}.npz" if cache else None
    if path is not None and path.is_file():
        with np.load(path) as kept:
            volumes = [Volume(kept[key], kept["affine"], f"phantom {seed}") for key in ("ct", "labels")]
            return PhantomCase(seed, volumes[0], volumes[1], phantom_table(), {"phase": str(kept["phase"])})
    case = phantom_of(seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"ct": case.ct.array, "labels": case.labels.array, "affine": case.ct.affine}
        np.savez_compressed(path, phase=np.array(case.info["phase"]), **arrays)
    return case


def alarms(symptoms: tuple[Symptom, ...], expected: str = "") -> list[str]:
    """Codes of warnings and errors other than the expected one."""
    return sorted({s.code for s in symptoms if s.severity != "info" and s.code != expected})


def clean_case(seed: int, cache: Path | None) -> tuple[list[str], tuple[bool, bool], tuple[str, str]]:
    """Of one clean scan: false alarms; whether the raw phantom is cut, and found to be; its phase, and the guess."""
    case = phantom(seed, cache)
    scan, drawn = clean(case.ct, seed)
    symptoms = check_scan(scan)
    wrong = alarms(symptoms)
    for symptom in symptoms:
        if symptom.code in wrong:
            _log.warning("seed %d (%s): %s", seed, drawn, symptom)
    found = any(symptom.code == "truncated" for symptom in check_scan(case.ct))
    said = next((symptom.text for symptom in symptoms if symptom.code == "phase"), "")
    guess = next((word for word in ("without", "with") if f"{word} contrast" in said), "nothing")
    truth = "without" if case.info["phase"] == "unenhanced" else "with"
    return wrong, (cut_by_its_own_field(case.ct), found), (truth, guess)


def clean_rows(pool: Executor, cache: Path | None) -> list[dict[str, object]]:
    """False alarms, the phantoms' own cuts, and the phases."""
    wrong, cuts, guesses = zip(*pool.map(clean_case, CLEAN_SEEDS, repeat(cache)), strict=True)
    cut, phases = Counter(cuts), Counter(guesses)
    without = sum(not codes for codes in wrong)
    rows: list[dict[str, object]] = [
        _row(
            "nothing: clean scans",
            "no warning",
            len(CLEAN_SEEDS),
            without,
            Counter(c for codes in wrong for c in codes),
        ),
        _row("body cut by the phantom's own field of view", "truncated", *_pair(cut, True, True)),
        _row("body not cut by it", "not truncated", *_pair(cut, False, False)),
    ]
    for truth in ("without", "with"):
        total = sum(count for (t, _), count in phases.items() if t == truth)
        rows.append(_row(f"phase: {truth} contrast medium", f"{truth} contrast", total, phases[truth, truth]))
        rows.append(_row(f"phase: {truth} contrast medium", "said nothing", total, phases[truth, "nothing"]))
    return rows


def _pair(cut: Counter[tuple[bool, bool]], truth: bool, found: bool) -> tuple[int, int]:
    return cut[truth, True] + cut[truth, False], cut[truth, found]


def defect_row(name: str, cache: Path | None) -> dict[str, object]:
    """How often one planted defect is found, and what else is."""
    expected = DEFECTS[name][0]
    hits, other = 0, Counter[str]()
    for seed in DEFECT_SEEDS:
        scan, _ = clean(phantom(seed, cache).ct, seed)
        with tempfile.TemporaryDirectory() as folder:
            symptoms = check_defect(name, scan, seed, Path(folder))
        hit = any(symptom.code == expected for symptom in symptoms)
        hits += hit
        other.update(alarms(symptoms, expected))
        if not hit:
            _log.warning("%s, seed %d: not found, but %s", name, seed, [str(symptom) for symptom in symptoms])
    return _row(name, expected, len(DEFECT_SEEDS), hits, other)


def label_map_row(cache: Path | None) -> dict[str, object]:
    """The phantoms' own label maps in place of their scans."""
    hits = sum(any(s.code == "label-map" for s in check_scan(phantom(seed, cache).labels)) for seed in DEFECT_SEEDS)
    return _row("a label map", "label-map", len(DEFECT_SEEDS), hits)


def _row(planted: str, expected: str, scans: int, found: int, other: Counter[str] | None = None) -> dict[str, object]:
    told = ", ".join(f"{code} {count}" for code, count in sorted((other or {}).items()))
    return dict(zip(COLUMNS, (planted, expected, scans, found, told), strict=True))


def main() -> None:
    """Writes results_doctor.csv."""
    parser = argparse.ArgumentParser(description="Accuracy of the scan checks on phantoms.")
    parser.add_argument("--cache", type=Path, help="Folder for the phantoms.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes.")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("suprem").setLevel(logging.ERROR)
    if set(CLEAN_SEEDS) & {*TRAINING_SEEDS, *VALIDATION_SEEDS, *CHOSEN_ON}:
        raise SystemExit("Some of these phantoms were used before; choose other seeds.")
    with ProcessPoolExecutor(arguments.jobs) as pool:
        planted = [pool.submit(defect_row, name, arguments.cache) for name in DEFECTS]
        rows = clean_rows(pool, arguments.cache)
        rows += [future.result() for future in planted]
    rows.append(label_map_row(arguments.cache))
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()

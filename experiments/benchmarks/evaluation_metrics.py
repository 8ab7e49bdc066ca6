"""Seconds and memory that the DSC, NSD and HD95 of 25 structures take on a pair of 512 x 512 x 300 label arrays.

    python experiments/benchmarks/evaluation_metrics.py

The reference is a phantom with all 25 organs and vessels at (0.75, 0.75, 1.95) mm; the prediction is the same anatomy
moved by a smooth random field (1.5 mm standard deviation along each axis, knots every 20 mm). The contenders, each
in fresh processes that alternate: `compare_labels`; the same structures one by one with `surface-distance`, and with
MONAI's functions on the CPU, once with its NSD by area (`use_subvoxels=True`, the definition that the others have) and
once with its default NSD by number of voxels. The other packages are handed the bounding box of both masks with a
margin of one voxel, so that none pays for empty space. Imports and reading the arrays are not counted; CPU seconds are
those of all threads, which a busy machine inflates less than seconds. Writes results_evaluation_metrics.csv and
results_evaluation_metrics.md beside this file.
"""

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SPACING = (0.75, 0.75, 1.95)
SHAPE = (512, 512, 300)
TOLERANCE_MM, STRUCTURES, REPEATS = 1.0, 25, 3
CONTENDERS = ("suprem", "surface-distance", "MONAI", "MONAI, NSD by voxels")
Scores = dict[int, tuple[float, ...]]


def write_case(path: Path) -> None:
    """The pair of label arrays, uint8, numbered as the first 25 structures of the universal label space."""
    from scipy import ndimage

    from suprem.labels import label_space
    from suprem.phantom import generate

    case, rng = generate(5, spacing_mm=SPACING), np.random.default_rng(0)
    names = label_space("universal_32").names[:STRUCTURES]
    # Vessels are told apart from the liver they run through; a tumour counts as its organ.
    numbers = [max((n for n, name in enumerate(names, 1) if name in held), default=0) for held in case.table]
    found = np.array(numbers, dtype=np.uint8)[case.labels.array]
    cuts = [min(have, want) for have, want in zip(found.shape, SHAPE, strict=True)]
    source = tuple(slice((n - cut) // 2, (n - cut) // 2 + cut) for n, cut in zip(found.shape, cuts, strict=True))
    target = tuple(slice((n - cut) // 2, (n - cut) // 2 + cut) for n, cut in zip(SHAPE, cuts, strict=True))
    reference = np.zeros(SHAPE, dtype=np.uint8)
    reference[target] = found[source]
    knots = [int(np.ceil(n * size / 20)) + 1 for n, size in zip(SHAPE, SPACING, strict=True)]
    places = []
    for axis, (count, size) in enumerate(zip(SHAPE, SPACING, strict=True)):
        coarse = rng.normal(size=knots).astype(np.float32)
        field = ndimage.zoom(coarse, [n / k for n, k in zip(SHAPE, knots, strict=True)], order=1)
        field *= 1.5 / field.std() / np.float64(size)
        index = np.arange(count).reshape([-1 if a == axis else 1 for a in range(3)])
        places.append(np.clip(np.rint(field + index), 0, count - 1).astype(np.int16))
    np.savez(path, reference=reference, prediction=reference[tuple(places)])


def by_suprem(prediction: np.ndarray, reference: np.ndarray) -> Scores:
    """All structures in one call."""
    from suprem.evaluation.metrics import compare_labels

    found = compare_labels(prediction, reference, SPACING, dict.fromkeys(range(1, STRUCTURES + 1), TOLERANCE_MM))
    return {label: (scores.dsc, scores.nsd, scores.hd95_mm) for label, scores in found.items()}


def by_surface_distance(prediction: np.ndarray, reference: np.ndarray) -> tuple[float, ...]:
    """One pair of masks."""
    import surface_distance as package

    distances = package.compute_surface_distances(reference, prediction, SPACING)
    return (
        package.compute_dice_coefficient(reference, prediction),
        package.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM),
        package.compute_robust_hausdorff(distances, 95),
    )


def by_monai(subvoxels: bool) -> Callable[[np.ndarray, np.ndarray], tuple[float, ...]]:
    """For one pair of masks."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    def scores(prediction: np.ndarray, reference: np.ndarray) -> tuple[float, ...]:
        pair = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (prediction, reference)]
        options: dict[str, Any] = {"include_background": True, "spacing": SPACING}
        return (
            float(compute_dice(*(mask.float() for mask in pair), include_background=True)),
            float(compute_surface_dice(*pair, [TOLERANCE_MM], use_subvoxels=subvoxels, **options)),
            float(compute_hausdorff_distance(*pair, percentile=95, **options)),
        )

    return scores


def one_by_one(
    score: Callable[[np.ndarray, np.ndarray], tuple[float, ...]], prediction: np.ndarray, reference: np.ndarray
) -> Scores:
    """Each structure in the bounding box of both masks."""
    from scipy import ndimage

    boxes = [ndimage.find_objects(array, max_label=STRUCTURES) for array in (prediction, reference)]
    found = {}
    for label in range(1, STRUCTURES + 1):
        pairs = zip(boxes[0][label - 1], boxes[1][label - 1], strict=True)
        box = tuple(slice(max(min(a.start, b.start) - 1, 0), max(a.stop, b.stop) + 1) for a, b in pairs)
        found[label] = score(prediction[box] == label, reference[box] == label)
    return found


def measure(contender: str, path: Path) -> dict[str, Any]:
    """Scores, time and memory of one contender in this process."""
    warnings.simplefilter("ignore")  # of deprecated names in the other packages
    with np.load(path) as arrays:
        prediction, reference = arrays["prediction"], arrays["reference"]
    cube = np.pad(np.ones((3, 3, 3), dtype=bool), 2)
    work: Callable[[], Scores]
    if contender == "suprem":
        by_suprem(cube.astype(np.uint8), cube.astype(np.uint8))  # imports everything
        work = lambda: by_suprem(prediction, reference)  # noqa: E731
    else:
        score = by_surface_distance if contender == "surface-distance" else by_monai(contender == "MONAI")
        score(cube, cube)
        work = lambda: one_by_one(score, prediction, reference)  # noqa: E731
    begin, cpu = time.perf_counter(), time.process_time()
    scores = work()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"scores": scores, "s": seconds, "cpu_s": cpu_seconds, "gib": peak, "load": os.getloadavg()[0]}


def write_tables(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Both files, from all repeats."""
    here = Path(__file__).parent
    rows = []
    base = {key: statistics.median(run[key] for run in runs["suprem"]) for key in ("s", "cpu_s")}
    for name, found in runs.items():
        middle = {key: statistics.median(run[key] for run in found) for key in ("s", "cpu_s", "gib")}
        seconds = sorted(run["s"] for run in found)
        row = [name, f"{middle['s']:.1f}", f"{seconds[0]:.1f}", f"{seconds[-1]:.1f}", f"{middle['cpu_s']:.1f}"]
        row += [f"{middle['s'] / base['s']:.1f}", f"{middle['cpu_s'] / base['cpu_s']:.1f}", f"{middle['gib']:.2f}"]
        rows.append([*row, str(len(found))])
    header = ["contender", "median_s", "least_s", "most_s", "median_cpu_s", "s_over_suprem", "cpu_s_over_suprem"]
    header += ["peak_gib", "repeats"]
    with (here / "results_evaluation_metrics.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    ours = np.array(list(runs["suprem"][0]["scores"].values()))
    theirs = np.array(list(runs["surface-distance"][0]["scores"].values()))
    loads = [run["load"] for found in runs.values() for run in found]
    (here / "results_evaluation_metrics.md").write_text(
        "# Metrics of 25 structures\n\n"
        "DSC, NSD at 1 mm and HD95 of 25 structures on 512 x 512 x 300 voxels; what is measured and how is written at\n"
        "the head of the script. Run it from the repository's root:\n\n"
        "    python experiments/benchmarks/evaluation_metrics.py\n\n"
        f"{os.cpu_count()} cores ({platform.machine()}), shared with other work: load average "
        f"{min(loads):.1f} to {max(loads):.1f}.\n\n"
        "| " + " | ".join(header) + " |\n|---" + "|--:" * (len(header) - 1) + "|\n"
        "" + "".join("| " + " | ".join(row) + " |\n" for row in rows) + "\n"
        f"Largest difference between `suprem` and `surface-distance` in any of the {ours.size} values: "
        f"{np.abs(ours - theirs).max():.1e}. DSC is {ours[:, 0].min():.2f} to {ours[:, 0].max():.2f}, HD95 "
        f"{ours[:, 2].min():.1f} to {ours[:, 2].max():.1f} mm.\n",
        encoding="utf-8",
    )


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--case", type=Path, help="file of the pair, made if it does not exist, and kept")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1])), default=float))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = options.case or Path(folder) / "case.npz"
        if not path.exists():
            write_case(path)
        for repeat in range(REPEATS):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--one", name, str(path)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
                kept = {key: round(value, 2) for key, value in runs[name][-1].items() if key != "scores"}
                print(repeat, name, kept, flush=True)
    write_tables(runs)


if __name__ == "__main__":
    main()

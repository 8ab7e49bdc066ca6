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
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _harness import Contender, Run, answer, ask, machine, median, ratio, take_turns, timed, write_csv

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


def measure(job: dict[str, Any]) -> Run:
    """Scores and time of one contender in this process."""
    contender, path = job["contender"], Path(job["case"])
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
    with timed() as found:
        scores = work()
    return {**found, "scores": scores}


def write_tables(runs: dict[str, list[Run]]) -> None:
    """Both files, from all repeats."""
    here = Path(__file__).parent
    rows = []
    for name, found in runs.items():
        seconds = [run["seconds"] for run in found]
        row = {"contender": name, "median_s": median(found, "seconds"), "least_s": min(seconds), "most_s": max(seconds)}
        row |= {"median_cpu_s": median(found, "cpu_s"), "s_over_suprem": ratio(found, runs["suprem"])[0]}
        row |= {"cpu_s_over_suprem": ratio(found, runs["suprem"], "cpu_s")[0], "peak_gib": median(found, "peak_gib")}
        rows.append({**row, "repeats": len(found)})
    write_csv(here / "results_evaluation_metrics.csv", rows, digits=2)
    ours = np.array(list(runs["suprem"][0]["scores"].values()))
    theirs = np.array(list(runs["surface-distance"][0]["scores"].values()))
    loads = [run["load"] for found in runs.values() for run in found]
    (here / "results_evaluation_metrics.md").write_text(
        "# Metrics of 25 structures\n\n"
        "DSC, NSD at 1 mm and HD95 of 25 structures on 512 x 512 x 300 voxels; what is measured and how is written at\n"
        "the head of the script. Run it from the repository's root:\n\n"
        "    python experiments/benchmarks/evaluation_metrics.py\n\n"
        f"{machine()}, shared with other work: load average {min(loads):.1f} to {max(loads):.1f}.\n\n"
        f"Largest difference between `suprem` and `surface-distance` in any of the {ours.size} values: "
        f"{np.abs(ours - theirs).max():.1e}. DSC is {ours[:, 0].min():.2f} to {ours[:, 0].max():.2f}, HD95 "
        f"{ours[:, 2].min():.1f} to {ours[:, 2].max():.1f} mm.\n",
        encoding="utf-8",
    )


def main() -> None:
    """Measures, prints and writes the tables."""
    if answer({"score": measure, "case": lambda job: {"made": write_case(Path(job["case"]))}}):
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, help="file of the pair, made if it does not exist, and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.case or Path(folder) / "case.npz"
        if not path.exists():
            ask(Contender("case", __file__, "case", {"case": str(path)}))
        jobs = {name: {"contender": name, "case": str(path)} for name in CONTENDERS}
        runs = take_turns([Contender(name, __file__, "score", job) for name, job in jobs.items()], REPEATS)
    write_tables(runs)


if __name__ == "__main__":
    main()

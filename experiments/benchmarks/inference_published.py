"""SegResNet-16 as its published weights are used (MONAI, overlap 0.75, nine inversions) against `suprem predict`.

    python experiments/benchmarks/inference_published.py --peers PEERS/bin/python   # see peers.txt; half an hour
    python experiments/benchmarks/inference_published.py --quick                    # a tiny scan; ours alone

The network takes hours on a CPU in MONAI's pipeline, so its part is extrapolated: `window_s` is the median of 8
windows, timed in turns, and `network_s` that times the number of windows. MONAI's have 96 voxels along each axis, ours
the size that the plan has chosen, in the column `window`. The rest, `outside_s`, is
measured in full: both pipelines run as in inference_monai.py, on the same scan, with a network of two convolutions of
one voxel, whose own time is taken off. `outside_share` is the share of the rest in the sum. One thread. Writes
results_inference_published.csv beside this file.
"""

import argparse
from typing import Any

from _harness import Run, median, take_turns, write_csv
from _inference import PATCH, arguments, job_of, ours, peer, table_file

CLASSES, WINDOWS = 25, 8


def rows_of(runs: dict[str, list[Run]], windows: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """One row per pipeline: measured, extrapolated, and how many times ours it takes."""
    rows: list[dict[str, Any]] = []
    for name, found in runs.items():
        outside = median(found, "seconds") - median(found, "forward_s")
        count, each = int(median(found, "windows")), median(windows[name], "window_s")
        size = "x".join(map(str, found[0].get("window", (PATCH,) * 3)))
        row: dict[str, Any] = {"pipeline": name, "windows": count, "window": size}
        row |= {"window_s": each, "network_s": count * each, "outside_s": outside}
        total = outside + count * each
        row |= {"total_s": total, "outside_share": outside / total}
        row |= {"over_suprem": total / rows[0]["total_s"] if rows else 1.0}
        rows.append(row | {"peak_gib_without_network": median(found, "peak_gib"), "repeats": len(found)})
    return rows


def jobs_of(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Without and with the network."""
    kinds = [(kind, CLASSES, "sigmoid") for kind in ("pointwise", "segresnet")]
    rest, whole = (job_of(options, "phantom", (512, 512, 300), kind) for kind in kinds)
    return rest, whole | {"count": WINDOWS}


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    rest, whole = jobs_of(options)
    contenders = [ours("suprem", rest)]
    if options.peers:
        published = {**rest, "overlap": 0.75, "inversions": "classes", "inverted": 9}
        contenders.append(peer("MONAI published", "monai", published, options.peers))
    runs = take_turns(contenders, options.repeats, kept=options.kept)
    windows = [ours("suprem", {**whole, "window": runs["suprem"][0]["window"]}, work="windows")]
    if options.peers:
        windows.append(peer("MONAI published", "windows", whole, options.peers))
    rows = rows_of(runs, take_turns(windows, options.repeats, kept=options.kept))
    write_csv(table_file(options, "inference_published"), rows)


if __name__ == "__main__":
    main()

"""Peak memory of `suprem predict` on large CTs: 25 and 117 classes, 300 and 600 slices.

    python experiments/benchmarks/inference_memory.py           # a quarter of an hour
    python experiments/benchmarks/inference_memory.py --quick   # tiny scans

Phantoms of 512 x 512 voxels in the plane; the 600 slices are the 300 and their mirror image, so that the scan is
twice as long. Overlapping classes, 16 features, the usual limit of 4 GiB, one thread. The network is two convolutions
of one voxel: what a large network needs for one window is the same in all rows and would only bring the ratios closer
to 1. `peak_gib` is the kernel's account of the whole process, from its start to the last written mask; `over_25` and
`over_300` are ratios to the row with 25 classes and to that with 300 slices. Writes results_inference_memory.csv
beside this file. What MONAI's pipeline and nnU-Net need is measured by inference_monai.py and inference_nnunet.py.
"""

from typing import Any

from _harness import median, take_turns, write_csv
from _inference import arguments, job_of, ours, table_file

CASES = ((25, 300), (117, 300), (25, 600), (117, 600))


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    contenders = {}
    for classes, slices in CASES:
        scan = "phantom" if slices == 300 else "twice"
        job = job_of(options, scan, (512, 512, slices), ("pointwise", classes, "sigmoid"))
        contenders[classes, slices] = ours(f"{classes} classes, {slices} slices", job)
    runs = take_turns(list(contenders.values()), options.repeats, kept=options.kept)
    peaks = {case: median(runs[contender.name], "peak_gib") for case, contender in contenders.items()}
    rows: list[dict[str, Any]] = []
    for (classes, slices), contender in contenders.items():
        found, peak = runs[contender.name], peaks[classes, slices]
        row = {"classes": classes, "slices": slices, "peak_gib": peak, "over_25": peak / peaks[25, slices]}
        row |= {"over_300": peak / peaks[classes, 300], "seconds": median(found, "seconds")}
        rows.append(
            {**row, "cpu_s": median(found, "cpu_s"), "windows": median(found, "windows"), "repeats": len(found)}
        )
    write_csv(table_file(options, "inference_memory"), rows)


if __name__ == "__main__":
    main()

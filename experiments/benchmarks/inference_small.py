"""25 structures at 3 mm with SegResNet-16 on two cores, from `.nii.gz` to `.nii.gz`.

    python experiments/benchmarks/inference_small.py           # a few minutes
    python experiments/benchmarks/inference_small.py --quick   # a tiny scan

The trained network of experiments/phantom on CTs of 512 x 512 x 300 voxels: a phantom, and the real CT of
`shared/real` where that folder lies beside the repository, sampled anew from 3 mm with noise added. `suprem predict`
from the start of reading to the last file; imports and loading of the network are in `process_s` alone.
`outside_share` is the share of the time outside the network's own calls. Writes results_inference_small.csv beside
this file.
"""

from _harness import median, take_turns, write_csv
from _inference import REAL, arguments, job_of, ours, tables

KEYS = ("seconds", "process_s", "cpu_s", "forward_s", "outside_share", "peak_gib", "windows", "files", "found", "load")


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    shape, spacing, patch = ((64, 56, 48), 8.0, 32) if options.quick else ((512, 512, 300), 3.0, 96)
    scans = ["phantom", "real"] if REAL.exists() else ["phantom"]
    network = ("segresnet", 25, "sigmoid")
    jobs = {name: job_of(options.work, name, shape, network, spacing=spacing, patch=patch) for name in scans}
    runs = take_turns([ours(name, job, threads=2) for name, job in jobs.items()], options.repeats)
    rows = [{"scan": name, **{key: median(found, key) for key in KEYS}} for name, found in runs.items()]
    write_csv(tables(options) / "results_inference_small.csv", [{**row, "repeats": options.repeats} for row in rows])


if __name__ == "__main__":
    main()

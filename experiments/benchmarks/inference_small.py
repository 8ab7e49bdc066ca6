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
from _inference import REAL, arguments, job_of, ours, table_file

KEYS = ("seconds", "process_s", "cpu_s", "forward_s", "outside_share", "peak_gib", "windows", "files", "found", "load")


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    scans = ["phantom", "real"] if REAL.exists() else ["phantom"]
    network = ("segresnet", 25, "sigmoid")
    jobs = {name: job_of(options, name, (512, 512, 300), network, spacing=3.0) for name in scans}
    runs = take_turns([ours(name, job, threads=2) for name, job in jobs.items()], options.repeats, kept=options.kept)
    rows = [{"scan": name, **{key: median(found, key) for key in KEYS}} for name, found in runs.items()]
    write_csv(table_file(options, "inference_small"), [{**row, "repeats": options.repeats} for row in rows])


if __name__ == "__main__":
    main()

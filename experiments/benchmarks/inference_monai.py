"""A whole CT from `.nii.gz` to masks in `.nii.gz`: `suprem predict` against the pipeline that MONAI's tutorials show.

    python experiments/benchmarks/inference_monai.py --peers PEERS/bin/python   # see peers.txt; some ten minutes
    python experiments/benchmarks/inference_monai.py --quick   # a tiny scan; without --peers ours alone

Everything but the network is measured: two convolutions of one voxel, 16 channels between them, 25 classes. The CT is a
phantom of 512 x 512 x 300 voxels of about 0.75 x 0.75 x 1.5 mm, in LPS; windows of 96 voxels at 1.5 mm, overlap 0.5,
torch has one thread for everybody. Time begins after imports and loading. suprem writes 25 masks in as many threads as
there are processors (four at most), a combined label map, statistics, a preview and a manifest. MONAI's pipeline is
LoadImaged, Orientationd, Spacingd, ScaleIntensityRanged, CropForegroundd, `sliding_window_inference` with Gaussian
weights, sigmoid, threshold, and then

- "per class": one Invertd and one file by nibabel for each of 25 classes;
- "combined": one Invertd of the combined map, and from it 26 files by nibabel;
- "combined only": the same without the 25 masks;
- "published": overlap 0.75 and nine inversions; with the network: inference_published.py.

Each file of theirs is asserted to lie on the scan's grid. Writes results_inference_monai.csv and, with the seconds of
each phase, results_inference_monai_phases.csv beside this file. The machine's speed drifts: of three turns, "per class"
took 19.5 to 21.9 times as long as ours; ours alone took 11 to 15 s on that day.
"""

import argparse

from _harness import Contender, compared, median, take_turns, write_csv
from _inference import arguments, job_of, ours, peer, table_file

CLASSES = 25
PIPELINES = {
    "MONAI per class": {"inversions": "classes", "inverted": CLASSES, "overlap": 0.5},
    "MONAI combined": {"inversions": "combined", "overlap": 0.5},
    "MONAI combined only": {"inversions": "combined only", "overlap": 0.5},
    "MONAI published": {"inversions": "classes", "inverted": 9, "overlap": 0.75},
}


def contenders(options: argparse.Namespace) -> list[Contender]:
    """Ours, and MONAI's in its ways."""
    network = ("pointwise", CLASSES, "sigmoid")
    job = job_of(options, "phantom", (512, 512, 300), network)
    found = [ours("suprem", job)]
    if options.peers:
        found += [
            peer(name, "monai", {**job, **how}, options.peers)
            for name, how in PIPELINES.items()
            if not options.only or name in options.only
        ]
    return found


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=[], choices=list(PIPELINES))
    options = parser.parse_args()
    runs = take_turns(contenders(options), options.repeats, kept=options.kept)
    write_csv(table_file(options, "inference_monai"), compared(runs, "suprem", ("windows", "files", "forward_s")))
    phases = {name: dict.fromkeys(p for run in found for p in run["phases"]) for name, found in runs.items()}
    rows = [
        {"contender": name, "phase": phase, "seconds": median([run["phases"] for run in runs[name]], phase)}
        for name, names in phases.items()
        for phase in names
    ]
    write_csv(table_file(options, "inference_monai_phases"), rows)


if __name__ == "__main__":
    main()

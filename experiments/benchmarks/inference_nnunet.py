"""The same network with 117 classes in `suprem predict` and in nnU-Net v2's predictor with its export.

    python experiments/benchmarks/inference_nnunet.py --peers PEERS/bin/python   # see peers.txt; half an hour
    python experiments/benchmarks/inference_nnunet.py --quick   # a tiny scan; without --peers ours alone

SegResNet-16 with 118 exclusive channels; 1.5 mm, windows of 96 voxels, overlap 0.5, Gaussian weights, no mirroring,
one thread, everything in one process. nnU-Net keeps 118 maps on the scan's grid; the phantom has 256 x 256 x 200
voxels of about 1.5 x 1.5 x 2.3 mm, for which it was killed on a machine with 24 GiB: use `--half` there. nnU-Net writes
the combined map; suprem writes 117 masks, the combined map, statistics, a preview and a manifest. Its map is asserted
to lie on the scan's grid. `outside_s` is the time outside the network's calls. Writes results_inference_nnunet.csv
beside this file.
"""

from _harness import compared, take_turns, write_csv
from _inference import arguments, job_of, ours, peer, table_file


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    network = ("pointwise" if options.quick else "segresnet", 117, "softmax")
    job = job_of(options, "phantom", (256, 256, 200), network)
    contenders = [ours("suprem", job)]
    if options.peers:
        contenders.append(peer("nnU-Net", "nnunet", {**job, "overlap": 0.5}, options.peers))
    runs = take_turns(contenders, options.repeats, kept=options.kept)
    for run in (run for found in runs.values() for run in found):
        run["outside_s"] = run["seconds"] - run["forward_s"]
    rows = compared(runs, "suprem", ("windows", "files", "forward_s", "outside_s"))
    write_csv(table_file(options, "inference_nnunet"), rows)


if __name__ == "__main__":
    main()

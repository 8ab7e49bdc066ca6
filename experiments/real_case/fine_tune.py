"""Fine-tunes the bundled checkpoint on one real scan, predicts that scan, and scores the masks on its own grid.

```
python experiments/real_case/fine_tune.py SCANS --out RUN
```

`SCANS` holds `example_ct_sm.nii.gz` and `example_seg.nii.gz`, from the test data of TotalSegmentator
(Apache-2.0). The run shows that reading, label mapping, fine-tuning and prediction fit together on data that
nobody here made. The score is that of a network on the case it was trained with, and says nothing about other
scans.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from suprem.evaluation.metrics import dice
from suprem.labels import label_space
from suprem.volumes.io import read_volume

MIN_VOXELS = 500
IMAGE, LABEL = "example_ct_sm.nii.gz", "example_seg.nii.gz"
SETTINGS = {
    "model": {
        "init": "segresnet_tiny.phantom",
        "prior": None,
        "optimisation": {"learning_rate": 3e-3, "head_rate": 10.0, "warmup_steps": 20},
    },
    "data": {
        "dataset": "folder",
        "spacing_mm": [3.0, 3.0, 3.0],
        "patch_size": [64, 64, 32],
        "batch_size": 2,
        "samples_per_epoch": 50,
    },
    "trainer": {"accelerator": "cpu"},
}


def write_data(scans: Path, root: Path) -> dict[int, str]:
    """The scan as a folder that `suprem` reads; returns label value -> structure, for those that are large enough."""
    names = label_space("totalsegmentator_v2").names
    values, counts = np.unique(read_volume(scans / LABEL).array, return_counts=True)
    sizes = {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}
    for folder, source in (("images", IMAGE), ("labels", LABEL)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scans / source, root / folder / "example.nii.gz")
    description = {
        "title": "one real scan",
        "image": "images/{case}.nii.gz",
        "label": "labels/{case}.nii.gz",
        "labels": {value: names[value - 1] for value in sizes},
    }
    (root / "dataset.yaml").write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
    return {value: names[value - 1] for value, size in sizes.items() if size >= MIN_VOXELS}


def suprem(*words: str) -> None:
    """Runs the command that is installed beside this Python; a failure ends the script."""
    print("suprem", *words, flush=True)
    subprocess.run([Path(sys.executable).with_name("suprem"), *words], check=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60, help="Of 50 patches.")
    options = parser.parse_args()
    out, started = options.out, time.monotonic()
    wanted = write_data(options.scans, out / "data")
    config = out / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS, sort_keys=False), encoding="utf-8")
    suprem(
        *("finetune", "--config", str(config), "--classes", f"[{','.join(wanted.values())}]"),
        *("--data.root", str(out / "data"), "--data.store", str(out / "store"), "--out", str(out / "run")),
        *("--trainer.max_epochs", str(options.epochs)),
    )
    trained = time.monotonic() - started
    model = f"local-dir:{out / 'run' / 'model'}"
    suprem("predict", str(out / "data" / "images"), "-o", str(out / "masks"), "--model", model, "--device", "cpu")
    truth = read_volume(options.scans / LABEL)
    scores = {}
    for value, name in wanted.items():
        (found,) = (out / "masks").rglob(f"{name}.nii.gz")
        mask = read_volume(found)
        if mask.shape != truth.shape or not np.allclose(mask.affine, truth.affine, atol=1e-3):
            raise SystemExit(f"{found} is not on the grid of the scan.")
        scores[name] = dice(mask.array > 0, truth.array == value)
    with (out / "scores.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("structure", "dice"))
        writer.writerows((name, f"{score:.4f}") for name, score in scores.items())
    print(*(f"{score:.4f} {name}" for name, score in scores.items()), sep="\n")
    print(f"mean {np.mean(list(scores.values())):.4f} of {len(scores)} structures; trained in {trained:.0f} s")


if __name__ == "__main__":
    main()

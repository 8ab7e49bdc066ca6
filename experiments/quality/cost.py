"""What the quality flags cost beside the prediction they belong to, in CPU seconds on one thread.

```
python experiments/quality/cost.py            # -> results_cost.csv
```

Two measurements: deciding labels and counting undecided voxels on the way, which is one step, while a phantom is
predicted, with the smallest network there is, so that its share is the largest; and the look at the masks of 32
structures while a case of the size of a CT is written.
"""

import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from suprem import load_pretrained
from suprem.inference import Predictor, outputs
from suprem.inference._quality import QualityCheck
from suprem.inference.blending import ClassChannels
from suprem.labels import label_space
from suprem.phantom import generate
from suprem.volumes.geometry import Volume

TABLE = Path(__file__).with_name("results_cost.csv")
MODEL = "segresnet_tiny.phantom"
SEED = 3000


def timed(owner: Any, name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Replaces a method by one that adds the CPU time it takes to ``seconds``."""
    method = getattr(owner, name)

    def measured(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return method(*args, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - start

    setattr(owner, name, measured)
    return method


def counting() -> tuple[str, float, float]:
    """Labels and undecided voxels, of the whole prediction."""
    seconds: dict[str, float] = {}
    case = generate(SEED, spacing_mm=(4.0, 4.0, 4.0))
    predictor = Predictor(load_pretrained(MODEL), device="cpu")
    predictor.plan(case.ct)  # the trial window is not part of it
    method = timed(ClassChannels, "decide", seconds)
    start = time.process_time()
    predictor.predict(case.ct)
    total = time.process_time() - start
    ClassChannels.decide = method  # type: ignore[method-assign]
    what = f"deciding labels and counting undecided voxels, {case.ct.shape} voxels at 4 mm, {MODEL}"
    return what, seconds["decide"], total


def looking() -> tuple[str, float, float]:
    """Masks on the scanner's grid, of all that is written."""
    seconds: dict[str, float] = {}
    case = generate(SEED, spacing_mm=(2.0, 2.0, 2.5))
    ct, labels = (np.repeat(np.repeat(np.repeat(v.array, 2, 0), 2, 1), 2, 2) for v in (case.ct, case.labels))
    space = label_space("universal_32")
    members = {name: np.array([name in entry for entry in case.table]) for name in space.names}
    segmentation = SimpleNamespace(
        scan=Volume(ct, case.ct.affine @ np.diag([0.5, 0.5, 0.5, 1.0]), "phantom"),
        classes=space.names,
        undecided_ml=dict.fromkeys(space.names, 1.0),
        mask=lambda name: members[name][labels],
        grid_mask=lambda name: members[name][case.labels.array],
        grid_spacing_mm=case.ct.spacing_mm,
        combined=lambda _: labels,
        left_out=lambda _: (),
    )
    for name in ("__init__", "looked_at", "judged"):
        timed(QualityCheck, name, seconds)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        outputs.write_case(segmentation, Path(folder) / "case", label_space=space, manifest={})  # type: ignore[arg-type]
        total = time.process_time() - start
    return f"looking at 32 masks, {ct.shape} voxels at 1 x 1 x 1.25 mm", sum(seconds.values()), total


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["what", "CPU s", "of CPU s", "share"])
        for measure in (counting, looking):
            what, part, total = measure()
            table.writerow([what, f"{part:.2f}", f"{total:.2f}", f"{part / total:.3f}"])
            print(what, f"{part:.2f} of {total:.2f} s")


if __name__ == "__main__":
    main()

"""Peak memory of streaming inference on a large CT, against MONAI's usual pipeline on one that it can hold.

Every row is measured in a process of its own (`ru_maxrss`). Run it from the repository's root:

    python experiments/benchmarks/inference_memory.py

It writes `results_inference_memory.csv` and `results_inference_memory.md` beside itself after each row. The CT is
synthetic, the network tiny and untrained: memory is measured, not accuracy. The streaming engine runs its exhaustive
profile, so that no window is spared, under its default limit of 4 GiB. MONAI's pipeline is dictionary transforms,
`sliding_window_inference`, sigmoid and threshold, and one `Invertd` per class.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suprem.backbones import create_model
from suprem.inference import Predictor
from suprem.inference.memory import resident_bytes
from suprem.labels import list_structures
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.zoo.config import ModelConfig

HERE = Path(__file__).parent
GIB = 2**30
LARGE, SMALL = (512, 512, 600), (256, 256, 300)
SPACING = (0.8, 0.8, 1.0)
WRITTEN = 4  # masks that are also written to disk; the others are only made, which takes the same memory

ROWS = (
    {"pipeline": "suprem", "classes": 25, "activation": "sigmoid", "shape": LARGE},
    {"pipeline": "suprem", "classes": 117, "activation": "sigmoid", "shape": LARGE},
    {"pipeline": "suprem", "classes": 117, "activation": "softmax", "shape": LARGE},
    {"pipeline": "suprem", "classes": 25, "activation": "sigmoid", "shape": SMALL},
    {"pipeline": "suprem", "classes": 117, "activation": "sigmoid", "shape": SMALL},
    {"pipeline": "monai", "classes": 25, "activation": "sigmoid", "shape": SMALL},
    {"pipeline": "monai", "classes": 117, "activation": "sigmoid", "shape": SMALL},
)


def synthetic_ct(shape: tuple[int, int, int], seed: int = 0) -> Volume:
    """A body-like int16 CT: an ellipse of soft tissue with two lungs on a table, in noise; made slice by slice."""
    rng = np.random.default_rng(seed)
    array = np.empty(shape[::-1], dtype=np.int16).T
    x = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    y = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    for z in range(shape[2]):
        height = z / shape[2]
        hu = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 40.0, -1000.0)
        for side in (-1, 1):
            size = max(0.0, min(1.0, 3 * (height - 0.6)))
            hu[((x - 0.36 * side) / 0.3) ** 2 + (y / 0.42) ** 2 < size] = -850
        hu[np.broadcast_to(np.abs(y + 0.75) < 0.01, hu.shape)] = 100
        array[:, :, z] = np.rint(hu + 15 * rng.standard_normal(hu.shape, dtype=np.float32))
    return Volume(array, np.diag([*SPACING, 1.0]), "synthetic CT")


def tiny_network(classes: int, activation: str) -> Any:
    """Two resolutions, 16 decoder channels, random weights: memory and time, not accuracy, are measured."""
    torch.manual_seed(0)
    options = {"init_filters": 16, "blocks_down": (1, 1), "blocks_up": (1,)}
    channels = classes + (activation == "softmax")
    network = create_model("segresnet_tiny", num_classes=channels, **options)
    names = list_structures()[:classes]
    network.config = ModelConfig("benchmark", "segresnet_tiny", names, activation=activation, backbone_kwargs=options)
    return network.eval()


def run_suprem(row: dict[str, Any], overlap: float) -> dict[str, Any]:
    """Predicts, then makes all masks on the scan's grid one at a time."""
    scan = synthetic_ct(row["shape"])
    network = tiny_network(row["classes"], row["activation"])
    predictor = Predictor(network, device="cpu", overlap=overlap, profile="exhaustive")
    segmentation = predictor.predict(scan)
    predicted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(segmentation.classes):
            mask = segmentation.mask(name)
            if i < WRITTEN:
                write_volume(replace(scan, array=mask.view(np.uint8)), Path(folder) / f"{name}.nii.gz")
            del mask
    plan = segmentation.info["plan"]
    return {
        "peak_predict_gib": predicted / GIB,
        "expected_gib": plan["expected_bytes"] / GIB,
        "windows": segmentation.info["windows"]["run"],
        "blends": f"{plan['channels']} {plan['blends']}",
        "purposes": {name: size / GIB for name, size in plan["bytes_by_purpose"].items()},
        "phases": segmentation.info["seconds"],
    }


def run_monai(row: dict[str, Any], overlap: float) -> dict[str, Any]:
    """Dictionary transforms, sliding-window inference, sigmoid, and one inversion of the transforms per class."""
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference
    from monai.transforms import Compose, EnsureChannelFirstd, Invertd, Orientationd, ScaleIntensityRanged, Spacingd

    scan = synthetic_ct(row["shape"])
    network = tiny_network(row["classes"], row["activation"])
    contract = network.config.preprocessing
    low, high = contract.hu_window
    prepare = Compose(
        [
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=contract.spacing_mm, mode="bilinear"),
            ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True),
        ]
    )
    image = MetaTensor(torch.from_numpy(scan.array.astype(np.float32)), affine=torch.from_numpy(scan.affine))
    data = prepare({"image": image})
    del image
    with torch.inference_mode():
        logits = sliding_window_inference(data["image"][None], contract.patch_size, 1, network, overlap, "gaussian")
        masks = (torch.sigmoid(logits) > 0.5)[0]
    del logits
    invert = Invertd("pred", transform=prepare, orig_keys="image", nearest_interp=True, to_tensor=True)
    with tempfile.TemporaryDirectory() as folder:
        for c in range(row["classes"]):
            data["pred"] = masks[c : c + 1].float()
            mask = invert(data)["pred"][0].numpy().astype(np.uint8)
            if c < WRITTEN:
                write_volume(replace(scan, array=mask), Path(folder) / f"{c}.nii.gz")
    return {"blends": f"{row['classes']} logits"}


def measure(row: dict[str, Any], overlap: float) -> dict[str, Any]:
    """Runs one row in this process."""
    torch.set_num_threads(1)
    started = resident_bytes()
    start = time.perf_counter()
    result = (run_suprem if row["pipeline"] == "suprem" else run_monai)(row, overlap)
    result["seconds"] = time.perf_counter() - start
    result["imports_gib"] = started / GIB
    result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return result


def in_own_process(row: dict[str, Any], overlap: float) -> dict[str, Any]:
    """Runs one row in a new process."""
    command = [sys.executable, __file__, "--overlap", str(overlap), "--row", json.dumps(row)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def table(results: list[dict[str, Any]], overlap: float) -> str:
    """The results as Markdown."""
    head = "| pipeline | classes | activation | CT | blended | peak GiB | of that predicting | planned | minutes |"
    lines = ["# Memory of streaming inference", "", *(__doc__ or "").splitlines()[2:], ""]
    lines += [f"CT at {SPACING} mm, windows of 96 voxels at 1.5 mm with overlap {overlap}, one thread.", ""]
    lines += [head, "|---|--:|---|---|---|--:|--:|--:|--:|"]
    for r in results:
        optional = [f"{r[key]:.2f}" if key in r else "" for key in ("peak_predict_gib", "expected_gib")]
        shape = " x ".join(map(str, r["shape"]))
        cells = [r["pipeline"], r["classes"], r["activation"], shape, r["blends"], f"{r['peak_gib']:.2f}", *optional]
        lines.append("| " + " | ".join(map(str, [*cells, f"{r['seconds'] / 60:.1f}"])) + " |")
    large = [r for r in results if r["pipeline"] == "suprem" and tuple(r["shape"]) == LARGE]
    lines += ["", "Where the planned memory of the large CT goes, in GiB:", ""]
    lines += ["| purpose | " + " | ".join(f"{r['classes']} {r['activation']}" for r in large) + " |"]
    lines += ["|---|" + "--:|" * len(large)]
    for purpose in dict.fromkeys(name for r in large for name in r["purposes"]):
        lines.append(f"| {purpose} | " + " | ".join(f"{r['purposes'].get(purpose, 0):.2f}" for r in large) + " |")
    return "\n".join(lines) + "\n"


def save(results: list[dict[str, Any]], overlap: float) -> None:
    """Writes the CSV, one column per figure, and the Markdown."""
    flat = []
    for result in results:
        row = {key: value for key, value in result.items() if not isinstance(value, dict)}
        row["shape"] = "x".join(map(str, result["shape"]))
        row |= {f"planned GiB: {name}": size for name, size in result.get("purposes", {}).items()}
        row |= {f"seconds: {name}": value for name, value in result.get("phases", {}).items()}
        flat.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    columns = list(dict.fromkeys(key for row in flat for key in row))
    with (HERE / "results_inference_memory.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    (HERE / "results_inference_memory.md").write_text(table(results, overlap))


def main() -> None:
    """Runs all rows, or with `--row` one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        row = json.loads(arguments.row)
        row["shape"] = tuple(row["shape"])
        print(json.dumps(measure(row, arguments.overlap)))
        return
    results = []
    for row in ROWS:
        results.append(in_own_process(row, arguments.overlap))
        save(results, arguments.overlap)
        print({key: results[-1][key] for key in ("pipeline", "classes", "activation", "shape", "peak_gib", "seconds")})


if __name__ == "__main__":
    main()

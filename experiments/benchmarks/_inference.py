"""What the benchmarks of inference share on our side: scans, networks, and `suprem predict` with its phases.

Scans and networks are made once into a work folder (`--work`); the peers read the same files. Scans have the size of
clinical ones: a phantom, and, where the folder `shared/real` lies beside the repository, a real CT; both are sampled
anew from 3 mm, and noise of the scanner's size is added, since smoothed noise would compress too well.

Two kinds of network: "segresnet" is SegResNet-16 with the weights trained on phantoms, its head's rows repeated where
more classes are wanted; "pointwise" has two convolutions of one voxel, to 16 channels and to the classes, so that all
but the network is measured. Its classes are thresholds from 165 to 246 HU: bones and what contrast medium fills.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _harness import Contender, answer, ask, median_seconds, timed

if TYPE_CHECKING:
    from suprem.volumes.geometry import Volume

HERE = Path(__file__).parent
REAL = HERE.parents[2] / "shared" / "real" / "example_ct.nii.gz"
WEIGHTS = HERE.parent / "phantom" / "segresnet_3mm.safetensors"
FEATURES = 16
PATCH = 96
HU = (-175.0, 250.0)
NOISE_HU = 12.0


def make_phantom(path: Path, shape: tuple[int, int, int]) -> None:
    """A phantom in LPS, as scanners write, on another number of voxels."""
    _write(_phantom(shape), path, shape)


def _phantom(shape: tuple[int, int, int]) -> "Volume":
    """Coarse, since it is sampled anew anyhow."""
    from suprem.phantom import generate

    spacing = 3.0 if min(shape) >= 100 else 8.0
    return generate(1, spacing_mm=(spacing,) * 3, orientation="LPS").ct


def make_twice(path: Path, shape: tuple[int, int, int]) -> None:
    """The phantom and its mirror image on top of it, so that the scan is twice as long."""
    import numpy as np

    scan = _phantom(shape)
    array = np.concatenate([scan.array, scan.array[:, :, ::-1]], axis=2)
    _write(replace(scan, array=array, stored_geometry=None), path, shape)


def make_real(path: Path, shape: tuple[int, int, int]) -> None:
    """The real CT on another number of voxels."""
    from suprem.volumes.io import read_ct

    _write(read_ct(REAL), path, shape)


def _write(scan: "Volume", path: Path, shape: tuple[int, int, int]) -> None:
    import numpy as np

    from suprem.volumes.geometry import resample_linear
    from suprem.volumes.io import write_volume

    steps = tuple((n - 1) / (m - 1) for n, m in zip(scan.shape, shape, strict=True))
    array = resample_linear(scan.array, shape, (steps[0], steps[1], steps[2]))
    rng = np.random.default_rng(0)
    hu = np.empty(shape[::-1], dtype=np.int16).T
    for z in range(shape[2]):
        noise = NOISE_HU * rng.standard_normal(shape[:2], dtype=np.float32)
        hu[:, :, z] = np.rint(np.clip(array[:, :, z] + noise, -1024, 3071))
    affine = scan.affine @ np.diag([*steps, 1.0])
    write_volume(replace(scan, array=hu, affine=affine, stored_geometry=None), path)


def make_network(path: Path, kind: str, classes: int, activation: str) -> None:
    """Weights as a torch file, for everybody."""
    import torch
    from safetensors.torch import load_file

    channels = classes + (activation == "softmax")
    if kind == "pointwise":
        edges = torch.linspace(0.80, 0.99, classes)
        if activation == "softmax":  # channel c wins between its edge and the next one
            slopes = torch.arange(float(channels))  # small, since nnU-Net sums weighted logits in half precision
            biases = torch.cat([torch.zeros(1), -torch.cumsum(edges, 0)])
        else:
            slopes, biases = torch.full((channels,), 100.0), -100.0 * edges
        state = {"features.weight": torch.ones(FEATURES, 1, 1, 1, 1), "features.bias": torch.zeros(FEATURES)}
        state |= {"head.weight": (slopes[:, None] / FEATURES).repeat(1, FEATURES)[..., None, None, None]}
        state |= {"head.bias": biases}
    else:
        state = {name: value.float() for name, value in load_file(WEIGHTS).items()}
        weight, bias = state["conv_final.2.conv.weight"], state["conv_final.2.conv.bias"]
        rows = torch.arange(classes) % len(weight)
        # A repeated structure is a little less likely than the one before, so that every class has its own decision.
        weight, bias = weight[rows], bias[rows] - 0.05 * (torch.arange(classes) // len(weight))
        if activation == "softmax":  # what has a probability below one half is background
            weight = torch.cat([torch.zeros_like(weight[:1]), weight])
            bias = torch.cat([torch.zeros_like(bias[:1]), bias])
        state["conv_final.2.conv.weight"], state["conv_final.2.conv.bias"] = weight, bias
    torch.save(state, path)


SCANS = {"phantom": make_phantom, "twice": make_twice, "real": make_real}


def prepared(work: Path, scans: dict[str, tuple[int, int, int]], networks: list[tuple[str, int, str]]) -> None:
    """Makes what is missing in the work folder, each in a process of its own."""
    work.mkdir(parents=True, exist_ok=True)
    jobs = [("scan", scan_file(work, kind, shape), kind, list(shape)) for kind, shape in scans.items()]
    jobs += [("network", network_file(work, *which), *which) for which in networks]
    for what, path, *rest in jobs:
        if not path.exists():
            print(f"making {path.name}", flush=True)
            ask(Contender(path.name, __file__, what, [str(path), *rest]))


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """The options that all drivers have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="interpreter of the peers' environment; without it ours is measured alone")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "suprem_benchmarks")
    parser.add_argument("--repeats", type=int, default=1)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick", action="store_true", help="tiny scans, five classes: does it run? Tables go to --work"
    )
    sizes.add_argument("--half", action="store_true", help="half the voxels per axis, twice the spacing; tables *_half")
    parser.add_argument("--kept", type=Path, help="file of finished runs, so that a stopped benchmark can go on")
    return parser


def table_file(options: argparse.Namespace, name: str) -> Path:
    """Where a table is written."""
    folder: Path = options.work if options.quick else HERE
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"results_{name}{'_half' if options.half else ''}.csv"


def job_of(
    options: argparse.Namespace,
    scan: str,
    shape: tuple[int, int, int],
    network: tuple[str, int, str],
    *,
    spacing: float = 1.5,
) -> dict[str, Any]:
    """A job for everybody, in the size that the options ask for; makes the files that it needs."""
    (kind, classes, activation), patch = network, PATCH
    if options.half:
        shape, spacing = (shape[0] // 2, shape[1] // 2, shape[2] // 2), 2 * spacing
    elif options.quick:
        shape, spacing, patch, classes = (64, 56, 48 * shape[2] // 300), 8.0, 32, min(classes, 5)
    network = (kind, classes, activation)
    prepared(options.work, {scan: shape}, [network])
    scan_path, network_path = scan_file(options.work, scan, shape), network_file(options.work, *network)
    found = {"scan": str(scan_path), "network": str(network_path), "kind": kind, "classes": classes}
    return found | {"activation": activation, "spacing": spacing, "patch": patch}


def ours(name: str, job: dict[str, Any], threads: int = 1, work: str = "predict") -> Contender:
    """`suprem predict`, or another work, on a job."""
    # The second is what the command line sets, and is no setting of the peers' programs.
    environment = {"OMP_NUM_THREADS": str(threads), "THP_MEM_ALLOC_ENABLE": "1"}
    return Contender(name, __file__, work, job, environment=environment)


def peer(name: str, work: str, job: dict[str, Any], python: str, threads: int = 1) -> Contender:
    """A peer on a job."""
    script = str(HERE / "_peers_inference.py")
    # The second is how many threads nnU-Net's export gives to torch, whatever else is set.
    threaded = {"OMP_NUM_THREADS": str(threads), "nnUNet_def_n_proc": str(threads)}
    return Contender(name, script, work, job, python, {**threaded, "PYTHONWARNINGS": "ignore"})


def scan_file(work: Path, kind: str, shape: tuple[int, int, int]) -> Path:
    """Where a scan lies."""
    return work / f"{kind}_{'x'.join(map(str, shape))}.nii.gz"


def network_file(work: Path, kind: str, classes: int, activation: str) -> Path:
    """Where weights lie."""
    return work / f"{kind}_{classes}_{activation}.pt"


def network_of(job: dict[str, Any]) -> Any:
    """The network of a job with its contract."""
    import torch

    from suprem.backbones import create_model
    from suprem.backbones._base import Features, SegmentationNetwork
    from suprem.labels import list_structures
    from suprem.zoo.config import ModelConfig, Preprocessing

    class Pointwise(SegmentationNetwork):
        """Sees one voxel at a time."""

        head_path = "head"
        in_channels, divisor = 1, 8  # windows as for SegResNet
        decoder_channels = bottleneck_channels = FEATURES

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.features = torch.nn.Conv3d(1, FEATURES, 1)
            self.head = torch.nn.Conv3d(FEATURES, channels, 1)

        def forward_features(self, image: torch.Tensor) -> Features:
            features = self.features(image)
            return Features(features, features)

    state = torch.load(job["network"], weights_only=True)
    channels = job["classes"] + (job["activation"] == "softmax")
    network = Pointwise(channels) if job["kind"] == "pointwise" else create_model("segresnet", num_classes=channels)
    network.load_state_dict(state)
    contract = Preprocessing((job["spacing"],) * 3, HU, (job["patch"],) * 3)
    names = list_structures()[: job["classes"]]
    network.config = ModelConfig("benchmark", "segresnet", names, activation=job["activation"], preprocessing=contract)
    return network.eval()


def windows(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one window, of the trained size or of `window`."""
    import torch

    from suprem._cpu_functions import faster_on

    network, image = network_of(job), torch.rand(1, 1, *job.get("window", (job["patch"],) * 3))
    with torch.inference_mode(), faster_on(image.device):
        return {"window_s": median_seconds(lambda: network.forward_features(image), job["count"])}


def predict(job: dict[str, Any]) -> dict[str, Any]:
    """What `suprem predict` does once the network is loaded: one scan in, the folder of its case out.

    Masks, the combined label map, statistics, quality flags, preview and manifest are all written. `forward_s` is the
    time inside the network's own calls.
    """
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401  # the preview imports it late; imports are in nobody's time

    from suprem.inference import Predictor
    from suprem.inference.folder import predict_folder
    from suprem.volumes.scans import find_scans

    network, forward = network_of(job), 0.0
    run = network.forward_features

    def clocked(image: Any) -> Any:
        nonlocal forward
        start = time.perf_counter()
        features = run(image)
        forward += time.perf_counter() - start
        return features

    network.forward_features = clocked
    with tempfile.TemporaryDirectory() as folder:
        out = Path(job.get("out") or folder)
        with timed() as found:
            predictor = Predictor(network, device="cpu", **job.get("options", {}))
            result = predict_folder(find_scans([Path(job["scan"])]), predictor, out, overwrite=True)
        (case,) = result.manifest["cases"]
        if case["status"] != "done":
            raise RuntimeError(case["error"])
        manifest = json.loads((Path(case["folder"]) / "manifest.json").read_text())
        files = len(list(Path(case["folder"]).rglob("*.nii.gz")))
    phases = manifest["seconds"]
    return {
        **found,
        "forward_s": forward,
        "outside_share": 1 - forward / found["seconds"],
        "predict_s": phases["total"],
        "files": files,
        "found": len(case["found"]),
        "windows": manifest["run"]["windows"]["run"],
        "windows_skipped": manifest["run"]["windows"]["skipped"],
        "window": manifest["run"]["windows"]["size"],
        "phases": phases,
    }


if __name__ == "__main__":
    answer(
        {
            "scan": lambda job: {"made": SCANS[job[1]](Path(job[0]), tuple(job[2]))},
            "network": lambda job: {"made": make_network(Path(job[0]), *job[1:])},
            "windows": windows,
            "predict": predict,
        }
    )

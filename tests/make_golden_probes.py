"""Writes ``golden_probes.json``: facts from the golden vectors that let the tests run where these are absent.

    python tests/make_golden_probes.py GOLDEN_FOLDER

The numbers come from the golden vectors, which were computed with the reference program, and never from our networks.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

MODELS = {
    # The comparators have one case, a cube.
    "med3d_resnet101": {"backbone": "resunet", "head": "conv", "case": "x64", "parameters": 85_754_336},
    # Case xa, the cheapest one in which the three axes differ. Case b2x32 would be cheaper still, but there the
    # reference program lets the two samples influence each other.
    "unimiss_small": {"backbone": "mit", "head": "conv", "case": "x64", "parameters": 37_200_352},
    "unimiss_tiny": {
        "backbone": "mit",
        "options": {"depths": [1, 1, 1, 1], "decoder_depths": [1, 1, 1]},
        "head": "conv",
        "case": "x64",
        "parameters": 16_510_080,
    },
    "segresnet": {"backbone": "segresnet", "head": "conv", "case": "xa", "parameters": 4_701_424},
    "swinunetr": {"backbone": "swinunetr", "head": "conv", "case": "xa", "parameters": 62_188_178},
    "unet": {"backbone": "unet", "head": "conv", "case": "xa", "parameters": 19_075_680},
    "universal_swinunetr": {"backbone": "swinunetr", "head": "universal", "case": "xa", "parameters": 62_595_315},
    "universal_unet": {"backbone": "unet", "head": "universal", "case": "xa", "parameters": 19_416_417},
}
PROBES_PER_CLASS = 2
RULE = [
    "Every float tensor is filled from its name k (without module. and backbone.) and its shape:",
    "x = numpy.random.default_rng(zlib.crc32(k.encode())).standard_normal(shape).astype(float32)",
    "two or more dimensions: x / sqrt(prod(shape[1:]))",
    "one dimension, name ends in .weight: 1 + 0.1 * x",
    "one dimension, name ends in .running_var: 1 + 0.1 * abs(x)",
    "any other with one dimension: 0.1 * x",
    "Integer buffers stay as constructed.",
    "Input: numpy.random.default_rng(0).standard_normal(shape).astype(float32), eval mode, no gradients.",
    "A probe is [[sample, class, x, y, z], value] of the output (logits).",
    "keys_sha256 is the digest of json.dumps([[name, shape, dtype], ...]) over the state dict in order.",
]


def probes(golden: Any, case: str, entry: dict[str, Any]) -> list[list[Any]]:
    """Seeded positions in the stored, strided output: ``PROBES_PER_CLASS`` for every class."""
    stored = golden[f"{case}/out/sub"]
    random = np.random.default_rng(7)
    found = []
    for channel in range(stored.shape[1]):
        for _ in range(PROBES_PER_CLASS):
            at = [int(random.integers(size)) for size in stored.shape]
            at[1] = channel
            position = at[:2] + [entry["stride"] * index for index in at[2:]]
            found.append([position, float(f"{stored[tuple(at)]:.7g}")])
    return found


def main(folder: Path) -> None:
    """Reads the golden folder and writes the file beside this script."""
    facts: dict[str, Any] = {"rule": RULE, "tolerance_abs": None, "models": {}}
    for name, model in MODELS.items():
        golden = np.load(folder / name / "golden.npz")
        meta = json.loads(str(golden["meta"]))
        keys = json.loads((folder / name / "keys.json").read_text())
        case = meta["cases"][model["case"]]
        facts["tolerance_abs"] = meta["atol"]
        facts["models"][name] = {
            **model,
            "tensors": len(keys),
            "keys_sha256": hashlib.sha256(json.dumps(keys).encode()).hexdigest(),
            "input_shape": case["input_shape"],
            "input_sha256": case["input_sha256"],
            "fill_sha256": meta["fill_sha256"],
            "out": probes(golden, model["case"], case["entries"]["out"]),
        }
    text = json.dumps(facts, indent=1)
    for nested in facts["models"].values():
        for probe in nested["out"]:  # one probe per line instead of nine
            text = text.replace(json.dumps(probe, indent=1).replace("\n", "\n    "), json.dumps(probe))
    Path(__file__).with_name("golden_probes.json").write_text(text + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

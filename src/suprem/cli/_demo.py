"""The work of ``suprem demo``: phantoms on disk, prediction as ``suprem predict`` does it, scores."""

import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from suprem.phantom import PhantomCase

__all__ = ["CaseScores", "DemoResult", "check_seeds", "prepare_folder", "run_demo"]

MARKER = "demo.json"
SPACING_MM = (2.5, 2.5, 3.0)
LARGEST = 10

_FORMAT = "suprem demo"


@dataclass(frozen=True)
class CaseScores:
    """Scores of one phantom.

    Attributes:
        case_id: name of the case.
        seed: seed of the phantom.
        volume_ml: reference volume of each structure.
        network: Dice coefficient of the network for each structure, NaN where it is absent from both.
        baseline: the same of the per-voxel classifier.
    """

    case_id: str
    seed: int
    volume_ml: dict[str, float]
    network: dict[str, float]
    baseline: dict[str, float]


@dataclass
class DemoResult:
    """What the demonstration found.

    Attributes:
        model: name of the checkpoint.
        cases: scores of the cases that were predicted.
        failed: case -> what went wrong.
        seconds: wall time of each phase.
    """

    model: str
    cases: list[CaseScores] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def structures(self) -> tuple[str, ...]:
        """All structures, the largest mean reference volume first."""
        names = self.cases[0].volume_ml if self.cases else {}
        return tuple(sorted(names, key=lambda name: -self.volume_ml(name)))

    def volume_ml(self, name: str) -> float:
        """Mean reference volume of a structure."""
        return float(np.mean([case.volume_ml[name] for case in self.cases]))

    def dice(self, method: str, name: str) -> float:
        """Mean Dice coefficient of a structure over the cases, NaN if it never occurs.

        Args:
            method: ``"network"`` or ``"baseline"``.
            name: the structure.
        """
        values = [score for case in self.cases if not math.isnan(score := getattr(case, method)[name])]
        return float(np.mean(values)) if values else math.nan

    def mean_dice(self, method: str, count: int | None = None) -> float:
        """Mean over the ``count`` largest structures, or over all."""
        values = [score for name in self.structures[:count] if not math.isnan(score := self.dice(method, name))]
        return float(np.mean(values)) if values else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; not-a-number becomes ``null``."""
        summary = {
            f"{method}_dice_{label}": _plain(self.mean_dice(method, count))
            for method in ("network", "baseline")
            for label, count in ((f"{LARGEST}_largest", LARGEST), ("all", None))
        }
        structures = [
            {
                "name": name,
                "volume_ml": round(self.volume_ml(name), 2),
                "network_dice": _plain(self.dice("network", name)),
                "baseline_dice": _plain(self.dice("baseline", name)),
                "network_dice_per_case": {c.case_id: _plain(c.network[name]) for c in self.cases},
            }
            for name in self.structures
        ]
        return {
            "format": _FORMAT,
            "synthetic": True,
            "model": self.model,
            "seeds": [case.seed for case in self.cases],
            "spacing_mm": list(SPACING_MM),
            "summary": summary,
            "structures": structures,
            "failed": self.failed,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def check_seeds(seeds: range) -> None:
    """Refuses phantoms that the bundled network has seen.

    Raises:
        ConfigurationError: with the seeds that overlap.
    """
    from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS

    seen = sorted(set(seeds) & {*TRAINING_SEEDS, *VALIDATION_SEEDS})
    if seen:
        raise ConfigurationError(
            f"The bundled network was trained or validated on the phantoms of seeds {seen[0]} to {seen[-1]}; choose "
            f"seeds below {TRAINING_SEEDS[0]} or above {VALIDATION_SEEDS[-1]}."
        )


def prepare_folder(output: Path) -> None:
    """Makes the folder, emptied of an earlier demonstration.

    Raises:
        OutputError: it holds something else, or cannot be written.
    """
    from suprem._files import check_writable, output_error

    try:
        occupied = output.exists() and (not output.is_dir() or any(output.iterdir()))
    except OSError as error:
        raise output_error(output, error) from error
    if occupied and not _is_demo(output):
        raise OutputError(f"{output} exists and holds no earlier demo; choose another folder with --output.")
    check_writable(output)
    if occupied:
        try:
            for name in ("scans", "reference", "predictions"):
                with suppress(FileNotFoundError):
                    shutil.rmtree(output / name)
        except OSError as error:
            raise output_error(output, error) from error
    _write_marker(output, {"format": _FORMAT, "complete": False})


def _is_demo(output: Path) -> bool:
    with suppress(OSError, ValueError):
        content = json.loads((output / MARKER).read_text(encoding="utf-8"))
        return isinstance(content, dict) and content.get("format") == _FORMAT
    return False


def _write_marker(output: Path, content: dict[str, Any]) -> None:
    from suprem._files import atomic_path

    with atomic_path(output / MARKER) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_demo(seeds: range, output: Path, console: "Console") -> DemoResult:
    """Makes phantoms, predicts them from disk and scores what lies on disk.

    Args:
        seeds: Seeds of the phantoms.
        output: A prepared folder; gets ``scans``, ``reference`` and ``predictions``.
        console: Is told what happens.
    """
    from suprem.cli._display import Display
    from suprem.inference import Predictor, load_network
    from suprem.inference._segment import BUNDLED_MODEL
    from suprem.inference.folder import predict_folder
    from suprem.phantom.baseline import PositionBaseline
    from suprem.volumes.scans import find_scans

    result = DemoResult(BUNDLED_MODEL)
    console.print(f"model: {BUNDLED_MODEL}, trained on synthetic phantoms only: for trying out, not for patients")
    clock = time.perf_counter()
    phantoms = _make_phantoms(seeds, output, console)
    result.seconds["phantoms"] = time.perf_counter() - clock
    clock = time.perf_counter()
    predictor = Predictor(load_network(BUNDLED_MODEL), device="auto", quality="exhaustive", max_ram="4GiB")
    with Display(console, len(seeds)) as display:
        run = predict_folder(find_scans(output / "scans"), predictor, output / "predictions", reporter=display)
    result.seconds["prediction"] = time.perf_counter() - clock
    clock = time.perf_counter()
    baseline = PositionBaseline.bundled()
    for case in sorted(run.cases, key=lambda c: list(phantoms).index(c.case_id)):
        if case.folder is None:
            result.failed[case.case_id] = case.error or "unknown"
            continue
        phantom = phantoms[case.case_id]
        console.print(f"scoring {case.case_id}")
        result.cases.append(_score(case.case_id, phantom, Path(case.folder), baseline.predict(phantom.ct).mask))
    result.seconds["scoring"] = time.perf_counter() - clock
    _write_marker(output, {**result.to_dict(), "complete": True})
    return result


def _make_phantoms(seeds: range, output: Path, console: "Console") -> "dict[str, PhantomCase]":
    from dataclasses import replace

    from suprem.labels import label_space
    from suprem.phantom import generate
    from suprem.volumes.io import write_volume

    space = label_space("universal_32")
    phantoms = {}
    for seed in seeds:
        case_id = f"phantom_{seed:04d}"
        console.print(f"making {case_id}")
        # LPS, as scanners store it, so that the demonstration also goes through the change of orientation.
        case = generate(seed, spacing_mm=SPACING_MM, orientation="LPS")
        numbers = np.zeros(len(case.table), dtype=np.uint8)
        for index, structures in enumerate(case.table):
            numbers[index] = max((space.number(name) for name in structures), default=0)
        note = f"synthetic phantom, seed {seed}"
        for folder in ("scans", "reference"):
            (output / folder).mkdir(exist_ok=True)
        write_volume(case.ct, output / "scans" / f"{case_id}.nii.gz", description=note)
        reference = replace(case.labels, array=numbers[case.labels.array])
        write_volume(reference, output / "reference" / f"{case_id}.nii.gz", description=f"label_space={space.name}")
        phantoms[case_id] = case
    return phantoms


def _score(
    case_id: str, phantom: "PhantomCase", folder: Path, baseline_mask: Callable[[str], npt.NDArray[np.bool_]]
) -> CaseScores:
    """Compares the written masks with the truth on the scan's own grid."""
    from suprem.evaluation.metrics import dice
    from suprem.labels import label_space
    from suprem.volumes.io import read_volume

    space = label_space("universal_32")
    voxel_ml = float(np.prod(phantom.labels.spacing_mm)) / 1000.0
    volume, network, baseline = {}, {}, {}
    for name in space.names:
        truth = phantom.mask(name)
        predicted = read_volume(folder / "segmentations" / f"{space.file_name(name)}.nii.gz")
        volume[name] = float(np.count_nonzero(truth)) * voxel_ml
        network[name] = dice(predicted.array, truth, empty="absent")
        baseline[name] = dice(baseline_mask(name), truth, empty="absent")
    return CaseScores(case_id, phantom.seed, volume, network, baseline)

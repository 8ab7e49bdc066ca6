"""Scores of one case, all structures in one pass, on the grid of the reference."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem._workers import map_unordered
from suprem.errors import SupremError, VolumeError
from suprem.evaluation.detection import count_detections
from suprem.evaluation.masks import CaseMasks, OpenMasks, planes
from suprem.evaluation.metrics import EmptyConvention, compare_labels
from suprem.evaluation.numberings import Confusion, confusions
from suprem.evaluation.scores import CaseDetection, CaseScore
from suprem.labels import known_name, list_structures, structure
from suprem.volumes.geometry import Volume, same_grid, to_ras

__all__ = ["CaseResult", "CaseTask", "MaskLayer", "is_lesion", "on_grid", "read_layers", "score_case", "score_cases"]

_LESIONS = "tumour or cyst"
_SHOWN = 5  # failed cases in one message
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CaseTask:
    """What is to be compared in one case.

    Attributes:
        prediction: its masks.
        reference: its masks.
        structures: names; those that one of the two lacks are left out.
        tolerance_mm: of the normalised surface distance.
        empty: convention for structures that neither mask holds.
        resample: bring a prediction on another grid to that of the reference.
        threads: that share the work; ``None`` takes one for each core.
    """

    prediction: CaseMasks
    reference: CaseMasks
    structures: tuple[str, ...]
    tolerance_mm: float = 1.0
    empty: EmptyConvention = "absent"
    resample: bool = False
    threads: int | None = None

    @property
    def shared(self) -> tuple[str, ...]:
        """The structures that both sides have."""
        ours, theirs = self.prediction.structures, self.reference.structures
        return tuple(name for name in self.structures if name in ours and name in theirs)


@dataclass(frozen=True)
class CaseResult:
    """What came of it.

    Attributes:
        scores: per structure, in the order of the task.
        resampled: whether the prediction lay on another grid.
        confusions: structures of the reference that lie where the prediction has another one.
        detections: lesions found and missed, of the structures that are lesions.
    """

    scores: tuple[CaseScore, ...]
    resampled: bool
    confusions: tuple[Confusion, ...]
    detections: tuple[CaseDetection, ...]


@dataclass(frozen=True, eq=False)
class MaskLayer:
    """Structures of which no two share a voxel, as two label arrays on the grid of the reference.

    Attributes:
        ours: prediction, uint8 or uint16 (X, Y, Z) in RAS; the structure ``names[i]`` is ``i + 1``.
        theirs: reference.
        affine: of the grid.
        names: structures, in the order of their numbers.
        resampled: whether a prediction lay on another grid.
    """

    ours: _Array
    theirs: _Array
    affine: npt.NDArray[np.float64]
    names: tuple[str, ...]
    resampled: bool

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbours along the axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def takes(self, found: _Array, wanted: Volume) -> bool:
        """Whether one more structure would lie on the same grid and touch nothing of the others, on either side."""
        if self.theirs.shape != wanted.shape or not np.array_equal(self.affine, wanted.affine):
            return False
        return not self.ours[found].any() and not self.theirs[wanted.array].any()


def read_layers(task: CaseTask) -> tuple[list[MaskLayer], OpenMasks, OpenMasks]:
    """The structures of a case in as few layers as hold them without overlap, and the opened masks.

    Two label maps give one layer, read and renumbered once. Masks are read one after the other.

    Raises:
        VolumeError: a file cannot be read, or the grids differ and ``resample`` is not set.
        ConfigurationError: a file holds no mask.
        LabelSpaceError: a label map holds numbers that its numbering does not know.
    """
    ours, theirs = task.prediction.read(), task.reference.read()
    if not task.shared:
        return [], ours, theirs
    if ours.labels is not None and theirs.labels is not None and _exclusive(task):
        wanted = to_ras(theirs.labels)[0]
        found, moved = on_grid(ours.labels, wanted, task.resample)
        pair = ((found, task.prediction), (wanted.array, task.reference))
        arrays = [_renumbered(array, masks.values, task.shared) for array, masks in pair]
        layers = [MaskLayer(arrays[0], arrays[1], wanted.affine, task.shared, moved)]
    else:
        layers = _stacked(task, ours, theirs)
    hidden = theirs.ignored()
    if hidden is not None:
        for layer in layers:
            layer.ours[to_ras(hidden)[0].array] = 0
    return layers, ours, theirs


def _exclusive(task: CaseTask) -> bool:
    return task.prediction.exclusive and task.reference.exclusive


def _stacked(task: CaseTask, ours: OpenMasks, theirs: OpenMasks) -> list[MaskLayer]:
    layers: list[MaskLayer] = []
    dtype = np.uint8 if len(task.shared) <= np.iinfo(np.uint8).max else np.uint16
    for name in task.shared:
        wanted = to_ras(theirs.mask(name))[0]
        found, moved = on_grid(ours.mask(name), wanted, task.resample)
        place = next((i for i, layer in enumerate(layers) if layer.takes(found, wanted)), len(layers))
        if place == len(layers):
            empty: _Array = np.zeros_like(wanted.array, dtype=dtype)
            layers.append(MaskLayer(empty, empty.copy(order="K"), wanted.affine, (), False))
        layer = layers[place]
        layer.ours[found] = layer.theirs[wanted.array] = len(layer.names) + 1
        moved = layer.resampled or moved
        layers[place] = MaskLayer(layer.ours, layer.theirs, layer.affine, (*layer.names, name), moved)
    return layers


def _renumbered(array: _Array, values: Mapping[str, frozenset[int]], names: Sequence[str]) -> _Array:
    """A label array in which ``names[i]`` is ``i + 1`` and all else 0."""
    dtype = np.uint8 if len(names) <= np.iinfo(np.uint8).max else np.uint16
    table = np.zeros(max(int(array.max()), *(max(values[name]) for name in names)) + 1, dtype=dtype)
    for number, name in enumerate(names, start=1):
        table[list(values[name])] = number
    result = np.empty_like(array, dtype=dtype)
    # Plane by plane: an array used as an index becomes int64, eight times the size of the label map.
    for plane, out in zip(planes(array), planes(result), strict=True):
        out[...] = table[plane]
    return result


def on_grid(volume: Volume, wanted: Volume, resample: bool) -> tuple[_Array, bool]:
    """A mask or label map on the grid of the reference, (X, Y, Z) in RAS, and whether it had to be moved.

    Args:
        volume: to be brought there.
        wanted: the reference, in RAS.
        resample: do it by the nearest voxel where the grids differ.

    Raises:
        VolumeError: the grids differ and ``resample`` is not set.
    """
    upright = to_ras(volume)[0]
    if same_grid(upright, wanted):
        return upright.array, False
    if not resample:
        raise VolumeError(
            f"{volume.name} and {wanted.name} lie on different grids: {_grid(upright)} and {_grid(wanted)}. Predict on "
            "the grid of the reference, or allow resampling to it."
        )
    matrix = np.linalg.inv(upright.affine) @ wanted.affine
    array = upright.array.astype(np.uint8) if upright.array.dtype == np.bool_ else upright.array
    moved = ndimage.affine_transform(array, matrix[:3, :3], matrix[:3, 3], output_shape=wanted.shape, order=0)
    return moved.astype(upright.array.dtype, copy=False), True


def _grid(volume: Volume) -> str:
    spacing = " x ".join(f"{size:.3g}" for size in volume.spacing_mm)
    corner = ", ".join(f"{place:.4g}" for place in volume.affine[:3, 3])
    return f"{volume.shape} voxels of {spacing} mm from ({corner})"


def score_case(task: CaseTask) -> CaseResult:
    """Compares all structures of a case.

    Raises:
        SupremError: as :func:`read_layers`.
    """
    layers, ours, theirs = read_layers(task)
    found: dict[str, CaseScore] = {}
    for layer in layers:
        tolerances = dict.fromkeys(range(1, len(layer.names) + 1), task.tolerance_mm)
        scores = compare_labels(
            layer.ours, layer.theirs, layer.spacing_mm, tolerances, empty=task.empty, threads=task.threads
        )
        sizes = np.zeros(len(layer.names) + 1, dtype=np.int64)
        for plane in planes(layer.theirs):
            sizes += np.bincount(plane.ravel(), minlength=len(sizes))
        for number, name in enumerate(layer.names, start=1):
            volume = float(sizes[number]) * math.prod(layer.spacing_mm) / 1000
            found[name] = CaseScore(task.reference.case, name, volume, scores[number])
    ordered = tuple(found[name] for name in task.shared)
    missed = [score.structure for score in ordered if score.reference_ml > 0 and score.scores.dsc < Confusion.OWN]
    mixed = confusions(layers, _whole_map(ours, theirs, task), missed) if missed else ()
    return CaseResult(ordered, any(layer.resampled for layer in layers), mixed, _detections(task, layers))


def _detections(task: CaseTask, layers: Sequence[MaskLayer]) -> tuple[CaseDetection, ...]:
    """Counts by the rule of :class:`suprem.evaluation.detection.DetectionRule`, in the order of the task."""
    found = {}
    for layer in layers:
        for number, name in enumerate(layer.names, start=1):
            if is_lesion(name):
                pair = _cropped(layer.ours == number, layer.theirs == number)
                counts = count_detections(*pair, layer.spacing_mm)
                found[name] = CaseDetection(task.reference.case, name, counts)
    return tuple(found[name] for name in task.shared if name in found)


def is_lesion(name: str) -> bool:
    """Whether the registry calls a structure a tumour or cyst, of which a patient may have several."""
    known = known_name(name)
    return known in list_structures() and structure(known).group == _LESIONS


def _cropped(ours: _Array, theirs: _Array) -> tuple[_Array, _Array]:
    """Both masks around what either holds."""
    both = ours | theirs
    places = [np.flatnonzero(both.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(place[0], place[-1] + 1) if place.size else slice(0, 1) for place in places)
    return ours[box], theirs[box]


def _whole_map(ours: OpenMasks, theirs: OpenMasks, task: CaseTask) -> tuple[_Array, Mapping[int, str]] | None:
    """All that was predicted, on the grid of the reference, with the names of the numbers."""
    if ours.labels is None or not task.prediction.exclusive:
        return None
    wanted = theirs.labels if theirs.labels is not None else theirs.mask(task.shared[0])
    names = {value: name for name, values in task.prediction.values.items() for value in values}
    return on_grid(ours.labels, to_ras(wanted)[0], task.resample)[0], names


def score_cases(
    tasks: Sequence[CaseTask], *, jobs: int = 1, progress: Callable[[str, int], None] | None = None
) -> list[CaseResult]:
    """Compares many cases; the result does not depend on how many processes work on them.

    Args:
        tasks: one per case.
        jobs: processes; each holds one case at a time.
        progress: called with the name of each case that has ended, and the number of all.

    Raises:
        SupremError: of the class of the first failure; names every case that failed.
    """
    by_case = {task.reference.case: task for task in tasks}
    results: dict[str, CaseResult] = {}
    failures: dict[str, Exception] = {}
    for task, result in map_unordered(score_case, tasks, jobs=jobs):
        if isinstance(result, Exception):
            failures[task.reference.case] = result
        else:
            results[task.reference.case] = result
        if progress is not None:
            progress(task.reference.case, len(tasks))
    if failures:
        raise _failure([(case, failures[case]) for case in by_case if case in failures], len(tasks))
    return [results[case] for case in by_case]


def _failure(failures: Sequence[tuple[str, Exception]], count: int) -> Exception:
    case, first = failures[0]
    if not isinstance(first, SupremError):
        first.add_note(f"It happened in case {case}.")
        return first
    kind = type(first)
    lines = [f"{case}: {error}" for case, error in failures[:_SHOWN]]
    if len(failures) == 1:
        return kind(f"Case {lines[0]}")
    more = [f"and {len(failures) - _SHOWN} more"] if len(failures) > _SHOWN else []
    return kind("\n".join([f"{len(failures)} of {count} cases cannot be compared:", *lines, *more]))

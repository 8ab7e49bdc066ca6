"""What one model says about one case: a probability per structure and voxel, in compressed files, on the stored grid.

::

    <folder>/
      prediction.json        classes, whether they exclude each other, model and settings
      000.b2nd, 001.b2nd     probability of each class, uint8 (X, Y, Z): p = value / 255
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder
from suprem.errors import ConfigurationError, UnknownNameError, brief, did_you_mean
from suprem.volumes import _chunks as chunks
from suprem.volumes.boxes import Box

__all__ = ["DETAILS", "Prediction", "write_prediction"]

BoolArray = npt.NDArray[np.bool_]
DETAILS, _FORMAT = "prediction.json", 1


def write_prediction(
    folder: str | Path,
    probabilities: Iterable[tuple[str, npt.NDArray[np.uint8]]],
    *,
    exclusive: bool,
    info: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Writes a prediction; the folder appears when it is complete.

    Args:
        folder: To make.
        probabilities: Canonical class name and uint8 (X, Y, Z) on the stored grid, 255 for certain; one is held at a
            time.
        exclusive: Classes exclude each other (softmax); what is left to 255 is background.
        info: Model, version and settings; plain JSON values.
        overwrite: Replace an existing folder.

    Raises:
        OutputError: it exists and ``overwrite`` is off, the disk is full, or the place cannot be written.
    """
    with atomic_folder(folder, overwrite=overwrite) as target:
        names: list[str] = []
        shape: tuple[int, ...] = ()
        for number, (name, values) in enumerate(probabilities):
            chunks.write(values, target / _file(number))
            names.append(name)
            shape = values.shape
        content = {
            "format": _FORMAT,
            "classes": names,
            "exclusive": exclusive,
            "shape": list(shape),
            "info": dict(info),
        }
        (target / DETAILS).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Prediction:
    """A prediction on disk; slabs are decompressed when they are asked for.

    Attributes:
        folder: where it lies.
        classes: canonical names.
        exclusive: classes exclude each other.
        shape: voxels (X, Y, Z) of the stored grid.
        info: model, version and settings.
    """

    folder: Path
    classes: tuple[str, ...]
    exclusive: bool
    shape: tuple[int, int, int]
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> "Prediction":
        """The prediction of a folder.

        Raises:
            ConfigurationError: missing or damaged.
        """
        path = Path(folder) / DETAILS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            x, y, z = (int(n) for n in content["shape"])
            classes = tuple(str(name) for name in content["classes"])
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}")
            return cls(Path(folder), classes, bool(content["exclusive"]), (x, y, z), content["info"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is damaged or missing: {brief(error)}; delete its folder and predict again."
            ) from error

    def probability(self, name: str, box: Box | None = None) -> npt.NDArray[np.uint8]:
        """Probability of a class in a box, or everywhere: uint8, 255 for certain.

        Raises:
            UnknownNameError: the model does not predict it.
            VolumeError: its file is damaged.
        """
        if name not in self.classes:
            raise UnknownNameError(did_you_mean(f"class predicted in {self.folder}", name, self.classes))
        path = self.folder / _file(self.classes.index(name))
        array = chunks.open_array(path, self.shape, ("uint8",))
        return np.asarray(array[box if box else slice(None)])

    def masks(self, names: Sequence[str], box: Box | None = None) -> dict[str, BoolArray]:
        """What the model decides in a box: above one half, or the likeliest where classes exclude each other.

        For exclusive classes every class is read, whichever are asked for, one at a time.
        """
        if not self.exclusive:
            return {name: self.probability(name, box) > 127 for name in names}
        winner = self.winner(box)
        return {name: winner == self.classes.index(name) + 1 for name in names}

    def winner(self, box: Box | None = None) -> npt.NDArray[Any]:
        """The likeliest class in a box, 0 for background and i + 1 for class i: uint8, uint16 above 255 classes.

        What the classes leave to 1 counts as background, classes of the model that were not kept with it. Every class
        is read, one at a time.
        """
        shape = tuple(
            len(range(*part.indices(n))) for part, n in zip(box or (slice(None),) * 3, self.shape, strict=True)
        )
        winner = np.zeros(shape, dtype=np.uint16 if len(self.classes) > 255 else np.uint8)
        best, total = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint16)
        for index, name in enumerate(self.classes):
            values = self.probability(name, box)
            larger = values > best
            winner[larger] = index + 1
            best[larger] = values[larger]
            total += values
        winner[255 - np.minimum(total, 255) >= best] = 0  # the background is at least as likely
        return winner


def _file(number: int) -> str:
    return f"{number:03d}.b2nd"

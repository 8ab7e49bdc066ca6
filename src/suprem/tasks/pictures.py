"""Pictures of validation cases while a segmentation is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger

from suprem.labels import color
from suprem.tasks.segmentation import SegmentationTask
from suprem.tasks.validation import one_hot

__all__ = ["Pictures", "overlay"]

_OPACITY = 0.55
_GAP = 4  # columns between the two halves


class Pictures(Callback):
    """Writes the reference (left) and the prediction (right) of the first validation cases, at every validation.

    Each shows the axial slice with most of the reference, as radiologists see it: the patient's right on the left,
    the front on top. Files are ``FOLDER/CASE_epochNNNN.png``; Weights & Biases gets them too where it is the logger.

    Args:
        folder: Made when it is needed.
        cases: Number of cases of the first process.
    """

    def __init__(self, folder: str | Path, cases: int = 2) -> None:
        self.folder, self.cases = Path(folder), cases

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the case, if it is one of the first."""
        if batch_idx >= self.cases or not trainer.is_global_zero or trainer.sanity_checking:
            return
        if not isinstance(pl_module, SegmentationTask):
            raise TypeError(f"Pictures are of a SegmentationTask; this is a {type(pl_module).__name__}.")
        truth, found = batch["target"][0], outputs["mask"][0]
        truth = one_hot(truth, len(found)) if pl_module.exclusive else truth > 0
        if "annotated" in batch:
            truth = truth & batch["annotated"][0].view(-1, 1, 1, 1)
        level = int(truth.any(0).sum((0, 1)).argmax())
        image, truth, found = (tensor[..., level].cpu().numpy() for tensor in (batch["image"][0, 0], truth, found))
        picture = overlay(image, truth, found, pl_module.classes)
        name = str(batch["keys"][0]).replace("/", "_") if "keys" in batch else f"case{batch_idx}"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}_epoch{trainer.current_epoch:04d}.png"
        from matplotlib.image import imsave

        imsave(path, picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"pictures/{name}", [str(path)])


def overlay(
    image: npt.NDArray[Any], truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_], classes: tuple[str, ...]
) -> npt.NDArray[np.uint8]:
    """Two pictures side by side, uint8 (rows, columns, 3).

    Args:
        image: float (X, Y) in [0, 1], an axial slice in RAS.
        truth: bool (C, X, Y).
        found: bool (C, X, Y).
        classes: Names, for the colours.
    """
    grey = np.repeat(np.clip(np.nan_to_num(image), 0, 1)[..., None], 3, axis=2)
    halves = []
    for masks in (truth, found):
        half = grey.copy()
        for name, mask in zip(classes, masks, strict=True):
            half[mask] = (1 - _OPACITY) * grey[mask] + _OPACITY * np.array(color(name)) / 255
        halves.append(half.transpose(1, 0, 2)[::-1, ::-1])  # rows from the front, columns from the patient's right
    gap = np.ones((halves[0].shape[0], _GAP, 3))
    whole = np.concatenate((halves[0], gap, halves[1]), axis=1)
    return np.asarray(np.rint(255 * whole), dtype=np.uint8)

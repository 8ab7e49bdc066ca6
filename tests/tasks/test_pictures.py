"""Pictures of validation cases: their orientation, their colours, and where they go."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import WandbLogger
from torch.utils.data import DataLoader

from suprem.labels import color
from suprem.tasks.pictures import Pictures, overlay
from suprem.tasks.segmentation import SegmentationTask
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}
CLASSES = ("liver", "spleen")


def test_the_right_of_the_patient_is_on_the_left_and_the_front_on_top() -> None:
    image, truth, found = np.zeros((6, 8)), np.zeros((2, 6, 8), bool), np.zeros((2, 6, 8), bool)
    truth[0, 5, 7] = True  # RAS: the patient's right-hand end of x is index 0, so 5 is left, and 7 the front
    found[1, 0, 0] = True
    image[3, :] = 1
    picture = overlay(image, truth, found, CLASSES)
    assert picture.shape == (8, 6 + 4 + 6, 3)
    left, right = picture[:, :6], picture[:, 10:]
    expected = np.rint(0.55 * np.array(color("liver")))
    np.testing.assert_array_equal(left[0, 0], expected)
    np.testing.assert_array_equal(right[7, 5], np.rint(0.55 * np.array(color("spleen"))))
    assert (left[:, 2] == 255).all()
    assert (right[0, 0] == 0).all()


def _task(*, exclusive: bool = False) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask("segresnet_tiny", CLASSES, backbone_kwargs=SMALL, exclusive=exclusive)


def _validate(task: SegmentationTask, **options: object) -> None:
    image = torch.rand(1, 16, 16, 8)
    target = torch.cat([image > 0.7, image < 0.2])
    if task.exclusive:
        target = target[0].long()
    data = [{"image": image, "target": target, "keys": f"word/case_{number}"} for number in range(3)]
    trainer = Trainer(**{**QUIET, **options})
    trainer.validate(task, DataLoader(data, batch_size=1), verbose=False)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_first_cases_are_drawn(exclusive: bool, tmp_path: Path) -> None:
    _validate(_task(exclusive=exclusive), callbacks=[Pictures(tmp_path / "pictures", cases=2)])
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "word_case_0_epoch0000.png",
        "word_case_1_epoch0000.png",
    ]


def test_weights_and_biases_gets_them_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=str(tmp_path), offline=True)
    _validate(_task(), logger=logger, callbacks=[Pictures(tmp_path / "pictures", cases=1)])
    wandb.finish()
    (run,) = tmp_path.glob("wandb/offline-run-*")
    assert list(run.glob("files/media/images/pictures/word_case_0*.png"))
    assert (run / f"run-{logger.version}.wandb").stat().st_size > 0

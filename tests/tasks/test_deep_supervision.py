"""Losses on coarser levels: closed forms, gradients, and nothing of it in what is exported."""

from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from suprem.errors import ConfigurationError
from suprem.tasks.deep_supervision import coarser, level_weights
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.zoo import Preprocessing
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)}
CLASSES = ("liver", "spleen")


def _task(backbone: str = "segresnet_tiny", size: dict[str, Any] | None = None, **arguments: Any) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask(backbone, CLASSES, backbone_kwargs=size or SMALL, **arguments)


def _batch() -> dict[str, torch.Tensor]:
    image = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    return {"image": image, "target": torch.cat([image > 0.7, image < 0.2], dim=1)}


def test_weights_halve_and_add_up_to_one() -> None:
    assert level_weights(1) == (1.0,)
    assert level_weights(3) == pytest.approx((4 / 7, 2 / 7, 1 / 7))


def test_a_coarser_target_is_that_of_the_voxels_in_the_middle() -> None:
    target = torch.arange(8 * 4 * 4).reshape(1, 8, 4, 4)
    small = coarser(target, (4, 2, 1))
    assert small.shape == (1, 4, 2, 1)
    assert small[0, 0, 0, 0] == target[0, 1, 1, 2]
    assert torch.equal(coarser(target, target.shape[1:]), target)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_loss_is_the_weighted_sum_over_the_levels(exclusive: bool) -> None:
    task, batch = _task(deep_supervision=1, exclusive=exclusive), _batch()
    if exclusive:
        batch["target"] = batch["target"][:, 0].long() + 2 * batch["target"][:, 1].long()
    assert task.deep is not None
    kept: list[torch.Tensor] = []
    task.network.get_submodule("up_layers.0").register_forward_hook(lambda m, i, output: kept.append(output))
    logits = task.network(batch["image"])
    small = task.deep.heads[0](kept[0])
    assert small.shape[2:] == (8, 8, 8)
    expected = (2 * task.loss(logits, batch["target"]) + task.loss(small, batch["target"][..., 1::2, 1::2, 1::2])) / 3
    task.log = lambda *args, **options: None  # type: ignore[method-assign, assignment]
    torch.testing.assert_close(task.training_step(batch, 0), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_trains_the_additional_layers_and_exports_none(recompute: bool, tmp_path: Any) -> None:
    preprocessing = Preprocessing((2.0, 2.0, 2.0), (-175.0, 250.0), (16, 16, 16))
    settings = Optimisation(learning_rate=0.01, head_rate=3.0, warmup_steps=0)
    task = _task(
        deep_supervision=1, preprocessing=preprocessing, optimisation=settings, execution=Execution(recompute=recompute)
    )
    assert task.deep is not None
    before = task.deep.heads[0].weight.detach().clone()
    assert task.optimised()[-1]["lr"] == pytest.approx(0.03)
    trainer = Trainer(max_steps=1, limit_val_batches=0, **QUIET)
    trainer.fit(task, DataLoader([{name: value[0] for name, value in _batch().items()}] * 2, batch_size=2))
    assert not torch.equal(task.deep.heads[0].weight, before)
    from suprem import load_pretrained

    weights = load_pretrained(f"local-dir:{task.export(tmp_path / 'model', name='segresnet_tiny.deep')}").state_dict()
    assert not any("deep" in name for name in weights)


MIT = {
    "patch_size": (32, 32, 32),
    "depths": (1, 1, 1, 1),
    "decoder_depths": (1, 1, 1),
    "embed_dims": (8, 8, 16, 16),
    "stem_channels": 4,
}


def test_a_network_with_heads_for_its_levels_uses_those(tmp_path: Any) -> None:
    preprocessing = Preprocessing((2.0, 2.0, 2.0), (-175.0, 250.0), (32, 32, 32))
    settings = Optimisation(learning_rate=0.01, warmup_steps=0)
    task = _task("mit", MIT, deep_supervision=3, preprocessing=preprocessing, optimisation=settings)
    assert task.deep is not None
    assert task.deep.own == ("ds3_cls_conv", "ds2_cls_conv", "ds1_cls_conv")
    assert len(task.deep.heads) == 0
    idle = {"ds0_cls_conv.weight", "ds0_cls_conv.bias"}
    assert {name for name, p in task.network.named_parameters() if not p.requires_grad} == idle

    image = torch.rand(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = {"image": image, "target": torch.cat([image > 0.7, image < 0.2], dim=1)}
    task.log = lambda *args, **options: None  # type: ignore[method-assign, assignment]
    outputs = task.network.deep_outputs(image)[:4]
    targets = [coarser(batch["target"], level.shape[2:]) for level in outputs]
    assert [tuple(target.shape[2:]) for target in targets[1:]] == [(32, 16, 16), (16, 8, 8), (8, 4, 4)]
    losses = [task.loss(level, target) for level, target in zip(outputs, targets, strict=True)]
    expected = sum(weight * loss for weight, loss in zip(level_weights(4), losses, strict=True))
    torch.testing.assert_close(task.training_step(batch, 0), expected)  # type: ignore[arg-type]
    del task.log

    before = {name: value.detach().clone() for name, value in task.network.named_parameters()}
    trainer = Trainer(max_steps=1, limit_val_batches=0, **QUIET)
    trainer.fit(task, DataLoader([{name: value[0] for name, value in batch.items()}] * 2, batch_size=2))
    assert {name for name, value in task.network.named_parameters() if torch.equal(value, before[name])} == idle
    from suprem import load_pretrained

    network = load_pretrained(f"local-dir:{task.export(tmp_path / 'model', name='mit.deep')}")
    assert torch.equal(network.get_parameter("ds3_cls_conv.weight"), task.network.get_parameter("ds3_cls_conv.weight"))


def test_heads_of_levels_rest_without_deep_supervision() -> None:
    idle = {name for name, p in _task("mit", MIT).network.named_parameters() if not p.requires_grad}
    assert idle == {f"ds{level}_cls_conv.{kind}" for level in range(4) for kind in ("weight", "bias")}


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="has 1 levels"):
        _task(deep_supervision=2)
    with pytest.raises(ConfigurationError, match="leave one out"):
        _task(deep_supervision=1, execution=Execution(compile=True))

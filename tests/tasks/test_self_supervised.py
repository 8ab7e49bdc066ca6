"""The self-supervised task: its losses against definitions, what is trained, and that it goes on where it stopped."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError, TrainingError, UnknownNameError
from suprem.heads._self_supervised import SelfSupervisedNetwork
from suprem.tasks.distortions import Distortion, Masking
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation, parameter_groups
from suprem.tasks.segmentation import SegmentationTask
from suprem.tasks.self_supervised import SelfSupervisedTask
from suprem.zoo import Preprocessing
from tests.quiet import QUIET

TINY: dict[str, dict[str, Any]] = {
    "segresnet_tiny": {"blocks_down": (1, 1), "blocks_up": (1,)},
    "unet": {"base_channels": 4},
    "swinunetr": {"feature_size": 12, "depths": (1, 1, 1, 1), "window_size": 4},
}
TANG = ("inpainting", "rotation", "contrastive")
ALL = (*TANG, "restoration")


def _task(proxies: Any = ALL, backbone: str = "segresnet_tiny", **arguments: Any) -> SelfSupervisedTask:
    torch.manual_seed(0)
    return SelfSupervisedTask(backbone, proxies, backbone_kwargs=TINY[backbone], embedding=8, **arguments)


def _batch(count: int = 4, shape: tuple[int, int, int] = (16, 16, 16), seed: int = 0) -> dict[str, Any]:
    """A slope along x, which shows how a patch was turned, with one block per patch that tells it from the others."""
    rng = np.random.default_rng(seed)
    image = torch.linspace(0, 0.6, shape[0])[:, None, None].repeat(count, 1, 1, shape[1], shape[2])
    for number in range(count):
        x, y, z = (int(rng.integers(size // 2)) for size in shape)
        image[number, :, x : x + 5, y : y + 5, z : z + 5] = 0.7 + 0.3 * number / count
    return {"image": image, "seeds": [10 * seed + number for number in range(count)]}


class _Samples(torch.utils.data.Dataset[dict[str, Any]]):
    """A batch, sample by sample."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["seeds"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.batch["image"][index], "seeds": self.batch["seeds"][index]}


def _loader(batch: dict[str, Any], batch_size: int = 4) -> Any:
    return DataLoader(_Samples(batch), batch_size=batch_size)


class _Fixed(torch.nn.Module):
    """Predicts what it is told to."""

    on_encoder, on_decoder = True, True

    def __init__(self, **outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, views: Any, distorted: Any) -> dict[str, torch.Tensor]:
        return self.outputs


def _with_outputs(proxies: Any, batch: dict[str, Any], **outputs: torch.Tensor) -> dict[str, float]:
    task = _task(proxies)
    task.network = _Fixed(**outputs)  # type: ignore[assignment]
    return {name: float(loss) for name, loss in task.losses(batch).items()}  # type: ignore[arg-type]


def _info_nce(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """The definition, pair by pair: Chen et al., ICML 2020, equation 1."""
    every = np.concatenate((first, second))
    every = every / np.linalg.norm(every, axis=1, keepdims=True)
    count, terms = len(first), []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = sum(math.exp(float(every[i] @ every[k]) / temperature) for k in range(2 * count) if k != i)
        terms.append(-math.log(math.exp(float(every[i] @ every[partner]) / temperature) / others))
    return float(np.mean(terms))


@pytest.mark.parametrize("temperature", [0.02, 0.1, 0.5, 2.0])
def test_the_contrastive_loss_is_its_definition(temperature: float) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 5, 8))
    task = _task(("contrastive",), temperature=temperature)
    stacked = torch.from_numpy(np.concatenate((first, second))).float()
    task.network = _Fixed(contrastive=stacked)  # type: ignore[assignment]
    found = float(task.losses(_batch(5))["contrastive"])  # type: ignore[arg-type]
    assert found == pytest.approx(_info_nce(first, second, temperature), rel=1e-4)


def test_contrastive_losses_of_known_size() -> None:
    batch, count = _batch(4), 4
    same = torch.ones(2 * count, 8)
    chance = _with_outputs(("contrastive",), batch, contrastive=same)["contrastive"]
    assert chance == pytest.approx(math.log(2 * count - 1), rel=1e-5)  # nothing tells the views apart
    apart = torch.eye(count, 8).repeat(2, 1)  # equal within pairs, at right angles to all others
    known = -math.log(math.exp(2) / (math.exp(2) + 2 * count - 2))
    assert _with_outputs(("contrastive",), batch, contrastive=apart)["contrastive"] == pytest.approx(known, rel=1e-5)


def test_chance_and_perfection_of_the_other_losses() -> None:
    batch = _batch(4)
    guess = _with_outputs(("rotation",), batch, rotation=torch.zeros(4, 4))
    assert guess["rotation"] == pytest.approx(math.log(4), rel=1e-6)
    task = _task(("inpainting", "rotation", "restoration"), distortion=Distortion(flip=0.0))
    seen: dict[str, torch.Tensor] = {}

    class Answers(_Fixed):
        """Finds out how each view was turned, by comparing it with the patch, and answers without a mistake."""

        def forward(self, views: torch.Tensor, distorted: torch.Tensor) -> dict[str, torch.Tensor]:
            image, logits, turned = batch["image"], torch.full((len(views), 4), -30.0), []
            for number, view in enumerate(views):
                candidates = [torch.rot90(image[number], turns, (1, 2)) for turns in range(4)]
                closest = min(range(4), key=lambda turns: float((candidates[turns] != view).float().mean()))
                logits[number, closest] = 30.0
                turned.append(candidates[closest])
            seen["views"] = views
            return {"inpainting": torch.stack(turned), "rotation": logits, "restoration": image.logit()}

    task.network = Answers()  # type: ignore[assignment]
    losses = {name: float(loss) for name, loss in task.losses(batch).items()}  # type: ignore[arg-type]
    assert losses["inpainting"] == 0
    assert losses["rotation"] < 1e-6
    assert losses["restoration"] < 1e-12
    assert seen["views"].shape == batch["image"].shape


def test_the_sum_is_weighted() -> None:
    batch = _batch(4)
    task = _task(proxy_weights={"rotation": 3.0, "restoration": 0.5})
    parts = {name: float(loss) for name, loss in task.losses(batch).items()}  # type: ignore[arg-type]
    assert set(parts) == set(ALL)
    task.log = task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    total = float(task.training_step(batch, 0))  # type: ignore[arg-type]
    weights = {"inpainting": 1.0, "rotation": 3.0, "contrastive": 1.0, "restoration": 0.5}
    assert total == pytest.approx(sum(weights[name] * loss for name, loss in parts.items()), rel=1e-5)


def test_a_patch_is_treated_by_its_seed_whatever_its_batch() -> None:
    batch = _batch(4)
    task = _task(("inpainting", "rotation", "restoration")).eval()

    def of(places: list[int]) -> list[float]:
        part = {"image": batch["image"][places], "seeds": [batch["seeds"][place] for place in places]}
        return [float(loss) for loss in task.losses(part).values()]  # type: ignore[arg-type]

    alone = np.array([of([place]) for place in range(4)])
    np.testing.assert_allclose(of([0, 1, 2, 3]), alone.mean(0), rtol=1e-4)
    np.testing.assert_allclose(of([2, 0]), alone[[2, 0]].mean(0), rtol=1e-4)
    assert len(np.unique(alone[:, 2])) == 4


@pytest.mark.parametrize("backbone", TINY)
@pytest.mark.parametrize("proxies", [("inpainting",), ("rotation",), ("contrastive",), ("restoration",), ALL])
def test_what_a_proxy_trains(backbone: str, proxies: tuple[str, ...]) -> None:
    task = _task(proxies, backbone)
    side = 2 * task.network.backbone.divisor if backbone != "swinunetr" else 32
    batch = _batch(2, (side, side, 64 if backbone == "swinunetr" else side))
    torch.stack(list(task.losses(batch).values())).sum().backward()  # type: ignore[arg-type]
    with_gradient = {name for name, p in task.network.named_parameters() if p.grad is not None}
    trained = {name for name, p in task.network.named_parameters() if p.requires_grad}
    assert with_gradient == trained  # nothing that processes would wait for
    body = {name for name in trained if name.startswith("backbone.")}
    encoder = {name for name in body if name.startswith(task.network.encoder_stages)}
    assert encoder
    assert (body == encoder) == ("restoration" not in proxies)


@pytest.mark.parametrize(
    ("proxies", "backbone", "steps", "rate"),
    [
        (("restoration",), "unet", 30, 3e-3),
        (("rotation",), "segresnet_tiny", 50, 3e-3),
        (TANG, "unet", 60, 2e-3),
    ],
)
def test_losses_fall_when_a_few_patches_are_seen_again_and_again(
    proxies: tuple[str, ...], backbone: str, steps: int, rate: float
) -> None:
    batch = _batch(4)
    task = _task(proxies, backbone, optimisation=Optimisation(rate, warmup_steps=2))
    before = {name: float(loss) for name, loss in task.losses(batch).items()}  # type: ignore[arg-type]
    start = copy.deepcopy(task.network.state_dict())
    trainer = Trainer(max_steps=steps, max_epochs=-1, **QUIET)
    trainer.fit(task, _loader(batch), _loader(batch))
    after = {name: float(loss) for name, loss in task.losses(batch).items()}  # type: ignore[arg-type]
    for name, loss in before.items():
        assert after[name] < 0.75 * loss, name
    moved = {name for name, value in task.network.state_dict().items() if not torch.equal(value, start[name])}
    assert all(name.startswith(task.network.encoder_stages) for name in moved if name.startswith("backbone.")) == (
        "restoration" not in proxies
    )
    logged = trainer.callback_metrics
    assert float(logged["val/loss"]) == pytest.approx(sum(after.values()), rel=0.2)
    assert {f"val/{name}" for name in proxies} <= set(logged)
    if proxies == ("rotation",):
        assert float(logged["val/rotation_accuracy"]) == 1.0


class _Killed(Exception):
    pass


class _SaveAndDie(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise _Killed


def test_resumed_equals_straight_through(tmp_path: Path) -> None:
    from suprem.datamodules import UnlabelledDataModule
    from tests.phantom_store import phantom_store

    store = phantom_store(tmp_path / "store", range(4), (10.0, 10.0, 10.0))

    def run(*callbacks: Callback, resume: Path | None = None) -> dict[str, torch.Tensor]:
        data = UnlabelledDataModule(
            stores=str(store), patch_size=(16, 16, 16), samples_per_epoch=6, val_fraction=0.25, seed=4
        )
        task = _task(optimisation=Optimisation(1e-3, warmup_steps=1))
        trainer = Trainer(max_epochs=2, callbacks=list(callbacks), **QUIET)
        try:
            trainer.fit(task, data, ckpt_path=resume, weights_only=True if resume else None)
        except _Killed:
            assert resume is None
        return task.network.state_dict()

    straight, path = run(), tmp_path / "stopped.ckpt"
    again = run()
    stopped = run(_SaveAndDie(4, path))
    resumed = run(resume=path)
    assert any(not torch.equal(stopped[name], value) for name, value in straight.items())
    for name, value in straight.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("backbone", "proxies", "loaded", "initialised"),
    [
        ("unet", ("restoration",), 104, 2),
        ("unet", ALL, 104, 2),
        ("unet", TANG, 56, 50),  # four stages of two units with 7 tensors
        ("swinunetr", TANG, 70, 33),  # an embedding of 2, four times a block of 14 and a merging of 3
        ("segresnet_tiny", TANG, 14, 11),  # 1 convolution, two blocks of 6, 1 between them
        ("segresnet_tiny", ("restoration",), 23, 2),
    ],
)
def test_what_was_trained_starts_a_segmentation(
    backbone: str, proxies: tuple[str, ...], loaded: int, initialised: int, tmp_path: Path
) -> None:
    contract = Preprocessing((2.0, 2.0, 2.0), (-100.0, 200.0), (32, 32, 64))
    task = _task(proxies, backbone, preprocessing=contract)
    task.export(tmp_path / "model", name=f"{backbone}.own", notes="Of nothing.")
    kept = load_file(tmp_path / "model/model.safetensors")
    segmentation = SegmentationTask(None, ["liver", "spleen"], init=f"local-dir:{tmp_path / 'model'}")
    report = segmentation.network.load_report
    assert report is not None
    assert (len(report.loaded), len(report.initialised)) == (loaded, initialised)
    assert set(report.loaded) == set(kept)
    assert set(report.initialised) >= set(segmentation.network.head_keys)
    own = task.network.backbone.state_dict()
    state = segmentation.network.state_dict()
    assert all(torch.equal(state[name], own[name]) for name in kept)
    assert segmentation.preprocessing == contract
    assert segmentation.network.num_classes == 2


def test_it_goes_on_from_weights(tmp_path: Path) -> None:
    from suprem import load_pretrained

    task = SelfSupervisedTask(None, ["rotation"], init="segresnet_tiny.phantom")
    known, own = load_pretrained("segresnet_tiny.phantom"), task.network.backbone.state_dict()
    assert all(torch.equal(own[n], v) for n, v in known.state_dict().items() if n not in known.head_keys)
    assert task.network.backbone.num_classes == 1
    assert known.config is not None
    assert task.preprocessing == known.config.preprocessing
    task.export(tmp_path / "first", name="segresnet_tiny.first")
    again = SelfSupervisedTask("segresnet_tiny", ["restoration"], init=f"local-dir:{tmp_path / 'first'}")
    encoder = tuple(again.network.backbone.encoder_stages)
    second = again.network.backbone.state_dict()
    assert all(torch.equal(second[name], value) for name, value in own.items() if name.startswith(encoder))


def test_weights_with_and_without_an_output_layer_start_any_task(tmp_path: Path) -> None:
    from suprem.backbones import create_model
    from suprem.tasks.classification import ClassificationTask
    from suprem.zoo import ModelConfig, save_folder

    small = {"base_channels": 8}
    universal = create_model("unet", num_classes=2, head="universal", **small)
    universal.set_embedding(torch.randn(2, 512))
    universal.config = ModelConfig("unet.um", "unet", ("liver", "spleen"), "universal", backbone_kwargs=small)
    save_folder(universal, tmp_path / "universal")
    first = SelfSupervisedTask(None, ["rotation"], init=f"local-dir:{tmp_path / 'universal'}")
    first.export(tmp_path / "encoder", name="unet.encoder")
    weights = tmp_path / "encoder/model.safetensors"
    second = SelfSupervisedTask("unet", ["rotation"], init=f"local-file:{weights}", backbone_kwargs=small)
    third = ClassificationTask(None, ["cyst", "tumour"], init=f"local-dir:{tmp_path / 'encoder'}")
    expected = {name: value for name, value in universal.state_dict().items() if name.startswith("backbone.down_tr")}
    assert len(expected) == 56
    for task in (first, second, third):
        state = task.network.state_dict()
        assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_rates_follow_the_layers() -> None:
    task = _task(("restoration", "rotation"))
    groups = parameter_groups(task.network, Optimisation(learning_rate=1.0, head_rate=5.0, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in task.network.named_parameters()}
    assert named["rotation.0.weight"] == named["backbone.conv_final.2.conv.weight"] == 5.0
    assert named["backbone.convInit.conv.weight"] == 0.125
    assert named["backbone.up_layers.0.0.conv1.conv.weight"] == 1.0


@pytest.mark.parametrize("execution", [Execution(recompute=True), Execution(channels_last=True)], ids=str)
def test_execution_changes_no_gradient(execution: Execution) -> None:
    gradients = []
    for how in (Execution(), execution):
        task = _task(execution=how)
        torch.stack(list(task.losses(_batch(2)).values())).sum().backward()  # type: ignore[arg-type]
        gradients.append({name: p.grad for name, p in task.network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=2e-3, atol=1e-5)


class _WithoutEncoder(SegmentationNetwork):
    head_path = "out"
    encoder_stages = ("body.",)
    in_channels = divisor = decoder_channels = bottleneck_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = torch.nn.Conv3d(1, 1, 1), torch.nn.Conv3d(1, 3, 1)


def test_a_backbone_without_what_a_proxy_needs() -> None:
    with pytest.raises(ConfigurationError, match="_WithoutEncoder cannot run its encoder alone, as rotation needs"):
        SelfSupervisedNetwork(_WithoutEncoder(), ["rotation", "restoration"])
    assert SelfSupervisedNetwork(_WithoutEncoder(), ["restoration"]).backbone.num_classes == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"proxies": []}, "choose at least one"),
        ({"proxies": ["rotation", "rotation"]}, "none twice"),
        ({"proxy_weights": {"rotation": 0.0}}, "weight of rotation is 0.0"),
        ({"temperature": 0.01}, "temperature is 0.01"),
        ({"backbone": None}, "Neither backbone nor init"),
        ({"init": "segresnet_tiny.phantom", "backbone": "unet"}, "is a 'segresnet_tiny', not a 'unet'"),
        ({"init": "segresnet_tiny.phantom", "backbone_kwargs": {"init_filters": 8}}, "backbone_kwargs cannot be"),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        SelfSupervisedTask(**{"backbone": "segresnet_tiny", **arguments})


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rotation'"):
        _task(["rotations"])
    with pytest.raises(UnknownNameError, match="'contrastive'"):
        _task(["rotation"], proxy_weights={"contrastive": 1.0})


def test_batches_that_cannot_be() -> None:
    task = _task()
    with pytest.raises(ConfigurationError, match="raise batch_size"):
        task.losses(_batch(1))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"\(16, 8, 16\) voxels cannot be turned"):
        task.losses(_batch(2, (16, 8, 16)))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="2 patches and 1 seeds"):
        task.losses({**_batch(2), "seeds": [1]})  # type: ignore[arg-type,typeddict-item]
    with pytest.raises(ConfigurationError, match="no preprocessing"):
        task.export("nowhere", name="a.b")
    batch = _batch(2)
    with pytest.raises(TrainingError, match="became nan"):
        task.training_step({**batch, "image": batch["image"] * torch.nan}, 0)  # type: ignore[arg-type,typeddict-item]
    oblong = _task(("inpainting", "contrastive", "restoration"), masking=Masking(0.5))
    assert len(oblong.losses(_batch(2, (16, 8, 16)))) == 3  # type: ignore[arg-type]

"""The classification task: what is trained, what is pooled, and what is measured."""

import copy
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch.utils.data import DataLoader

from suprem.errors import ConfigurationError, TrainingError, UnknownNameError
from suprem.heads._classification import ClassificationNetwork
from suprem.tasks.classification import ClassificationTask
from suprem.tasks.optimisation import Optimisation, parameter_groups
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}
CATEGORIES = ("cyst", "tumour")


def _task(**arguments: Any) -> ClassificationTask:
    torch.manual_seed(0)
    return ClassificationTask("segresnet_tiny", CATEGORIES, backbone_kwargs=SMALL, **arguments)


def _samples(count: int) -> list[dict[str, Any]]:
    """Noise around a bright or dark block; the block says which category it is."""
    generator = torch.Generator().manual_seed(2)
    samples = []
    for number in range(count):
        image = 0.5 + 0.05 * torch.randn(1, 16, 16, 16, generator=generator)
        region = torch.zeros(1, 16, 16, 16, dtype=torch.bool)
        region[:, 4:8, 4:8, 4:8] = True
        image[region] += 0.3 if number % 2 else -0.3
        samples.append({"image": image, "region": region, "category": torch.tensor(number % 2)})
    return samples


@pytest.mark.parametrize("trained", ["full", "frozen_encoder", "linear_probe"])
def test_it_learns_and_only_what_shall_be_trained_moves(trained: Any) -> None:
    settings = Optimisation(learning_rate=0.01, head_rate=5.0, warmup_steps=2)
    task = _task(trained=trained, optimisation=settings)
    before = copy.deepcopy(task.network.state_dict())
    data = _samples(8)
    trainer = Trainer(max_epochs=8, **QUIET)
    trainer.fit(task, DataLoader(data, batch_size=4), DataLoader(data, batch_size=4))
    moved = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    stages = tuple(task.network.encoder_stages)
    assert {"output.weight", "output.bias"} <= moved
    assert any(name.startswith(stages) for name in moved) == (trained == "full")
    assert any(name.startswith("backbone.") for name in moved) == (trained != "linear_probe")
    assert float(trainer.callback_metrics["val/auroc"]) == 1.0


def test_metrics_are_those_of_an_independent_library() -> None:
    task, data = _task(), _samples(9)
    generator = torch.Generator().manual_seed(5)
    for sample in data:
        sample["category"] = torch.randint(2, (), generator=generator)
    logged = Trainer(**QUIET).validate(task, DataLoader(data, batch_size=2), verbose=False)[0]
    batch = next(iter(DataLoader(data, batch_size=9)))
    with torch.no_grad():
        shares = task.eval()(batch["image"], batch["region"]).softmax(1)
    truth = batch["category"].numpy()
    assert logged["val/auroc"] == pytest.approx(roc_auc_score(truth, shares[:, 1].numpy()), abs=1e-6)
    assert logged["val/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, shares.argmax(1).numpy()))


def test_features_are_pooled_over_the_region_or_over_all() -> None:
    network = _task().network.eval()
    assert isinstance(network, ClassificationNetwork)
    image = torch.rand(2, 1, 16, 16, 16)
    region = torch.zeros(2, 1, 16, 16, 16, dtype=torch.bool)
    region[0, :, :4, :4, :4] = True
    with torch.no_grad():
        pooled, whole = network.pool(image, region), network.pool(image)
        decoder = network.backbone.forward_features(image).decoder
    width = decoder.shape[1]
    torch.testing.assert_close(pooled[0, -width:], decoder[0, :, :4, :4, :4].mean((1, 2, 3)))
    torch.testing.assert_close(pooled[1], whole[1])  # an empty region is no region
    torch.testing.assert_close(pooled[:, :-width], whole[:, :-width])


def test_rates_follow_the_layers() -> None:
    network = _task().network
    groups = parameter_groups(network, Optimisation(learning_rate=1.0, head_rate=5.0, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in network.named_parameters()}
    assert named["output.weight"] == 5.0
    assert named["backbone.convInit.conv.weight"] == 0.125  # three stages away from the decoder
    assert named["backbone.up_layers.0.0.conv1.conv.weight"] == 1.0


def test_weights_enter_the_loss() -> None:
    task = _task(class_weights={"tumour": 3.0})
    logits, category = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    parts = torch.nn.functional.cross_entropy(logits, category, reduction="none")
    assert float(task.loss(logits, category)) == pytest.approx(float((parts[0] + 3 * parts[1]) / 4))


def test_it_starts_from_pretrained_weights() -> None:
    from suprem import load_pretrained

    task = ClassificationTask(None, CATEGORIES, init="segresnet_tiny.phantom")
    known = load_pretrained("segresnet_tiny.phantom").state_dict()
    own = task.network.state_dict()
    shared = [name for name in known if f"backbone.{name}" in own]
    assert len(shared) == len(known) - 2  # all but the output layer
    assert all(torch.equal(own[f"backbone.{name}"], known[name]) for name in shared)
    assert task.preprocessing is not None


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="at least two"):
        ClassificationTask("segresnet_tiny", ["cyst"])
    with pytest.raises(ConfigurationError, match="an architecture, or weights"):
        ClassificationTask(None, CATEGORIES)
    with pytest.raises(UnknownNameError, match="tumour"):
        _task(class_weights={"tumor": 2.0})
    with pytest.raises(UnknownNameError, match="linear_probe"):
        _task(trained="linear")
    task = _task()
    sample = next(iter(DataLoader(_samples(1))))
    with pytest.raises(TrainingError, match="became nan"):
        task.training_step({**sample, "image": sample["image"] * torch.nan}, 0)

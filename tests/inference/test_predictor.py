"""The engine against MONAI's own pipeline on the same grid, and what the levels of quality and options promise."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, Orientation, ScaleIntensityRange, Spacing

from suprem.backbones import create_model
from suprem.errors import CheckpointError, ConfigurationError, UnknownNameError
from suprem.inference import Predictor
from suprem.inference.body import find_body
from suprem.inference.grid import ModelGrid
from suprem.inference.levels import LEVELS
from suprem.inference.on_device import BodyLookup
from suprem.labels import mirrored
from suprem.volumes import Volume
from suprem.volumes.geometry import Reorientation
from suprem.zoo.config import ModelConfig, Preprocessing

PATCH = (16, 24, 16)
NAMES = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta"),
    *("postcava", "pancreas", "lung_right", "lung_left"),
)
TIE = 1e-3  # of a logit; resampling alone differs by 1e-5 of the input


def network_of(count, activation="sigmoid", head="conv", spacing=(2.0, 2.0, 2.0), patch=PATCH, seed=0):
    """Two resolutions, 8 decoder channels (16 with the universal head), classes spread over both signs."""
    torch.manual_seed(seed)
    options = {"init_filters": 8 if head == "conv" else 16, "blocks_down": (1, 1), "blocks_up": (1,)}
    network = create_model("segresnet_tiny", num_classes=count + (activation == "softmax"), head=head, **options)
    if head == "universal":
        network.set_embedding(3 * torch.randn(count, 512))
    network.config = ModelConfig(
        *("test", "segresnet_tiny", NAMES[:count]),
        **{"head": head, "activation": activation, "backbone_kwargs": options},
        preprocessing=Preprocessing(spacing, patch_size=patch),
    )
    return network.eval()


def noise(shape, spacing, seed=1):
    array = np.random.default_rng(seed).normal(40, 150, shape).astype(np.int16)
    return Volume(array, np.diag([*spacing, 1.0]), "noise")


@torch.inference_mode()
def monai_logits(network, scan, overlap):
    """Logits (K, X, Y, Z) on the model grid by MONAI's transforms and sliding window."""
    contract = network.config.preprocessing
    prepare = Compose(
        [
            Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacing(pixdim=contract.spacing_mm, mode="bilinear", padding_mode="border"),
            ScaleIntensityRange(*contract.hu_window, 0.0, 1.0, clip=True),
        ]
    )
    image = MetaTensor(torch.from_numpy(scan.array.astype(np.float32))[None], affine=torch.from_numpy(scan.affine))
    image = prepare(image).as_tensor().float()[None]
    return sliding_window_inference(image, contract.patch_size, 1, network, overlap, "gaussian")[0].numpy()


def reference(network, logits):
    """Masks of every class, and where they are beyond doubt: (K, X, Y, Z) each."""
    if network.config.activation == "sigmoid":
        return torch.from_numpy(logits).sigmoid().numpy() > 0.5, np.abs(logits) > TIE
    winner = torch.from_numpy(logits).softmax(0).argmax(0).numpy()
    masks = np.stack([winner == i + 1 for i in range(len(network.config.classes))])
    top = np.sort(logits, axis=0)
    return masks, np.broadcast_to(top[-1] - top[-2] > TIE, masks.shape)


def masks_of(segmentation):
    return np.stack([segmentation.grid_mask(name) for name in segmentation.classes])


def predict(network, scan, **options):
    options.setdefault("max_ram", None)
    return Predictor(network, device="cpu", **options).predict(scan)


@pytest.mark.parametrize(
    ("shape", "overlap"), [((34, 30, 41), 0.25), ((34, 30, 31), 0.5), ((17, 44, 9), 0.7), ((9, 12, 7), 0.5)]
)
@pytest.mark.parametrize(
    ("count", "activation", "head", "blends"),
    [
        (3, "sigmoid", "conv", "logits"),
        (12, "sigmoid", "conv", "features"),
        (3, "softmax", "conv", "logits"),
        (12, "softmax", "conv", "features"),
        (12, "sigmoid", "universal", "logits"),
    ],
)
def test_the_exhaustive_level_equals_monai(shape, overlap, count, activation, head, blends):
    network, scan = network_of(count, activation, head), noise(shape, (1.6, 1.9, 2.7))
    logits = monai_logits(network, scan, overlap)
    expected, clear = reference(network, logits)
    segmentation = predict(network, scan, quality="exhaustive", overlap=overlap, window_batch=2)
    found = masks_of(segmentation)
    assert segmentation.info["plan"]["blends"] == blends
    assert segmentation.info["windows"]["skipped"] == 0
    np.testing.assert_array_equal(found[clear], expected[clear])
    # What the comparison rests on: few ties, and both answers occur.
    assert clear.mean() > 0.98
    assert 0.02 < expected.mean() < 0.98


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_window_batch_changes_nothing(activation):
    network, scan = network_of(12, activation), noise((40, 33, 50), (2.0, 2.0, 2.0))
    one, *others = (masks_of(predict(network, scan, window_batch=n)) for n in (1, 2, 5))
    for other in others:
        assert np.mean(one != other) < 1e-4


def patient(seed=0):
    """An off-centre column of noisy tissue in a wide field of air."""
    x, y = np.mgrid[:70, :60]
    inside = ((x - 22) / 14) ** 2 + ((y - 25) / 16) ** 2 < 1
    array = np.random.default_rng(seed).normal(0, 120, (70, 60, 40))
    array[~inside] = -1000
    return Volume(array.astype(np.int16), np.diag([4.0, 4.0, 4.0, 1.0]), "patient"), inside


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("count", [3, 12])
@pytest.mark.parametrize("quality", ["fast", "balanced"])
def test_windows_lie_over_the_body_and_nothing_is_labelled_outside(activation, count, quality):
    network = network_of(count, activation, spacing=(4.0, 4.0, 4.0))
    scan, inside = patient()
    some = predict(network, scan, quality=quality)
    full = predict(network, scan, quality="exhaustive")
    found = find_body(scan, ModelGrid.of(scan, (4.0, 4.0, 4.0)))
    body = BodyLookup(found, torch.device("cpu")).region((slice(None), slice(None), slice(None))).numpy()
    assert body[inside].all()
    assert 0.1 < body.mean() < 0.6
    assert not masks_of(some)[:, ~body].any()
    assert masks_of(full)[:, ~body].any()
    assert masks_of(some)[:, body].any()
    work = [one.info["windows"]["run"] * np.prod(one.info["windows"]["size"]) for one in (some, full)]
    assert work[0] < 0.5 * work[1]
    assert full.info["windows"]["size"] == list(PATCH)


def test_the_levels_blend_what_monai_would_blend_of_the_same_windows():
    """One window over everything is one forward pass, whatever the level."""
    network = network_of(3, patch=(32, 32, 32))
    scan = noise((32, 32, 32), (2.0, 2.0, 2.0))
    expected = (monai_logits(network, scan, 0.5) > 0) & (np.abs(monai_logits(network, scan, 0.5)) > TIE)
    for quality in LEVELS:
        segmentation = predict(network, scan, quality=quality)
        assert segmentation.info["windows"]["run"] == 1
        assert masks_of(segmentation)[expected].all()
    assert expected.any()


def test_less_memory_gives_smaller_windows_before_it_gives_half_precision():
    network, scan = network_of(3, patch=(16, 16, 16)), noise((16, 16, 20), (2.0, 2.0, 2.0))
    predictor = Predictor(network, device="cpu", max_ram=None, window_batch=1, quality="fast")
    predictor._window_bytes = 2**30  # as if the network were large
    wide = predictor.plan(scan)
    assert wide.patch_size == (16, 16, 20)
    assert wide.windows == 1
    predictor._max_ram = wide.peak_bytes - 2**27
    narrow = predictor.plan(scan)
    assert narrow.patch_size == (16, 16, 16)
    assert narrow.windows == 2
    assert narrow.peak_bytes <= predictor._max_ram
    assert narrow.dtype == "float32"


def test_memory_is_estimated_by_an_eighth_of_a_window_and_measured_where_that_is_too_much():
    network, scan = network_of(3, patch=(16, 16, 16)), noise((30, 30, 30), (2.0, 2.0, 2.0))
    sizes = []
    forward_features = network.forward_features
    network.forward_features = lambda images: (sizes.append(tuple(images.shape[2:])), forward_features(images))[1]
    Predictor(network, device="cpu", max_ram=None).plan(scan)
    assert sizes == [(8, 8, 8)]
    sizes.clear()
    with pytest.raises(ConfigurationError, match="at least"):
        Predictor(network, device="cpu", max_ram="16MiB").plan(scan)
    assert sizes == [(8, 8, 8), (16, 16, 16)]


def test_without_a_body_the_whole_volume_is_run():
    network = network_of(3)
    scan = Volume(
        np.random.default_rng(0).integers(-1020, -980, (30, 30, 30)).astype(np.int16), np.diag([2, 2, 2, 1.0])
    )
    segmentation = predict(network, scan)
    assert segmentation.info["windows"]["skipped"] == 0
    assert "none found" in segmentation.info["body"]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_asking_for_some_classes_gives_their_masks_alone(activation):
    network, scan = network_of(12, activation), noise((30, 30, 30), (2.0, 2.0, 2.0))
    everything = predict(network, scan)
    # Any accepted spelling, in the order asked for, once each.
    first, *_, last = (name for name in everything.classes if everything.grid_mask(name).any())
    some = predict(network, scan, classes=[last.upper().replace("_", " "), first, first.title()])
    assert some.classes == (last, first)
    for name in some.classes:
        assert np.mean(some.grid_mask(name) != everything.grid_mask(name)) < 1e-4
    if activation == "sigmoid":
        assert some.info["plan"]["channels"] == 2


def test_half_precision_accumulators_agree_but_for_near_ties(monkeypatch):
    from suprem.inference import memory

    network, scan = network_of(12), noise((40, 33, 50), (2.0, 2.0, 2.0))
    logits = monai_logits(network, scan, 0.5)
    predictor = Predictor(network, device="cpu", max_ram=None, quality="exhaustive")
    plan = memory._plan
    monkeypatch.setattr(memory, "_plan", lambda demand, dtype, *rest: plan(demand, "float16", *rest))
    segmentation = predictor.predict(scan)
    assert segmentation.info["plan"]["dtype"] == "float16"
    clear = np.abs(logits) > 2e-2 * np.abs(logits).max()
    np.testing.assert_array_equal(masks_of(segmentation)[clear], (logits > 0)[clear])
    assert clear.mean() > 0.8


def mirror_image(scan):
    return Volume(np.ascontiguousarray(scan.array[::-1]), scan.affine, "mirrored")


@pytest.mark.parametrize(
    ("activation", "count", "width"), [("sigmoid", 4, 37), ("sigmoid", 12, 11), ("softmax", 12, 37), ("softmax", 4, 40)]
)
def test_flip_tta_of_the_mirrored_patient_has_the_sides_swapped(activation, count, width):
    network = network_of(count, activation)
    network.config = ModelConfig(
        *("test", "segresnet_tiny", NAMES[1:3] + NAMES[5:6] + NAMES[:1] if count == 4 else NAMES),
        **{"activation": activation, "backbone_kwargs": network.config.backbone_kwargs},
        preprocessing=network.config.preprocessing,
    )
    scan = noise((width, 30, 30), (2.0, 2.0, 2.0))
    here = predict(network, scan, flip_tta=True, quality="exhaustive")
    there = predict(network, mirror_image(scan), flip_tta=True, quality="exhaustive")
    plain = predict(network, scan, quality="exhaustive")
    for name in here.classes:
        a, b = here.grid_mask(name), there.grid_mask(mirrored(name))[::-1]
        assert np.mean(a != b) < 1e-3, name
    assert any((here.grid_mask(name) != plain.grid_mask(name)).any() for name in here.classes)
    assert here.info["windows"]["run"] == 2 * plain.info["windows"]["run"]
    assert here.info["plan"]["blends"] == "logits"


def test_flip_tta_is_the_mean_of_both_predictions():
    """Where the windows lie symmetrically, against MONAI on the scan and on its mirror image."""
    network = network_of(4)
    scan = noise((16 + 3 * 8, 24 + 12, 16 + 8), (2.0, 2.0, 2.0))
    other = monai_logits(network, mirror_image(scan), 0.5)[:, ::-1]
    swapped = other[[0, 2, 1, 3]]  # spleen, right kidney, left kidney, gall bladder
    mean = (monai_logits(network, scan, 0.5) + swapped) / 2
    found = masks_of(predict(network, scan, flip_tta=True, quality="exhaustive"))
    clear = np.abs(mean) > TIE
    np.testing.assert_array_equal(found[clear], (mean > 0)[clear])


def test_flip_tta_of_one_side_alone_takes_the_other_from_the_network():
    network, scan = network_of(4), noise((40, 30, 30), (2.0, 2.0, 2.0))
    all_classes = predict(network, scan, flip_tta=True)
    one = predict(network, scan, flip_tta=True, classes=["kidney_left"])
    assert np.mean(one.grid_mask("kidney_left") != all_classes.grid_mask("kidney_left")) < 1e-4


def test_flip_tta_needs_both_sides():
    with pytest.raises(ConfigurationError, match="'kidney_right' without 'kidney_left'"):
        Predictor(network_of(2), device="cpu", flip_tta=True)


def test_mixed_precision_runs_and_is_close():
    network, scan = network_of(3), noise((30, 30, 30), (2.0, 2.0, 2.0))
    exact, mixed = (masks_of(predict(network, scan, precision=p)) for p in ("float32", "bfloat16"))
    assert 0 < np.mean(exact != mixed) < 0.03


@pytest.mark.parametrize(
    ("axes", "flips"), [((0, 1, 2), (1, 1, 0)), ((2, 1, 0), (0, 1, 0)), ((1, 2, 0), (1, 0, 1)), ((2, 0, 1), (0, 0, 0))]
)
def test_a_scan_stored_in_another_orientation_gets_the_same_masks(axes, flips):
    network, scan = network_of(12), noise((30, 26, 35), (1.3, 1.7, 2.9))
    step = Reorientation(axes, tuple(map(bool, flips)))
    affine = scan.affine.copy()
    for out, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        column = scan.affine[:3, axis]
        affine[:3, out] = -column if flip else column
        affine[:3, 3] += column * (scan.shape[axis] - 1) if flip else 0
    turned = Volume(np.ascontiguousarray(step.apply(scan.array)), affine, "turned")
    here, there = predict(network, scan), predict(network, turned)
    for name in here.classes:
        assert there.mask(name).shape == turned.shape
        np.testing.assert_array_equal(step.invert(there.mask(name)), here.mask(name))
    assert any(here.mask(name).any() for name in here.classes)


def test_info_holds_what_a_manifest_needs():
    network, (scan, _) = network_of(3, spacing=(4.0, 4.0, 4.0)), patient()
    progress, plans = [], []
    predictor = Predictor(network, device="cpu", postprocess="largest", window_batch=1)
    segmentation = predictor.predict(scan, lambda done, total: progress.append((done, total)), planned=plans.append)
    info = json.loads(json.dumps(segmentation.info))
    assert {"body", "plan", "input", "network", "blend", "label", "postprocess", "total"} <= set(info["seconds"])
    assert sum(v for k, v in info["seconds"].items() if k != "total") <= info["seconds"]["total"] * 1.05
    assert info["plan"]["expected_bytes"] == plans[0].peak_bytes == sum(info["plan"]["bytes_by_purpose"].values())
    assert info["model"] == "test"
    assert (info["quality"], info["overlap"]) == ("balanced", LEVELS["balanced"].overlap)
    assert info["windows"]["size"] == list(plans[0].patch_size)
    assert [rule["rule"] for rule in info["postprocess"]["rules"]] == ["KeepLargest"] * 3
    total = info["windows"]["run"]
    assert progress == [(i + 1, total) for i in range(total)]


def test_windows_in_company_give_the_same_as_alone():
    network, scan = network_of(3, spacing=(4.0, 4.0, 4.0)), patient()[0]
    alone = Predictor(network, device="cpu", max_ram=None)
    assert alone.plan(scan).window_batch == 1
    pairs = Predictor(network, device="cpu", max_ram=None, window_batch=2)
    assert pairs.plan(scan).window_batch == 2
    seen = []
    forward_features = network.forward_features
    network.forward_features = lambda images: (seen.append(len(images)), forward_features(images))[1]
    one, other = alone.predict(scan), pairs.predict(scan)
    assert set(seen) == {1, 2}
    assert any(one.grid_mask(name).any() for name in one.classes)
    assert all((one.grid_mask(name) != other.grid_mask(name)).mean() < 1e-4 for name in one.classes)


def test_max_ram_that_cannot_be_held_names_what_works_and_that_works():
    network, scan = network_of(12), noise((60, 60, 60), (2.0, 2.0, 2.0))
    with pytest.raises(ConfigurationError, match="at least") as caught:
        predict(network, scan, max_ram="16MiB")
    needed = re.search(r"'([\d.]+)GiB'", str(caught.value))
    assert needed is not None
    limit = f"{float(needed[1]) + 0.05:.2f}GiB"  # the process may have grown by the message itself
    segmentation = predict(network, scan, max_ram=limit)
    assert segmentation.info["plan"]["expected_bytes"] <= segmentation.info["plan"]["limit_bytes"]


def test_a_network_that_returns_nan_is_refused():
    network = network_of(3)
    with torch.no_grad():
        network.get_parameter(f"{network.head_path}.bias")[1] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        predict(network, noise((20, 20, 20), (2.0, 2.0, 2.0)))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"quality": "best"}, ConfigurationError, "'fast', 'balanced', 'exhaustive'"),
        ({"precision": "int8"}, ConfigurationError, "'float32' or 'bfloat16'"),
        ({"overlap": 1.0}, ConfigurationError, "overlap is 1.0"),
        ({"window_batch": 0}, ConfigurationError, "window_batch is 0"),
        ({"postprocess": "suprm"}, UnknownNameError, "'suprem'"),
        ({"classes": ["splen"]}, UnknownNameError, "'spleen'"),
        ({"classes": ["colon"]}, UnknownNameError, "class of test"),
        ({"classes": []}, ConfigurationError, "list of names"),
        ({"classes": "spleen"}, ConfigurationError, "list of names"),
        ({"max_ram": "lots"}, ConfigurationError, "not a size"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_anything_runs(options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        Predictor(network_of(3), device="cpu", **options)


def test_networks_without_a_usable_contract_are_refused():
    bare = network_of(3)
    bare.config = None
    with pytest.raises(ConfigurationError, match="no config"):
        Predictor(bare, device="cpu")
    odd = network_of(3, patch=(15, 16, 16))
    with pytest.raises(ConfigurationError, match="multiple of 2"):
        Predictor(odd, device="cpu")
    wrong = network_of(3)
    wrong.config = ModelConfig("wrong", "segresnet_tiny", NAMES[:4])
    with pytest.raises(ConfigurationError, match="3 output channels, but its config describes 4"):
        Predictor(wrong, device="cpu")


def test_prediction_imports_neither_lightning_nor_wandb():
    code = (
        "import sys, numpy as np\n"
        "from suprem.backbones import create_model\n"
        "from suprem.inference import segment\n"
        "from suprem.volumes import Volume\n"
        "from suprem.zoo.config import ModelConfig, Preprocessing\n"
        "net = create_model('unet', num_classes=1, base_channels=2)\n"
        "contract = Preprocessing(None, patch_size=(16, 16, 16))\n"
        "net.config = ModelConfig('t', 'unet', ('liver',), preprocessing=contract)\n"
        "segment(Volume(np.zeros((9, 9, 9), np.int16), np.eye(4)), net, device='cpu').mask('liver')\n"
        "bad = {'wandb', 'pytorch_lightning', 'lightning', 'monai', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(bad))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

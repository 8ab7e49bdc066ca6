"""Every foreign layout of a checkpoint, built from names and shapes alone, and what loading it has to do.

    python -m tests.zoo.layouts    # loads each of them and writes docs/reference/conversion-coverage.csv

The counts are those of the published files, see ``docs/explanation/what-the-published-weights-need.md``.
"""

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from suprem.errors import SupremError
from suprem.zoo import card, load_pretrained
from suprem.zoo._recognise import blueprint
from tests.zoo.standins import published, unimiss

TABLE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conversion-coverage.csv"
Tensors = dict[str, torch.Tensor]
FRESH = {"classes": ["vertebrae_L1", "vertebrae_L2"], "source_classes": []}
"""Fine-tuning on structures that no file knows, with a new convolution as output."""


@dataclass(frozen=True)
class Layout:
    """One layout and one way to load it.

    Attributes:
        name: what the file is.
        build: its content.
        use: what it is loaded for.
        options: of ``load_pretrained``.
    """

    name: str
    build: Callable[[], Mapping[str, Any]]
    use: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What loading did; the columns of the table."""

    layout: str
    use: str
    tensors: int
    recognised: str
    loaded: int
    dropped: int
    initialised: int


def zeros(backbone: str, classes: int, head: str = "conv", **kwargs: Any) -> Tensors:
    """The tensors of a network, without the time that random values take."""
    state = blueprint(backbone, classes, head, 1, kwargs).state_dict()
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}


def flat(state: Tensors) -> Tensors:
    """Without the level ``backbone.``, as older files have it."""
    return {key.removeprefix("backbone."): value for key, value in state.items()}


def body(state: Tensors, head: str) -> Tensors:
    """Without the output convolution."""
    return {key: value for key, value in state.items() if not key.startswith(head)}


def valanarasu() -> Tensors:
    """The 50,000-volume file: the encoder under another name and with a level more."""
    state = {}
    for key, value in zeros("swinunetr", 14).items():
        name = key.replace("swinViT.", "encoder.", 1) if key.startswith("swinViT.") else key
        for stage in range(1, 5):
            name = name.replace(f"encoder.layers{stage}.0.", f"encoder.layers{stage}.0.0.")
        state[name] = value
    state |= {f"encoder.norm.{kind}": torch.zeros(768) for kind in ("weight", "bias")}
    return {**state, "encoder.mask_token": torch.zeros(1, 1, 48)}


def swin_encoder() -> Tensors:
    """The self-supervised encoder alone, with the old names of its MLPs."""
    state = {key: value for key, value in zeros("swinunetr", 1).items() if key.startswith("swinViT.")}
    return {k.removeprefix("swinViT.").replace("mlp.linear", "mlp.fc"): v for k, v in state.items()}


def unimiss_student(form: str) -> Tensors:
    """Both modalities of the student, with as many tensors of slices and pretext tasks as the published file."""
    state, counts = unimiss(form), card(f"mit.unimiss_{form}_5022").file.tensors
    lacking = (counts.in_file or 0) - len(state) if counts else 0
    return {**state, **{f"backbone.transformer.other2D_{n}.weight": torch.zeros(1) for n in range(lacking)}}


def layouts() -> Iterator[Layout]:
    """All of them."""
    for backbone, title in (("unet", "U-Net"), ("swinunetr", "Swin UNETR")):

        def whole(backbone: str = backbone) -> Tensors:
            return zeros(backbone, 32, "universal")

        yield Layout(f"SuPreM {title}", lambda w=whole: published(w()), "as it is", {})
        yield Layout(f"SuPreM {title}", lambda w=whole: published(w()), "new classes", {"head": "conv", **FRESH})
        yield Layout(f"Universal Model {title}", lambda w=whole: published(w(), "state_dict"), "as it is", {})
        yield Layout(f"Universal Model {title}, flat", lambda w=whole: published(flat(w())), "as it is", {})
    yield Layout("SuPreM SegResNet", lambda: published(zeros("segresnet", 32)), "as it is", {})
    yield Layout("SuPreM SegResNet", lambda: published(zeros("segresnet", 32)), "new classes", FRESH)
    yield Layout(
        "SuPreM U-Net, *_backbone.pth", lambda: {"net": body(zeros("unet", 1), "out_tr.")}, "new classes", FRESH
    )
    yield Layout(
        "fine-tuned Swin UNETR, 25 outputs",
        lambda: published(zeros("swinunetr", 25)),
        "as it is",
        {"source_classes": "abdomenatlas_1_1"},
    )
    yield Layout(
        "Tang et al. Swin UNETR, 14 outputs", lambda: {"state_dict": zeros("swinunetr", 14)}, "new classes", FRESH
    )
    yield Layout("Valanarasu et al. Swin UNETR", lambda: {"model": valanarasu()}, "new classes", FRESH)
    yield Layout("Swin UNETR encoder", lambda: published(swin_encoder(), "state_dict"), "new classes", FRESH)
    yield Layout("Models Genesis", lambda: published(zeros("unet", 1), "state_dict"), "new classes", FRESH)
    med3d = body(zeros("resunet", 1), "conv_seg.")
    yield Layout("Med3D ResNet-101", lambda: published(med3d, "state_dict"), "new classes", FRESH)
    for name in ("tiny", "small"):
        yield Layout(f"UniMiSS {name}", lambda n=name: published(unimiss_student(n), "student"), "new classes", FRESH)
    yield Layout("MONAI SegResNet, 16 filters", lambda: zeros("segresnet", 32), "as it is", {})
    yield Layout("MONAI SegResNet, 32 filters", lambda: zeros("segresnet", 32, init_filters=32), "as it is", {})
    nine = {"source_classes": "abdomenatlas_1_0"}
    yield Layout("MONAI UNet", lambda: monai_unet(0), "as it is", nine)
    yield Layout("MONAI UNet", lambda: monai_unet(0), "new classes", {"classes": FRESH["classes"], **nine})
    yield Layout("MONAI UNet, 2 residual units", lambda: monai_unet(2), "as it is", nine)
    yield Layout("MONAI DynUNet", monai_dynunet, "as it is", {})
    stage = {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(32, 1, 3, 3, 3)}
    seg = {"decoder.seg_layers.0.weight": torch.zeros(2, 32, 1, 1, 1)}
    yield Layout("nnU-Net, version 2", lambda: {"network_weights": {**stage, **seg}}, "as it is", {})
    context = {"conv_blocks_context.0.blocks.0.conv.weight": torch.zeros(32, 1, 3, 3, 3)}
    yield Layout("nnU-Net, version 1", lambda: {"state_dict": context}, "as it is", {})
    stu = {"conv_blocks_context.0.0.conv1.weight": torch.zeros(32, 1, 3, 3, 3)}
    yield Layout("STU-Net", lambda: {"state_dict": stu}, "as it is", {})
    yield Layout("anything else", lambda: {"layer.weight": torch.zeros(3, 3)}, "as it is", {})


def monai_unet(units: int) -> Tensors:
    """The U-Net of the reference's benchmark, of MONAI's class, without and with residual units."""
    from monai.networks.nets import UNet

    sizes: dict[str, Any] = {"channels": (64, 128, 256, 512), "strides": (2, 2, 2), "num_res_units": units}
    with torch.device("meta"):
        state = UNet(spatial_dims=3, in_channels=1, out_channels=9, **sizes).state_dict()
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}


def monai_dynunet() -> Tensors:
    """MONAI's form of nnU-Net."""
    from monai.networks.nets import DynUNet

    sizes = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [8, 16, 32]}
    return dict(DynUNet(spatial_dims=3, in_channels=1, out_channels=2, **sizes).state_dict())


def load(layout: Layout, folder: Path) -> Row:
    """Writes the file, loads it and says what happened."""
    path = folder / "file.pth"
    content = layout.build()
    torch.save(dict(content), path)
    inner = next((v for k, v in content.items() if isinstance(v, Mapping) and k != "optimizer"), content)
    try:
        network = load_pretrained(f"local-file:{path}", **layout.options)
    except SupremError as error:
        answer = str(error).partition(f"{path} is ")[2].partition(";")[0].partition(". ")[0].partition(":")[0]
        return Row(layout.name, layout.use, len(inner), answer or str(error), 0, 0, 0)
    finally:
        path.unlink()
    report, config = network.load_report, network.config
    if report is None or config is None:
        raise RuntimeError(f"{layout.name} was loaded without a record")
    options = ", ".join(f"{key}={value}" for key, value in config.backbone_kwargs.items())
    recognised = f"{config.backbone}, {config.head} head" + (f" ({options})" if options else "")
    numbers = len(report.loaded), len(report.dropped), len(report.initialised)
    return Row(layout.name, layout.use, len(inner), recognised, *numbers)


def recorded() -> list[Row]:
    """The rows of the table in the documentation."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [Row(*row[:2], int(row[2]), row[3], *map(int, row[4:])) for row in rows]  # type: ignore[arg-type, misc]


def main() -> None:
    """Writes the table."""
    with tempfile.TemporaryDirectory() as folder, TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for layout in layouts():
            row = load(layout, Path(folder))
            writer.writerow(astuple(row))


if __name__ == "__main__":
    main()

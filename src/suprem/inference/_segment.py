"""One call from a scan to masks."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from suprem.errors import OfflineError
from suprem.inference.devices import resolve_device
from suprem.inference.engine import Progress
from suprem.inference.levels import QualityName
from suprem.inference.predictor import PrecisionName, Predictor
from suprem.inference.segmentation import Segmentation
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["BUNDLED_MODEL", "default_model", "load_network", "segment"]

_log = logging.getLogger(__name__)

#: The network inside the package: small, trained on synthetic phantoms, of no clinical meaning.
BUNDLED_MODEL = "segresnet_tiny.phantom"

_DEFAULTS = {"cpu": "segresnet.suprem_2100", "cuda": "unet.suprem_2100"}


def default_model(device: str | torch.device = "auto") -> str:
    """The checkpoint that ``model="auto"`` means on a device: SegResNet on a CPU, the U-Net on a GPU.

    Example:
        >>> default_model("cpu")
        'segresnet.suprem_2100'
    """
    return _DEFAULTS[resolve_device(device).type]


def load_network(model: str = "auto", *, device: str | torch.device = "auto") -> "SegmentationNetwork":
    """Loads a checkpoint, or the default one of the device.

    Args:
        model: ``"auto"`` or anything that :func:`suprem.load_pretrained` takes.
        device: where it will run; it is not moved there yet.

    Raises:
        OfflineError: the default checkpoint is not cached and the hub cannot be reached; the message offers the
            bundled one.
    """
    from suprem.zoo import load_pretrained

    if model != "auto":
        return load_pretrained(model)
    name = default_model(device)
    _log.info("model: %s, the default on this device", name)
    try:
        return load_pretrained(name)
    except OfflineError as error:
        raise OfflineError(
            f"{error} ({name} is the default on this device; {BUNDLED_MODEL} was trained on synthetic phantoms and is "
            "for trying out only.)"
        ) from error


def segment(
    scan: str | Path | Volume,
    model: "str | SegmentationNetwork" = "auto",
    *,
    classes: Sequence[str] | None = None,
    device: str | torch.device = "auto",
    quality: QualityName = "balanced",
    overlap: float | None = None,
    max_ram: str | int | None = "4GiB",
    postprocess: str = "none",
    flip_tta: bool = False,
    precision: PrecisionName = "float32",
    progress: Progress | None = None,
) -> Segmentation:
    """Segments one CT; for many, make one :class:`~suprem.inference.predictor.Predictor` and call it for each.

    Args:
        scan: a CT file, a DICOM folder, or a volume in HU.
        model: a checkpoint as :func:`suprem.load_pretrained` takes it, a loaded network, or ``"auto"`` for
            :func:`default_model`.
        classes: structures to predict; ``None`` for all the model knows.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        quality: ``"fast"``, ``"balanced"`` or ``"exhaustive"``, see :class:`~suprem.inference.predictor.Predictor`.
        overlap: least fraction of the trained window that neighbours share; ``None`` for that of ``quality``.
        max_ram: limit for the memory of the whole process, e.g. ``"4GiB"``; ``None`` for none.
        postprocess: a name of :func:`~suprem.inference.postprocessing.list_postprocess`.
        flip_tta: average with the mirrored scan, left and right swapped back; twice the time.
        precision: ``"bfloat16"`` is faster on recent GPUs, with slightly other results.
        progress: called with the number of windows done and the number to do.

    Raises:
        VolumeError: the scan cannot be read.
        ConfigurationError: an argument that cannot work, or ``max_ram`` cannot be held.
        UnknownNameError: an unknown model or class.

    Example:
        >>> import numpy as np
        >>> from suprem.backbones import create_model
        >>> from suprem.zoo.config import ModelConfig, Preprocessing
        >>> network = create_model("segresnet_tiny", num_classes=1)
        >>> network.config = ModelConfig(
        ...     "example", "segresnet_tiny", ("liver",), preprocessing=Preprocessing((3, 3, 3), patch_size=(32, 32, 32))
        ... )
        >>> scan = Volume(np.zeros((40, 40, 20), dtype=np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
        >>> segment(scan, network, device="cpu").mask("liver").shape
        (40, 40, 20)
    """
    volume = scan if isinstance(scan, Volume) else read_ct(scan)
    predictor = Predictor(
        load_network(model, device=device) if isinstance(model, str) else model,
        classes=classes,
        device=device,
        quality=quality,
        overlap=overlap,
        max_ram=max_ram,
        postprocess=postprocess,
        flip_tta=flip_tta,
        precision=precision,
    )
    return predictor.predict(volume, progress)

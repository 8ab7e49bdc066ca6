"""The models of an ensemble: what identifies them, and how one of them predicts one case of the store."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suprem._files import atomic_folder, output_error
from suprem._version import __version__
from suprem.atlas.predictions import DETAILS, Prediction, write_prediction
from suprem.errors import CheckpointError, ConfigurationError
from suprem.inference.levels import QualityName
from suprem.labels import known_name, ordered
from suprem.volumes._stored_case import CT, StoredCase
from suprem.volumes.geometry import Volume

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork
    from suprem.inference.predictor import Predictor

__all__ = ["EnsembleModel", "PredictJob", "PredictSettings", "describe_models", "forget_models", "link_prediction"]
__all__ += ["predict_case"]

logger = logging.getLogger(__name__)

_IDENTITY = ("version", "settings", "ct")


@dataclass(frozen=True)
class EnsembleModel:
    """One model of an ensemble.

    Attributes:
        source: as :func:`suprem.load_pretrained` takes it; paths are absolute.
        name: its folder in a round, made of what the model calls itself.
        version: 12 hexadecimal digits that change with the weights, the classes or the preprocessing.
        sha256: digest of the file of weights.
        classes: canonical names.
    """

    source: str
    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name and version, as provenance has them."""
        return self.name if self.name.endswith(f"@{self.version}") else f"{self.name}@{self.version}"


@dataclass(frozen=True)
class PredictSettings:
    """How the models are run; see :class:`~suprem.inference.predictor.Predictor`."""

    quality: QualityName = "balanced"
    overlap: float | None = None
    postprocess: str = "none"
    max_ram: str | int | None = "4GiB"
    device: str = "auto"

    @property
    def deciding(self) -> dict[str, Any]:
        """Those that decide the result."""
        return {"quality": self.quality, "overlap": self.overlap, "postprocess": self.postprocess}


@dataclass(frozen=True)
class PredictJob:
    """One model and one case; can be sent to another process.

    Attributes:
        case: of the store.
        model: of the ensemble.
        classes: canonical names of those of its classes that are kept.
        settings: how it is run.
        folder: where the prediction goes.
    """

    case: StoredCase
    model: EnsembleModel
    classes: tuple[str, ...]
    settings: PredictSettings
    folder: Path

    @property
    def info(self) -> dict[str, Any]:
        """What is kept beside the prediction."""
        return {
            "model": self.model.name,
            "version": self.model.version,
            "sha256": self.model.sha256,
            "settings": {"classes": list(self.classes), **self.settings.deciding},
            "ct": self.case.record.files[CT].sha256,
            "suprem": __version__,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Of :attr:`info`, what decides whether two predictions are the same."""
        return {key: self.info[key] for key in _IDENTITY}

    def is_done_in(self, folder: Path) -> bool:
        """Whether a folder holds this prediction: same weights, settings and CT, and no file is missing."""
        if not (folder / DETAILS).is_file():
            return False
        try:
            prediction = Prediction.open(folder)
        except ConfigurationError as error:
            logger.warning("%s It is made again.", error)
            return False
        complete = len(list(folder.glob("*.b2nd"))) == len(prediction.classes)
        return complete and {key: prediction.info.get(key) for key in _IDENTITY} == self.identity


def describe_models(sources: Sequence[str]) -> tuple[EnsembleModel, ...]:
    """Loads models, one after the other, and tells what identifies them; sorted by name.

    Args:
        sources: as :func:`suprem.load_pretrained` takes them.

    Raises:
        ConfigurationError: none is named, or one twice.
        UnknownNameError: unknown checkpoint.
        CheckpointError: a file is damaged.
        HubError: a download failed.
    """
    from suprem.zoo import load_pretrained

    if not sources:
        raise ConfigurationError("No model is named; name at least one, such as segresnet.suprem_2100.")
    found = [_described(place, load_pretrained(place)) for place in map(_absolute, sources)]
    versions = [model.version for model in found]
    for model in found:
        if versions.count(model.version) > 1:
            raise ConfigurationError(
                f"The model {model.name} ({model.source}) is there twice, judged by its weights; name it once."
            )
    names = [model.name for model in found]
    unique = [
        EnsembleModel(**{**asdict(model), "name": model.label}) if names.count(model.name) > 1 else model
        for model in found
    ]
    return tuple(sorted(unique, key=lambda model: model.name))


def _absolute(source: str) -> str:
    kind, colon, path = source.partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon and kind in ("local-dir", "local-file") else source


def _described(source: str, network: "SegmentationNetwork") -> EnsembleModel:
    config, report = network.config, network.load_report
    if config is None or report is None or report.new_classes:
        raise CheckpointError(f"{source} has outputs that were never trained; fine-tune it first.")
    name = re.sub(r"[^\w.+-]+", "_", config.name).lstrip(".") or "model"
    classes = ordered(known_name(label) for label in config.classes)
    return EnsembleModel(source, name, _version(report.sha256, asdict(config)), report.sha256, classes)


def _version(sha256: str, config: Mapping[str, Any]) -> str:
    contract = {key: value for key, value in config.items() if key not in ("name", "versions")}
    text = sha256 + json.dumps(contract, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def _predictor(model: EnsembleModel, classes: tuple[str, ...], settings: PredictSettings) -> "Predictor":
    """The model, ready to run; a process loads it once and keeps it until it needs another one."""
    from suprem.inference.predictor import Predictor
    from suprem.zoo import load_pretrained

    network = load_pretrained(model.source, progress=False)
    found = _described(model.source, network)
    if found.version != model.version:
        raise CheckpointError(
            f"{model.source} is version {found.version} here, not {model.version}; let all machines see the same file."
        )
    return Predictor(
        network,
        classes=classes,
        device=settings.device,
        quality=settings.quality,
        overlap=settings.overlap,
        max_ram=settings.max_ram,
        postprocess=settings.postprocess,
    )


def forget_models() -> None:
    """Frees the model that this process keeps."""
    _predictor.cache_clear()


def predict_case(job: PredictJob) -> None:
    """Predicts one case with one model and writes the prediction; classes leave the model's grid one at a time.

    With post-processing the probabilities are brought to agree with the repaired masks.

    Raises:
        SupremError: the case, the model or the disk does not allow it.
    """
    from suprem.inference.probabilities import ProbabilityFile

    predictor, record = _predictor(job.model, job.classes, job.settings), job.case.record
    parent = job.folder.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(parent, error) from error
    with ProbabilityFile(parent) as sink:  # beside the prediction: /tmp may be memory
        volume = Volume(job.case.ct(), np.array(record.affine), record.key)
        segmentation = predictor.predict(volume, probabilities=sink)
        exclusive = segmentation.exclusive
        if job.settings.postprocess != "none":
            for name in sink.classes:
                sink.agree(name, segmentation.grid_mask(name))
        del volume, segmentation
        maps = ((known_name(name), sink.on_scan(name)) for name in sink.classes)
        write_prediction(job.folder, maps, exclusive=exclusive, info=job.info, overwrite=True)


def link_prediction(source: Path, target: Path) -> None:
    """Gives a prediction a second name: hard links where the file system has them, copies elsewhere.

    Files of predictions are never written to again, so neither name can spoil the other.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    with atomic_folder(target, overwrite=True) as folder:
        for file in sorted(source.iterdir()):
            try:
                os.link(file, folder / file.name)
            except OSError:
                shutil.copyfile(file, folder / file.name)

"""What the loop of an atlas does in each of its rounds, as a file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from suprem._files import atomic_path
from suprem.atlas.fusion import Fusion
from suprem.atlas.label_set import Source
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.inference.levels import QualityName
from suprem.transfer.study import Training
from suprem.zoo._schema import from_mapping

__all__ = ["SETTINGS", "LoopSettings", "StopRule", "read_settings", "write_settings"]

SETTINGS = "loop.yaml"
"""Where an atlas keeps them."""


@dataclass(frozen=True)
class StopRule:
    """When the labels are good enough; see :func:`suprem.atlas.review.stop_report`.

    Attributes:
        major_dsc: a revision below this Dice coefficient of before and after may be major,
        major_ml: and is where more than so many millilitres changed.
        min_cases: reviewed cases of a round that the rule needs.
        max_share: of them that may have a major revision.
        max_rounds: the loop ends after so many, whatever was found; ``None`` for no limit.
    """

    major_dsc: float = 0.9
    major_ml: float = 1.0
    min_cases: int = 5
    max_share: float = 0.0
    max_rounds: int | None = None


@dataclass(frozen=True)
class LoopSettings:
    """What a loop does in each of its rounds.

    Attributes:
        models: of the first round, as for :func:`suprem.load_pretrained`; later ones are trained from them.
        cases: handed out for review in a round.
        fusion: how the models' labels become one.
        quality: of a prediction, as for :class:`~suprem.inference.predictor.Predictor`.
        overlap: of neighbouring windows of a prediction; ``None`` for that of ``quality``.
        window: voxels of the windows with which trained models predict; ``None`` for the patch size of the training.
        sources: labels to train on, of :data:`suprem.atlas.label_set.SOURCES`.
        training: of every model in every round.
        restart: begin each training with the weights of the first round, and everything revised so far, instead of
            with what the model had learned a round before from fewer cases.
        stop: when to end.
        device: to predict on; that of the training is ``training.trainer``'s.
    """

    models: tuple[str, ...]
    cases: int = 10
    fusion: Fusion = "majority"
    quality: QualityName = "balanced"
    overlap: float | None = None
    window: tuple[int, int, int] | None = None
    sources: tuple[Source, ...] = ("expert", "revised")
    training: Training = field(default_factory=lambda: Training(checkpoint_every=100))
    restart: bool = False
    stop: StopRule = field(default_factory=StopRule)
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.models or self.cases < 1:
            raise ConfigurationError(
                f"models are {list(self.models)} and cases {self.cases}; name a model, and hand out one case or more."
            )


def write_settings(atlas: Atlas, settings: LoopSettings) -> None:
    """Keeps the settings in the atlas.

    Raises:
        OutputError: the place cannot be written.
    """
    content = json.loads(json.dumps(asdict(settings)))  # tuples become lists
    with atomic_path(atlas.root / SETTINGS) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, width=120), encoding="utf-8")


def read_settings(path: str | Path) -> LoopSettings:
    """The settings of a file.

    Raises:
        ConfigurationError: it is missing, or an entry is unknown, missing or of the wrong type.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Give the settings of the loop.") from error
    return from_mapping(LoopSettings, values, str(path))

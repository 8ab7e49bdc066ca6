"""Cards: what is known, and what is not, about each published checkpoint. Pure data; imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.zoo._schema import from_mapping
from suprem.zoo.card_parts import Architecture, ClassOrder, Fact, InputContract, Licences, Location, Paper, WeightFile
from suprem.zoo.config import ModelConfig

__all__ = ["Card", "bundled_folder", "card", "list_checkpoints", "parse_card"]

CARD_FORMAT = 1
_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Card:
    """Everything recorded about one checkpoint.

    Attributes:
        name: ``architecture.tag``.
        title: one line.
        supervision: how it was pre-trained.
        training_data: on what.
        intended_use: what it is good for.
        provenance: warnings about where the weights come from.
        unknown: what could not be established.
        classes: ``None`` for a bundled checkpoint (its ``config.json`` says) and where no output layer is of use.
        preprocessing: ``None`` for a bundled checkpoint.
    """

    name: str
    title: str
    location: Location
    file: WeightFile
    architecture: Architecture
    classes: ClassOrder | None
    preprocessing: InputContract | None
    supervision: Fact
    training_data: Fact
    licences: Licences
    paper: Paper
    intended_use: str
    provenance: tuple[str, ...]
    unknown: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"Card {self.name!r}"
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{where} must be named architecture.tag in lower case.")
        if self.file.sha256 is not None and not _SHA256.fullmatch(self.file.sha256):
            raise ConfigurationError(f"{where}: sha256 is {self.file.sha256!r}; it has 64 hexadecimal digits.")
        place = self.location
        if place.revision is not None and not _COMMIT.fullmatch(place.revision):
            raise ConfigurationError(f"{where}: revision is {place.revision!r}; give the whole commit hash.")
        if place.kind == "hub" and (place.repo is None or place.filename is None):
            raise ConfigurationError(f"{where} lies on the Hub but does not name repo and filename; add them.")
        if place.filename is not None and not _FILE.fullmatch(place.filename):
            raise ConfigurationError(f"{where}: filename is {place.filename!r}; it must be a plain file name.")
        if not self.architecture.built and not self.architecture.reason:
            raise ConfigurationError(f"{where} is for an architecture that is not built; say why under 'reason'.")
        if (self.classes is None) != (self.architecture.head == "none") and place.kind == "hub":
            raise ConfigurationError(f"{where}: 'classes' must be given exactly when the file has a head.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Canonical structure names in channel order, without background; empty without a segmentation head."""
        if self.classes is not None:
            return self.classes.names
        config = self.bundled_config()
        return config.classes if config else ()

    def bundled_config(self) -> ModelConfig | None:
        """``config.json`` of a bundled checkpoint; ``None`` for others and when its folder is missing."""
        folder = bundled_folder(self.name) if self.location.kind == "bundled" else None
        if folder is None or not (folder / "config.json").is_file():
            return None
        return ModelConfig.from_json((folder / "config.json").read_text("utf-8"), f"config.json of {self.name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "class_names": self.class_names}

    def licence_notice(self) -> str:
        """What a person should know before downloading."""
        terms = self.licences
        return (
            f"{self.name}: weights {_said(terms.weights)}; training data {_said(terms.data)}; "
            f"original code {_said(terms.code)}. Not for clinical use."
        )


def _said(fact: Fact) -> str:
    return f"{fact.value} ({fact.confidence})"


def list_checkpoints() -> tuple[str, ...]:
    """Names of all checkpoints that have a card, sorted; imports no torch.

    Example:
        >>> "segresnet.suprem_2100" in list_checkpoints()
        True
    """
    entries = (Path(entry.name) for entry in files("suprem.zoo.cards").iterdir())
    return tuple(sorted(entry.stem for entry in entries if entry.suffix == ".yaml"))


@cache
def card(name: str) -> Card:
    """The card called ``name``.

    Raises:
        UnknownNameError: no card has that name; the message offers the closest ones.
        ConfigurationError: the card file breaks the schema.

    Example:
        >>> card("segresnet.suprem_2100").file.tensors.transferred
        81
    """
    known = list_checkpoints()
    if name not in known:
        raise UnknownNameError(did_you_mean("checkpoint", name, known))
    return parse_card((files("suprem.zoo.cards") / f"{name}.yaml").read_text("utf-8"), f"{name}.yaml")


def parse_card(text: str, source: str) -> Card:
    """Reads a card from YAML; unknown or missing keys and wrong types are errors that name ``source``.

    Raises:
        ConfigurationError: with the key and the value.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is not valid YAML: {' '.join(str(error).split())[:500]}.") from error
    except RecursionError as error:
        raise ConfigurationError(f"{source} is nested without end; no card is.") from error
    if not isinstance(values, Mapping) or values.get("format_version") != CARD_FORMAT:
        raise ConfigurationError(f"{source} must be a mapping with format_version: {CARD_FORMAT}; correct it.")
    parsed = from_mapping(Card, {k: v for k, v in values.items() if k != "format_version"}, source)
    if parsed.name != Path(source).stem:
        raise ConfigurationError(f"{source} is the card of {parsed.name!r}; the file must be named after it.")
    return parsed


def bundled_folder(name: str) -> Path | None:
    """Folder of the bundled checkpoint called ``name``; ``None`` when it is not installed."""
    folder = Path(str(files("suprem.zoo.cards") / "bundled" / name))
    return folder if (folder / "model.safetensors").is_file() else None

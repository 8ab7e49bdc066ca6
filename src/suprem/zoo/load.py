"""Loads published weights into networks: by name, strictly, with a record of what happened to each tensor."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError
from suprem.zoo._classes import Activation, Channels, shared_rows, subset_note, wanted_channels
from suprem.zoo._facts import Facts, Head, Overrides, gather_facts
from suprem.zoo._fill import check_counts, fill, is_whole
from suprem.zoo._match import match
from suprem.zoo._recognise import blueprint
from suprem.zoo.config import ModelConfig, Preprocessing
from suprem.zoo.report import LoadReport
from suprem.zoo.source import Origin, resolve
from suprem.zoo.state_dict import read_state_dict

__all__ = ["LoadReport", "load_body", "load_pretrained"]

logger = logging.getLogger(__name__)


def load_pretrained(
    source: str,
    *,
    backbone: str | None = None,
    classes: Sequence[str] | None = None,
    head: Head | None = None,
    source_classes: str | Sequence[str] | None = None,
    activation: Activation | None = None,
    in_channels: int | None = None,
    backbone_kwargs: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> SegmentationNetwork:
    """A network with pre-trained weights, in evaluation mode on the CPU.

    Tensors are paired by name; nothing but the output layer may be missing or of another size. What happened to each
    stands in ``network.load_report``, what the network takes and predicts in ``network.config``.

    Args:
        source: a name of :func:`list_checkpoints`, ``hf-hub:owner/repo@revision``, ``local-dir:PATH`` (written by
            ``save_folder``) or ``local-file:PATH`` (``.pth``, ``.pt``, ``.safetensors``).
        backbone: for a local file; ``None`` finds it from the tensor names.
        classes: structures to predict, in any spelling; channels the file has under the same name are copied, the
            others start from random values. ``None``: those of the file.
        head: ``"universal"`` keeps the text-driven head of a file that has one (the default there), ``"conv"``
            replaces it by a new 1x1x1 convolution.
        source_classes: meaning of a local file's channels, as names in channel order or a label space. As many
            channels as classes is sigmoid, one more softmax with background first. 32 channels need no word; an
            empty list gives the file's output layer up.
        activation: ``"sigmoid"`` or ``"softmax"``; ``None``: that of the file, else sigmoid. Changing it starts a new
            output layer.
        in_channels: ``None``: those of the file. Single-channel weights are repeated and divided by the number.
        backbone_kwargs: options of the backbone, for a local file.
        preprocessing: another input contract; ``None``: that of the weights (for a local file: the published one).
        seed: of the random values; the global random state is left alone.
        cache_dir: where downloads are kept; ``None``: the Hub's own cache.
        progress: show a progress bar while downloading.

    Raises:
        ConfigurationError: arguments that cannot work together; a bare path or repository id.
        UnknownNameError: unknown checkpoint, backbone or structure, with the closest names.
        CheckpointError: damaged, incomplete, or for another network, with the tensors.
        UnsafeFileError: reading the file would execute code.
        HubError: the download failed.
    """
    overrides = Overrides(backbone, backbone_kwargs, preprocessing, source_classes)
    _refuse_unused(source, overrides)
    origin = resolve(source, cache_dir=cache_dir, progress=progress)
    return _load(origin, overrides, _Wishes(classes, head, activation, in_channels, seed))


def load_body(source: str, **options: Any) -> SegmentationNetwork:
    """:func:`load_pretrained` for a network whose output layer will be replaced: the file need not have one.

    Args:
        source: as for :func:`load_pretrained`.
        **options: its other arguments, but for the classes.
    """
    bare = source.startswith("local-file:")  # says nothing of its channels, which are not wanted
    if bare or resolve(source).headless:
        options |= {"classes": ["liver"], "source_classes": [] if bare else None}  # one class stands for all
    return load_pretrained(source, **options)


@dataclass(frozen=True)
class _Wishes:
    """What the network shall be, where it may differ from the file."""

    classes: Sequence[str] | None
    head: Head | None
    activation: Activation | None
    in_channels: int | None
    seed: int


def _load(origin: Origin, overrides: Overrides, wishes: _Wishes) -> SegmentationNetwork:
    source = origin.source
    state = read_state_dict(origin.path)
    facts = gather_facts(origin, state, overrides, wishes.in_channels)
    state = facts.state
    target = wanted_channels(wishes.classes, wishes.activation, facts.known, source)
    head = _target_head(wishes.head, facts, target, source)
    # Checked against names and shapes alone first: a file must not make us allocate more than it holds.
    plan = blueprint(facts.backbone, target.count, head, facts.in_channels, facts.kwargs)
    pairs = match(plan, state.tensors, source, facts.backbone)
    rows = shared_rows(target, facts.known if facts.head == head else None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(wishes.seed)  # torch.manual_seed would seed every GPU as well
        # Initial values take longer to draw than weights to read.
        network = (
            plan
            if is_whole(plan, pairs, rows)
            else create_model(
                facts.backbone, num_classes=target.count, in_channels=facts.in_channels, head=head, **facts.kwargs
            )
        )
        report = fill(network, state, pairs, rows, target, origin, facts.notes + subset_note(target, facts.known))
    notes = check_counts(origin, state, report, network.head_keys)
    report = replace(report, notes=report.notes + notes)
    network.config = ModelConfig(
        name=_name(origin),
        backbone=facts.backbone,
        classes=target.classes,
        head=head,
        activation=target.activation,
        label_space=target.label_space,
        backbone_kwargs=dict(facts.kwargs),
        in_channels=facts.in_channels,
        preprocessing=facts.preprocessing,
    )
    network.load_report = report
    for note in report.notes:
        logger.warning("%s: %s.", source, note)
    return network.eval()


def _refuse_unused(source: str, overrides: Overrides) -> None:
    named = {"backbone": overrides.backbone, "backbone_kwargs": overrides.kwargs}
    given = [name for name, value in named.items() if value is not None]
    if given and not str(source).startswith("local-file:"):
        raise ConfigurationError(
            f"{', '.join(given)} cannot be chosen for {source!r}, which says so itself; leave it out, or load the file "
            "as 'local-file:PATH'."
        )


def _name(origin: Origin) -> str:
    if origin.card is not None:
        return origin.card.name
    return origin.config.name if origin.config else origin.path.stem


def _target_head(head: Head | None, facts: Facts, target: Channels, source: str) -> Head:
    if head not in (None, "conv", "universal"):
        raise ConfigurationError(f"head is {head!r}; it must be 'conv' or 'universal'.")
    if head == "universal" and facts.head != "universal":
        raise ConfigurationError(f"{source} has no text-driven head; leave head out, or load a file that has one.")
    chosen: Head = head or facts.head or "conv"
    if chosen == "universal" and target.activation == "softmax":
        raise ConfigurationError("The text-driven head predicts with sigmoid; give head='conv' for softmax.")
    return chosen

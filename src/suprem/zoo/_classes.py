"""What the output channels of a file and of a network mean, and which rows they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suprem.errors import CheckpointError, ConfigurationError
from suprem.labels import canonical_name, label_space

__all__ = ["Channels", "canonical_classes", "channels_of_file", "shared_rows", "subset_note", "wanted_channels"]

Activation = Literal["sigmoid", "softmax"]
DEFAULT_SPACE = "universal_32"


@dataclass(frozen=True)
class Channels:
    """Meaning of output channels.

    Attributes:
        classes: canonical names in channel order, without background.
        activation: ``"softmax"`` puts background in channel 0.
        label_space: a numbering that holds all of them.
    """

    classes: tuple[str, ...]
    activation: Activation
    label_space: str | None

    @property
    def count(self) -> int:
        """Number of channels, background included."""
        return len(self.classes) + (self.activation == "softmax")


def canonical_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Canonical names of structures in any spelling.

    Raises:
        UnknownNameError: an unknown structure; the message offers the closest ones.
        ConfigurationError: no class, or two spellings of one structure.
    """
    if isinstance(classes, str):
        raise ConfigurationError(f"classes is the text {classes!r}; give a list, such as [{classes!r}].")
    names = tuple(canonical_name(name) for name in classes)
    if not names:
        raise ConfigurationError("classes is empty; give at least one structure name.")
    twice = sorted({f"{text!r} ({name})" for text, name in zip(classes, names, strict=True) if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"classes names a structure more than once: {', '.join(twice)}; keep one of each.")
    return names


def channels_of_file(rows: int, source_classes: str | Sequence[str] | None, source: str) -> Channels | None:
    """What the ``rows`` output channels of a bare file mean; ``None`` when the user gives them up.

    Args:
        rows: output channels, or rows of the text table.
        source_classes: names in channel order, a label space, an empty list to give the output layer up, or ``None``
            for the 32 channels of the published files.
        source: what messages call the file.

    Raises:
        ConfigurationError: the meaning is not known, or does not fit the number of channels.
    """
    space: str | None = None
    if source_classes is None:
        if rows != len(label_space(DEFAULT_SPACE).names):
            raise ConfigurationError(
                f"{source} has {rows} output channels, and nothing in the file says what they mean. Give "
                "source_classes=[...] in channel order without background, or a label space such as "
                "'totalsegmentator_v1_organs'; or source_classes=[] with classes=[...] to start a new output layer."
            )
        space = DEFAULT_SPACE
    elif isinstance(source_classes, str):
        space = source_classes
    elif not source_classes:
        return None
    names = label_space(space).names if space else canonical_classes(source_classes or ())
    if rows not in (len(names), len(names) + 1):
        raise ConfigurationError(
            f"{source} has {rows} output channels, but source_classes names {len(names)}; it must name {rows} "
            f"(sigmoid) or {rows - 1} (softmax, background first)."
        )
    return Channels(names, "sigmoid" if rows == len(names) else "softmax", space)


def wanted_channels(
    classes: Sequence[str] | None, activation: Activation | None, known: Channels | None, source: str
) -> Channels:
    """What the network shall predict.

    Args:
        classes: names in any spelling; ``None`` for those of the file.
        activation: ``None`` for that of the file, else sigmoid.
        known: what the file predicts.
        source: what messages call the file.

    Raises:
        ConfigurationError: the file has no segmentation output and no classes are given.
    """
    if classes is None:
        if known is None:
            raise ConfigurationError(
                f"{source} has no output layer for segmentation; give classes=[...] for a new one to fine-tune."
            )
        names, space = known.classes, known.label_space
    else:
        names = canonical_classes(classes)
        space = known.label_space if known else None
        if space is not None and not set(names) <= set(label_space(space).names):
            space = None
    return Channels(names, activation or (known.activation if known else "sigmoid"), space)


def shared_rows(target: Channels, known: Channels | None) -> list[int | None]:
    """For each output channel of ``target``: the channel of the file with the same meaning, or ``None``.

    A sigmoid and a softmax channel of the same name mean different things, so they are never shared.
    """
    if known is None or known.activation != target.activation:
        return [None] * target.count
    shift = int(known.activation == "softmax")
    index = {name: i + shift for i, name in enumerate(known.classes)}
    return [0] * shift + [index.get(name) for name in target.classes]


def subset_note(target: Channels, known: Channels | None) -> tuple[str, ...]:
    """A warning where the kept rows of a softmax layer no longer mean what they meant among all of them."""
    if known is None or not known.activation == target.activation == "softmax":
        return ()
    left_out = len(set(known.classes) - set(target.classes))
    if not left_out:
        return ()
    return (
        f"softmax weighs the classes against each other and {left_out} of the file's are left out, so the others gain "
        "their voxels until the network is fine-tuned; to predict now, load all classes and pick from the result",
    )


def check_rows(rows: int, known: Channels, source: str) -> None:
    """Refuses a file whose number of channels is not what its card or configuration says.

    Raises:
        CheckpointError: with both numbers.
    """
    if rows != known.count:
        raise CheckpointError(
            f"{source} has {rows} output channels; {known.count} are expected for {len(known.classes)} classes with "
            f"{known.activation}. The file and its description do not belong together."
        )

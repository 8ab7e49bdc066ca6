"""The backbone registry and the factory that joins a backbone with a head; imports no torch."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from suprem._registry import Registry
from suprem.errors import ConfigurationError, SupremError, brief
from suprem.heads import HEADS

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["BACKBONES", "create_model", "list_backbones"]

BACKBONES: Registry[Callable[..., "SegmentationNetwork"]] = Registry("backbone", "suprem.backbones")
"""Builders ``(in_channels, num_classes, *, ...) -> SegmentationNetwork``, one per public module of the package."""


def list_backbones() -> tuple[str, ...]:
    """Names that :func:`create_model` accepts, sorted; imports no torch.

    Example:
        >>> "segresnet" in list_backbones()
        True
    """
    return BACKBONES.names()


def create_model(
    backbone: str, *, num_classes: int, in_channels: int = 1, head: str = "conv", **kwargs: Any
) -> "SegmentationNetwork":
    """A randomly initialised segmentation network.

    Args:
        backbone: a name of :func:`list_backbones`.
        num_classes: number of output channels; with softmax this counts the background too.
        in_channels: input channels.
        head: ``"conv"`` (1x1x1 convolution) or ``"universal"`` (text-driven; call ``set_embedding`` or load weights
            before the first forward pass).
        **kwargs: options of the backbone; its builder's signature lists them.

    Returns:
        A module that maps float32 (N, in_channels, X, Y, Z) to logits (N, num_classes, X, Y, Z).

    Raises:
        UnknownNameError: ``backbone`` or ``head`` is not registered.
        ConfigurationError: an option is unknown or cannot work.

    Example:
        >>> network = create_model("segresnet_tiny", num_classes=3)
        >>> network.divisor
        8
    """
    for name, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    builder = BACKBONES.get(backbone)
    attach = HEADS.get(head)
    _refuse_unknown_options(backbone, builder, kwargs)
    return attach(_built(backbone, builder, in_channels, num_classes, kwargs), num_classes)


def _built(
    backbone: str,
    builder: Callable[..., "SegmentationNetwork"],
    in_channels: int,
    num_classes: int,
    options: dict[str, Any],
) -> "SegmentationNetwork":
    try:
        return builder(in_channels, num_classes, **options)
    except SupremError:
        raise
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        if not options:  # the defaults work, so this is no mistake of the caller
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(
            f"Backbone {backbone!r} cannot be built with {brief(options)}: {reason}. Correct the option, or leave it "
            "out."
        ) from error


def _refuse_unknown_options(backbone: str, builder: Callable[..., Any], options: dict[str, Any]) -> None:
    parameters = inspect.signature(builder).parameters.values()
    allowed = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigurationError(
            f"Backbone {backbone!r} has no option {', '.join(map(repr, unknown))}; "
            f"it takes {', '.join(allowed) or 'no options'}."
        )

"""Text codes for the text-driven head: of other weights, of a CLIP text encoder, or learned."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from suprem.errors import ConfigurationError
from suprem.heads.universal import UniversalNetwork
from suprem.labels import canonical_name, structure
from suprem.zoo import load_pretrained

__all__ = ["LEARNED", "PROMPT", "add_classes", "prompt", "provide_codes", "text_codes"]

LEARNED = "learned"
PROMPT = "A computerized tomography of a {}"
"""What the Universal Model's authors encoded (Liu et al., ICCV 2023, section 3.1)."""

_CLIP = "clip:"
_HELP = (
    f"Give text={LEARNED!r} to train them, text='{_CLIP}openai/clip-vit-base-patch32' or another CLIP text encoder, or "
    "weights whose text-driven head knows the structures."
)


def prompt(name: str) -> str:
    """The sentence that describes a structure.

    Example:
        >>> prompt("kidney_right")
        'A computerized tomography of a right kidney'
    """
    side = structure(name).side
    plain = name.removesuffix(f"_{side}").replace("_", " ")
    return PROMPT.format(f"{side} {plain}" if side else plain)


def text_codes(classes: Sequence[str], source: str) -> torch.Tensor:
    """Text codes of structures, float32 (C, 512), not normalised.

    Args:
        classes: Structures in any spelling.
        source: ``clip:MODEL`` encodes :func:`prompt` with a CLIP text encoder, MODEL being a folder or a name on the
            Hub (``pip install 'suprem[text]'``); anything else is weights with a text-driven head, as for
            :func:`suprem.load_pretrained`, whose codes are taken by the name of the structure.

    Raises:
        ConfigurationError: the encoder has another width than 512 or cannot be loaded, the weights have no text-driven
            head or do not know a structure, or a package is missing.
    """
    names = [canonical_name(name) for name in classes]
    if source.startswith(_CLIP):
        return _encode(names, source.removeprefix(_CLIP))
    network = load_pretrained(source)
    if not isinstance(network, UniversalNetwork) or network.config is None:
        raise ConfigurationError(f"{source} has no text-driven head, and so no text codes. {_HELP}")
    known = network.config.classes
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigurationError(f"{source} has no text code of {', '.join(missing)}. {_HELP}")
    return network.organ_embedding[[known.index(name) for name in names]].detach().float()


@torch.no_grad()
def _encode(names: Sequence[str], model: str) -> torch.Tensor:
    try:
        from transformers import AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise ConfigurationError(
            f"A CLIP text encoder needs {error.name}, which is not installed; run `pip install 'suprem[text]'`."
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        encoder: Any = CLIPTextModelWithProjection.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The CLIP text encoder {model!r} cannot be loaded: {error}") from error
    codes: torch.Tensor = encoder.eval()(
        **tokenizer([prompt(name) for name in names], padding=True, return_tensors="pt")
    ).text_embeds
    if codes.shape[1] != UniversalNetwork.text_width:
        raise ConfigurationError(
            f"{model} gives codes of {codes.shape[1]} numbers; the text-driven head takes "
            f"{UniversalNetwork.text_width}, as CLIP ViT-B/32 and ViT-B/16 give."
        )
    return codes.float()


def provide_codes(network: UniversalNetwork, classes: Sequence[str], unset: Sequence[str], source: str | None) -> None:
    """Gives the classes without a text code one, in place.

    Args:
        network: With one row of its table per class.
        classes: Canonical names of all rows.
        unset: Those whose row means nothing yet.
        source: As for :func:`text_codes`; ``"learned"`` lets the whole table be trained, from the codes that are there
            and random ones.

    Raises:
        ConfigurationError: codes are needed and no source is given; and as :func:`text_codes`.
    """
    if source == LEARNED:
        network.learn_codes(rows=[classes.index(name) for name in unset])
        return
    if not unset:
        return
    if source is None:
        raise ConfigurationError(f"The text-driven head has no text code of {', '.join(unset)}. {_HELP}")
    table = network.organ_embedding.detach().clone()
    table[[classes.index(name) for name in unset]] = text_codes(unset, source)
    network.set_embedding(table)


def add_classes(network: UniversalNetwork, classes: Sequence[str], codes: torch.Tensor) -> None:
    """Lets a network with a text-driven head predict further structures, in place.

    The logits of the classes it has stay exactly what they were: a class is a row of the table and nothing else.

    Args:
        network: From :func:`suprem.load_pretrained`.
        classes: Structures in any spelling that it does not have.
        codes: (K, 512), such as from :func:`text_codes`.

    Raises:
        ConfigurationError: the shape does not fit, values are not finite, or a structure is there already.
    """
    names = tuple(canonical_name(name) for name in classes)
    config: Any = network.config
    if config is not None:
        there = sorted(set(names) & set(config.classes))
        if there:
            raise ConfigurationError(f"The network predicts {', '.join(there)} already; give other structures.")
    network.append_codes(codes, len(names))
    if config is not None:
        network.config = replace(config, classes=(*config.classes, *names), label_space=None)

"""Reads what the labels of a user's own folder mean: from dataset.yaml, or from the dataset.json of nnU-Net."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from suprem.datasets._layout import STRUCTURE, Files, Variant
from suprem.datasets._rules import CaseGroup, LabelMap, LabelRule
from suprem.datasets._templates import Field
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import canonical_name, list_structures, structure

if TYPE_CHECKING:
    from suprem.datasets._spec import DatasetSpec

__all__ = ["EXAMPLE", "describe"]

logger = logging.getLogger(__name__)

EXAMPLE = """\
title: Livers of our clinic
image: images/{case}.nii.gz
label: labels/{case}.nii.gz
labels:
  1: liver
  2: liver_tumor
  3: {split: kidney}
  4: {drop: stent}
  255: ignore
"""

_KEYS = ("title", "image", "label", "labels", "structures", "annotated", "partly_labelled")
_CASE = {"case": Field(r"[^/]+?", "patient_1")}
_IGNORE = "ignore"


def describe(root: Path) -> "DatasetSpec":
    """The specification of a user's own folder.

    Args:
        root: Folder with ``dataset.yaml``, or with the ``dataset.json`` of nnU-Net's raw format.

    Raises:
        ConfigurationError: neither is there, or it does not say what the labels mean.
        UnknownNameError: a structure that is not known and not declared under ``structures``.
    """
    from suprem.datasets._spec import dataset

    own, foreign = root / "dataset.yaml", root / "dataset.json"
    if own.is_file():
        title, variant, table = _from_yaml(own)
    elif foreign.is_file():
        title, variant, table = _from_nnunet(foreign)
    else:
        raise ConfigurationError(
            f"{root} has neither dataset.yaml nor nnU-Net's dataset.json, so nothing says what its labels mean. Write "
            f"dataset.yaml, for example:\n{EXAMPLE}"
        )
    return replace(dataset("folder"), title=title, variants=(variant,), label_maps=(table,), describe=None)


def _from_yaml(path: Path) -> tuple[str, Variant, LabelMap]:
    content = _mapping(_load(path, yaml.safe_load), path)
    for key in content:
        if key not in _KEYS:
            raise ConfigurationError(f"{path}: {did_you_mean('key', str(key), _KEYS)}")
    missing = [key for key in ("image", "label", "labels") if not content.get(key)]
    if missing:
        raise ConfigurationError(f"{path} does not say {', '.join(missing)}. For example:\n{EXAMPLE}")
    image, label = str(content["image"]), str(content["label"])
    for text in (image, label):
        if "{case}" not in text or Path(text).is_absolute() or ".." in Path(text).parts:
            raise ConfigurationError(f"{path}: {text!r} must be a path below the folder with {{case}} in it.")
    own = frozenset(str(name) for name in content.get("structures") or ())
    masks = f"{{{STRUCTURE}}}" in label
    values, ignore = _rules(_mapping(content["labels"], path), own, path, masks=masks)
    annotated = content.get("annotated")
    names = frozenset(_name(str(name), own, path) for name in annotated) if annotated else None
    partly = content.get("partly_labelled", False)
    if not isinstance(partly, bool):
        raise ConfigurationError(f"{path}: partly_labelled is {partly!r}; it must be true or false.")
    files = Files((image,), _CASE, "{case}", (label,), label_map="own", partly_labelled=partly)
    variant = Variant("own", (files,), label_format="masks" if masks else "file", source=str(path))
    return str(content.get("title") or path.parent.name), variant, _table(values, ignore, names, path)


def _load(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Correct it.") from error


def _mapping(content: Any, path: Path) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path} holds {type(content).__name__} where names and values are expected.")
    return content


def _name(text: str, own: frozenset[str], path: Path) -> str:
    if text in own:
        return text
    try:
        return canonical_name(text)
    except UnknownNameError as error:
        raise UnknownNameError(f"{path}: {error} A name of your own has to be listed under 'structures'.") from error


def _rules(
    labels: Mapping[Any, Any], own: frozenset[str], path: Path, *, masks: bool
) -> tuple[dict[int, LabelRule], frozenset[int]]:
    """One rule per value; names of mask files are numbered in their order."""
    values: dict[int, LabelRule] = {}
    ignore = set()
    for rank, (key, meaning) in enumerate(labels.items(), start=1):
        number = _value(key, rank, path, masks=masks)
        if meaning == _IGNORE:
            ignore.add(number)
        values[number] = _rule(key, meaning, own, path)
    return values, frozenset(ignore)


def _value(key: Any, rank: int, path: Path, *, masks: bool) -> int:
    if masks and isinstance(key, str):
        return rank
    if not masks and isinstance(key, int) and not isinstance(key, bool) and key > 0:
        return key
    wanted = "the name of a mask file" if masks else "a label value from 1 on (0 is background)"
    raise ConfigurationError(f"{path}: under labels stands {key!r}, where {wanted} is needed.")


def _rule(key: Any, meaning: Any, own: frozenset[str], path: Path) -> LabelRule:
    named = str(key) if isinstance(key, str) else None
    if meaning == _IGNORE:
        return LabelRule(named or _IGNORE, "drop")
    if isinstance(meaning, str):
        return LabelRule(named or meaning, "copy", (_name(meaning, own, path),))
    if isinstance(meaning, Mapping) and len(meaning) == 1:
        operation, text = next(iter(meaning.items()))
        if operation == "split":
            pair = tuple(_name(f"{text}_{side}", own, path) for side in ("right", "left"))
            return LabelRule(named or str(text), "split_left_right", pair)
        if operation == "drop":
            return LabelRule(named or str(text), "drop")
    raise ConfigurationError(
        f"{path}: label {key!r} means {meaning!r}; give a structure, {{split: kidney}}, {{drop: what it is}} or ignore."
    )


def _table(
    values: dict[int, LabelRule], ignore: frozenset[int], annotated: frozenset[str] | None, path: Path
) -> LabelMap:
    named = frozenset(name for rule in values.values() for name in rule.structures)
    wanted = named if annotated is None else annotated
    if not wanted <= named:
        raise ConfigurationError(f"{path}: annotated lists {sorted(wanted - named)}, which no label means.")
    complete = {value: _inside_parents(rule, named) for value, rule in values.items()}
    groups = (CaseGroup("all", wanted),)
    return LabelMap("own", complete, ignore, groups, note=f"From {path.name}.", confidence="stated by the user")


def _inside_parents(rule: LabelRule, named: frozenset[str]) -> LabelRule:
    """A lesion belongs to its organ too, where the organ has a label of its own."""
    if rule.op not in ("copy", "merge") or rule.also_part_of:
        return rule
    parents = {parent for name in rule.targets if name in list_structures() for parent in structure(name).parents}
    # A region may have said it: a tumour with the left kidney is in the left one alone.
    if parents & set(rule.targets) or not parents & named:
        return rule
    ordered = tuple(sorted(parents, reverse=True))  # right before left
    sided = [structure(name).side for name in ordered] == ["right", "left"]
    if sided:
        return replace(rule, also_part_of=ordered, also_op="split_left_right")
    return replace(rule, also_part_of=tuple(name for name in ordered if name in named))


def _from_nnunet(path: Path) -> tuple[str, Variant, LabelMap]:
    content = _mapping(_load(path, json.loads), path)
    channels = _mapping(content.get("channel_names") or content.get("modality") or {}, path)
    if len(channels) != 1 or "CT" not in str(next(iter(channels.values()))).upper():
        raise ConfigurationError(f"{path} has the channels {dict(channels)}; one CT is needed.")
    ending = str(content.get("file_ending", ".nii.gz"))
    suffix = "_0000" if any((path.parent / "imagesTr").glob(f"*_0000{ending}")) else ""
    values, ignore = _nnunet_rules(_mapping(content.get("labels"), path), path)
    families = tuple(
        Files(
            (f"images{part}/{{case}}{suffix}{ending}",),
            _CASE,
            "{case}",
            (f"labels{part}/{{case}}{ending}",),
            label_map="own",
            split=split,
            partly_labelled=part == "Ts",
        )
        for part, split in (("Tr", "train"), ("Ts", "test"))
    )
    return (
        str(content.get("name") or path.parent.name),
        Variant("own", families, source=str(path)),
        _table(values, ignore, None, path),
    )


def _nnunet_rules(labels: Mapping[Any, Any], path: Path) -> tuple[dict[int, LabelRule], frozenset[int]]:
    """Labels of version 1 (value -> name) or 2 (name -> value, or the values that a region unites)."""
    regions: dict[str, tuple[int, ...]] = {}
    for key, entry in labels.items():
        name, values = (entry, key) if str(key).isdecimal() else (key, entry)
        numbers = values if isinstance(values, list | tuple) else [values]
        try:
            regions[str(name)] = tuple(int(number) for number in numbers)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path}: label {name!r} has the values {values!r}; integers are needed."
            ) from error
    ignore = frozenset(regions.pop(_IGNORE, ()))
    regions.pop("background", None)
    rules = {}
    for value in sorted({number for numbers in regions.values() for number in numbers} - {0}):
        names = [name for name, numbers in regions.items() if value in numbers]
        rules[value] = LabelRule(names[-1], "copy", tuple(_foreign_name(name) for name in names))
    rules.update({value: LabelRule(_IGNORE, "drop") for value in ignore})
    return rules, ignore


def _foreign_name(text: str) -> str:
    """The structure of that name, or the name itself: a file that was not written for us may hold any."""
    try:
        return canonical_name(text)
    except UnknownNameError:
        name = "_".join(text.split())
        logger.warning("%r is none of the known structures and is kept as a structure of its own.", text)
        return name

"""A store to train on: the labels of an atlas that are trusted, case by case."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder
from suprem.atlas.label_set import SOURCES, LabelSet, PaletteBuilder, Source
from suprem.atlas.workspace import Atlas
from suprem.datamodules._splits import split_cases
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import ordered
from suprem.volumes.geometry import Volume
from suprem.volumes.store import CaseRecord, create_store, write_case, write_index

__all__ = ["TrainingStore", "write_training_store"]


@dataclass(frozen=True)
class TrainingStore:
    """What was written.

    Attributes:
        path: the store.
        train: keys of the cases to train on.
        val: keys of those that validate.
        held_out: keys of those of an official test part, which no training takes.
        left_out: keys of cases without a label that is trusted.
        structures: structure -> number of cases that teach it.
    """

    path: Path
    train: tuple[str, ...]
    val: tuple[str, ...]
    held_out: tuple[str, ...]
    left_out: tuple[str, ...]
    structures: Mapping[str, int]


def write_training_store(
    atlas: Atlas,
    out: str | Path,
    sources: Sequence[Source] = ("expert", "revised"),
    *,
    rehearse: bool = False,
    val_fraction: float = 0.1,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> TrainingStore:
    """Writes a store in which those structures count as annotated whose labels have the wanted origin.

    ``suprem finetune`` and ``suprem pretrain`` take it as it is. The store appears when it is complete.

    Args:
        atlas: Where the labels are.
        out: Folder of the store to make.
        sources: Origins of labels to trust, of :data:`suprem.atlas.label_set.SOURCES`.
        rehearse: Structures that no case has from these sources are taught by the models' own labels in the cases that
            are written: a training on the others would make the models forget them.
        val_fraction: Share of the patients that validates, where their dataset has no official part for that.
        seed: Of the choice of these patients.
        overwrite: Replace an existing store.
        progress: Called with the key of each case that is done, and the number of cases.

    Raises:
        UnknownNameError: there is no such source.
        ConfigurationError: no case has labels from these sources, or they cannot be divided.
        OutputError: the place cannot be written.
    """
    for source in sources:
        if source not in SOURCES:
            raise UnknownNameError(did_you_mean("source of labels", source, SOURCES))
    wanted = _wanted(atlas, sources, rehearse=rehearse)
    if not wanted:
        raise ConfigurationError(
            f"{atlas.root} has no labels from {', '.join(sources) or 'any source'}; review some cases, or trust more."
        )
    split = split_cases([atlas.store.case(key) for key in wanted], val_fraction=val_fraction, subset=None, seed=seed)
    val = {case.record.key for case in split.val}
    parts = {key: "val" if key in val else "train" for key in wanted} | dict.fromkeys(split.held_out, "test")
    with atomic_folder(out, overwrite=overwrite) as folder:
        create_store(folder, atlas.store.settings)
        for key, names in wanted.items():
            _write(atlas, key, names, parts[key], folder)
            if progress:
                progress(key, len(wanted))
        write_index(folder)
    counts = Counter(name for names in wanted.values() for name in names)
    by_part = {part: tuple(key for key in wanted if parts[key] == part) for part in ("train", "val", "test")}
    left_out = tuple(key for key in atlas.cases if key not in wanted)
    known = {name: counts[name] for name in ordered(counts)}
    return TrainingStore(Path(out), by_part["train"], by_part["val"], by_part["test"], left_out, known)


def _wanted(atlas: Atlas, sources: Sequence[Source], *, rehearse: bool) -> dict[str, tuple[str, ...]]:
    """Case -> structures to teach; cases without any are left out."""
    origins = {key: atlas.provenance(key) for key in atlas.cases}
    wanted = {key: [n for n, p in found.items() if p.source in sources] for key, found in origins.items()}
    wanted = {key: names for key, names in wanted.items() if names}
    if rehearse:
        taught = {name for names in wanted.values() for name in names}
        for key, names in wanted.items():
            names += [name for name in origins[key] if name not in taught]
    return {key: ordered(names) for key, names in wanted.items()}


def _write(atlas: Atlas, key: str, names: Sequence[str], split: str, root: Path) -> None:
    record, labels = atlas.store.record(key), atlas.labels(key)
    indices, table, ignore = _palette(atlas, key, labels, names)
    affine = np.array(record.affine)
    write_case(
        root,
        **_facts(record),
        split=split,
        ct=Volume(atlas.store.case(key).ct(), affine, key),
        labels=Volume(indices, affine, key),
        table=table,
        ignore=ignore,
        annotated=frozenset(names),
    )


def _palette(
    atlas: Atlas, key: str, labels: LabelSet, names: Sequence[str]
) -> tuple[npt.NDArray[Any], tuple[frozenset[str], ...], int | None]:
    """Indices and table of the wanted structures; voxels that the dataset leaves open stay open."""
    builder = PaletteBuilder(labels.shape)
    for name in names:
        builder.add(name, labels.mask(name))
    indices, table = builder.finish()
    case = atlas.store.case(key)
    if case.record.ignored_voxels == 0:
        return indices, table, None
    if len(table) == 256 and indices.dtype == np.uint8:
        indices = indices.astype(np.uint16)
    indices[case.labels() == case.ignore] = len(table)
    return indices, (*table, frozenset()), len(table)


def _facts(record: CaseRecord) -> dict[str, Any]:
    """What does not change with the labels."""
    kept = ("dataset", "case", "scan", "subject", "variant", "source", "original_shape", "flags", "scan_hash")
    return {name: getattr(record, name) for name in kept} | {"original_affine": np.array(record.original_affine)}

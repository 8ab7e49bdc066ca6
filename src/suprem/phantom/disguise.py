"""A phantom in the clothes of a public dataset: its files, names, numbering and known quirks, with the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suprem.datasets import DatasetSpec, Files, LabelMap, LabelRule, Variant
from suprem.errors import ConfigurationError
from suprem.labels import structure
from suprem.phantom._disguise_files import write_mask_slices, write_series
from suprem.phantom.generator import PhantomCase, _oriented
from suprem.volumes.geometry import Volume, to_ras
from suprem.volumes.io import write_volume

__all__ = ["Disguise", "disguise"]


@dataclass(frozen=True, eq=False)
class Disguise:
    """What was written.

    Attributes:
        case: its name in the dataset.
        paths: the files, those of the image first.
        truth: structure -> bool (X, Y, Z) in RAS, for every structure that the labels annotate and the phantom models.
            Where a label map has one value for several structures to choose from, a voxel belongs to the one written:
            lesions come first, then the value that says most, then the lowest value.
    """

    case: str
    paths: tuple[Path, ...]
    truth: Mapping[str, npt.NDArray[np.bool_]]


def disguise(
    case: PhantomCase,
    spec: DatasetSpec,
    variant: Variant | str,
    root: Path,
    *,
    family: Files | None = None,
    values: Mapping[str, str] | None = None,
    orientation: str | None = None,
) -> Disguise:
    """Writes a phantom as one case of a dataset, below the dataset's own folder.

    What the phantom does not model is left out; a mask per structure is then empty. A part that it does not tell from
    its whole, such as a lobe of the lung, stands for the whole.

    Args:
        case: The phantom.
        spec: The dataset.
        variant: One of its layouts.
        root: Folder for the dataset's own folder.
        family: Which of the variant's families of files; ``None`` takes the first with labels.
        values: Field -> value in the paths; fields that are not given take their example.
        orientation: Of NIfTI files, ``"RAS"`` by default; a DICOM series has that of its dataset.

    Raises:
        ConfigurationError: the variant has no labels, or an orientation is asked of a DICOM series.
        UnknownNameError: the dataset has no such variant.

    Example:
        >>> import tempfile
        >>> from suprem.datasets import dataset
        >>> from suprem.phantom import generate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = disguise(generate(3, spacing_mm=(9.0, 9.0, 9.0)), dataset("lits"), "official", Path(folder))
        >>> sorted(made.truth)
        ['liver', 'liver_tumor']
    """
    layout = spec.variant(variant) if isinstance(variant, str) else variant
    family = family or next((found for found in layout.files if found.label), None)
    if family is None or not family.label:
        raise ConfigurationError(f"Variant {layout.name!r} of {spec.slug} has no labels here; choose another.")
    dicom = layout.image_format == "dicom"
    if dicom and orientation:
        raise ConfigurationError(
            f"orientation is {orientation!r}, but {spec.slug} ({layout.name}) is a DICOM series; leave it out."
        )
    axes = _dicom_axes(spec) if dicom else orientation or "RAS"
    given = dict(values or {})
    top = root / layout.folder if layout.folder else root
    ct = _oriented(to_ras(case.ct)[0], axes)
    image = top / family.images[0].fill(**given)
    paths = write_series(ct, image) if dicom else [_write(ct, image)]
    table = spec.label_map(family.label_map)
    paths += _write_labels(case, layout, family, table, top, given, axes, spec)
    if spec.describe:
        paths.append(_write_description(top, family, table))
    chosen = {name: given.get(name, field.example) for name, field in family.fields.items()}
    return Disguise(family.case.format(**chosen), tuple(paths), _truth(case, table, layout))


def _dicom_axes(spec: DatasetSpec) -> str:
    # Rows of Pancreas-CT run to the front, so the normal of its slices points to the feet.
    return "LAI" if spec.slug == "pancreas_ct" else "LPS"


def _write(volume: Volume, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(volume, path)
    return path


def _write_labels(
    case: PhantomCase,
    layout: Variant,
    family: Files,
    table: LabelMap,
    top: Path,
    given: dict[str, str],
    axes: str,
    spec: DatasetSpec,
) -> list[Path]:
    palette = _oriented(to_ras(case.labels)[0], axes)
    template = family.labels[0]
    chosen = _chosen(case.table, table)
    if layout.label_format == "masks":
        written = []
        for value, rule in table.values.items():
            mask = np.array([value in found for found in chosen])[palette.array]
            path = top / template.fill(**{**given, "structure": rule.name})
            written.append(_write(Volume(mask.astype(np.uint8), palette.affine), path))
        return written
    numbers = np.array([found[0] if found else 0 for found in chosen], dtype=np.uint16)
    labels = numbers[palette.array]
    if layout.label_format == "png":
        return write_mask_slices(labels != 0, top / template.fill(**given))
    affine = palette.affine.copy()
    if spec.slug == "pancreas_ct" and layout.image_format == "dicom":
        affine[:3, 3] = 0  # as published: the origins of image and label differ
        if layout.name != "official":
            labels, affine = labels[:, :, ::-1], np.eye(4)
    small = labels.astype(np.uint8) if numbers.max() < 256 else labels
    return [_write(Volume(np.ascontiguousarray(small), affine), top / template.fill(**given))]


def _chosen(entries: tuple[frozenset[str], ...], table: LabelMap) -> list[list[int]]:
    """Palette index -> values that say what it is, the one that a label map takes first."""
    modelled = frozenset[str]().union(*entries)
    result = []
    for entry in entries:
        fitting = [
            value for value, rule in table.values.items() if value not in table.ignore and _fits(rule, entry, modelled)
        ]
        kept = [value for value in fitting if table.values[value].certain <= modelled]
        for value in fitting:
            # One kind of tumour stands for tumours, one lobe for the lung: only what nothing else says.
            if not table.values[value].structures & entry <= _said(table, kept, entry):
                kept.append(value)
        result.append(sorted(kept, key=lambda value: (*_rank(table.values[value], entry), value)))
    return result


def _said(table: LabelMap, values: list[int], entry: frozenset[str]) -> frozenset[str]:
    return entry & frozenset[str]().union(*(table.values[value].structures for value in values))


def _fits(rule: LabelRule, entry: frozenset[str], modelled: frozenset[str]) -> bool:
    certain = rule.certain & modelled
    return bool(certain or rule.pairs) and certain <= entry and all(len(entry & {*pair}) == 1 for pair in rule.pairs)


def _rank(rule: LabelRule, entry: frozenset[str]) -> tuple[bool, int]:
    """Lesions before organs, then whatever says most."""
    names = rule.structures & entry
    return not any(structure(name).group == "tumour or cyst" for name in names), -len(names)


def _truth(case: PhantomCase, table: LabelMap, layout: Variant) -> dict[str, npt.NDArray[np.bool_]]:
    palette = to_ras(case.labels)[0].array
    said = []
    for entry, values in zip(case.table, _chosen(case.table, table), strict=True):
        used = values if layout.label_format == "masks" else values[:1]
        said.append(_said(table, used, entry))
    names = table.annotated & frozenset[str]().union(*case.table)
    return {name: np.array([name in found for found in said])[palette] for name in sorted(names)}


def _write_description(top: Path, family: Files, table: LabelMap) -> Path:
    """The dataset.yaml of a user's own folder."""
    path = top / "dataset.yaml"
    lines = [f"image: {family.image[0]}", f"label: {family.label[0]}", "labels:"]
    lines += [f"  {value}: {rule.targets[0]}" for value, rule in table.values.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

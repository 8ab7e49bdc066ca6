"""Finds the cases of a dataset under a folder, and says of each file that is missing or too many what it is."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from suprem.datasets._layout import STRUCTURE, CaseFiles, Files, Variant
from suprem.datasets._templates import Template, natural_key, subfolders
from suprem.errors import ConfigurationError

if TYPE_CHECKING:
    from suprem.datasets._spec import DatasetSpec

__all__ = ["Discovery", "Problem", "discover"]

logger = logging.getLogger(__name__)

_DEPTH = 2
"""How many folders may lie between the one given and the dataset's own."""


@dataclass(frozen=True)
class Problem:
    """A case that cannot be used, and why."""

    case: str
    reason: str


@dataclass(frozen=True)
class Discovery:
    """What was found under a folder.

    Attributes:
        variant: the layout that it has.
        cases: usable cases in natural order, with or without annotation.
        problems: cases with a file missing or one too many.
        excluded: cases that the dataset's specification leaves out, with the reason.
    """

    variant: str
    cases: tuple[CaseFiles, ...]
    problems: tuple[Problem, ...] = ()
    excluded: tuple[Problem, ...] = ()


@dataclass
class _Found:
    """The matches of one family: values of the key fields -> paths."""

    family: Files
    images: dict[tuple[str, ...], list[Path]] = field(default_factory=dict)
    values: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    labels: dict[tuple[str, ...], list[Path]] = field(default_factory=dict)
    masks: dict[tuple[str, ...], dict[str, Path]] = field(default_factory=dict)


def discover(spec: "DatasetSpec", root: Path, variant: str | None = None) -> Discovery:
    """Finds the cases of ``spec`` under ``root``.

    Args:
        spec: Which dataset.
        root: The dataset's folder, or one up to two levels above it.
        variant: Which layout; ``None`` takes the only one that fits.

    Raises:
        ConfigurationError: no such folder, no case in it, or several layouts that give the labels different meanings.
        UnknownNameError: the dataset has no such variant.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder; give the folder that holds {spec.title}.")
    candidates = (spec.variant(variant),) if variant else spec.variants
    found = [(layout, _search(layout, root)) for layout in candidates]
    found = [(layout, families) for layout, families in found if families]
    if not found:
        raise ConfigurationError(_nothing_found(spec, root, candidates))
    annotated = [entry for entry in found if _label_paths(entry[1])] or found
    annotated = [entry for entry in annotated if not any(_reads_more_closely(other, entry) for other in annotated)]
    layout, families = annotated[0]
    others = [other for other, _ in annotated if other.label_maps != layout.label_maps]
    if others:
        names = ", ".join(repr(other.name) for other, _ in annotated)
        raise ConfigurationError(
            f"{root} holds {spec.title} in more than one variant ({names}), whose labels mean different things. Choose "
            "one of them with 'variant'."
        )
    result = _Assembly(spec, layout, root).run(families)
    if result.problems:
        first = result.problems[0]
        logger.warning(
            "%s: %d cases cannot be used; the first is %s: %s",
            spec.slug,
            len(result.problems),
            first.case,
            first.reason,
        )
    return result


def _nothing_found(spec: "DatasetSpec", root: Path, candidates: tuple[Variant, ...]) -> str:
    expected = "; ".join(f"{layout.name}: {root / layout.example()}" for layout in candidates)
    return f"{root} holds no case of {spec.title}. Expected is, for example, {expected}. Is it unpacked?"


def _label_paths(families: list[_Found]) -> set[Path]:
    paths = {path for found in families for several in found.labels.values() for path in several}
    return paths | {path for found in families for masks in found.masks.values() for path in masks.values()}


def _reads_more_closely(one: tuple[Variant, list[_Found]], other: tuple[Variant, list[_Found]]) -> bool:
    """Whether ``one`` explains the label files of ``other`` by more folders: img/ and label/ also lie in Training/."""
    paths = _label_paths(other[1])
    return bool(paths) and paths <= _label_paths(one[1]) and _label_depth(one[0]) > _label_depth(other[0])


def _label_depth(layout: Variant) -> int:
    return max((template.text.count("/") for family in layout.files for template in family.labels), default=0)


def _search(layout: Variant, root: Path) -> list[_Found]:
    """The matches of each family, from the highest level of folders that has any."""
    for level in _levels(layout, root):
        families = [_Found(family) for family in layout.files]
        for found in families:
            for top in level:
                _collect(found, top, root, masks=layout.label_format == "masks")
        if any(found.images for found in families):
            return families
    return []


def _levels(layout: Variant, root: Path) -> Iterator[list[Path]]:
    """Where the layout may begin: at the folder given, above it when it is a part of the layout, or below it."""
    yield [root]
    path = root.absolute()
    longest = max(len(template.leading) for family in layout.files for template in family.images)
    for up in range(1, min(longest, len(path.parts) - 1) + 1):
        if any(_lies_in(family, path.parts[-up:]) for family in layout.files):
            yield [path.parents[up - 1]]
    level = [root]
    for _ in range(_DEPTH):
        level = [folder for parent in level for folder in subfolders(parent)]
        yield level


def _lies_in(family: Files, folders: tuple[str, ...]) -> bool:
    """Whether images and labels can both lie in these leading folders."""
    kinds = [kind for kind in (family.images, family.labels) if kind]
    return all(any(template.leading[: len(folders)] == folders for template in kind) for kind in kinds)


def _collect(found: _Found, top: Path, root: Path, *, masks: bool) -> None:
    family = found.family
    key_fields = sorted(family.labels[0].names - {STRUCTURE}) if family.labels else None
    images = 0
    for template in family.images:
        for values, path in template.find(top):
            if _inside(path, root):
                key = _key(values, key_fields)
                paths = found.images.setdefault(key, [])
                if path not in paths:  # two templates may lead to one file
                    paths.append(path)
                found.values[key] = values
                images += 1
    if images and key_fields is not None:
        for template in family.labels:
            _collect_labels(found, template, top, key_fields, masks=masks)


def _inside(path: Path, root: Path) -> bool:
    return path.absolute().is_relative_to(root.absolute())


def _key(values: Mapping[str, str], names: list[str] | None) -> tuple[str, ...]:
    return tuple(values[name] for name in (sorted(values) if names is None else names))


def _collect_labels(found: _Found, template: Template, top: Path, key_fields: list[str], *, masks: bool) -> None:
    earlier = set(found.masks if masks else found.labels)  # an earlier template counts more
    for values, path in template.find(top):
        key = _key(values, key_fields)
        if key in earlier:
            continue
        if masks:
            found.masks.setdefault(key, {})[values[STRUCTURE]] = path
        else:
            found.labels.setdefault(key, []).append(path)


class _Assembly:
    """Turns matches into cases."""

    def __init__(self, spec: "DatasetSpec", layout: Variant, root: Path) -> None:
        self.spec = spec
        self.layout = layout
        self.root = root
        self.cases: dict[str, CaseFiles] = {}
        self.problems: dict[str, str] = {}
        self.excluded: dict[str, str] = {}

    def run(self, families: list[_Found]) -> Discovery:
        for found in families:
            for key, paths in found.images.items():
                self._add(found, key, paths)
            self._report_orphans(found)
        cases = sorted(self.cases.values(), key=lambda files: natural_key(files.case))
        if self.layout.refine:
            cases = self.layout.refine(cases)
        return Discovery(self.layout.name, tuple(cases), _problems(self.problems), _problems(self.excluded))

    def _add(self, found: _Found, key: tuple[str, ...], paths: list[Path]) -> None:
        family = found.family
        case = family.case.format(**found.values[key])
        reason = next((rule.reason for rule in self.spec.exclusions if rule.applies(case)), None)
        if reason:
            self.excluded[case] = reason
            return
        fault = self._fault(found, key, paths, case)
        if fault:
            self.cases.pop(case, None)
            self.problems[case] = fault
            return
        label = self._label(found, key, paths[0])
        masks, mask_flags = self._masks(family, found.masks.get(key, {}))
        scan = self.spec.scan_of(case)
        subject = f"{self.spec.slug}/{family.subject.format(**found.values[key])}" if family.subject else scan
        self.cases[case] = CaseFiles(
            dataset=self.spec.slug,
            variant=self.layout.name,
            case=case,
            image=paths[0],
            image_format=self.layout.image_format,
            label=label,
            masks=masks,
            label_format=self.layout.label_format,
            label_map=family.label_map if label is not None or masks else None,
            split=family.split,
            subject=subject,
            scan=scan,
            flags=tuple(rule.reason for rule in self.spec.flags if rule.applies(case)) + mask_flags,
        )

    def _fault(self, found: _Found, key: tuple[str, ...], paths: list[Path], case: str) -> str | None:
        """What is wrong with the files of a case, ``None`` when nothing is."""
        if len(paths) > 1:
            return f"there are {len(paths)} images: {self._listed(paths)}. Keep one of them."
        if case in self.cases:
            return f"two images have this name: {self._listed([self.cases[case].image, paths[0]])}. Keep one of them."
        if case in self.problems:
            return self.problems[case]
        labels = found.labels.get(key, [])
        if len(labels) > 1 and self._label(found, key, paths[0]) is None:
            return f"there are {len(labels)} labels: {self._listed(labels)}. Keep one of them."
        has_label = bool(labels) or key in found.masks
        if found.family.labels and not has_label and not found.family.partly_labelled:
            expected = found.family.labels[-1].fill(**found.values[key], **{STRUCTURE: "<structure>"})
            return f"its label {expected} is missing. Unpack the labels, or remove the image."
        return None

    def _label(self, found: _Found, key: tuple[str, ...], image: Path) -> Path | None:
        """The label of an image; among several the one that lies beside it."""
        labels = found.labels.get(key, [])
        if len(labels) > 1:
            labels = [path for path in labels if path.parent == image.parent]
        return labels[0] if len(labels) == 1 else None

    def _masks(self, family: Files, found: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
        """The masks that the numbering knows, and what has to be said about the others."""
        if not found:
            return {}, ()
        known = {rule.name for rule in self.spec.label_map(family.label_map).values.values() if rule.op != "drop"}
        missing, foreign = sorted(known - found.keys()), sorted(found.keys() - known)
        flags = []
        if missing:
            flags.append(f"no mask of {', '.join(missing)}: taken as not annotated")
        if foreign:
            flags.append(f"masks that are not read: {', '.join(foreign)}")
        return {name: path for name, path in sorted(found.items()) if name in known}, tuple(flags)

    def _report_orphans(self, found: _Found) -> None:
        names = sorted(found.family.labels[0].names - {STRUCTURE}) if found.family.labels else []
        for key in (found.labels.keys() | found.masks.keys()) - found.images.keys():
            values = dict(zip(names, key, strict=True))
            expected = found.family.images[0].fill(**values)
            name = (
                found.family.case.format(**values) if Template(found.family.case, {}).names <= values.keys() else key[0]
            )
            if not any(rule.applies(name) for rule in self.spec.exclusions):
                self.problems[name] = f"it has a label but no image; {expected} is missing."

    def _listed(self, paths: list[Path]) -> str:
        return ", ".join(str(p.relative_to(self.root) if p.is_relative_to(self.root) else p) for p in paths)


def _problems(reasons: Mapping[str, str]) -> tuple[Problem, ...]:
    return tuple(Problem(case, reasons[case]) for case in sorted(reasons, key=natural_key))

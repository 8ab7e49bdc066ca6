"""How a dataset lies on disk: families of files, and the cases found in them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from suprem.datasets._templates import Field, Template
from suprem.errors import ConfigurationError

__all__ = ["CaseFiles", "CaseRule", "Files", "IdentityRule", "ImageFormat", "LabelFormat", "Variant"]

ImageFormat = Literal["file", "dicom"]
"""``file``: one volume in one file, e.g. NIfTI. ``dicom``: a folder that holds one series."""
LabelFormat = Literal["file", "masks", "png"]
"""``file``: one label map. ``masks``: one binary file per structure. ``png``: a folder with one mask slice per file."""

STRUCTURE = "structure"
"""The field of a label template that stands for the structure's name where each has a file of its own."""


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, and what is known before they are read.

    Attributes:
        dataset: the dataset's name.
        variant: which of its layouts.
        case: unique within the dataset and fit for a file name.
        image: the CT: a file, or the folder of a DICOM series.
        image_format: what ``image`` is.
        label: the label map, or the folder of PNG masks; ``None`` without annotation or with one mask per structure.
        masks: structure, as the dataset calls it -> its binary mask.
        label_format: what ``label`` or ``masks`` are.
        label_map: name of the numbering of its label; ``None`` without annotation.
        split: the official part it belongs to, e.g. ``"train"``.
        subject: the patient, as far as the names tell; scans of one patient belong in one split.
        scan: names the scan itself: equal for the same scan in another dataset or release.
        flags: what to know before trusting it.
    """

    dataset: str
    variant: str
    case: str
    image: Path
    image_format: ImageFormat = "file"
    label: Path | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    label_format: LabelFormat = "file"
    label_map: str | None = None
    split: str | None = None
    subject: str = ""
    scan: str = ""
    flags: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether there is anything to train on or to compare with."""
        return self.label is not None or bool(self.masks)


@dataclass(frozen=True)
class Files:
    """One family of cases: where its images and labels lie.

    Attributes:
        image: templates of the image, relative to the variant's folder; the same data may lie in either place.
        label: templates of the label, the ones that count first; empty where none was published. With
            ``{structure}`` in the file name there is one mask per structure.
        fields: what may stand in the fields of the templates. An image and a label belong together when the fields of
            the label's template have the same values.
        case: template of the case's name, made of the fields of the image.
        label_map: name of the numbering.
        split: official part, ``None`` where there is none.
        subject: template of the patient's name, where it is not the case itself.
        partly_labelled: an image without label is as published, not a fault of the copy.
    """

    image: tuple[str, ...]
    fields: Mapping[str, Field]
    case: str
    label: tuple[str, ...] = ()
    label_map: str = "official"
    split: str | None = None
    subject: str | None = None
    partly_labelled: bool = False

    def __post_init__(self) -> None:
        for template in (*self.images, Template(self.case, self.fields)):
            unknown = template.names - self.fields.keys()
            if unknown:
                raise ConfigurationError(f"{template.text!r} has the undeclared fields {sorted(unknown)}.")
        known = frozenset[str].intersection(*(template.names for template in self.images))
        for template in self.labels:
            foreign = template.names - known - {STRUCTURE}
            if foreign:
                raise ConfigurationError(f"{template.text!r} has fields that the image lacks: {sorted(foreign)}.")

    @property
    def images(self) -> tuple[Template, ...]:
        """The templates of the image."""
        return tuple(Template(text, self.fields) for text in self.image)

    @property
    def labels(self) -> tuple[Template, ...]:
        """The templates of the label."""
        fields = {STRUCTURE: Field(r"[\w.+-]+", "liver"), **self.fields}
        return tuple(Template(text, fields) for text in self.label)


Refine = Callable[[list[CaseFiles]], list[CaseFiles]]


@dataclass(frozen=True)
class Variant:
    """One way in which a dataset is found on disk.

    Attributes:
        name: to choose it by.
        files: its families of cases.
        folder: the folder that the official archive unpacks to; it may have another name or be absent.
        image_format: what the image templates name.
        label_format: what the label templates name.
        refine: completes the cases from tables beside them.
        confidence: how sure the layout is.
        source: where it was seen.
        note: for people.
    """

    name: str
    files: tuple[Files, ...]
    folder: str = ""
    image_format: ImageFormat = "file"
    label_format: LabelFormat = "file"
    refine: Refine | None = None
    confidence: str = "verified"
    source: str = ""
    note: str = ""

    @property
    def label_maps(self) -> tuple[str, ...]:
        """Names of the numberings of its labels."""
        return tuple(dict.fromkeys(family.label_map for family in self.files if family.label))

    def example(self) -> str:
        """The path of one image, to show what is looked for."""
        return self.files[0].images[0].fill()


@dataclass(frozen=True)
class CaseRule:
    """Something that holds for single cases.

    Attributes:
        cases: regular expression of the whole case name.
        reason: what is the matter with them.
        confidence: how sure that is.
        source: who says so.
    """

    cases: str
    reason: str
    confidence: str = "verified"
    source: str = ""

    def applies(self, case: str) -> bool:
        """Whether the case is meant."""
        return re.fullmatch(self.cases, case) is not None


@dataclass(frozen=True)
class IdentityRule:
    """Names that mean the same scan, in this dataset and in others.

    Attributes:
        cases: regular expression of the whole case name; its group ``n`` is the number of the scan.
        scan: name of the scan with ``{n}`` for the number without leading zeros.
        note: which other names mean the same scan.
        confidence: how sure that is.
        source: who says so.
    """

    cases: str
    scan: str
    note: str
    confidence: str = "verified"
    source: str = ""

    def scan_of(self, case: str) -> str | None:
        """The name of the scan, ``None`` for a case that the rule does not cover."""
        found = re.fullmatch(self.cases, case)
        return self.scan.format(**{key: int(text) for key, text in found.groupdict().items()}) if found else None

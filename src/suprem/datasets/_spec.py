"""What is known about a dataset, as frozen data, and the registry that holds one entry per module of this package."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from suprem._registry import Registry
from suprem.datasets._discover import Discovery, discover
from suprem.datasets._layout import CaseFiles, CaseRule, IdentityRule, Variant
from suprem.datasets._rules import LabelMap
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import ordered

__all__ = ["DATASETS", "Confidence", "Counts", "DatasetSpec", "Fact", "Sharing", "dataset", "list_datasets"]

Confidence = Literal["verified", "inferred", "memory", "unknown"]
"""``verified``: seen in the source that is named; ``inferred``: follows from verified facts; ``memory``: general
knowledge, not found in a source; ``unknown``: nobody seems to say."""

Sharing = Literal["allowed", "forbidden", "unsure"]
"""Whether images, resampled ones too, may be passed on. ``allowed``: under every licence that is stated;
``forbidden``: by one of them at least; ``unsure``: no statement that settles it."""


@dataclass(frozen=True)
class Fact:
    """A statement, how sure it is and who says so."""

    text: str
    confidence: Confidence = "verified"
    source: str = ""

    def __post_init__(self) -> None:
        if self.confidence not in get_args(Confidence):
            raise ConfigurationError(
                f"{self.text!r} has confidence {self.confidence!r}; known: {get_args(Confidence)}."
            )


@dataclass(frozen=True)
class Counts:
    """How many cases to expect.

    Attributes:
        public: images that can be obtained, ``None`` when not known.
        labelled: those among them with annotation.
        paper: volumes that the SuPreM paper counts.
        confidence: how sure the first two are.
        note: for people.
    """

    public: int | None
    labelled: int | None
    paper: int | None = None
    confidence: Confidence = "verified"
    note: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """One source of annotated scans: where to get it, how it lies on disk, and what its masks mean.

    Attributes:
        slug: its name here, that of the module which describes it.
        title: its name in the literature.
        homepage: page that describes it, empty when there is none.
        licence: the terms as found; where sources contradict each other, each of them.
        access: what one has to do first, e.g. ``"open"`` or ``"registration"``.
        obtain: the steps to get and unpack it.
        citation: what to cite.
        region: part of the body.
        variants: the layouts in which it is found; where several fit and mean the same, the first one counts.
        label_maps: its numberings.
        counts: how many cases to expect.
        splits: official parts and their sizes.
        exclusions: cases that are left out.
        flags: cases to be careful with.
        identity: names that mean the same scan.
        quirks: what goes wrong with it.
        to_verify: what has to be checked on the first real file.
        hub: dataset repository on the Hugging Face Hub, where it is hosted there.
        sharing: whether its images and its annotations may be passed on, changed ones too.
        describe: for data of the user's own: reads the specification from the folder.
    """

    slug: str
    title: str
    homepage: str
    licence: tuple[Fact, ...]
    access: str
    obtain: tuple[str, ...]
    citation: tuple[str, ...]
    region: str
    variants: tuple[Variant, ...]
    label_maps: tuple[LabelMap, ...]
    counts: Counts
    splits: Mapping[str, int] = field(default_factory=dict)
    exclusions: tuple[CaseRule, ...] = ()
    flags: tuple[CaseRule, ...] = ()
    identity: tuple[IdentityRule, ...] = ()
    quirks: tuple[Fact, ...] = ()
    to_verify: tuple[str, ...] = ()
    hub: str | None = None
    sharing: Sharing = "unsure"
    describe: Callable[[Path], "DatasetSpec"] | None = None

    def __post_init__(self) -> None:
        known = {table.name for table in self.label_maps}
        for variant in self.variants:
            unknown = set(variant.label_maps) - known
            if unknown:
                raise ConfigurationError(
                    f"Variant {variant.name!r} of {self.slug} uses the label maps {sorted(unknown)}."
                )

    def variant(self, name: str) -> Variant:
        """The layout of that name.

        Raises:
            UnknownNameError: there is none; the message offers the closest ones.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise UnknownNameError(did_you_mean(f"variant of {self.slug}", name, (v.name for v in self.variants)))

    def label_map(self, name: str) -> LabelMap:
        """The numbering of that name.

        Raises:
            UnknownNameError: there is none; the message offers the closest ones.
        """
        for table in self.label_maps:
            if table.name == name:
                return table
        raise UnknownNameError(did_you_mean(f"label map of {self.slug}", name, (t.name for t in self.label_maps)))

    @property
    def annotated(self) -> tuple[str, ...]:
        """Structures that at least one of its numberings annotates, in the order of the registry of structures."""
        return ordered(frozenset[str]().union(*(table.annotated for table in self.label_maps)))

    def scan_of(self, case: str) -> str:
        """The name of the scan behind a case: equal for every case, of any dataset, that is known to be the same scan.

        Example:
            >>> dataset("lits").scan_of("volume-7") == dataset("msd_liver").scan_of("liver_7")
            True
        """
        for rule in self.identity:
            scan = rule.scan_of(case)
            if scan:
                return scan
        return f"{self.slug}/{case}"

    def at(self, root: Path) -> "DatasetSpec":
        """The specification of the copy in a folder: this one, except for data of the user's own."""
        return self.describe(root) if self.describe else self

    def discover(self, root: Path | str, variant: str | None = None) -> Discovery:
        """Finds the cases under a folder, with what is missing and what is left out on purpose.

        Args:
            root: The dataset's folder, or one up to two levels above it.
            variant: Name of the layout; ``None`` takes the only one that fits.

        Raises:
            ConfigurationError: no such folder, no case in it, or several layouts whose labels mean different things.
            UnknownNameError: no variant is called that.
        """
        return discover(self.at(Path(root)), Path(root), variant)

    def cases(self, root: Path | str, variant: str | None = None) -> list[CaseFiles]:
        """The usable cases under a folder; the others are counted in a warning and listed by :meth:`discover`.

        Args:
            root: The dataset's folder, or one up to two levels above it.
            variant: Name of the layout; ``None`` takes the only one that fits.
        """
        return list(self.discover(root, variant).cases)


DATASETS: Registry[DatasetSpec] = Registry("dataset", "suprem.datasets")


def list_datasets() -> tuple[str, ...]:
    """Names of all datasets that are known, whether or not they are on this computer.

    Example:
        >>> "amos22" in list_datasets()
        True
    """
    return DATASETS.names()


def dataset(name: str) -> DatasetSpec:
    """What is known about a dataset.

    Raises:
        UnknownNameError: no dataset is called that; the message offers the closest names.

    Example:
        >>> spec = dataset("word")
        >>> spec.label_map("official").values[3].targets
        ('kidney_left',)
    """
    return DATASETS.get(name)

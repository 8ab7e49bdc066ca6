"""Under which terms the images of a dataset came, and so whether they may be passed on."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from suprem.datasets import dataset, list_datasets
from suprem.errors import ConfigurationError

__all__ = ["Terms", "terms_of"]

_OPEN = re.compile(r"(CC0|PDDL|ODbL|ODC-By|CC-BY(-NC)?(-SA)?|CDLA-Permissive|CDLA-Sharing)-\d\.\d")
"""Identifiers of SPDX for licences of data that allow changed copies to be passed on."""


@dataclass(frozen=True)
class Terms:
    """What may be done with the images of one dataset and with the labels that it brought.

    Attributes:
        dataset: its name in the store.
        title: its name in the literature.
        licence: as stated; several statements are separated by slashes.
        stated_by: who says so.
        shared: images and the dataset's own annotations may be passed on.
        reason: why, or why not.
        public: everybody can obtain the dataset, so the names of its cases are no secret.
        homepage: page that describes it; empty where there is none.
        citation: what to cite.
    """

    dataset: str
    title: str
    licence: str
    stated_by: str
    shared: bool
    reason: str
    public: bool
    homepage: str = ""
    citation: tuple[str, ...] = ()


def terms_of(names: Iterable[str], stated: Mapping[str, str] | None = None) -> dict[str, Terms]:
    """The terms of datasets, by name.

    Args:
        names: Of datasets, as the store calls them.
        stated: Dataset -> licence, for datasets whose terms are not known here: an SPDX identifier, or a sentence.

    Raises:
        ConfigurationError: nothing is known of a dataset and nothing is stated; or terms are stated for a dataset whose
            terms are known, or which is not among ``names``.

    Example:
        >>> found = terms_of(["lits", "folder"], {"folder": "CC-BY-4.0"})
        >>> found["lits"].shared, found["folder"].shared
        (False, True)
    """
    wanted, given = sorted(set(names)), dict(stated or {})
    for name in given:
        if name not in wanted:
            raise ConfigurationError(f"A licence is given for {name!r}; the datasets are {', '.join(wanted)}.")
    return {name: _terms(name, given.get(name, "").strip()) for name in wanted}


def _terms(name: str, given: str) -> Terms:
    spec = dataset(name) if name in list_datasets() else None
    if spec is None or all(fact.confidence == "unknown" for fact in spec.licence):
        if not given:
            raise ConfigurationError(
                f"The terms of dataset {name!r} are not known. State them with --licence {name}=IDENTIFIER, such as "
                f"{name}=CC-BY-4.0; under anything but an open licence its images are not included."
            )
        is_open = _OPEN.fullmatch(given) is not None
        reason = f"{given} allows it" if is_open else f"{given!r} is no open licence for data that is known here"
        public = spec is not None and bool(spec.homepage)
        title, homepage, citation = (spec.title, spec.homepage, spec.citation) if spec and public else (name, "", ())
        return Terms(name, title, given, "stated by who released it", is_open, reason, public, homepage, citation)
    if given:
        known = " / ".join(fact.text for fact in spec.licence)
        raise ConfigurationError(
            f"A licence is given for {name!r}, whose terms are known ({known}); leave it out. If you have another "
            "permission, say so in the data card."
        )
    reason = {
        "allowed": "every licence that is stated allows it",
        "forbidden": "a licence that is stated forbids it, or forbids changed copies such as resampled ones",
        "unsure": "no licence that is stated settles it, which counts as forbidden",
    }[spec.sharing]
    return Terms(
        name,
        spec.title,
        " / ".join(fact.text for fact in spec.licence),
        "; ".join(dict.fromkeys(fact.source or fact.confidence for fact in spec.licence)),
        spec.sharing == "allowed",
        reason,
        bool(spec.homepage),
        spec.homepage,
        spec.citation,
    )

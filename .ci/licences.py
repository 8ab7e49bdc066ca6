"""Fails when something that `pip install suprem` brings along has a licence that has not been looked at.

    python .ci/licences.py [EXTRA...]

Walks the requirements of suprem and of the named extras (all that users install, if none is named) through the
metadata of the installed packages. GPL and AGPL are refused: they would bind whoever ships an application with suprem
in it. Tools for development are run, not shipped, and are not looked at. Prints one line per package with a finding,
and returns 1 if there is one.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("dicom", "distributed", "export", "remote", "text", "wandb")

ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC",
        "LLVM-exception", "MIT", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip

WEAK_COPYLEFT = {
    "certifi": ("MPL-2.0", "a list of certificates, used as it is"),
    "tqdm": ("MPL-2.0", "used as it is; the licence is per file"),
    "connected-components-3d": ("LGPL-3.0-or-later", "a separate extension module that anybody can replace"),
}
"""Copyleft that ends at the package itself: licence and why it is acceptable."""

# Texts from before SPDX expressions, and the classifiers of the package index.
_SPELLINGS = (
    (r"apache.*", "Apache-2.0"),
    (r"(the )?mit license( \(mit\))?|mit", "MIT"),
    (r"(new |3-clause )?bsd( 3-clause)?( license)?( \(3-clause\))?|3-clause bsd license", "BSD-3-Clause"),
    (r"isc license( \(iscl\))?", "ISC"),
    (r"python software foundation license", "PSF-2.0"),
    (r"mozilla public license 2\.0.*", "MPL-2.0"),
)


def requirements(name: str, extras: Iterable[str]) -> Mapping[str, Distribution | None]:
    """Everything that ``name`` needs with its ``extras`` on this machine; ``None`` for what is not installed."""
    found: dict[str, Distribution | None] = {}
    ahead, seen = [(canonicalize_name(name), frozenset(extras))], set()
    while ahead:
        place = ahead.pop()
        if place in seen:
            continue
        seen.add(place)
        package, wanted = place
        try:
            found[package] = distribution(package)
        except PackageNotFoundError:
            found[package] = None
            continue
        for line in found[package].requires or ():  # type: ignore[union-attr]
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *wanted}):
                ahead.append((canonicalize_name(need.name), frozenset(need.extras)))
    return found


def licence(package: Distribution) -> str:
    """The SPDX expression, else the old field where it is short, else the classifiers."""
    metadata = package.metadata
    classifiers = [text.rsplit(" :: ", 1)[-1] for text in metadata.get_all("Classifier", []) if "License ::" in text]
    old = str(metadata.get("License") or "").strip()
    if old.lower() in ("dual license",) or "\n" in old or len(old) > 60:
        old = ""
    return str(metadata.get("License-Expression") or old or " OR ".join(classifiers))


def accepted(name: str, text: str) -> bool:
    """Whether every part of an expression, or one of its alternatives, is in the lists."""
    own = WEAK_COPYLEFT.get(name, ("",))[0]

    def known(part: str) -> bool:
        plain = part.strip(" ()")
        spelled = next((spdx for pattern, spdx in _SPELLINGS if re.fullmatch(pattern, plain.lower())), plain)
        return spelled in ALLOWED or (bool(own) and spelled == own)

    alternatives = re.split(r"\bOR\b", text)
    return any(all(known(part) for part in re.split(r"\bAND\b|\bWITH\b", choice)) for choice in alternatives)


def findings(packages: Mapping[str, Distribution | None]) -> list[str]:
    """One sentence per package that is not accepted."""
    texts = {name: licence(package) for name, package in packages.items() if package is not None}
    return [
        f"{name} has the licence {text or 'unknown'!r}: read it, then add it to {__file__} or replace the package."
        for name, text in sorted(texts.items())
        if not accepted(name, text)
    ]


def main(extras: list[str]) -> int:
    """Prints what was found."""
    packages = requirements("suprem", extras or EXTRAS)
    absent = sorted(name for name, package in packages.items() if package is None)
    problems = findings(packages)
    for line in problems:
        print(line)
    looked = len(packages) - len(absent)
    print(f"{looked} packages, {len(problems)} findings; not installed: {', '.join(absent) or 'none'}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

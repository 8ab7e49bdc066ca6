"""Opens every file of the hostile corpus in one process and tells what happened to each.

    python hostile_client.py FOLDER

FOLDER holds ``published``, a valid published folder. Prints one JSON object.
"""

import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

from tests.zoo.hostile import Hostile, write_corpus


def open_it(case: Hostile, target: Path) -> str:
    """``"opened"``, or the class and message of the refusal."""
    from suprem.errors import SupremError
    from suprem.zoo import verify
    from suprem.zoo.card import parse_card
    from suprem.zoo.convert import convert

    try:
        if case.kind == "file":
            convert(case.path, target, backbone="segresnet_tiny", source_classes=["liver", "spleen"])
        elif case.kind == "card":
            parse_card(case.path.read_text(), case.path.name)
        else:
            report = verify(f"local-dir:{case.path}", progress=False)
            if not report.ok:
                return "refused: verification: " + "; ".join(c.detail for c in report.checks if c.outcome == "failed")
        return "opened"
    except SupremError as error:
        return f"refused: {type(error).__name__}: {error}"
    except BaseException as error:
        return f"CRASHED: {type(error).__name__}: {error}"


def files_below(folder: Path) -> set[str]:
    """Everything there is."""
    return {str(path) for path in folder.rglob("*")}


def main(folder: Path) -> dict[str, Any]:
    """Opens all and compares what lies outside the target before and after."""
    logging.disable(logging.CRITICAL)
    corpus, targets, marker = folder / "corpus", folder / "targets", folder / "RAN"
    for path in (corpus, targets, folder / "cwd"):
        path.mkdir()
    os.chdir(folder / "cwd")
    cases = write_corpus(corpus, marker, folder / "published")
    open_it(Hostile("valid", "folder", folder / "published"), targets / "none")  # imports, before memory is measured
    memory, before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, files_below(folder)
    outcomes = [[case.name, open_it(case, targets / str(number))] for number, case in enumerate(cases)]
    outside = {path for path in files_below(folder) - before if not path.startswith(f"{targets}{os.sep}")}
    left = sorted(path.name for path in targets.iterdir() if not (path / "model.safetensors").is_file())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return {
        "outcomes": outcomes,
        "ran": marker.exists(),
        "outside": sorted(outside),
        "left half": left,
        "grown_mib": grown / 1024,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))

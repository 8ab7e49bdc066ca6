"""Publishes releases in a process of its own, since the Hub's client reads its settings at import.

    python release_push_client.py MODE FOLDER

FOLDER gets atlases and releases. Prints one JSON object: scenario -> what happened.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.atlas.release_cases import block, make_atlas, revise
from tests.hub_uploads import READ_TOKEN
from tests.zoo.hub_client import listen, outcome
from tests.zoo.push_client import as_user, control

MARK = "**To be filled in:**"


def push(folder: Path, repo: str, **options: Any) -> Callable[[], Any]:
    """A push as a scenario."""
    from suprem.atlas.release.push import push_release

    def run() -> Any:
        done = push_release(folder, repo, progress=False, **options)
        return {"commit": done.commit, "uploaded": list(done.uploaded), "kept": done.readme_kept, "url": done.url}

    return run


def fill_in(folder: Path) -> None:
    """What a person does."""
    path = folder / "README.md"
    path.write_text(path.read_text("utf-8").replace(MARK, "Answered:"), "utf-8")


def releases(folder: Path) -> tuple[Path, Path]:
    """Two versions of one atlas: a revision lies between them."""
    from suprem.atlas.release import ReleaseOptions, release_atlas

    atlas = make_atlas(folder, (("chaos_ct", "1"), ("lits", "volume-7")))
    release_atlas(atlas, folder / "one", ReleaseOptions(name="Ours"))
    revise(atlas, "chaos_ct/1", "ann", {"liver": block(3, 9)})
    release_atlas(atlas, folder / "two", ReleaseOptions(name="Ours", version="1.1"))
    return folder / "one", folder / "two"


def online(folder: Path) -> dict[str, Any]:
    """Scenarios against the server, in order."""
    one, two = releases(folder)
    results = {"unfilled": outcome(push(one, "acme/unfilled"))}
    fill_in(one)
    fill_in(two)
    results["first"] = outcome(push(one, "acme/atlas", tag="v1", private=True))
    results["again"] = outcome(push(one, "acme/atlas", tag="v1"))
    results["old tag"] = outcome(push(two, "acme/atlas", tag="v1"))
    results["second"] = outcome(push(two, "acme/atlas", tag="v2"))
    control(move_before_commit=True)
    results["moved meanwhile"] = outcome(push(one, "acme/atlas"))
    control(fail={"commit": [503]})
    results["commit fails"] = outcome(push(one, "acme/retry"))
    results["repeated"] = outcome(push(one, "acme/retry"))
    results["read token"] = outcome(as_user(READ_TOKEN, push(one, "acme/new")))
    results["no owner"] = outcome(push(one, "atlas"))
    results["bad tag"] = outcome(push(one, "acme/atlas", tag="version one"))
    before = control()["commits"]
    results |= refused(folder, one)
    results["commits of refused"] = {"result": control()["commits"] - before}
    return results


def refused(folder: Path, one: Path) -> dict[str, Any]:
    """Folders that are not what was released."""
    case = next(path.parent for path in one.glob("*/case.json") if '"lits"' in path.read_text())
    scan = next(one.glob("*/ct.nii.gz"))

    def spoilt(name: str, change: Callable[[Path], Any]) -> dict[str, Any]:
        copy = Path(shutil.copytree(one, folder / name))
        change(copy)
        return outcome(push(copy, "acme/refused"))

    return {
        "re-assembled": spoilt("re-assembled", lambda c: shutil.copy(scan, c / case.name / "ct.nii.gz")),
        "foreign file": spoilt("foreign", lambda c: (c / "notes.txt").write_text("x")),
        "missing file": spoilt("missing", lambda c: (c / "ids.csv").unlink()),
        "changed file": spoilt("changed", lambda c: (c / "ids.csv").write_text("id\n")),
        "other checksums": spoilt("sums", lambda c: (c / "SHA256SUMS").write_text("0  ids.csv\n")),
        "unfinished": spoilt("unfinished", lambda c: (c / "release.json").unlink()),
        "forged": spoilt("forged", lambda c: forge(c, case.name, scan)),
    }


def forge(folder: Path, case: str, scan: Path) -> None:
    """Puts a CT in that the terms forbid, and makes the tables say that it belongs there."""
    from suprem._files import sha256_file

    shutil.copy(scan, folder / case / "ct.nii.gz")
    path = folder / case / "case.json"
    path.write_text(path.read_text().replace('"ct_included": false', '"ct_included": true'))
    names = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in sorted([*names, f"{case}/ct.nii.gz"])]
    (folder / "SHA256SUMS").write_text("".join(lines))
    release = json.loads((folder / "release.json").read_text())
    release["checksums_sha256"] = sha256_file(folder / "SHA256SUMS")
    (folder / "release.json").write_text(json.dumps(release))


if __name__ == "__main__":
    listen()
    sys.stdout.write(json.dumps({"online": online}[sys.argv[1]](Path(sys.argv[2]))))

"""Uses dataset repositories in a process of its own, since the Hub's client reads its settings at import.

    python hub_datasets_client.py FOLDER

Prints one JSON object: scenario -> what happened.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def command(*arguments: str) -> dict[str, Any]:
    """What `suprem` answers."""
    from suprem.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def read(address: str, cache: Path) -> dict[str, Any]:
    """The sum of the HU of every case of a store, or the error."""
    from suprem.errors import SupremError
    from suprem.volumes import _remote
    from suprem.volumes.store import Store

    _remote.RETRY_WAITS_S = (0.01,)
    try:
        store = Store.open(address, cache_dir=cache)
        return {record.key: int(store.case(record.key).ct().astype("int64").sum()) for record in store.records}
    except SupremError as error:
        return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    folder = Path(sys.argv[1])
    pull = ("data", "pull", "abdomenatlas_1_0", "--out", str(folder / "raw"))
    answers = {
        "nobody accepts": command(*pull),
        "pulled": command(*pull, "--yes"),
        "pulled again": command(*pull, "--yes"),
        "one file, packed": command(
            "data", "pull", "abdomenatlas_1_0", "-o", str(folder / "one"), "--yes", "--only", "*_b.tar.gz",
            "--no-unpack",
        ),
        "gated": command("data", "pull", "abdomenatlas_1_1", "-o", str(folder / "gated"), "--yes"),
        "not on the Hub": command("data", "pull", "word", "-o", str(folder / "word"), "--yes"),
        "prepared": command(
            "data", "prepare", "abdomenatlas_1_0", "--root", str(folder / "raw"), "-o", str(folder / "store"),
            "--spacing", "own",
        ),
        "store": read("hf://datasets/acme/stores@" + "c" * 40 + "/small", folder / "cache"),
        "store, gated": read("hf://datasets/acme/gated/small", folder / "cache"),
        "store, none": read("hf://datasets/acme/none/small", folder / "cache"),
    }  # fmt: skip
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()

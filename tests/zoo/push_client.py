"""Runs uploads in a process of its own, since the Hub's client reads its settings at import.

    python push_client.py MODE FOLDER

FOLDER holds ``first`` and ``second``, two published folders of the same network with other weights. Prints one JSON
object: scenario -> what happened.
"""

import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hub_uploads import READ_TOKEN
from tests.zoo.hub_client import listen, outcome


def control(**wanted: Any) -> dict[str, Any]:
    """Tells the server what to do next; returns what it has seen so far."""
    request = urllib.request.Request(f"{os.environ['HF_ENDPOINT']}/control", json.dumps(wanted).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        seen: dict[str, Any] = json.loads(answer.read())
    return seen


def push(folder: Any, repo: str, **options: Any) -> Callable[[], Any]:
    """A push as a scenario."""
    from suprem import push_to_hub

    def run() -> Any:
        done = push_to_hub(folder, repo, progress=False, **options)
        return {"commit": done.commit, "uploaded": list(done.uploaded), "kept": done.readme_kept, "tag": done.tag}

    return run


def as_user(token: str | None, action: Callable[[], Any]) -> Callable[[], Any]:
    """The same with another token."""

    def run() -> Any:
        before = os.environ.pop("HF_TOKEN")
        try:
            if token is not None:
                os.environ["HF_TOKEN"] = token
            return action()
        finally:
            os.environ["HF_TOKEN"] = before

    return run


def round_trip(folder: Path) -> dict[str, Any]:
    """What comes back is what was sent, to the last bit."""
    import numpy as np
    import torch

    from suprem import load_pretrained, push_to_hub

    pushed = push_to_hub(folder / "first", "acme/liver", tag="v1", licence="apache-2.0", private=True, progress=False)
    here = load_pretrained(f"local-dir:{folder / 'first'}")
    image = torch.from_numpy(np.random.default_rng(3).random((1, 1, 16, 16, 16), dtype=np.float32))
    answers = []
    for source in (pushed.source, "hf-hub:acme/liver@v1"):
        there = load_pretrained(source, cache_dir=folder / "cache", progress=False)
        with torch.inference_mode():
            same_logits = torch.equal(here.eval()(image), there.eval()(image))
        states = zip(here.state_dict().items(), there.state_dict().items(), strict=True)
        answers.append(same_logits and all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in states))
    record = json.loads((folder / "first" / "pushed.json").read_text())
    return {"same": answers, "record": record, "commit": pushed.commit, "uploaded": list(pushed.uploaded)}


def online(folder: Path) -> dict[str, Any]:
    """Scenarios against the server, in order."""
    from suprem import load_pretrained

    first, second = folder / "first", folder / "second"
    results = {"round trip": outcome(lambda: round_trip(folder))}
    results["again"] = outcome(push(first, "acme/liver", tag="v1", licence="apache-2.0"))
    results["other weights, old tag"] = outcome(push(second, "acme/liver", tag="v1"))
    results["other weights"] = outcome(push(second, "acme/liver", tag="v2"))
    results["old content, new tag"] = outcome(push(second, "acme/liver", tag="v2"))
    control(edit=["acme/liver", "README.md", "# Mine\n"])
    results["README on the Hub"] = outcome(push(first, "acme/liver"))

    control(fail={"commit": [503]})
    results["commit fails"] = outcome(push(first, "acme/retry"))
    before = control()["received"]
    results["repeated"] = outcome(push(first, "acme/retry"))
    results["sent again"] = {"result": control()["received"] - before}
    control(fail={"storage": [500, 503]})
    results["storage stutters"] = outcome(push(second, "acme/stutter"))
    control(move_before_commit=True)
    results["moved meanwhile"] = outcome(push(second, "acme/retry"))

    results["read token"] = outcome(as_user(READ_TOKEN, push(first, "acme/new")))
    results["no token"] = outcome(as_user(None, push(first, "acme/new")))
    results["other licence"] = outcome(push(first, "acme/new", licence="no-such-licence"))
    results["bad licence"] = outcome(push(first, "acme/new", licence="Apache 2\nx: 1"))
    results["bad tag"] = outcome(push(first, "acme/new", tag="version one"))
    for name in ("a\nb/c", "alone", "../up/x", "acme/x--y"):
        results[f"repo {name!r}"] = outcome(push(first, name))

    damaged = Path(shutil.copytree(first, folder / "damaged"))
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    before = control()["commits"]
    results["damaged"] = outcome(push(damaged, "acme/damaged"))
    (damaged / "README.md").unlink()
    results["no README"] = outcome(push(damaged, "acme/damaged"))
    results["commits of damaged"] = {"result": control()["commits"] - before}

    (folder / "run").mkdir()
    shutil.copytree(first, folder / "run" / "model")
    (folder / "run" / "model" / "README.md").write_text("---\nlicense: mit\n---\n\n# By hand, see local-dir:PATH\n")
    results["run, README by hand"] = outcome(push(folder / "run", "acme/run", licence="other"))
    results["network"] = outcome(push(load_pretrained(f"local-dir:{first}"), "acme/network"))
    return results


def alone(folder: Path) -> dict[str, Any]:
    """One push, where the environment is what is tested."""
    return {"push": outcome(push(folder / "first", "acme/alone"))}


if __name__ == "__main__":
    listen()
    sys.stdout.write(json.dumps({"online": online, "alone": alone}[sys.argv[1]](Path(sys.argv[2]))))

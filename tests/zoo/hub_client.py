"""Runs download scenarios in a process of its own, since the Hub's client reads its settings at import.

    python hub_client.py MODE CACHE_DIR

Prints one JSON object: scenario -> what happened.
"""

import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MESSAGES: list[str] = []
PIN = "c" * 40


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        MESSAGES.append(record.getMessage())


def listen() -> None:
    """Collects what the package logs."""
    logging.getLogger("suprem").addHandler(_Keep())


def outcome(action: Callable[[], Any]) -> dict[str, Any]:
    """What ``action`` returned or raised, and what was logged."""
    MESSAGES.clear()
    try:
        result = action()
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error), "log": list(MESSAGES)}
    return {"result": result, "log": list(MESSAGES)}


def known_card(name: str, repo: str, filename: str, **file: Any) -> Any:
    """A real card whose file lies on the test server."""
    from suprem.zoo import card

    known = card(name)
    location = dataclasses.replace(known.location, repo=repo, filename=filename)
    facts = {"size_bytes": None, "sha256": None, **file}
    return dataclasses.replace(known, location=location, file=dataclasses.replace(known.file, **facts))


def online(cache: Path) -> dict[str, Any]:
    """Scenarios against the server."""
    from suprem.zoo import card, hub

    hub.RETRY_WAITS_S = (0.05, 0.05)

    def fetch(repo: str, filename: str, **facts: Any) -> Callable[[], Any]:
        def run() -> Any:
            fetched = hub.fetch_file(hub.HubFile(repo, filename, **facts), cache_dir=cache, progress=False)
            return {"path": str(fetched.path), "sha256": fetched.sha256, "commit": fetched.commit}

        return run

    def from_card(known: Any) -> Callable[[], Any]:
        return lambda: str(hub.fetch_card(known, cache_dir=cache, progress=False).path)

    good = json.loads((cache / "good.json").read_text())
    card_good = known_card("unet.suprem_2100", "acme/carded", "weights.pth", **good)
    results = {
        "small": outcome(fetch("acme/good", "config.json")),
        "large": outcome(fetch("acme/good", "weights.pth")),
        "pinned": outcome(fetch("acme/good", "weights.pth", revision=PIN)),
        "interrupted": outcome(fetch("acme/interrupted", "weights.pth")),
        "wrong content": outcome(fetch("acme/corrupt", "weights.pth")),
        "wrong content, small": outcome(fetch("acme/corrupt", "config.json")),
        "wrong content, again": outcome(fetch("acme/corrupt", "weights.pth", revision=PIN)),
        "shorter content": outcome(fetch("acme/corrupt", "short.pth")),
        "no such repo": outcome(fetch("acme/none", "weights.pth")),
        "no such file": outcome(fetch("acme/good", "none.pth")),
        "no such revision": outcome(fetch("acme/good", "weights.pth", revision="v9")),
        "login": outcome(fetch("acme/private", "weights.pth")),
        "gated": outcome(fetch("acme/gated", "weights.pth")),
        "forbidden": outcome(fetch("acme/forbidden", "weights.pth")),
        "limited": outcome(fetch("acme/limited", "weights.pth")),
        "down": outcome(fetch("acme/down", "weights.pth")),
        "hiccup": outcome(fetch("acme/hiccup", "weights.pth")),
        "bad repo name": outcome(fetch("acme/a--b", "weights.pth")),
        "card": outcome(from_card(card_good)),
        "card, again": outcome(from_card(card_good)),
        "card, other size": outcome(from_card(known_card("unet.suprem_2100", "acme/other", "w.pth", size_bytes=5))),
        "card, other hash": outcome(from_card(known_card("unet.suprem_2100", "acme/other", "w.pth", sha256="0" * 64))),
        "card of the real file": outcome(from_card(card("segresnet.suprem_2100"))),
        "huge config": outcome(lambda: str(hub.fetch_folder("acme/huge", PIN, cache_dir=cache, progress=False))),
    }
    damaged = Path(results["interrupted"]["result"]["path"])
    damaged.write_bytes(b"flipped")
    results["damaged cache"] = outcome(fetch("acme/interrupted", "weights.pth"))
    results["heavy modules"] = {"result": [name for name in ("torch", "monai") if name in sys.modules]}
    return results


def cut_off(cache: Path) -> dict[str, Any]:
    """Scenarios without a network: refused connections, or ``HF_HUB_OFFLINE``."""
    from suprem.zoo import hub

    hub.RETRY_WAITS_S = (0.05, 0.05)

    def fetch(repo: str, **facts: Any) -> Callable[[], Any]:
        wanted = hub.HubFile(repo, "weights.pth", **facts)
        return lambda: str(hub.fetch_file(wanted, cache_dir=cache, progress=False).path)

    good = json.loads((cache / "good.json").read_text())
    card_good = known_card("unet.suprem_2100", "acme/good", "weights.pth", **good)
    return {
        "cached": outcome(fetch("acme/good")),
        "cached and pinned": outcome(fetch("acme/good", revision=PIN)),
        "not cached": outcome(fetch("acme/limited")),
        "card": outcome(lambda: str(hub.fetch_card(card_good, cache_dir=cache, progress=False).path)),
        "is cached": {"result": hub.cached_card(card_good, cache_dir=cache) is not None},
        "is cached, other size": {
            "result": hub.cached_card(
                dataclasses.replace(card_good, file=dataclasses.replace(card_good.file, size_bytes=3)), cache_dir=cache
            )
            is not None
        },
    }


def one(cache: Path) -> dict[str, Any]:
    """One file, as several processes want it at the same time, or as it comes through a proxy."""
    from suprem.zoo import hub

    fetched = outcome(
        lambda: hub.fetch_file(hub.HubFile("acme/shared", "weights.pth"), cache_dir=cache, progress=False).sha256
    )
    return {"one": fetched}


def terms(cache: Path) -> dict[str, Any]:
    """The licence is asked for once: not for what is in the cache."""
    from suprem.zoo.source import pull, terms_before

    source = f"hf-hub:acme/model@{PIN}"
    before = terms_before(source, cache_dir=cache)
    pull(source, cache_dir=cache, progress=False)
    return {"before": before, "after": terms_before(source, cache_dir=cache)}


def loading(cache: Path) -> dict[str, Any]:
    """Whole loads through the server; these need torch."""
    from suprem import load_pretrained

    def load(source: str, **options: Any) -> Callable[[], Any]:
        def run() -> Any:
            network = load_pretrained(source, cache_dir=cache, progress=False, **options)
            loaded = len(network.load_report.loaded)
            return {"classes": list(network.config.classes), "loaded": loaded, "path": network.load_report.path}

        return run

    def verified() -> Any:
        from suprem.zoo import verify

        return verify(f"hf-hub:acme/model@{PIN}", cache_dir=cache, progress=False).to_dict()

    return {
        "folder": outcome(load(f"hf-hub:acme/model@{PIN}")),
        "folder, branch": outcome(load("hf-hub:acme/model")),
        "folder without golden": outcome(load("hf-hub:acme/bare")),
        "folder with escapes": outcome(load("hf-hub:acme/escape")),
        "not a folder": outcome(load("hf-hub:acme/good")),
        "verified": outcome(verified),
        "card": outcome(load("unet.genesis_620", classes=["liver"])),
    }


if __name__ == "__main__":
    listen()
    mode, folder = sys.argv[1], Path(sys.argv[2])
    modes = {"online": online, "cut-off": cut_off, "loading": loading, "one": one, "terms": terms}
    answers = modes[mode](folder)
    sys.stdout.write(json.dumps(answers))

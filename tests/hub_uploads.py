"""The part of the loopback Hub that takes uploads: repositories, preupload, large files, commits, tags, model cards."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

WRITE_TOKEN, READ_TOKEN = "hf_write", "hf_read"
_REPO = r"(?P<repo>(?:datasets/)?[^/]+/[^/]+?)"
_API = rf"/api/(?:models/|(?=datasets/)){_REPO}"
_ROUTES = {
    "create": re.compile(r"/api/repos/create"),
    "card": re.compile(r"/api/validate-yaml"),
    "refs": re.compile(rf"{_API}/refs"),
    "preupload": re.compile(rf"{_API}/preupload/main"),
    "batch": re.compile(rf"/{_REPO}\.git/info/lfs/objects/batch"),
    "verify": re.compile(rf"/{_REPO}/verify"),
    "commit": re.compile(rf"{_API}/commit/main"),
    "tag": re.compile(rf"{_API}/tag/(?P<revision>[^/]+)"),
    "control": re.compile(r"/control"),
    "xet": re.compile(rf"{_API}/xet-write-token/.*"),
}


@dataclass
class Uploads:
    """What arrived.

    Attributes:
        stored: SHA-256 -> content of the large files on the storage host.
        received: bytes that came in as large files, repetitions included.
        commits: (repository, summary, parent, paths) of each commit.
        cards: model cards that were checked.
        fail: route -> HTTP statuses of its next requests, before it works.
        move_before_commit: somebody else commits to the repository just before the next commit arrives.
    """

    stored: dict[str, bytes] = field(default_factory=dict)
    received: int = 0
    commits: list[tuple[str, str, str | None, tuple[str, ...]]] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    fail: dict[str, list[int]] = field(default_factory=dict)
    move_before_commit: bool = False


def answer_upload(handler: Any) -> bool:
    """Answers a request of an upload; whether it was one."""
    path = unquote(handler.path.split("?")[0])
    for route, pattern in _ROUTES.items():
        found = pattern.fullmatch(path)
        if found is None:
            continue
        failing = handler.owner.uploads.fail.get(route)
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        if failing:
            handler.refuse(failing.pop(0), "")
        elif route == "control":
            _control(handler)
        elif route != "card" and token not in (WRITE_TOKEN, READ_TOKEN):
            handler.refuse(401, "")
        elif route not in ("card", "refs") and token != WRITE_TOKEN:
            handler.refuse(403, "")
        else:
            globals()[f"_{route}"](handler, **found.groupdict())
        return True
    return False


def receive(handler: Any) -> None:
    """The storage host takes a large file."""
    uploads = handler.owner.uploads
    failing = uploads.fail.get("storage")
    if failing:
        handler.send(failing.pop(0))
        return
    uploads.received += len(handler.body)
    uploads.stored[handler.path.rsplit("/", 1)[1]] = handler.body
    handler.send(200)


def _json(handler: Any) -> Any:
    return json.loads(handler.body)


def _reply(handler: Any, content: Any, status: int = 200) -> None:
    handler.send(status, json.dumps(content).encode(), Content_Type="application/json")


def _control(handler: Any) -> None:
    """For the tested process: what shall happen next, or a file that somebody writes on the web page."""
    from tests.hub_server import HubFile

    asked = _json(handler)
    uploads = handler.owner.uploads
    uploads.fail.update(asked.get("fail", {}))
    uploads.move_before_commit = asked.get("move_before_commit", False)
    if "edit" in asked:
        repo, path, text = asked["edit"]
        there = handler.owner.repos[repo]
        there.history[there.commit] = there.files
        there.files = {**there.files, path: HubFile(text.encode(), lfs=False)}
        there.commit = hashlib.sha1(there.commit.encode()).hexdigest()
    _reply(handler, {"received": uploads.received, "commits": len(uploads.commits)})


def _create(handler: Any) -> None:
    from tests.hub_server import HubFile, HubRepo

    asked = _json(handler)
    top = "datasets/" if asked.get("type") == "dataset" else ""
    repo = f"{top}{asked['organization']}/{asked['name']}"
    if repo in handler.owner.repos:
        _reply(handler, {"error": "You already created this model repo", "url": repo}, 409)
        return
    first = {".gitattributes": HubFile(b"*.safetensors filter=lfs\n", lfs=False)}
    private = asked.get("visibility") == "private"
    handler.owner.repos[repo] = HubRepo(first, hashlib.sha1(repo.encode()).hexdigest(), private=private)
    _reply(handler, {"url": f"{handler.owner.endpoint}/{repo}"})


def _card(handler: Any) -> None:
    import yaml

    text = _json(handler)["content"]
    handler.owner.uploads.cards.append(text)
    parts = text.split("---\n")
    metadata = yaml.safe_load(parts[1]) if text.startswith("---\n") else {}
    errors = []
    if metadata.get("license") == "no-such-licence":
        errors.append({"message": '"license" must be one of [apache-2.0, mit, other]'})
    for entry in metadata.get("model-index", []):
        for result in entry["results"]:
            if not {"task", "dataset", "metrics"} <= result.keys():
                errors.append({"message": '"model-index[0].results[0]" is incomplete'})
    _reply(handler, {"errors": errors, "warnings": []}, 400 if errors else 200)


def _refs(handler: Any, repo: str) -> None:
    there = handler.owner.repos[repo]
    tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in there.tags.items()]
    main = [{"name": "main", "ref": "refs/heads/main", "targetCommit": there.commit}]
    _reply(handler, {"branches": main, "converts": [], "tags": tags})


def _preupload(handler: Any, repo: str) -> None:
    files = handler.owner.repos[repo].files
    answers = []
    for file in _json(handler)["files"]:
        mode = "lfs" if file["path"].endswith((".safetensors", ".nii.gz")) else "regular"
        oid = files[file["path"]].etag if file["path"] in files else None
        answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    _reply(handler, {"files": answers})


def _batch(handler: Any, repo: str) -> None:
    uploads, objects = handler.owner.uploads, []
    for wanted in _json(handler)["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in uploads.stored:
            entry["actions"] = {
                "upload": {"href": f"{handler.owner.storage_endpoint}/upload/{wanted['oid']}"},
                "verify": {"href": f"{handler.owner.endpoint}/{repo}/verify"},
            }
        objects.append(entry)
    _reply(handler, {"transfer": "basic", "objects": objects})


def _verify(handler: Any, repo: str) -> None:
    del repo
    asked = _json(handler)
    stored = handler.owner.uploads.stored.get(asked["oid"], b"")
    whole = hashlib.sha256(stored).hexdigest() == asked["oid"] and len(stored) == asked["size"]
    _reply(handler, {"ok": whole}, 200 if whole else 400)


def _commit(handler: Any, repo: str) -> None:
    from tests.hub_server import HubFile

    there, uploads = handler.owner.repos[repo], handler.owner.uploads
    if uploads.move_before_commit:
        uploads.move_before_commit = False
        there.history[there.commit] = there.files
        there.commit = "d" * 40
    header, *lines = [json.loads(line) for line in handler.body.splitlines()]
    parent = header["value"].get("parentCommit")
    if parent not in (None, there.commit):
        handler.refuse(412, "", "The branch has moved since the parent commit")
        return
    files = dict(there.files)
    for line in lines:
        value = line["value"]
        large = line["key"] == "lfsFile"
        content = uploads.stored[value["oid"]] if large else base64.b64decode(value["content"])
        files[value["path"]] = HubFile(content, lfs=large)
    paths = tuple(line["value"]["path"] for line in lines)
    uploads.commits.append((repo, header["value"]["summary"], parent, paths))
    there.history[there.commit] = there.files
    there.files = files
    there.commit = hashlib.sha1(there.commit.encode() + handler.body).hexdigest()
    url = f"{handler.owner.endpoint}/{repo}/commit/{there.commit}"
    _reply(handler, {"commitUrl": url, "commitOid": there.commit})


def _tag(handler: Any, repo: str, revision: str) -> None:
    there, name = handler.owner.repos[repo], _json(handler)["tag"]
    if name in there.tags:
        handler.refuse(409, "")
        return
    there.tags[name] = revision
    _reply(handler, {})


def _xet(handler: Any, repo: str) -> None:
    del repo
    handler.refuse(403, "")

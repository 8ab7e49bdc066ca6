"""A loopback server that speaks the part of the Hugging Face Hub's HTTP API that downloads and uploads use.

Two servers, as in reality: the hub itself (repository info, tree, ``resolve`` with etag and commit headers), and a
storage host to which large files are redirected. Each file can be told to misbehave. Uploads are in
:mod:`tests.hub_uploads`.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from tests.hub_uploads import Uploads, answer_upload, receive

_REPOSITORY = Path(__file__).resolve().parents[1]
_RESOLVE = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_API = r"/api/(?:models/|(?=datasets/))(?P<repo>(?:datasets/)?[^/]+/[^/]+?)"
_INFO = re.compile(_API + r"(/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(_API + r"/tree/(?P<revision>[^/?]+)(/(?P<name>[^?]*))?")
_PATHS = re.compile(_API + r"/paths-info/(?P<revision>[^/?]+)")


@dataclass
class HubFile:
    """One file and its misbehaviour.

    Attributes:
        content: what is announced.
        lfs: redirected to the storage host and tagged with its SHA-256; else sent directly, tagged with its git hash.
        sent: what is really sent, if not ``content``.
        cut_after: bytes after which the first transfer breaks off.
        errors: HTTP statuses of the first metadata requests, with the Hub's error code.
    """

    content: bytes
    lfs: bool = True
    sent: bytes | None = None
    cut_after: int | None = None
    errors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def etag(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class HubRepo:
    """A repository at its latest commit, and the earlier ones.

    Attributes:
        files: path -> file at the latest commit.
        commit: the latest commit.
        errors: HTTP status of every request, with the Hub's error code.
        history: earlier commit -> its files.
        tags: name -> commit.
        private: as it was made.
    """

    files: dict[str, HubFile]
    commit: str = "c" * 40
    errors: tuple[int, str] | None = None
    history: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    private: bool = False

    def at(self, revision: str | None) -> "HubRepo | None":
        """The repository as of a commit, tag or the main branch."""
        revision = self.tags.get(revision or "", revision)
        if revision in (None, "main", self.commit):
            return self
        if revision in self.history:
            return HubRepo(self.history[revision], revision)
        return None


class HubServer:
    """Both servers and what they were asked for.

    Attributes:
        repos: by owner/name; those of datasets by datasets/owner/name.
        requests: (method, path, Range header) in order.
        uploads: what was sent, and how the server misbehaves with it.
    """

    def __init__(self) -> None:
        self.repos: dict[str, HubRepo] = {}
        self.uploads = Uploads()
        self.requests: list[tuple[str, str, str | None]] = []
        self.hub = _serve(_HubHandler, self)
        self.storage = _serve(_StorageHandler, self)

    @property
    def endpoint(self) -> str:
        """The value for ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self.hub.server_address[1]}"

    @property
    def storage_endpoint(self) -> str:
        """Where large files are redirected to."""
        return f"http://127.0.0.1:{self.storage.server_address[1]}"

    def ranges_of(self, part: str) -> list[str | None]:
        """Range headers of the transfers whose path contains ``part``."""
        return [span for method, path, span in self.requests if method == "GET" and part in path]

    def close(self) -> None:
        """Stops both servers."""
        for server in (self.hub, self.storage):
            server.shutdown()
            server.server_close()


def client_environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a process that uses the Hub's client, which reads its settings at import.

    Args:
        folder: Where the client keeps what it downloads.
        **settings: Such as ``HF_ENDPOINT``.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_"))}
    return {
        **kept,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HOME": str(folder / "home"),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(_REPOSITORY / "src"), str(_REPOSITORY)]),
        **settings,
    }


def run_client(script: Path, mode: str, folder: Path, **settings: str) -> dict[str, Any]:
    """The scenarios of a client script in a fresh interpreter, and what it printed.

    Args:
        script: Takes a mode and a folder, and prints one JSON object.
        mode: Which scenarios.
        folder: Where it works.
        **settings: Of its environment.
    """
    done = subprocess.run(
        [sys.executable, str(script), mode, str(folder)],
        env=client_environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def _serve(handler: type[BaseHTTPRequestHandler], owner: HubServer) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), {"owner": owner}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A server that is closed at the end of the block."""
    server = HubServer()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    owner: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        del format, arguments

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        self.owner.requests.append((self.command, self.path, self.headers.get("Range")))
        self.respond()

    def respond(self) -> None:
        raise RuntimeError("defined by the two servers")

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str = "refused for the test") -> None:
        self.send(status, json.dumps({"error": message}).encode(), X_Error_Code=code, X_Error_Message=message)

    def send_file(self, file: HubFile, **headers: str) -> None:
        """The whole content or the range asked for; breaks off once where told to."""
        content = file.content if file.sent is None else file.sent
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked:
            start = int(asked[1])
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if asked else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop, file.cut_after = file.cut_after, None
        self.wfile.write(content[start:stop])
        if stop is not None:
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True


class _HubHandler(_Handler):
    def respond(self) -> None:
        for pattern, method in ((_RESOLVE, self.resolve), (_TREE, self.tree), (_PATHS, self.paths), (_INFO, self.info)):
            found = pattern.fullmatch(unquote(self.path.split("?")[0]))
            if found:
                repo = self.owner.repos.get(found["repo"])
                if repo is None:
                    self.refuse(404, "RepoNotFound")
                elif repo.errors is not None:
                    self.refuse(*repo.errors)
                elif (there := repo.at(found["revision"])) is None:
                    self.refuse(404, "RevisionNotFound")
                else:
                    method(found["repo"], there, found.groupdict().get("name"))
                return
        if not answer_upload(self):
            self.refuse(404, "")

    def info(self, name: str, repo: HubRepo, _: str | None) -> None:
        siblings = [{"rfilename": file} for file in repo.files]
        self.send(200, json.dumps({"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings}).encode())

    def tree(self, _name: str, repo: HubRepo, folder: str | None) -> None:
        top = f"{folder}/" if folder else ""
        self.send(200, json.dumps([_row(p, f) for p, f in repo.files.items() if p.startswith(top)]).encode())

    def paths(self, _name: str, repo: HubRepo, _: str | None) -> None:
        """What lies at the paths that were asked for: files, and folders of files."""
        asked = json.loads(self.body)["paths"] if self.body.startswith(b"{") else parse_qs(self.body.decode())["paths"]
        rows = [_row(path, repo.files[path]) for path in asked if path in repo.files]
        folders = {path for path in asked if any(file.startswith(f"{path}/") for file in repo.files)}
        rows += [{"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)]
        self.send(200, json.dumps(rows).encode())

    def resolve(self, name: str, repo: HubRepo, path: str | None) -> None:
        file = repo.files.get(path or "")
        if file is None:
            self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=repo.commit)
        elif file.errors:
            self.refuse(*file.errors.pop(0))
        elif file.lfs:
            self.send(
                302,
                Location=f"{self.owner.storage_endpoint}/{quote(f'{name}/{path}')}",
                X_Repo_Commit=repo.commit,
                X_Linked_Etag=f'"{file.etag}"',
                X_Linked_Size=str(len(file.content)),
            )
        else:
            self.send_file(file, X_Repo_Commit=repo.commit, ETag=f'"{file.etag}"')


def _row(path: str, file: HubFile) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "path": path, "size": len(file.content), "oid": file.etag[:40]}
    if file.lfs:
        row["lfs"] = {"oid": file.etag, "size": len(file.content), "pointerSize": 134}
    return row


class _StorageHandler(_Handler):
    def respond(self) -> None:
        if self.command == "PUT":
            receive(self)
            return
        parts = unquote(self.path.split("?")[0]).split("/")[1:]
        depth = 3 if parts[0] == "datasets" else 2
        name, path = "/".join(parts[:depth]), "/".join(parts[depth:])
        if "Authorization" in self.headers:  # the storage host must never see the user's token
            self.refuse(400, "TokenLeaked")
            return
        self.send_file(self.owner.repos[name].files[path])

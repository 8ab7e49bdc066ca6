"""Two hundred files from strangers: fuzzed from valid ones with a fixed seed, or written to do harm."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes

COUNT = 200


@dataclass(frozen=True)
class Hostile:
    """A file or folder and how it is to be opened.

    Attributes:
        name: of the case.
        kind: ``"file"``, ``"folder"`` or ``"card"``.
        path: where it lies.
    """

    name: str
    kind: str
    path: Path


class _Runs:
    """Unpickling it would write the marker."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def write_corpus(root: Path, marker: Path, published: Path) -> list[Hostile]:
    """Writes the corpus.

    Args:
        root: where it goes.
        marker: a file that exists as soon as any code of the corpus has run.
        published: a valid published folder of ``segresnet_tiny`` with two classes.
    """
    rng = np.random.default_rng(20261125)
    state = _state(published)
    valid = {
        "zip.pth": _saved(state),
        "legacy.pth": _saved(state, new=False),
        "x.safetensors": safetensors_bytes(state),
    }
    cases: list[Hostile] = []

    def add(name: str, content: bytes, suffix: str) -> None:
        path = root / f"{len(cases):03d}{suffix}"
        path.write_bytes(content)
        cases.append(Hostile(name, "file", path))

    for name, content in _executing(state, marker):
        add(name, content, ".pth")
    for name, content in _lying_safetensors(state):
        add(name, content, ".safetensors")
    for name, content in _odd_archives(valid["zip.pth"], marker):
        add(name, content, ".pth")
    for number, text in enumerate(_cards()):
        path = root / f"card_{number}.yaml"
        path.write_text(text)
        cases.append(Hostile(f"card {number}", "card", path))
    for name, changes in _configurations(json.loads((published / "config.json").read_text())):
        cases.append(_folder(root / f"folder_{len(cases):03d}", name, published, {"config.json": changes}))
    for number in range(10):
        damaged = _fuzzed(rng, (published / "golden.safetensors").read_bytes(), number)
        name = f"golden {number}"
        cases.append(_folder(root / f"folder_{len(cases):03d}", name, published, {"golden.safetensors": damaged}))
    number = 0
    while len(cases) < COUNT:
        name = list(valid)[number % len(valid)]
        add(f"fuzzed {name} {number}", _fuzzed(rng, valid[name], number // len(valid)), Path(name).suffix)
        number += 1
    return cases


def _state(published: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(published / "model.safetensors")


def _saved(content: Any, new: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=new)
    return stream.getvalue()


def _fuzzed(rng: np.random.Generator, content: bytes, number: int) -> bytes:
    """Flipped bytes near the start, the end or anywhere; cut off; bytes put in; a piece repeated; a piece of zeros."""
    data, kind = bytearray(content), number % 6
    # Names, shapes and offsets stand at the ends; most of the rest is weights, where a flip only changes a number.
    where = int(rng.choice([rng.integers(min(4000, len(data))), len(data) - 1 - rng.integers(min(4000, len(data)))]))
    if kind == 0:
        for place in rng.integers(max(0, where - 50), min(len(data), where + 50), 3):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del data[where:]
    elif kind == 2:
        data[where:where] = rng.bytes(int(rng.integers(1, 200)))
    elif kind == 3:
        data[where : where + 64] = bytes(64)
    elif kind == 4:
        data[where : where + 8] = struct.pack("<Q", int(rng.integers(2**62)))
    else:
        data[where : where + 200] = data[:200]
    return bytes(data)


def _executing(state: Mapping[str, torch.Tensor], marker: Path) -> Iterator[tuple[str, bytes]]:
    """Pickles that would run code, in every place of every format."""
    command = f"open({str(marker)!r}, 'w').close()"
    payloads = {
        "exec": _Runs(exec, command),
        "eval": _Runs(eval, f"__import__('pathlib').Path({str(marker)!r}).touch()"),
        "system": _Runs(os.system, f"touch {marker}"),
        "open": _Runs(open, str(marker), "w"),
    }
    for name, payload in payloads.items():
        places: dict[str, Any] = {
            "value": {**state, "evil": payload},
            "beside": {"net": dict(state), "epoch": payload},
            "nested": {"state_dict": dict(state), "extra": [{"a": ({"b": payload},)}]},
        }
        for place, content in places.items():
            yield f"{name} as {place}, zip", _saved(content)
            yield f"{name} as {place}, legacy", _saved(content, new=False)
        yield f"{name}, plain pickle", pickle.dumps(payload, 2)
    # By hand: a global that is looked up but not called, the INST and OBJ instructions, an extension code.
    yield "global", b"\x80\x02cos\nsystem\n."
    yield "inst", f"(S'touch {marker}'\nios\nsystem\n.".encode()
    yield "obj", f"(cos\nsystem\nS'touch {marker}'\no.".encode()
    yield "extension", b"\x80\x02\x82\x01."


def _lying_safetensors(state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, bytes]]:
    content = safetensors_bytes(dict(state))
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    first, second = (name for name in list(header) if name != "__metadata__") if len(header) == 2 else list(header)[1:3]
    changes: dict[str, dict[str, Any]] = {
        "overlapping offsets": {first: {**header[first], "data_offsets": header[second]["data_offsets"]}},
        "offsets out of range": {first: {**header[first], "data_offsets": [len(body), len(body) + 4]}},
        "offsets backwards": {first: {**header[first], "data_offsets": header[first]["data_offsets"][::-1]}},
        "negative offsets": {first: {**header[first], "data_offsets": [-4, 0]}},
        "ten gigabytes": {first: {**header[first], "shape": [10 * 2**30]}},
        "ten gigabytes with offsets": {first: {"dtype": "F32", "shape": [10 * 2**28], "data_offsets": [0, 10 * 2**30]}},
        "overflowing shape": {first: {**header[first], "shape": [2**62, 2**62, 4]}},
        "negative shape": {first: {**header[first], "shape": [-1, -1]}},
        "unknown type": {first: {**header[first], "dtype": "PYOBJ"}},
        "shape of text": {first: {**header[first], "shape": "all"}},
        "many dimensions": {first: {**header[first], "shape": [1] * 500}},
        "name with a path": {"../../../evil": header[first]},
        "no tensors": {key: {} for key in header},
    }
    for name, change in changes.items():
        text = json.dumps({**header, **change}).encode()
        yield name, struct.pack("<Q", len(text)) + text + body
    yield "header of 2^63 bytes", struct.pack("<Q", 2**63) + content[8:]
    yield "header is no object", struct.pack("<Q", 4) + b"null" + body
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    yield "header of nested objects", struct.pack("<Q", len(deep)) + deep
    twice = (
        b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    yield "a name twice", struct.pack("<Q", len(twice)) + twice + bytes(4)


def _odd_archives(valid: bytes, marker: Path) -> Iterator[tuple[str, bytes]]:
    """Archives with entries that want to leave it, bombs, links, and formats that torch read long ago."""

    def archive(extra: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
        stream = io.BytesIO(valid)
        with zipfile.ZipFile(stream, "a", compression) as file:
            for name, content in extra.items():
                file.writestr(name, content)
        return stream.getvalue()

    yield "entry with ..", archive({"../../evil.txt": b"x", f"..{marker}": b"x"})
    yield "absolute entry", archive({str(marker): b"x"})
    yield "zip bomb", archive({"archive/data/bomb": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    yield "second pickle", archive({"other/data.pkl": pickle.dumps(_Runs(os.system, f"touch {marker}"), 2)})
    link = zipfile.ZipInfo("archive/data/link")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO(valid)
    with zipfile.ZipFile(stream, "a") as file:
        file.writestr(link, "/etc/passwd")
    yield "symbolic link in a zip", stream.getvalue()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("storages", "tensors", "pickle"):
            body = pickle.dumps(_Runs(os.system, f"touch {marker}"), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
        linked = tarfile.TarInfo("../escape")
        linked.type, linked.linkname = tarfile.SYMTYPE, str(marker)
        tar.addfile(linked)
    yield "tar with code and a link", stream.getvalue()
    yield "empty zip", b"PK\x05\x06" + bytes(18)
    yield "html", b"<!doctype html><script>alert(1)</script>"
    yield "empty", b""


def _cards() -> list[str]:
    """Cards with tags that construct objects, with anchors that grow without bound, or nested without end."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    name = "format_version: 1\n"
    return [
        name + "name: !!python/object/apply:os.system ['true']\n",
        name + "name: !!python/name:os.system\n",
        name + "name: !!python/object/new:subprocess.Popen [['true']]\n",
        name + laughs,
        name + laughs + "name: *a11\n",
        name + "name: " + "[" * 3000 + "]" * 3000 + "\n",
        name + "name: &a [*a]\n",
        name + "title: <script>alert(1)</script>\n",
        name + "name: ../../etc/passwd\n",
        name + "name: x\nlocation: {kind: hub, repo: 'a/b', filename: ../../up.pth}\n",
        "\x00\x01\x02",
        name + "name: " + "x" * 2_000_000 + "\n",
    ]


def _configurations(valid: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Configurations that name classes, paths and sizes which no network has."""
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    changes: dict[str, Any] = {
        "dotted backbone": {"backbone": "os.system"},
        "backbone with a path": {"backbone": "../../evil"},
        "backbone of another package": {"backbone": "torch.nn.Linear"},
        "dunder backbone": {"backbone": "__init__"},
        "private backbone": {"backbone": "_create"},
        "unknown key": {"weights": "/etc/passwd"},
        "class path": {"_target_": "os.system"},
        "filters": {"backbone_kwargs": {"init_filters": 2**40}},
        "many levels": {"backbone_kwargs": {"blocks_down": [1] * 4000, "blocks_up": [1] * 3999}},
        "blocks": {"backbone_kwargs": {"blocks_down": [4000] * 4, "blocks_up": [1, 1, 1]}},
        "unknown option": {"backbone_kwargs": {"__class__": "x"}},
        "nested option": {"backbone_kwargs": {"blocks_down": deep}},
        "text for a number": {"backbone_kwargs": {"init_filters": "8"}},
        "negative": {"backbone_kwargs": {"init_filters": -8}},
        "channels": {"in_channels": 10**12},
        "class name": {"classes": ["liver", "<script>"]},
        "class with a path": {"classes": ["liver", "../../etc"]},
        "class twice": {"classes": ["liver", "liver"]},
        "no classes": {"classes": []},
        "label space": {"label_space": "os.path"},
        "patch": {"preprocessing": {**valid["preprocessing"], "patch_size": [10**9] * 3}},
        "patch of zero": {"preprocessing": {**valid["preprocessing"], "patch_size": [0, 1, 1]}},
        "spacing": {"preprocessing": {**valid["preprocessing"], "spacing_mm": [1e-300] * 3}},
        "window": {"preprocessing": {**valid["preprocessing"], "hu_window": [250, -175]}},
        "orientation": {"preprocessing": {**valid["preprocessing"], "orientation": "RAS; rm -rf"}},
        "version": {"format_version": "1; import os"},
        "name": {"name": "<script>alert(1)</script>\n\n# x"},
    }
    for name, change in changes.items():
        yield f"config: {name}", json.dumps({**valid, **change}).encode()
    text = json.dumps(valid)
    yield "config: NaN", text.replace("250.0", "NaN").encode()
    yield "config: nested", b"[" * 100_000
    yield "config: large", text.encode() + b" " * 2**21
    yield "config: Latin-1", b'{"name": "\xe4"}'


def _folder(path: Path, name: str, published: Path, replaced: Mapping[str, bytes]) -> Hostile:
    path.mkdir()
    for file in published.iterdir():
        (path / file.name).write_bytes(replaced.get(file.name, file.read_bytes()))
    return Hostile(name, "folder", path)

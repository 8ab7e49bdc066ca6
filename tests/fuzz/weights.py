"""Checkpoints: both formats of torch, safetensors, published folders, and cards."""

import io
import json
import pickletools
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from suprem.zoo import load_pretrained, verify
from suprem.zoo.card import parse_card
from suprem.zoo.folder import read_folder
from suprem.zoo.golden import read_golden
from suprem.zoo.state_dict import read_state_dict
from tests.fuzz.mutations import Rng, change_bytes, change_json, change_lines, deep_lists, json_text, odd_text, pick
from tests.fuzz.targets import Target, Wrong
from tests.inference.tiny_model import CLASSES, save_tiny_model

__all__ = ["CONTENT"]

CARDS = Path(__file__).resolve().parents[2] / "zoo"
KWARGS = {"blocks_down": (1, 1), "blocks_up": (1,)}


def prepare_folder(folder: Path) -> Path:
    save_tiny_model(folder / "published")
    return folder / "published"


def prepare_state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(prepare_folder(folder) / "model.safetensors")


def _saved(content: Any, new: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=new)
    return stream.getvalue()


def _layout(rng: Rng, state: dict[str, torch.Tensor]) -> Any:
    """As training programs store it."""
    return pick(
        rng,
        (
            state,
            {"net": state, "epoch": 3, "optimizer": {"step": torch.tensor(5), "lr": 0.1}},
            {"state_dict": {f"module.{name}": value for name, value in state.items()}, "best": [1.5, (2, None, "x")]},
        ),
    )


# A pickle is a list of instructions


def change_pickle(rng: Rng, data: bytes) -> bytes:
    """Changes arguments and order of the instructions of the first pickle in ``data``."""
    found = list(pickletools.genops(io.BytesIO(data)))
    starts = [place for _, _, place in found]
    end = (starts[-1] or 0) + 1
    pieces = [data[a:b] for a, b in zip(starts, [*starts[1:], end], strict=True)]
    for _ in range(int(rng.integers(1, 4))):
        index = int(rng.integers(1, len(pieces)))
        kind, piece = int(rng.integers(8)), pieces[index]
        if kind < 3 and len(piece) > 1:
            pieces[index] = piece[:1] + _argument(rng, piece)
        elif kind == 3:
            pieces[index] = b""
        elif kind == 4:
            pieces[index] = piece * int(pick(rng, (2, 3, 200)))
        elif kind == 5:
            other = int(rng.integers(1, len(pieces)))
            pieces[index], pieces[other] = pieces[other], piece
        elif kind == 6:
            pieces[index] = str(pick(rng, pickletools.opcodes).code).encode("latin-1") + piece[1:]
        else:
            pieces.insert(index, pieces[int(rng.integers(1, len(pieces)))])
    return b"".join(pieces) + data[end:]


def _argument(rng: Rng, piece: bytes) -> bytes:
    if piece[:1] in b"X\x8c":  # text with its length before it
        text = odd_text(rng).encode("utf-8", "replace")
        return struct.pack("<I", len(text)) + text if piece[:1] == b"X" else bytes([len(text[:255])]) + text[:255]
    if piece[:1] in b"c":
        return bytes(pick(rng, (b"torch\nFloatStorage\n", b"torch._utils\n_rebuild_tensor_v2\n", b"os\nsystem\n")))
    return change_bytes(rng, piece[1:])[: len(piece) - 1].ljust(len(piece) - 1, b"\xff")


def write_zip(rng: Rng, state: dict[str, torch.Tensor], folder: Path) -> Path:
    data = _saved(_layout(rng, state), True)
    if rng.integers(4) == 0:
        data = change_bytes(rng, data, [(0, 300), (len(data) - 1500, len(data))])
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in _change_entries(rng, entries):
                archive.writestr(name, content)
        data = stream.getvalue()
    path = folder / "x.pth"
    path.write_bytes(data)
    return path


def _change_entries(rng: Rng, entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    index = int(rng.integers(len(entries)))
    name, data = entries[index]
    kind = int(rng.integers(8))
    if kind < 5:  # the table of tensors
        return [(n, change_pickle(rng, d)) if n.endswith("data.pkl") else (n, d) for n, d in entries]
    if kind == 5:
        entries[index] = (name, change_bytes(rng, data or b"0"))
    elif kind == 6:
        entries[index] = (name.replace(name.rsplit("/", 1)[-1], odd_text(rng).replace("\0", "")[:300] or "x"), data)
    else:
        del entries[index]
    return entries


def write_legacy(rng: Rng, state: dict[str, torch.Tensor], folder: Path) -> Path:
    data = _saved(_layout(rng, state), False)
    ends = [0]
    stream = io.BytesIO(data)
    for _ in range(5):  # magic, protocol, system, content, keys
        for _ in pickletools.genops(stream):
            pass
        ends.append(stream.tell())
    if rng.integers(3) == 0:
        data = change_bytes(rng, data, [(0, ends[-1]), (ends[-1], ends[-1] + 40)])
    else:
        start = int(pick(rng, (*ends[:-1], ends[3], ends[3])))
        data = data[:start] + change_pickle(rng, data[start:])
    path = folder / "x.pth"
    path.write_bytes(data)
    return path


def write_safetensors(rng: Rng, state: dict[str, torch.Tensor], folder: Path) -> Path:
    data = safetensors_bytes(state)
    size = int.from_bytes(data[:8], "little")
    if rng.integers(4) == 0:
        data = change_bytes(rng, data, [(0, 16), (0, size)])
    else:
        header = json_text(rng, json.loads(data[8 : 8 + size]))
        data = len(header).to_bytes(8, "little") + header + data[8 + size :]
    path = folder / "x.safetensors"
    path.write_bytes(data)
    return path


def open_weights(path: Path, _: Path) -> None:
    found = read_state_dict(path)
    for name, tensor in found.tensors.items():
        if not isinstance(name, str) or tensor.layout != torch.strided:
            raise Wrong(f"{name!r:.100}: {tensor.layout}")
        if tensor.untyped_storage().nbytes() > path.stat().st_size:
            raise Wrong(f"{name!r:.100} has more bytes than the file")
        if tensor.numel() * tensor.element_size() > 1032 * path.stat().st_size:
            raise Wrong(f"{name!r:.100} of shape {tuple(tensor.shape)} repeats what the file holds without end")
        tensor.double().sum() if not tensor.is_complex() else tensor.abs().sum()  # touches every byte
    load_pretrained(f"local-file:{path}", backbone="segresnet_tiny", backbone_kwargs=KWARGS, source_classes=CLASSES)


def _valid_weights(write: str) -> Any:
    def valid(state: dict[str, torch.Tensor], folder: Path) -> Path:
        path = folder / ("x.safetensors" if write == "safetensors" else "x.pth")
        path.write_bytes(safetensors_bytes(state) if write == "safetensors" else _saved(state, write == "zip"))
        return path

    return valid


# Published folders


def write_folder(rng: Rng, valid: Path, folder: Path) -> Path:
    target = folder / "published"
    shutil.copytree(valid, target)
    kind = int(rng.integers(8))
    if kind < 5:
        path = target / "config.json"
        path.write_bytes(json_text(rng, json.loads(path.read_bytes())))
    elif kind < 7:
        path = target / "golden.safetensors"
        path.write_bytes(_golden(rng, path.read_bytes()))
    else:
        path = target / "model.safetensors"
        path.write_bytes(change_bytes(rng, path.read_bytes(), [(0, 2000)]))
    return target


def _golden(rng: Rng, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    kind = int(rng.integers(3))
    if kind == 0:
        return change_bytes(rng, data, [(0, size)])
    with deep_lists():
        if kind == 1:
            inside = header["__metadata__"]["suprem_golden_1"]
            header["__metadata__"]["suprem_golden_1"] = json_text(rng, json.loads(inside)).decode("utf-8", "replace")
        else:
            header = change_json(rng, header)
        text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def open_folder(folder: Path, _: Path) -> None:
    found = read_folder(folder)
    if found.golden is not None:
        read_golden(found.golden)
    load_pretrained(f"local-dir:{folder}")
    verify(f"local-dir:{folder}", progress=False)


def _valid_folder(material: Path, folder: Path) -> Path:
    shutil.copytree(material, folder / "published")
    return folder / "published"


# Cards


def prepare_cards(_: Path) -> list[tuple[str, str]]:
    return [(path.name, path.read_text()) for path in sorted(CARDS.glob("*.yaml"))]


def write_card(rng: Rng, cards: list[tuple[str, str]], folder: Path) -> Path:
    name, text = pick(rng, cards)
    kind = int(rng.integers(3))
    if kind == 0:
        data = "\n".join(change_lines(rng, text.split("\n"), ": ")).encode("utf-8", "replace")
    elif kind == 1:
        data = change_bytes(rng, text.encode())
    else:
        with deep_lists():
            data = json.dumps(change_json(rng, yaml.safe_load(text))).encode()  # which is YAML too
    (folder / name).write_bytes(data)
    return folder / name


def open_card(path: Path, _: Path) -> None:
    card = parse_card(path.read_bytes().decode("utf-8", "replace"), path.name)
    json.dumps(card.to_dict())
    if card.name not in card.licence_notice():
        raise Wrong("a notice without the card's name")


def _valid_card(cards: list[tuple[str, str]], folder: Path) -> Path:
    (folder / cards[0][0]).write_text(cards[0][1])
    return folder / cards[0][0]


CONTENT = (
    Target("checkpoint", prepare_state, write_zip, open_weights, _valid_weights("zip")),
    Target("legacy", prepare_state, write_legacy, open_weights, _valid_weights("legacy")),
    Target("safetensors", prepare_state, write_safetensors, open_weights, _valid_weights("safetensors")),
    Target("folder", prepare_folder, write_folder, open_folder, _valid_folder),
    Target("card", prepare_cards, write_card, open_card, _valid_card),
)

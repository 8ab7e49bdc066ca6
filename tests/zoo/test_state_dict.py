"""Reading checkpoint files: every layout of the outside world, and files that are damaged or hostile."""

import json
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from suprem.errors import CheckpointError, UnsafeFileError
from suprem.zoo.state_dict import CONTAINERS, read_state_dict

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


def save(content: Any, path: Path, *, new: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new)
    return path


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("container", [*CONTAINERS, None])
def test_tensors_are_found_in_every_container_and_both_formats(
    tmp_path: Path, container: str | None, new: bool
) -> None:
    content = {container: TENSORS} if container else dict(TENSORS)
    state = read_state_dict(save({**content, "epoch": 3}, tmp_path / "x.pth", new=new))
    assert state.container == container
    assert list(state.tensors) == list(TENSORS)
    assert all(torch.equal(state.tensors[key], value) for key, value in TENSORS.items())


def test_containers_are_tried_in_the_documented_order(tmp_path: Path) -> None:
    content = {"teacher": {"t": torch.zeros(1)}, "state_dict": {"s": torch.zeros(1)}, "net": {"n": torch.zeros(1)}}
    assert list(read_state_dict(save(content, tmp_path / "x.pth")).tensors) == ["n"]
    del content["net"]
    assert list(read_state_dict(save(content, tmp_path / "x.pth")).tensors) == ["s"]


def test_repeated_module_prefix_is_stripped_and_the_name_in_the_file_is_kept(tmp_path: Path) -> None:
    state = read_state_dict(save({"net": {"module.module.a": torch.ones(2)}}, tmp_path / "x.pth"))
    assert list(state.tensors) == ["a"]
    assert state.file_names == {"a": "module.module.a"}


def test_two_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    path = save({"net": {"module.a": torch.ones(2), "a": torch.zeros(2)}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"'a' twice, as 'module.a' and 'a'"):
        read_state_dict(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_numpy_scores_parameters_and_devices_beside_the_tensors_do_no_harm(tmp_path: Path, new: bool) -> None:
    content = {
        "state_dict": torch.nn.Linear(2, 3).state_dict(),
        "best_acc": np.float64(0.8),
        "step": np.int64(3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "device": torch.device("cpu"),
    }
    assert list(read_state_dict(save(content, tmp_path / "x.pt", new=new)).tensors) == ["weight", "bias"]


def test_views_that_share_storage_are_read(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    state = read_state_dict(save({"net": {"whole": whole, "part": whole[2:8:2]}}, tmp_path / "x.pth"))
    assert state.tensors["part"].tolist() == [2.0, 4.0, 6.0]


def test_safetensors(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(3)}, tmp_path / "x.safetensors")
    state = read_state_dict(tmp_path / "x.safetensors")
    assert state.container is None
    assert state.tensors["a"].tolist() == [1.0, 1.0, 1.0]


# ------------------------------------------------------------------ hostile


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def write_evil(path: Path, kind: str, evil: Evil) -> None:
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps({"net": evil}, protocol=int(kind[-1])))
    else:
        save({"net": {"a": torch.ones(1), "b": evil}}, path, new=kind == "zip")


@pytest.mark.parametrize("kind", [f"pickle{p}" for p in range(6)] + ["zip", "legacy"])
def test_a_pickle_with_code_is_refused_by_name_and_never_runs(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "pwned"
    write_evil(tmp_path / "x.pth", kind, Evil(target))
    with pytest.raises(UnsafeFileError, match=rf"{os.system.__module__}\.system"):
        read_state_dict(tmp_path / "x.pth")
    assert not target.exists()
    # The trap is live: an ordinary unpickler falls into it.
    if kind == "pickle4":
        pickle.loads((tmp_path / "x.pth").read_bytes())
        assert target.exists()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "builtins.getattr"),
        (b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.", "builtins.bytearray"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"(S'x'\nios\nsystem\n.", "os.system"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "torch._utils._rebuild_tensor_v2.__globals__"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_globals_in_hand_written_pickles_are_named(tmp_path: Path, code: bytes, name: str) -> None:
    (tmp_path / "x.pth").write_bytes(code)
    with pytest.raises(UnsafeFileError, match=rf" needs {name} "):
        read_state_dict(tmp_path / "x.pth")


def test_an_object_of_a_training_program_is_refused_by_name(tmp_path: Path) -> None:
    from argparse import Namespace

    with pytest.raises(UnsafeFileError, match=r"argparse\.Namespace.*tensors only"):
        read_state_dict(save({"net": TENSORS, "args": Namespace(lr=1)}, tmp_path / "x.pth"))


def rewrite(path: Path, change: Any) -> None:
    """Copies a torch zip file with ``data.pkl`` changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_a_storage_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    path = save({"net": {"a": torch.arange(10.0)}}, tmp_path / "x.pth")
    huge = struct.pack("<i", 2**30)
    rewrite(path, lambda code: code.replace(b"K\nt", b"J" + huge + b"t").replace(b"K\n\x85", b"J" + huge + b"\x85"))
    with pytest.raises(CheckpointError, match=f"claims {2**32} bytes and has 40"):
        read_state_dict(path)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    path = save({"net": {"a": torch.arange(10.0)}}, tmp_path / "x.pth")
    rewrite(path, lambda code: code.replace(b"K\n\x85", b"J" + struct.pack("<i", 2**30) + b"\x85"))
    with pytest.raises(CheckpointError, match="in a storage of 10 elements"):
        read_state_dict(path)


def test_a_legacy_storage_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    path = save({"net": {"a": torch.arange(10.0)}}, tmp_path / "x.pth", new=False)
    path.write_bytes(path.read_bytes().replace(b"K\nN", b"J" + struct.pack("<i", 2**30) + b"N"))
    with pytest.raises(CheckpointError, match="claim more than"):
        read_state_dict(path)


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 10**6)
    with pytest.raises(UnsafeFileError, match="compressed"):
        read_state_dict(tmp_path / "bomb.pth")


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    path = save({"net": TENSORS}, tmp_path / "x.pth")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/DATA.PKL", b"N.")
    with pytest.raises(UnsafeFileError, match="entries under"):
        read_state_dict(path)


def test_an_endless_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suprem.zoo._inspect.MAX_PICKLE_BYTES", 20_000)
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02" + b"]0" * 20_000 + b"N.")
    with pytest.raises(CheckpointError, match="more than 20000 bytes of instructions"):
        read_state_dict(path)
    rewrite(save({"net": TENSORS}, path), lambda code: code[:-1] + b"]0" * 20_000 + b".")
    with pytest.raises(UnsafeFileError, match="bytes of pickle; a table of tensors is smaller"):
        read_state_dict(path)


def test_a_huge_memo_index_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")
    with pytest.raises(CheckpointError, match="plain pickle"):
        read_state_dict(tmp_path / "x.pth")


# ------------------------------------------------------------------ damaged


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_a_clear_error(tmp_path: Path, part: float, new: bool) -> None:
    whole = save({"net": {"a": torch.zeros(1000)}}, tmp_path / "x.pth", new=new).read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CheckpointError, match=r"truncated or damaged|truncated: it has"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_a_clear_error(tmp_path: Path, seed: int) -> None:
    (tmp_path / "x.pth").write_bytes(np.random.default_rng(seed).bytes(2000))
    with pytest.raises((CheckpointError, UnsafeFileError), match=r"x\.pth"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_flipped_bytes_never_escape_as_another_exception(tmp_path: Path, seed: int, new: bool) -> None:
    path = save({"net": {"a": torch.zeros(20), "b": torch.ones(3)}}, tmp_path / "x.pth", new=new)
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for position in random.integers(0, len(content), 8):
        content[position] = random.integers(256)
    path.write_bytes(bytes(content))
    with suppress(CheckpointError, UnsafeFileError):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pth", b"", "is empty"),
        ("x.safetensors", b"", "is empty"),
        ("x.pth", b"<!doctype html><html>", "web page"),
        ("x.txt", b"hello", r"does not look like a checkpoint.*\.pth"),
        ("x.pth", pickle.dumps({"net": 3}), "plain pickle"),
        ("x.safetensors", struct.pack("<Q", 10**12) + b'{"a":', "claims 1000000000000 bytes"),
        ("x.safetensors", struct.pack("<Q", 2) + b"{}", "holds no tensors"),
    ],
    ids=["empty", "empty safetensors", "html", "extension", "plain pickle", "lying header", "no tensors"],
)
def test_other_files_are_clear_errors(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("change", [{"shape": [1000]}, {"data_offsets": [0, 4000]}, {"data_offsets": [0, 8]}])
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12], **change}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(12))
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_state_dict(tmp_path / "x.safetensors")


def test_a_header_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, "b": "line\n" * 5000}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(12))
    with pytest.raises(CheckpointError, match="truncated or damaged") as caught:
        read_state_dict(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_keys_that_a_file_may_choose_are_cut_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no tensors") as caught:
        read_state_dict(save({"a\n" * 5000: 1, **{f"key {i}": 2 for i in range(5000)}}, tmp_path / "x.pth"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_the_extension_must_be_that_of_the_content(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"in truth a \.safetensors file"):
        read_state_dict(tmp_path / "x.pth")
    save({"net": TENSORS}, tmp_path / "y.safetensors")
    with pytest.raises(CheckpointError, match=r"in truth a \.pth file"):
        read_state_dict(tmp_path / "y.safetensors")


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder.*local-dir"):
        read_state_dict(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")


def test_a_torchscript_program_is_not_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"N.")
        archive.writestr("x/constants.pkl", b"N.")
    with pytest.raises(CheckpointError, match="TorchScript program, not weights"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content", [[1, 2], {"net": {"a": 1}}, {1: 2}, torch.ones(3)], ids=["list", "no", "int", "tensor"]
)
def test_a_file_without_named_tensors(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"not named tensors|holds no tensors"):
        read_state_dict(save(content, tmp_path / "x.pth"))

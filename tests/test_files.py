"""Writing that happens completely or not at all."""

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from suprem._files import (
    atomic_folder,
    atomic_path,
    check_writable,
    is_unwritable,
    one_of_several_users,
    parse_size,
    sha256_file,
    told_of,
)
from suprem.errors import ConfigurationError, OutputError, VolumeError


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a tiny file system needs root")
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_path_appears_complete_and_keeps_suffixes(tmp_path: Path) -> None:
    target = tmp_path / "new" / "mask.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent == target.parent
        temporary.write_bytes(b"1")
        assert not target.exists()
    assert [p.name for p in target.parent.iterdir()] == ["mask.nii.gz"]
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"2")
    assert target.read_bytes() == b"2"


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, VolumeError("x")])
def test_path_leaves_the_old_file_when_the_block_fails(tmp_path: Path, raised: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise raised

    with pytest.raises(raised if isinstance(raised, type) else type(raised)):
        write()
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_folder_appears_complete(tmp_path: Path) -> None:
    target = tmp_path / "out" / "case"
    with atomic_folder(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a").write_text("1")
        assert temporary.name.startswith(".")
        assert not target.exists()
    assert (target / "sub" / "a").read_text() == "1"
    assert [p.name for p in target.parent.iterdir()] == ["case"]


def test_folder_is_only_replaced_on_request(tmp_path: Path) -> None:
    target = tmp_path / "case"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(OutputError, match="already exists"), atomic_folder(target):
        pytest.fail("the block must not run")
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, overwrite=True):
        raise KeyboardInterrupt
    assert (target / "old").exists()
    with atomic_folder(target, overwrite=True) as temporary:
        (temporary / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["case"]


def test_old_folder_comes_back_when_the_last_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "case"
    target.mkdir()
    (target / "old").write_text("old")
    rename, calls = os.rename, []

    def failing(source: Path, destination: Path) -> None:
        calls.append(destination)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(OutputError, match="Input/output"), atomic_folder(target, overwrite=True) as temporary:
            (temporary / "new").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["case"]
    assert (target / "old").read_text() == "old"


def test_full_disk_is_one_sentence_and_leaves_nothing(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match="No space is left") as caught, atomic_path(tiny_disk / "a") as temporary:
        temporary.write_bytes(b"x" * 2**20)
    assert "\n" not in str(caught.value)

    def write() -> None:
        with atomic_folder(tiny_disk / "f") as temporary:
            for i in range(64):
                (temporary / str(i)).write_bytes(b"x" * 2**14)

    with pytest.raises(OutputError, match="No space is left"):
        write()
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "No space is left"), (errno.EACCES, "cannot be written"), (errno.EROFS, "cannot be written")],
)
def test_failures_at_the_final_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match=words), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    with pytest.raises(OutputError, match=words), atomic_folder(tmp_path / "b") as temporary:
        (temporary / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OutputError, match="a file stands where a folder is needed"):
            check_writable(place)
    with pytest.raises(OutputError, match="a file stands"), atomic_path(tmp_path / "file" / "a"):
        pytest.fail("the block must not run")


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "out" / "deep")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    check_writable(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_check_writable_notices_a_full_disk(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match="No space"), atomic_path(tiny_disk / "fill") as temporary:
        temporary.write_bytes(b"0" * 300_000)
    (tiny_disk / "fill").write_bytes(b"0" * 2**18)
    with pytest.raises(OutputError, match="No space"):
        check_writable(tiny_disk)


def test_only_whoever_is_alone_removes_what_killed_processes_left(tmp_path: Path) -> None:
    left, own = tmp_path / ".0a0b.partial-case", tmp_path / ".0c0d.partial-case"
    left.mkdir()
    with one_of_several_users(tmp_path):
        assert not left.exists()
        own.mkdir()
        with one_of_several_users(tmp_path):
            assert own.is_dir()
        with one_of_several_users(tmp_path):  # the first one is still there
            assert own.is_dir()
    with one_of_several_users(tmp_path):
        assert not own.exists()


def test_what_the_system_says_becomes_one_sentence(tmp_path: Path) -> None:
    for code, words in ((errno.ENOSPC, "No space is left"), (errno.EROFS, "choose another output folder")):
        error = OSError(code, os.strerror(code))
        assert is_unwritable(error)
        with pytest.raises(OutputError, match=words), told_of(tmp_path):
            raise error
    assert not is_unwritable(FileNotFoundError(errno.ENOENT, "gone"))
    told = OutputError("told already")
    with pytest.raises(OutputError) as seen, told_of(tmp_path):
        raise told
    assert seen.value is told


def test_sha256(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 2**32), ("4g", 2**32), ("1.5 MB", 1_500_000), ("512MiB", 2**29), ("10", 10), (10, 10), ("2 KB", 2000)],
)
def test_parse_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "many", "-1GiB", "0", "4 GiBi", "1e9", "GiB"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a size"):
        parse_size(text)

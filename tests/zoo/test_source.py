"""From what a user asks for to a file: arguments that people and machines get wrong."""

from pathlib import Path

import pytest

from suprem.errors import CheckpointError, ConfigurationError, UnknownNameError
from suprem.zoo.source import resolve


def test_a_path_object_is_told_how_to_write_it() -> None:
    with pytest.raises(ConfigurationError, match=r"'local-file:weights\.pth'"):
        resolve(Path("weights.pth"))  # type: ignore[arg-type]


def test_names_that_no_file_system_takes() -> None:
    name = "x" * 5000
    with pytest.raises(UnknownNameError):
        resolve(name)
    with pytest.raises(CheckpointError, match="does not exist"):
        resolve(f"local-file:{name}")
    with pytest.raises(CheckpointError, match="is not a folder"):
        resolve(f"local-dir:{name}")


@pytest.mark.parametrize("revision", ["../../../tmp/x", "a/../../x", "/etc/x", "..", ".", "-x"])
def test_a_revision_that_would_leave_the_cache_is_refused(revision: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="hf-hub:owner/repo@revision"):
        resolve(f"hf-hub:owner/repo@{revision}", cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_without_permission_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    if name == "config.json":  # the tests may run as a user whom no permission stops
        monkeypatch.setattr(Path, "read_text", denied)
        source = f"local-dir:{tmp_path}"
    else:
        monkeypatch.setattr("suprem.zoo.source.sha256_file", denied)
        source = f"local-file:{tmp_path / name}"
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read: Permission denied; check its permissions"):
        resolve(source)

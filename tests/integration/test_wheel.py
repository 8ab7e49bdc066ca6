"""The wheel holds everything: built from the sources, installed into an empty environment, used from another folder."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that has to succeed, with nothing of this environment on its import path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy, because setuptools packs whatever an earlier build has left in build/.
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(repository / name, source)
    for name in ("src", "zoo"):
        shutil.copytree(repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("suprem-*.whl")
    return built


def test_it_contains_every_module_card_and_weight(wheel: Path, repository: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(repository / "src").as_posix()
        for path in (repository / "src" / "suprem").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {
        "suprem/zoo/cards/" + path.relative_to(repository / "zoo").as_posix()
        for path in (repository / "zoo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - names == set()
    assert "suprem/zoo/cards/bundled/segresnet_tiny.phantom/model.safetensors" in names
    strays = {name for name in names - expected if ".dist-info/" not in name}
    assert strays == set()
    assert any(name.endswith("licenses/NOTICE") for name in names)


def _needed(
    requirements: Iterable[str], extras: tuple[str, ...], found: dict[str, importlib.metadata.Distribution]
) -> None:
    """Adds the installed distributions that some requirements lead to."""
    for line in requirements:
        wanted = Requirement(line)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        key = f"{wanted.name}[{','.join(sorted(wanted.extras))}]"
        if key not in found:
            found[key] = importlib.metadata.distribution(wanted.name)
            _needed(found[key].requires or (), tuple(wanted.extras), found)


def _lend(wheel: Path, folder: Path) -> None:
    """Links what the wheel asks for, without extras, from this environment, instead of downloading gigabytes.

    `make demo` is where an index and the pinned versions are tried.
    """
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = importlib.metadata.PathDistribution(zipfile.Path(archive, metadata.rpartition("/")[0] + "/")).requires
    found: dict[str, importlib.metadata.Distribution] = {}
    _needed(asked or (), (), found)
    for distribution in found.values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))


def test_it_works_in_an_empty_environment(wheel: Path, repository: Path, tmp_path: Path) -> None:
    _run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    python, suprem = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "suprem"
    base = str(tmp_path / "venv")
    site = Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))
    lent = tmp_path / "lent"
    _lend(wheel, lent)
    (site / "lent.pth").write_text(f"{lent}\n")
    # Without an index pip says which requirement of the wheel is not satisfied.
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    origin = _run(python, "-c", "import suprem; print(suprem.__file__)", cwd=elsewhere).strip()
    assert Path(origin).is_relative_to(tmp_path / "venv")
    missing = subprocess.run([str(python), "-c", "import pytest"], cwd=elsewhere, capture_output=True)
    assert missing.returncode == 1, "the environment is not empty"
    listed = _run(suprem, "zoo", "list", cwd=elsewhere)
    for card in (repository / "zoo").glob("*.yaml"):
        assert card.stem in listed
    _run(suprem, "zoo", "verify", "segresnet_tiny.phantom", cwd=elsewhere)
    _run(suprem, "demo", "--cases", "1", "--output", "results", cwd=elsewhere)
    assert list((elsewhere / "results").rglob("*.png")), "the demo leaves no picture"

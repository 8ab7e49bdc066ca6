"""The command line: every command with words that it may not expect."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from suprem.cli._shell import app, main
from suprem.datasets import list_datasets
from suprem.zoo import list_checkpoints
from tests.fuzz.mutations import Rng, odd_text, pick
from tests.fuzz.stored import prepare as prepare_store
from tests.fuzz.targets import Target, Wrong
from tests.inference.tiny_model import save_scan, save_tiny_model

__all__ = ["CONTENT"]

# Not fuzzed: an address of a scheduler is waited for, and jobs are processes.
LEFT_OUT = ("--scheduler", "--help", "-h", "--version", "--install-completion", "--show-completion")
JOBS = ("0", "-1", "x", "1", "nan", "", "1.5", "1e9")
NAMES = (
    "liver", "spleen", "liver,spleen", "all", "universal_32", "suprem_9", "cpu", "cuda", "auto", "none", "mean",
    "majority", "staple", "onnx", "monai-bundle", "nnunet", "gzip", "1.5,1.5,1.5", "1.5x1.5x2", "4GiB", "1KB", "2026.1",
    "cc-by-4.0", "a/b", "hf-hub:a/b", "@", "a=b", "liver=1", "1:2", "[liver]", "segresnet_tiny", "conv",
)  # fmt: skip


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[Any]]]:
    if hasattr(command, "commands"):
        return [found for name, inner in command.commands.items() for found in _commands(inner, (*path, name))]
    return [(path, list(command.params))]


def prepare(folder: Path) -> Path:
    import_module("suprem.cli._training")  # Lightning alone takes most of the seconds that an input may take
    prepare_store(folder / "store")
    save_tiny_model(folder / "model")
    (folder / "scans").mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        save_scan(folder / "scans" / name)
    (folder / "scans/bad.nii.gz").write_bytes(b"\x1f\x8b no")
    (folder / "table.csv").write_text("case,dsc\na,0.5\nb,x\n")
    (folder / "note.yaml").write_text("seed: 1\nclasses: [liver]\n")
    (folder / "empty").mkdir()
    return folder


def _value(rng: Rng, folder: Path, option: str) -> str:
    if option in ("--jobs", "-j"):
        return str(pick(rng, JOBS))
    kind = int(rng.integers(8))
    if kind < 3:
        places = sorted(folder.rglob("*"))
        return str(pick(rng, (*places, folder, folder / "absent", folder / "table.csv" / "inside")))
    if kind == 3:
        return f"local-dir:{folder / 'model'}"
    if kind == 4:
        return str(pick(rng, (*list_checkpoints(), *list_datasets())))
    if kind == 5:
        return str(pick(rng, NAMES))
    # The system passes no zero bytes; and a command writes above its folder where it is told to.
    return odd_text(rng).replace("\0", "").replace("../..", "..up")


def write(rng: Rng, material: Path, folder: Path) -> list[str]:
    shutil.copytree(material, folder, dirs_exist_ok=True)
    path, params = pick(rng, [c for c in _commands(typer.main.get_command(app)) if c[0] != ("demo",)])
    words = list(path)
    for param in params:
        option = str(pick(rng, param.opts)) if param.opts else ""
        if option in LEFT_OUT or option.startswith("--no-"):
            continue
        if not rng.integers(2 if not param.required else 12):
            continue
        if not param.required and rng.integers(3):
            continue
        is_argument = not option.startswith("-")
        if getattr(param, "is_flag", False):
            words.append(option)
        elif is_argument:
            words += [_value(rng, folder, "") for _ in range(int(rng.integers(1, 3)) if param.nargs == -1 else 1)]
        else:
            words += [option, _value(rng, folder, option)]
    if rng.integers(5) == 0:
        words.insert(int(rng.integers(len(words) + 1)), str(pick(rng, ("--wrong", "--json", "-v", "--=", "-", "x"))))
    if not params:  # the training commands parse their words themselves
        words += [str(pick(rng, ("--config", "--data.root", "--classes", "--out", "--trainer.max_epochs", "--x")))]
        words += [_value(rng, folder, "")]
    return words


def open_words(words: list[str], _: Path) -> None:
    code = main(words)
    if code not in (0, 1, 2):
        raise Wrong(f"exit code {code}")


def valid(material: Path, folder: Path) -> list[str]:
    shutil.copytree(material, folder, dirs_exist_ok=True)
    return ["data", "verify", str(folder / "store")]


CONTENT = (Target("words", prepare, write, open_words, valid, free=True),)

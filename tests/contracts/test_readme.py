"""The README is short, its table is current, and everything it shows works."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readme_table() -> ModuleType:
    path = ROOT / "docs" / "_ext" / "readme_table.py"
    spec = importlib.util.spec_from_file_location("readme_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_the_checkpoint_table_is_current(readme_table: ModuleType) -> None:
    assert readme_table.with_table(README) == README, "the cards have changed; run `make readme`"


def test_every_checkpoint_has_a_row(readme_table: ModuleType) -> None:
    for card in (ROOT / "zoo").glob("*.yaml"):
        assert f"| `{card.stem}` |" in README


@pytest.mark.parametrize("words", ["not for clinical use", "patents", "CC BY-NC-ND", "Apache-2.0", "@inproceedings"])
def test_what_a_reader_must_be_told(words: str) -> None:
    assert words in README


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert named >= {"demo", "test"}
    assert named <= targets


def test_ci_runs_what_the_readme_names() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("demo", "test", "docs"):
        assert re.search(rf"^make\b.*\b{target}\b", script, flags=re.MULTILINE), f".ci/run does not make {target}"

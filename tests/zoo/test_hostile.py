"""Two hundred hostile files: nothing runs, nothing is written elsewhere, each refusal names its reason."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.zoo.hostile import COUNT

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

pytestmark = pytest.mark.slow  # a minute; `make test` fuzzes the same readers in tests/fuzz

CLIENT = Path(__file__).parent / "hostile_client.py"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, make_published: "Callable[[Path], SegmentationNetwork]"
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    make_published(folder / "published")
    environment = {**os.environ, "HOME": str(folder / "cwd"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, str(CLIENT), str(folder)], env=environment, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_all_of_them_are_opened(opened: dict[str, Any]) -> None:
    assert len(opened["outcomes"]) == COUNT == 200


def test_nothing_ran(opened: dict[str, Any]) -> None:
    assert opened["ran"] is False


def test_nothing_crashed(opened: dict[str, Any]) -> None:
    assert [case for case in opened["outcomes"] if case[1].startswith("CRASHED")] == []


def test_every_refusal_is_a_readable_sentence(opened: dict[str, Any]) -> None:
    refused = {name: text for name, text in opened["outcomes"] if text.startswith("refused")}
    assert len(refused) > COUNT / 2
    assert [name for name, text in refused.items() if not 40 < len(text) < 1500] == []


def test_nothing_is_written_outside_of_the_target(opened: dict[str, Any]) -> None:
    assert opened["outside"] == []
    assert opened["left half"] == []


def test_claims_of_size_take_no_memory(opened: dict[str, Any]) -> None:
    assert opened["grown_mib"] < 500


@pytest.mark.parametrize("function", ["exec", "eval", "system", "open"])
@pytest.mark.parametrize("place", ["value", "beside", "nested"])
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_code_is_refused_by_name(opened: dict[str, Any], function: str, place: str, form: str) -> None:
    text = dict(opened["outcomes"])[f"{function} as {place}, {form}"]
    assert text.startswith("refused: UnsafeFileError")
    assert f".{function} to be read, which could run any code" in text


def test_fuzzed_weights_that_are_still_whole_are_opened(opened: dict[str, Any]) -> None:
    # Otherwise the corpus would only show that everything is refused.
    assert any(text == "opened" for _, text in opened["outcomes"])

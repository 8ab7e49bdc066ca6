"""A short run of every reader; ``python -m tests.fuzz.campaign`` is the long one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import Worker, campaign, table
from tests.fuzz.mutations import NUMBERS
from tests.fuzz.targets import TARGETS, rng_of

INPUTS = {"words": 10, "card": 25, "folder": 25, "checkpoint": 30, "legacy": 40, "safetensors": 30}
USUALLY = 60
MOSTLY_REFUSED = ("safetensors", "folder", "checkpoint", "words")
SEED = 20261126


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One process for all readers, so that libraries are imported once."""
    found = Worker(tmp_path_factory.mktemp("fuzz"))
    yield found
    found.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_every_outcome_is_a_right_result_or_an_error_of_ours(name: str, worker: Worker) -> None:
    (result,) = campaign([name], INPUTS.get(name, USUALLY), SEED, worker)
    assert result.faults == []
    # Otherwise the run would only show that everything is refused, or that nothing is changed.
    assert result.counts["refused"] > 0 or name == "words"  # bad arguments are an exit code, not an exception
    assert result.counts["opened"] > 0 or name in MOSTLY_REFUSED, table([result])


def test_the_campaign_finds_every_kind_of_fault(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "work", limit_s=10.0)
    (result,) = campaign(["broken"], 10, SEED, worker)
    worker.stop()
    kinds = ["crash", "exception", "hang", "memory", "outside", "outside", "outside", "wrong"]
    assert [(number, outcome) for number, outcome, _ in result.faults] == list(enumerate(kinds, start=1))
    assert (result.counts["refused"], result.counts["opened"]) == (1, 1)


def test_inputs_are_made_again_by_their_number() -> None:
    first, again, other = (rng_of("nifti", SEED, number).integers(0, 2**62, 8).tolist() for number in (3, 3, 4))
    assert first == again != other
    assert len(NUMBERS) > 30

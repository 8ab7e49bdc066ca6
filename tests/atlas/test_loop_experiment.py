"""A small copy of the experiment: the loop with an automatic annotator makes labels better."""

from pathlib import Path

import numpy as np
import pytest

from experiments.atlas.loop import draw, experiment, write_rows
from experiments.atlas.phantoms import Plan, key_of
from experiments.atlas.planting import choose_errors


def test_errors_take_turns() -> None:
    plan = Plan()
    errors = choose_errors(plan)
    assert len(errors.kinds) == plan.planted == 12
    assert set(errors.kinds) <= set(plan.keys)
    assert len(plan.keys) == 40
    assert {list(errors.kinds.values()).count(kind) for kind in set(errors.kinds.values())} <= {2, 3}
    assert key_of(0, plan) == "labelled/phantom_000"


@pytest.mark.slow
def test_the_loop_makes_labels_better(tmp_path: Path) -> None:
    sizes = {
        "cases": 3,
        "labelled": 2,
        "models": 2,
        "steps": 10,
        "more_steps": 5,
        "reviewed": 2,
        "rounds": 2,
        "unseen": 1,
        "share": 0.67,
    }
    window = {"spacing": 8.0, "patch": 24, "window": (40, 32, 64)}
    plan = Plan(**sizes, **window)  # type: ignore[arg-type]
    rows = experiment(tmp_path, plan, 1)
    steps = [(row["branch"], row["round"], row["after"]) for row in rows]
    ranked = [("ranked", 1, "review"), ("ranked", 2, "ensemble"), ("ranked", 2, "review")]
    all_of_them = [("all", 1, "review"), ("all", 2, "ensemble")]
    assert steps == [("first", 1, "ensemble"), *ranked, *all_of_them, ("none", 2, "ensemble")]
    assert rows[1]["dsc_labels"] > rows[0]["dsc_labels"]
    assert rows[1]["reviewed"] == 2
    assert rows[4]["dsc_labels"] == 1.0
    assert [row["planted_left"] for row in rows[4:]] == [0, 0, 2]
    assert [row["gain"] for row in (rows[0], rows[5])] == [0.0, 1.0]
    assert [row["gain_unseen"] for row in (rows[0], rows[5])] == [0.0, 1.0]
    assert all(np.isfinite(row["dsc_models"]) for row in rows)
    write_rows(rows, tmp_path / "results.csv")
    draw(rows, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")

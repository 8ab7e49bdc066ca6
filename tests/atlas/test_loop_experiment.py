"""A small copy of the experiment: the loop with an automatic annotator makes labels better."""

from pathlib import Path

import numpy as np
import pytest

from experiments.atlas.loop import Plan, choose_errors, draw, experiment, key_of, write_rows


def test_errors_take_turns() -> None:
    plan = Plan()
    errors = choose_errors(plan)
    assert len(errors.kinds) == plan.planted == 12
    assert all(key.startswith("new/") for key in errors.kinds)
    assert {list(errors.kinds.values()).count(kind) for kind in set(errors.kinds.values())} <= {2, 3}
    assert key_of(0, plan) == "labelled/phantom_000"


@pytest.mark.slow
def test_the_loop_makes_labels_better(tmp_path: Path) -> None:
    plan = Plan(
        cases=6, labelled=3, spacing=8.0, models=3, steps=20, more_steps=10, patch=24, reviewed=2, rounds=2, share=0.34
    )
    rows = experiment(tmp_path, plan, 1)
    assert [(row["round"], row["after"]) for row in rows] == [
        (1, "ensemble"),
        (1, "review"),
        (2, "ensemble"),
        (2, "review"),
    ]
    assert rows[1]["dsc"] > rows[0]["dsc"]
    assert rows[-1]["dsc"] > rows[0]["dsc"]
    assert rows[-1]["reviewed"] <= 4
    assert all(np.isfinite(row["gain_of_full"]) for row in rows)
    write_rows(rows, tmp_path / "results.csv")
    draw(rows, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().lstrip().startswith("<?xml")

"""``suprem transfer``: whether pre-training helps on data of one's own, planned, run and tabulated."""

import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suprem.cli._words import names_in

if TYPE_CHECKING:
    from suprem.transfer.cost import Cost
    from suprem.transfer.study import Run, Study

__all__ = ["transfer_app"]

transfer_app = typer.Typer(help="Does pre-training help on my data? Plan, run and tabulate.", no_args_is_help=True)

_Folder = Annotated[Path, typer.Argument(help="Folder of the study.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


@transfer_app.command()
def plan(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the study.")],
    stores: Annotated[list[str] | None, typer.Argument(help="Stores of training cases.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the whole study, instead of options.")] = None,
    classes: Annotated[str | None, typer.Option(help="Structures, separated by commas.")] = None,
    init: Annotated[
        list[str] | None, typer.Option(help="Weights to compare with random ones, or NAME=WEIGHTS; repeatable.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Architecture; default: that of the weights.")] = None,
    strategies: Annotated[str, typer.Option(help="full, frozen_encoder, norm_and_bias, head, lora.")] = "full",
    shots: Annotated[str, typer.Option(help="Numbers of training cases, shares such as 0.5, all.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions with other draws of cases.")] = 3,
    steps: Annotated[int, typer.Option(help="Optimiser steps of every run.")] = 2000,
    patch_size: Annotated[int, typer.Option(help="Edge of a patch, voxels.")] = 96,
    learning_rate: Annotated[float, typer.Option(help="Peak.")] = 1e-4,
    test_store: Annotated[
        str | None, typer.Option(help="Store of test cases; default: the official test part of the stores.")
    ] = None,
    test_images: Annotated[str | None, typer.Option(help="Folder of test scans, scored on their own grid.")] = None,
    test_masks: Annotated[str | None, typer.Option(help="Folder of their masks.")] = None,
    test_numbering: Annotated[str | None, typer.Option(help="Numbering of masks that are label maps.")] = None,
    as_json: _Json = False,
) -> None:
    """Plan a study: check for leakage, write the table of runs, and tell what they will cost.

    Nothing is trained. study.yaml in the folder has every setting; runs.csv may be shortened or sorted by hand.
    """
    from suprem._files import check_writable
    from suprem.errors import ConfigurationError
    from suprem.transfer.cost import estimate
    from suprem.transfer.leakage import check_study
    from suprem.transfer.run_table import create_folder
    from suprem.transfer.study import read_study, study_from

    if config is not None:
        if stores or classes or init:
            raise ConfigurationError("--config holds the whole study; leave stores, --classes and --init out.")
        study = read_study(config)
    else:
        training = {"steps": steps, "patch_size": [patch_size] * 3, "optimisation": {"learning_rate": learning_rate}}
        scoring = {"store": test_store, "images": test_images, "references": test_masks}
        values = {
            "stores": stores or [],
            "groups": {"structures": names_in(classes or "")},
            "models": {"model": {"backbone": backbone, "initialisations": _starts(init or [])}},
            "strategies": names_in(strategies),
            "shots": [_shots(text) for text in names_in(shots)],
            "seeds": list(range(seeds)),
            "training": training,
            "scoring": {**scoring, "reference_numbering": test_numbering},
        }
        study = study_from(values, "the study")
    check_writable(out)
    notes = check_study(study)
    cost = estimate(create_folder(out, study))
    if as_json:
        typer.echo(json.dumps({**asdict(cost), "hours": cost.hours, "notes": notes}, indent=2))
        return
    _print_plan(out, study, cost, notes)


def _starts(init: list[str]) -> dict[str, str | None]:
    """Random weights, and those that were named."""
    from suprem.errors import ConfigurationError

    starts: dict[str, str | None] = {"scratch": None}
    for number, text in enumerate(init, start=1):
        name, sign, source = text.partition("=")
        if not sign:
            name, source = ("pretrained" if len(init) == 1 else f"pretrained{number}"), text
        if name in starts:
            raise ConfigurationError(f"Two starting points are called {name!r}; name them as NAME=WEIGHTS.")
        starts[name] = source
    return starts


def _shots(text: str) -> int | float | None:
    from suprem.errors import ConfigurationError

    if text == "all":
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no number of cases; write 5, a share such as 0.5, or all.") from None


def _print_plan(out: Path, study: "Study", cost: "Cost", notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{cost.runs} runs of {cost.steps} steps, {cost.finished} of them finished; measured on {cost.device}:")
    for model in cost.models:
        scoring = "?" if model.scoring_seconds is None else f"{model.scoring_seconds:.0f}"
        typer.echo(
            f"  {model.model}: {model.parameters:,} parameters, {model.step_seconds:.2f} s for a step, {scoring} s to "
            f"score, {model.runs} runs"
        )
    typer.echo(f"About {cost.hours:.1f} hours, one run after the other, without reading of patches.")
    if len(study.seeds) == 1:
        typer.echo("One seed: nothing can be tested, since the spread between draws of cases is not known.")
    typer.echo(f"`suprem transfer run {out}` starts, and goes on where it was stopped.")


@transfer_app.command()
def run(
    folder: _Folder,
    index: Annotated[
        int | None, typer.Option(help="Only this row of runs.csv, from 0; for arrays of SLURM jobs.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Only these runs, by name, separated by commas.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at the same time, each in its process.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler that runs them instead.")] = None,
) -> None:
    """Run what is not finished, and write the tables.

    Every run has a folder that appears when it is complete; a run that fails is told of, and the others go on.
    """
    from suprem._workers import map_unordered
    from suprem.errors import SupremError
    from suprem.transfer.leakage import check_study
    from suprem.transfer.run_table import StudyFolder
    from suprem.transfer.training import execute_by_name

    study = StudyFolder.open(folder)
    chosen = _chosen(study.runs(), index, only)
    check_study(study.study)
    waiting = [run for run in chosen if study.result(run) is None]
    typer.echo(f"{len(chosen) - len(waiting)} of {len(chosen)} runs are finished already.")
    failed, start = [], time.monotonic()
    work = partial(execute_by_name, path=folder)
    for number, (name, outcome) in enumerate(
        map_unordered(work, [run.name for run in waiting], jobs=jobs, scheduler=scheduler), start=1
    ):
        spent = time.monotonic() - start
        left = f"{spent:.0f} s, about {spent / number * (len(waiting) - number):.0f} s left"
        if isinstance(outcome, SupremError):
            failed.append(name)
            typer.echo(f"[{number}/{len(waiting)}] {name}: failed: {outcome}", err=True)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            result = study.results([run for run in waiting if run.name == name])[0]
            typer.echo(f"[{number}/{len(waiting)}] {name}: DSC {result.mean_dsc:.3f} ({left})")
    _write_tables(study)
    if failed:
        raise SupremError(f"{len(failed)} of {len(waiting)} runs failed: {', '.join(failed[:3])}. See above.")


def _chosen(runs: "tuple[Run, ...]", index: int | None, only: str | None) -> "list[Run]":
    from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean

    if index is not None and only is not None:
        raise ConfigurationError("Both --index and --only are given; give one of them.")
    if index is not None:
        if not 0 <= index < len(runs):
            raise ConfigurationError(f"index is {index}; runs.csv has {len(runs)} rows, 0 to {len(runs) - 1}.")
        return [runs[index]]
    if only is None:
        return list(runs)
    by_name = {run.name: run for run in runs}
    for name in names_in(only):
        if name not in by_name:
            raise UnknownNameError(did_you_mean("run", name, tuple(by_name)))
    return [by_name[name] for name in names_in(only)]


@transfer_app.command()
def tables(folder: _Folder, as_json: _Json = False) -> None:
    """Write tables and curves of what is finished, and say what came out of it."""
    from suprem.transfer.run_table import StudyFolder

    study = StudyFolder.open(folder)
    if not as_json:
        _write_tables(study)
        return
    from suprem.transfer.output import write_outputs
    from suprem.transfer.summary import summarise

    lines = write_outputs(study)
    cells = [_without_nan(asdict(cell)) for cell in summarise(study.study, study.results())]
    typer.echo(json.dumps({"verdict": lines, "cells": cells}, indent=2))


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and value != value else value for key, value in row.items()}


def _write_tables(study: Any) -> None:
    from suprem.transfer.output import TABLES, write_outputs

    for line in write_outputs(study):
        typer.echo(line)
    typer.echo(f"The tables are in {study.path / TABLES}.")

"""The loop: models annotate, a score ranks, people review, models learn from it, and so on until nothing major is left.

Which step comes next follows from the journal and from nothing else. A process that was killed in the middle of a step
changes nothing about that: each step goes on with what lies on the disk, and its event is written last.

::

    ensemble -> prioritise -> export -> review (people) -> finetune -> ensemble of the next round -> ...
                                                        -> done, where the rule to stop is met

Files beside those of the steps::

    atlas/loop.yaml                            settings (suprem.atlas.loop_settings)
    atlas/rounds/01/training-store/            trusted labels after the reviews of round 1 (suprem.atlas.training)
    atlas/rounds/01/trained/<model>/           the models of round 2
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from suprem._files import remove_leftovers
from suprem.atlas._review_ticket import adopt, case_folder_name, review_folder
from suprem.atlas.ensemble import run_ensemble
from suprem.atlas.finetune import fine_tune
from suprem.atlas.loop_settings import SETTINGS, LoopSettings, StopRule, read_settings
from suprem.atlas.prioritise import prioritise
from suprem.atlas.ranking import read_ranking
from suprem.atlas.review import Handout, export_cases, stop_report
from suprem.atlas.training import write_training_store
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, TrainingError

__all__ = ["NextStep", "StepKind", "next_step", "run_loop", "run_step", "settings_of"]

StepKind = Literal["ensemble", "prioritise", "export", "review", "finetune", "done"]
_Say = Callable[[str], None]


@dataclass(frozen=True)
class NextStep:
    """What is to be done next.

    Attributes:
        kind: of the step; ``"review"`` is for people, ``"done"`` for nobody.
        round: that it belongs to.
        text: a sentence for people.
        models: that annotate, or that are still to be trained: name -> weights to start from.
        waiting: cases that people have.
    """

    kind: StepKind
    round: int
    text: str
    models: dict[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()


def settings_of(atlas: Atlas) -> LoopSettings:
    """The settings that are kept in an atlas; the defaults with its present models where none are.

    Raises:
        ConfigurationError: there are neither settings nor a finished round, or a file is damaged.
    """
    if (atlas.root / SETTINGS).is_file():
        return read_settings(atlas.root / SETTINGS)
    if atlas.round == 0:
        raise ConfigurationError(
            f"{atlas.root} has no {SETTINGS} and no finished round; give --config, or run `suprem atlas ensemble`."
        )
    return LoopSettings(tuple(_round_models(atlas, atlas.round).values()))


def next_step(atlas: Atlas, settings: LoopSettings) -> NextStep:
    """What comes next, judged by the journal.

    Raises:
        ConfigurationError: the journal, or a file of a round, is damaged.
    """
    number = atlas.round
    if number == 0:
        models = {source: source for source in settings.models}
        return NextStep("ensemble", 1, "The models annotate every case.", models)
    if not any(event.facts["round"] == number for event in atlas.journal.events("priority")):
        return NextStep("prioritise", number, "The cases are ranked by how much they deserve a look.")
    handed = _cases(atlas, "export", number)
    if not handed:
        rows = read_ranking(atlas.priority_folder(number))
        if not rows:
            return NextStep("done", number, "Nothing is left to look at: every structure of every case is settled.")
        text = f"The first {min(settings.cases, len(rows))} of {len(rows)} ranked cases are handed out."
        return NextStep("export", number, text)
    waiting = tuple(sorted(handed - _cases(atlas, "revision", number)))
    if waiting:
        text = f"People review {len(waiting)} of {len(handed)} cases; `suprem atlas review import` takes them back."
        return NextStep("review", number, text, waiting=waiting)
    ended = _ended(atlas, settings.stop, number)
    if ended:
        return NextStep("done", number, ended)
    models = _round_models(atlas, number)
    trained = {event.facts["model"]: event.facts["source"] for event in _finetunes(atlas, number)}
    left = {
        name: _origin(atlas, source) if settings.restart else source
        for name, source in models.items()
        if name not in trained
    }
    if left:
        return NextStep("finetune", number, f"{len(left)} of {len(models)} models learn from the reviews.", left)
    text = f"The models of round {number}, which have learned from its reviews, annotate every case."
    return NextStep("ensemble", number + 1, text, trained)


def run_step(
    atlas: Atlas, settings: LoopSettings, step: NextStep, *, jobs: int = 1, say: _Say | None = None
) -> Handout | None:
    """Does a step that is not for people, or what a killed process has left of it.

    Args:
        atlas: The atlas.
        settings: Of the loop.
        step: As :func:`next_step` gives it.
        jobs: Local processes, where the step uses some.
        say: Called with a line about each part that is done.

    Returns:
        The hand-out of an ``"export"``.

    Raises:
        ConfigurationError: the step is for people, or cannot be done with these settings.
        TrainingError: a model could not annotate a case.
    """
    tell = say or _silent
    if step.kind == "ensemble":
        _ensemble(atlas, settings, step, jobs, tell)
    elif step.kind == "prioritise":
        found = prioritise(atlas, round=step.round, jobs=jobs, progress=lambda done: tell(f"{done.case}: ranked"))
        if found.problems:
            case, reason = next(iter(found.problems.items()))
            tell(f"{len(found.problems)} cases could not be ranked, the first is {case}: {reason}")
    elif step.kind == "export":
        return _export(atlas, settings, step, tell)
    elif step.kind == "finetune":
        _finetune(atlas, settings, step, tell)
    else:
        raise ConfigurationError(f"{step.text} No program can do that.")
    return None


def run_loop(
    atlas: Atlas,
    settings: LoopSettings,
    *,
    annotate: Callable[[Handout], None] | None = None,
    after: Callable[[NextStep], None] | None = None,
    jobs: int = 1,
    say: _Say | None = None,
) -> NextStep:
    """Goes on until people have to review, or until the loop is done.

    Args:
        atlas: The atlas.
        settings: Of the loop.
        annotate: Reviews a hand-out and imports it, instead of people: for trials on data with known truth.
        after: Called after each step that was done.
        jobs: Local processes.
        say: Called with a line about each part that is done.

    Returns:
        The step that was not done.

    Raises:
        SupremError: as for :func:`run_step`.
    """
    while True:
        step = next_step(atlas, settings)
        if step.kind == "done" or (step.kind == "review" and annotate is None):
            return step
        if step.kind == "review" and annotate is not None:
            for handout in _outstanding(atlas, step):
                annotate(handout)
            if next_step(atlas, settings) == step:
                raise ConfigurationError(f"{annotate} brought none of {', '.join(step.waiting)} back.")
        else:
            run_step(atlas, settings, step, jobs=jobs, say=say)
        if after:
            after(step)


def _silent(line: str) -> None:
    """Says nothing."""


def _cases(atlas: Atlas, kind: str, number: int) -> set[str]:
    """Cases of the events of a round."""
    found: set[str] = set()
    for event in atlas.journal.events(kind):
        if event.facts.get("round") == number:
            found.update(event.facts["cases"] if kind == "export" else [event.facts["case"]])
    return found


def _finetunes(atlas: Atlas, number: int) -> list[Any]:
    return [event for event in atlas.journal.events("finetune") if event.facts["round"] == number]


def _origin(atlas: Atlas, source: str) -> str:
    """The weights that a model had before it was trained in this atlas."""
    starts = {str(event.facts["source"]): str(event.facts["start"]) for event in atlas.journal.events("finetune")}
    while source in starts:
        source = starts[source]
    return source


def _ended(atlas: Atlas, rule: StopRule, number: int) -> str:
    """Why the loop ends here; empty where it goes on."""
    report = stop_report(
        atlas,
        round=number,
        major_dsc=rule.major_dsc,
        major_ml=rule.major_ml,
        min_cases=rule.min_cases,
        max_share=rule.max_share,
    )
    if report.met:
        return f"The rule to stop is met: {report.text}"
    if rule.max_rounds is not None and number >= rule.max_rounds:
        return f"max_rounds is {rule.max_rounds}: {report.text}"
    return ""


def _round_models(atlas: Atlas, number: int) -> dict[str, str]:
    """Name -> weights of the models that annotated a round."""
    path = atlas.round_folder(number) / "ensemble.json"
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {str(model["name"]): str(model["source"]) for model in models}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is damaged or missing: {error!r}; restore it.") from error


def _outstanding(atlas: Atlas, step: NextStep) -> Iterator[Handout]:
    """What was handed out in the round and has not come back; it lies in the atlas."""
    for event in atlas.journal.events("export"):
        if event.facts["round"] == step.round:
            ticket, cases = event.facts["ticket"], [case for case in event.facts["cases"] if case in step.waiting]
            place = review_folder(atlas, ticket)
            if cases:
                yield Handout(ticket, step.round, {case: place / case_folder_name(case) for case in cases})


def _ensemble(atlas: Atlas, settings: LoopSettings, step: NextStep, jobs: int, tell: _Say) -> None:
    report = run_ensemble(
        atlas,
        tuple(step.models.values()),
        fusion=settings.fusion,
        quality=settings.quality,
        overlap=settings.overlap,
        device=settings.device,
        jobs=jobs,
        progress=lambda done: tell(f"{done.case}: {done.reason or 'done'}"),
    )
    if report.failures:
        first = report.failures[0]
        raise TrainingError(
            f"Round {report.round} is not finished: {len(report.failures)} steps failed, the first is {first.case} "
            f"({first.reason}). Mend them, then run it again."
        )
    if report.round != step.round:
        raise ConfigurationError(
            f"The models of round {step.round} are those of round {report.round}, so there is nothing new to annotate."
        )


def _export(atlas: Atlas, settings: LoopSettings, step: NextStep, tell: _Say) -> Handout:
    with atlas.journal.locked() as journal:
        adopt(atlas, journal)  # what a process that was killed had handed out
    handed = _cases(atlas, "export", step.round)
    if not handed:
        return export_cases(atlas, settings.cases, progress=tell)
    waiting = NextStep("review", step.round, "", waiting=tuple(sorted(handed)))
    return next(_outstanding(atlas, waiting))


def _finetune(atlas: Atlas, settings: LoopSettings, step: NextStep, tell: _Say) -> None:
    folder = atlas.round_folder(step.round)
    store = folder / "training-store"
    for place in (folder, folder / "trained"):
        remove_leftovers(place)
    if not store.is_dir():
        found = write_training_store(atlas, store, settings.sources, rehearse=True, val_fraction=0.0)
        tell(f"{len(found.train)} cases to train on, {len(found.left_out)} without trusted labels")
    for name, start in step.models.items():
        title = re.sub(r"[^\w.-]+", "-", name)  # a name with a version keeps it, so that names stay different
        options = {"name": title, "settings": settings.training, "window": settings.window, "seed": step.round}
        result = fine_tune(start, store, folder / "trained" / title, **options)  # type: ignore[arg-type]
        tell(f"{name}: {result.steps} steps on {result.cases} cases in {result.seconds:.0f} s")
        facts: dict[str, Any] = {
            "source": result.source,
            "start": start,
            "cases": result.cases,
            "seconds": result.seconds,
        }
        atlas.journal.append("finetune", round=step.round, model=name, steps=result.steps, **facts)

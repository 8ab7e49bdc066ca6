"""A round of models: each annotates every case of the store, and their predictions are fused.

::

    rounds/01/ensemble.json      models with versions, fusion, settings
    rounds/01/models/...         one prediction per model and case (suprem.atlas.predictions)
    rounds/01/labels/...         fused labels (suprem.atlas.label_set); fusion.json says of what they were made
    rounds/01/failures.csv       what could not be done; absent when nothing failed

The round counts once every case has its labels: then, and only then, the journal has an ``ensemble`` event. Fused
labels are kept of every structure, also where experts have annotated it, so that both can be compared;
:meth:`suprem.atlas.workspace.Atlas.labels` knows which count.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from suprem._files import check_writable, make_folder, only_user, parse_size
from suprem.atlas._round import FAILURES, EnsembleReport, Failure, Round, Step
from suprem.atlas.fusion import Fusion, check_fusion
from suprem.atlas.models import EnsembleModel, PredictSettings, describe_models, forget_models
from suprem.atlas.workspace import Atlas
from suprem.errors import UnknownNameError, did_you_mean
from suprem.inference.levels import QualityName, quality_level
from suprem.labels import known_name, ordered

__all__ = ["FAILURES", "EnsembleReport", "Failure", "Step", "begin_atlas", "run_ensemble"]


def begin_atlas(
    root: str | Path, store: str | Path, models: Sequence[EnsembleModel], classes: Sequence[str] | None = None
) -> Atlas:
    """The atlas of a folder, begun if there is none.

    Args:
        root: folder of the atlas.
        store: folder or address of the store.
        models: of :func:`~suprem.atlas.models.describe_models`.
        classes: its structures; ``None`` for those it has, or for all that the models know where it is new.

    Raises:
        ConfigurationError: another atlas is there.
        UnknownNameError: neither the models nor the store know a class.
        OutputError: the place cannot be written.
    """
    if classes is None:
        known = (
            Atlas.open(root).structures if Atlas.is_at(root) else ordered({name for m in models for name in m.classes})
        )
        return Atlas.create(root, store, known)
    atlas = Atlas(Path(root), str(store), ordered({known_name(name) for name in classes}))
    known = ordered({n for m in models for n in m.classes} | {n for r in atlas.store.records for n in r.annotated})
    for name in atlas.structures:
        if name not in known:
            raise UnknownNameError(did_you_mean("structure of the models or the store", name, known))
    return Atlas.create(root, store, atlas.structures)


def run_ensemble(
    atlas: Atlas,
    models: Sequence[str] | Sequence[EnsembleModel],
    *,
    fusion: Fusion = "majority",
    quality: QualityName = "balanced",
    overlap: float | None = None,
    postprocess: str = "none",
    max_ram: str | int | None = "4GiB",
    device: str = "auto",
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[Step], None] | None = None,
) -> EnsembleReport:
    """Annotates every case of an atlas with several models: the next round, or what one that was stopped still lacks.

    A prediction stands when it was made with the same weights, settings and CT, in this round or an earlier one. A
    finished round stands as a whole when nothing has changed since: models, settings, fusion and cases. Cases that
    fail are listed in ``failures.csv`` of the round, which then does not finish; the next call tries them again.

    Args:
        atlas: to work on.
        models: as :func:`suprem.load_pretrained` takes them, or as :func:`~suprem.atlas.models.describe_models` gives
            them; their order does not matter.
        fusion: one of :data:`~suprem.atlas.fusion.FUSIONS`.
        quality: ``"fast"``, ``"balanced"`` or ``"exhaustive"``, as for
            :class:`~suprem.inference.predictor.Predictor`.
        overlap: least fraction of the trained window that neighbours share; ``None`` for that of ``quality``.
        postprocess: rules applied to each model's masks, a name of
            :func:`~suprem.inference.postprocessing.list_postprocess`.
        max_ram: limit for the memory of each process while it predicts; ``None`` for none.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        jobs: local processes; each holds one model and one case.
        scheduler: address of a Dask scheduler to use instead; its workers must see the store, the atlas and the models
            under these paths.
        progress: called after each step.

    Raises:
        ConfigurationError: arguments that cannot work; a round with other models was begun and not finished; another
            process works on the atlas.
        OutputError: the atlas cannot be written at all.
    """
    _check(fusion, quality, overlap, postprocess, max_ram)
    settings = PredictSettings(quality, overlap, postprocess, max_ram, device)
    sources = [model for model in models if isinstance(model, str)]
    described = describe_models(sources) if sources else tuple(m for m in models if isinstance(m, EnsembleModel))
    rounds = atlas.root / "rounds"
    check_writable(rounds)
    make_folder(rounds)
    try:
        with only_user(rounds):
            return Round(atlas, described, settings, fusion).run(jobs, scheduler, progress)
    finally:
        forget_models()


def _check(fusion: str, quality: str, overlap: float | None, postprocess: str, max_ram: str | int | None) -> None:
    from suprem.inference.postprocessing import check_profile
    from suprem.inference.windows import check_overlap

    check_fusion(fusion)
    check_profile(postprocess)
    check_overlap(quality_level(quality).overlap if overlap is None else overlap)
    if max_ram is not None:
        parse_size(max_ram)

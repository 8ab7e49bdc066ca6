"""Errors in what the networks of the loop say, until somebody has revised them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.atlas.phantoms import Masks, Plan
from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.phantom.planted import KINDS, plant_error

__all__ = ["Errors", "choose_errors", "plant", "planted_left"]


@dataclass
class Errors:
    """What is planted: case -> kind of error, and once it was planted, the structures that it spoils."""

    kinds: dict[str, str]
    spoilt: dict[str, tuple[str, ...]] = field(default_factory=dict)


def choose_errors(plan: Plan) -> Errors:
    """Which cases get which kind of error; kinds take turns."""
    rng = np.random.default_rng(7)
    chosen = sorted(rng.permutation(plan.cases)[: plan.planted].tolist())
    return Errors({plan.keys[n]: KINDS[i % len(KINDS)] for i, n in enumerate(chosen)})


def planted_left(atlas: Atlas, errors: Errors) -> list[str]:
    """Cases of which a spoilt structure has not been revised; their errors come back in every round."""
    return [key for key in errors.kinds if not _settled(atlas, key, errors)]


def plant(atlas: Atlas, number: int, errors: Errors, plan: Plan) -> None:
    """Plants the errors that nobody has revised yet into the labels of a round, and into all predictions but one."""
    for index, key in enumerate(errors.kinds):
        if _settled(atlas, key, errors):
            continue
        folder = atlas.pseudo_folder(number, key)
        labels = LabelSet.read(folder)
        masks = {name: labels.mask(name) for name in labels.structures}
        after = _with_error(masks, key, index, errors, plan)
        if after is None:
            continue  # the models have lost the structure by themselves
        spoilt = tuple(name for name in after if after[name] is not masks[name])
        errors.spoilt.setdefault(key, spoilt)
        changed = LabelSet.from_masks(after.items(), labels.shape, labels.affine, labels.provenance)
        changed.write(folder)
        models = sorted(path.name for path in (atlas.round_folder(number) / "models").iterdir())
        for place in [m for i, m in enumerate(models) if i != index % len(models)]:
            _spoil(atlas.prediction_folder(number, place, key), masks, after)


def _settled(atlas: Atlas, key: str, errors: Errors) -> bool:
    origins = atlas.provenance(key)
    return key in errors.spoilt and all(origins[name].source == "revised" for name in errors.spoilt[key])


def _with_error(masks: Masks, key: str, seed: int, errors: Errors, plan: Plan) -> Masks | None:
    """Masks with the error of a case; the first time it is of the next kind where its own does not fit."""
    spacing, wanted = (plan.spacing,) * 3, KINDS.index(errors.kinds[key])  # type: ignore[arg-type]
    known = errors.spoilt.get(key)
    for kind in (*KINDS[wanted:], *KINDS[:wanted])[: 1 if known else None]:
        try:
            after, _ = plant_error(
                masks, kind, spacing, seed, structure=known[0] if known else None, radius_mm=(15.0, 25.0)
            )
        except ConfigurationError:  # such an error does not fit into these masks
            continue
        errors.kinds[key] = kind
        return after
    return None


def _spoil(folder: Path, before: Masks, after: Masks) -> None:
    """Makes a model as sure of the error as it is of what it sees elsewhere."""
    found = Prediction.open(folder)
    values = {name: found.probability(name) for name in found.classes}
    for name, mask in after.items():
        if mask is not before[name] and name in values:
            sure = np.uint8(217)  # 85 %
            values[name] = values[name].copy()
            values[name][mask & (values[name] <= 127)] = sure
            values[name][~mask & (values[name] > 127)] = 255 - sure
    write_prediction(folder, values.items(), exclusive=found.exclusive, info=found.info, overwrite=True)

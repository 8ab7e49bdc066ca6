"""Figure 3 on phantoms: which lesion of the kidney, from networks with and without supervised pre-training.

```
python -m experiments.figure3_tumour_classification.phantom WORK
```

A network is fine-tuned to segment kidneys, kidney tumours and kidney cysts, from either pre-training, three draws each.
Patients are decided by the rule of the paper's program (`suprem.evaluation.patients`), with one phase.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.phantom.study import (
    TRAINING,
    WINDOW,
    Pretraining,
    main,
    make_store,
    pretrain_all,
    run_study,
    starts,
)
from suprem._workers import map_unordered
from suprem.evaluation.classification import auc, rates, roc_curve
from suprem.evaluation.patients import LesionType, PhaseScan, decide_patient
from suprem.evaluation.statistics import welch_t
from suprem.tasks.validation import stream_logits
from suprem.volumes.store import Store
from suprem.zoo import load_pretrained

BACKBONE = "segresnet_tiny"
LESIONS = ("kidney_tumor", "kidney_cyst")
CLASSES = ("kidney_left", "kidney_right", *LESIONS)
PHASE = "venous"
STEPS, SHOTS = 200, 16
SMALLEST = 5
"""Voxels of 6 mm, about 1 ml."""

Patient = dict[str, tuple[bool, bool, float]]
"""Lesion -> truth, decision, score."""


@torch.no_grad()
def patients(model: str, work: Path) -> list[Patient]:
    """Decisions and scores of one network for all patients."""
    torch.set_num_threads(1)
    network = load_pretrained(f"local-dir:{model}").eval()
    store = Store.open(work / "patients-store")
    found = []
    for record in store.records:
        ct = torch.from_numpy(store.case(record.key).ct()).float()[None]
        image = ((ct + 175.0) / 425.0).clamp(0, 1)
        probabilities = np.zeros((len(CLASSES), *ct.shape[1:]), dtype=np.float32)
        for region, logits in stream_logits(network, image, WINDOW["window"], overlap=WINDOW["overlap"]):
            probabilities[(slice(None), *region)] = logits.sigmoid().numpy()
        masks = probabilities > 0.5
        by_name = {name: probabilities[CLASSES.index(name)] for name in LESIONS}
        lesions = {name: masks[CLASSES.index(name)] for name in LESIONS}
        scan = PhaseScan(masks[0] | masks[1], lesions, by_name)
        decisions = {name: decide_patient({PHASE: scan}, [LesionType(name, PHASE, SMALLEST)]) for name in LESIONS}
        found.append({n: (record.voxels[n] > 0, d.positive, d.score or 0.0) for n, d in decisions.items()})
    return found


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """Area, sensitivity and specificity for each lesion and pre-training, and the curve of the first draw."""
    make_store(work, "lesion-pool", range(3700, 3720), jobs=jobs, lesions=0.7)
    make_store(work, "patients", range(3600, 3640), jobs=jobs, lesions=0.5)
    found = pretrain_all([Pretraining(BACKBONE, kind) for kind in ("self_supervised", "supervised")], work, jobs)
    model = {"backbone": BACKBONE, "initialisations": starts(work, {run.kind: found[run] for run in found})}
    folder = run_study(
        work, "figure3", jobs, models={BACKBONE: model}, shots=[SHOTS], groups={"kidney": list(CLASSES)},
        baseline="self_supervised", stores=[str(work / "lesion-pool-store")],
        training={**TRAINING, "steps": STEPS, "keep_models": True},
    )  # fmt: skip
    models = {str(folder.folder(run) / "model"): run for run in folder.runs()}
    decided: dict[str, list[list[Patient]]] = {"self_supervised": [], "supervised": []}
    outcomes = dict(map_unordered(partial(patients, work=work), list(models), jobs=jobs))
    for path, run in models.items():
        outcome = outcomes[path]
        if isinstance(outcome, Exception):
            raise outcome
        decided[run.initialisation].append(outcome)
    return [row for lesion in LESIONS for row in _rows(lesion, decided)]


def _rows(lesion: str, decided: dict[str, list[list[Patient]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    values: dict[str, list[float]] = {}
    for kind, draws in decided.items():
        keys = {"target": "phantom", "tumour": lesion, "pretraining": kind}
        columns = [tuple(zip(*(patient[lesion] for patient in draw), strict=True)) for draw in draws]
        values[kind] = [auc(scores, truth) for truth, _, scores in columns]
        tested = kind == "supervised" and np.ptp(values[kind]) > 0 and np.ptp(values["self_supervised"]) > 0
        p_value = float(welch_t(values[kind], values["self_supervised"]).p_value) if tested else None
        rows.append(
            {**keys, **_cell("auc", values[kind]), "note": f"{len(draws[0])} patients, {sum(columns[0][0])} with"}
        )
        if p_value is not None:
            rows[-1] |= {"p_value": f"{p_value:.3g}", "test": "Welch's t"}
        at_rule = [rates(decision, truth) for truth, decision, _ in columns]
        rows.append({**keys, **_cell("sensitivity", [100 * r.sensitivity.estimate for r in at_rule])})
        rows.append({**keys, **_cell("specificity", [100 * r.specificity.estimate for r in at_rule])})
        curve = roc_curve(columns[0][2], columns[0][0])
        rows += [
            {**keys, "metric": "roc", "x": f"{x:.4f}", "y": f"{y:.4f}"}
            for x, y in zip(curve.false_positive_rate, curve.sensitivity, strict=True)
        ]
    return rows


def _cell(metric: str, values: list[float]) -> dict[str, Any]:
    digits = 4 if metric == "auc" else 2
    return {
        "metric": metric,
        "mean": f"{np.mean(values):.{digits}f}",
        "sd": f"{np.std(values, ddof=1):.{digits}f}",
        "n": len(values),
    }


if __name__ == "__main__":
    main("figure3_tumour_classification", __doc__, experiment)

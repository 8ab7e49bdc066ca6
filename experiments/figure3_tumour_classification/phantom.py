"""Figure 3 on phantoms: which lesion of the kidney, from networks with and without supervised pre-training.

```
python -m experiments.figure3_tumour_classification.phantom WORK
```

A network is fine-tuned to segment kidneys, kidney tumours and kidney cysts, from either pre-training, three draws each.
Patients are decided by the rule of the paper's program (`suprem.evaluation.patients`), with one phase.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.phantom.study import (
    TRAINING,
    WINDOW,
    Pretraining,
    collect,
    main,
    make_store,
    number_row,
    pretrain_all,
    run_study,
    starts,
    welch_p,
)
from suprem.evaluation.classification import auc, rates, roc_curve
from suprem.evaluation.patients import LesionType, PhaseScan, decide_patient
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
    outcomes = collect(partial(patients, work=work), list(models), jobs)
    for path, run in models.items():
        decided[run.initialisation].append(outcomes[path])
    return [row for lesion in LESIONS for row in _rows(lesion, decided)]


def _rows(lesion: str, decided: dict[str, list[list[Patient]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    values: dict[str, list[float]] = {}
    for kind, draws in decided.items():
        keys = {"target": "phantom", "tumour": lesion, "pretraining": kind}
        columns = [tuple(zip(*(patient[lesion] for patient in draw), strict=True)) for draw in draws]
        values[kind] = [auc(scores, truth) for truth, _, scores in columns]
        p_value = welch_p(values[kind], values["self_supervised"]) if kind == "supervised" else math.nan
        area = number_row("auc", values[kind], p_value, "Welch's t", digits=4, **keys)
        rows.append({**area, "note": f"{len(draws[0])} patients, {sum(columns[0][0])} with"})
        at_rule = [rates(decision, truth) for truth, decision, _ in columns]
        for metric in ("sensitivity", "specificity"):
            rows.append(number_row(metric, [100 * getattr(r, metric).estimate for r in at_rule], **keys))
        curve = roc_curve(columns[0][2], columns[0][0])
        rows += [
            {**keys, "metric": "roc", "x": f"{x:.4f}", "y": f"{y:.4f}"}
            for x, y in zip(curve.false_positive_rate, curve.sensitivity, strict=True)
        ]
    return rows


if __name__ == "__main__":
    main("figure3_tumour_classification", __doc__, experiment)

"""Stores of phantoms, as if datasets had annotated some of their structures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suprem.phantom import PhantomCase, generate
from suprem.volumes import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index


def add_phantom(
    root: Path,
    case: PhantomCase,
    name: str,
    *,
    dataset: str = "a",
    annotated: frozenset[str] | None = None,
    scan: str = "",
    **changes: Any,
) -> None:
    """Adds a phantom to a store; structures that are not annotated leave the palette. ``None`` annotates all."""
    everything = frozenset[str]().union(*case.table)
    wanted = everything if annotated is None else annotated
    facts: dict[str, Any] = {
        "subject": "", "split": None, "ct": Volume(case.ct.array, case.ct.affine, name), "labels": case.labels,
        "table": tuple(entry & wanted for entry in case.table), **changes,
    }  # fmt: skip
    write_case(
        root, dataset=dataset, case=name, scan=scan or f"{dataset}/{name}", annotated=wanted,
        original_shape=case.ct.shape, original_affine=case.ct.affine, **facts,
    )  # fmt: skip


def phantom_store(root: Path, seeds: Iterable[int], spacing_mm: tuple[float, float, float], **options: Any) -> Path:
    """A store of patients ``case_0``, ``case_1``, ... at one spacing; returns its folder."""
    create_store(root, StoreSettings(spacing_mm))
    for number, seed in enumerate(seeds):
        case = generate(seed, spacing_mm=spacing_mm, **options)
        add_phantom(root, case, f"case_{number}", subject=f"{number}")
    write_index(root)
    return root

"""Checkpoints: what ``suprem zoo verify`` finds, and whether the preprocessing is known."""

from collections.abc import Iterator

from suprem.doctor.tables import CHECKPOINT_CHECKS
from suprem.errors import SupremError
from suprem.volumes.symptoms import Symptom

__all__ = ["checkpoint_symptoms"]

_PROOFS = ("SHA-256", "golden outputs")


def checkpoint_symptoms(source: str) -> Iterator[Symptom]:
    """What is found in a checkpoint.

    Args:
        source: as for :func:`suprem.load_pretrained`.
    """
    from suprem.zoo import verify
    from suprem.zoo.source import resolve

    try:
        origin = resolve(source, progress=False)
        report = verify(source, progress=False)
    except SupremError as error:
        yield _symptom("checkpoint", str(error))
        return
    for check in report.checks:
        if check.outcome == "failed":
            yield _symptom("check-failed", f"{check.name}: {check.detail}.")
    proofs = [check for check in report.checks if check.name in _PROOFS and check.outcome == "passed"]
    if report.ok and not proofs:
        yield _symptom("no-digest", "Neither a SHA-256 nor golden outputs are recorded for it.")
    card = origin.card
    if origin.config is None and (card is None or (card.preprocessing is None and card.bundled_config() is None)):
        yield _symptom("preprocessing", "Spacing, HU window and patch size are not recorded with it.")
    if origin.headless:
        yield _symptom("headless", "It holds an encoder, or a decoder without classes.")


def _symptom(code: str, text: str) -> Symptom:
    return Symptom.of(CHECKPOINT_CHECKS, code, text)

"""What is recorded beside every prediction, and whether an earlier prediction can stand."""

import hashlib
import json
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suprem._files import sha256_file
from suprem._version import __version__
from suprem.volumes.dicom import Series
from suprem.volumes.geometry import Volume
from suprem.volumes.scans import ScanInput
from suprem.volumes.symptoms import Symptom

if TYPE_CHECKING:
    from suprem.inference.predictor import Predictor

__all__ = [
    "case_manifest",
    "difference",
    "input_sha256",
    "is_complete",
    "model_facts",
    "now",
    "read_manifest",
    "versions",
]

MANIFEST = "manifest.json"
CASE_FORMAT = "suprem prediction"
FORMAT_VERSION = 1
# Of what the predictor tells: recorded under other keys.
_ELSEWHERE = ("seconds", "device", "model", "quality", "precision", "overlap", "flip_tta")
_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "connected-components-3d", "highdicom", "pydicom")


def now() -> str:
    """The time in UTC, as ISO 8601 writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of this package, Python, and what computes."""
    system = f"{platform.system()}-{platform.release()}-{platform.machine()}"  # platform.platform() starts a program
    found = {"suprem": __version__, "python": platform.python_version(), "platform": system}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def input_sha256(scan: ScanInput, series: Series | None) -> str:
    """Digest of an image file, or of the digests of a series' files in slice order."""
    if series is None:
        return sha256_file(scan.path)
    return hashlib.sha256("".join(sha256_file(path) for path in series.files).encode()).hexdigest()


def model_facts(predictor: "Predictor") -> dict[str, Any]:
    """Name, origin, digest and contract of the network; a network made from scratch has no digest."""
    report = predictor.load_report
    return {
        "name": predictor.config.name,
        "source": report.source if report else None,
        "sha256": report.sha256 if report else None,
        "config": json.loads(json.dumps(asdict(predictor.config))),
        "new_classes": list(report.new_classes) if report else [],
        "notes": list(report.notes) if report else [],
    }


def case_manifest(
    scan: ScanInput,
    volume: Volume,
    series: Series | None,
    *,
    sha256: str,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    run: Mapping[str, Any],
    read_seconds: float,
    check_seconds: float,
    symptoms: Sequence[Symptom],
) -> dict[str, Any]:
    """Everything known about one case before its masks are written; holds only what JSON can."""
    seconds = {"read": round(read_seconds, 3), "check": round(check_seconds, 3), **run.get("seconds", {})}
    return {
        "format": CASE_FORMAT,
        "format_version": FORMAT_VERSION,
        "created": now(),
        "versions": versions(),
        "model": dict(model),
        "device": run.get("device"),
        "settings": dict(settings),
        "input": {
            "path": str(scan.path),
            "sha256": sha256,
            "kind": scan.kind,
            "series_uid": series.uid if series else None,
            "orientation": volume.orientation,
            "spacing_mm": list(volume.spacing_mm),
            "shape": list(volume.shape),
            "dtype": str(volume.array.dtype),
            "hu_range": [float(volume.array.min()), float(volume.array.max())],
        },
        "run": {key: value for key, value in run.items() if key not in _ELSEWHERE},
        "seconds": seconds,
        "warnings": list(volume.warnings),
        "scan_checks": [symptom.to_dict() for symptom in symptoms],
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished case, or ``None`` where ``folder`` does not hold one of ours."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(content, dict) and content.get("format") == CASE_FORMAT
    return content if known else None


def difference(
    manifest: Mapping[str, Any], *, sha256: str, model: Mapping[str, Any], settings: Mapping[str, Any]
) -> str | None:
    """Why an earlier result is not what would be computed now, in words; ``None`` if it is."""
    if manifest.get("format_version") != FORMAT_VERSION:
        return "by another version of suprem"
    if _value(manifest, "input", "sha256") != sha256:
        return "from another scan"
    if (
        model["sha256"] is None
        or _value(manifest, "model", "sha256") != model["sha256"]
        or _value(manifest, "model", "config") != model["config"]
    ):
        return f"with another model, {_value(manifest, 'model', 'name')!r}"
    earlier = manifest.get("settings")
    earlier = earlier if isinstance(earlier, dict) else {}
    changed = sorted(k for k in {*earlier, *settings} if earlier.get(k) != settings.get(k))
    return f"with other settings ({', '.join(changed)})" if changed else None


def is_complete(manifest: Mapping[str, Any], folder: Path, wanted: Collection[str] = ()) -> bool:
    """Every file that the manifest lists is there and has its size, and it lists those that are ``wanted``."""
    outputs = manifest.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        return False
    if not {str(entry.get("path")) for entry in outputs}.issuperset(wanted):
        return False
    for entry in outputs:
        path = folder / str(entry.get("path"))
        if not path.is_file() or path.stat().st_size != entry.get("bytes"):
            return False
    return True


def _value(content: Mapping[str, Any], section: str, key: str) -> Any:
    part = content.get(section)
    return part.get(key) if isinstance(part, dict) else None

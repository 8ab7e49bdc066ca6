"""Predicted masks as DICOM Segmentation objects that refer to the slices of the scan."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path
from suprem._version import __version__
from suprem.errors import ConfigurationError, DicomError, UnknownNameError
from suprem.labels import Code, color, structure
from suprem.volumes.dicom import Series

if TYPE_CHECKING:
    import highdicom
    import pydicom

    from suprem.inference.segmentation import Segmentation

__all__ = ["check_available", "write_dicom_seg"]

_ANATOMY = Code("SCT", "91723000", "Anatomical Structure")
_PRIVATE = "99SUPREM"
_Layer = tuple[npt.NDArray[np.uint8 | np.uint16], list[str]]


def check_available() -> None:
    """Makes sure that the optional packages are installed.

    Raises:
        ConfigurationError: they are not; the message says how to install them.
    """
    try:
        import highdicom  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"DICOM SEG needs {error.name}, which is not installed; run `pip install 'suprem[dicom]'`, or use the "
            "format nifti."
        ) from error


def write_dicom_seg(segmentation: "Segmentation", series: Series, folder: Path, *, model: str) -> tuple[Path, ...]:
    """Writes ``segmentation.dcm``, or numbered files where structures overlap.

    One binary segment per structure that was found, coded as DICOM PS3.16 lists it. A file holds structures that do
    not overlap, so that one label map in memory is enough; a tumour inside its organ goes into a second file of the
    same series.

    Args:
        segmentation: Predicted on the volume that ``series`` holds.
        series: The scan, its files ordered by position, as ``select_series`` gives it.
        folder: An existing folder.
        model: Name of the network, stored as the algorithm's.

    Returns:
        The files written; none if not a single voxel was found.

    Raises:
        ConfigurationError: pydicom or highdicom is not installed.
        DicomError: the series lacks what the standard demands of its images.
        OutputError: the place cannot be written.
    """
    check_available()
    import pydicom
    from pydicom.uid import generate_uid

    expected = segmentation.scan.shape[2]
    if len(series.files) != expected:
        raise DicomError(f"The series has {len(series.files)} images, not the {expected} segmented; read it again.")
    layers = _layers(segmentation)
    if not layers:
        return ()
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in series.files]
    uid = generate_uid()
    paths = []
    for index, (labels, names) in enumerate(layers, start=1):
        name = "segmentation.dcm" if len(layers) == 1 else f"segmentation_{index}.dcm"
        data = _encode(labels, names, images, str(uid), index, model)
        with atomic_path(folder / name) as temporary:
            data.save_as(temporary)
        paths.append(folder / name)
    return tuple(paths)


def _layers(segmentation: "Segmentation") -> list[_Layer]:
    """Label maps (slices, rows, columns) of structures that do not overlap, each with its names in segment order."""
    dtype = np.uint8 if len(segmentation.classes) < 256 else np.uint16
    layers: list[_Layer] = []
    for name in segmentation.classes:
        mask = segmentation.mask(name).T
        if not mask.any():
            continue
        free = (layer for layer in layers if not layer[0][mask].any())
        labels, names = next(free, (None, []))
        if labels is None:
            labels = np.zeros(mask.shape, dtype=dtype)
            layers.append((labels, names))
        names.append(name)
        labels[mask] = len(names)
    return layers


def _encode(
    labels: npt.NDArray[Any],
    names: Sequence[str],
    images: Sequence["pydicom.Dataset"],
    series_uid: str,
    instance: int,
    model: str,
) -> "highdicom.seg.Segmentation":
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model, version=__version__, family=codes.DCM.ArtificialIntelligence
    )
    try:
        return highdicom.seg.Segmentation(
            source_images=list(images),
            pixel_array=labels,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(i, name, algorithm) for i, name in enumerate(names, start=1)],
            series_instance_uid=series_uid,
            series_number=100 * int(images[0].get("SeriesNumber") or 0) + 1,
            sop_instance_uid=generate_uid(),
            instance_number=instance,
            manufacturer="suprem",
            manufacturer_model_name=model,
            software_versions=__version__,
            device_serial_number="none",
            series_description=f"suprem {model}"[:64],
            content_description="Automatic segmentation, not for clinical use",
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise DicomError(
            f"The DICOM series cannot carry a segmentation ({error}); use the format nifti, or complete its tags."
        ) from error


def _describe(number: int, name: str, algorithm: Any) -> "highdicom.seg.SegmentDescription":
    import highdicom

    category, code, side = _ANATOMY, Code(_PRIVATE, name[:16], name[:64]), None
    regions: list[Any] = []
    try:
        known = structure(name)
    except UnknownNameError:  # a class of the user's own
        pass
    else:
        category, code, side = known.category, known.code, known.laterality
        if category != _ANATOMY and known.parents:
            regions = [_concept(structure(parent).code) for parent in known.parents[:1]]
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=_concept(category),
        segmented_property_type=_concept(code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=regions or None,
        display_color=highdicom.color.CIELabColor.from_rgb(*color(name)),
    )
    if side:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_concept(side)]
    return described


def _concept(code: Code) -> "highdicom.sr.CodedConcept":
    import highdicom

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)

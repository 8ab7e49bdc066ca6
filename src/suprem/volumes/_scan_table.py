"""Every kind of symptom that a scan can show, with its severity and what to do."""

from types import MappingProxyType

from suprem.volumes.symptoms import Meaning

__all__ = ["SCAN_CHECKS"]

SCAN_CHECKS = MappingProxyType(
    {
        "unreadable": Meaning(
            "error",
            "The reader refuses it: damaged, sheared by gantry tilt, slices missing or doubled, one value only",
            "Do what the sentence says; nothing can be computed from this scan.",
        ),
        "reading": Meaning(
            "warning",
            "The reader had to choose: no orientation stored, two that disagree, files left out, no negative value",
            "Look at the scan in a viewer: are the sides, and all slices, where they belong?",
        ),
        "left-handed": Meaning(
            "info",
            "The index axes are left-handed",
            "The header says so and is followed; a copy that lost its header would be mirrored.",
        ),
        "oblique": Meaning(
            "warning",
            "The index axes are turned against the patient's axes",
            "Networks expect an upright patient; resample to axial slices if results are poor.",
        ),
        "spacing": Meaning(
            "warning",
            "The voxel size or the size of the body cannot be true",
            "Check the unit and the spacing in the header against the DICOM files.",
        ),
        "coarse": Meaning(
            "warning",
            "Voxels are too large for small structures",
            "Take the thinner reconstruction if there is one; do not trust small structures.",
        ),
        "label-map": Meaning(
            "error",
            "The values are labels, not intensities",
            "Give the CT, not its segmentation.",
        ),
        "rescaled": Meaning(
            "error",
            "The intensities were mapped to another range",
            "Export the scan again in HU; a normalised image cannot be undone exactly.",
        ),
        "hu-offset": Meaning(
            "error",
            "The HU scale is shifted",
            "Apply the rescale intercept of the DICOM files, or add the difference, and save again.",
        ),
        "not-ct": Meaning(
            "error",
            "The intensities are not those of a CT",
            "The networks know CTs only; check the modality and the series.",
        ),
        "clipped": Meaning(
            "warning",
            "The HU were cut off at a window",
            "Export without a window: air, lung, bone and quality flags rest on the values that are missing.",
        ),
        "missing-slices": Meaning(
            "warning",
            "The anatomy jumps between two neighbouring slices",
            "Count the slices of the series and export it again; distances across the gap are wrong.",
        ),
        "duplicate-slices": Meaning(
            "warning",
            "Neighbouring slices are identical",
            "Export the series again without copies; otherwise heights and volumes are wrong.",
        ),
        "blank-slices": Meaning(
            "warning",
            "Slices inside the scan hold a single value",
            "Export the series again; structures in these slices are lost.",
        ),
        "no-body": Meaning(
            "warning",
            "Nothing in the scan looks like a patient",
            "Look at the scan; a phantom, a specimen or an empty box is segmented into nonsense.",
        ),
        "posture": Meaning(
            "warning",
            "The patient seems to lie the other way round than the header says",
            "Compare with the DICOM files; correct the header, or left and right may be swapped as well.",
        ),
        "truncated": Meaning(
            "warning",
            "The body is cut at the sides of the field of view",
            "Take the reconstruction with the larger field of view; do not trust volumes of what is cut.",
        ),
        "short": Meaning(
            "warning",
            "Little of the body's length is in view",
            "Organs are cut at both ends: do not trust their volumes, and expect worse masks.",
        ),
        "metal": Meaning(
            "warning",
            "There is metal, or something as dense",
            "Look at the masks around it; streaks mislead networks.",
        ),
        "phase": Meaning(
            "info",
            "A guess whether contrast medium was given",
            "Compare with what the network was trained on; the DICOM header knows better.",
        ),
    }
)
"""Code -> what it means, in the order in which symptoms are listed."""

"""Writing a mask and reading a CT of 512 x 512 x 300 voxels as `.nii.gz`: suprem against nibabel and SimpleITK.

    python experiments/benchmarks/label_writing.py           # five minutes
    python experiments/benchmarks/label_writing.py --quick   # a small volume

The mask is an ellipsoid of about 1.5 litres, as a liver; the CT has noise of 12 HU. nibabel writes as it does unless
told otherwise (level 1), SimpleITK with `useCompression`. Files are in the page cache; who reads has to deliver an
array of int16 or what the file holds. Every file is read back by nibabel and asserted to be equal. Writes
results_label_writing.csv beside this file.
"""

import tempfile
from pathlib import Path
from typing import Any

from _harness import Contender, answer, compared, take_turns, timed, write_csv
from _inference import arguments, table_file

WRITERS = ("suprem", "nibabel", "SimpleITK")


def volumes(shape: list[int]) -> tuple[Any, Any]:
    """The CT, int16, and the mask, uint8, both (X, Y, Z) in Fortran order."""
    import numpy as np

    rng = np.random.default_rng(0)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    x, y = axes[0][:, None], axes[1][None, :]
    hu, mask = (np.empty(shape[::-1], dtype=kind).T for kind in (np.int16, np.uint8))
    for k, z in enumerate(axes[2]):
        inside = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
        noise = 12 * rng.standard_normal(inside.shape, dtype=np.float32)
        hu[:, :, k] = np.where(inside, 40, -1000) + noise
        mask[:, :, k] = ((x + 0.3) / 0.35) ** 2 + (y / 0.35) ** 2 + (z / 0.4) ** 2 < 1
    return hu, mask


def write(job: dict[str, Any]) -> dict[str, Any]:
    """Writes a mask with one library."""
    import nibabel
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    from suprem.volumes.geometry import Volume
    from suprem.volumes.io import write_volume

    _, mask = volumes(job["shape"])
    affine = np.diag([0.75, 0.75, 1.5, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii.gz"
        with timed() as found:
            if job["by"] == "suprem":
                write_volume(Volume(mask, affine), path)
            elif job["by"] == "nibabel":
                nibabel.save(nibabel.Nifti1Image(mask, affine), path)
            else:
                sitk.WriteImage(sitk.GetImageFromArray(mask.T), str(path), useCompression=True)
        if not np.array_equal(np.asanyarray(nibabel.load(path).dataobj), mask):
            raise RuntimeError(f"{job['by']} has written another mask")
        return {**found, "kib": path.stat().st_size / 1024}


def read(job: dict[str, Any]) -> dict[str, Any]:
    """Reads a CT with one library."""
    import nibabel
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    from suprem.volumes.io import read_ct

    hu, _ = volumes(job["shape"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        nibabel.save(nibabel.Nifti1Image(hu, np.diag([0.75, 0.75, 1.5, 1.0])), path)
        with timed() as found:
            if job["by"] == "suprem":
                array = read_ct(path).array
            elif job["by"] == "nibabel":
                array = np.asanyarray(nibabel.load(path).dataobj)
            else:
                array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
        if not np.array_equal(array, hu):
            raise RuntimeError(f"{job['by']} has read another CT")
        return {**found, "kib": path.stat().st_size / 1024}


def main() -> None:
    """Measures, prints and writes the table."""
    if answer({"write": write, "read": read}):
        return
    options = arguments(__doc__).parse_args()
    shape, rows = [64, 56, 48] if options.quick else [256, 256, 150] if options.half else [512, 512, 300], []
    for what in ("write", "read"):
        jobs = {name: {"by": name, "shape": shape} for name in WRITERS}
        runs = take_turns(
            [Contender(name, __file__, what, job) for name, job in jobs.items()], options.repeats, kept=options.kept
        )
        rows += [{"what": what, **row} for row in compared(runs, "suprem", ("kib",))]
    write_csv(table_file(options, "label_writing"), rows)


if __name__ == "__main__":
    main()

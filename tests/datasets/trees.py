"""Empty files in the place where a dataset keeps its own, made from the templates of its specification."""

from pathlib import Path

from suprem.datasets import DatasetSpec, Files, Variant


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def plant_family(top: Path, spec: DatasetSpec, variant: Variant, family: Files, **values: str) -> str:
    """One case of a family below ``top``; returns its name."""
    image = top / family.images[0].fill(**values)
    touch(image / "1-001.dcm" if variant.image_format == "dicom" else image)
    if family.label:
        template = family.labels[0]
        if variant.label_format == "masks":
            for rule in spec.label_map(family.label_map).values.values():
                if rule.op != "drop":
                    touch(top / template.fill(structure=rule.name, **values))
        elif variant.label_format == "png":
            touch(top / template.fill(**values) / "liver_GT_000.png")
        else:
            touch(top / template.fill(**values))
    chosen = {name: values.get(name, field.example) for name, field in family.fields.items()}
    return family.case.format(**chosen)


def plant(root: Path, spec: DatasetSpec, variant: Variant, *, folder: bool = True) -> list[str]:
    """One case of every family below ``root``, in the dataset's own folder; returns their names."""
    top = root / variant.folder if folder and variant.folder else root
    return [plant_family(top, spec, variant, family) for family in variant.files]

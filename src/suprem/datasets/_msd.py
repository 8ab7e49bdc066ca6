"""What the six CT tasks of the Medical Segmentation Decathlon share."""

from collections.abc import Mapping
from typing import Any

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, LabelRule
from suprem.datasets._spec import Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field

__all__ = ["msd_task"]

_QUIRKS = (
    Fact(
        'The archives hold macOS twins of every file ("._liver_0.nii.gz"); names that start with a dot are skipped.',
        "verified",
        "MSD converters that filter them",
    ),
    Fact("imagesTs has no labels; only the training volumes enter the paper's 945.", "verified", "MSD dataset.json"),
)


def _files(name: str, number: str) -> tuple[Files, ...]:
    pattern = r"\d{3}" if len(number) == 3 else r"\d+"
    train, test = {"n": Field(pattern, number)}, {"n": Field(pattern, f"{int(number) + 1:0{len(number)}d}")}
    return (
        Files((f"imagesTr/{name}.nii.gz",), train, name, (f"labelsTr/{name}.nii.gz",), split="train"),
        Files((f"imagesTs/{name}.nii.gz",), test, name, split="test"),
    )


def msd_task(
    task: str,
    values: Mapping[int, LabelRule],
    *,
    title: str,
    number: str,
    counts: tuple[int, int],
    region: str,
    note: str = "",
    quirks: tuple[Fact, ...] = (),
    **more: Any,
) -> DatasetSpec:
    """The specification of one task.

    Args:
        task: Folder of the task, e.g. ``"Task03_Liver"``.
        values: Value -> rule.
        title: Name for people.
        number: A file number as the task writes it: without leading zeros ``"0"``, with three digits ``"001"``.
        counts: Training volumes, which have labels, and test volumes.
        region: Part of the body.
        note: What to know about the labels.
        quirks: What goes wrong with this task.
        **more: Further fields of the specification.
    """
    organ = task.partition("_")[2].lower()
    files = _files(f"{organ}_{{n}}", number)
    labelled, test = counts
    return DatasetSpec(
        slug=f"msd_{organ}",
        title=f"MSD {task.replace('_', ' ')} ({title})",
        homepage="http://medicaldecathlon.com/",
        licence=(Fact("CC BY-SA 4.0", "verified", "dataset.json as re-published; AbdomenAtlas-8K licence table"),),
        sharing="allowed",
        access="open",
        obtain=(f"curl -LO https://msd-for-monai.s3-us-west-2.amazonaws.com/{task}.tar", f"tar xf {task}.tar"),
        citation=(
            "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128, 2022, "
            "doi:10.1038/s41467-022-30695-9",
        ),
        region=region,
        variants=(
            Variant("official", files, folder=task, source="MSD dataset.json; VISTA and SAT-DS lists"),
            Variant(
                "upstream_repacked",
                files[:1],
                folder=f"10_Decathlon/{task}",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(LabelMap("official", values, note=note),),
        counts=Counts(
            labelled + test, labelled, labelled, note="The paper has one row of 945 volumes for the six CT tasks."
        ),
        splits={"train": labelled, "test": test},
        quirks=quirks + _QUIRKS,
        **more,
    )

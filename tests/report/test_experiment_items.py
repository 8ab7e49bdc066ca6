"""Every table and figure of the paper has a folder, whose numbers are those that the paper prints."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suprem.report.experiment import Row
from suprem.report.experiment_reading import read_experiment
from suprem.report.experiment_report import report_on

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
ITEMS = (
    *("table1_dataset", "table2_transfer", "table3_direct_inference", "table4_novel_classes", "figure1_few_shot"),
    *("figure2a_pretraining_scale", "figure2b_annotation_efficiency", "figure3_tumour_classification", "convergence"),
)
BOUNDS = {"****": "<=0.0001", "***": "<=0.001", "**": "<=0.01", "*": "<=0.05", "ns": ">0.05"}
Cell = tuple[tuple[str, ...], str]


@pytest.fixture(scope="module")
def paper(request: pytest.FixtureRequest) -> dict[str, Any]:
    folder: Path = request.getfixturevalue("shared_folder")
    content: dict[str, Any] = json.loads((folder / "spec" / "paper_results.json").read_text(encoding="utf-8"))
    return content


def _rows(item: str) -> dict[Cell, Row]:
    return {(tuple(row.keys.values()), row.metric): row for row in read_experiment(EXPERIMENTS / item).expected}


def _printed(item: str) -> dict[Cell, tuple[float, float | None]]:
    return {cell: (row.mean, row.sd) for cell, row in _rows(item).items() if row.mean is not None}


def test_there_is_a_folder_for_each_item() -> None:
    assert sorted(path.parent.name for path in EXPERIMENTS.glob("*/item.yaml")) == sorted(ITEMS)


@pytest.mark.parametrize("item", ITEMS)
def test_the_folder_can_be_read_and_said_in_words(item: str) -> None:
    report = report_on(EXPERIMENTS / item)
    assert report.claim.startswith("Claim: ")
    assert report.statements[0].startswith("In the paper: ")
    assert report.tables[0].rows


@pytest.mark.parametrize("item", ITEMS)
def test_the_readme_says_what_a_reader_needs(item: str) -> None:
    text = (EXPERIMENTS / item / "README.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["Claim", "What can be re-run", "GPU hours", "Open questions", "Phantom-sized", "Draw"]
    assert f"suprem report experiments/{item}" in text
    assert f"python -m experiments.{item}.phantom" in text


@pytest.mark.parametrize("item", ITEMS)
def test_headers_of_both_tables_are_the_same(item: str) -> None:
    heads = [
        next(csv.reader(path.open(encoding="utf-8", newline=""))) for path in (EXPERIMENTS / item).glob("[er]*.csv")
    ]
    assert all(head == heads[0] for head in heads)


def test_table1(paper: dict[str, Any]) -> None:
    wanted = {
        ((row["dataset"],), metric): (row[metric], None)
        for row in paper["table1"]["datasets"]
        for metric in ("year", "organs", "volumes", "centers")
        if row[metric] is not None
    }
    totals = paper["table1_totals"]["abdomenatlas_1_1"]
    names = {"masks": "masks", "slices": "annotated_images", "voxels": "annotated_voxels_billion"}
    wanted |= {(("AbdomenAtlas 1.1",), metric): (totals[name], None) for metric, name in names.items()}
    assert _printed("table1_dataset") == wanted


def _table2(paper: dict[str, Any]) -> Iterator[tuple[Cell, dict[str, float] | None]]:
    backbones = {"U-Net": "unet", "U-Net family": "unet_family", "Swin UNETR": "swinunetr", "SegResNet": "segresnet"}
    for row in paper["table2"]["rows"]:
        words = row["pretraining"].split(" (")[0]
        start = {"SuPreM": "supervised", "Models Genesis": "genesis", "Tang et al. 2022": "tang"}.get(words)
        start = start or {"Universal Model": "universal"}.get(words, words.lower())
        for target in ("totalsegmentator_v1", "proprietary"):
            for group, value in row[target].items():
                yield ((backbones[row["backbone"]], start, target, group), "dsc"), value


def test_table2(paper: dict[str, Any]) -> None:
    cells, rows = dict(_table2(paper)), _rows("table2_transfer")
    assert rows.keys() == cells.keys()
    assert _printed("table2_transfer") == {key: (v["mean"], v["sd"]) for key, v in cells.items() if v}
    trials = paper["table2"]["protocol"]["trials"]
    assert {row.n for row in rows.values() if row.sd is not None} == {trials}
    assert {row.p_value for row in rows.values() if row.keys["pretraining"] == "supervised"} == {"<=0.05"}


def test_table3(paper: dict[str, Any]) -> None:
    wanted, marks = {}, {}
    for row in paper["table3"]["rows"]:
        for target in ("totalsegmentator_v1", "dap_atlas", "proprietary"):
            value, name = row[target], row["class"]
            wanted[(name, target, "direct"), "dsc"] = (value["suprem_ood"]["mean"], value["suprem_ood"]["sd"])
            wanted[(name, target, "iid"), "dsc"] = (value["iid"], None)
            marks[(name, target, "direct"), "dsc"] = BOUNDS[value["significance"]]
    assert _printed("table3_direct_inference") == wanted
    assert {key: row.p_value for key, row in _rows("table3_direct_inference").items() if row.p_value} == marks


def test_table4(paper: dict[str, Any]) -> None:
    wanted, marks = {}, {}
    for row in paper["table4"]["rows"]:
        target = "proprietary" if row["group"] == "tumour" else "totalsegmentator_v1"
        for start in ("self_supervised", "supervised"):
            key = (target, row["group"], row["class"], start), "dsc"
            wanted[key] = (row[start]["mean"], row[start]["sd"])
        marks[key] = BOUNDS[row["significance"]]
    assert _printed("table4_novel_classes") == wanted
    assert {key: row.p_value for key, row in _rows("table4_novel_classes").items() if row.p_value} == marks


def test_figures(paper: dict[str, Any]) -> None:
    starts = ("self_supervised", "supervised")
    scale = {
        (("totalsegmentator_v1", start, str(point["volumes"])), metric): (point[name], None)
        for start in starts
        for point in paper["figure2a"][start]
        for metric, name in (("dsc", "dsc"), ("gpu_hours", "gpu_hours"))
        if name in point
    }
    assert _printed("figure2a_pretraining_scale") == scale
    pdac = ("proprietary", "pdac", "supervised")
    text = paper["figure3"]["text"]
    assert _printed("figure3_tumour_classification") == {
        (pdac, metric): (text[f"pdac_{metric}_percent"], None) for metric in ("sensitivity", "specificity")
    }
    assert _printed("convergence") == {
        (("totalsegmentator_v1_10_percent", start, ""), "gpu_hours"): (
            paper["figure9_text"][f"gpu_hours_{start}"],
            None,
        )
        for start in starts
    }
    sizes = {row.keys["volumes"] for row in _rows("figure2b_annotation_efficiency").values()}
    assert sizes == {str(size) for size in paper["figure2b"]["fine_tune_sizes_in_text"]}


@pytest.mark.parametrize("item", ["figure1_few_shot", "figure2b_annotation_efficiency"])
def test_figures_without_printed_numbers_have_none(item: str, paper: dict[str, Any]) -> None:
    assert _printed(item) == {}
    assert paper["figure1"]["values"] is None
    assert all(row.note for row in _rows(item).values())

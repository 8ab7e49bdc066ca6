"""The tables between prioritising and review."""

from pathlib import Path

import pytest

from suprem.atlas.ranking import CasePriority, Region, read_ranking, read_regions, write_ranking, write_regions
from suprem.errors import ConfigurationError


def test_tables_come_back(tmp_path: Path) -> None:
    ranking = (
        CasePriority(1, "own/b", 3.5, 1.0, 2.0, 0.5, ("liver", "spleen")),
        CasePriority(2, "own/a", 0.25, 0.0, 0.0, 0.25, ()),
    )
    write_ranking(tmp_path, ranking[::-1])
    assert read_ranking(tmp_path) == ranking
    regions = (Region("own/b", "liver", 3.5, 1, 2, 3, 12.5, "two models of three see it, here"),)
    write_regions(tmp_path, regions)
    assert read_regions(tmp_path) == regions


def test_spoilt_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="prioritise` again"):
        read_ranking(tmp_path)
    write_ranking(tmp_path, [CasePriority(1, "own/b", 3.5, 1.0, 2.0, 0.5, ())])
    path = tmp_path / "ranking.csv"
    path.write_text(path.read_text().replace("3.5", "high"))
    with pytest.raises(ConfigurationError, match="line 2"):
        read_ranking(tmp_path)
    (tmp_path / "regions.csv").write_text("a,b\n")
    with pytest.raises(ConfigurationError, match="the columns a, b"):
        read_regions(tmp_path)

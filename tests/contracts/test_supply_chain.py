"""Pinned actions, licences that were read, advisories that are reported."""

import importlib.util
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


licences, advisories = _script("licences"), _script("advisories")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_tools_by_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text)["jobs"], dict)
    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for line in re.findall(r"pip install (?!-c |--)(.*)", text):
        assert "==" in line, line


def test_workflows_may_write_only_where_they_release() -> None:
    rights = {path.name: yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] for path in WORKFLOWS}
    assert rights == {"ci.yml": {"contents": "read"}, "release.yml": {"contents": "write"}}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a", "MIT", True),
        ("a", "MIT License", True),
        ("a", "Apache License, Version 2.0", True),
        ("a", "BSD-3-Clause AND 0BSD AND MIT", True),
        ("a", "Apache-2.0 WITH LLVM-exception", True),
        ("a", "GPL-3.0-or-later OR MIT", True),
        ("a", "GPL-3.0-or-later AND MIT", False),
        ("a", "GPL-3.0-or-later", False),
        ("a", "GNU Affero General Public License v3", False),
        ("a", "LGPL-3.0-or-later", False),
        ("connected-components-3d", "LGPL-3.0-or-later", True),
        ("connected-components-3d", "GPL-3.0-or-later", False),
        ("a", "Proprietary", False),
        ("a", "", False),
    ],
)
def test_which_licences_are_accepted(name: str, text: str, expected: bool) -> None:
    assert licences.accepted(name, text) is expected


def test_licences_of_what_users_install_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        distribution("suprem")
    except PackageNotFoundError:
        pytest.skip("suprem is not installed here, so its requirements are not known")
    packages = licences.requirements("suprem", licences.EXTRAS)
    assert {"torch", "numpy", "pydicom", "monai"} <= set(packages)
    assert licences.findings(packages) == []
    monkeypatch.setattr(licences, "ALLOWED", licences.ALLOWED - {"MIT"})
    assert any(line.startswith("einops has the licence 'MIT'") for line in licences.findings(packages))


REPORT = {
    "dependencies": [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}]},
        {"name": "c", "skip_reason": "not found"},
    ]
}


def test_an_advisory_fails_unless_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(advisories, "ask", lambda path: REPORT)
    assert advisories.main([]) == 1
    assert "b 2: PYSEC-1, fixed in 2.1" in capsys.readouterr().out
    monkeypatch.setattr(advisories, "ACCEPTED", {"CVE-1": "not called"})
    assert advisories.main([]) == 0
    assert "2 packages, 0 advisories" in capsys.readouterr().out


@pytest.mark.parametrize("report", [None, {"dependencies": [{"name": "c", "skip_reason": "not found"}]}])
def test_a_database_out_of_reach_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], report: Any
) -> None:
    monkeypatch.setattr(advisories, "ask", lambda path: report)
    assert advisories.main([]) == 0
    assert "NOTICE" in capsys.readouterr().err

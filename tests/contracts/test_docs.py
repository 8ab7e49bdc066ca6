"""Snippets of the README and the docs run, and links and commands in them exist."""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "experiments").rglob("README.md"))
PAGES = [page for page in PAGES if "generated" not in page.parts and "_build" not in page.parts]
FENCE = re.compile(r"(?P<skip><!-- not run:[^>]*-->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        """The lines that call ``suprem``, where it is a block of a shell; continued lines are joined."""
        lines = self.code.replace("\\\n", "").splitlines() if self.language == "bash" else []
        return [line for line in lines if line.startswith("suprem ")]


def _snippets() -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start("language")) + 1
            found.append(Snippet(page, line, match["language"], match["code"], match["skip"] is None))
    return found


SNIPPETS = _snippets()
PYTHON = [snippet for snippet in SNIPPETS if snippet.language == "python"]
COMMANDS = [(f"{snippet}: {line}", line) for snippet in SNIPPETS for line in snippet.commands()]


def test_there_is_something_to_check() -> None:
    assert len([snippet for snippet in PYTHON if snippet.runs]) >= 4
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("snippet", PYTHON, ids=str)
def test_python_snippets(snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(snippet.code, str(snippet), "exec")
    if not snippet.runs:  # needs a download or a file of the reader's: the names must exist all the same
        imports = [line for line in snippet.code.splitlines() if line.startswith(("import ", "from "))]
        code = compile("\n".join(imports), str(snippet), "exec")
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize("command", [line for _, line in COMMANDS], ids=[name for name, _ in COMMANDS])
def test_commands_parse(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option and argument that a page shows is understood; the body of the command does not run."""
    import typer

    from suprem.cli import _shell, main

    calls = []
    root = typer.main.get_command(_shell.app)
    for leaf in _leaves(root):
        leaf.callback = lambda **values: calls.append(values)
    monkeypatch.setattr(typer.main, "get_command", lambda app: root)
    words = shlex.split(command, comments=True)[1:]
    monkeypatch.chdir(tmp_path)
    for word in words:  # an input that has to exist
        if not word.startswith("-") and "/" in word:
            (tmp_path / word).mkdir(parents=True, exist_ok=True)
        elif word.endswith(".nii.gz"):
            (tmp_path / word).touch()
    assert main(words) == 0, f"{command} is not understood"
    assert len(calls) == 1


def _leaves(command: object) -> list[object]:
    children = getattr(command, "commands", None)
    if children is None:
        return [command]
    return [leaf for child in children.values() for leaf in _leaves(child)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        generated = "reference/generated/" in target
        if "://" not in target and not generated and not (page.parent / target).exists():
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_placeholders_and_no_personal_paths(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX|lorem)\b", text)
    assert not re.search(r"/(home|root|Users|tmp|work)/", text)

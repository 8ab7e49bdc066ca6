"""Imports point up the table of layers, and files and functions stay readable."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "suprem"

# From the bottom up; a module may import its own layer and those before it.
LAYERS = (
    (
        "errors",
        "_lazy",
        "_registry",
        "_files",
        "_version",
        "_workers",
        "_torch_functions",
        "_cpu_functions",
        "_gpu_functions",
    ),
    ("labels",),
    ("volumes",),
    ("datasets",),
    ("phantom",),
    ("transforms",),
    ("datamodules",),
    ("backbones", "heads", "adapters"),
    ("losses",),
    ("zoo",),
    ("quality",),
    ("inference",),
    ("evaluation",),
    ("report",),
    ("tasks",),
    ("transfer",),
    ("atlas", "doctor"),
    ("cli",),
)
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
MODULES = sorted(SOURCE.rglob("*.py"))
IDS = [path.relative_to(SOURCE).as_posix() for path in MODULES]


def _layer(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import that can run, also inside functions: laziness does not turn a layer around."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
        return
    type_checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in node.orelse if type_checking else ast.iter_child_nodes(node):  # type: ignore[attr-defined]
        yield from _imports(child)


def _imported_layers(path: Path) -> Iterator[tuple[str, int]]:
    for node in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the full name"
            names = [f"suprem.{alias.name}" for alias in node.names] if node.module == "suprem" else [node.module or ""]
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "suprem" and len(parts) > 1:
                yield parts[1], node.lineno


def test_every_module_has_a_layer() -> None:
    unknown = {_layer(path) for path in MODULES} - set(RANK) - {"__init__"}
    assert not unknown, f"no layer is stated for {sorted(unknown)}; add them to LAYERS"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != SOURCE or p.stem != "__init__"], ids=str)
def test_imports_point_up_the_table(path: Path) -> None:
    own = RANK[_layer(path)]
    wrong = [
        f"line {line}: suprem.{module}"
        for module, line in _imported_layers(path)
        if module in RANK and RANK[module] > own
    ]
    assert not wrong, f"{path.relative_to(SOURCE)} imports from a higher layer: {wrong}"


def test_the_walk_sees_lazy_imports_and_skips_type_checking() -> None:
    code = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from suprem.cli import main\nelse:\n    import suprem.tasks\n"
        "def f():\n    from suprem.zoo import card\n"
    )
    found = [ast.unparse(node) for node in _imports(ast.parse(code))]
    assert found == ["from typing import TYPE_CHECKING", "import suprem.tasks", "from suprem.zoo import card"]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, f"{path.name} has {text.count(chr(10))} lines; split it where it has two jobs"
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long, f"functions over 60 lines in {path.name}: {long}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_assert_print_or_unfinished_work(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno} asserts; raise an error of suprem.errors"
        if isinstance(node, ast.Name):
            assert node.id != "NotImplementedError", f"{path.name}:{node.lineno} is unfinished"
            in_cli = _layer(path) == "cli"
            assert in_cli or node.id != "print", f"{path.name}:{node.lineno} prints; use logging"


@pytest.mark.parametrize("path", [p for p in MODULES if not p.stem.startswith("_")], ids=str)
def test_public_modules_name_their_public_objects(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    assert "__all__" in assigned, f"{path.relative_to(SOURCE)} has no __all__"
    assert ast.get_docstring(tree), f"{path.relative_to(SOURCE)} has no docstring"


PAGE = SOURCE.parents[1] / "docs" / "explanation" / "how-it-works.md"


def test_the_page_of_how_it_works_has_these_layers() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8").split("## The layers")[1], re.MULTILINE)
    shown = [tuple(re.findall(r"`(\w+)`", row)) for row in rows[: len(LAYERS)]]
    assert shown[1:] == list(LAYERS[1:])  # of the helpers at the bottom it names a few


def test_the_page_of_how_it_works_names_modules_that_there_are() -> None:
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    named = re.findall(r"\b(\w+)/(\w+(?:, \w+)*)(?=  |\n)", "\n".join(blocks))
    assert len(named) > 15
    for folder, names in named:
        for name in names.split(", "):
            assert (SOURCE / folder / f"{name}.py").is_file(), f"{folder}/{name}"

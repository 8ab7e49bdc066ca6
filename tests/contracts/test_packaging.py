"""What setup.cfg lists is what the tree holds."""

import ast
import configparser
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_package_list_equals_the_tree(setup_cfg: configparser.ConfigParser) -> None:
    listed = setup_cfg["options"]["packages"].split()
    found = {".".join(path.parent.relative_to(ROOT / "src").parts) for path in (ROOT / "src").rglob("__init__.py")} | {
        "suprem.zoo.cards"
    }
    assert sorted(listed) == sorted(found)
    assert listed == sorted(listed)


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "src" / "suprem").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_package_data_covers_every_data_file(setup_cfg: configparser.ConfigParser) -> None:
    folders = {
        name: ROOT / ("zoo" if name == "suprem.zoo.cards" else "src/" + name.replace(".", "/"))
        for name in setup_cfg["options"]["packages"].split()
    }
    covered = {
        path
        for name, patterns in setup_cfg["options.package_data"].items()
        for pattern in patterns.split()
        for path in folders[name].glob(pattern)
    }
    data = {
        path
        for folder in folders.values()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert sorted(str(path.relative_to(ROOT)) for path in data - covered) == []
    assert ROOT / "src/suprem/py.typed" in covered


def test_every_pattern_of_package_data_matches_something(setup_cfg: configparser.ConfigParser) -> None:
    for name, patterns in setup_cfg["options.package_data"].items():
        folder = ROOT / ("zoo" if name == "suprem.zoo.cards" else "src/" + name.replace(".", "/"))
        for pattern in patterns.split():
            assert list(folder.glob(pattern)), f"{name}: {pattern} matches no file"


def test_cards_and_bundled_weights_are_found_as_package_data() -> None:
    from importlib.resources import files

    cards = files("suprem.zoo.cards")
    assert (ROOT / "zoo").samefile(str(cards))
    names = {entry.name for entry in cards.iterdir()}
    assert "segresnet_tiny.phantom.yaml" in names
    bundled = cards / "bundled" / "segresnet_tiny.phantom"
    assert {entry.name for entry in bundled.iterdir()} >= {"model.safetensors", "config.json", "golden.safetensors"}


def test_constraints_satisfy_the_declared_bounds(project: dict[str, dict[str, object]]) -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pinned[_normalised(requirement.name)] = specifier.version
    groups = project["project"]["optional-dependencies"]
    assert isinstance(groups, dict)
    declared = [*project["project"]["dependencies"], *(entry for group in groups.values() for entry in group)]  # type: ignore[misc]
    for line in declared:
        requirement = Requirement(line)
        if requirement.name != "suprem":
            version = pinned[_normalised(requirement.name)]
            assert requirement.specifier.contains(version), f"{line} excludes the pinned {version}"
            assert requirement.specifier, f"{line} has no lower bound"


def test_every_lower_bound_states_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    for line in block.splitlines():
        if line.strip().startswith('"'):
            assert "#" in line, f"no reason beside {line.strip()}"


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


MODULES = {  # distribution -> module, where the names differ
    "connected-components-3d": "cc3d",
    "pytorch-lightning": "pytorch_lightning",
    "pyyaml": "yaml",
    "simpleitk": "SimpleITK",
}
NOT_IMPORTED = {"einops", "jsonargparse"}  # MONAI's SwinUNETR and Lightning's command line import them


def _third_party_imports() -> set[str]:
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"suprem"}


def test_what_is_imported_is_declared_and_the_other_way_round(project: dict[str, dict[str, object]]) -> None:
    core = project["project"]["dependencies"]
    extras = project["project"]["optional-dependencies"]
    assert isinstance(core, list)
    assert isinstance(extras, dict)

    def modules(lines: list[str]) -> set[str]:
        names = {_normalised(Requirement(line).name) for line in lines} - NOT_IMPORTED
        return {MODULES.get(name, name.replace("-", "_")) for name in names}

    imported = ("dicom", "distributed", "export", "text")  # the others are found by name: by fsspec and by Lightning
    assert _third_party_imports() == modules(core).union(*(modules(extras[name]) for name in imported))

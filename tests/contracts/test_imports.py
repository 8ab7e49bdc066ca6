"""What may be imported when: the cheap commands stay cheap."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import suprem

HEAVY = ("torch", "lightning", "pytorch_lightning", "monai", "wandb")


def _loaded_after(statement: str, watched: tuple[str, ...], cwd: Path) -> list[str]:
    """Which of the top-level packages ``watched`` a fresh interpreter has imported after ``statement``."""
    program = (
        f"{statement}\nimport json, sys\n"
        f"print('\\n' + json.dumps([name for name in {watched!r} if name in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stderr.strip().splitlines()[-1])
    return loaded


@pytest.mark.parametrize(
    "statement",
    [
        "import suprem",
        "import suprem; dir(suprem); suprem.__version__",
        "from suprem.cli import main; assert main(['--help']) == 0",
        "from suprem.cli import main; assert main(['--version']) == 0",
        "from suprem.cli import main; assert main(['predict', '--help']) == 0",
        "from suprem.cli import main; assert main(['demo', '--help']) == 0",
        "from suprem.cli import main; assert main(['zoo', 'list']) == 0",
        "from suprem.cli import main; assert main(['zoo', 'list', '--json']) == 0",
        "import suprem; suprem.list_backbones()",
        "import suprem; suprem.list_checkpoints()",
        "from suprem.labels import list_structures; list_structures()",
    ],
)
def test_cheap_things_import_nothing_heavy(statement: str, tmp_path: Path) -> None:
    assert _loaded_after(statement, HEAVY, tmp_path) == []


def test_the_subprocess_would_notice_a_heavy_import(tmp_path: Path) -> None:
    assert _loaded_after("import torch", HEAVY, tmp_path) == ["torch"]


def test_import_has_no_side_effects(tmp_path: Path) -> None:
    program = (
        "import os, sys, threading, warnings\n"
        "before = (dict(os.environ), list(warnings.filters), os.listdir('.'), threading.active_count())\n"
        "import suprem\n"
        "after = (dict(os.environ), list(warnings.filters), os.listdir('.'), threading.active_count())\n"
        "sys.exit(before != after)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=60).returncode == 0


def test_public_names_resolve_and_are_listed() -> None:
    for name in suprem.__all__:
        assert getattr(suprem, name) is not None
        assert name in dir(suprem)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        suprem.nonsense  # noqa: B018

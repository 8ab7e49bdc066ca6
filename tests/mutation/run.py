"""Mutation testing: which of the small faults in the code do the tests notice?

    python -m tests.mutation.run labels                      # in full, tests without torch
    python -m tests.mutation.run geometry                    # in full
    python -m tests.mutation.run torch --sample 300 --seed 1 # a sample over losses, metrics and the loading of weights

The process imports what is heavy once, and forks a child for each mutant. The child replaces one module by its faulty
version and runs the tests that belong to the file; a failing test kills the mutant. The order is random and seeded, so
that a run that is stopped early (``--minutes``) has tried a fair sample.
"""

import argparse
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests.mutation.mutants import Mutant, mutants, mutated

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60  # of processor time for one mutant: an endless loop is noticed too
# What takes time in every child and kills no mutant: smaller counterexamples, rewritten assertions, plugins.
_PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
_PLUGINS = ("anyio", "cacheprovider", "xdist")

GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "labels": {
        "src/suprem/labels/palette.py": ("tests/labels",),
        "src/suprem/labels/spaces.py": ("tests/labels",),
        "src/suprem/labels/structures.py": ("tests/labels",),
        "src/suprem/labels/_anatomy.py": ("tests/labels",),
        **{
            f"src/suprem/labels/_numberings/{name}.py": ("tests/labels",)
            for name in ("_table", "challenges", "dap_atlas", "suprem", "totalsegmentator_v1", "totalsegmentator_v2")
        },
    },
    "geometry": {
        "src/suprem/volumes/geometry.py": ("tests/volumes/test_geometry.py",),
    },
    "torch": {
        "src/suprem/losses.py": ("tests/test_losses.py",),
        "src/suprem/evaluation/metrics.py": ("tests/evaluation/test_metrics.py", "tests/evaluation/test_surface.py"),
        "src/suprem/zoo/load.py": ("tests/zoo/test_load.py",),
    },
}


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module with a fault in it."""

    def __init__(self, name: str, path: Path, mutant: Mutant) -> None:
        self._name, self._path, self._mutant = name, path, mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        del path, target
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        tree = mutated(self._path.read_text(encoding="utf-8"), self._mutant)
        exec(compile(tree, str(self._path), "exec"), vars(module))


def _child(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """Exit code of the tests with the fault in place."""
    if mutant is not None:
        path = ROOT / mutant.file
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        sys.meta_path.insert(0, _Faulty(name, path, mutant))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    hypothesis.settings.register_profile("mutation", phases=_PHASES, database=None)
    hypothesis.settings.load_profile("mutation")
    options = ["-x", "-q", "--no-header", "--assert=plain", *(f"-pno:{name}" for name in _PLUGINS)]
    return int(pytest.main([*options, *(str(ROOT / test) for test in tests)]))


def attempt(mutant: Mutant | None, tests: Sequence[str]) -> str:
    """``"killed"``, ``"survived"`` or ``"timeout"``, which counts as killed."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            code = _child(mutant, tests)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGPROF else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def _preload(group: str) -> None:
    """What the tests import, but nothing of suprem: that is imported anew by every child."""
    import nibabel  # noqa: F401
    import scipy.ndimage  # noqa: F401
    import SimpleITK  # noqa: F401

    if group == "geometry":
        import monai.transforms
    if group == "torch":
        import monai.losses
        import monai.networks.nets  # noqa: F401
        import torch  # noqa: F401


def main(words: Sequence[str] | None = None) -> int:
    """Prints and writes what was found; returns 1 if fewer than four of five mutants are killed."""
    parser = argparse.ArgumentParser(description="Mutation testing.")
    parser.add_argument("group", choices=tuple(GROUPS))
    parser.add_argument("--sample", type=int, help="so many mutants of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--only", help="files whose name contains this")
    parser.add_argument("--json", type=Path, help="where to write the outcomes")
    given = parser.parse_args(words)
    files = {file: tests for file, tests in GROUPS[given.group].items() if not given.only or given.only in file}
    found = [mutant for file in files for mutant in mutants(file, (ROOT / file).read_text(encoding="utf-8"))]
    order = np.random.default_rng(given.seed).permutation(len(found))[: given.sample]
    _preload(given.group)
    for tests in dict.fromkeys(files.values()):
        if attempt(None, tests) != "survived":
            raise SystemExit(f"{' '.join(tests)} fails without a fault in the code")
    started, outcomes = time.monotonic(), list[dict[str, Any]]()
    for index in order:
        if time.monotonic() - started > 60 * given.minutes:
            break
        mutant = found[index]
        outcomes.append({**vars(mutant), "outcome": attempt(mutant, files[mutant.file])})
        if outcomes[-1]["outcome"] == "survived":
            sys.stdout.write(f"survived: {mutant.file}:{mutant.line}: {mutant.what}\n")
            sys.stdout.flush()
        if given.json:
            given.json.write_text(json.dumps(outcomes, indent=1) + "\n")
    counts = Counter(entry["outcome"] for entry in outcomes)
    share = 1 - counts["survived"] / max(1, len(outcomes))
    sys.stdout.write(f"{len(outcomes)} of {len(found)} mutants tried, {share:.1%} killed: {dict(counts)}\n")
    return int(share < 0.8)


if __name__ == "__main__":
    sys.exit(main())

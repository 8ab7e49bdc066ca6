"""Child processes that start at once: forked from a server without threads that has imported what they need."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

# One list for all tests: the server is started by the first that asks, and keeps what it was told then.
PRELOAD = [
    "SimpleITK",
    "blosc2",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "scipy.ndimage",
    "suprem.atlas.ensemble",
    "suprem.atlas.release",
    "suprem.atlas.review",
    "suprem.backbones._segresnet",
    "suprem.datasets._prepare",
    "suprem.inference.folder",
    "suprem.inference.predictor",
    "suprem.inference.preview",
    "suprem.inference.probabilities",
    "suprem.tasks.segmentation",
    "suprem.transfer.output",
    "suprem.transfer.training",
    "suprem.zoo.load",
    "tests.atlas.ensemble_cases",
    "tests.atlas.review_cases",
    "tests.integration.training_client",
    "tests.phantom_store",
]


def context() -> ForkServerContext:
    """Where children come from; each costs milliseconds, not the import of torch."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOAD)
    return found


def start(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """A child that calls a function of a module, in a process group of its own."""
    process = context().Process(target=_lead, args=(function, arguments))
    process.start()
    return process


def run(function: Callable[..., object], *arguments: Any, timeout: float = 900.0) -> int:
    """Exit code of a child that calls a function: 0, 1 after an exception, or minus the signal that ended it."""
    process = start(function, *arguments)
    process.join(timeout)
    if process.exitcode is None:
        end(process)
        raise TimeoutError(f"{function.__name__} has not ended after {timeout:g} s")
    return process.exitcode


def end(process: BaseProcess) -> bool:
    """Kills a child with everything that it started; false when it had ended by itself."""
    alive = process.is_alive()
    if alive and process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet
            os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive


def _lead(function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.setsid()  # it and its workers die together, as when a machine is switched off
    function(*arguments)

"""The environment: packages, processors, GPU, memory, disks, caches, and the way to the Hub."""

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from suprem._files import check_writable
from suprem._workers import usable_processors
from suprem.doctor.tables import ENVIRONMENT_CHECKS
from suprem.errors import OutputError
from suprem.inference._manifest import versions
from suprem.volumes._remote import default_cache_folder
from suprem.volumes.symptoms import Symptom

__all__ = ["environment_symptoms"]

_GIB = 2**30
_DISK_BYTES = 5 * _GIB
_SHARED_BYTES = 256 * 2**20
_DEFAULT_RAM = 4 * _GIB
_HUB_SECONDS = 3.0
_SHARED = Path("/dev/shm")  # noqa: S108 (nothing is written there)
_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
_NVIDIA = Path("/proc/driver/nvidia/version")


def environment_symptoms() -> Iterator[Symptom]:
    """What is found in the environment; takes the seconds of importing torch, and up to three for the Hub."""
    yield _symptom("versions", ", ".join(f"{name} {number}" for name, number in versions().items()) + ".")
    yield from _dependencies()
    yield from _processors()
    yield from _memory()
    yield from _folders()
    yield from _hub()


def _symptom(code: str, text: str) -> Symptom:
    return Symptom.of(ENVIRONMENT_CHECKS, code, text)


def _dependencies() -> Iterator[Symptom]:
    """Against what the installed package declares; extras are left out, for nobody has to have them."""
    for line in requires("suprem") or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            yield _symptom("dependency", f"{needed.name} is not installed; {needed.name}{needed.specifier} is needed.")
            continue
        if not needed.specifier.contains(found, prereleases=True):
            yield _symptom("dependency", f"{needed.name} is {found}; {needed.name}{needed.specifier} is needed.")


def _processors() -> Iterator[Symptom]:
    import torch

    threads, usable = torch.get_num_threads(), usable_processors()
    if threads > usable:
        yield _symptom("threads", f"torch uses {threads} threads, but this process has {usable:g} processors.")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield _symptom("gpu", f"cuda:{index} is {name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free.")
    elif _NVIDIA.exists():
        yield _symptom("gpu-unused", f"An NVIDIA driver is loaded, but torch {torch.__version__} finds no GPU.")
    else:
        yield _symptom("gpu", f"No GPU: networks run on the CPU with {threads} threads.")


def usable_memory() -> int | None:
    """Memory in bytes that this process may use, ``None`` where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _CGROUP_MEMORY.is_file():
        limit = _CGROUP_MEMORY.read_text().strip()
        total = min(total, int(limit)) if limit != "max" else total
    return total


def _memory() -> Iterator[Symptom]:
    total = usable_memory()
    if total is not None and total < _DEFAULT_RAM:
        yield _symptom("memory", f"There are {total / _GIB:.1f} GiB, and --max-ram is 4 GiB by default.")
    if _SHARED.is_dir():
        size = shutil.disk_usage(_SHARED).total
        if size < _SHARED_BYTES:
            yield _symptom("shared-memory", f"{_SHARED} has {size / 2**20:.0f} MiB; workers send batches through it.")


def _folders() -> Iterator[Symptom]:
    from huggingface_hub import constants

    caches = (Path(constants.HF_HUB_CACHE), default_cache_folder())
    for folder in caches:
        try:
            check_writable(folder)
        except OutputError as error:
            yield _symptom("cache", str(error))
    devices = set()
    for folder in (*caches, Path.cwd()):
        there = next((place for place in (folder, *folder.parents) if place.exists()), None)
        if there is None or there.stat().st_dev in devices:
            continue
        devices.add(there.stat().st_dev)
        free = shutil.disk_usage(there).free
        if free < _DISK_BYTES:
            yield _symptom("disk", f"{free / _GIB:.1f} GiB are free on the disk of {folder}.")


def _hub() -> Iterator[Symptom]:
    from huggingface_hub import constants, get_session

    from suprem.zoo._hub_errors import is_temporary

    if constants.HF_HUB_OFFLINE:
        yield _symptom("offline", "HF_HUB_OFFLINE is set, so the Hub was not asked.")
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except Exception as error:
        if not is_temporary(error):
            raise
        yield _symptom("hub", f"{constants.ENDPOINT} does not answer ({type(error).__name__}).")

"""The peers of data_loading.py, and the measurement that all contenders share.

Runs in the peers' own environment, without suprem: data_loading.py starts it once per measurement. Every contender gets
the same volumes, two workers and one thread, delivers float32 image and integer label crops in batches, and draws half
of its crops around labelled voxels (TorchIO: all of them anywhere, which is its cheapest sampler).
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

WORKERS = 2
BATCH = 4
HU = (-175.0, 250.0)
ROTATE, SHIFT, SHIFT_LIMIT = 0.1, 0.2, 0.1  # the probabilities and the limit of suprem's default augmentation
QUEUE = 16  # crops that TorchIO's queue holds
EPOCH = 1_000_000  # volumes in an epoch: no contender has to start its workers anew while it is measured
MIB = 2**20


@dataclass(frozen=True)
class Job:
    """What one measurement is about.

    Attributes:
        contender: a key of `PEERS`, or `suprem`.
        data: folder with `images`, `labels` and what the contenders have prepared from them.
        augmentation: `none` or `default`.
        per_volume: crops taken from a volume before the next one is opened.
        patch: voxels along each side of a crop.
        seconds: least time measured.
    """

    contender: str
    data: str
    augmentation: str
    per_volume: int
    patch: int
    seconds: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a crop."""
        return (self.patch,) * 3

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Image and label file of every volume."""
        images = sorted((Path(self.data) / "images").glob("*.nii.gz"))
        return [(str(image), str(image.parents[1] / "labels" / image.name)) for image in images]


class WorkerMemory:
    """Memory that belongs to each worker alone (USS): when it is first seen, and the most it has had since."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.most: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set() and len(self.first) < WORKERS:
            self.sample()
            time.sleep(0.001)

    def sample(self) -> None:
        """Reads all workers once."""
        for child in psutil.Process().children(recursive=True):
            try:
                if "resource_tracker" in " ".join(child.cmdline()):
                    continue
                uss = child.memory_full_info().uss
            except psutil.Error:  # it ended in between
                continue
            self.first.setdefault(child.pid, uss)
            self.most[child.pid] = max(uss, self.most.get(child.pid, 0))

    def __enter__(self) -> "WorkerMemory":
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop.set()
        self._thread.join()

    def summary(self) -> dict[str, float]:
        """MiB of the worker that has grown most."""
        added, pid = max((self.most[pid] - self.first[pid], pid) for pid in self.first)
        return {"worker_start_mib": self.first[pid] / MIB, "worker_added_mib": added / MIB}


def own_and_all_cpu() -> tuple[float, float]:
    """CPU seconds of this process and its children so far, and of the whole machine."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    own = 0.0
    for process in family:
        times = process.cpu_times()
        own += times.user + times.system
    machine = psutil.cpu_times()
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    guest = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # already part of user and nice
    return own, sum(machine) - idle - guest


def measure(batches: Iterator[int], batches_per_round: int, job: Job) -> dict[str, Any]:
    """Crops per second of an endless stream, and then the memory of its workers.

    Time is taken over whole rounds (a batch of every worker, or a whole queue), after one round that is not counted,
    while nothing else is done with the batches. Memory is read over further rounds, because reading it takes time.

    Args:
        batches: Gives the number of crops of each batch. Workers may start on the first `next`.
        batches_per_round: Number of batches that a round consists of.
        job: What is measured.
    """
    with WorkerMemory() as memory:
        for _ in range(batches_per_round):
            next(batches)
    own, machine = own_and_all_cpu()
    start = time.perf_counter()
    crops, seconds = 0, 0.0
    while seconds < job.seconds:
        crops += sum(next(batches) for _ in range(batches_per_round))
        seconds = time.perf_counter() - start
    own, machine = (after - before for before, after in zip((own, machine), own_and_all_cpu(), strict=True))
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            memory.sample()
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    while time.perf_counter() - start < job.seconds / 2:
        for _ in range(batches_per_round):
            next(batches)
    done.set()
    watcher.join()
    result = {"crops": crops, "seconds": seconds, "crops_per_second": crops / seconds}
    return {
        **result,
        **memory.summary(),
        "cpu_ms_per_crop": 1000 * own / crops,
        "other_cores": (machine - own) / seconds,
    }


def end_now() -> None:
    """Ends this process and its workers: letting them finish what they have begun can take longer than measuring."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(0)


def checked(batch_image: Any, batch_label: Any, job: Job) -> int:
    """Number of crops of a batch, which must be what everybody delivers."""
    for tensor in (batch_image, batch_label):
        if tuple(tensor.shape[-3:]) != job.shape or tensor.shape[0] != BATCH:
            raise ValueError(f"{job.contender} delivers {tuple(tensor.shape)}")
    if "float32" not in str(batch_image.dtype):
        raise ValueError(f"{job.contender} delivers {batch_image.dtype}")
    return int(tensor.shape[0])


def monai_transforms(job: Job, cached: bool) -> Any:
    """The dictionary transforms of MONAI's tutorials; labels stay uint8, which is faster than their float32.

    With a cache, the indices of labelled and other voxels are part of it: this doubles the crops per second.
    """
    from monai.transforms import (
        Compose,
        DeleteItemsd,
        EnsureChannelFirstd,
        FgBgToIndicesd,
        LoadImaged,
        Orientationd,
        RandCropByPosNegLabeld,
        RandRotate90d,
        RandShiftIntensityd,
        ScaleIntensityRanged,
    )

    keys = ["image", "label"]
    steps: list[Any] = [
        LoadImaged("image", dtype=np.float32),
        LoadImaged("label", dtype=np.uint8),
        EnsureChannelFirstd(keys),
        Orientationd(keys, axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        ScaleIntensityRanged("image", a_min=HU[0], a_max=HU[1], b_min=0.0, b_max=1.0, clip=True),
    ]
    crop = {"spatial_size": job.shape, "pos": 1, "neg": 1, "num_samples": job.per_volume}
    if cached:
        places = ["label_fg_indices", "label_bg_indices"]
        steps += [
            FgBgToIndicesd("label"),
            RandCropByPosNegLabeld(keys, "label", fg_indices_key=places[0], bg_indices_key=places[1], **crop),
            DeleteItemsd(places),
        ]
    else:
        steps += [RandCropByPosNegLabeld(keys, "label", **crop)]
    if job.augmentation == "default":
        steps += [RandRotate90d(keys, prob=ROTATE, max_k=3), RandShiftIntensityd("image", SHIFT_LIMIT, prob=SHIFT)]
    return Compose(steps)


def monai(job: Job, cached: bool = False) -> tuple[Iterator[int], int]:
    """MONAI's Dataset, which reads the whole file on every visit, or PersistentDataset, with its prepared tensors."""
    from monai.data import DataLoader, Dataset, PersistentDataset

    files = [{"image": image, "label": label} for image, label in job.pairs]
    files = files * (EPOCH // len(files))
    steps = monai_transforms(job, cached)
    data = PersistentDataset(files, steps, Path(job.data) / "monai_persistent") if cached else Dataset(files, steps)
    volumes = BATCH // job.per_volume
    loader = DataLoader(data, batch_size=volumes, num_workers=WORKERS, shuffle=True)
    return (checked(batch["image"], batch["label"], job) for batch in loader), WORKERS


def prepare_persistent(job: Job) -> None:
    """Fills the cache of PersistentDataset."""
    from monai.data import PersistentDataset

    files = [{"image": image, "label": label} for image, label in job.pairs]
    data = PersistentDataset(files, monai_transforms(job, cached=True), Path(job.data) / "monai_persistent")
    for number in range(len(files)):
        data[number]


def prepare_nnunet(job: Job) -> None:
    """What nnU-Net's preprocessing leaves: normalised float32 and int16 Blosc2 arrays, sampled foreground voxels."""
    import nibabel
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    target = Path(job.data) / "nnunet"
    target.mkdir(exist_ok=True)
    statistics, classes = None, 0
    for image, label in job.pairs:
        ct, seg = (np.asarray(nibabel.load(path).dataobj)[None] for path in (image, label))
        if statistics is None:  # nnU-Net takes them from the foreground of all training cases
            inside = ct[seg > 0]
            low, high = np.percentile(inside, (0.5, 99.5))
            statistics = {"mean": inside.mean(), "std": inside.std(), "percentile_00_5": low, "percentile_99_5": high}
        data, seg = CTNormalization(False, statistics).run(ct), seg.astype(np.int16)
        present = [int(value) for value in np.unique(seg) if value > 0]
        classes = max(classes, *present)
        places = DefaultPreprocessor._sample_foreground_locations(seg, present)
        blocks, chunks = comp_blosc2_params(data.shape, job.shape, data.itemsize)
        seg_blocks, seg_chunks = comp_blosc2_params(seg.shape, job.shape, seg.itemsize)
        nnUNetDatasetBlosc2.save_case(
            data,
            seg,
            {"class_locations": places},
            str(target / Path(image).name.removesuffix(".nii.gz")),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=seg_chunks,
            blocks_seg=seg_blocks,
        )
    (target / "classes.json").write_text(json.dumps(classes))


def nnunet(job: Job) -> tuple[Iterator[int], int]:
    """nnU-Net's loader and worker processes as its trainer sets them up, with the augmentation of the others."""
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
    from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
    from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    folder = Path(job.data) / "nnunet"
    labels = {"background": 0} | {f"{i}": i for i in range(1, 1 + json.loads((folder / "classes.json").read_text()))}
    steps = [
        RandomTransform(Rot90Transform(1, (1, 2, 3), {0, 1}), ROTATE),
        RandomTransform(BrightnessAdditiveTransform(0.0, SHIFT_LIMIT, synchronize_channels=False), SHIFT),
    ]
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(folder)),
        BATCH,
        job.shape,
        job.shape,
        LabelManager(labels, None),
        oversample_foreground_percent=0.5,
        transforms=ComposeTransforms(steps) if job.augmentation == "default" else None,
    )
    stream = NonDetMultiThreadedAugmenter(loader, None, WORKERS, num_cached=6, seeds=None, wait_time=0.002)
    return (checked(batch["data"], batch["target"], job) for batch in stream), WORKERS


def torchio(job: Job) -> tuple[Iterator[int], int]:
    """TorchIO's queue. Its transforms work on whole volumes; the augmentation here is applied to the crop instead."""
    import torch
    import torchio as tio

    steps = tio.Compose([tio.ToCanonical(), tio.Clamp(*HU), tio.RescaleIntensity((0, 1), in_min_max=HU)])
    subjects = [tio.Subject(image=tio.ScalarImage(i), label=tio.LabelMap(t)) for i, t in job.pairs]
    # An epoch is finite: TorchIO copies the list of subjects when it counts them.
    data = tio.SubjectsDataset(subjects * 250, transform=steps)
    queue = tio.Queue(data, QUEUE, job.per_volume, tio.UniformSampler(job.shape), num_workers=WORKERS)

    class Augmented(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(queue)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            subject = queue[index]
            image, label = subject["image"].data, subject["label"].data
            rotate, shift, amount = torch.rand(3).tolist()
            if job.augmentation == "default" and rotate < ROTATE:
                turns = int(torch.randint(1, 4, ()))
                image, label = torch.rot90(image, turns, (1, 2)), torch.rot90(label, turns, (1, 2))
            if job.augmentation == "default" and shift < SHIFT:
                image = image + SHIFT_LIMIT * (2 * amount - 1)
            return image, label

    loader = torch.utils.data.DataLoader(Augmented(), batch_size=BATCH)
    return (checked(image, label, job) for image, label in loader), QUEUE // BATCH


PEERS = {
    "monai": monai,
    "monai_persistent": lambda job: monai(job, cached=True),
    "nnunet": nnunet,
    "torchio": torchio,
}
PREPARE = {"monai_persistent": prepare_persistent, "nnunet": prepare_nnunet}
PACKAGES = ("torch", "numpy", "monai", "nnunetv2", "batchgeneratorsv2", "torchio", "blosc2", "nibabel", "SimpleITK")


def main() -> None:
    """Measures one job, or prepares the data of a peer once."""
    import torch

    torch.set_num_threads(1)
    action, job = sys.argv[2], Job(**json.loads(sys.argv[3]))  # after --job, as for data_loading.py
    result: dict[str, Any] = {}
    if action == "versions":
        result = {name: version(name) for name in PACKAGES}
    elif action == "prepare":
        PREPARE[job.contender](job)
    else:
        result = measure(*PEERS[job.contender](job), job)
    print(json.dumps(result), flush=True)
    end_now()


if __name__ == "__main__":
    main()

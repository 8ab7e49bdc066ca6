"""Training from a bucket gives the batches that training from the disk gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.datamodules import CTDataModule
from suprem.errors import ConfigurationError, RemoteError
from suprem.volumes import _remote
from suprem.volumes.store import Store

CLASSES = ("liver", "kidney_left", "kidney_right")


@pytest.fixture(scope="module")
def bucket(store: Path) -> Iterator[str]:
    """The store in a bucket of a loopback server; its address."""
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    patch = pytest.MonkeyPatch()
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        patch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="scans")
    for path in store.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "scans", f"prepared/{path.relative_to(store).as_posix()}")
    yield "s3://scans/prepared"
    server.stop()
    S3FileSystem.clear_instance_cache()
    patch.undo()


def _batches(module: CTDataModule) -> list[dict[str, Any]]:
    loaders = [module.train_dataloader(), module.val_dataloader()]
    return [module.on_after_batch_transfer(batch, 0) for loader in loaders for batch in loader]  # type: ignore[union-attr]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_equal_those_of_the_local_store(bucket: str, store: Path, tmp_path: Path, workers: int) -> None:
    options: dict[str, Any] = {"patch_size": (16, 16, 16), "samples_per_epoch": 12, "val_fraction": 0.3}
    remote = CTDataModule(bucket, CLASSES, cache_dir=tmp_path, num_workers=workers, **options)
    expected = _batches(CTDataModule(store, CLASSES, **options))
    found = _batches(remote)
    assert len(found) == len(expected) > 6
    for one, other in zip(found, expected, strict=True):
        assert one["keys"] == other["keys"]
        for name in ("image", "target", "annotated", "known"):
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_a_cache_for_two_cases_is_enough(bucket: str, store: Path, tmp_path: Path) -> None:
    largest = max(sum(file.size for file in record.files.values()) for record in Store.open(store).records)
    options: dict[str, Any] = {"patch_size": (16, 16, 16), "samples_per_epoch": 24}
    module = CTDataModule(bucket, CLASSES, cache_dir=tmp_path, cache_size=2 * largest, num_workers=2, **options)
    assert len(list(module.train_dataloader())) == 12
    kept = [path for path in (tmp_path / "cases").iterdir() if path.name != "locks"]
    assert 1 <= len(kept) <= 2 + sum(path.name.startswith(".") for path in kept)


def test_a_bucket_that_is_not_there(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote, "RETRY_WAITS_S", ())
    with pytest.raises(RemoteError, match=r"s3://nowhere/store/store\.json: there is no such file"):
        CTDataModule("s3://nowhere/store", CLASSES, cache_dir=tmp_path)
    with pytest.raises(RemoteError, match="there is no such file"):
        CTDataModule(f"{bucket}/elsewhere", CLASSES, cache_dir=tmp_path)


def test_nonsense_for_the_size(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a size"):
        CTDataModule(bucket, CLASSES, cache_dir=tmp_path, cache_size="lots")

import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from suprem.errors import ConfigurationError, IntegrityError, OutputError, RemoteError
from suprem.volumes import Volume, _remote
from suprem.volumes.store import Store, StoreSettings, create_store, prefetch, write_case, write_index
from tests.volumes.remote_server import FolderServer, serve_folder

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three cases; the name of one has to be quoted in an address."""
    root = tmp_path_factory.mktemp("origin") / "my store"
    create_store(root, StoreSettings((1.5, 1.5, 2.0)))
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c 1%#é"):
        ct, labels = rng.integers(-1024, 1000, (40, 36, 30)).astype(np.int16), np.zeros((40, 36, 30), np.uint8)
        labels[5:20, 5:20, 5:20] = 1
        write_case(
            root, dataset="word", case=name, scan=name, subject=name, split=None, ct=Volume(ct, AFFINE),
            original_shape=ct.shape, original_affine=AFFINE, labels=Volume(labels, AFFINE),
            table=(frozenset(), frozenset({"liver"})), annotated=frozenset({"liver"}),
        )  # fmt: skip
    write_index(root)
    return Store.open(root)


@pytest.fixture
def server(local: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderServer]:
    monkeypatch.setattr(_remote, "RETRY_WAITS_S", (0.01, 0.01, 0.01))
    with serve_folder(Path(local.root).parent) as running:
        yield running


def _size(store: Store, key: str) -> int:
    return sum(file.size for file in store.record(key).files.values())


def _open(server: FolderServer, cache: Path, **options: str | int) -> Store:
    return Store.open(f"{server.url}/my%20store", cache_dir=cache, **options)  # type: ignore[arg-type]


def test_a_remote_store_reads_like_a_local_one(server: FolderServer, local: Store, tmp_path: Path) -> None:
    store = _open(server, tmp_path)
    assert (store.records, store.settings) == (local.records, local.settings)
    assert not list(tmp_path.iterdir())  # opening fetches no case
    box = (slice(3, 33), slice(0, 36), slice(29, 30))
    for record in store.records:
        here, there = pickle.loads(pickle.dumps(store.case(record.key))), local.case(record.key)
        np.testing.assert_array_equal(here.ct(box), there.ct(box))
        np.testing.assert_array_equal(here.labels(), there.labels())
        np.testing.assert_array_equal(here.foreground("liver"), there.foreground("liver"))
        assert (here.table, here.ignore) == (there.table, there.ignore)
        assert store.verify(record.key) == []
    asked = len(server.requests)
    assert _open(server, tmp_path).case("word/a").ct().shape == (40, 36, 30)
    assert len(server.requests) == asked + 2  # settings and index: the case is still there


def test_the_cache_is_bounded(server: FolderServer, local: Store, tmp_path: Path) -> None:
    limit = _size(local, "word/a") + _size(local, "word/b") + 100
    store = _open(server, tmp_path, cache_size=limit)
    for _ in range(2):
        for record in store.records:
            np.testing.assert_array_equal(store.case(record.key).ct(), local.case(record.key).ct())
            cached = [p for p in (tmp_path / "cases").glob("*/*.*") if p.suffix != ".json"]
            assert sum(p.stat().st_size for p in cached) <= limit
    with pytest.raises(ConfigurationError, match="raise cache_size"):
        _open(server, tmp_path, cache_size=1000).case("word/a").ct()


def test_what_was_opened_outlives_its_place_in_the_cache(server: FolderServer, local: Store, tmp_path: Path) -> None:
    store = _open(server, tmp_path, cache_size=_size(local, "word/a") + 1000)
    first = store.case("word/a")
    first.ct()
    store.case("word/b").ct()
    np.testing.assert_array_equal(first.ct(), local.case("word/a").ct())
    np.testing.assert_array_equal(first.labels(), local.case("word/a").labels())  # fetched again


@pytest.mark.parametrize("answers", [[503], [0.5], [429, 500, 0.0]], ids=str)
def test_a_stutter_is_waited_for(
    answers: list[int | float | None], server: FolderServer, local: Store, tmp_path: Path
) -> None:
    server.answers = {"/index.jsonl": list(answers), "/ct.b2nd": list(answers), "/case.json": list(answers)}
    np.testing.assert_array_equal(_open(server, tmp_path).case("word/a").ct(), local.case("word/a").ct())
    assert not any(server.answers.values())


def test_a_connection_that_is_lost_for_thirty_seconds_is_waited_for(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now >= 30:
            server.answers = {}

    monkeypatch.setattr(_remote.time, "sleep", sleep)
    with serve_folder(Path(local.root).parent) as server:
        store = _open(server, tmp_path)
        server.answers = {"": [0.0, None]}  # every request ends without an answer
        np.testing.assert_array_equal(store.case("word/a").ct(), local.case("word/a").ct())
    assert 30 <= now < 60


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (403, "reading it is not allowed (403"),
        (404, "there is no such file (404); check the address"),
        (503, "failed 4 times, at last with ClientResponseError: 503"),
        (0.5, "failed 4 times, at last with ClientPayloadError"),
    ],
)
@pytest.mark.parametrize("name", ["store.json", "index.jsonl", "cases/word/a/labels.b2nd", "cases/word/a/case.json"])
def test_refusals_name_the_file_and_what_to_do(
    answer: int | float, says: str, name: str, server: FolderServer, tmp_path: Path
) -> None:
    server.answers = {f"/{name}": [answer, None]}
    with pytest.raises(RemoteError) as caught:
        _open(server, tmp_path).case("word/a").ct()
    assert f"{server.url}/my%20store/{name}: " in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p for p in tmp_path.glob("cases/*") if p.name != "locks"] == []
    server.answers = {}
    assert _open(server, tmp_path).case("word/a").ct().shape == (40, 36, 30)


def test_one_bad_case_does_not_stop_the_others(server: FolderServer, tmp_path: Path) -> None:
    server.answers = {"/word/b/ct.b2nd": [404, None]}
    store = _open(server, tmp_path)
    with pytest.raises(RemoteError, match=r"cases/word/b/ct\.b2nd"):
        store.case("word/b").ct()
    assert store.case("word/a").ct().shape == (40, 36, 30)


def test_other_content_than_the_index_says(local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(_remote, "RETRY_WAITS_S", ())
    copy = tmp_path / "copy"
    shutil.copytree(local.root, copy)
    path = copy / "cases/word/a/ct.b2nd"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    path = copy / "cases/word/b/ct.b2nd"
    path.write_bytes(path.read_bytes() + b"more")
    with serve_folder(copy) as running:
        store = Store.open(running.url, cache_dir=tmp_path / "cache")
        with pytest.raises(IntegrityError, match="the index says"):
            store.case("word/a").ct()
        with pytest.raises(RemoteError, match="bytes arrived instead of"):
            store.case("word/b").ct()


def test_an_index_from_elsewhere_cannot_name_other_files(
    local: Store, tmp_path: Path, server: FolderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(local.root) / "index.jsonl").read_text()
    monkeypatch.setattr(_remote.RemoteFiles, "text", lambda self, name: {
        "store.json": (Path(local.root) / "store.json").read_text(),
        "index.jsonl": text.replace('"ct.b2nd"', '"../../ct.b2nd"'),
    }[name])  # fmt: skip
    with pytest.raises(ConfigurationError, match="names other files"):
        _open(server, tmp_path)


def test_prefetch(server: FolderServer, local: Store, tmp_path: Path) -> None:
    store = _open(server, tmp_path)
    prefetch([local.case("word/a")])  # nothing to do
    prefetch(store.case(record.key) for record in store.records)
    end = time.monotonic() + 20
    while len([p for p in (tmp_path / "cases").glob("[!.]*") if p.name != "locks"]) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    asked = len(server.requests)
    for record in store.records:
        assert store.case(record.key).ct().shape == (40, 36, 30)
    assert len(server.requests) == asked


def test_prefetch_leaves_half_of_the_cache(server: FolderServer, local: Store, tmp_path: Path) -> None:
    store = _open(server, tmp_path, cache_size=2 * _size(local, "word/a") + 100)
    prefetch(store.case(record.key) for record in store.records)
    time.sleep(0.5)
    assert [path for path in server.requests if "word/b" in path or "word/c" in path] == []


def test_a_failed_prefetch_is_told_to_whoever_needs_the_case(server: FolderServer, tmp_path: Path) -> None:
    server.answers = {"/word/a/ct.b2nd": [404, None]}
    store = _open(server, tmp_path)
    prefetch([store.case("word/a")])
    with pytest.raises(RemoteError, match="no such file"):
        store.case("word/a").ct()


def test_the_disk_is_full(server: FolderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _open(server, tmp_path)
    system = store._remote._system()[0]  # type: ignore[union-attr]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(system, "get_file", full)
    with pytest.raises(OutputError, match="No space is left"):
        store.case("word/a").ct()


@pytest.mark.parametrize(
    ("address", "says"), [("gopher://host/store", "no address that can be read"), ("s3:/", "is no store")]
)
def test_addresses_that_cannot_be_read(address: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Store.open(address, cache_dir=tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As fsspec does for an address whose package is missing; that it is missing cannot be undone within a process.
    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(ConfigurationError, match=r"pip install 'suprem\[remote\]'"):
        Store.open("s3://bucket/store", cache_dir=tmp_path)


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote, "RETRY_WAITS_S", (0.01,))
    with pytest.raises(RemoteError, match="failed 2 times, at last with ClientConnectorError"):
        Store.open("http://127.0.0.1:9/store", cache_dir=tmp_path)

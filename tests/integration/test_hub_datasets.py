"""Dataset repositories of the Hub over loopback: raw data pulled and prepared, and a store read where it lies."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem.datasets import dataset
from suprem.phantom import PhantomCase, generate
from suprem.phantom.disguise import disguise
from suprem.volumes.store import Store, StoreSettings, create_store, write_index
from tests.hub_server import HubFile, HubRepo, HubServer, client_environment, running_hub
from tests.phantom_store import add_phantom

SPACING = (10.0, 10.0, 10.0)


def _archive(folder: Path, *, evil: bool = False) -> bytes:
    """A folder as tar.gz; an evil one holds a member that would lie outside."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as members:
        members.add(folder, folder.name)
        if evil:
            member = tarfile.TarInfo("../../outside.txt")
            member.size = 4
            members.addfile(member, io.BytesIO(b"evil"))
    return content.getvalue()


def _stored(root: Path, case: PhantomCase) -> dict[str, HubFile]:
    create_store(root, StoreSettings(SPACING))
    add_phantom(root, case, "one", dataset="phantom")
    write_index(root)
    return {
        f"small/{path.relative_to(root).as_posix()}": HubFile(path.read_bytes(), lfs=path.suffix == ".b2nd")
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hub")
    cases = [generate(seed, spacing_mm=SPACING) for seed in (1, 2)]
    for number, case in enumerate(cases):
        disguise(
            case,
            dataset("abdomenatlas_1_0"),
            "official",
            folder / "made",
            values={"case": f"BDMAP_0000000{number + 1}"},
        )
    tops = sorted(path.parent for path in (folder / "made").rglob("ct.nii.gz"))
    archives = {f"part_{'ab'[n]}.tar.gz": HubFile(_archive(top)) for n, top in enumerate(tops)}
    with running_hub() as server:
        server.repos = {
            "datasets/AbdomenAtlas/AbdomenAtlas1.0Mini": HubRepo({"README.md": HubFile(b"hi", lfs=False), **archives}),
            "datasets/AbdomenAtlas/_AbdomenAtlas1.1Mini": HubRepo({}, errors=(403, "GatedRepo")),
            "datasets/acme/stores": HubRepo(_stored(folder / "local", cases[0])),
            "datasets/acme/gated": HubRepo({}, errors=(403, "GatedRepo")),
        }
        result = _client(server, folder)
    result["folder"] = folder
    result["expected"] = {"phantom/one": int(Store.open(folder / "local").case("phantom/one").ct().astype(int).sum())}
    return result


def _client(server: HubServer, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hub_datasets_client.py")), str(folder)],
        env=client_environment(folder, HF_ENDPOINT=server.endpoint), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_terms_come_first(answers: dict[str, Any]) -> None:
    refused = answers["nobody accepts"]
    assert refused["code"] == 2
    assert "licence CC BY-NC-SA 4.0" in refused["err"]
    assert "cite: Qu et al." in refused["err"]
    assert "add --yes" in refused["err"]


def test_pull_unpacks_and_goes_on(answers: dict[str, Any]) -> None:
    first, second = answers["pulled"], answers["pulled again"]
    assert (first["code"], second["code"]) == (0, 0), first["err"]
    assert first["err"].count(": unpacked\n") == 2
    assert second["err"].count(": unpacked before\n") == 2
    assert len(list((answers["folder"] / "raw").rglob("ct.nii.gz"))) == 2


def test_what_was_pulled_can_be_prepared(answers: dict[str, Any]) -> None:
    assert answers["prepared"]["code"] == 0, answers["prepared"]["err"]
    store = Store.open(answers["folder"] / "store")
    assert len(store) == 2
    truth = generate(1, spacing_mm=SPACING)
    liver = np.array(["liver" in entry for entry in store.case(store.records[0].key).table])
    expected = np.array(["liver" in entry for entry in truth.table])[truth.labels.array]
    assert int(liver[store.case(store.records[0].key).labels()].sum()) == int(expected.sum())


def test_one_file_packed(answers: dict[str, Any]) -> None:
    assert answers["one file, packed"]["code"] == 0
    found = {path.name for path in (answers["folder"] / "one").iterdir() if not path.name.startswith(".")}
    assert found == {"part_b.tar.gz"}


def test_refusals(answers: dict[str, Any]) -> None:
    gated = answers["gated"]
    assert gated["code"] != 0
    assert "access must be granted by its owners" in gated["err"]
    assert "segresnet_tiny" not in gated["err"]
    elsewhere = answers["not on the Hub"]
    assert elsewhere["code"] == 2
    assert "word is not on the Hub" in elsewhere["err"]


def test_a_store_on_the_hub(answers: dict[str, Any]) -> None:
    assert answers["store"] == answers["expected"]
    assert answers["store, gated"]["error"] == "RemoteError"
    assert answers["store, none"]["error"] == "RemoteError"
    assert "hf://datasets/acme/none/small/store.json" in answers["store, none"]["message"]


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    from suprem.cli._data_pull import _unpack
    from suprem.errors import OutputError, UnsafeFileError

    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "ct.nii.gz").write_bytes(np.random.default_rng(0).bytes(50_000))
    archive = tmp_path / "deep" / "deeper" / "part.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(_archive(tmp_path / "case", evil=True))
    with pytest.raises(UnsafeFileError, match="Do not trust it"):
        _unpack(archive)
    assert not (tmp_path / "outside.txt").exists()
    archive.write_bytes(_archive(tmp_path / "case")[:20_000])
    with pytest.raises(OutputError, match="is damaged"):
        _unpack(archive)
    archive.write_bytes(_archive(tmp_path / "case"))
    assert _unpack(archive)
    assert not _unpack(archive)

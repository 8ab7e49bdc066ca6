"""A release on the Hub, over loopback through the real client: one commit, repeatable, and only what may be there."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import HubServer, running_hub
from tests.hub_server import run_client as run_script
from tests.hub_uploads import WRITE_TOKEN

CLIENT = Path(__file__).parent / "release_push_client.py"
REPO = "datasets/acme/atlas"
run_client = partial(run_script, CLIENT, HF_TOKEN=WRITE_TOKEN, OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("push")


@pytest.fixture(scope="module")
def pushed(server: HubServer, folder: Path) -> dict[str, Any]:
    return run_client("online", folder, HF_ENDPOINT=server.endpoint)


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_repository_holds_the_release_byte_for_byte(
    pushed: dict[str, Any], server: HubServer, folder: Path
) -> None:
    wanted = _files(folder / "one")
    assert set(pushed["first"]["result"]["uploaded"]) == set(wanted)
    there = server.repos[REPO].history[pushed["second"]["result"]["commit"]]
    first = server.repos[REPO].history[pushed["first"]["result"]["commit"]]
    assert {name: file.content for name, file in first.items() if name != ".gitattributes"} == wanted
    assert {name: file.content for name, file in there.items() if name != ".gitattributes"} == _files(folder / "two")
    assert all(file.lfs for name, file in first.items() if name.endswith(".nii.gz"))
    assert server.repos[REPO].private
    assert pushed["first"]["result"]["url"].startswith(f"{server.endpoint}/datasets/acme/atlas/tree/")


def test_a_push_is_one_commit_on_the_stated_parent_with_what_changed(pushed: dict[str, Any], server: HubServer) -> None:
    commits = [(message, parent, paths) for repo, message, parent, paths in server.uploads.commits if repo == REPO]
    assert [message for message, _, _ in commits] == ["Ours, version 1.0", "Ours, version 1.1"]
    assert commits[1][1] == pushed["first"]["result"]["commit"]
    changed = set(pushed["second"]["result"]["uploaded"])
    assert "BDMAP_90000001/segmentations/liver.nii.gz" in changed
    assert "BDMAP_90000001/ct.nii.gz" not in changed
    assert not any(name.startswith("BDMAP_90000002") for name in changed)


def test_a_repetition_changes_nothing_and_tags_stay(pushed: dict[str, Any], server: HubServer) -> None:
    assert pushed["again"]["result"]["uploaded"] == []
    assert pushed["again"]["result"]["commit"] == pushed["first"]["result"]["commit"]
    assert "has the tag 'v1' already" in pushed["old tag"]["message"]
    tags = {name: pushed[step]["result"]["commit"] for name, step in (("v1", "first"), ("v2", "second"))}
    assert server.repos[REPO].tags == tags
    assert len(pushed["repeated"]["result"]["uploaded"]) == len(pushed["first"]["result"]["uploaded"])


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("unfilled", "ConfigurationError", "places to be filled in, the first: 'For what purpose"),
        ("moved meanwhile", "HubError", "somebody has changed the repository meanwhile"),
        ("commit fails", "HubError", "(HTTP 503): the server has a problem"),
        ("read token", "HubError", "(HTTP 403): your token may not write there"),
        ("no owner", "HubError", "write it as owner/name"),
        ("bad tag", "ConfigurationError", "tag is 'version one'"),
        ("re-assembled", "ConfigurationError", "re-assembled from a source whose terms do not allow passing it on"),
        ("foreign file", "ConfigurationError", "notes.txt, which is no part of the release"),
        ("missing file", "IntegrityError", "lacks ids.csv"),
        ("changed file", "IntegrityError", "ids.csv was changed since the release"),
        ("other checksums", "IntegrityError", "is not that of the release"),
        ("unfinished", "ConfigurationError", "is no release"),
        ("forged", "ConfigurationError", "whose terms do not allow passing them on"),
    ],
)
def test_refusals_say_what_to_do(pushed: dict[str, Any], name: str, kind: str, message: str) -> None:
    assert pushed[name]["error"] == kind
    assert message in pushed[name]["message"]
    assert "\n" not in pushed[name]["message"]


def test_what_is_refused_sends_nothing(pushed: dict[str, Any], server: HubServer) -> None:
    assert pushed["commits of refused"]["result"] == 0
    assert "datasets/acme/refused" not in server.repos
    assert "datasets/acme/unfilled" not in server.repos

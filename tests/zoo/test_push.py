"""Publishing over loopback through the real client: one verified commit, repeatable, and refusals that help."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from suprem.zoo.model_card import is_generated, signed
from tests.hub_server import HubServer, client_environment, running_hub
from tests.hub_server import run_client as run_script
from tests.hub_uploads import WRITE_TOKEN

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

CLIENT = Path(__file__).parent / "push_client.py"
LARGE = {"model.safetensors", "golden.safetensors"}
ALL = {*LARGE, "config.json", "README.md"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_published: "Callable[[Path], SegmentationNetwork]") -> Path:
    """Two published folders of one network with different weights."""
    import torch

    from suprem.zoo import save_folder

    root = tmp_path_factory.mktemp("push")
    network = make_published(root / "first")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    save_folder(network, root / "second")
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as hub:
        yield hub


run_client = partial(run_script, CLIENT, HF_TOKEN=WRITE_TOKEN, OMP_NUM_THREADS="1")
"""The scenarios of ``push_client.py`` in a fresh interpreter, as a user who may write."""


@pytest.fixture(scope="module")
def pushed(server: HubServer, folder: Path) -> dict[str, Any]:
    return run_client("online", folder, HF_ENDPOINT=server.endpoint)


def commits_of(server: HubServer, repo: str) -> list[tuple[str, str | None, set[str]]]:
    return [(message, parent, set(paths)) for name, message, parent, paths in server.uploads.commits if name == repo]


def test_weights_and_logits_come_back_bit_for_bit(pushed: dict[str, Any]) -> None:
    result = pushed["round trip"]["result"]
    assert result["same"] == [True, True]
    assert set(result["uploaded"]) == ALL


def test_a_push_is_one_commit_on_top_of_the_stated_parent(pushed: dict[str, Any], server: HubServer) -> None:
    commits = commits_of(server, "acme/liver")
    first, second = commits[0], commits[1]
    start = next(iter(server.repos["acme/liver"].history))  # of the empty repository
    assert first == ("Upload segresnet_tiny.test", start, ALL)
    assert second[1] == pushed["round trip"]["result"]["commit"]


def test_the_commit_is_written_down(pushed: dict[str, Any]) -> None:
    result = pushed["round trip"]["result"]
    assert result["record"]["commit"] == result["commit"]
    assert result["record"]["source"] == f"hf-hub:acme/liver@{result['commit']}"
    assert result["record"]["tag"] == "v1"


def test_a_new_repository_is_private_where_asked(pushed: dict[str, Any], server: HubServer) -> None:
    del pushed
    assert server.repos["acme/liver"].private
    assert not server.repos["acme/network"].private


def test_a_repetition_changes_nothing(pushed: dict[str, Any]) -> None:
    again = pushed["again"]["result"]
    assert again["uploaded"] == []
    assert again["commit"] == pushed["round trip"]["result"]["commit"]


def test_a_tag_is_never_moved(pushed: dict[str, Any], server: HubServer) -> None:
    assert "has the tag 'v1' already" in pushed["other weights, old tag"]["message"]
    tags = server.repos["acme/liver"].tags
    assert tags["v1"] == pushed["round trip"]["result"]["commit"]
    assert tags["v2"] == pushed["other weights"]["result"]["commit"]
    assert pushed["old content, new tag"]["result"]["uploaded"] == []


def test_the_model_card_has_metadata_that_the_hub_takes(pushed: dict[str, Any], server: HubServer) -> None:
    del pushed
    text = next(card for card in server.uploads.cards if "hf-hub:acme/liver@v1" in card)
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "suprem"
    assert "local-dir:PATH" not in text
    assert is_generated(text)


def test_a_readme_that_somebody_wrote_on_the_hub_stays(pushed: dict[str, Any], server: HubServer) -> None:
    kept = pushed["README on the Hub"]
    assert kept["result"]["kept"]
    assert "README.md" not in kept["result"]["uploaded"]
    assert any("stays as it is" in text for text in kept["log"])
    assert server.repos["acme/liver"].files["README.md"].content == b"# Mine\n"


def test_a_readme_written_by_hand_is_published(pushed: dict[str, Any], server: HubServer) -> None:
    assert set(pushed["run, README by hand"]["result"]["uploaded"]) == ALL
    text = server.repos["acme/run"].files["README.md"].content.decode()
    assert "# By hand, see hf-hub:acme/run@COMMIT" in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    assert not is_generated(text)


def test_what_has_arrived_is_not_sent_again(pushed: dict[str, Any], server: HubServer) -> None:
    assert "(HTTP 503): the server has a problem" in pushed["commit fails"]["message"]
    assert set(pushed["repeated"]["result"]["uploaded"]) == ALL
    assert pushed["sent again"]["result"] == 0
    assert len(commits_of(server, "acme/retry")) == 1


def test_a_storage_that_stutters_is_tried_again(pushed: dict[str, Any], folder: Path, server: HubServer) -> None:
    assert set(pushed["storage stutters"]["result"]["uploaded"]) == ALL
    sent = server.repos["acme/stutter"].files["model.safetensors"].content
    assert sent == (folder / "second" / "model.safetensors").read_bytes()


def test_a_repository_that_changed_meanwhile_is_left_alone(pushed: dict[str, Any]) -> None:
    assert "(HTTP 412): somebody has changed the repository meanwhile" in pushed["moved meanwhile"]["message"]


def test_a_network_can_be_pushed_without_a_folder(pushed: dict[str, Any]) -> None:
    assert set(pushed["network"]["result"]["uploaded"]) == ALL


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("read token", "HubError", "(HTTP 403): your token may not write there"),
        ("no token", "HubError", "(HTTP 401): it wants a login. Run `hf auth login` or set HF_TOKEN"),
        ("other licence", "HubError", '"license" must be one of'),
        ("bad licence", "ConfigurationError", "give an identifier such as apache-2.0"),
        ("bad tag", "ConfigurationError", "tag is 'version one'; it must consist of letters"),
        ("repo 'a\\nb/c'", "HubError", "is no name of a repository"),
        ("repo 'alone'", "HubError", "write it as owner/name"),
        ("repo '../up/x'", "HubError", "is no name of a repository"),
        ("repo 'acme/x--y'", "HubError", "is no name of a repository"),
        ("damaged", "CheckpointError", "is not what it claims to be and is not published: golden belongs to weights"),
        ("no README", "CheckpointError", "lacks README.md"),
    ],
)
def test_refusals_say_what_to_do(pushed: dict[str, Any], name: str, kind: str, message: str) -> None:
    assert pushed[name]["error"] == kind
    assert message in pushed[name]["message"]
    assert "\n" not in pushed[name]["message"]


def test_a_damaged_folder_sends_nothing(pushed: dict[str, Any], server: HubServer) -> None:
    assert pushed["commits of damaged"]["result"] == 0
    assert "acme/damaged" not in server.repos


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids the network. Unset it.", marks=pytest.mark.slow),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "was not published: the connection failed"),
    ],
    ids=["offline", "unreachable"],
)
def test_without_a_network_nothing_is_published(folder: Path, setting: dict[str, str], message: str) -> None:
    answer = run_client("alone", folder, **setting)["push"]
    assert answer["error"] == "OfflineError"
    assert message in answer["message"]


@pytest.mark.slow
def test_a_refused_xet_token_is_told(server: HubServer, folder: Path) -> None:
    answer = run_client("alone", folder, HF_ENDPOINT=server.endpoint, HF_HUB_DISABLE_XET="0")["push"]
    assert answer["error"] == "HubError"
    assert "was refused by the Hub's storage" in answer["message"]
    assert "403" in answer["message"]


def test_the_command_prints_where_it_is(server: HubServer, folder: Path) -> None:
    program = "import sys; from suprem.cli import main; sys.exit(main())"
    words = ["zoo", "push", str(folder / "first"), "acme/command", "--tag", "v1", "--json"]
    environment = client_environment(folder, HF_ENDPOINT=server.endpoint, HF_TOKEN=WRITE_TOKEN)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["commit"] == server.repos["acme/command"].tags["v1"]
    assert answer["source"] == f"hf-hub:acme/command@{answer['commit']}"


def test_a_changed_card_is_no_longer_a_generated_one() -> None:
    text = signed("# Model\n")
    assert is_generated(text)
    assert signed(text) == text
    assert not is_generated(text.replace("Model", "My model"))
    assert not is_generated("# Model\n")
    assert is_generated(signed(text.replace("Model", "My model")))

"""Downloads over loopback through the real client: resume, integrity, refusals, and life without a network."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.hub_server import HubFile, HubRepo, HubServer, client_environment, running_hub
from tests.hub_server import run_client as run_script

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

CLIENT = Path(__file__).parent / "hub_client.py"
CHUNK = 10 * 2**20  # the client keeps whole chunks of an interrupted transfer
GOOD = np.random.default_rng(0).bytes(50_000)
LONG = np.random.default_rng(1).bytes(CHUNK + 3_000_000)
CONFIG = b'{"a": 1}\n'
PIN = "c" * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


run_client = partial(run_script, CLIENT)
"""The scenarios of ``hub_client.py`` in a fresh interpreter."""


def populate(server: HubServer) -> None:
    corrupt = {
        "weights.pth": HubFile(GOOD, sent=GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
        "short.pth": HubFile(GOOD, sent=GOOD[:-7]),
        "config.json": HubFile(CONFIG, lfs=False, sent=CONFIG.replace(b"1", b"2")),
    }
    server.repos = {
        "acme/good": HubRepo({"weights.pth": HubFile(GOOD), "config.json": HubFile(CONFIG, lfs=False)}),
        "acme/carded": HubRepo({"weights.pth": HubFile(GOOD)}),
        "acme/interrupted": HubRepo({"weights.pth": HubFile(LONG, cut_after=CHUNK + 1_000_000)}),
        "acme/corrupt": HubRepo(corrupt),
        "acme/other": HubRepo({"w.pth": HubFile(GOOD)}),
        "acme/huge": HubRepo({"config.json": HubFile(bytes(2**20 + 1), lfs=False)}),
        "acme/private": HubRepo({}, errors=(401, "RepoNotFound")),
        "acme/gated": HubRepo({}, errors=(401, "GatedRepo")),
        "acme/forbidden": HubRepo({}, errors=(403, "")),
        "acme/limited": HubRepo({}, errors=(429, "")),
        "acme/down": HubRepo({}, errors=(503, "")),
        "acme/hiccup": HubRepo({"weights.pth": HubFile(GOOD, errors=[(503, ""), (429, "")])}),
        "MrGiovanni/SuPreM": HubRepo({"supervised_suprem_segresnet_2100.pth": HubFile(GOOD)}),
    }


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as hub:
        populate(hub)
        yield hub


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "good.json").write_text(json.dumps({"size_bytes": len(GOOD), "sha256": sha256(GOOD)}))
    return folder


@pytest.fixture(scope="module")
def online(server: HubServer, cache: Path) -> dict[str, Any]:
    return run_client("online", cache, HF_ENDPOINT=server.endpoint, HF_TOKEN="hf_secret")


def test_small_and_large_files_arrive_checked(online: dict[str, Any]) -> None:
    assert online["small"]["result"]["sha256"] == sha256(CONFIG)
    large = online["large"]["result"]
    assert Path(large["path"]).read_bytes() == GOOD
    assert (large["sha256"], large["commit"]) == (sha256(GOOD), PIN)
    assert online["pinned"]["result"] == large


def test_the_download_path_needs_no_torch(online: dict[str, Any]) -> None:
    assert online["heavy modules"]["result"] == []


def test_an_interrupted_download_goes_on_where_it_broke_off(online: dict[str, Any], server: HubServer) -> None:
    assert online["interrupted"]["result"]["sha256"] == sha256(LONG)
    assert server.ranges_of("acme/interrupted")[:2] == [None, f"bytes={CHUNK}-"]


@pytest.mark.parametrize("name", ["wrong content", "wrong content, small", "wrong content, again"])
def test_content_that_differs_from_what_was_announced_is_removed(
    online: dict[str, Any], cache: Path, name: str
) -> None:
    assert online[name]["error"] == "IntegrityError"
    assert "It was removed" in online[name]["message"]
    left = [
        path for path in (cache / "models--acme--corrupt").rglob("*") if path.is_file() and "refs" not in path.parts
    ]
    assert left == []


def test_a_transfer_that_ends_early_is_an_error(online: dict[str, Any]) -> None:
    assert online["shorter content"]["error"] in ("HubError", "IntegrityError")
    assert "short.pth of acme/corrupt" in online["shorter content"]["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no such repo", "HTTP 404): there is no such repository"),
        ("no such file", "HTTP 404): the repository has no such file"),
        ("no such revision", "has no revision 'v9'"),
        ("login", "HTTP 401): it wants a login"),
        ("gated", "HTTP 401): access must be granted by its owners"),
        ("forbidden", "HTTP 403): your token may not read it"),
        ("limited", "HTTP 429): too many requests"),
        ("down", "HTTP 503): the server has a problem"),
        ("bad repo name", "Write it as owner/repo"),
    ],
)
def test_refusals_say_what_to_do(online: dict[str, Any], name: str, message: str) -> None:
    assert online[name]["error"] == "HubError"
    assert message in online[name]["message"]
    assert "\n" not in online[name]["message"]


def test_a_gated_repository_tells_both_steps(online: dict[str, Any], server: HubServer) -> None:
    message = online["gated"]["message"]
    first, second = message.index(f"Ask for it on {server.endpoint}/acme/gated"), message.index("run `hf auth login`")
    assert first < second


@pytest.mark.parametrize("name", ["login", "gated"])
def test_how_to_log_in_is_told(online: dict[str, Any], name: str) -> None:
    assert "`hf auth login` or set HF_TOKEN" in online[name]["message"]


def test_a_hiccup_of_the_server_is_waited_out(online: dict[str, Any]) -> None:
    assert online["hiccup"]["result"]["sha256"] == sha256(GOOD)


def test_licences_are_told_before_a_download_and_only_then(online: dict[str, Any]) -> None:
    assert any("apache-2.0 (third party)" in text and "training data" in text for text in online["card"]["log"])
    assert online["card, again"]["log"] == []


@pytest.mark.parametrize("name", ["card, other size", "card, other hash", "card of the real file"])
def test_a_file_other_than_the_cards_is_not_even_downloaded(
    online: dict[str, Any], server: HubServer, name: str
) -> None:
    assert online[name]["error"] == "IntegrityError"
    assert "Nothing was downloaded" in online[name]["message"]
    assert server.ranges_of("acme/other") == []
    assert server.ranges_of("segresnet_2100") == []


def test_a_huge_configuration_is_not_downloaded(online: dict[str, Any]) -> None:
    assert "more than the 1048576 expected" in online["huge config"]["message"]


def test_a_damaged_cache_is_noticed_and_mended(online: dict[str, Any]) -> None:
    assert online["damaged cache"]["result"]["sha256"] == sha256(LONG)
    assert any("cached copy was damaged" in text for text in online["damaged cache"]["log"])


# ------------------------------------------------------------------ without a network


@pytest.fixture(scope="module", params=["HF_HUB_OFFLINE", "refused connection"])
def cut_off(request: pytest.FixtureRequest, online: dict[str, Any], cache: Path) -> dict[str, Any]:
    del online  # it filled the cache
    setting = {"HF_HUB_OFFLINE": "1"} if request.param == "HF_HUB_OFFLINE" else {"HF_ENDPOINT": "http://127.0.0.1:9"}
    return run_client("cut-off", cache, **setting)


@pytest.mark.parametrize("name", ["cached", "cached and pinned", "card"])
def test_what_is_cached_works_without_a_network(cut_off: dict[str, Any], name: str) -> None:
    assert Path(cut_off[name]["result"]).read_bytes() == GOOD


def test_what_is_not_cached_offers_the_bundled_checkpoint(cut_off: dict[str, Any]) -> None:
    assert cut_off["not cached"]["error"] == "OfflineError"
    message = cut_off["not cached"]["message"]
    assert "is not in the cache" in message
    assert "segresnet_tiny.phantom" in message


def test_availability_is_known_without_a_network(cut_off: dict[str, Any]) -> None:
    assert cut_off["is cached"]["result"] is True
    assert cut_off["is cached, other size"]["result"] is False


# ------------------------------------------------------------------ many processes, a proxy


def test_eight_processes_end_with_one_good_copy(server: HubServer, tmp_path: Path) -> None:
    server.repos["acme/shared"] = HubRepo({"weights.pth": HubFile(LONG)})
    environment = client_environment(tmp_path, HF_ENDPOINT=server.endpoint)
    command = [sys.executable, str(CLIENT), "one", str(tmp_path)]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = [json.loads(process.communicate(timeout=300)[0])["one"] for process in processes]
    assert [answer["result"] for answer in answers] == [sha256(LONG)] * 8
    folder = tmp_path / "models--acme--shared"
    blobs = list((folder / "blobs").iterdir())
    assert [path.name for path in blobs] == [sha256(LONG)]  # and nothing half done
    assert blobs[0].read_bytes() == LONG
    assert len(list(folder.rglob("weights.pth"))) == 1


class _Proxy(BaseHTTPRequestHandler):
    """Forwards to the server whatever host a request names, and notes the hosts."""

    target = ""
    seen: ClassVar[list[str]] = []

    def log_message(self, format: str, *arguments: Any) -> None:
        del format, arguments

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.seen.append(parts.netloc)
        host = self.target if parts.hostname == "hub.invalid" else parts.netloc
        connection = HTTPConnection(host, timeout=60)
        connection.request(self.command, f"{parts.path}?{parts.query}", headers=dict(self.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


def test_a_proxy_is_used(server: HubServer, tmp_path: Path) -> None:
    server.repos["acme/shared"] = HubRepo({"weights.pth": HubFile(GOOD)})
    _Proxy.target = server.endpoint.removeprefix("http://")
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        through = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}", "NO_PROXY": ""}
        # No name server knows this host, so only the proxy can reach it.
        answer = run_client("one", tmp_path, HF_ENDPOINT="http://hub.invalid", **through)["one"]
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert answer["result"] == sha256(GOOD)
    assert "hub.invalid" in _Proxy.seen
    assert any(host.startswith("127.0.0.1") for host in _Proxy.seen)  # the storage host, too


# ------------------------------------------------------------------ whole loads


@pytest.fixture(scope="module")
def loaded(
    server: HubServer, tmp_path_factory: pytest.TempPathFactory, make_published: Callable[[Path], "SegmentationNetwork"]
) -> dict[str, Any]:
    """A published folder, and the stand-in of a published file, loaded through the server."""
    import torch

    from tests.zoo.test_load_golden import content_of

    folder = tmp_path_factory.mktemp("published") / "model"
    make_published(folder)
    names = ("config.json", "model.safetensors", "golden.safetensors")
    files = {name: (folder / name).read_bytes() for name in names}
    config = json.loads(files["config.json"])
    evil = json.dumps({**config, "weights": "../../../../etc/passwd"}).encode()
    torch.save(content_of("models_genesis"), folder / "genesis.pt")

    def repo(**content: bytes) -> HubRepo:
        return HubRepo({name: HubFile(data, lfs=name != "config.json") for name, data in content.items()})

    server.repos["acme/model"] = repo(**files, **{"evil.py": b"raise SystemExit"})
    server.repos["acme/bare"] = repo(**{name: files[name] for name in names[:2]})
    server.repos["acme/escape"] = repo(**{**files, "config.json": evil})
    genesis = HubFile((folder / "genesis.pt").read_bytes())
    server.repos["MrGiovanni/SuPreM"].files["self_supervised_models_genesis_unet_620.pt"] = genesis
    cache = tmp_path_factory.mktemp("load-cache")
    return run_client("loading", cache, HF_ENDPOINT=server.endpoint, OMP_NUM_THREADS="1")


@pytest.mark.parametrize("name", ["folder", "folder, branch", "folder without golden"])
def test_a_published_folder_loads_from_the_hub(loaded: dict[str, Any], name: str) -> None:
    assert loaded[name]["result"]["classes"] == ["liver", "spleen"]
    assert f"snapshots/{PIN}/model.safetensors" in loaded[name]["result"]["path"]


def test_an_unpinned_folder_is_warned_about(loaded: dict[str, Any]) -> None:
    assert any("names no revision" in text for text in loaded["folder, branch"]["log"])
    assert not any("names no revision" in text for text in loaded["folder"]["log"])


def test_only_the_three_files_of_the_format_are_fetched(loaded: dict[str, Any], server: HubServer) -> None:
    del loaded
    assert server.ranges_of("evil.py") == []
    assert not any("passwd" in path for _, path, _ in server.requests)


def test_a_configuration_with_a_path_is_refused(loaded: dict[str, Any]) -> None:
    assert loaded["folder with escapes"]["error"] == "ConfigurationError"
    assert "unknown keys ['weights']" in loaded["folder with escapes"]["message"]


def test_a_repository_of_another_kind_is_refused(loaded: dict[str, Any]) -> None:
    assert loaded["not a folder"]["error"] == "HubError"
    assert "model.safetensors of acme/good" in loaded["not a folder"]["message"]


def test_a_folder_of_the_hub_is_verified(loaded: dict[str, Any]) -> None:
    result = loaded["verified"]["result"]
    assert result["ok"] is True
    assert {check["name"]: check["outcome"] for check in result["checks"]}["golden outputs"] == "passed"


def test_the_licence_is_asked_for_once(loaded: dict[str, Any], server: HubServer, tmp_path: Path) -> None:
    del loaded  # it made the repository
    answer = run_client("terms", tmp_path, HF_ENDPOINT=server.endpoint)
    assert "the licence stands on the repository's page" in answer["before"]
    assert answer["after"] == ""


def test_a_card_loads_through_the_hub(loaded: dict[str, Any]) -> None:
    assert loaded["card"]["result"]["loaded"] == 104
    assert loaded["card"]["result"]["classes"] == ["liver"]

"""``suprem zoo``: what it prints, and its exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suprem.cli import main
from suprem.zoo import list_checkpoints

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as a folder."""
    import torch

    from suprem.backbones import create_model
    from suprem.zoo import ModelConfig, save_folder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model("segresnet_tiny", num_classes=1)
    network.config = ModelConfig("segresnet_tiny.cli", "segresnet_tiny", ("liver",))
    return save_folder(network.eval(), tmp_path_factory.mktemp("cli") / "model")


def test_list_names_every_checkpoint_in_80_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["zoo", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in list_checkpoints():
        assert any(line.split()[:1] == [name] for line in lines), name
    row = next(line for line in lines if "unet.dodnet_920" in line)
    assert "not built" in row
    assert "…" not in "".join(lines)


def test_list_as_json(capsys: Capture) -> None:
    assert main(["zoo", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(list_checkpoints())
    assert rows["unet.suprem_2100"]["num_classes"] == 32
    assert rows["unet.suprem_2100"]["available_offline"] is False
    assert rows["unet.dodnet_920"]["loads"] is False


def test_show_tells_what_is_known_and_what_is_not(capsys: Capture) -> None:
    assert main(["zoo", "show", "swinunetr.tang_5050"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "13 in this order (third party",
        "contains supervision",
        "not known",
        "apache-2.0 (unsure",
        "CVPR 2022",
    ):
        assert part in text


def test_show_as_json_is_the_whole_card(capsys: Capture) -> None:
    assert main(["zoo", "show", "unet.suprem_2100", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["file"]["sha256"].startswith("c8dc39c8")
    assert values["classes"]["label_space"] == "universal_32"


def test_an_unknown_name_is_a_bad_argument(capsys: Capture) -> None:
    assert main(["zoo", "show", "unet.suprem"]) == 2
    assert "did you mean 'unet.suprem_2100'" in capsys.readouterr().err


def test_pull_without_network_fails_with_one_sentence(capsys: Capture) -> None:
    assert main(["zoo", "pull", "unet.suprem_2100", "--yes"]) == 1  # the tests run with HF_HUB_OFFLINE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "HF_HUB_OFFLINE" in captured.err
    assert "Traceback" not in captured.err


def test_the_licence_is_shown_before_a_download_and_has_to_be_accepted(capsys: Capture) -> None:
    assert main(["zoo", "pull", "unet.suprem_2100"]) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "weights apache-2.0 (third party)" in refused.err
    assert "add --yes" in refused.err
    assert main(["zoo", "pull", "hf-hub:owner/model"]) == 2
    assert "the licence stands on the repository's page" in capsys.readouterr().err
    assert main(["zoo", "pull", "segresnet_tiny.phantom"]) == 0  # it is here already
    assert "licence" not in capsys.readouterr().err


def test_pull_of_something_local_is_a_bad_argument(capsys: Capture, published: Path) -> None:
    assert main(["zoo", "pull", f"local-dir:{published}"]) == 2
    assert "on this machine already" in capsys.readouterr().err


def test_verify_passes_and_fails_with_its_exit_code(capsys: Capture, published: Path, tmp_path: Path) -> None:
    assert main(["zoo", "verify", f"local-dir:{published}"]) == 0
    assert "verified but for size, SHA-256: nothing to compare with" in " ".join(capsys.readouterr().out.split())
    damaged = Path(shutil.copytree(published, tmp_path / "damaged"))
    content = bytearray((damaged / "model.safetensors").read_bytes())
    content[-2] ^= 0x40
    (damaged / "model.safetensors").write_bytes(bytes(content))
    assert main(["zoo", "verify", f"local-dir:{damaged}", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert "failed" in {check["outcome"] for check in report["checks"]}


def test_verify_of_a_file_with_named_channels(capsys: Capture, published: Path) -> None:
    weights = f"local-file:{published / 'model.safetensors'}"
    assert main(["zoo", "verify", weights]) == 2
    assert "source_classes" in capsys.readouterr().err
    assert main(["zoo", "verify", weights, "--source-classes", "liver", "--backbone", "segresnet_tiny"]) == 0


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["show", "unet.suprem_2100"], ["--help"]])
def test_looking_needs_no_torch(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from suprem.cli import main; code = main(['zoo', *sys.argv[1:]]); "
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'monai', 'lightning')))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import suprem
from suprem import errors
from suprem.cli import _shell, main


def _run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from suprem.cli import main; sys.exit(main())", *args],
        capture_output=True,
        text=True,
        timeout=120,
        **options,  # type: ignore[call-overload]
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"suprem {suprem.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "predict", "zoo"):
        assert f" {command} " in out


def _all_commands() -> list[list[str]]:
    def walk(command: object, path: list[str]) -> list[list[str]]:
        children = getattr(command, "commands", {})
        return [path] + [found for name, child in children.items() for found in walk(child, [*path, name])]

    return [path for path in walk(_shell.typer.main.get_command(_shell.app), []) if path]


@pytest.mark.parametrize("command", _all_commands(), ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "usage: suprem " + " ".join(command) in shown.replace("Usage:", "usage:")


def test_a_name_longer_than_a_path_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "x" * 5000]) == 2
    err = capsys.readouterr().err
    assert "is longer than a path can be" in err
    assert len(err) < 500


@pytest.mark.parametrize("args", [["nonsense"], ["--nonsense"], ["zoo", "nonsense"], ["predict"]])
def test_bad_arguments_exit_with_2_and_keep_stdout_clean(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage" in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("overlap is 2; it must be below 1."), 2),
        (errors.UnknownNameError("Unknown model 'x'; known: none."), 2),
        (errors.VolumeError("ct.nii.gz is truncated; copy it again."), 1),
        (errors.OfflineError("a.pth is not cached; connect once."), 1),
        (errors.OutputError("out cannot be written: no space left."), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise_on_zoo_list(monkeypatch, error)
    assert main(["zoo", "list"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    if isinstance(error, errors.SupremError):
        assert captured.err == f"error: {error}\n"


def test_an_unexpected_exception_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _raise_on_zoo_list(monkeypatch, RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        main(["zoo", "list"])


def test_an_unexpected_exception_exits_with_1_and_a_traceback() -> None:
    program = (
        "import sys; from suprem.cli import _shell\n"
        "@_shell.app.command()\n"
        "def broken(): raise RuntimeError('a defect')\n"
        "sys.exit(_shell.main(['broken']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: a defect" in done.stderr


def test_warnings_of_the_package_are_shown_and_information_only_with_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("suprem.somewhere")

    def speak(*args: object, **kwargs: object) -> None:
        log.info("a detail")
        log.warning("a concern")

    monkeypatch.setattr(_shell.typer.main, "get_command", lambda app: _Scripted(app, speak))
    assert main(["zoo", "list"]) == 0
    assert capsys.readouterr().err == "warning: a concern\n"
    assert main(["--verbose", "zoo", "list"]) == 0
    assert capsys.readouterr().err == "info: a detail\nwarning: a concern\n"
    assert logging.getLogger("suprem").handlers == [], "main() leaves a handler behind"


def test_a_reader_that_goes_away_is_not_a_crash() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "import sys; from suprem.cli import main; sys.exit(main(['zoo', 'list', '--json']))"
    with os.fdopen(write_end, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_narrow_terminal_encoding_is_not_a_crash(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    for args in (["zoo", "list"], ["--help"], ["zoo", "nonsense"]):
        done = _run(*args, env=environment)
        assert done.returncode == (2 if "nonsense" in args else 0), done.stderr
        assert "Traceback" not in done.stderr


def test_json_is_one_document_on_stdout(tmp_path: Path) -> None:
    done = _run("zoo", "list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = json.dumps(json.loads(done.stdout))
    for name in suprem.list_checkpoints():
        assert name in names


class _Scripted:
    """The real command tree with the body of ``zoo list`` replaced."""

    def __init__(self, app: object, body: object) -> None:
        self.command = _get_command(app)
        self.command.commands["zoo"].commands["list"].callback = body

    def __call__(self, **options: object) -> object:
        return self.command(**options)


_get_command = _shell.typer.main.get_command


def _raise_on_zoo_list(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(_shell.typer.main, "get_command", lambda app: _Scripted(app, fail))

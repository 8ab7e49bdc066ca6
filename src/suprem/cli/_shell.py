"""The typer application, and how its outcomes become exit codes: 0 done, 1 failed, 2 bad arguments."""

import errno
import io
import logging
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from suprem._files import is_unwritable, output_error
from suprem._version import __version__
from suprem.errors import ConfigurationError, SupremError, UnknownNameError, brief

__all__ = ["app", "main"]

EXIT_FAILED = 1
EXIT_BAD_ARGUMENTS = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="suprem",
    help="Supervised pre-trained 3D models for CT. Not for clinical use.",
    no_args_is_help=True,
    # Tracebacks stay Python's own: complete, greppable, and without the locals of a patient's scan.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# For commands that parse all words after their name by other means, help included.
_UNPARSED: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"suprem {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is being done to standard error.")] = False,
) -> None:
    """Supervised pre-trained 3D models for CT. Not for clinical use."""
    if verbose:
        logging.getLogger("suprem").setLevel(logging.INFO)


def _add_commands() -> None:
    """Every public module ``name`` here is a command: the function ``name``, or the group ``name_app``."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("_"):
            continue
        content = import_module(f"suprem.cli.{module.name}")
        group = getattr(content, f"{module.name}_app", None)
        if group is not None:
            app.add_typer(group, name=module.name)
        else:
            settings = _UNPARSED if getattr(content, "PARSES_ITS_WORDS", False) else None
            app.command(module.name.replace("_", "-"), context_settings=settings)(getattr(content, module.name))


_add_commands()


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code; an unexpected exception is left to propagate with its traceback.

    Args:
        args: The words after ``suprem``; ``None`` takes them from ``sys.argv``.

    Returns:
        0 done, 1 failed, 2 bad arguments, 130 interrupted.

    Example:
        >>> main(["--version"])
        suprem 0.1.0
        0
    """
    _tolerate_narrow_encodings()
    # Torch reads it when it first reserves memory: large pages spare SegResNet-16 a fifth of its time on a CPU.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with _log_to_stderr():
        try:
            code = _run(args)
            sys.stdout.flush()  # a reader that has gone away shows here, not in the interpreter's shutdown
        except BrokenPipeError:
            _discard_stdout()
            code = EXIT_FAILED
    return code


def _run(args: list[str] | None) -> int:
    try:
        typer.main.get_command(app)(args=args, prog_name="suprem")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except BrokenPipeError:
        raise
    except SupremError as error:
        print(f"error: {error}", file=sys.stderr)
        bad_arguments = isinstance(error, ConfigurationError | UnknownNameError)
        return EXIT_BAD_ARGUMENTS if bad_arguments else EXIT_FAILED
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            print(f"error: {brief(error.filename)} is longer than a path can be; check the arguments.", file=sys.stderr)
            return EXIT_BAD_ARGUMENTS
        if not is_unwritable(error):
            raise
        print(f"error: {output_error(error.filename or 'the output', error)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _tolerate_narrow_encodings() -> None:
    """Lets a terminal that cannot show a character print a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Shows the package's warnings, and with ``--verbose`` its information, on standard error."""
    logger = logging.getLogger("suprem")
    level = logger.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LevelFirst())
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _LevelFirst(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


def _discard_stdout() -> None:
    # Otherwise Python flushes the rest into the closed pipe at exit and reports that as an error of its own.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

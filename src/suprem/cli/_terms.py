"""Terms that a person has to accept before something of somebody else's is downloaded."""

import sys
from collections.abc import Sequence

import typer

from suprem.errors import ConfigurationError

__all__ = ["accept_terms"]


def accept_terms(lines: Sequence[str], *, yes: bool) -> None:
    """Shows the terms on standard error, and goes on only when they are accepted.

    Args:
        lines: the terms.
        yes: they are accepted already, as by a script.

    Raises:
        ConfigurationError: nobody is there to accept them.
    """
    for line in lines:
        typer.echo(line, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody is there to accept the terms; read them above and add --yes.")
    typer.confirm("Download under these terms?", abort=True, err=True)

"""The ``suprem`` command; every subcommand imports what it needs when it runs."""

from suprem.cli._shell import main

__all__ = ["main"]

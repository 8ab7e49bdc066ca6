"""Prints the help of commands: JSON lists of words on standard input, JSON texts on standard output."""

import io
import json
import sys
from contextlib import redirect_stdout

from suprem.cli import main


def help_of(words: list[str]) -> str:
    """What ``suprem WORDS --help`` prints."""
    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            code: object = main([*words, "--help"])
    except SystemExit as error:
        code = error.code
    if code:
        sys.exit(f"suprem {' '.join(words)} --help ends with {code}")
    return shown.getvalue()


if __name__ == "__main__":
    print(json.dumps([help_of(words) for words in json.load(sys.stdin)]))

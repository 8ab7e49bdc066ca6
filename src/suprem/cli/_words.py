"""Words of a command line: lists of names in one word, and the whole line again."""

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["as_typed", "names_in", "names_or_space"]


def as_typed(context: "typer.Context") -> str:
    """The command line of a running command, for its records; what was left to defaults is left out."""
    words = context.command_path.split()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name or ""]
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += map(str, values)
        elif value is True:
            words.append(parameter.opts[0])
        else:
            words += [word for item in values for word in (parameter.opts[0], str(item))]
    return shlex.join(words)


def names_in(text: str) -> list[str]:
    """The names in a text that separates them by commas.

    Example:
        >>> names_in("liver, spleen,")
        ['liver', 'spleen']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def names_or_space(text: str) -> str | list[str]:
    """A label space if there is one of that name, else the names in the text."""
    from suprem.labels import list_label_spaces

    return text if text in list_label_spaces() else names_in(text)

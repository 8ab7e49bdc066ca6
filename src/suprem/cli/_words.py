"""Lists of names as they are written in one word of a command line."""

__all__ = ["names_in", "names_or_space"]


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

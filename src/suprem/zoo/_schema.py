"""Checks parsed YAML or JSON against a frozen dataclass: unknown and missing keys, and the type of every value."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from suprem.errors import ConfigurationError, brief

__all__ = ["from_mapping"]

T = TypeVar("T")


def from_mapping(cls: type[T], values: Any, where: str) -> T:
    """Builds the dataclass ``cls`` from ``values``; nothing is converted except a list to a tuple and int to float.

    Args:
        cls: a dataclass whose fields are ``str``, ``bool``, ``int``, ``float``, ``Literal``, tuples, mappings, other
            such dataclasses, and unions of these.
        values: what the YAML or JSON reader returned.
        where: what messages call the place, e.g. ``"config.json"``.

    Raises:
        ConfigurationError: with ``where``, the key and the value.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where} must be a mapping of keys to values, not {_name(values)}.")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise ConfigurationError(f"{where} has unknown keys {brief(sorted(unknown))}; known are {sorted(known)}.")
    required = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    missing = sorted(required - set(values))
    if missing:
        raise ConfigurationError(f"{where} lacks the keys {missing}; add them.")
    hints = get_type_hints(cls)
    arguments = {key: _checked(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**arguments)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _checked_union(get_args(hint), value, where)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ConfigurationError(f"{where} is {brief(value)}; it must be one of {list(get_args(hint))}.")
    if is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, value, where)
    if origin is tuple:
        return _checked_tuple(get_args(hint), value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _checked_mapping(get_args(hint), value, where)
    return _checked_scalar(hint, value, where)


def _checked_scalar(hint: Any, value: Any, where: str) -> Any:
    # bool is a subclass of int, and a YAML 1 where 1.0 is meant is no mistake.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigurationError(f"{where} is {brief(value)} ({_name(value)}); it must be {hint.__name__}.")


def _checked_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    candidates = [o for o in options if o is not type(None)]
    problems = []
    for option in candidates:
        try:
            return _checked(option, value, where)
        except ConfigurationError as error:
            problems.append(str(error))
    raise ConfigurationError(problems[0] if len(problems) == 1 else " Or: ".join(problems))


def _checked_tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"{where} is {brief(value)}; it must be a list.")
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_checked(parts[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(parts) != len(value):
        raise ConfigurationError(f"{where} has {len(value)} values; it must have {len(parts)}.")
    return tuple(_checked(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(parts, value, strict=True)))


def _checked_mapping(parts: tuple[Any, ...], value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} must be a mapping of keys to values, not {_name(value)}.")
    key_hint, value_hint = parts
    return {
        _checked(key_hint, key, f"{where}: key"): _checked(value_hint, item, f"{where}: {key}")
        for key, item in value.items()
    }


def _name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__

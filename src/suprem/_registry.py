"""Decorator registries whose entries live one per module of a package, under the module's own name."""

import pkgutil
from collections.abc import Callable
from importlib import import_module, util
from typing import Generic, TypeVar

from suprem.errors import UnknownNameError, did_you_mean

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects: every public module of ``package`` registers one object under its file name.

    Listing the names reads the folder and imports nothing; :meth:`get` imports the one module that is asked for. So
    adding an entry is adding a file, and a listing never pays for torch.

    Args:
        kind: What is registered, in the singular; used in messages.
        package: Dotted name of the package that holds the modules.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that stores its target under ``name``; a second entry of that name is an error."""

        def store(target: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice; rename one of them.")
            self._entries[name] = target
            return target

        return store

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        spec = util.find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        found = {m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_")}
        return tuple(sorted(found | set(self._entries)))

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            UnknownNameError: no entry has that name; the message offers the closest ones.
        """
        if name not in self._entries:
            if name not in self.names():
                raise UnknownNameError(did_you_mean(self.kind, name, self.names()))
            import_module(f"{self.package}.{name}")
            if name not in self._entries:
                raise ValueError(f"{self.package}.{name} does not register {self.kind} {name!r}; decorate its entry.")
        return self._entries[name]

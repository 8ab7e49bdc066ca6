"""The page: sections and provenance in one HTML file that needs nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from suprem._files import atomic_path
from suprem._version import __version__
from suprem.errors import OutputError
from suprem.report.sections import Picture, Section, Table, Text, Viewer
from suprem.report.viewer import MAX_BYTES

__all__ = ["Report"]

# In this order: each may use what stands before it.
_SCRIPTS = ("volume.js", "contours.js", "plane.js", "viewer.js", "controls.js", "page.js")
_KINDS = {Text: "text", Table: "table", Picture: "picture", Viewer: "viewer"}


@dataclass(frozen=True)
class Report:
    """One self-contained HTML file: it loads nothing, sends nothing, and runs no program but its own.

    Attributes:
        title: heading and title of the page.
        sections: what it shows, from top to bottom.
        provenance: how it came about (model, versions, preprocessing, command, ...); may be nested.
        subtitle: a line below the title.

    Example:
        >>> page = Report("scores", [Table(("case", "DSC"), [("a", 0.91)])], {"command": "suprem evaluate a b"}).html()
        >>> "0.910" in page, "://" in page
        (True, False)
    """

    title: str
    sections: Sequence[Section]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    subtitle: str = ""

    def html(self) -> str:
        """The page. All texts are escaped; the browser runs only the script whose hash the page itself names."""
        script, style = _script(), _asset("style.css")
        return str(
            _template().render(
                report=self,
                sections=[(f"section-{n}", _KINDS[type(s)], s) for n, s in enumerate(self.sections, 1)],
                script=script,
                style=style,
                script_hash=_sha256(script),
                style_hash=_sha256(style),
                version=__version__,
            )
        )

    def write(self, path: str | Path, *, max_bytes: int = MAX_BYTES) -> Path:
        """Writes the page, whole or not at all.

        Args:
            path: The file; its folder is made if it is missing.
            max_bytes: Largest file that is written. Several viewers have to share it: see ``max_bytes`` of
                :class:`~suprem.report.viewer.ViewerBuilder`.

        Raises:
            OutputError: the page is larger, or the place cannot be written.
        """
        content = self.html().encode()
        if len(content) > max_bytes:
            viewers = [s.packed_bytes for s in self.sections if isinstance(s, Viewer)]
            raise OutputError(
                f"{path} would take {len(content)} bytes, {sum(viewers)} of them for {len(viewers)} scan(s); "
                f"{max_bytes} are allowed. Show fewer scans, give each viewer fewer bytes, or allow more."
            )
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return Path(path)


def _asset(name: str) -> str:
    return (files("suprem.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))

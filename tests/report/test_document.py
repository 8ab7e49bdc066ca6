"""The page as text: what is in it, what can never be in it, and how large it may be."""

import base64
import hashlib
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from suprem.errors import ConfigurationError, OutputError
from suprem.report import Picture, Report, StructureRow, Table, Text, ViewerBuilder
from suprem.report.table import Estimate
from suprem.volumes import Volume

HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</script><script>window.pwned=1</script>",
    "'-window.pwned-'",
    "{{ 7 * 7 }}",
    "<!--",
    "line\u2028separator\x00",
)


class Elements(HTMLParser):
    """All start tags with their attributes, and the text of each script and style."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    )


def full_report(word: str = "case") -> Report:
    """One section of each kind, with ``word`` wherever a caller's text goes."""
    ct = Volume(np.random.default_rng(0).integers(-100, 200, (12, 10, 8), dtype=np.int16), np.eye(4), word)
    builder = ViewerBuilder(ct, title=word, note=word)
    builder.add(word, ct.array > 50, layer=word)
    viewer = builder.build(
        [StructureRow(word, {word: word}, (word, (word, word))), StructureRow(f"{word} 2", {}, (word,))]
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><text>{word}</text><script>window.pwned=1</script></svg>"
    sections = [
        viewer,
        Text(f"{word}\n\n{word}", word, "note"),
        Table((word, "DSC"), [(word, 0.9), (None, float("nan"))], word, word),
        Picture(png(), word, word, word),
        Picture(svg, word, word, word),
    ]
    return Report(word, sections, {word: word, "nested": {word: [word, {word: word}]}}, word)


def test_one_page_without_a_single_address() -> None:
    page = full_report().html()
    assert "://" not in page
    elements = Elements(page)
    for tag, attributes in elements.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, name, value)
    assert "url(" not in elements.raw["style"][0]
    assert "@import" not in elements.raw["style"][0]


def test_the_policy_allows_this_script_and_style_and_nothing_else() -> None:
    elements = Elements(full_report().html())
    (policy,) = [m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    programs = [
        text
        for text, attributes in zip(elements.raw["script"], elements.all("script"), strict=True)
        if "type" not in attributes
    ]
    assert len(programs) == 1
    assert len(elements.raw["style"]) == 1

    def stated(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": stated(programs[0]),
        "style-src": stated(elements.raw["style"][0]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("word", HOSTILE)
def test_names_stay_names(word: str) -> None:
    """The same elements and attributes whatever the names are, and every name is read back as it was."""
    page = full_report(word).html()
    hostile, harmless = Elements(page), Elements(full_report().html())
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert [sorted(a) for _, a in hostile.tags] == [sorted(a) for _, a in harmless.tags]
    assert hostile.raw["script"][-1] == harmless.raw["script"][-1]
    assert not [a for _, a in hostile.tags if any(name.startswith("on") for name in a)]
    shown = word.replace("\x00", "\ufffd")  # as HTML reads it
    assert {word, shown} & {text.strip("\n") for text in hostile.text}
    assert any(a.get("alt") in (word, shown) for a in hostile.all("img"))


def test_no_style_attributes_which_the_policy_would_drop() -> None:
    assert not [a for _, a in Elements(full_report().html()).tags if "style" in a]


def test_form_controls_and_pictures_have_names() -> None:
    elements = Elements(full_report().html())
    for attributes in elements.all("canvas") + elements.all("select"):
        assert attributes.get("aria-label")
    assert all(a.get("alt") for a in elements.all("img"))
    assert elements.all("html")[0]["lang"] == "en"
    # A range without a name of its own stands in a label.
    bare = [a for a in elements.all("input") if not a.get("aria-label")]
    assert len(bare) == len(elements.all("label")) == 3


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    report = full_report()
    path = report.write(tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == report.html()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    size = path.stat().st_size
    with pytest.raises(OutputError, match=rf"would take {size} bytes, .* for 1 scan.*; {size - 1} are allowed"):
        report.write(tmp_path / "small.html", max_bytes=size - 1)
    assert not (tmp_path / "small.html").exists()
    assert report.write(tmp_path / "small.html", max_bytes=size).stat().st_size == size


def test_the_same_content_gives_the_same_page() -> None:
    assert full_report().html() == full_report().html()


def test_cells_of_a_table() -> None:
    table = Table(("a", "b"), [(3, 0.12345), (None, 123.4), (True, float("inf")), ("x", 12.34)], digits={"a": 1})
    texts = [[shown[0] for shown in row] for row in table.shown]
    assert texts == [["3.0", "0.123"], ["-", "123"], ["yes", "inf"], ["x", "12.3"]]
    assert [row[1][1] for row in table.shown] == ["0.12345", "123.4", "1e999", "12.34"]
    assert table.shown[1][0][1] == ""
    assert table.numeric == [True, True]


def test_estimates_in_a_table() -> None:
    cells = [Estimate(0.9123, 0.0151, p_value=0.003), Estimate(12.34), None]
    table = Table(("strategy", "DSC"), [(name, cell) for name, cell in zip("abc", cells, strict=True)])
    assert [row[1][:2] for row in table.shown] == [("0.912 ± 0.015 **", "0.9123"), ("12.3", "12.34"), ("-", "")]
    assert table.numeric == [False, True]


def test_provenance_is_shown_to_the_last_level() -> None:
    facts = {"model": {"name": "unet", "classes": ["liver", "spleen"], "steps": [{"spacing": 1.5}]}, "none": None}
    text = " ".join(" ".join(Elements(Report("t", [], facts).html()).text).split())
    for words in ("model name unet", "classes liver, spleen", "spacing 1.5", "none -"):
        assert words in text
    assert "Provenance" not in Report("t", []).html()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Table(("a", "b"), [(1, 2), (1,)]), "Row 1 of the table .* has 1 cells for 2 columns"),
        (lambda: Picture(b"GIF89a", "x"), "neither the bytes of a PNG"),
        (lambda: Picture("<p>no picture</p>", "x"), "nor the text of an SVG"),
    ],
)
def test_what_cannot_be_shown(make, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_assets_are_readable() -> None:
    """Own code, not a bundle: short lines, short files."""
    folder = Path(__file__).resolve().parents[2] / "src" / "suprem" / "report" / "assets"
    for path in folder.glob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, path.name
        assert max(map(len, lines)) <= 140, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", "\n".join(lines))

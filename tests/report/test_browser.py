"""The page in headless Chromium: it shows what the scan holds, and does what its help says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from suprem.report import Report, StructureRow, Table, ViewerBuilder
from suprem.report.companding import compand, expand
from suprem.volumes import Volume
from tests.report.browser import chromium
from tests.report.test_document import HOSTILE, full_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

# A scan whose axes run to the left, the back and the head, so that nothing fits by accident.
SHAPE, SPACING_MM = (60, 48, 30), (2.0, 2.0, 3.0)
LIVER, SPLEEN, BONE = 100, 160, 700
SOFT_TISSUE, LUNG = (40, 400), (-600, 1500)


def make_scan() -> tuple[Volume, dict[str, np.ndarray]]:
    """Body with a liver on the patient's right, a spleen on the left further up, and a bone without a mask."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[5:55, 5:43, :] = 0
    liver, spleen = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    liver[8:24, 10:26, 6:16] = True  # axis 0 runs to the left: low is right
    spleen[40:50, 24:34, 18:26] = True
    hu[liver], hu[spleen] = LIVER, SPLEEN
    hu[26:34, 36:42, :] = BONE
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    return Volume(hu, affine, "made up"), {"liver": liver, "spleen": spleen}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ct, masks = make_scan()
    builder = ViewerBuilder(ct)
    for name, mask in masks.items():
        builder.add(name, mask)
        builder.add(name, np.roll(mask, 4, axis=2), layer="reference")
    rows = [
        StructureRow("liver", {"Volume (ml)": 30.7, "Mean HU": 100.0}),
        StructureRow("spleen", {"Volume (ml)": 9.6, "Mean HU": 160.0}, (("cut", "It touches the border."),)),
        StructureRow("colon", {"Volume (ml)": 0.0, "Mean HU": None}),
    ]
    scores = Table(("case", "DSC"), [("b", 0.2), ("a", None), ("c", 0.9)], "Scores")
    report = Report("made up", [builder.build(rows), scores], {"model": "none"})
    return report.write(tmp_path_factory.mktemp("page") / "report.html")


# Closed with this module: while it runs, playwright keeps an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a file; afterwards no message may stand in the console and nothing else may have been asked for."""
    contexts: list[BrowserContext] = []
    messages: list[str] = []
    requests: list[str] = []

    def open_page(path: Path, **options: Any) -> "Page":
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".viewer[data-state=ready]", timeout=30000)
        requests.remove(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == []


def settle(page: "Page") -> None:
    """Waits until what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def place(page: "Page", plane: str, voxel: tuple[int, int, int]) -> tuple[float, float]:
    """Where a voxel of the scan is drawn, in CSS pixels of the canvas; worked out anew, from the help text."""
    box = page.locator(f"[data-plane={plane}] canvas").evaluate("c => [c.clientWidth, c.clientHeight]")
    x, y, z = voxel
    across, up = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    size = [n * s for n, s in zip(SHAPE, SPACING_MM, strict=True)]
    scale = min(box[0] / size[across], box[1] / size[up])
    # Right and front are on the left; the scan's first two axes run to the left and the back. Head and front are up.
    column = (x, y)[across] + 0.5
    row = SHAPE[2] - z - 0.5 if up == 2 else y + 0.5
    left = (box[0] - size[across] * scale) / 2
    top = (box[1] - size[up] * scale) / 2
    return left + column * SPACING_MM[across] * scale, top + row * SPACING_MM[up] * scale


def read(page: "Page", plane: str, x: float, y: float, width: int = 1) -> list[list[int]]:
    """Red, green and blue of a row of canvas pixels from a place in CSS pixels on, read from a copy."""
    flat = page.locator(f"[data-plane={plane}] canvas").evaluate(
        """(c, [x, y, width]) => {
            const ratio = c.width / c.clientWidth;
            const copy = new OffscreenCanvas(width, 1).getContext("2d", { willReadFrequently: true });
            copy.drawImage(c, -Math.floor(x * ratio), -Math.floor(y * ratio));
            return [...copy.getImageData(0, 0, width, 1).data];
        }""",
        [x, y, width],
    )
    return [flat[i : i + 3] for i in range(0, len(flat), 4)]


def pixel(page: "Page", plane: str, voxel: tuple[int, int, int]) -> tuple[int, int, int]:
    """Colour of the canvas in the middle of a voxel."""
    (found,) = read(page, plane, *place(page, plane, voxel))
    return found[0], found[1], found[2]


def grey(hu: int, window: tuple[int, int]) -> int:
    level, width = window
    shown = float(expand(compand(np.array(hu))))
    return round(255 * min(1.0, max(0.0, (shown - level + width / 2) / width)))


def click(page: "Page", plane: str, voxel: tuple[int, int, int], **options: Any) -> None:
    x, y = place(page, plane, voxel)
    page.locator(f"[data-plane={plane}] canvas").click(position={"x": x, "y": y}, **options)
    page.mouse.move(1, 1)
    settle(page)


def position(page: "Page") -> tuple[int, int, int]:
    """The cross-hair as the captions state it, on the scan's own axes."""
    texts = [page.text_content(f"[data-plane={p}] .plane-position") for p in ("sagittal", "coronal", "axial")]
    words = [str(text).split() for text in texts]
    assert [word[0] for word in words] == ["x", "y", "z"]
    assert [int(word[3]) for word in words] == list(SHAPE)
    return int(words[0][1]), int(words[1][1]), int(words[2][1])


IN_LIVER, IN_SPLEEN, IN_BONE, IN_BODY = (15, 18, 10), (45, 29, 10), (30, 39, 10), (30, 12, 10)


def test_every_plane_shows_the_voxels_of_the_scan(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", (15, 39, 10))  # a coronal plane without liver
    click(page, "axial", IN_LIVER)
    press(page, "o", "x")
    assert position(page) == IN_LIVER
    for hu, voxel in ((LIVER, IN_LIVER), (BONE, IN_BONE), (0, IN_BODY), (-1000, (2, 2, 10)), (0, IN_SPLEEN)):
        assert pixel(page, "axial", voxel) == (grey(hu, SOFT_TISSUE),) * 3, voxel
    for plane in ("coronal", "sagittal"):
        assert pixel(page, plane, (15, 18, 8)) == (grey(LIVER, SOFT_TISSUE),) * 3
        assert pixel(page, plane, (15, 18, 24)) == (grey(0, SOFT_TISSUE),) * 3
    click(page, "coronal", (45, 18, 22))
    click(page, "sagittal", (45, 29, 22))
    assert position(page) == (45, 29, 22)
    assert pixel(page, "axial", (45, 29, 22)) == (grey(SPLEEN, SOFT_TISSUE),) * 3


def test_overlays_toggle(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", IN_LIVER)
    press(page, "x")
    plain = (grey(LIVER, SOFT_TISSUE),) * 3
    color = page.locator("tr[data-structure='0'] .swatch").get_attribute("data-color") or ""
    expected = [0.65 * g + 0.35 * int(color[i : i + 2], 16) for g, i in zip(plain, (1, 3, 5), strict=True)]
    np.testing.assert_allclose(pixel(page, "axial", IN_LIVER), expected, atol=2)
    bone = pixel(page, "axial", IN_BONE)
    press(page, "o")
    assert page.get_attribute(".overlays", "aria-pressed") == "false"
    assert pixel(page, "axial", IN_LIVER) == plain
    assert pixel(page, "axial", IN_BONE) == bone
    page.click(".overlays")
    settle(page)
    np.testing.assert_allclose(pixel(page, "axial", IN_LIVER), expected, atol=2)
    page.uncheck("tr[data-structure='0'] input")  # the liver alone
    settle(page)
    assert pixel(page, "axial", IN_LIVER) == plain
    press(page, "PageUp")
    assert pixel(page, "axial", (45, 29, 20)) != (grey(SPLEEN, SOFT_TISSUE),) * 3
    page.click(".none")
    settle(page)
    assert pixel(page, "axial", (45, 29, 20)) == (grey(SPLEEN, SOFT_TISSUE),) * 3
    page.click(".all")
    press(page, "PageDown", "]", "]")
    assert page.text_content(".opacity-value") == "55 %"
    stronger = [0.45 * g + 0.55 * int(color[i : i + 2], 16) for g, i in zip(plain, (1, 3, 5), strict=True)]
    np.testing.assert_allclose(pixel(page, "axial", IN_LIVER), stronger, atol=2)


def test_layers_switch(page_file: Path, visit: "Callable[..., Page]") -> None:
    """The reference lies four slices further up."""
    page = visit(page_file)
    click(page, "axial", IN_LIVER)
    press(page, "x", "PageUp")
    press(page, *["ArrowDown"] * 2)
    assert position(page)[2] == 18
    plain = (grey(0, SOFT_TISSUE),) * 3
    assert pixel(page, "axial", IN_LIVER) == plain
    page.select_option(".layers", "1")
    settle(page)
    assert pixel(page, "axial", IN_LIVER) != plain
    page.select_option(".layers", "all")  # of the second the outline alone, in white
    settle(page)
    assert pixel(page, "axial", IN_LIVER) == plain
    x, y = place(page, "axial", (8, 18, 18))
    assert max(min(color) for color in read(page, "axial", x - 10, y, 20)) > 220


def test_paging_by_keys_wheel_and_slider(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", IN_LIVER)
    press(page, "ArrowUp")
    assert position(page) == (15, 18, 11)
    press(page, "PageUp", "ArrowDown", "ArrowDown")
    assert position(page) == (15, 18, 19)
    press(page, "PageUp", "PageUp")
    assert position(page) == (15, 18, 29)  # the end
    before = pixel(page, "axial", IN_SPLEEN)
    page.locator("[data-plane=axial] canvas").hover()
    page.mouse.wheel(0, 100)
    settle(page)
    assert position(page)[2] == 28
    for _ in range(8):
        page.mouse.wheel(0, 100)
    settle(page)
    assert position(page)[2] == 20
    assert pixel(page, "axial", IN_SPLEEN) != before
    page.mouse.move(1, 1)
    press(page, "ArrowRight", "ArrowUp")  # the coronal plane, towards the front: down on the scan's own axis
    assert position(page) == (15, 17, 20)
    page.locator("[data-plane=sagittal] .pager").fill("5")
    settle(page)
    assert position(page)[0] == SHAPE[0] - 1 - 5


def test_windows(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", IN_LIVER)
    press(page, "o", "x", "2")
    assert page.get_attribute(".presets button:nth-child(2)", "aria-pressed") == "true"
    assert pixel(page, "axial", (2, 2, 10)) == (grey(-1000, LUNG),) * 3
    assert page.text_content(".level-value") == "-600 HU"
    page.click("text=Bone")
    settle(page)
    assert pixel(page, "axial", IN_BONE) == (grey(BONE, (400, 1800)),) * 3
    x, y = place(page, "axial", IN_LIVER)
    box = page.locator("[data-plane=axial] canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + x + 50, box["y"] + y - 100)
    page.mouse.up(button="right")
    settle(page)
    assert page.text_content(".level-value") == "200 HU"
    assert page.text_content(".width-value") == "1900 HU"
    assert position(page) == IN_LIVER  # dragging the window moves nothing
    page.mouse.move(1, 1)
    assert pixel(page, "axial", IN_BONE) == (grey(BONE, (200, 1900)),) * 3


def test_a_row_leads_to_its_organ_and_back(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", (2, 2, 10))
    assert page.locator("tr.here").count() == 0
    page.click("tr[data-structure='1'] td:nth-child(3)")
    settle(page)
    found = position(page)
    assert make_scan()[1]["spleen"][found]
    # Its middle: half-way between the two voxels at the centre, on either side.
    assert np.abs(np.array(found) - (44.5, 28.5, 21.5)).max() <= 0.5
    assert page.locator("tr.selected").get_attribute("data-structure") == "1"
    assert "spleen" in str(page.text_content(".readout"))
    assert "about 160 HU" in str(page.text_content(".readout"))
    sentence = page.get_by_text("It touches the border.").locator("visible=true")
    assert sentence.count() == 0
    page.click(".flags-column summary")
    assert sentence.count() == 1
    page.focus("tr[data-structure='0'] .go")
    press(page, "Enter")
    assert make_scan()[1]["liver"][position(page)]
    click(page, "axial", IN_LIVER)
    assert page.locator("tr.here").get_attribute("data-structure") == "0"


def test_enlarging_and_zooming_keep_the_place(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    click(page, "axial", IN_LIVER)

    def width(plane: str) -> int:
        return int(page.locator(f"[data-plane={plane}] canvas").evaluate("c => c.clientWidth"))

    assert width("axial") > width("coronal")
    page.click("[data-plane=coronal] .enlarge")
    settle(page)
    assert width("coronal") > width("axial") > 100
    press(page, "o", "x")
    assert pixel(page, "coronal", IN_LIVER) == (grey(LIVER, SOFT_TISSUE),) * 3
    page.locator("[data-plane=axial] canvas").dblclick()
    click(page, "axial", IN_LIVER)
    press(page, *["+"] * 6)
    assert pixel(page, "axial", IN_BODY)[0] == grey(LIVER, SOFT_TISSUE)  # magnified: the liver fills the view
    press(page, "0")
    press(page, "o", "x")
    assert pixel(page, "axial", IN_BODY)[0] == grey(0, SOFT_TISSUE)


def test_no_width_needs_scrolling_sideways(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    for width, height in ((320, 640), (390, 844), (820, 1180), (1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for plane in ("axial", "coronal", "sagittal"):
            box = page.locator(f"[data-plane={plane}] canvas").bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) > 100
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_touch_on_a_phone(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(
        page_file, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=3
    )
    x, y = place(page, "axial", IN_BONE)
    page.locator("[data-plane=axial] canvas").tap(position={"x": x, "y": y})
    settle(page)
    assert position(page)[:2] == IN_BONE[:2]
    page.locator(".presets button", has_text="Lung").tap()
    page.locator("tr[data-structure='1'] .go").tap()
    settle(page)
    assert make_scan()[1]["spleen"][position(page)]
    assert page.text_content(".level-value") == "-600 HU"
    assert page.locator("tr[data-structure='1'] .flags-below").is_visible()


def test_help_opens_and_closes(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)
    press(page, "?")
    assert page.locator("#help").is_visible()
    where = position(page)
    press(page, "ArrowUp")
    assert position(page) == where  # the viewer gets no keys meanwhile
    press(page, "Escape")
    assert not page.locator("#help").is_visible()
    page.click(".help")
    assert page.locator("#help").is_visible()


def test_tables_sort(page_file: Path, visit: "Callable[..., Page]") -> None:
    page = visit(page_file)

    def column(number: int) -> list[str]:
        return page.locator(f".table tbody td:nth-child({number})").all_text_contents()

    assert column(1) == ["b", "a", "c"]
    page.click(".table th:nth-child(1) .sort")
    assert column(1) == ["a", "b", "c"]
    page.click(".table th:nth-child(2) .sort")
    assert column(1) == ["b", "c", "a"]  # no score comes last,
    page.click(".table th:nth-child(2) .sort")
    assert column(1) == ["c", "b", "a"]  # also downwards
    assert page.get_attribute(".table th:nth-child(2)", "aria-sort") == "descending"
    page.click(".structures th:nth-child(3) .sort")
    page.click(".structures th:nth-child(3) .sort")
    page.click(".structures tbody tr:nth-child(1) .go")  # rows stay linked
    settle(page)
    assert make_scan()[1]["liver"][position(page)]


def test_hostile_names_do_nothing(visit: "Callable[..., Page]", tmp_path: Path) -> None:
    word = " ".join(HOSTILE)
    page = visit(full_report(word).write(tmp_path / "report.html"))
    assert page.evaluate("window.pwned") is None
    assert page.text_content("h1") == word.replace("\x00", "")
    assert page.locator("section").count() == 6
    page.click("tr[data-structure='0'] .go")
    settle(page)
    assert page.evaluate("window.pwned") is None


def test_damaged_data_are_said(page_file: Path, browser: "Browser", tmp_path: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    start = text.index('id="section-1-ct">') + len('id="section-1-ct">')
    broken = tmp_path / "broken.html"
    broken.write_text(text[:start] + "AAAA" + text[start + 4 :], encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(broken.as_uri())
    page.wait_for_selector(".viewer[data-state=failed]", timeout=30000)
    assert str(page.text_content(".loading")) not in ("", "Unpacking the scan …")
    page.click(".table th:nth-child(1) .sort")  # the rest of the page works
    assert page.locator(".table tbody td:nth-child(1)").all_text_contents() == ["a", "b", "c"]
    context.close()


def test_two_viewers_get_their_own_keys(visit: "Callable[..., Page]", tmp_path: Path) -> None:
    ct, _ = make_scan()
    report = Report("two", [ViewerBuilder(ct, title="a").build(), ViewerBuilder(ct, title="b").build()])
    page = visit(report.write(tmp_path / "report.html"))
    page.wait_for_selector("html[data-state=ready]")

    def slices() -> list[str]:
        return page.locator("[data-plane=axial] .plane-position").all_text_contents()

    assert slices() == ["z 15 of 30"] * 2
    page.locator("#section-2 [data-plane=axial] canvas").focus()
    press(page, "ArrowUp")
    assert slices() == ["z 15 of 30", "z 16 of 30"]
    page.locator("#section-1 [data-plane=axial] canvas").focus()
    press(page, "PageDown")
    assert slices() == ["z 5 of 30", "z 16 of 30"]

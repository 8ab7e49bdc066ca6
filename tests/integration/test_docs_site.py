"""The built documentation in headless Chromium, as wide as a desktop and as narrow as a phone."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.report.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
PAGES = ("index.html", "get-started/index.html", "how-to/segment-a-folder.html", "explanation/streaming-inference.html")
PAGES += ("reference/generated/benchmarks.html", "reference/generated/command-line.html", "reproduce/index.html")

pytestmark = pytest.mark.slow


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing about requests."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Address of the site; the search fetches its index, which a browser refuses from files."""
    if not (SITE / "index.html").is_file():
        pytest.skip("the documentation is not built; run `make docs` first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as found:
        yield found


@pytest.fixture(params=WIDTHS)
def page(browser: "Browser", request: pytest.FixtureRequest) -> "Iterator[Page]":
    """A page that fails the test where the console shows an error or anything is asked of another host."""
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("requestfailed", lambda asked: problems.append(asked.url))
    opened.on("request", lambda asked: None if "//127.0.0.1:" in asked.url else problems.append(asked.url))
    yield opened
    context.close()
    assert not problems


def _fits(page: "Page") -> bool:
    """Nothing but tables and code, which scroll on their own, is wider than the window."""
    found: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_and_fits(site: str, page: "Page", name: str) -> None:
    page.goto(f"{site}/{name}")
    assert page.locator("h1").first.is_visible()
    assert _fits(page)
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    assert broken == []


def test_navigation(site: str, page: "Page") -> None:
    page.goto(f"{site}/index.html")
    link = page.locator(".sidebar-tree a", has_text="How-to").first
    if page.viewport_size is not None and page.viewport_size["width"] < 500:
        assert not link.is_visible() or link.bounding_box()["x"] < 0  # type: ignore[index]
        page.locator("label.nav-overlay-icon").first.click()
        page.wait_for_timeout(500)  # until the drawer has slid in
    link.click()
    page.wait_for_url("**/how-to/index.html")
    assert "how-to" in page.url


def test_search(site: str, page: "Page") -> None:
    page.goto(f"{site}/search.html?q=importance+score")
    page.locator("#search-results li a").first.wait_for(timeout=20_000)
    targets = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    assert any("explanation/importance-score" in target for target in targets)

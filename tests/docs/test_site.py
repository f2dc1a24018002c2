"""The documents as a site: it is built without a warning and without a network, and asks nobody for anything."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from blocks import prose
from lxml import html

import browser
import labwaiter
from browser import Browser
from here import ROOT
from lab import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
in_a_browser = pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium is here")
PAGES_OF_DOCUMENTS = {"README.md": "index.html"} | {
    str(page.relative_to(ROOT)): str(page.relative_to(ROOT / "docs").with_suffix(".html"))
    for page in (ROOT / "docs").rglob("*.md")
    if page.name != "README.md"
}
PAGES = ("index", "guide", "services", "instruments", "architecture", "api/labwaiter", "decisions/index")


def built(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """What docs/build says, and the site in that folder."""
    return subprocess.run([*before, ROOT / "docs" / "build", folder], capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site as docs/build makes it. Any warning had ended it."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The address of the site on a web server of this machine."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def test_it_is_built_without_a_network(site: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("a namespace without a network takes rights")
    done = built(tmp_path / "site", "unshare", "--net")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_each_link_leads_to_a_page_and_a_section_of_it(site: Path) -> None:
    pages = {page: html.fromstring(page.read_bytes()) for page in site.rglob("*.html") if page.name != "404.html"}
    named = {page: {*tree.xpath("//@id"), *tree.xpath("//a/@name")} for page, tree in pages.items()}
    for page, tree in pages.items():
        for target in tree.xpath("//@href | //@src"):
            if re.match(r"(https?|mailto|data|javascript):", target):
                continue
            name, _, section = unquote(target).partition("#")
            path = (page.parent / name).resolve() if name else page
            path = path / "index.html" if path.is_dir() else path
            assert path.is_file() and path.is_relative_to(site), f"{page.relative_to(site)}: {target}"
            if section and path in named and not section.startswith("__"):
                assert section in named[path], f"{page.relative_to(site)}: {target}"


def test_nothing_that_it_shows_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        tree = html.fromstring(page.read_bytes())
        for target in tree.xpath("//@src | //link/@href | //@srcset | //iframe/@src | //object/@data"):
            assert not re.match(r"(https?:)?//", target), f"{page.relative_to(site)}: {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text()), style.name


def test_no_markdown_is_left_over(site: Path) -> None:
    for page in site.rglob("*.html"):
        tree = html.fromstring(page.read_bytes())
        for code in tree.xpath("//pre | //code | //script | //style"):
            code.drop_tree()
        text = tree.text_content()
        for left in ("```", "| --- |", "](", "<!--", ":::"):
            assert left not in text, f"{page.relative_to(site)}: {text[max(0, text.index(left) - 60) :][:200]}"


def test_what_a_document_lists_is_listed(site: Path) -> None:
    for document in PAGES_OF_DOCUMENTS:
        page = site / PAGES_OF_DOCUMENTS[document]
        items = re.findall(r"^ *(?:[-*]|\d+\.) ", prose(ROOT / document), re.M)
        assert len(html.fromstring(page.read_bytes()).xpath("//article//li")) == len(items), document


def test_all_that_can_be_imported_is_told(site: Path) -> None:
    told = html.fromstring((site / "api" / "labwaiter.html").read_bytes())
    for name in labwaiter.__all__:
        if name != "Client":  # it has a page of its own
            assert told.xpath(f"//*[@id='labwaiter.{name}']"), name
    client = html.fromstring((site / "api" / "client.html").read_bytes())
    assert client.xpath("//*[@id='labwaiter.client.Client.start']")


@in_a_browser
@pytest.mark.parametrize("page", PAGES)
def test_it_opens_from_a_disk_and_asks_for_nothing_else(site: Path, chromium: Browser, page: str) -> None:
    window = chromium.window()
    window.go((site / f"{page}.html").as_uri())
    assert window.problems == []
    assert [asked for asked in window.requests if not asked.startswith((site.as_uri(), "data:"))] == []


@in_a_browser
@pytest.mark.parametrize("page", PAGES)
def test_it_fits_on_a_phone(served: str, chromium: Browser, page: str) -> None:
    window = chromium.window(390, 844, phone=True)
    window.go(f"{served}{page}.html")
    assert window.problems == []
    assert [asked for asked in window.requests if not asked.startswith((served, "data:"))] == []
    assert window.evaluate("document.documentElement.scrollWidth") <= 390


@in_a_browser
def test_it_is_searched_also_from_a_disk(site: Path, chromium: Browser) -> None:
    window = chromium.window()
    window.go((site / "index.html").as_uri())
    window.evaluate("document.querySelector('.md-search__button').click()")
    window.settle()
    window.type("unpolled")
    found = "[...document.querySelectorAll('body *')].map(e => e.shadowRoot?.textContent ?? '').join()"
    eventually(lambda: " results" in (said := window.evaluate(found)) and "unpolled = SECONDS" in said)
    assert window.problems == []

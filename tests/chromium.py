"""Windows of a real Chromium, for the pages that people see: Playwright tells it what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from callers import Web
from lab import PATIENCE

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium."""
    if BROWSER is None:
        pytest.skip("no Chromium is here")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield one
        one.close()


class Screen:
    """A window of a browser, and what its page did that it may not."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, path: str = "") -> Any:
        """Open a page of ours."""
        self.page.goto(f"{self.url}/{path}")
        return self.page

    def see(self, words: str, within: str = "body") -> None:
        """Until these words stand there."""
        from playwright.sync_api import expect

        expect(self.page.locator(within).first).to_contain_text(words, timeout=1000 * PATIENCE)


@pytest.fixture
def open_screen(browser: Any) -> Iterator[Callable[..., Screen]]:
    """Open a window before a deployment."""
    opened: list[Screen] = []

    def make(web: Web, **context: Any) -> Screen:
        opened.append(Screen(browser, web.url, **context))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()

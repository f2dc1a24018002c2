"""The operator's page as an operator has it: a deployment with simulated instruments, and Chromium before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from the_bench import LAB, services

from callers import Web
from lab import PATIENCE, Lab

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def make_standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[Lab, Web]]]:
    """A deployment with two instruments, and its web side."""
    made: list[tuple[Lab, Web]] = []

    def make(**settings: str) -> tuple[Lab, Web]:
        folder = tmp_path_factory.mktemp("operator")
        (folder / "lab.toml").write_text(LAB)
        lab = Lab(folder / "jobs", services(folder / "services"), LAB=str(folder / "lab.toml"), **settings)
        lab.supervise()
        made.append((lab, Web(lab)))
        return made[-1]

    yield make
    for lab, web in made:
        web.close()
        lab.close()


@pytest.fixture(scope="session")
def standing(make_standing: Callable[..., tuple[Lab, Web]]) -> tuple[Lab, Web]:
    """One where no token is asked for."""
    return make_standing(TOKENS="")


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


@pytest.fixture
def screen(open_screen: Callable[..., Screen], standing: tuple[Lab, Web]) -> Screen:
    """A window before the deployment that asks for no token. Nothing on its page may be refused by the browser."""
    return open_screen(standing[1])

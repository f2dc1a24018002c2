"""The buttons of a status page in a portal's frame, sandboxed in each way, pressed in a real Chromium."""

from __future__ import annotations

import base64
import http.client
import importlib.resources
import threading
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import pytest

from callers import Reply, Web, envelope
from lab import PATIENCE, Lab
from labwaiter.model.caller import SHELL

pytestmark = pytest.mark.slow
OWN = """<!DOCTYPE html><html><!-- <head> --><head lang="en"><meta charset="utf-8"><title>mine</title></head><body>
<h1>Müll</h1><button onclick="notify_running_job('PAUSE').then(said => document.title = said)">hold on</button>
</body></html>"""


class Portal:
    """Another site, that shows a status page in a frame as portals do."""

    def __init__(self) -> None:
        portal = self
        self.html = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = portal.html.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def shows(self, page: str, sandbox: str | None, by_data: bool = False) -> None:
        """Have it show a page. `sandbox`: of its frame; None: it has none."""
        boxed = "" if sandbox is None else f' sandbox="{sandbox}"'
        source = f'srcdoc="{escape(page)}"'
        if by_data:
            source = f'src="data:text/html;charset=utf-8;base64,{base64.b64encode(page.encode()).decode()}"'
        self.html = f'<!DOCTYPE html><title>portal</title><iframe name="job"{boxed} width="700" height="600" {source}>'


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    one = Portal()
    yield one
    one.server.shutdown()
    one.server.server_close()


def polled(web: Web, service: str, service_id: str) -> str:
    """The status page, as a workflow manager that calls this address gets it."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    body = envelope("getServiceStatus", serviceID=service_id, sessionToken="a token")
    line.request("POST", f"{web.lab.settings.context_root}/{service}", body, {"Content-Type": "text/xml"})
    answer = line.getresponse()
    reply = Reply(str(answer.status), dict(answer.getheaders()), answer.read())
    return base64.b64decode(reply["status_base64"]).decode()


Shown = Callable[..., tuple[Any, Any]]


@pytest.fixture
def shown(open_screen: Any, standing: tuple[Lab, Web], portal: Portal) -> Shown:
    """Start an execution and show its page: the frame in the portal, and the window."""
    lab, web = standing

    def show(
        service_id: str, sandbox: str | None, service: str = "Steered", by_data: bool = False, own: str = "", **how: Any
    ) -> tuple[Any, Any]:
        lab.start(service, service_id, own=own)
        lab.when(service_id, lambda: lab.status_progress(service_id).stage)
        portal.shows(polled(web, service, service_id), sandbox, by_data)
        screen = open_screen(web, **how)
        screen.page.goto(portal.url)
        frame = screen.page.frame_locator("iframe")
        frame.locator("h1").wait_for()
        return frame, screen

    return show


def sees(place: Any, words: str) -> None:
    """Until these words stand there."""
    from playwright.sync_api import expect

    expect(place.first).to_contain_text(words, timeout=1000 * PATIENCE)


def messages(lab: Lab, service_id: str) -> tuple[str, ...]:
    return lab.jobs.view(service_id, SHELL).messages


WAYS = {
    "allow-scripts": "allow-scripts",
    "allow-forms": "allow-forms",
    "both": "allow-scripts allow-forms",
    "no sandbox": None,
}


@pytest.mark.parametrize("by_data", [False, True], ids=["srcdoc", "data"])
@pytest.mark.parametrize("way", WAYS)
def test_buttons_work_in_the_frame(shown: Shown, standing: tuple[Lab, Web], way: str, by_data: bool) -> None:
    lab, name = standing[0], f"frame {way} {by_data}"
    frame, screen = shown(name, WAYS[way], by_data=by_data)
    frame.get_by_role("button", name="PAUSE").click()
    sees(frame.locator("[role=status]"), "PAUSE: heard PAUSE")
    assert messages(lab, name) == ("PAUSE",)
    assert frame.locator("h1").inner_text() == "Steered"  # the page is there still
    frame.get_by_role("button", name="GO").press("Enter")
    sees(frame.locator("body"), "heard GO")
    assert str(lab.ended(name).state) == "completed"
    # where no script may run, Chromium says so
    assert [text for text in screen.wrong if not text.startswith("Blocked script execution")] == []


@pytest.mark.parametrize("way", WAYS)
def test_an_abort_takes_two_steps_and_no_script(shown: Shown, standing: tuple[Lab, Web], way: str) -> None:
    lab, name = standing[0], f"abort {way}"
    frame, _ = shown(name, WAYS[way])
    assert not frame.get_by_role("button", name="Abort it now").is_visible()
    frame.locator("summary", has_text="Abort…").click()
    frame.get_by_role("button", name="Abort it now").click()
    sees(frame.locator("[role=status]"), "It is over, and its instruments are safe.")
    assert str(lab.ended(name).state) == "aborted"


def test_a_frame_that_allows_nothing_is_told_in_words_what_to_send(shown: Shown, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    frame, _ = shown("nothing", "")
    frame.get_by_role("button", name="PAUSE").click()
    words = "send PAUSE or GO to Steered by notifyService, or end it by abortService, with the serviceID nothing."
    assert words in frame.locator(".by-hand").inner_text() and frame.locator(".by-hand").is_visible()
    assert messages(lab, "nothing") == ()


def test_words_about_it_are_not_shown_where_scripts_run(shown: Shown) -> None:
    frame, _ = shown("no words", "allow-scripts")
    assert not frame.locator(".by-hand").is_visible()


def test_who_presses_when_it_is_over_reads_that(shown: Shown, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    for name, sandbox in (("over by script", "allow-scripts"), ("over by form", "allow-forms")):
        frame, _ = shown(name, sandbox)
        lab.jobs.abort(None, name, SHELL)
        lab.ended(name)
        frame.get_by_role("button", name="PAUSE").click()
        sees(frame.locator("[role=status]"), "This execution is over (aborted)")


def test_a_deployment_that_is_away_is_told_and_so_is_what_to_send(shown: Shown) -> None:
    frame, screen = shown("away", "allow-scripts")
    screen.context.set_offline(True)
    frame.get_by_role("button", name="PAUSE").click()
    sees(frame.locator("[role=status]"), "No answer came")
    assert frame.locator(".by-hand").is_visible()


@pytest.mark.parametrize("service", ["Steered", "Plain"])
@pytest.mark.parametrize("way", ["allow-scripts", "both", "no sandbox"])
def test_a_programs_own_page_calls_notify_running_job(
    shown: Shown, standing: tuple[Lab, Web], way: str, service: str
) -> None:
    lab, name = standing[0], f"own {service} {way}"
    frame, screen = shown(name, WAYS[way], service, own=OWN, by_data=way == "both")
    assert frame.locator("h1").inner_text() == "Müll"
    assert frame.locator("body > *").count() == 3  # its own two, and what is seen without scripts
    frame.get_by_role("button", name="hold on").click()
    sees_title = screen.page.frame("job").wait_for_function("document.title == 'heard PAUSE'")
    assert sees_title and messages(lab, name) == ("PAUSE",) and screen.wrong == []


def test_a_programs_own_page_has_plain_buttons_where_no_script_may_run(shown: Shown, standing: tuple[Lab, Web]) -> None:
    frame, _ = shown("own form", "allow-forms", own=OWN)
    frame.get_by_role("button", name="PAUSE").click()
    sees(frame.locator("[role=status]"), "PAUSE: heard PAUSE")
    assert messages(standing[0], "own form") == ("PAUSE",)
    frame, _ = shown("own nothing", "", own=OWN)
    assert "by notifyService" in frame.locator(".by-hand").inner_text()


def test_the_operators_page_has_the_same_messages_as_buttons(screen: Any, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    for name, own in (("by operator", ""), ("by own page", OWN)):
        lab.start("Steered", name, own=own)
        lab.when(name, lambda name=name: lab.status_progress(name).stage)
        page = screen.go(f"operator/execution?id={quote(name)}")
        page.locator(".declared button", has_text="PAUSE").click()
        screen.see("It replied: heard PAUSE", "[role=status]")
        if not own:
            page.click("#status summary")
        frame = page.frame_locator("#status iframe")
        frame.get_by_role("button", name="hold on" if own else "PAUSE").click()
        lab.when(name, lambda name=name: len(messages(lab, name)) == 2)
    assert screen.wrong == []


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 900, "light"), (390, 800, "dark"), (700, 300, "light")])
def test_axe_finds_nothing_on_a_page_with_buttons(
    open_screen: Any, standing: tuple[Lab, Web], width: int, height: int, scheme: str
) -> None:
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")).joinpath("axe.min.js").read_text()
    (lab, web), name = standing, f"axe buttons {width}"
    lab.start("Steered", name)
    lab.when(name, lambda: lab.status_progress(name).stage)
    screen = open_screen(web, color_scheme=scheme)
    screen.page.set_viewport_size({"width": width, "height": height})
    screen.page.set_content(polled(web, "Steered", name))
    screen.page.locator("summary", has_text="Abort…").click()
    screen.page.evaluate(axe)
    found = screen.page.evaluate("axe.run()")["violations"]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []
    assert screen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""What a student's browser gets and keeps: whose session it has, what its forms may do, what is left at the end."""

from __future__ import annotations

import importlib.resources
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from benchlab import Plugged
from callers import Web
from callingsystem import System
from lab import PATIENCE, Lab, eventually
from labwaiter.model.lab_session import About
from labwaiter.verbs.sessions import Sessions
from remotelab import SYSTEM, alive, disposed, let_in, wish

pytestmark = pytest.mark.slow
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


class Browser:
    """One that keeps cookies as their attributes say, before the application in this process."""

    def __init__(self, call: Any, **settings: str) -> None:
        self.call, self.settings = call, settings
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    def go(self, path: str, form: dict[str, str] | None = None, **more: str) -> tuple[str, str, dict[str, str]]:
        """GET a page, or POST a form: the status, what came and the headers."""
        body = urlencode(form).encode() if form is not None else None
        query = more.pop("query", "")
        more = FORM | {"HTTP_COOKIE": "; ".join(f"{n}={v}" for n, v in self.cookies.items())} | more
        *_, reply = self.call(
            path, body, "POST" if form is not None else "GET", None, query=query, **more, **self.settings
        )
        if cookie := reply.headers.get("Set-Cookie"):
            self.set.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply.status, reply.body.decode(), reply.headers

    def key(self) -> str:
        """That of the page's forms."""
        found = re.search(r'name="form_key" value="([0-9a-f]+)"', self.go("/diode/page")[1])
        assert found is not None
        return found[1]


@pytest.fixture
def browser_of(call: Any) -> Callable[..., Browser]:
    return lambda **settings: Browser(call, **settings)


def test_a_callback_begins_a_session_in_the_browser_and_its_end_is_the_end_of_that(
    here: Lab, browser_of: Callable[..., Browser]
) -> None:
    session = let_in(here, back="https://portal.example/labs")
    ada, eve = browser_of(), browser_of()
    status, _, headers = ada.go(f"/diode/weblab/callback/{session.session_id}")
    assert status.startswith("303") and headers["Location"].endswith("/diode/page")
    [cookie] = ada.set
    assert "; HttpOnly" in cookie and "SameSite=Lax" in cookie and f"Path={here.settings.context_root}/diode;" in cookie
    assert "Secure" not in cookie and cookie.startswith("labwaiter_session_diode_")
    status, page, headers = ada.go("/diode/page")
    assert status == "200 OK" and session.session_id not in page and "frame-ancestors 'none'" in str(headers)
    assert ada.go(f"/diode/weblab/callback/{session.session_id}/poll")[1].startswith('{"success":true')
    with alive(here, session):  # a busy machine takes its time
        # somebody else has no session, and can't ask about another's
        assert eve.go("/diode/page")[0].startswith("403")
        assert eve.go(f"/diode/weblab/callback/{session.session_id}/poll")[0].startswith("403")
        assert eve.go(f"/diode/weblab/callback/{session.session_id}/logout")[0].startswith("403")
        assert Sessions(here.settings).status(session.session_id, SYSTEM).state == "running"
        assert ada.go(f"/diode/weblab/callback/{session.session_id}/logout", HTTP_SEC_FETCH_SITE="cross-site")[
            0
        ].startswith("403")
    assert ada.go(f"/diode/weblab/callback/{session.session_id}/logout")[1].startswith('{"success":true')
    assert Sessions(here.settings).gone(session.session_id, PATIENCE)
    # the id alone gives nothing any more; who was in still has the results, and the way back
    assert eve.go(f"/diode/weblab/callback/{session.session_id}")[0].startswith("403") and not eve.cookies
    status, page, _ = ada.go("/diode/page")
    assert "You have left the lab." in page and 'href="https://portal.example/labs"' in page and "readings.csv" in page
    assert ada.go("/diode/page/file/readings.csv")[1].startswith("time / s,")
    assert eve.go("/diode/page/file/readings.csv")[0].startswith("403")
    for name in ("..%2Fsession.json", "../readings.json", "nothing.csv"):
        assert ada.go(f"/diode/page/file/{name}")[0][:3] in ("404", "403"), name


def test_a_page_speaks_the_language_that_the_calling_system_says(here: Lab, browser_of: Callable[..., Browser]) -> None:
    session = let_in(here, locale="es_ES")
    ada = browser_of()
    ada.go(f"/diode/weblab/callback/{session.session_id}", HTTP_ACCEPT_LANGUAGE="de")
    status, page, _ = ada.go("/diode/page", HTTP_ACCEPT_LANGUAGE="de")
    assert '<html lang="es">' in page and "Tiempo restante" in page
    assert "keine Sitzung" in browser_of().go("/diode/page", HTTP_ACCEPT_LANGUAGE="de")[1]


def test_a_german_student_reads_and_writes_numbers_with_a_comma_and_is_told_why_it_ended(
    here: Lab, browser_of: Callable[..., Browser]
) -> None:
    session = let_in(here, locale="de")
    ada = browser_of()
    ada.go(f"/diode/weblab/callback/{session.session_id}")
    form = {"name": "meter", "item": "volts", "in-volts": "1,5", "form_key": ada.key()}
    page = told(ada, "/diode/page/set", form | {"in-volts": "4,5"})
    assert re.findall(r"role=.status.([^<]*)<", page) == [">meter: volts muss zwischen 0 und 3 V sein, nicht „4,5“."]
    page = told(ada, "/diode/page/set", form)
    assert re.findall(r"role=.status.([^<]*)<", page) == [">meter: volts ist auf 1,5 gesetzt."]
    eventually(lambda: re.search(r"<dt[^>]*>volts</dt><dd>1,5 V", ada.go("/diode/page")[1]))
    assert 'name="in-volts" value="1,5"' in ada.go("/diode/page")[1]
    act = {"item": "curve", "in-top": "0,5", "in-points": "3", "form_key": ada.key()}
    told(ada, "/diode/page/act", act)
    eventually(lambda: "top 0,5, points 3" in ada.go("/diode/page")[1])
    Sessions(here.settings).leave(session.session_id)
    assert Sessions(here.settings).gone(session.session_id, PATIENCE)
    assert "Sie haben das Labor verlassen." in ada.go("/diode/page")[1]
    assert "oder sie ist schon lange beendet" in browser_of().go("/diode/page", HTTP_ACCEPT_LANGUAGE="de")[1]


def test_what_a_russian_student_is_told_fits_into_what_a_browser_keeps(
    here: Lab, bench: Plugged, browser_of: Callable[..., Browser]
) -> None:
    file = here.settings.labs / "diode.py"
    long = 'from labwaiter.errors import ServiceError\n        raise ServiceError("щука " * 300)'
    file.write_text(file.read_text().replace("raise SystemExit(3)", long))
    wish(bench, "act", "exit")
    session = let_in(here, locale="ru")
    ada = browser_of()
    ada.go(f"/diode/weblab/callback/{session.session_id}")
    page = told(ada, "/diode/page/act", {"item": "curve", "in-top": "1", "form_key": ada.key()})
    assert 'role="status" lang="en">' in page and "щука щука" in page  # no word of ours, and so none in Russian
    assert max(len(cookie) for cookie in ada.set) <= 4096  # browsers drop a longer one


def test_a_form_is_taken_from_the_own_page_alone(here: Lab, bench: Plugged, browser_of: Callable[..., Browser]) -> None:
    session = let_in(here)
    ada = browser_of()
    ada.go(f"/diode/weblab/callback/{session.session_id}")
    good = {"name": "meter", "item": "volts", "in-volts": "1", "form_key": ada.key()}
    for form, headers in (
        (good | {"form_key": ""}, {}),
        (good | {"form_key": "é" * 40}, {}),
        (good, {"HTTP_ORIGIN": "https://evil.example"}),
        (good, {"HTTP_SEC_FETCH_SITE": "cross-site"}),
    ):
        status, page, _ = ada.go("/diode/page/set", form, **headers)
        assert status.startswith("403") and "nothing was done" in page
    assert browser_of().go("/diode/page/set", good)[0].startswith("403")
    assert "meter: volts is set to 1." in told(ada, "/diode/page/set", good)
    assert "must be between 0 and 3 V, not “9”" in told(ada, "/diode/page/set", good | {"in-volts": "9"})
    assert "no control" in told(ada, "/diode/page/set", good | {"item": "compliance", "in-compliance": "1"})
    act = {"item": "curve", "in-top": "1", "in-points": "3", "form_key": ada.key()}
    page = told(ada, "/diode/page/act", act)
    assert "curve is done." in page
    eventually(lambda: "top 1, points 3" in ada.go("/diode/page")[1])


def told(who: Browser, path: str, form: dict[str, str]) -> str:
    """Send a form: the page that tells what came of it."""
    status, _, headers = who.go(path, form)
    assert status.startswith("303") and headers["Location"].endswith("/diode/page")
    import html

    return html.unescape(who.go("/diode/page")[1])


def test_over_https_the_cookie_is_secure_and_in_a_frame_it_is_of_that_frame(
    here: Lab, browser_of: Callable[..., Browser]
) -> None:
    session = let_in(here)
    ada = browser_of(PUBLIC_URL="https://labs.example/physics")
    _, _, headers = ada.go(f"/diode/weblab/callback/{session.session_id}")
    at = f"/physics{here.settings.context_root}/diode"
    assert headers["Location"] == f"{at}/page"
    assert "; Secure" in ada.set[0] and "SameSite=Lax" in ada.set[0] and f"Path={at};" in ada.set[0] + ";"
    framed = browser_of(PUBLIC_URL="https://labs.example", WEBLAB_FRAMES="https://portal.example")
    _, _, headers = framed.go(f"/diode/weblab/callback/{session.session_id}")
    assert "SameSite=None" in framed.set[0] and "Partitioned" in framed.set[0]
    assert "frame-ancestors https://portal.example" in headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in headers


def test_who_has_no_session_sees_why_or_is_led_to_where_one_begins(
    browser_of: Callable[..., Browser], tmp_path: Path
) -> None:
    status, page, _ = browser_of().go("/diode/page")
    assert status.startswith("403") and "You have no session in this lab" in page
    status, _, headers = browser_of(WEBLAB_UNAUTHORIZED_LINK="https://portal.example/").go("/diode/page")
    assert status.startswith("303") and headers["Location"] == "https://portal.example/"
    own = tmp_path / "forbidden.html"
    own.write_text("<h1>{{ lab }}: {{ words|upper }}</h1>")
    status, page, _ = browser_of(WEBLAB_UNAUTHORIZED_TEMPLATE=str(own)).go("/diode/page")
    assert status.startswith("403") and page.startswith("<h1>diode: YOU HAVE NO SESSION")
    own.write_text("{{ ''.__class__.__mro__ }} {% if %}")  # a mistake in it is no mistake of the student's
    assert "You have no session" in browser_of(WEBLAB_UNAUTHORIZED_TEMPLATE=str(own)).go("/diode/page")[1]


def with_page(here: Lab, page: str) -> Path:
    """The lab with a page of its own: the folder of its files."""
    file = here.settings.labs / "diode.py"
    file.write_text(file.read_text().replace("    dispose_limit=2,", f'    dispose_limit=2,\n    page="{page}",'))
    folder = here.settings.labs / "diode"
    (folder / "static").mkdir(parents=True)
    return folder


def test_a_lab_has_a_template_and_files_of_its_own(here: Lab, browser_of: Callable[..., Browser]) -> None:
    folder = with_page(here, "own.html")
    (folder / "own.html").write_text(
        '{% extends "session.html.j2" %}{% block below %}<p>Hello {{ who }}, {{ groups[0].name }}</p>{% endblock %}'
    )
    (folder / "static" / "own.js").write_text("var x = 1")
    session = let_in(here, full_name="<b>Ada</b>")
    ada = browser_of()
    ada.go(f"/diode/weblab/callback/{session.session_id}")
    page = ada.go("/diode/page")[1]
    assert "Hello &lt;b&gt;Ada&lt;/b&gt;, meter" in page and 'action="' in page
    assert ada.go("/diode/own/own.js")[1] == "var x = 1"
    assert ada.go("/diode/own/../own.html")[0][:3] in ("403", "404")
    assert browser_of().go("/diode/own/own.js")[0].startswith("403")
    (folder / "own.html").write_text("{% if %}")
    status, page, _ = ada.go("/diode/page")
    assert status.startswith("503") and "own.html, line 1" in page


BLUEPRINT = """
from flask import Blueprint, render_template_string, request
from labwaiter.web.lab_session import session

blueprint = Blueprint("mine", __name__)

@blueprint.get("/")
def index():
    return f"{session.username} {session.time_left > 0} {session.data['greeting']} {session.form_key}"

@blueprint.post("/volts")
def volts():
    return str(session.set("meter", "volts", request.form["volts"])["value"])

@blueprint.get("/broken")
def broken():
    return 1 / 0
"""


def test_a_blueprint_is_the_administrators_wish_and_its_views_are_guarded(
    here: Lab, browser_of: Callable[..., Browser]
) -> None:
    folder = with_page(here, "web:blueprint")
    (folder / "web.py").write_text(BLUEPRINT)
    words = "The page of diode is a blueprint of its own, and WEBLAB_BLUEPRINTS is off."
    assert Sessions(here.settings).test("diode", SYSTEM) == [words]
    session = Sessions(replace(here.settings, weblab_blueprints=True)).start("diode", About(username="ada"), SYSTEM)
    off, ada = browser_of(), browser_of(WEBLAB_BLUEPRINTS="on")
    off.go(f"/diode/weblab/callback/{session.session_id}")
    status, page, _ = off.go("/diode/own/")
    assert status.startswith("503") and "WEBLAB_BLUEPRINTS is off" in page
    _, _, headers = ada.go(f"/diode/weblab/callback/{session.session_id}")
    assert headers["Location"].endswith("/diode/own/")
    user, is_left, *_, key = ada.go("/diode/own/")[1].split()
    assert (user, is_left) == ("ada", "True")
    assert ada.go("/diode/own/volts", {"volts": "2"})[0].startswith("403")
    assert ada.go("/diode/own/volts", {"volts": "2", "form_key": key})[1] == "2.0"
    assert browser_of(WEBLAB_BLUEPRINTS="on").go("/diode/own/")[0].startswith("403")
    status, page, _ = ada.go("/diode/own/broken")
    assert status.startswith("503") and "ZeroDivisionError" not in page
    assert ada.go("/diode/own/nothing")[0].startswith("404")


def test_a_blueprint_and_its_templates_are_read_again_once_they_have_changed(
    here: Lab, browser_of: Callable[..., Browser]
) -> None:
    folder = with_page(here, "web:blueprint")
    (folder / "templates").mkdir()
    file, template = folder / "web.py", folder / "templates" / "index.html"
    file.write_text(
        BLUEPRINT.replace("render_template_string", "render_template").replace(
            "return f", "return render_template('index.html') or f"
        )
    )
    template.write_text("first")
    session = Sessions(replace(here.settings, weblab_blueprints=True)).start("diode", About(username="ada"), SYSTEM)
    ada = browser_of(WEBLAB_BLUEPRINTS="on")
    ada.go(f"/diode/weblab/callback/{session.session_id}")
    assert ada.go("/diode/own/")[1] == "first"
    template.write_text("the second")
    assert ada.go("/diode/own/")[1] == "the second"
    good = file.read_text()
    file.write_text(good + "\nthis is no Python\n")
    status, page, _ = ada.go("/diode/own/")
    assert status.startswith("503") and "its own code has a mistake" in page
    file.write_text(good.replace("render_template('index.html')", "'third'"))
    assert ada.go("/diode/own/")[:2] == ("200 OK", "third")


# -- in Chromium --------------------------------------------------------------------------------


def test_two_students_one_after_the_other_and_the_second_waits_while_dispose_hangs(
    here: Lab, bench: Plugged, serve: Callable[..., Web], open_screen: Callable[..., Any]
) -> None:
    web = serve(WEBLAB_START_WAIT="3")
    system = System(f"{web.url}/diode", "ldl")
    first = open_screen(web)
    # long enough for a slow machine: its last minute begins at once, which is to be seen, too
    first.page.goto(system.start("ada", 55, "https://portal.example/labs")["url"])
    first.see("Ada", "h1")
    first.see("Less than a minute is left", "[role=alert]:not([hidden])")
    first.page.fill("#set-meter-volts input[name=in-volts]", "2")
    first.page.press("#set-meter-volts input[name=in-volts]", "Enter")  # by keyboard alone
    first.see("meter: volts is set to 2.", "[role=status]")
    first.page.select_option("#do-meter-output select", "true")
    first.page.click("#do-meter-output button")
    first.see("meter: output is done.", "[role=status]")
    first.see("2 V", ".lab-instrument dl")
    first.page.wait_for_selector("#plot canvas")
    assert re.fullmatch(r"0:[0-5]\d", first.page.inner_text("[role=timer]"))
    first.page.click("#act-curve button")
    first.see("top is missing: give it a value.", "[role=status]")
    first.page.fill("#act-curve input[name=in-top]", "1")
    first.page.click("#act-curve button")
    first.see("curve is done.", "[role=status]")
    first.see("curve", ".lab-results h3")
    assert not bench.simulators["smu"].is_safe()
    wish(bench, "dispose", "hang")
    first.see("Your session is over", ".lab-end")  # time over: the page says so by itself
    first.see("Its time is over.", ".lab-end")
    assert first.page.get_attribute(".lab-end a", "href") == "https://portal.example/labs"
    # the second one is told at the door who has it, or waits until dispose has been ended
    told: list[dict[str, Any]] = []

    def come() -> None:
        while not told or "url" not in told[-1]:
            told.append(System(system.at, "ldl").start("bob"))

    coming = threading.Thread(target=come)
    coming.start()
    eventually(lambda: len(disposed(bench)) == 1)
    wish(bench, "dispose")
    coming.join(PATIENCE)
    assert all("The lab diode is taken: " in each["message"] for each in told[:-1])
    bench.assert_made_safe("smu")
    second = open_screen(web)
    second.page.goto(told[-1]["url"])
    second.see("Bob", "h1")
    second.see("0 V", ".lab-instrument dl")  # nothing of the first one's is left
    assert second.page.locator(".lab-results").count() == 0
    second.page.click("text=Leave")
    second.see("You have left the lab.", ".lab-end")
    second.see("The lab was put away.", ".lab-end")  # it is told of that, too, and needs no reload
    with first.page.expect_download() as download:
        first.page.click("text=readings.csv")
    assert "meter.volts / V" in download.value.path().read_text()
    assert first.wrong == [] and second.wrong == []
    assert {urlsplit(url).netloc for url in first.asked} == {urlsplit(web.url).netloc}


THREE_UNITS = """
from labwaiter import Lab

lab = Lab(["smu", "printer", "analyser"], actions=["smu.output"], controls=["smu.volts", "printer.hotend_target"])

@lab.action
def describe(session) -> dict:
    return {"name": "a word " * 20, "volts": 0.5}
"""


def test_a_plot_has_an_axis_for_each_of_three_units_and_a_long_result_breaks_no_word(
    here: Lab, serve: Callable[..., Web], open_screen: Callable[..., Any]
) -> None:
    (here.settings.labs / "units.py").write_text(THREE_UNITS)
    web = serve()
    session = let_in(here, "units", locale="ru")
    screen = open_screen(web)
    screen.page.set_viewport_size({"width": 390, "height": 900})
    with alive(here, session):
        screen.page.goto(f"{web.url}/units/weblab/callback/{session.session_id}")
        screen.page.wait_for_selector("#plot canvas")
        eventually(lambda: screen.page.locator("#plot .u-axis").count() >= 4)  # time, V, °C and what the analyser tells
        screen.see("время / s", "#plot .u-legend")
        screen.page.click("#act-describe button")
        name = screen.page.locator(".lab-results th", has_text="name")
        name.wait_for()
        # while the plot is drawn anew, what is beside it moves
        unbroken = "each => each.getClientRects().length == 1 && each.scrollWidth <= each.clientWidth"
        eventually(lambda: name.evaluate(unbroken))
        eventually(lambda: screen.page.evaluate("document.documentElement.scrollWidth") <= 390)
    assert screen.wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_on_a_students_pages(
    here: Lab, serve: Callable[..., Web], open_screen: Callable[..., Any], width: int, scheme: str
) -> None:
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")).joinpath("axe.min.js").read_text()
    web = serve()
    screen = open_screen(web, color_scheme=scheme, bypass_csp=True)  # axe puts itself into the page
    screen.page.set_viewport_size({"width": width, "height": 900})

    def judge() -> None:
        screen.page.wait_for_timeout(500)
        screen.page.evaluate(axe)
        found = screen.page.evaluate("axe.run()")["violations"]
        assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []

    screen.page.goto(f"{web.url}/diode/page")
    judge()
    session = let_in(here, full_name="Ada Lovelace", length_s=600.0)
    with alive(here, session):
        screen.page.goto(f"{web.url}/diode/weblab/callback/{session.session_id}")
        screen.page.fill("#act-curve input[name=in-top]", "1")
        screen.page.click("#act-curve button")
        screen.page.wait_for_selector(".lab-results")
        screen.page.wait_for_selector("#plot canvas")
        judge()
        assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
        screen.page.click("text=Leave")
        screen.see("You have left the lab.", ".lab-end")
        judge()

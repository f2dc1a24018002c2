"""A page that stands open: what it costs, what it says when nobody answers, and that nothing on it can run."""

from __future__ import annotations

import importlib.resources
import os
import signal
import time
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from callers import Caller, Reply, Web
from lab import Lab, eventually
from labwaiter.authentication.token_file import TokenFile
from labwaiter.deployment import web_processes
from labwaiter.fleet import open_instruments
from labwaiter.model.caller import SHELL, Role
from labwaiter.settings import load
from labwaiter.web.operator_page import live
from samples.hostile import NASTY, SCRIPT

pytestmark = pytest.mark.slow
PAGES = (
    "",
    *(f"operator/{page}" for page in ("executions", "services", "service?name=Talker", "lab", "login", "log?id=")),
)


@pytest.fixture(scope="module")
def nasty(standing: tuple[Lab, Web]) -> str:
    """The serviceID of an execution to which all that anybody says is NASTY."""
    lab, name = standing[0], f"{NASTY} now"
    lab.start("Nasty", name, text=NASTY)
    lab.jobs.notify(None, name, NASTY, SHELL)
    lab.when(name, lambda: NASTY in lab.status_progress(name).replies.values())
    return name


def test_what_somebody_wrote_is_shown_as_text_everywhere(screen: Any, nasty: str) -> None:
    named = quote(nasty)
    pages = [page + named if page.endswith("id=") else page for page in PAGES]
    for path in (
        *pages,
        f"operator/execution?id={named}",
        f"operator/service?name=Nasty&again={named}",
        f"operator/executions?user={named}&state={named}",
        f"operator/execution?id={named}x",
        f"operator/service?name={named}",
        f"operator/login?next={named}",
        f"operator/{named}",
    ):
        page = screen.go(path)
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.getAttribute('ran')") is None, path
        assert page.locator("#main img, #main svg, #main script").count() == 0, path
    screen.go(f"operator/execution?id={named}")
    screen.see("</script></style>", "h1")
    screen.page.fill("#message", NASTY)
    screen.page.press("#message", "Enter")
    screen.see("It replied: </script>", "[role=status]")
    screen.page.click("#status summary")
    frame = screen.page.frame_locator("#status iframe")
    frame.locator("h1").wait_for()
    assert frame.locator("html").get_attribute("ran") is None


def test_a_programs_own_status_page_runs_in_a_frame_that_reaches_nothing(
    screen: Any, standing: tuple[Lab, Web]
) -> None:
    lab = standing[0]
    lab.start("Talker", "own page", words="x")
    lab.running("own page")
    own = f"<h1>mine</h1><script>{SCRIPT};try{{parent.document.documentElement.setAttribute('ran',1)}}catch(e){{}}"
    own += (
        "try{document.cookie}catch(e){document.title='no cookie'};fetch('/').catch(()=>document.body.append('no way'))"
    )
    (lab.folder("own page") / "status.html").write_text(own + "</script>")
    page = screen.go("operator/execution?id=own%20page")
    frame = page.frame_locator("#status iframe")
    frame.locator("text=no way").wait_for()
    assert frame.locator("html").get_attribute("ran") == "1"  # its own script ran there
    assert page.evaluate("document.documentElement.getAttribute('ran')") is None
    lab.jobs.abort(None, "own page", SHELL)


def test_no_page_asks_another_machine_and_the_browser_refuses_nothing(screen: Any, standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    lab.start("Sweep", "asked", points=40)
    lab.ended("asked")
    for path in (*PAGES[:-1], "operator/execution?id=asked", "operator/log?id=asked"):
        screen.go(path)
        screen.page.wait_for_timeout(700)
    assert {urlsplit(url).netloc for url in screen.asked if not url.startswith("data:")} == {
        urlsplit(screen.url).netloc
    }
    assert screen.wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing(open_screen: Any, standing: tuple[Lab, Web], width: int, scheme: str) -> None:
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")).joinpath("axe.min.js").read_text()
    screen = open_screen(standing[1], color_scheme=scheme, bypass_csp=True)  # axe puts itself into the page
    screen.page.set_viewport_size({"width": width, "height": 900})
    lab = standing[0]
    lab.start("Sweep", f"axe {width}", points=40)
    lab.ended(f"axe {width}")
    one = f"operator/execution?id=axe%20{width}"
    for path in (*PAGES[:-1], one, "operator/instrument?name=meter", "operator/machines", "operator/nothing"):
        page = screen.go(path)
        page.wait_for_timeout(300)
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == [], path


def test_a_page_knows_its_release_and_reader_from_the_first(standing: tuple[Lab, Web]) -> None:
    caller = Caller(standing[0])
    local = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}
    page = caller("/operator/lab", **local)
    assert f'data-mark="{page.headers["X-Labwaiter"]}"'.encode() in page.body
    assert caller("/operator/lab", query="live=1", **local).headers["X-Labwaiter"] == page.headers["X-Labwaiter"]


def test_an_open_page_is_told_that_nothing_has_changed(standing: tuple[Lab, Web]) -> None:
    caller = Caller(standing[0])
    local = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}
    standing[0].start("Talker", "still", words="x")
    eventually(lambda: standing[0].status_progress("still").stage)
    for path, query in (
        ("/", "live=1"),
        ("/operator/executions", "live=1"),
        ("/operator/execution", "id=still&live=1"),
    ):

        def ask(tag: str = "", path: str = path, query: str = query) -> Any:
            return caller(path, query=query, **local, **({"HTTP_IF_NONE_MATCH": tag} if tag else {}))

        def settled() -> bool:
            time.sleep(0.5)
            return ask(ask().headers["ETag"]).status == "304 NOT MODIFIED"

        assert eventually(settled, every=0.2), path
        first = ask()
        standing[0].jobs.notify(None, "still", "knock", SHELL)
        if "id=" in query:
            tag = first.headers["ETag"]
            changed = eventually(lambda tag=tag, ask=ask: (r := ask(tag)).status == "200 OK" and r, every=0.1)
            assert b"knock" in changed.body and b"<html" not in changed.body
    standing[0].jobs.abort(None, "still", SHELL)


def test_an_open_page_is_told_so_too_where_what_has_changed_is_not_on_it(standing: tuple[Lab, Web]) -> None:
    lab, _ = standing
    caller = Caller(lab)
    lab.start("Talker", "apart", words="x")
    eventually(lambda: lab.status_progress("apart").stage)

    def ask(tag: str = "") -> Any:
        has = {"HTTP_IF_NONE_MATCH": tag} if tag else {}
        return caller("/operator/lab", query="live=1", HTTP_HOST="localhost:8080", REMOTE_ADDR="127.0.0.1", **has)

    tag, before = ask().headers["ETag"], lab.jobs.records.revision()
    lab.jobs.notify(None, "apart", "knock", SHELL)
    eventually(lambda: lab.jobs.records.revision() != before)
    time.sleep(live.SERVES_SECONDS + live.STAMP_SECONDS)  # until the page is made anew
    assert ask(tag).status == "304 NOT MODIFIED"
    lab.jobs.abort(None, "apart", SHELL)


def test_a_card_is_made_anew_when_something_on_it_has_changed(
    standing: tuple[Lab, Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ANEW_SECONDS", 1e9)  # what it is made of tells it, no clock
    lab, _ = standing
    caller = Caller(lab)

    def shows(words: str) -> bool:
        page = caller("/operator/lab", query="live=1", HTTP_HOST="localhost:8080", REMOTE_ADDR="127.0.0.1")
        return words in page.body.decode()

    assert not shows("the fan is loud")
    instruments = open_instruments(lab.settings, lab.jobs)
    instruments.take_out("meter", "the fan is loud", SHELL)
    assert eventually(lambda: shows("the fan is loud"), every=0.2)
    instruments.put_back("meter", SHELL)
    assert eventually(lambda: not shows("the fan is loud"), every=0.2)


@pytest.mark.parametrize("has", [{}, {"HTTP_ACCEPT_LANGUAGE": "de"}])
def test_a_question_asked_again_has_the_bytes_and_headers_that_it_would_have_from_flask(
    standing: tuple[Lab, Web], has: dict[str, str]
) -> None:
    lab, _ = standing
    if not lab.folder("twice").exists():
        lab.start("Waiter", "twice", secondsToWait=0)
        lab.ended("twice")
    caller, other = Caller(lab), Caller(lab)
    begun = caller("/operator/lab", HTTP_HOST="localhost:8080", REMOTE_ADDR="127.0.0.1", **has)
    has = has | {"HTTP_COOKIE": begun.headers["Set-Cookie"].partition(";")[0]}

    def ask(who: Caller, path: str, query: str, tag: str = "") -> Reply:
        more = has | ({"HTTP_IF_NONE_MATCH": tag} if tag else {})
        return who(path, query=query, HTTP_HOST="localhost:8080", REMOTE_ADDR="127.0.0.1", **more)

    def page(who: Caller) -> Any:
        return who.application._faces["operator page"]

    ask(other, "/operator/lab", "live=1")
    page(other).wsgi_app = page(other).wsgi_app._app  # it asks Flask each time
    for path, query in (
        ("/", "live=1"),
        ("/operator/executions", "live=1&state=completed"),
        ("/operator/execution", "id=twice&live=1"),
        ("/operator/events", "live=1"),
        ("/operator/lab", "live=1"),
    ):

        def asked_again(path: str = path, query: str = query) -> bool:
            """Whether nothing has changed meanwhile."""
            tag = ask(caller, path, query).headers["ETag"]
            ask(caller, path, query, tag)
            flask, page(caller).wsgi_app._app = page(caller).wsgi_app._app, None  # who asks it fails
            try:
                got = [ask(caller, path, query, each) for each in ("", tag, '"another"')]
            except TypeError:
                return False
            finally:
                page(caller).wsgi_app._app = flask
            meant = [ask(other, path, query, each) for each in ("", tag, '"another"')]
            if [reply.status[:3] for reply in meant] != ["200", "304", "200"]:
                return False
            assert [(r.status, dict(sorted(r.headers.items())), r.body) for r in got] == [
                (r.status, dict(sorted(r.headers.items())), r.body) for r in meant
            ]
            return True

        assert eventually(asked_again, every=0.2), path


def test_an_open_page_of_a_token_that_was_revoked_is_refused_at_its_next_question(
    make_standing: Any, tmp_path: Any
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    entry, token = tokens.add("Ada", "optics", Role.USER, 1000)
    lab, _ = make_standing(TOKENS="file", TOKENS_FILE=str(tmp_path / "tokens.json"))
    caller, local = Caller(lab), {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    login = caller("/operator/login", f"token={token}".encode(), **local, **form)
    local["HTTP_COOKIE"] = login.headers["Set-Cookie"].partition(";")[0]

    def ask() -> Reply:
        return caller("/operator/lab", query="live=1", **local)

    assert [ask().status for _ in range(3)] == ["200 OK"] * 3
    tokens.revoke(entry.id)
    assert ask().status == "401 UNAUTHORIZED"


def test_a_lost_connection_is_told_within_five_seconds_and_what_is_old_is_grey(
    open_screen: Any, make_standing: Any
) -> None:
    lab, web = make_standing(TOKENS="")
    screen = open_screen(web)
    page = screen.go("operator/lab")
    page.wait_for_timeout(1000)
    assert page.locator("#lost").is_hidden()
    workers = web_processes.find(load(lab.environment))
    for who in workers:
        os.kill(who.pid, signal.SIGSTOP)  # a web side that hangs answers no less than one that is gone
    began = time.monotonic()
    page.wait_for_selector("#lost:not([hidden])", timeout=15_000)
    assert time.monotonic() - began < 6.0  # 5, and what a busy machine takes
    assert float(page.evaluate("getComputedStyle(document.getElementById('live')).opacity")) < 0.6
    for who in workers:
        os.kill(who.pid, signal.SIGCONT)
    page.wait_for_selector("#lost", state="hidden")


def test_a_page_works_by_keyboard_alone(screen: Any) -> None:
    page = screen.go("")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    where = page.evaluate("document.activeElement.outerHTML")
    page.wait_for_timeout(2500)  # the focus stays where it is while the page asks for its content
    assert page.evaluate("document.activeElement.outerHTML") == where and where.startswith("<a ")


def test_files_are_served_with_their_kind_and_no_others(standing: tuple[Lab, Web]) -> None:
    with urllib.request.urlopen(f"{standing[1].url}/operator/static/page.js?v=1") as answer:
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("../__init__.py", "..%2f__init__.py", "page.py", "uplot-LICENSE.txt"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{standing[1].url}/operator/static/{name}")
        assert refused.value.code == 404

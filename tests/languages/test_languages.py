"""A page in its reader's language: sentences, numbers, times, and which language it is."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from callers import Caller, envelope
from here import ROOT
from lab import Lab
from labwaiter.catalogue import catalogue
from labwaiter.languages import ENGLISH, NAMES, asked_for, language
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Holder, Moment, Progress, Record, Request, State, Stopping, View
from labwaiter.page import Page, language_of, render
from labwaiter.page.words import quantity

CODES = sorted(NAMES)
SERVICE = catalogue.load(ROOT / "app" / "services").services["HeatPlate"]
NOW = 1_795_000_000.0
LOCAL = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}


def view(state: State = State.RUNNING, extra: str | None = None, **more: Any) -> View:
    about = {name: more.pop(name) for name in ("why", "stopping", "ended", "outputs") if name in more}
    request = Request("wf-1", "HeatPlate", {"celsius": 60.5}, extra, created=NOW - 40)
    record = Record(name="wf-1", request=request, state=state, started=NOW - 30, **about)
    return View(record=record, now=NOW, progress=more.pop("progress", Progress(0.5, "heating")), **more)


# -- what comes from below --------------------------------------------------------------------


def test_a_sentence_is_told_with_what_stands_in_it() -> None:
    german = language("de")
    assert german.told("meter is in use by Sweep") == "meter wird von Sweep benutzt"
    assert german.told("The input points must be a whole number, not “many”.") == (
        "Die Eingabe points muss eine ganze Zahl sein, nicht „many“."
    )
    assert german.told("between 0.5 and 1.05 A") == "zwischen 0,5 und 1,05 A"
    assert german.told("You may not start executions here.") == "Das dürfen Sie hier nicht: Ausführungen starten."
    assert german.told("meter can't be taken: it is reserved by Ada until 2026-11-30 16:00:01.") == (
        "meter kann nicht übernommen werden: reserviert von Ada bis 30.11.2026, 16:00:01."
    )
    assert language("ru").told("The execution made no progress for 1 h 30 min and was stopped.") == (
        "Выполнение не продвигалось 1 ч 30 мин и было остановлено."
    )


def test_sentences_behind_each_other_are_told_or_none_of_them() -> None:
    german = language("de")
    both = "The note is empty. The log says why."
    assert german.told(both) == "Die Notiz ist leer. Das Protokoll nennt den Grund."
    assert german.told("The note is empty. Somebody else's words.") is None


@pytest.mark.parametrize("text", ["The oven of Ada is broken.", "is", " is ", "a is b", "%(name)s", "", "x" * 5000])
def test_what_nobody_of_us_said_is_left_as_it_is(text: str) -> None:
    assert language("de").told(text) in (None, text)
    assert ENGLISH.told(text) == text


# -- numbers and times ------------------------------------------------------------------------


def test_numbers_times_and_sizes_are_written_as_the_language_does() -> None:
    assert [language(code).span(5430) for code in CODES] == ["1 h 30 min", "1 h 30 min", "1 h 30 min", "1 ч 30 мин"]
    assert [language(code).size(4200) for code in CODES] == ["4,2 kB", "4.2 kB", "4,2 kB", "4,2 кБ"]
    assert [language(code).clock(NOW) for code in CODES] == [
        "18.11.2026, 11:06:40 UTC",
        "2026-11-18 11:06:40 UTC",
        "18/11/2026, 11:06:40 UTC",
        "18.11.2026, 11:06:40 UTC",
    ]
    assert quantity(0.0001175, "A", language("de")) == ("117,5", "µA")
    assert quantity(0.0001175, "A") == ("117.5", "µA")
    assert language("de").read_number(" 3,5 ") == "3.5" and language("de").read_number("-1,5e-3") == "-1.5e-3"
    assert language("de").read_number("1,2,3") == "1,2,3" and ENGLISH.read_number("3,5") == "3,5"


@pytest.mark.parametrize(
    ("count", "form"),
    [(1, "выполнение"), (3, "выполнения"), (5, "выполнений"), (11, "выполнений"), (21, "выполнение")],
)
def test_russian_counts_as_russians_do(count: int, form: str) -> None:
    one = "%(num)s is left out: its record is damaged or can't be read."
    many = "%(num)s are left out: their records are damaged or can't be read."
    assert language("ru").count(one, many, count).startswith(f"Пропущено {count} {form}:")


# -- status pages -----------------------------------------------------------------------------


class Words(HTMLParser):
    """The texts of a page that stand in no style, and its language."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.lang: str | None = ""
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        if tag == "html":
            self.lang = dict(attrs).get("lang")

    def handle_data(self, data: str) -> None:
        if self._within not in ("style", "script") and data.strip():
            self.texts.append(data.strip())


HOLDER = Holder("meter is in use by Sweep", NOW - 90)
VIEWS = {
    "runs": view(),
    "runs, who knows how far": view(progress=Progress()),
    "waits": view(
        State.QUEUED,
        place=2,
        holders=(Holder("meter is in use by Sweep", NOW - 90),),
        ahead="1 waits for meter before it",
    ),
    "stops": view(stopping=Stopping("abort", "The execution was aborted.", "told to stop")),
    "failed": view(State.FAILED, why="The program left no file x.csv.", ended=NOW),
    "aborted": view(State.ABORTED, why="The execution was aborted.", ended=NOW),
    "unsafe": view(State.ABORTED, why="The execution was aborted.", ended=NOW, hardware=("meter is being made safe.",)),
}
THEIRS = re.compile(r"HeatPlate|wf-1|heating|celsius|Set a heat plate.*|x\.csv|meter|Sweep|UTC|°C|min|[kM]?B|[smhd]")


@pytest.mark.parametrize("what", VIEWS)
@pytest.mark.parametrize("code", ["de", "es", "ru"])
def test_a_status_page_speaks_one_language(code: str, what: str) -> None:
    english = set(Words(render(VIEWS[what], SERVICE)).texts)
    said = Words(render(VIEWS[what], SERVICE, language=language(code)))
    assert said.lang == code
    doc = SERVICE.doc.partition("\n")[0]
    same = {text for text in english & set(said.texts) if text != doc and re.search("[a-z]", THEIRS.sub("", text))}
    assert same == set()


@pytest.mark.parametrize("code", CODES)
def test_the_lane_fills_a_moment_in_as_the_page_would_say_it(code: str) -> None:
    spoken = language(code)
    page = Page(view(), SERVICE, "", language=spoken)
    template = page.template()
    assert template is not None
    for seconds in (0.0, 5.0, 65.5, 4000.0):
        moment = Moment(NOW + seconds, 30 + seconds, 0.58)
        later = replace(view(), now=moment.now, ran=moment.ran, progress=Progress(0.58, "heating"))
        made = render(later, SERVICE, language=spoken)
        assert base64.b64decode(template.at(moment) or b"").decode() == made


@pytest.mark.parametrize(
    ("extra", "otherwise", "code"),
    [
        (None, "es", "es"),
        ("WFM=http://w/,language=de,", "en", "de"),
        ("language=ru_RU", "en", "ru"),
        ("language=DE-at,auth=x", "en", "de"),
        ("language=fr,", "es", "es"),
        ("language=,", "es", "es"),
        ("no pairs at all", "en", "en"),
    ],
)
def test_a_start_asks_for_the_language_of_its_page(extra: str | None, otherwise: str, code: str) -> None:
    request = Request("x", "HeatPlate", {}, extra)
    assert language_of(request, otherwise).code == code


def test_a_language_that_we_do_not_speak_is_the_deployments() -> None:
    assert asked_for("pt-BR", "de") is language("de") and asked_for(None, "ru") is language("ru")


# -- a workflow manager -----------------------------------------------------------------------


def page_of(reply: Any) -> str:
    return base64.b64decode(reply["status_base64"]).decode()


@pytest.fixture
def russian(tmp_path: Any) -> Any:
    """A deployment whose pages are Russian unless somebody asks for another language."""
    (tmp_path / "lab.toml").write_text("")
    settings = {"PAGE_LANGUAGE": "ru", "LAB": str(tmp_path / "lab.toml")}
    lab = Lab(tmp_path / "jobs", ROOT / "app" / "services", TOKENS="", **settings)
    lab.supervise()
    yield lab
    lab.close()


def test_a_workflow_manager_asks_for_a_language_and_parses_what_it_did(russian: Lab) -> None:
    caller, ns = Caller(russian), catalogue.load(ROOT / "app" / "services").services["Waiter"].namespace

    def call(operation: str, **texts: str) -> Any:
        return caller("/waiter/Waiter", envelope(operation, ns=ns, sessionToken="t", **texts))

    given = {"secondsToWait": "1", "extraParameters": "WFM=http://wfm.example/,language=de,"}
    started = call("startWaiter", serviceID="german", **given)
    assert '<html lang="de">' in page_of(started) and "Die Ausführung beginnt" in page_of(started)
    assert started["result"] == "UNSET"
    # the same start in another language, or in none, is the same execution, and its page stays German
    again = call("startWaiter", serviceID="german", secondsToWait="1", extraParameters="language=es")
    assert '<html lang="de">' in page_of(again)
    assert '<html lang="de">' in page_of(call("getServiceStatus", serviceID="german"))
    other = call("startWaiter", serviceID="russian", secondsToWait="1")
    assert '<html lang="ru">' in page_of(other) and "Сейчас начнётся" in page_of(other)
    refused = call("startWaiter", serviceID="bad", secondsToWait="many")
    assert "The input secondsToWait must be a whole number" in refused.body.decode()  # programs read it

    russian.ended("german")
    ended = call("getServiceStatus", serviceID="german")
    assert (ended["status_base64"], ended["result"]) == ("COMPLETED", "FINISHED")


# -- the operator's page ----------------------------------------------------------------------


def lang_of(reply: Any) -> str:
    return re.search(r'<html lang="(\w+)">', reply.body.decode())[1]  # type: ignore[index]


def test_the_page_speaks_as_its_reader_chose_then_as_the_browser_asks_then_as_the_deployment(russian: Lab) -> None:
    caller = Caller(russian)

    def ask(path: str = "/", query: str = "", **headers: str) -> Any:
        return caller(path, query=query, **LOCAL, **headers)

    assert lang_of(ask()) == "ru"
    assert lang_of(ask(HTTP_ACCEPT_LANGUAGE="fr")) == "ru"
    assert lang_of(ask(HTTP_ACCEPT_LANGUAGE="fr,de-AT;q=0.8,en;q=0.5")) == "de"
    assert lang_of(ask(HTTP_ACCEPT_LANGUAGE="de" + ",fr" * 50_000)) == "ru"  # no browser's: it isn't read
    session = ask().headers["Set-Cookie"].partition(";")[0]
    query = urlencode({"code": "es", "next": "executions?state=failed"})
    chosen = ask("/operator/language", query, HTTP_COOKIE=session)
    assert chosen.status.startswith("303") and chosen.headers["Location"].endswith("operator/executions?state=failed")
    cookie = chosen.headers["Set-Cookie"].partition(";")[0]
    assert "Max-Age=31536000" in chosen.headers["Set-Cookie"] and "HttpOnly" in chosen.headers["Set-Cookie"]
    page = ask("/operator/executions", HTTP_ACCEPT_LANGUAGE="de", HTTP_COOKIE=cookie)
    assert lang_of(page) == "es" and page.headers["Content-Language"] == "es"
    assert '<a href="' in page.body.decode() and 'lang="ru" hreflang="ru"' in page.body.decode()
    assert lang_of(ask(HTTP_COOKIE="labwaiter_language=xx", HTTP_ACCEPT_LANGUAGE="de")) == "de"
    # what an open page asks for is in that language, too, and one reader's is no other's
    for code in ("de", "en", "de"):
        live = ask("/operator/services", "live=1", HTTP_ACCEPT_LANGUAGE=code).body.decode()
        assert ("<h1>Dienste</h1>" in live) == (code == "de")


@pytest.mark.parametrize("where", ["//elsewhere.example/", "https://elsewhere.example/", "../../", "no/page", ""])
def test_a_choice_of_language_leads_to_our_own_pages_alone(russian: Lab, where: str) -> None:
    query = urlencode({"code": "de", "next": where})
    told = Caller(russian)("/operator/language", query=query, **LOCAL).headers["Location"]
    assert told == f"http://localhost:8080{russian.settings.context_root}/"


def test_errors_and_what_came_of_an_act_are_said_in_the_readers_language(russian: Lab) -> None:
    caller = Caller(russian)
    page = caller("/operator/service", query="name=Sweep", HTTP_ACCEPT_LANGUAGE="de", **LOCAL)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    key = re.search(r'name="form_key" value="(\w+)"', page.body.decode())[1]  # type: ignore[index]

    def send(path: str, fields: dict[str, str], code: str = "de") -> Any:
        kind = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_COOKIE": cookie}
        body = urlencode({"form_key": key, **fields}).encode()
        return caller(path, body, HTTP_ACCEPT_LANGUAGE=code, **kind, **LOCAL)

    plate = {"name": "HeatPlate", "in-edge": "60", "in-material": "steel", "in-side": "1"}
    wrong = send("/operator/service", plate | {"id": "w", "in-duration": "viele"}).body.decode()
    assert "Nichts wurde gestartet: 1 Eingabe muss berichtigt werden" in wrong
    assert "Die Eingabe duration muss eine Zahl sein, nicht „viele“." in wrong
    started = send("/operator/service", plate | {"id": "comma", "in-duration": "1,5"})
    assert started.status.startswith("303"), started.body.decode()
    request = russian.record("comma").request
    assert request.inputs["duration"] == 1.5 and request.extra_parameters == "language=de,"
    assert lang_of(caller("/operator/status", query="id=comma", **LOCAL)) == "de"
    russian.jobs.abort(None, "comma", SHELL)
    page = caller("/operator/execution", query="id=nothing", HTTP_ACCEPT_LANGUAGE="es", **LOCAL)
    assert "No se inició nada con este serviceID." in page.body.decode()
    refused = send("/operator/notify", {"id": "comma", "message": " "})
    said = {"HTTP_COOKIE": refused.headers["Set-Cookie"].partition(";")[0], "HTTP_ACCEPT_LANGUAGE": "de"}
    assert "Die Nachricht ist leer: Schreiben Sie eine." in caller("/", **said, **LOCAL).body.decode()


def test_what_came_of_an_act_fits_into_a_cookie_in_any_alphabet(russian: Lab) -> None:
    from flask import Flask, Response, request

    from labwaiter.authentication.authenticator import Authenticator
    from labwaiter.web.operator_page.session import Sessions

    sessions = Sessions(russian.settings, russian.jobs.artifacts, Authenticator(russian.settings))
    words = "".join(chr(0x4E00 + (97 * number) % 20000) for number in range(1500))
    with Flask("x").test_request_context(base_url="http://localhost"):
        answer = Response()
        sessions.say(request, answer, words, True)
        cookie = answer.headers["Set-Cookie"]
    assert len(cookie) <= 4096
    with Flask("x").test_request_context(headers={"Cookie": cookie.partition(";")[0]}, base_url="http://localhost"):
        said = sessions.said(request)
    assert said is not None and words.startswith(said[0].removesuffix("…")) and len(said[0]) > 300


def test_a_sentence_that_has_no_translation_says_that_it_is_english(russian: Lab) -> None:
    russian.settings.lab.write_text("[instruments.meter]\n")
    page = Caller(russian)("/operator/lab", HTTP_ACCEPT_LANGUAGE="de", **LOCAL).body.decode()
    assert re.search(r'<p class="band bad"><span lang="en">[^<]+</span></p>', page), page


def test_anybodys_words_are_not_half_translated() -> None:
    german = language("de")
    assert german.told("smu: volts must be between 0 and 5 V, not “9”.") == (
        "smu: volts muss zwischen 0 und 5 V sein, nicht „9“."
    )
    assert german.told("The sample must be dry, not wet.") is None  # a program's own
    assert german.told("printer: hotend is 71.5 °C, back within its limit of 80.5 °C.") == (
        "printer: hotend ist 71,5 °C, wieder innerhalb seiner Grenze von 80,5 °C."
    )

"""What a portal shows of an execution."""

import base64
import itertools
import random
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from here import ROOT
from labwaiter import page as page_module
from labwaiter.catalogue import catalogue
from labwaiter.model.record import Holder, Picture, Progress, Record, Request, State, Stopping, View
from labwaiter.model.span import span
from labwaiter.page import Page, render
from labwaiter.store import codec

SERVICE = catalogue.load(ROOT / "app" / "services").services["HeatPlate"]
NOW = time.time()
NOTHING = Progress()


def view(state: State = State.RUNNING, progress: Progress = NOTHING, **more: Any) -> View:
    of_record = {k: more.pop(k) for k in ("why", "stopping", "outputs", "ended", "started") if k in more}
    request = Request("wf-1", "HeatPlate", more.pop("inputs", {}), created=NOW - 40)
    record = Record(name="wf-1", request=request, state=state, **{"started": NOW - 30, **of_record})
    return View(record=record, now=NOW, progress=progress, **more)


class Strict(HTMLParser):
    """Collects what could run, load or escape."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'& </pre></main> 漢字 😀 שלום"


def everything(text: str) -> list[View]:
    said = Progress(0.5, text, {text: 1.0, "b": 2.0}, {text: text}, Picture("p.svg", text), {1: text})
    more: dict[str, Any] = {"messages": (text, text), "message_count": 2, "log": text, "ahead": text}
    more["picture"] = b"<svg/>"
    more["inputs"] = {text: text, "b": 2.0}
    more["holders"] = (Holder(text, NOW - 9),)
    return [
        view(State.RUNNING, said, **more),
        view(State.RUNNING, said, stopping=Stopping("abort", text, "told to stop"), **more),
        view(State.QUEUED, place=1, **more),
        view(State.FAILED, said, why=text, **more),
        view(State.ABORTED, said, why=text, **more),
        view(State.COMPLETED, said, outputs={text: text}, **more),
    ]


@pytest.mark.parametrize("number", range(6))
def test_nothing_from_outside_becomes_markup_and_nothing_is_loaded(number: int) -> None:
    page = Strict(render(everything(NASTY)[number], SERVICE))
    assert page.open == []
    plain = Strict(render(everything("plain")[number], SERVICE))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "link", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "img" or str(attributes["src"]).startswith("data:image/")


@pytest.mark.parametrize("number", range(6))
def test_a_page_is_the_same_where_another_machine_told_what_is_on_it(number: int) -> None:
    one = replace(everything(NASTY)[number], picture=None)
    assert render(codec.view(codec.dump(one)), SERVICE) == render(one, SERVICE)


@pytest.mark.parametrize("number", range(6))
def test_a_page_stays_small_whatever_comes(number: int) -> None:
    huge = everything("W" * 1_000_000)[number]
    huge = replace(huge, messages=("m" * 20_000,) * 500, message_count=900, picture=b"x" * 1_000_000)
    assert len(render(huge, SERVICE).encode()) < 1_500_000


def test_the_progress_can_be_read_by_people_and_programs() -> None:
    page = render(view(progress=Progress(0.283, "layer 28")), SERVICE)
    assert 'role="progressbar"' in page and 'aria-valuenow="28"' in page
    assert "28 %" in page and "layer 28" in page and "1 min 16 s" in page
    unknown = render(view(progress=Progress()), SERVICE)
    assert "progress is not known" in unknown and "aria-valuenow" not in unknown


def test_readings_are_told_as_an_operator_reads_them() -> None:
    values = {"current": 0.00190931234, "fan": False, "limited": True, "none": float("nan")}
    page = render(view(progress=Progress(values=values)), SERVICE)
    for said in ("0.00190931", "no", "yes", "—"):
        assert f"<dd>{said}</dd>" in page


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.00011723, "A", "117.23 <small>µA</small>"),
        (-0.02, "A", "-20 <small>mA</small>"),
        (0.9999999996, "V", "1 <small>V</small>"),
        (4700, "Ω", "4.7 <small>kΩ</small>"),
        (0.0, "A", "0 <small>A</small>"),
        (2e-30, "F", "2e-06 <small>yF</small>"),
        (10**400, "Hz", "<small>Hz</small>"),
        (float("nan"), "A", "— <small>A</small>"),
        (0.5, "mm", "0.5 <small>mm</small>"),
        (True, "V", "yes <small>V</small>"),
    ],
)
def test_quantities_have_the_prefixes_that_the_plot_has(value: float, unit: str, shown: str) -> None:
    page = render(view(progress=Progress(values={"x": value}, units={"x": unit})), SERVICE)
    assert f"{shown}</dd>" in page


def test_the_inputs_are_shown_with_their_units() -> None:
    address = "https://lab.example/" + "x" * 500 + "/part.stl"
    given = {
        "target": 80.0,
        "duration": 20,
        "material": " <b>cop</b>per\n\nplate ",
        "note": "",
        "file": None,
        "url": address,
    }
    page = render(view(State.QUEUED, started=None, inputs=given), SERVICE)
    assert "<dt>duration</dt><dd>20 <small>s</small></dd>" in page
    assert "<dt>material</dt><dd>&lt;b&gt;cop&lt;/b&gt;per plate</dd>" in page
    assert ">note<" not in page and ">file<" not in page  # they were left empty
    assert "<dd>https://lab.example/xx" in page and "xx/part.stl</dd>" in page and "x" * 200 not in page


def test_what_comes_first_in_a_low_frame_comes_first() -> None:
    said = Progress(0.5, "layer 3", {"amps": 1.0}, picture=Picture("plot.png"))
    page = render(view(progress=said, picture=b"x", log="log"), SERVICE)
    assert sorted(page.index(text) for text in ('class="bar"', ">layer 3<", "<figure>", "<dt>elapsed")) == [
        page.index(text) for text in (">layer 3<", 'class="bar"', "<figure>", "<dt>elapsed")
    ]


def test_who_waits_learns_who_has_it_and_for_how_long() -> None:
    holders = (
        Holder("smu is in use by Sweep", NOW - 185),
        Holder("printer is reserved by Ada", NOW - 100, NOW + 1500.5),
        Holder("oven is unsafe and waits for an operator"),
    )
    page = render(
        view(State.QUEUED, started=None, place=2, holders=holders, ahead="1 waits for smu before it"), SERVICE
    )
    assert (
        "It starts by itself: smu is in use by Sweep, for 3 min 5 s now; printer is reserved by Ada for 25 min more;"
        " oven is unsafe and waits for an operator; 1 waits for smu before it." in page
    )


def test_who_waits_learns_the_place_and_the_reason() -> None:
    page = render(view(State.QUEUED, started=None, place=3, ahead="2 of 2 jobs are running"), SERVICE)
    assert "place 3" in page and "2 of 2 jobs are running" in page


def test_failure_and_abort_are_told_in_plain_words_with_the_log() -> None:
    page = render(view(State.FAILED, why="The oven's door is open.", log="a\nthe last line"), SERVICE)
    assert "Failed" in page and "The oven&#39;s door is open." in page and "the last line" in page
    assert "Aborted" in render(view(State.ABORTED, why="The execution was aborted."), SERVICE)


def test_a_program_s_own_page_is_shown_while_it_runs_and_ours_when_it_failed() -> None:
    own = "<html><body><b>my own page</b></body></html>"
    assert render(view(own_page=own), SERVICE) == own
    fragment = render(view(own_page="<p>only a part</p>"), SERVICE)
    assert fragment.startswith("<!DOCTYPE html>") and "<head>" in fragment and "<p>only a part</p>" in fragment
    assert "my own page" not in render(view(State.FAILED, why="x", own_page=own), SERVICE)
    assert "larger than" in render(view(own_page="x" * 1_500_000), SERVICE)


def test_a_picture_that_cannot_be_shown_is_named() -> None:
    for file, picture, words in (("a.exe", b"x", "use .svg, .png or .jpg"), ("a.png", b"x" * 1_000_001, "larger than")):
        assert words in render(view(progress=Progress(picture=Picture(file)), picture=picture), SERVICE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-0.2, "0 s"),
        (0.25, "0.2 s"),
        (3.96, "4 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_time_spans_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_dark_page_turns_the_plot_round_and_no_photograph() -> None:
    for file, turned in (("plot.png", True), ("photo.png", False)):
        page = render(view(progress=Progress(picture=Picture(file)), picture=b"x"), SERVICE)
        assert ('<img class="plot" src="data:' in page) is turned


@pytest.mark.parametrize("values", list(itertools.permutations((1, True, 1.0, 0.0, -0.0), 2)))
def test_a_kept_page_is_not_that_of_a_value_that_is_merely_equal(values: tuple[float, float]) -> None:
    pages = [render(view(progress=Progress(values={"x": value})), SERVICE) for value in values]
    page_module._pieces.clear()
    assert render(view(progress=Progress(values={"x": values[1]})), SERVICE) == pages[1]


def test_a_page_of_kept_pieces_is_the_page_that_is_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changes from one look to the next: what moves, what doesn't, and what wasn't there before."""
    monkeypatch.setattr(page_module, "PIECES_KEPT", 5)
    chance, names, alike = random.Random(5), ("a", "b"), 0
    for _ in range(400):
        some = chance.choice(everything(chance.choice((NASTY, "plain", ""))))
        name = chance.choice(names)
        progress = replace(
            some.progress,
            fraction=chance.choice((None, 0.0, 0.3, 0.57, 1.0)),
            stage=chance.choice(("", NASTY)),
            values=chance.choice((some.progress.values, {"x": 1}, {"x": True}, {"x": 1.0}, {"x": -0.0}, {"x": 0.0})),
        )
        shown = replace(
            some,
            progress=progress,
            record=replace(some.record, name=name),
            now=some.now + chance.choice((0.0, 100.0)),
            ran=chance.choice((None, 1.0, 99.0)),
            own_page=chance.choice((some.own_page, None, None)),
        )
        kept = Page(shown, SERVICE, "http://x/")
        later = replace(
            shown,
            now=shown.now + chance.choice((0.5, 1.0, 90_000.0)),
            ran=None if shown.ran is None else shown.ran + chance.choice((0.5, 1.0, 90_000.0)),
            progress=replace(shown.progress, fraction=chance.choice((shown.progress.fraction, 0.0, 0.29, 0.58, 1.0))),
        )
        with monkeypatch.context() as whole:
            whole.setattr(page_module, "KEPT_LARGEST", -1)
            assert render(shown, SERVICE, "http://x/") == kept.text
            assert Page(shown, SERVICE).template() is None or shown.own_page
        template = kept.template()
        assert template is not None
        for one in (shown, later):
            if one.record.state is State.RUNNING:
                page = base64.b64decode(template.at(one.moment) or b"").decode()
                with monkeypatch.context() as whole:
                    whole.setattr(page_module, "KEPT_LARGEST", -1)
                    assert page == render(one, SERVICE, "http://x/")
                alike += one is later
    assert {name for name, _ in page_module._pieces} <= set(names) and 0 < len(page_module._pieces) <= 5
    assert alike > 50


def test_a_page_template_gives_pages_that_have_other_words() -> None:
    running = view(progress=Progress(fraction=0.5))
    template = Page(running, SERVICE).template()
    assert template is not None
    for fraction in (0.5, None, 0.0, 0.3, 1.0, None):  # of some it is not known what remains
        page = base64.b64decode(template.at(running.moment._replace(fraction=fraction)) or b"").decode()
        assert page == render(replace(running, progress=Progress(fraction=fraction)), SERVICE)
        assert ("remaining, about" in page) is (fraction in (0.5, 0.3))

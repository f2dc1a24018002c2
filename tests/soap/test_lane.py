"""The poll's lane: the forms that it knows, the answers that it keeps, and when it is closed."""

import base64
import itertools
import logging
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callers import NS, Caller, Reply, envelope
from lab import PATIENCE, Lab, eventually
from labwaiter.page import PageTemplate
from labwaiter.soap import lane
from labwaiter.soap.door import Refused, parse
from labwaiter.soap.lane import FORMS_MAX, SEEN_MAX, Forms, KeptAnswer, KeptAnswers
from labwaiter.store import supervisor_client
from labwaiter.store.stamps import Stamps, is_young
from polls import TOOLKITS, kept_answers

OPERATIONS = {"getServiceStatus": ("serviceID", "sessionToken"), "abortService": ("serviceID", "sessionToken")}


def read(forms: Forms, body: str) -> tuple[str, str] | None:
    """The serviceID and the token that are read in it."""
    recognised = forms.read(body.encode())
    return None if recognised is None else (recognised.service_id, recognised.token)


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_a_poll_written_as_one_before_is_recognised_with_its_own_values(toolkit: str) -> None:
    forms = Forms(NS, OPERATIONS)
    forms.learn(TOOLKITS[toolkit].format("one", "a token").encode())
    assert not forms.are_known  # it may have something new each time
    forms.learn(TOOLKITS[toolkit].format("one", "another token").encode())
    for values in (("two", "another"), ("a b", "x" * 300), ('"quoted"', "it's = 1/2;"), ("two", "another")):
        assert read(forms, TOOLKITS[toolkit].format(*values)) == values


@pytest.mark.parametrize(
    "body",
    [
        TOOLKITS["suds"].format("one", "t<!-- a comment -->"),
        TOOLKITS["suds"].format("one", "<![CDATA[t]]>"),
        TOOLKITS["suds"].format("one", "t").replace("UTF-8", "utf-7"),
        TOOLKITS["suds"].format("one", "t").replace("UTF-8", "utf-16"),
        TOOLKITS["suds"].format("one", "t").replace("?><", "?><?a pi?><"),
        TOOLKITS["suds"].format("one", "t").replace('encoding="UTF-8"', "encoding=UTF-8"),  # read with a charset alone
        TOOLKITS["suds"].format("one", "t").replace("getServiceStatus", "abortService"),
        TOOLKITS["suds"].format("one", "t").replace("Header/>", "Header><serviceID>a</serviceID></SOAP-ENV:Header>"),
        TOOLKITS["suds"].format("one", "t").replace(NS, "urn:another"),
        TOOLKITS["types on its values"].format("one", "t").replace('i:type="x:string">t', 'i:nil="true">t'),
        TOOLKITS["zeep"].format("ü", "t"),
        TOOLKITS["zeep"].format("one", "t").replace("</soap-env:Body>", "</soap-env:Body>" + " " * 5000),
    ],
)  # fmt: skip
def test_what_is_no_plain_poll_is_never_learnt(body: str) -> None:
    forms = Forms(NS, OPERATIONS)
    for _ in range(3):
        forms.learn(body.encode())
    assert not forms.are_known


def test_one_odd_caller_keeps_nobody_else_s_form_out() -> None:
    forms, odd = Forms(NS, OPERATIONS), TOOLKITS["types on its values"]
    for number in range(3000):
        forms.learn(odd.format("one", "t").replace('Style=""', f'Style="urn:{number}"').encode())
    for number in range(3 * FORMS_MAX):  # these do come again
        for _ in range(2):
            forms.learn(odd.format("one", "t").replace('Style=""', f'Style="urn:x{number}"').encode())
    for _ in range(2):
        forms.learn(TOOLKITS["zeep"].format("one", "t").encode())
    assert read(forms, TOOLKITS["zeep"].format("two", "t")) == ("two", "t")
    assert len(forms._forms) == FORMS_MAX and len(forms._seen) <= SEEN_MAX


# -- both ways --------------------------------------------------------------------------------


@pytest.fixture
def two_ways(lab: Lab) -> tuple[Caller, Caller]:
    """The same deployment, with the lane and without it."""
    without = Caller(lab)
    without.application._soap.lane.is_open = False
    return Caller(lab), without


def polled(caller: Caller, service: str, service_id: str, token: str = "a token", **environ: Any) -> Reply:
    return caller(f"/{service}", envelope("getServiceStatus", serviceID=service_id, sessionToken=token), **environ)


def page_of(reply: Reply) -> str:
    """The page that an answer brings; "" where it brings none."""
    if not reply.status.startswith("200") or len(reply["status_base64"]) < 20:
        return ""
    return base64.b64decode(reply["status_base64"]).decode()


def at_one_second(ask: Callable[[], list[Reply]]) -> list[Reply]:
    """Answers that were given within one second, of the clock and of the execution's own: pages show both."""
    for _ in range(300):
        replies = ask()
        if len({tuple(re.findall("elapsed</dt><dd>([^<]*)|as of ([^<]*)<", page_of(reply))) for reply in replies}) == 1:
            return replies
    raise AssertionError("no three answers came within one second")


def test_polls_of_whatever_state_are_answered_alike_both_ways(lab: Lab, two_ways: tuple[Caller, Caller]) -> None:
    with_lane, without = two_ways
    lab.start("Unruly", "runs", word="hundred-but-running")
    lab.file("runs", "status.txt")
    lab.start("Echo", "done", text="<&\r\n>")
    lab.ended("done")
    lab.start("Unruly", "failed", word="exit")
    lab.ended("failed")
    lab.caught_up("runs")
    names = ["runs", "done", "failed", "nobody", "a b", "runs "]
    cases = itertools.product(
        3 * names, ("Unruly", "Echo", "Quiet"), ("a token", " ", "ü"), ("lab:8080", "other.example")
    )
    for name, service, token, host in cases:

        def ask(name: str = name, service: str = service, token: str = token, host: str = host) -> list[Reply]:
            ways = (with_lane, without, with_lane)
            return [polled(way, service, name, token, HTTP_HOST=host) for way in ways]

        assert len({(r.status, tuple(r.headers.items()), r.body) for r in at_one_second(ask)}) == 1
    assert kept_answers(with_lane.application) > 5 and not kept_answers(without.application)


def looking_at(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Polls the execution "one", whose page must have some words, and tells whether its records weren't looked at."""
    looks, records = [0], caller.application._jobs.records
    look = records.look
    monkeypatch.setattr(records, "look", lambda name, judge=None: looks.append(1) or look(name, judge))
    monkeypatch.setattr(lane.Form, "is_to_compare", lambda form: False)  # which is a look, too

    def without_a_look(words: str = "") -> bool:
        before = len(looks)
        assert words in page_of(polled(caller, "Unruly", "one"))
        return len(looks) == before

    return without_a_look


@pytest.mark.folder_way
def test_of_an_execution_whose_status_txt_alone_has_changed_nothing_else_is_read(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    monkeypatch.setattr(lane, "KEPT_SECONDS", PATIENCE)
    without_a_look, numbers = looking_at(caller, monkeypatch), itertools.cycle(range(2, 90))

    def changed_and_polled_without_a_look() -> bool:
        number = next(numbers)
        (lab.folder("one") / "status.txt").write_text(str(number))
        return without_a_look(f'aria-valuenow="{number}"')

    eventually(changed_and_polled_without_a_look)
    for _ in range(50):
        assert changed_and_polled_without_a_look()
    (lab.folder("one") / "status.txt").unlink()
    assert not without_a_look("The progress is not known")
    eventually(lambda: without_a_look("The progress is not known"))
    assert not changed_and_polled_without_a_look()
    eventually(changed_and_polled_without_a_look)


@pytest.mark.folder_way
def test_a_page_is_made_once_a_second_also_where_the_function_itself_says_how_far_it_is(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start("Steps", "one", count=2, step=600)
    lab.when("one", lambda: lab.status_progress("one").stage == "at 0.00 s")
    monkeypatch.setattr(lane, "KEPT_SECONDS", PATIENCE)
    made, at = [0.0], PageTemplate.at
    monkeypatch.setattr(PageTemplate, "at", lambda self, moment: made.append(moment.now) or at(self, moment))
    eventually(lambda: polled(caller, "Steps", "one") and kept_answers(caller.application) > 5)
    for _ in range(300):
        assert "at 0.00 s" in page_of(polled(caller, "Steps", "one"))
    assert len(made) <= 2 * (1 + len(set(map(int, made))))  # two clocks, whose seconds begin at other times


@pytest.mark.folder_way
def test_of_an_execution_that_goes_on_it_is_noted_each_second_that_somebody_asks(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    monkeypatch.setattr(lane, "RENEWED_SECONDS", 10 * PATIENCE)
    without_a_look = looking_at(caller, monkeypatch)
    eventually(without_a_look)
    for _ in range(2):
        before = lab.store.polled_at("one") or 0.0

        def is_noted(before: float = before) -> bool:
            assert without_a_look()
            return (lab.store.polled_at("one") or 0.0) > before

        eventually(is_noted)


@pytest.mark.folder_way
@pytest.mark.parametrize("lacks", ["supervisor", "mark"])
def test_where_nobody_would_write_the_end_of_a_job_all_is_looked_at(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    monkeypatch.setattr(lane, "RENEWED_SECONDS", 10 * PATIENCE)
    without_a_look, supervisor = looking_at(caller, monkeypatch), lab.supervisor
    eventually(without_a_look)
    if lacks == "supervisor":
        monkeypatch.setattr(supervisor_client, "ensure", lambda *args, **more: None)
        for pid in (lab.fork_server, supervisor):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not without_a_look())
        return
    os.kill(supervisor, signal.SIGSTOP)  # it sets no mark
    try:
        lab.store.forget_active("one")
        eventually(lambda: not without_a_look())
        assert lab.store.is_active("one")
    finally:
        os.kill(supervisor, signal.SIGCONT)


@pytest.mark.folder_way
def test_a_file_of_the_job_that_grows_is_shown_as_it_is(lab: Lab, caller: Caller) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    made = lab.folder("one") / "data" / "curve.csv"
    for size in (1, 5, 50, 500):
        made.write_bytes(b"x" * size)
        for _ in range(3):
            assert f"{size} B" in base64.b64decode(polled(caller, "Unruly", "one")["status_base64"]).decode()
            time.sleep(0.03)  # so that its stamp is old enough to be trusted
    made.unlink()
    assert "curve.csv" not in base64.b64decode(polled(caller, "Unruly", "one")["status_base64"]).decode()


def test_an_answer_that_differs_closes_the_lane_and_is_in_the_log(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    monkeypatch.setattr(lane, "COMPARED_EVERY", 1)
    monkeypatch.setattr(lane, "COMPARED_SECONDS", 0.0)
    soap = caller.application._soap
    right = polled(caller, "Echo", "one")
    eventually(lambda: polled(caller, "Echo", "one").body == right.body and kept_answers(caller.application) > 5)
    assert soap.lane.is_open

    def spoilt() -> bool:
        for answer in soap.endpoint("Echo")._kept._answers.values():  # it is right for a second at most
            right_one = answer._made[0]
            answer._made = right_one._replace(body=right_one.body.replace(b"COMPLETED", b"UNCHANGED")), None
        assert polled(caller, "Echo", "one").body == right.body  # what is compared is what was made anew
        return not soap.lane.is_open

    with caplog.at_level(logging.ERROR):
        eventually(spoilt)
    assert "answered the long way" in caplog.text
    assert polled(caller, "Echo", "one").body == right.body


def test_what_the_lane_would_answer_first_is_compared_before_it_is_sent(
    lab: Lab, caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    right, keep = polled(caller, "Echo", "one"), KeptAnswers.keep

    def keep_another(self: KeptAnswers, service_id: str, public_url: str, answer: KeptAnswer) -> None:
        body = answer._made[0].body.replace(b"COMPLETED", b"UNCHANGED")
        keep(self, service_id, public_url, KeptAnswer(body, answer.record, answer._until - 1.0, answer._revision))

    monkeypatch.setattr(KeptAnswers, "keep", keep_another)

    def closed() -> bool:
        assert polled(caller, "Echo", "one").body == right.body
        return not caller.application._soap.lane.is_open

    with caplog.at_level(logging.ERROR):
        eventually(closed)
    assert "answered the long way" in caplog.text


@pytest.mark.folder_way
def test_an_execution_whose_folder_goes_while_it_is_looked_at_is_not_kept(
    lab: Lab, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    records = caller.application._jobs.records
    stamps = records.stamps

    def gone(view: Any, read_from: float) -> Any:
        if lab.folder("one").exists():
            lab.folder("one").rename(tmp_path / "archive")
        return stamps(view, read_from)

    monkeypatch.setattr(records, "stamps", gone)
    eventually(lambda: "UnknownServiceID" in polled(caller, "Echo", "one").body.decode())
    monkeypatch.undo()
    lab.start("Echo", "one", text="another")
    lab.ended("one")
    assert polled(caller, "Echo", "one")["text"] == "another"


@pytest.mark.folder_way
def test_what_a_request_says_at_length_is_not_remembered(lab: Lab, caller: Caller) -> None:
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    for number in range(5):
        assert polled(caller, "Echo", "one", HTTP_X_FORWARDED_PREFIX=f"/{number}" + "x" * 5000)["text"] == "x"
    assert not caller.application._soap.lane._places


def test_a_stamp_of_a_whole_second_is_trusted_late(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("x")
    changed = os.stat(file).st_ctime
    folder = os.fsencode(tmp_path)
    assert Stamps.of(folder, [b"x"], changed + 0.01) is None
    assert Stamps.of(folder, [b"x"], changed + 0.03) is not None or os.stat(file).st_ctime_ns % 10**9 == 0
    whole: Any = SimpleNamespace(st_ctime=5.0, st_ctime_ns=5 * 10**9)  # as of a disk that keeps no fractions
    assert is_young(whole, 6.9) and not is_young(whole, 7.1)
    assert Stamps.of(folder + b"/nothing", [], changed + 9) is None


@pytest.mark.folder_way
def test_switched_off_no_poll_is_recognised(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(POLL_LANE="off")
    lab.supervise()
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    caller = Caller(lab)
    for _ in range(5):
        assert polled(caller, "Echo", "one")["status_base64"] == "COMPLETED"
    assert not caller.application._soap.endpoint("Echo").forms.are_known


def test_a_body_that_the_lane_has_read_in_vain_is_read_at_the_door(lab: Lab, caller: Caller) -> None:
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    for _ in range(3):
        polled(caller, "Echo", "one")
    assert caller("/Echo", envelope("abortService", serviceID="one", sessionToken="t"))["success"] == "true"
    assert (
        "cut short"
        in caller("/Echo", envelope("getServiceStatus", serviceID="one"), CONTENT_LENGTH="2000")["faultstring"]
    )
    with pytest.raises(Refused):
        parse(b"", NS, OPERATIONS)

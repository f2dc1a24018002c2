"""A remote lab's file: what it may declare, and what is said where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged
from lab import Lab
from labwaiter.errors import InvalidParameter, LabClosed, NotPermitted, SessionOver, UnknownLab, UnknownSession
from labwaiter.model.caller import Caller, Identity, Role
from labwaiter.model.lab_session import LONGEST, service_id_of
from labwaiter.store.session_data import LARGEST, SessionData
from labwaiter.verbs.sessions import Sessions
from remotelab import SYSTEM, let_in, remote_lab


@pytest.fixture
def still(tmp_path: Path, bench: Plugged) -> Lab:
    """A deployment without a supervisor."""
    return remote_lab(tmp_path, bench)


def said(lab: Lab, text: str, name: str = "mine") -> list[str]:
    """What is wrong with a file of that text."""
    file = lab.settings.labs / f"{name}.py"
    file.write_text("from labwaiter import Lab, Range\n" + text + "\n")
    return Sessions(lab.settings).judge_file(file, SYSTEM)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "mine.py declares no lab: write lab = Lab(…)."),
        ("a = Lab(['smu'])\nb = Lab(['smu'])", "mine.py declares 2 labs: give each a file of its own."),
        ("lab = Lab([])", "mine.py: a remote lab needs one instrument at least."),
        ("lab = Lab('smu')", 'mine.py: instruments must be a list of names, e.g. ["meter"].'),
        (
            "lab = Lab(['spectrometer'])",
            "mine.py: lab.toml has no instrument spectrometer; there are: smu, relays, printer, ",
        ),
        ("lab = Lab(['smu'], controls=['volts'])", "mine.py: controls names “volts”: write INSTRUMENT.NAME, with one"),
        ("lab = Lab(['smu'], controls='smu.volts')", 'mine.py: controls must be a list, e.g. ["meter.volts"].'),
        (
            "lab = Lab(['smu'], controls=['smu.watts'])",
            "mine.py names the control smu.watts, which the driver of smu doesn't declare; there are: volts, comp",
        ),
        (
            "lab = Lab(['smu'], actions=['smu.volts'])",
            "mine.py names the action smu.volts, which the driver of smu doesn't declare; there are: output.",
        ),
        (
            "lab = Lab(['smu'], controls={'smu.volts': Range(0, 500)})",
            "mine.py gives smu.volts wider limits than its driver: between -210 and 210 V.",
        ),
        ("lab = Lab(['smu'], controls={'smu.volts': 3})", "mine.py: the limits of smu.volts must be a Range or None."),
        ("lab = Lab(['smu'], dispose_limit=0)", "mine.py: dispose_limit must be a number of seconds, at most 3600."),
        ("lab = Lab(['smu'], page=3)", "mine.py: page must be a text."),
        (
            "lab = Lab(['smu'])\n@lab.action\ndef go(session, far): ...",
            "mine.py: go: the input far needs a type, e.g. far: int.",
        ),
        (
            "lab = Lab(['smu'])\n@lab.action\ndef go(): ...",
            "mine.py: go needs `session` as its first parameter.",
        ),
        (
            "lab = Lab(['smu'])\n@lab.on_start\ndef start(client_data, server_data): ...",
            "mine.py: on_start is called with the session alone, and start(client_data, server_data) takes something",
        ),
        (
            "lab = Lab(['smu'])\n@lab.on_dispose\ndef dispose(): ...",
            "mine.py: on_dispose is called with the session alone, and dispose() takes something else: write def disp",
        ),
        (
            "lab = Lab(['smu'])\n@lab.on_start\nasync def start(session): ...",
            "mine.py: start must be a plain function: without async, await and yield.",
        ),
        (
            "lab = Lab(['smu'])\n@lab.action\ndef go(session):\n    yield 1",
            "mine.py: go must be a plain function: without async, await and yield.",
        ),
        ("lab = Lab(['smu'], page='own.html')", "mine.py names the page own.html, but there is no file mine/own.html."),
        ("lab = Lab(['smu'], page='web:page')", "mine.py names the page web:page, but there is no file mine/web.py."),
        ("lab = Lab(['smu'], page='../diode.py')", "mine.py names the page ../diode.py, but there is no file mine/../"),
        ("lab = Lab(['smu']", "mine.py has a syntax error in line"),
        ("import nowhere_at_all", "mine.py needs the module nowhere_at_all, which is not installed."),
        ("lab = Lab(['smu'])\nraise OSError('no display')", "mine.py does not import: OSError: no display"),
        ("import os\nos.abort()", "mine.py ended the process that imported it (SIGABRT)"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(still: Lab, text: str, why: str) -> None:
    [mistake, *_] = said(still, text)
    assert mistake.startswith(why)


def test_a_name_that_can_stand_in_no_address(still: Lab) -> None:
    [mistake] = said(still, "lab = Lab(['smu'])", "My Lab")
    assert mistake.startswith("My Lab.py: a remote lab's name stands in addresses: small letters")


def test_a_file_is_looked_at_again_when_it_has_changed(still: Lab) -> None:
    verbs = Sessions(still.settings)
    assert said(still, "lab = Lab(['smu'])") == []
    assert [view.name for view in verbs.labs(SYSTEM)] == ["diode", "either", "mine"]
    said(still, '"""Two words."""\nlab = Lab(["smu", "relays"])')
    [mine] = [view for view in verbs.labs(SYSTEM) if view.name == "mine"]
    assert (mine.title, list(mine.instruments)) == ("mine", ["smu", "relays"])  # the docstring is not the first line
    said(still, "lab = Lab(['smu'], nonsense=1)")
    [mine] = [view for view in verbs.labs(SYSTEM) if view.name == "mine"]
    assert not mine.is_open and "mine.py does not import: TypeError" in mine.why_closed
    (still.settings.labs / "mine.py").unlink()
    with pytest.raises(UnknownLab, match="There is no remote lab mine; there are: diode, either."):
        verbs.lab("mine", SYSTEM)


def test_a_lab_that_names_too_much_is_closed_and_lets_nobody_in(here: Lab) -> None:
    said(here, "lab = Lab(['smu'], controls=['smu.watts'])")
    verbs = Sessions(here.settings)
    [mine] = [view for view in verbs.labs(SYSTEM) if view.name == "mine"]
    words = "names the control smu.watts, which the driver of smu doesn't declare"
    assert not mine.is_open and words in mine.why_closed
    [why] = verbs.test("mine", SYSTEM)
    assert why == mine.why_closed
    with pytest.raises(LabClosed, match=words):
        let_in(here, "mine")
    assert verbs.sessions(SYSTEM) == []
    said(here, "lab = Lab(['smu'], controls=['smu.volts'])")
    assert verbs.test("mine", SYSTEM) == []


def test_a_driver_that_is_mended_opens_its_labs_again(still: Lab, bench: Plugged) -> None:
    driver = still.settings.services / "own_driver.py"
    driver.write_text("import nowhere_at_all\n")
    with open(bench.toml, "a") as lab_toml:
        lab_toml.write(
            f'\n[instruments.mine]\ndriver = "own_driver:Mine"\nport = "{bench.folder}/smu"\nsafe = "itself"\n'
        )
    verbs = Sessions(still.settings)
    [why, *_] = said(still, "lab = Lab(['mine'])")
    assert "own_driver" in why and "nowhere_at_all" in why
    assert verbs.test("mine", SYSTEM) == [why]
    driver.write_text("from labwaiter.instruments.drivers import SourceMeter\n\n\nclass Mine(SourceMeter): ...\n")
    with open(bench.toml, "a") as lab_toml:
        lab_toml.write("\n")  # what could not be imported is kept for a minute, or until lab.toml changes
    assert verbs.test("mine", SYSTEM) == []
    said(still, "lab = Lab(['mine'], actions=['mine.ring'])")
    assert "names the action mine.ring" in verbs.test("mine", SYSTEM)[0]
    text = driver.read_text().replace("...", "\n    @action\n    def ring(self) -> None: ...")
    driver.write_text("from labwaiter.instruments import action\n" + text)
    assert verbs.test("mine", SYSTEM) == []


def test_nothing_over_a_limit_and_nothing_else_reaches_the_line(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), let_in(here)
    begun, student = bench.count("smu"), session.session_id
    tried: list[tuple[Any, str]] = [
        (lambda: verbs.set(student, "meter", "volts", 3.5), "meter: volts must be between 0 and 3 V, not “3.5”."),
        (lambda: verbs.set(student, "meter", "compliance", 1), "meter has no control “compliance”; there are: volts."),
        (lambda: verbs.set(student, "smu", "volts", 1), "There is no instrument smu in this lab; there are: meter."),
        (lambda: verbs.do(student, "meter", "raise_errors", {}), "meter has no action “raise_errors”; there are: out"),
        (lambda: verbs.act(student, "curve", {"top": 9}), "diode: curve: top must be between 0 and 3 V, not “9”."),
        (lambda: verbs.act(student, "os", {}), "diode has no action “os”; there are: curve."),
    ]
    for attempt, why in tried:
        with pytest.raises(InvalidParameter) as refused:
            attempt()
        assert refused.value.message.startswith(why)
    assert bench.count("smu") == begun
    verbs.leave(student)
    assert verbs.gone(student, 60)
    with pytest.raises(SessionOver, match="This session is over. You have left the lab."):
        verbs.set(student, "meter", "volts", 1)


def test_the_id_is_a_secret_and_is_nowhere(here: Lab) -> None:
    session, verbs = let_in(here), Sessions(here.settings)
    secret = session.session_id
    assert session.service_id == service_id_of(secret) and secret not in repr(verbs.sessions(SYSTEM))
    for each in ("look", "alive", "leave", "data"):
        with pytest.raises(UnknownSession):
            getattr(verbs, each)(session.service_id)  # who may see executions is not the student
    verbs.end(session.service_id, SYSTEM)  # but who let the student in may end it by that
    assert verbs.gone(secret, 60)
    for path in here.root.rglob("*"):
        if path.is_file() and "supervisor.lock" not in path.name:
            assert secret.encode() not in path.read_bytes(), path
    guest = Caller(Identity("guy", "optics", Role.USER), face="page")
    for forbidden in (lambda: verbs.status(secret, guest), lambda: let_in_by(here, guest)):
        with pytest.raises(NotPermitted, match="You may not let people into remote labs here."):
            forbidden()


def let_in_by(lab: Lab, caller: Caller) -> None:
    from labwaiter.model.lab_session import About

    Sessions(lab.settings).start("diode", About(), caller)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"length_s": 0.0}, "A session must last from 1 s to 12 h, not 0.0 s."),
        ({"length_s": LONGEST + 1}, "A session must last from 1 s to 12 h"),
        ({"length_s": 10.0, "start": 1000.0}, "The session's time is over already"),
        ({"client_data": {"a": "x" * 300_000}}, "What is said of the session has 300,"),
    ],
)
def test_what_can_not_be_said_of_a_session(still: Lab, about: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        let_in(still, **about)
    assert refused.value.message.startswith(why)


def test_data_of_a_session(tmp_path: Path) -> None:
    data, other = SessionData(tmp_path), SessionData(tmp_path)
    assert dict(data) == {} and len(data) == 0
    data["points"] = [1, 2]
    other["points"] = other["points"] + [3]
    data.change({"who": "ada", "on": True})
    assert dict(other) == {"points": [1, 2, 3], "who": "ada", "on": True}
    del other["who"]
    with pytest.raises(KeyError):
        data["who"]
    with pytest.raises(TypeError):
        data["file"] = object()
    with pytest.raises(ValueError, match="Such data may have 1,000,000 bytes; this is 1,000,0"):
        data["long"] = "x" * LARGEST
    assert dict(data) == {"points": [1, 2, 3], "on": True}

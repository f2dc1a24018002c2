"""Every verb asks in one place who may do what, before it does anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from labwaiter.errors import NotPermitted, UnknownServiceID
from labwaiter.model.caller import Caller
from labwaiter.model.record import Record, Request, State
from labwaiter.model.service import Service
from labwaiter.settings import Settings, load
from labwaiter.store.leases import Leases
from labwaiter.store.names import folder_name
from labwaiter.verbs import Jobs, permission
from labwaiter.verbs.instruments import Instruments
from labwaiter.verbs.permission import Action

TOML = """
[instruments.smu]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "/dev/null"
"""
ADA = Caller(user="Ada")
ECHO = Service("Echo", "urn:echo", "startEcho", (), (), "Says it again.", Path("echo.py"))
ONE = Record("one", Request("one", "Echo", {}), State.RUNNING)
JOBS: dict[str, tuple[Action, Callable[[Jobs], Any]]] = {
    "start": (Action.START, lambda verbs: verbs.start(ECHO, "new", {}, ADA)),
    "status": (Action.SEE, lambda verbs: verbs.status(ECHO, "one", ADA)),
    "goes_on": (Action.SEE, lambda verbs: verbs.goes_on(ONE, Mock(), ADA)),
    "abort": (Action.ABORT, lambda verbs: verbs.abort(ECHO, "one", ADA, 0.1)),
    "wait": (Action.SEE, lambda verbs: verbs.wait("one", 0.1, ADA)),
    "notify": (Action.NOTIFY, lambda verbs: verbs.notify(ECHO, "one", "hello", ADA, 0.1)),
    "abort_queued": (Action.SEE, lambda verbs: verbs.abort_queued(["one"], ADA)),
    "record": (Action.SEE, lambda verbs: verbs.record("one", ADA)),
    "view": (Action.SEE, lambda verbs: verbs.view("one", ADA)),
    "remove": (Action.REMOVE, lambda verbs: verbs.remove("one", ADA)),
    "files": (Action.READ_FILES, lambda verbs: verbs.files("one", ADA)),
    "file": (Action.READ_FILES, lambda verbs: verbs.file("one", "made.txt", ADA)),
    "linked_files": (Action.READ_FILES, lambda verbs: verbs.linked_files("one", key(verbs), ADA)),
    "linked_file": (Action.READ_FILES, lambda verbs: verbs.linked_file("one", key(verbs), "made.txt", ADA)),
}
LISTS: dict[str, Callable[[Jobs], Any]] = {
    "list": lambda verbs: verbs.list(ADA),
    "newest": lambda verbs: verbs.newest(10, ADA)[0],
    "queued": lambda verbs: verbs.queued(ADA),
}
INSTRUMENTS: dict[str, tuple[Action, Callable[[Instruments], Any]]] = {
    "list": (Action.LIST_INSTRUMENTS, lambda verbs: verbs.list(ADA)),
    "check": (Action.CHECK, lambda verbs: verbs.check(["smu"], ADA)),
    "reserve": (Action.RESERVE, lambda verbs: verbs.reserve("smu", 60, ADA)),
    "release": (Action.RELEASE, lambda verbs: verbs.release("smu", ADA)),
    "make_safe": (Action.MAKE_SAFE, lambda verbs: verbs.make_safe(["smu"], ADA)),
}


def key(verbs: Jobs) -> str:
    """Of the link to the files of the execution `one`."""
    return verbs.artifacts.link("one").split("/")[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "lab.toml").write_text(TOML)
    names = {"LAB": "lab.toml", "WAITER_LOG_FOLDER": "jobs", "SERVICES": "services"}
    return load({name: str(tmp_path / path) for name, path in names.items()}, tmp_path / "env")


@pytest.fixture
def verbs(settings: Settings) -> Jobs:
    """With one execution, which waits to begin: no supervisor is here."""
    verbs = Jobs(settings)
    verbs.records.claim("one", Request("one", "Echo", {}, None, "Bob", 1.8e9))
    return verbs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Caller, Action, str]]:
    """Nobody may do anything; gets who asked for what."""
    asked: list[tuple[Caller, Action, str]] = []

    def may(caller: Caller, action: Action, target: Record | str) -> bool:
        asked.append((caller, action, target if isinstance(target, str) else target.request.service_id))
        return False

    monkeypatch.setattr(permission, "may", may)
    return asked


@pytest.mark.parametrize("verb", JOBS)
def test_a_verb_over_an_execution_asks_for_that_one(
    verbs: Jobs, asked: list[tuple[Caller, Action, str]], verb: str
) -> None:
    action, call = JOBS[verb]
    with pytest.raises(NotPermitted, match=f"^You may not {action} here[.]$"):
        call(verbs)
    assert asked == [(ADA, action, "new" if verb == "start" else "one")]
    assert list(verbs.records.names()) == ["one"] and not verbs.records.buried("one")


@pytest.mark.parametrize("verb", LISTS)
def test_a_list_leaves_out_what_its_caller_may_not_see(
    verbs: Jobs, asked: list[tuple[Caller, Action, str]], verb: str
) -> None:
    assert LISTS[verb](verbs) == [] and asked == [(ADA, Action.SEE, "one")]


@pytest.mark.parametrize("verb", INSTRUMENTS)
def test_a_verb_over_instruments_asks_for_each(
    settings: Settings, asked: list[tuple[Caller, Action, str]], verb: str
) -> None:
    action, call = INSTRUMENTS[verb]
    with pytest.raises(NotPermitted, match=f"^You may not {action} here[.]$"):
        call(Instruments(settings))
    assert asked == [(ADA, action, "" if verb == "list" else "smu")]
    assert Leases(settings.jobs_folder).all() == {}


def test_who_may_not_see_an_execution_can_not_abort_one_whose_record_is_damaged(
    verbs: Jobs, settings: Settings, asked: list[tuple[Caller, Action, str]]
) -> None:
    (settings.jobs_folder / folder_name("one") / "request.json").write_text("{damaged")
    with pytest.raises(NotPermitted):
        verbs.abort(ECHO, "one", ADA, 0.1)
    assert asked == [(ADA, Action.ABORT, "one")]


def test_no_verb_has_a_caller_of_its_own_accord() -> None:
    callers = {
        (verbs.__name__, name): parameter.default
        for verbs in (Jobs, Instruments)
        for name, verb in inspect.getmembers(verbs, inspect.isfunction)
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name == "caller" and not name.startswith("_")
    }
    assert set(callers.values()) == {inspect.Parameter.empty}
    assert {name for kind, name in callers if kind == "Jobs"} == {*JOBS, *LISTS}
    assert {name for kind, name in callers if kind == "Instruments"} == {*INSTRUMENTS}


def test_today_whoever_can_call_may(verbs: Jobs) -> None:
    assert [record.request.service_id for record in verbs.list(Caller())] == ["one"]
    with pytest.raises(UnknownServiceID):
        verbs.record("two", Caller())

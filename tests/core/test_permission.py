"""Who may do what: each verb, tried by everybody whom a deployment knows."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from labwaiter.errors import InvalidParameter, NotPermitted, ServiceIDInUse, Unavailable, UnknownServiceID
from labwaiter.model.caller import EVERYBODY, PASSER_BY, SHELL, Caller, Identity, Role
from labwaiter.model.record import Request
from labwaiter.model.service import Service
from labwaiter.settings import Settings, load
from labwaiter.store.leases import Leases
from labwaiter.store.names import folder_name
from labwaiter.verbs import Jobs
from labwaiter.verbs.instruments import Instruments

TOML = """
[instruments.smu]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "/dev/null"
"""
OPTICS = Identity("ada", "optics")  # whose the execution `one` is
OWNERS = {
    "its user": OPTICS,
    "of its project": replace(OPTICS, user="bob"),
    "its user, who owns alone": replace(OPTICS, owns_alone=True),
    "an operator": Identity("eve", "other", Role.OPERATOR),
    "an administrator": Identity("eve", "other", Role.ADMINISTRATOR),
    "everybody, where all tokens are good": EVERYBODY,
}
STRANGERS = {
    "of another project": replace(OPTICS, project="acoustics"),
    "of its project, where users own alone": replace(OPTICS, user="bob", owns_alone=True),
    "by another manager's word": replace(OPTICS, authority="https://manager.example/?wsdl"),
    "of no project": replace(OPTICS, project=""),
    "a guest of another project": Identity("ada", "acoustics", Role.GUEST),
    "nobody knows whom": None,
}
GUEST = Caller(replace(OPTICS, user="gus", role=Role.GUEST))
ECHO = Service("Echo", "urn:echo", "startEcho", (), (), "Says it again.", Path("echo.py"))
# over one execution, by its serviceID or its folder's name
JOBS: dict[str, Callable[[Jobs, str, Caller], Any]] = {
    "status": lambda verbs, name, caller: verbs.status(ECHO, name, caller),
    "abort": lambda verbs, name, caller: verbs.abort(ECHO, name, caller, 0.1),
    "wait": lambda verbs, name, caller: verbs.wait(name, 0.1, caller),
    "notify": lambda verbs, name, caller: verbs.notify(ECHO, name, "hello", caller, 0.1),
    "abort_queued": lambda verbs, name, caller: verbs.abort_queued([name], caller),
    "record": lambda verbs, name, caller: verbs.record(name, caller),
    "view": lambda verbs, name, caller: verbs.view(name, caller),
    "views": lambda verbs, name, caller: next(verbs.views(name, 0, caller)),
    "timeline": lambda verbs, name, caller: verbs.timeline(name, caller),
    "log": lambda verbs, name, caller: verbs.log(name, 0, 100, caller),
    "remove": lambda verbs, name, caller: verbs.remove(name, caller),
}
FILES: dict[str, Callable[[Jobs, str, Caller], Any]] = {
    "files": lambda verbs, name, caller: verbs.files(name, caller),
    "file": lambda verbs, name, caller: verbs.file(name, "made.txt", caller),
}
LISTS: dict[str, Callable[[Jobs, Caller], list[Any]]] = {
    "list": lambda verbs, caller: verbs.list(caller),
    "newest": lambda verbs, caller: verbs.newest(10, caller)[0],
    "queued": lambda verbs, caller: verbs.queued(caller),
}
INSTRUMENTS: dict[str, Callable[[Instruments, Caller], Any]] = {
    "list": lambda verbs, caller: verbs.list(caller),
    "check": lambda verbs, caller: verbs.check(["smu"], caller),
    "reserve": lambda verbs, caller: verbs.reserve("smu", 60, caller),
    "release": lambda verbs, caller: verbs.release("smu", caller),
    "make_safe": lambda verbs, caller: verbs.make_safe(["smu"], caller),
    "stop": lambda verbs, caller: verbs.stop(["smu"], caller, 0.1),
    "take_out": lambda verbs, caller: verbs.take_out("smu", "new lamp", caller),
    "put_back": lambda verbs, caller: verbs.put_back("smu", caller),
    "note": lambda verbs, caller: verbs.note("smu", "dusty", caller),
    "upkeep": lambda verbs, caller: verbs.upkeep("smu", caller),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "lab.toml").write_text(TOML)
    names = {"LAB": "lab.toml", "WAITER_LOG_FOLDER": "jobs", "SERVICES": "services", "FILES_FOLDER": "files"}
    paths = {name: str(tmp_path / path) for name, path in names.items()}
    return load({**paths, "SUPERVISOR": "elsewhere"}, tmp_path / "env")  # nobody starts one


@pytest.fixture
def verbs(settings: Settings) -> Jobs:
    """With one execution, which waits to begin: no supervisor is here."""
    verbs = Jobs(settings)
    verbs.records.claim("one", Request("one", "Echo", {}, None, "ada", 1.8e9, project="optics"))
    return verbs


# -- executions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", OWNERS)
def test_whose_it_is_may_see_and_abort_it(verbs: Jobs, who: str) -> None:
    caller = Caller(OWNERS[who])
    assert verbs.status(ECHO, "one", caller).view.record.request.service_id == "one"
    assert [record.name for record in verbs.list(caller)] == ["one"] and not verbs.files("one", caller)
    assert verbs.abort(ECHO, "one", caller, 0.0) is False  # nobody is here to do it


@pytest.mark.parametrize("verb", JOBS)
@pytest.mark.parametrize("who", STRANGERS)
def test_everybody_else_hears_what_is_said_of_an_unknown_one(verbs: Jobs, who: str, verb: str) -> None:
    caller = Caller(STRANGERS[who])
    with pytest.raises(UnknownServiceID) as unknown:
        JOBS[verb](verbs, "two", SHELL)
    with pytest.raises(UnknownServiceID) as refused:
        JOBS[verb](verbs, "one", caller)
    assert refused.value.args == unknown.value.args
    assert not verbs.records.record("one").abort_asked


@pytest.mark.parametrize("verb", JOBS)
@pytest.mark.parametrize("who", STRANGERS)
def test_that_one_was_removed_is_told_to_whose_it_was(verbs: Jobs, who: str, verb: str) -> None:
    verbs.records.bury(verbs.records.record("one"))
    with pytest.raises(UnknownServiceID, match="^Nothing was started under this serviceID[.]$"):
        JOBS[verb](verbs, "one", Caller(STRANGERS[who]))
    for owner in OWNERS.values():
        with pytest.raises(UnknownServiceID, match="has been removed"):
            JOBS[verb](verbs, "one", Caller(owner))


def test_of_a_tombstone_without_an_owner_operators_alone_are_told(verbs: Jobs, settings: Settings) -> None:
    verbs.records.bury(verbs.records.record("one"))
    (settings.jobs_folder / "one" / "tombstone.json").write_text('{"service": "Echo", "removed": 5.0}')  # 0.4.0's
    with pytest.raises(UnknownServiceID, match="Nothing was started"):
        verbs.status(ECHO, "one", Caller(OPTICS))
    with pytest.raises(ServiceIDInUse):
        verbs.start(ECHO, "one", {}, Caller(OPTICS))
    with pytest.raises(UnknownServiceID, match="has been removed"):
        verbs.status(ECHO, "one", SHELL)


@pytest.mark.parametrize("verb", JOBS)
def test_others_looks_have_nothing_done_about_an_execution(verbs: Jobs, settings: Settings, verb: str) -> None:
    mark = settings.layout.active / "one"
    mark.unlink()
    with pytest.raises(UnknownServiceID):
        JOBS[verb](verbs, "one", Caller(STRANGERS["of another project"]))
    verbs.heard("one", STRANGERS["of another project"])
    assert not mark.exists()
    verbs.status(ECHO, "one", Caller(OPTICS))
    assert mark.exists()


def test_nobody_else_has_an_answer_that_was_kept_renewed(verbs: Jobs) -> None:
    record, revision = verbs.records.record("one"), Mock(look_again=lambda: True)
    assert verbs.goes_on(record, revision, Caller(OPTICS)) is True
    with pytest.raises(NotPermitted):
        verbs.goes_on(record, revision, Caller(STRANGERS["of another project"]))


@pytest.mark.parametrize("verb", LISTS)
@pytest.mark.parametrize("who", STRANGERS)
def test_a_list_leaves_out_what_its_caller_may_not_see(verbs: Jobs, who: str, verb: str) -> None:
    assert LISTS[verb](verbs, Caller(STRANGERS[who])) == [] and len(LISTS[verb](verbs, Caller(OPTICS))) == 1


@pytest.mark.parametrize("verb", FILES)
@pytest.mark.parametrize("who", STRANGERS)
def test_its_files_are_not_read_by_others(verbs: Jobs, who: str, verb: str) -> None:
    with pytest.raises(NotPermitted, match="^You may not read files of executions here[.]$"):
        FILES[verb](verbs, "one", Caller(STRANGERS[who]))


def test_a_link_to_its_files_is_good_for_whoever_has_it(verbs: Jobs, settings: Settings) -> None:
    made = settings.jobs_folder / "one" / "data" / "made.txt"
    made.parent.mkdir(exist_ok=True)
    made.write_text("x")
    key = verbs.artifacts.link("one").split("/")[3]
    assert verbs.linked_file("one", key, "made.txt") and verbs.linked_files("one", key)
    assert verbs.linked_file("one", "x" + key[1:], "made.txt") is None


@pytest.mark.parametrize("who", ["of another project", "of its project, where users own alone"])
def test_a_start_under_another_s_serviceID_says_no_more_than_that(verbs: Jobs, who: str) -> None:
    for service in (ECHO, replace(ECHO, name="Other")):
        with pytest.raises(ServiceIDInUse, match="^This serviceID belongs to another execution: use a new one[.]$"):
            verbs.start(service, "one", {}, Caller(STRANGERS[who]))


def test_what_is_started_belongs_to_its_caller(verbs: Jobs) -> None:
    verbs.start(ECHO, "new", {}, Caller(OPTICS))
    assert verbs.records.record("new").request.project == "optics"
    with pytest.raises(UnknownServiceID):
        verbs.status(ECHO, "new", Caller(STRANGERS["of another project"]))


def test_a_guest_of_its_project_may_only_look(verbs: Jobs) -> None:
    assert verbs.status(ECHO, "one", GUEST) and not verbs.files("one", GUEST)
    for verb in ("abort", "notify", "remove"):
        with pytest.raises(NotPermitted):
            JOBS[verb](verbs, "one", GUEST)
    with pytest.raises(NotPermitted, match="^You may not start executions here[.]$"):
        verbs.start(ECHO, "new", {}, GUEST)
    assert [*verbs.records.names()] == ["one"]


def test_who_comes_without_a_token_where_guests_are_let_in_sees_all_and_does_nothing(verbs: Jobs) -> None:
    caller = Caller(PASSER_BY)
    assert verbs.status(ECHO, "one", caller) and not verbs.files("one", caller)
    assert [record.name for record in verbs.list(caller)] == ["one"]
    for verb in ("abort", "notify", "remove"):
        with pytest.raises(NotPermitted):
            JOBS[verb](verbs, "one", caller)
    with pytest.raises(NotPermitted):
        verbs.start(ECHO, "new", {}, caller)


def test_a_file_is_handed_in_by_who_may_start_something(verbs: Jobs) -> None:
    for caller in (GUEST, Caller(PASSER_BY), Caller()):
        with pytest.raises(NotPermitted):
            verbs.take_in("part.stl", io.BytesIO(b"solid"), caller)
    assert verbs.take_in("../a/part.stl", io.BytesIO(b"solid"), Caller(OPTICS)) == "handed-in/part.stl"
    assert verbs.take_in("part.stl", io.BytesIO(b"solid"), Caller(OPTICS)) == "handed-in/part.stl"
    other = verbs.take_in("C:\\part.stl", io.BytesIO(b"another"), Caller(OPTICS))
    assert other.startswith("handed-in/part-") and other.endswith(".stl")
    assert verbs.artifacts.find("handed-in/part.stl").read_bytes() == b"solid"  # type: ignore[union-attr]
    for wrong in ("", "..", "/", " . "):
        with pytest.raises(InvalidParameter):
            verbs.take_in(wrong, io.BytesIO(b"x"), Caller(OPTICS))


def test_whose_record_is_damaged_is_aborted_by_those_whom_it_can_belong_to_anyway(
    verbs: Jobs, settings: Settings
) -> None:
    (settings.jobs_folder / folder_name("one") / "request.json").write_text("{damaged")
    with pytest.raises(Unavailable):  # whose it is can't be read
        verbs.abort(ECHO, "one", Caller(OPTICS), 0.1)
    assert not (settings.jobs_folder / "one" / "abort").exists()
    verbs.abort(ECHO, "one", Caller(OWNERS["an operator"]), 0.1)
    assert (settings.jobs_folder / "one" / "abort").exists()


# -- instruments ----------------------------------------------------------------------------------------


def test_a_user_may_see_instruments_and_make_them_safe_and_nothing_else(settings: Settings) -> None:
    verbs, user = Instruments(settings), Caller(OPTICS)
    assert INSTRUMENTS["list"](verbs, user) and INSTRUMENTS["make_safe"](verbs, user)
    for verb in ("check", "reserve", "release", "take_out", "put_back", "note"):
        with pytest.raises(NotPermitted):
            INSTRUMENTS[verb](verbs, user)
    assert Leases(settings.jobs_folder).all() == {} or "smu" in Leases(settings.jobs_folder).all()


@pytest.mark.parametrize("verb", [name for name in INSTRUMENTS if name not in ("list", "upkeep")])
@pytest.mark.parametrize("caller", [GUEST, Caller()], ids=["a guest", "nobody knows whom"])
def test_others_touch_none(settings: Settings, verb: str, caller: Caller) -> None:
    with pytest.raises(NotPermitted):
        INSTRUMENTS[verb](Instruments(settings), caller)
    assert Leases(settings.jobs_folder).all() == {}


def test_an_operator_may_do_all(settings: Settings) -> None:
    verbs, operator = Instruments(settings), Caller(OWNERS["an operator"])
    for verb in ("reserve", "release"):
        INSTRUMENTS[verb](verbs, operator)


# -- all of them ----------------------------------------------------------------------------------------


def test_no_verb_has_a_caller_of_its_own_accord() -> None:
    callers = {
        (verbs.__name__, name): parameter.default
        for verbs in (Jobs, Instruments)
        for name, verb in inspect.getmembers(verbs, inspect.isfunction)
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name == "caller" and not name.startswith("_")
    }
    assert set(callers.values()) == {inspect.Parameter.empty}
    assert {name for kind, name in callers if kind == "Jobs"} == {
        "start",
        "goes_on",
        "take_in",
        "service_id_of",
        "buttons",  # these two look at the key alone, or give none
        "by_page_key",
        *JOBS,
        *FILES,
        *LISTS,
    }
    assert {name for kind, name in callers if kind == "Instruments"} == {*INSTRUMENTS}

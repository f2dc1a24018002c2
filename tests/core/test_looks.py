"""What a face knows, withdraws and is refused, in every case that Redis and machines bring: over the store's twin."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from fleetlab import SECRET
from lab import eventually
from labwaiter.errors import JobAborted, ServiceIDInUse, TooManyJobs, Unavailable, UnknownServiceID
from labwaiter.fleet import calls, redis_store, rpc
from labwaiter.fleet.breaker import HUNG_SECONDS
from labwaiter.fleet.fleet_store import Beat, Publication, Removal
from labwaiter.fleet.in_memory import InMemoryFleetStore
from labwaiter.fleet.look import of_cache, of_snapshot
from labwaiter.fleet.order import OpenedOrder, open_order
from labwaiter.fleet.redis_store import RedisStore
from labwaiter.fleet.signing import Seals
from labwaiter.model.record import Record, Request, State, Tombstone, View, derive
from labwaiter.settings import load
from labwaiter.store import codec

LAB = "[machines.north]\n[machines.south]\nservices = []\n"


class Face:
    """A face of a lab with the machine north, which is played by the test."""

    def __init__(self, folder: Path, store: InMemoryFleetStore | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lab.toml").write_text(LAB)
        settings = load({"WAITER_LOG_FOLDER": str(folder / "jobs"), "LAB": str(folder / "lab.toml")})
        self.settings = replace(settings, machine="face", max_running=2, max_queued=1)
        self.store = store or InMemoryFleetStore("face", Seals("lab", SECRET))
        self.north = self.store.at("north")
        self.records = RedisStore(self.settings, self.store)
        self.beat()

    def limit(self, **settings: int) -> None:
        """Have this face judge starts by other settings."""
        self.settings = replace(self.settings, **settings)
        self.records = RedisStore(self.settings, self.store)

    def beat(self, state: str = "takes orders") -> None:
        self.north.beat(Beat("north", self.north.now(), state))

    def start(self, name: str = "one") -> bool:
        return self.records.claim(name, Request(name, "Echo", {"text": "x"}, created=time.time()))

    def take(self) -> list[OpenedOrder]:
        orders: list[OpenedOrder] = []
        self.north.work(lambda id_, sealed: orders.append(open_order(self.north.seals, "north", id_, sealed)))
        return orders

    def publish(self, state: State, name: str = "one", **more: Any) -> None:
        request = Request(name, "Echo", {"text": "x"}, created=1.0)
        record = replace(derive(name, request, None, None), state=state)
        view = codec.dump(View(record=record, now=500.0, ran=3.0))
        fields = {"active": record.active, "settled": not record.active} | more
        self.north.publish("north", [Publication(name, codec.dump(request), 1.0, view, self.north.now(), **fields)])

    def note(self, name: str = "one") -> str:
        return self.records.look(name).view(None).note

    def answer_calls(self, answer: calls.Answer | calls.Refusal) -> None:
        """Have the next call be answered at once."""
        real = self.store.post_call

        def post_call(machine: str, sealed: str, at_once: bool = False) -> None:
            real(machine, sealed, at_once)
            text = self.north.next_call(machine, 0.1)
            fields = self.north.seals.unseal(f"errand {machine}", text or b"")
            assert fields is not None
            rpc.send_answer(self.north, fields["reply"], answer)

        self.store.post_call = post_call  # type: ignore[method-assign]


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(tmp_path)


# -- looks ----------------------------------------------------------------------------------------


def test_what_nobody_started_is_unknown(face: Face) -> None:
    assert face.records.find("one") is None and face.records.request("one") is None
    with pytest.raises(UnknownServiceID, match="Nothing was started"):
        face.records.look("one")


def test_an_order_that_waits_has_its_place(face: Face) -> None:
    assert [face.start(name) for name in ("one", "two")] == [True, True] and face.start() is False
    view = face.records.look("two").view(None)
    assert (view.record.state, view.place, view.ahead) == (State.QUEUED, 2, "north takes it when it has room")
    assert (view.record.machine, view.note) == ("north", "")
    assert [(order.name, order.request.inputs) for order in face.take()] == [
        ("one", {"text": "x"}),
        ("two", {"text": "x"}),
    ]
    view = face.records.look("two").view(None)
    assert (view.place, view.ahead) == (None, "")


def test_a_view_goes_on_by_redis_clock(face: Face) -> None:
    face.publish(State.RUNNING, page="a page", picture=b"\x89")
    face.store.advance(5)
    face.beat()
    view = face.records.look("one").view(None)
    assert 504 < view.now < 507 and view.ran is not None and 7 < view.ran < 10
    assert (view.own_page, view.picture) == ("a page", b"\x89")


@pytest.mark.parametrize(
    "state, silent, note",
    [
        ("takes orders", 5, ""),
        ("takes orders", 15, "The machine north can't be reached since"),
        ("drains", 5, ""),
        ("left", 0, "The machine north can't be reached since"),
    ],
)
@pytest.mark.parametrize("taken", [False, True])
def test_whether_its_machine_is_there_is_said(face: Face, state: str, silent: float, note: str, taken: bool) -> None:
    face.start()
    if taken:
        face.publish(State.RUNNING)
    face.beat(state)
    face.store.advance(silent)
    look = face.records.look("one")
    said = look.view(None).note
    assert said.startswith(note) and bool(said) is bool(note)
    assert (look.record.as_of is None) is not bool(note)
    if note:
        assert ("goes on" if taken else "begins there") in said
    assert [record.as_of is None for record in face.records.every()] == [not note]


def test_of_an_end_nothing_is_said_of_its_machine(face: Face) -> None:
    face.publish(State.COMPLETED)
    face.store.advance(1000)
    assert face.note() == "" and face.records.record("one").state is State.COMPLETED


def test_without_redis_what_was_last_known_is_told_with_its_age(face: Face) -> None:
    face.start()
    face.publish(State.RUNNING)
    face.records.find("one")
    face.store.fail(redis.ConnectionError("gone"))
    look = face.records.look("one")
    assert look.record.state is State.RUNNING and look.record.as_of is not None
    assert look.view(None).note.startswith("The machines of this lab can't be asked")
    assert [record.name for record in face.records.every()] == ["one"]
    with pytest.raises(Unavailable, match="Redis between the machines"):
        face.records.look("never seen")
    for call in (lambda: face.start("two"), lambda: face.records.abort(look.record, 0.1)):
        with pytest.raises(Unavailable):
            call()
    assert face.records.unserved().startswith("Redis ")
    face.store.fail(None)
    face.beat()
    assert face.records.look("one").record.as_of is None and face.records.find("two") is None


def stand_still(monkeypatch: pytest.MonkeyPatch, later: float) -> None:
    """It is so many seconds later, and stays so."""
    now = time.monotonic() + later
    monkeypatch.setattr(time, "monotonic", lambda: now)


def test_who_saw_redis_hang_waits_for_it_once(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, state in (("one", State.RUNNING), ("two", State.FAILED)):
        face.publish(state, name)
        face.records.find(name)
    record = face.records.record("one")
    asked: list[str] = []
    for method in ("ping", "snapshot", "seconds_told", "now", "face_seen", "polled", "last_beat", "count_active"):
        real = getattr(face.store, method)
        monkeypatch.setattr(face.store, method, lambda *args, real=real, **m: asked.append("") or real(*args, **m))
    face.store.fail(redis.TimeoutError("no answer"))
    for later in (0.0, HUNG_SECONDS):  # and each time that it is tried again
        stand_still(monkeypatch, later)
        asked.clear()
        assert face.records.look("one").record.as_of is not None
        assert face.records.told("two") is not None and face.records.unserved()
        face.records.signed()
        for call in (
            lambda: face.records.look("never seen"),
            lambda: face.records.buried("one"),
            lambda: face.records.admit(Request("three", "Echo", {})),
            lambda: face.start("three"),
            lambda: face.records.abort(record, 5.0),
            lambda: face.records.notify(record, "hello", 1.0),
            lambda: face.records.bury(face.records.record("two")),
        ):
            with pytest.raises(Unavailable, match="can't be reached"):
                call()
        assert face.records.ended("two", 1.0) == face.records.record("two")
        assert len(asked) == 1
    face.store.fail(None)
    assert face.records.look("one").record.as_of is not None
    stand_still(monkeypatch, HUNG_SECONDS)
    assert face.records.look("one").record.as_of is None


def test_a_redis_that_refuses_is_asked_each_time(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    face.publish(State.RUNNING)
    face.records.find("one")
    face.store.fail(redis.ConnectionError("refused"))
    assert face.records.look("one").record.as_of is not None
    face.store.fail(None)
    assert face.records.look("one").record.as_of is None


def test_one_tries_whether_redis_goes_on_and_the_others_do_not_wait_for_that(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.publish(State.RUNNING)
    face.records.find("one")
    face.store.fail(redis.TimeoutError("no answer"))
    assert face.records.look("one").record.as_of is not None
    face.store.fail(None)
    stand_still(monkeypatch, HUNG_SECONDS)
    looks: list[Record] = []
    monkeypatch.setattr(face.store, "ping", lambda: looks.append(face.records.look("one").record))
    assert face.records.look("one").record.as_of is None
    assert [look.as_of is None for look in looks] == [False]  # asked by another, meanwhile


def test_what_redis_forgot_is_ordered_again_and_what_was_aborted_is_not(face: Face) -> None:
    for name in ("one", "aborted", "taken"):
        face.start(name)
    face.store.wish_abort("aborted")
    face.publish(State.RUNNING, "taken")
    for name in ("one", "aborted", "taken"):
        face.records.find(name)
    face.store.clear()
    face.beat()
    assert face.records.record("one").state is State.QUEUED
    assert face.records.record("aborted").state is State.ABORTED
    assert face.note("taken").startswith("Nothing is in Redis of this execution")
    assert [order.name for order in face.take()] == ["one"]


def test_an_end_that_was_seen_is_not_unlearned(face: Face) -> None:
    face.publish(State.COMPLETED)
    assert face.records.record("one").state is State.COMPLETED
    face.publish(State.RUNNING)  # a Redis that was put back to an earlier time
    assert face.records.record("one").state is State.COMPLETED


def test_a_record_that_is_damaged_hides_no_other(face: Face) -> None:
    face.start("good")
    face.north.publish("north", [Publication("bad", b"{", 1.0, b"[]", 1.0, active=True, settled=False)])
    with pytest.raises(Unavailable, match="is damaged"):
        face.records.look("bad")
    assert [record.name for record in face.records.every()] == ["good"]


def test_of_the_cache_nothing_damaged_is_believed(face: Face, tmp_path: Path) -> None:
    face.start()
    (file,) = (tmp_path / "jobs" / ".labwaiter" / "known").iterdir()
    entry = json.loads(file.read_text())
    assert set(entry) == {"request", "machine", "view", "state", "at", "abort"} and entry["view"] is None
    for text in ("", "[", "[]", json.dumps(entry | {"at": "now"}), json.dumps(entry | {"request": 5})):
        file.write_text(text)
        assert of_cache("one", face.records.cache.read("one")) is None
    file.write_text(json.dumps({name: entry[name] for name in ("request", "machine", "view", "state", "at")}))
    look = of_cache("one", face.records.cache.read("one"))  # as releases before wrote it
    assert look is not None and look.machine == "north" and look.as_of == entry["at"]


def test_a_look_is_a_value_that_later_ones_leave_alone(face: Face) -> None:
    face.start()
    first = face.records.look("one")
    face.publish(State.RUNNING)
    second = face.records.look("one")
    assert first.view(None).record.state is State.QUEUED and second.view(None).record.state is State.RUNNING
    assert of_snapshot(face.store.snapshot("one")).record == second.record


# -- polls ----------------------------------------------------------------------------------------


def test_a_poll_is_told_its_machine_while_that_can_be_reached(face: Face) -> None:
    face.publish(State.RUNNING)
    face.records.polled(face.records.record("one"))
    eventually(lambda: face.north.news("north").polled == {"one"})
    face.store.advance(20)
    face.records.polled(face.records.record("one"))
    face.publish(State.COMPLETED)
    face.records.polled(face.records.record("one"))
    face.records.polled(derive("two", Request("two", "Echo", {}), None, None))  # its machine is not known yet
    face.beat()
    face.publish(State.RUNNING, "three")
    face.records.polled(face.records.record("three"))
    eventually(lambda: face.north.news("north").polled == {"three"})  # and no other before it


def test_its_machine_is_told_of_polls_once_a_second(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    face.publish(State.RUNNING)
    record = face.records.record("one")
    told: list[list[str]] = []
    monkeypatch.setattr(face.store, "polled", lambda machine, names: told.append(names))
    for later, times in ((0.0, 1), (0.5, 1), (0.6, 2)):
        stand_still(monkeypatch, later)
        face.records.polled(record)
        eventually(lambda times=times: len(told) == times)
    assert told == [["one"], ["one"]]


def test_of_a_poll_that_redis_did_not_take_the_next_one_tells_anew(face: Face) -> None:
    face.publish(State.RUNNING)
    record = face.records.record("one")
    face.store.fail(redis.ConnectionError("gone"))
    face.records.polled(record)
    eventually(lambda: "one" not in face.records._poll_marks._marked)
    face.store.fail(None)
    face.records.polled(record)
    eventually(lambda: face.north.news("north").polled == {"one"})


# -- whether an answer is still right -------------------------------------------------------------


@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED])
def test_a_revision_tells_whether_a_look_would_be_the_same(face: Face, state: State) -> None:
    face.publish(state, page="a page", picture=b"\x89")
    view = face.records.look("one").view(None)
    revision = face.records.stamps(view, 0.0)
    assert revision is not None and revision.are_same()
    face.publish(state, page="another page")
    assert not revision.are_same()
    late = face.records.stamps(view, 0.0)
    assert late is None or not late.are_same()  # it was made of what was there before
    newer = face.records.look("one").view(None)
    assert face.records.stamps(view, 0.0) is None
    revision = face.records.stamps(newer, 0.0)
    assert revision is not None and revision.are_same()
    face.store.wish_abort("one")
    assert not revision.are_same()


def test_the_moment_of_a_revision_moves_with_the_clock_alone(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    face.publish(State.RUNNING)
    view = replace(face.records.look("one").view(None), ran=3.0)
    clock = [99.0]
    monkeypatch.setattr(redis_store, "boot_clock", lambda: clock[0])
    revision = face.records.stamps(view, 0.0)
    assert revision is not None and revision.moment() == view.moment
    clock[0] += 1.0
    assert revision.moment() == (view.now + 1.0, 4.0, view.progress.fraction)


@pytest.mark.parametrize("how", ["silent", "left", "away", "hangs", "removed", "forgotten"])
@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED])
def test_nothing_is_kept_of_what_would_be_told_otherwise(
    face: Face, monkeypatch: pytest.MonkeyPatch, how: str, state: State
) -> None:
    face.publish(state)
    view = face.records.look("one").view(None)
    revision = face.records.stamps(view, 0.0)
    assert revision is not None and revision.are_same()
    stand_still(monkeypatch, 2.0)
    if how == "silent":
        face.store.advance(15)
    elif how == "left":
        face.beat("left")
    elif how == "away":
        face.store.fail(redis.ConnectionError("gone"))
    elif how == "hangs":
        face.store.fail(redis.TimeoutError("no answer"))
    elif how == "removed":
        face.north.publish("north", [Removal("one", Tombstone("Echo", 1.0))])
    else:
        face.store.clear()
        face.beat()
    of_its_machine = state is State.COMPLETED and how in ("silent", "left")  # of an end nothing is said of that
    for _ in range(2):
        assert revision.are_same() is of_its_machine
        again = face.records.stamps(view, 0.0)
        assert (again is not None and again.are_same()) is of_its_machine


# -- refusals, withdrawals ------------------------------------------------------------------------


def test_no_more_are_ordered_than_its_machine_may_have(face: Face) -> None:
    for name in ("one", "two", "three"):
        face.records.admit(Request(name, "Echo", {}))
        face.start(name)
    with pytest.raises(TooManyJobs, match="on north already"):
        face.records.admit(Request("four", "Echo", {}))


def test_no_more_of_a_user_are_ordered_than_may_be_there(face: Face) -> None:
    def request(name: str, user: str, project: str = "optics") -> Request:
        return Request(name, "Echo", {}, user=user, project=project, created=time.time())

    def start(name: str, user: str, project: str = "optics") -> None:
        tell = face.records.admit(request(name, user, project))
        tell(face.records.claim(name, request(name, user, project)))

    face.limit(max_queued=10, max_queued_per_user=0, max_queued_per_project=1)
    start("one", "ada")
    start("two", "ada")
    with pytest.raises(TooManyJobs, match="2 executions of yours are running or waiting on north already"):
        start("three", "ada")
    start("three", "bob")
    with pytest.raises(TooManyJobs, match="3 executions of the project optics are .* on north"):
        start("four", "bob")
    start("four", "eve", "acoustics")
    face.publish(State.COMPLETED, "one")
    start("five", "ada")
    face.limit(starts_per_minute=1)
    start("six", "kim", "acoustics")
    with pytest.raises(TooManyJobs, match="You have started an execution within a minute"):
        start("seven", "kim", "acoustics")
    face.store.fail(redis.ConnectionError("gone"))
    with pytest.raises(Unavailable, match="Redis"):
        start("eight", "bob")


def test_what_no_machine_has_taken_is_withdrawn(face: Face) -> None:
    face.start()
    record = face.records.record("one")
    assert face.records.abort(record, 1.0) is True
    ended = face.records.record("one")
    assert (ended.state, ended.why) == (State.ABORTED, "The execution was aborted before it began.")
    assert face.take() == [] and face.store.count_active("north") == 0
    assert face.records.ended("one", 0.0) == ended
    face.store.fail(redis.ConnectionError("gone"))
    assert face.records.record("one") == ended  # and the cache knows


def test_what_its_machine_refused_says_so_and_is_withdrawn(face: Face, tmp_path: Path) -> None:
    odd = Face(tmp_path / "odd", face.store.at("odd", Seals("lab", "another secret")))
    odd.start()
    assert face.take() == []
    assert "refuses this order" in odd.note()
    odd.answer_calls(calls.AbortAnswer(False, unknown=True))
    assert odd.records.abort(odd.records.record("one"), 1.0) is True
    assert face.records.record("one").state is State.ABORTED


@pytest.mark.parametrize("gone", [True, False])
def test_what_runs_is_stopped_by_its_machine(face: Face, gone: bool) -> None:
    face.publish(State.RUNNING)
    face.answer_calls(calls.AbortAnswer(gone))
    assert face.records.abort(face.records.record("one"), 1.0) is gone
    assert face.north.abort_wished("one")


def test_what_has_ended_is_asked_only_while_its_instruments_are_not_safe(face: Face) -> None:
    face.publish(State.ABORTED)
    assert face.records.abort(face.records.record("one"), 1.0) is True
    face.publish(State.ABORTED, held=("oven",))
    face.answer_calls(calls.AbortAnswer(False))
    assert face.records.abort(face.records.record("one"), 1.0) is False


@pytest.mark.parametrize(
    "refusal",
    [ServiceIDInUse("This execution is running; abort it first."), Unavailable("The disk is full."), JobAborted("x")],
)
def test_why_a_machine_refuses_is_raised_at_the_face(face: Face, refusal: Any) -> None:
    face.publish(State.COMPLETED)
    record: Record = face.records.record("one")
    face.answer_calls(calls.Refusal.of(refusal))
    with pytest.raises(type(refusal), match=refusal.message):
        face.records.bury(record)
    with pytest.raises(type(refusal), match=refusal.message):
        face.records.notify(record, "hello", 0.1)


def test_what_no_machine_ever_had_is_removed_from_redis_alone(face: Face) -> None:
    face.start()
    record = face.records.record("one")
    face.answer_calls(calls.Refusal.of(UnknownServiceID("Nothing was started under this serviceID.")))
    with pytest.raises(UnknownServiceID):
        face.records.bury(record)  # it waits
    face.records.withdraw(face.records.find("one"))
    face.records.bury(face.records.record("one"))
    assert face.records.buried("one")
    with pytest.raises(UnknownServiceID, match="has been removed"):
        face.records.look("one")


def test_a_machine_that_does_not_answer_is_named(face: Face) -> None:
    face.publish(State.RUNNING)
    record = face.records.record("one")
    face.store.post_call = lambda machine, sealed, at_once: None  # type: ignore[method-assign]
    face.store.take_back_call = lambda machine, sealed: True  # type: ignore[method-assign]
    face.store.next_part = lambda reply_box, wait: None  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="it was not delivered"):
        face.records.notify(record, "hello", 0.1)
    with pytest.raises(Unavailable, match="north can't be reached"):
        face.records.bury(record)


# -- how old what it tells may be -------------------------------------------------------------------


def test_what_is_known_of_a_machine_grows_old_while_it_or_redis_is_silent(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = face.records.mirror()
    assert mirror.answers and not mirror.is_broken and list(mirror.ages) == ["north"] and mirror.ages["north"] < 2
    assert face.records.crowded() == ""
    face.store.advance(30)
    assert 29 < face.records.mirror().ages["north"] < 32
    assert face.records.crowded() == "no machine takes orders"
    face.store.fail(redis.ConnectionError("refused"))
    clock = time.monotonic()
    monkeypatch.setattr(redis_store.time, "monotonic", lambda: clock + 60)
    mirror = face.records.mirror()
    assert not mirror.answers and not mirror.is_broken and 88 < mirror.ages["north"] < 93
    assert face.records.crowded().startswith("Redis ")


def test_a_machine_that_has_left_grows_no_older_and_takes_nothing(face: Face) -> None:
    face.beat("left")
    assert face.records.mirror().ages == {} and face.records.crowded() == "no machine takes orders"
    face.beat("drains")
    assert list(face.records.mirror().ages) == ["north"] and face.records.crowded() == "no machine takes orders"


def test_a_redis_that_hangs_breaks_the_way_to_it_until_it_answers(face: Face) -> None:
    face.store.fail(redis.TimeoutError("timed out"))
    assert face.records.mirror().is_broken
    face.store.fail(None)
    assert face.records.mirror().is_broken  # for some seconds nobody asks
    face.records.store._hung_at -= HUNG_SECONDS  # type: ignore[attr-defined]
    mirror = face.records.mirror()
    assert mirror.answers and not mirror.is_broken

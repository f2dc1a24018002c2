"""What machines and faces leave for each other: Redis, and its twin in memory, behave alike."""

from __future__ import annotations

import hmac
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from fleetlab import REDIS, SECRET, RedisServer
from lab import PATIENCE, eventually
from labwaiter.errors import ServiceIDInUse, TokenValidationFailed, Unavailable, UnknownServiceID
from labwaiter.fleet import calls, rpc
from labwaiter.fleet.fleet_store import Beat, FleetStore, Publication, Removal, ScheduleNote
from labwaiter.fleet.in_memory import InMemoryFleetStore
from labwaiter.fleet.lab_redis import LabRedis
from labwaiter.fleet.order import Order, open_order, order_id
from labwaiter.fleet.rq_orders import Taker
from labwaiter.fleet.signing import Seals
from labwaiter.fleet.used_calls import UsedCalls
from labwaiter.model.record import Request, Tombstone
from labwaiter.settings import load
from labwaiter.store import codec
from labwaiter.store.names import folder_name

Take = Callable[[str, object], str]


class InMemory:
    """The twin, and what a test needs besides the store's methods."""

    def __init__(self) -> None:
        self.store = InMemoryFleetStore("north", Seals("lab", SECRET))

    def at(self, machine: str) -> FleetStore:
        return self.store.at(machine)

    def work(self, take: Take) -> None:
        self.store.work(take)

    def lose_order(self) -> None:
        self.store.lose_order()


class InRedis:
    """A real one."""

    def __init__(self, server: RedisServer) -> None:
        server.client.flushall()
        self.client = server.client
        self._settings = replace(load({}), redis_url=server.url, redis_prefix="lab", redis_secret=SECRET)
        self.store = self.at("north")

    def at(self, machine: str) -> LabRedis:
        return LabRedis(replace(self._settings, machine=machine))

    def work(self, take: Take) -> None:
        class Worker:
            stopping = threading.Event()
            room = True
            take_order = staticmethod(take)

            def put_back_orders(self) -> None: ...

            def pass_over_order(self, id_: str) -> None: ...

        Taker(self.store.connection, "north", Worker()).work(burst=True, logging_level="CRITICAL")

    def lose_order(self) -> None:
        assert self.client.lmove("lab:rq:queue:north", "lab:rq:queue:north:intermediate", "LEFT", "LEFT")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    yield made
    made.close()


@pytest.fixture(params=["in memory", "in Redis"])
def between(request: pytest.FixtureRequest) -> InMemory | InRedis:
    """A store between north, south and a face."""
    if request.param == "in memory":
        return InMemory()
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    return InRedis(request.getfixturevalue("server"))


def order(store: FleetStore, name: str, machine: str = "north", **more: Any) -> Order:
    request = Request(name, "Echo", {"text": "x" * 10}, created=1000.0 + len(name), **more)
    return Order.make(store.seals, name, machine, request, codec.dump(request), {"a file": "its key"})


def publication(name: str, **more: Any) -> Publication:
    return Publication(name, b"request", 7.5, b"view", **({"at": 9.25, "active": True, "settled": False} | more))


def taken(*_: object) -> str:
    return "taken"


def refused(*_: object) -> str:
    raise ValueError("not of this lab")


def test_an_order_is_recorded_and_queued_once(between: InMemory | InRedis) -> None:
    store = between.store
    assert store.snapshot("one").request is None and store.place("north", "one") is None
    first = order(store, "one")
    assert store.order(first) is True and store.order(first) is False
    assert store.order(order(store, "second")) is True
    assert store.order(order(store, "elsewhere", "south")) is True
    snapshot = store.snapshot("one")
    assert (snapshot.request, snapshot.machine, snapshot.view, snapshot.refused) == (
        first.request,
        "north",
        None,
        False,
    )
    assert [store.place("north", name) for name in ("one", "second", "elsewhere")] == [1, 2, None]
    assert store.active("north") == {"one", "second"} and store.count_active("north") == 2
    assert store.untaken("north") == ["one", "second"] and store.untaken("south") == ["elsewhere"]
    assert store.started() == [(1003.0, "one"), (1006.0, "second"), (1009.0, "elsewhere")]


def test_a_revision_is_another_after_each_publication(between: InMemory | InRedis) -> None:
    store = between.store
    assert store.revision("one") == (None, False, False)
    store.publish("north", [publication("one")])
    assert store.revision("one") == (9.25, False, False)
    store.publish("north", [publication("one", at=9.5)])
    store.wish_abort("one")
    assert store.revision("one") == (9.5, True, False)
    snapshot = store.snapshot("one")
    assert store.revision("one") == (snapshot.at, snapshot.abort, snapshot.tombstone is not None)
    store.publish("north", [Removal("one", Tombstone("Echo", 1.0))])
    assert store.revision("one") == (None, False, True)


def test_orders_and_calls_have_the_form_that_releases_before_write_and_read() -> None:
    seals = Seals("lab", SECRET)
    request = Request("ä one", "Echo", {"text": 'a "b"', "n": 1.5}, files=("f",), created=3.25, signature={"a": [1]})
    made = Order.make(seals, "one", "north", request, codec.dump(request), {"f": "lab:file:one:0"})
    said = {"machine": "north", "request": asdict(request), "files": {"f": "lab:file:one:0"}}
    text = json.dumps(said, separators=(",", ":"))
    signature = hmac.new(SECRET.encode(), f"lab\0order\0{text}".encode(), "sha256").hexdigest()
    assert made.sealed == json.dumps([text, signature])
    call = calls.NumberedCall("read", calls.ReadFile("one", "f", 1, 2), "n", 1.5, 2.5, "lab:reply:0")
    fields = {"do": "read", "name": "one", "file": "f", "offset": 1, "count": 2}
    assert json.loads(call.text) == fields | {"reply": "lab:reply:0", "number": "n", "at": 1.5, "until": 2.5}
    assert calls.NumberedCall.read(json.loads(call.text)) == call
    assert calls.NumberedCall.read({"do": "new", "reply": "r"}) == calls.NumberedCall(
        "new", None, None, None, None, "r"
    )
    assert calls.NumberedCall.read({"do": "read", "name": "one", "reply": "r"}).call is None  # it can be answered
    assert calls.Refusal("why", "Unavailable").fields.keys() >= {"refused", "side"}
    assert calls.AbortAnswer(True).fields == {"gone": True}


def test_its_machine_reads_what_was_ordered(between: InMemory | InRedis) -> None:
    request = Request("ä/ö", "Echo", {"text": 'quotes " and \U0001f600', "n": 1.5}, files=("a file",), polls=True)
    store = between.store
    name = folder_name(request.service_id)
    store.order(Order.make(store.seals, name, "north", request, codec.dump(request), {"a file": "key"}))
    opened = []
    between.work(lambda id_, sealed: opened.append(open_order(store.seals, "north", id_, sealed)) or "taken")
    (got,) = opened
    assert (got.name, got.request, got.files) == (name, request, {"a file": "key"})
    assert store.place("north", name) is None and store.snapshot(name).refused is False
    assert store.order(order(store, name)) is False  # the record is there


def test_an_order_that_its_machine_refuses_is_known_as_that(between: InMemory | InRedis) -> None:
    store = between.store
    store.order(order(store, "one"))
    between.work(refused)
    assert store.snapshot("one").refused is True and store.snapshots(["one"])[0].refused is True
    assert store.withdraw("one", "north", b"the end", 60) is False
    assert store.withdraw("one", "north", b"the end", 60, taken=True) is True
    assert store.snapshot("one").refused is False and store.snapshot("one").view == b"the end"


@pytest.mark.parametrize("wrong", ["another secret", "another machine", "another id", "another lab", "no text"])
def test_what_was_not_ordered_by_this_lab_for_this_machine_is_refused(wrong: str) -> None:
    seals = Seals("lab", SECRET)
    made = order(InMemoryFleetStore("face", seals), "one")
    id_, machine, sealed = "0" * 64 if wrong == "another id" else order_id("one"), "north", made.sealed
    assert open_order(seals, "north", order_id("one"), sealed).name == "one"
    if wrong == "another secret":
        seals = Seals("lab", "another")
    elif wrong == "another lab":
        seals = Seals("lab2", SECRET)
    elif wrong == "another machine":
        machine = "south"
    with pytest.raises(ValueError, match="it is refused"):
        open_order(seals, machine, id_, None if wrong == "no text" else sealed)


def test_a_withdrawal_takes_the_order_and_ends_the_execution(between: InMemory | InRedis) -> None:
    store = between.store
    store.order(order(store, "one"))
    assert store.withdraw("one", "north", b"the end", 1) is True
    snapshot = store.snapshot("one")
    assert (snapshot.view, snapshot.settled) == (b"the end", True)
    assert not store.active("north") and store.place("north", "one") is None and store.started() != []
    between.work(refused)  # there is nothing to take
    assert store.snapshot("one").refused is False
    store.order(order(store, "taken"))
    between.work(taken)
    assert store.withdraw("taken", "north", b"the end", 1) is False  # its machine was faster
    assert store.snapshot("taken").view is None
    eventually(lambda: store.snapshot("one").request is None)  # it is kept so long


def test_one_that_was_withdrawn_is_removed_and_no_other(between: InMemory | InRedis) -> None:
    store = between.store
    store.order(order(store, "one"))
    assert store.remove_withdrawn(Removal("one", Tombstone("Echo", 1.0))) is False
    store.withdraw("one", "north", b"the end", 60)
    assert store.remove_withdrawn(Removal("one", Tombstone("Echo", 1.0))) is True
    snapshot = store.snapshot("one")
    assert snapshot.tombstone and snapshot.request is None and store.started() == []


def test_orders_that_were_given_to_nobody_are_put_back(between: InMemory | InRedis) -> None:
    store, ids = between.store, []
    for name in ("one", "two"):
        store.order(order(store, name))
    between.lose_order()
    assert store.place("north", "one") is None
    store.put_back_orders("north")
    assert store.place("north", "one") == 1
    between.work(lambda id_, _: ids.append(id_) or "taken")
    assert ids == [order_id("one"), order_id("two")]


def test_what_is_no_order_is_passed_over(between: InMemory | InRedis) -> None:
    store = between.store
    store.order(order(store, "one"))
    between.lose_order()
    store.pass_over_order("north", order_id("one"))
    store.put_back_orders("north")
    assert store.place("north", "one") is None and store.snapshot("one").refused


def test_a_publication_is_read_as_it_was_told(between: InMemory | InRedis) -> None:
    store = between.store
    store.publish("north", [publication("one", page="a page", picture=b"\x89", held=("oven",)), publication("two")])
    one = store.snapshot("one")
    assert (one.machine, one.request, one.view, one.at) == ("north", b"request", b"view", 9.25)
    assert (one.picture, one.page, one.held, one.settled) == (b"\x89", b"a page", True, False)
    brief = store.snapshot("one", brief=True)
    assert (brief.picture, brief.page, brief.view) == (None, None, b"view")
    store.publish("north", [publication("one", same_picture=True)])  # what is told no more is gone
    one = store.snapshot("one")
    assert (one.picture, one.page, one.held) == (b"\x89", None, False)
    store.publish("north", [publication("one", active=False, settled=True)])
    one, two, three = store.snapshots(["one", "two", "three"])
    assert (one.settled, two.settled, three.request) == (True, False, None)
    assert store.snapshot("one").picture is None
    assert store.active("north") == {"two"} and store.untaken("north") == []
    assert abs(one.now - store.now()) < 5 and abs(store.now() - time.time()) < 5
    store.publish("north", [])


def test_the_marks_of_faces_outlast_publications(between: InMemory | InRedis) -> None:
    store = between.store
    store.publish("north", [publication("one")])
    assert not store.abort_wished("one") and store.seconds_told("one") == 0.0
    store.wish_abort("one")
    store.publish("north", [publication("one", active=False, settled=True)])
    assert store.abort_wished("one") and store.snapshot("one").abort
    assert 0.0 <= between.at("south").seconds_told("one") < 5.0


LEFT_OF_IT = Tombstone("Echo", 5.0, "ada", "optics", "https://manager.example/?wsdl")


def test_of_a_removed_one_a_tombstone_is_left(between: InMemory | InRedis) -> None:
    store = between.store
    store.publish("north", [publication("one"), publication("two", active=False, settled=True), publication("three")])
    store.publish("north", [Removal("one", LEFT_OF_IT)])
    one = store.snapshot("one")
    assert (one.tombstone, one.request, one.view) == (LEFT_OF_IT, None, None)
    assert store.unended(["one", "two", "three", "four"]) == {"two": True, "three": False, "four": False}
    assert store.active("north") == {"three"} and sorted(name for _, name in store.started()) == ["three", "two"]


def test_an_end_wakes_who_waits_for_it(between: InMemory | InRedis) -> None:
    store = between.store
    with store.endings("one") as wait:
        wait(0.01)  # the channel is open
        timer = threading.Timer(
            0.2, lambda: between.at("south").publish("south", [publication("one", active=False, settled=True)])
        )
        timer.start()
        began = time.monotonic()
        while not store.snapshot("one").settled and time.monotonic() - began < PATIENCE:
            wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2
        timer.join()


def test_machines_are_known_by_their_beats(between: InMemory | InRedis) -> None:
    store = between.store
    beat = Beat("north", store.now(), "takes orders", run="r", id="i", host="h", version="v", offers=("Echo", "Talk"))
    beat = replace(beat, active=3, waiting=1, clock=-0.5, lab="l", secret="s")
    assert store.beat(beat) is None and store.last_beat("south")[0] is None
    assert store.beat(replace(beat, state="drains")) == beat
    assert store.last_beat("north")[0] == replace(beat, state="drains")
    store.order(order(store, "one", "south"))
    entries, now = store.machine_entries(["north", "south"])
    assert [(entry.beat is None, entry.orders) for entry in entries] == [(False, 0), (True, 1)]
    assert store.machines() == {"north"} and abs(now - beat.seen) < 5


def test_faces_tell_whom_they_were_asked_for_once(between: InMemory | InRedis) -> None:
    store, face = between.store, between.at("face")
    news = store.news("north")
    assert (news.polled, news.face_age) == (frozenset(), None)
    for name in ("one", "two", "one"):
        face.polled("north", [name])
    face.face_seen()
    news = store.news("north")
    assert news.polled == {"one", "two"} and news.face_age is not None and -1 < news.face_age < 5
    assert store.news("north").polled == frozenset()


def test_calls_come_in_their_order_and_can_be_taken_back(between: InMemory | InRedis) -> None:
    store, face = between.store, between.at("face")
    for text in ("first", "second", "third"):
        face.post_call("north", text)
    assert face.take_back_call("north", "second") is True and face.take_back_call("north", "second") is False
    assert [store.next_call("north", 1), store.next_call("north", 1)] == [b"first", b"third"]
    assert face.take_back_call("north", "first") is False
    assert store.next_call("north", 0.05) is None
    box = face.reply_box()
    assert box != face.reply_box() and face.next_part(box, 0.05) is None
    store.post_answer(box, [b"answer", b"\x00content"])
    assert [face.next_part(box, 1), face.next_part(box, 1), face.next_part(box, 0.05)] == [
        b"answer",
        b"\x00content",
        None,
    ]


def test_files_lie_there_until_their_order_was_taken(between: InMemory | InRedis) -> None:
    store, face = between.store, between.at("face")
    key = face.put_file("one", b"content")
    assert key == store.file_key("one", b"content") != store.file_key("two", b"content")
    assert store.get_file(key) == b"content"
    store.drop_files([key])
    assert store.get_file(key) is None


def test_what_is_noted_of_a_schedule(between: InMemory | InRedis) -> None:
    store = between.store
    assert store.schedule_note("air") == ScheduleNote()
    store.note_schedule("air", ScheduleNote(2, "why", 7.5))
    assert between.at("south").schedule_note("air") == ScheduleNote(2, "why", 7.5)
    store.note_schedule("air", ScheduleNote())
    assert store.schedule_note("air") == ScheduleNote()


def test_cleared_there_is_nothing(between: InMemory | InRedis) -> None:
    store = between.store
    store.order(order(store, "one"))
    store.beat(Beat("north", 1.0, "left"))
    assert store.clear() > 0 and store.clear() == 0
    assert store.snapshot("one").request is None and not store.machines() and store.place("north", "one") is None


# -- calls over either ----------------------------------------------------------------------------


def serve(store: FleetStore, tmp_path: Path, answer: Callable[[Any], Any]) -> threading.Thread:
    """Answer the next call of north."""

    def run() -> None:
        call = rpc.take(store, 10, UsedCalls(tmp_path / "errands.used"))
        assert call is not None
        rpc.send_answer(store, call.reply_box, answer(call.call))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "call, answer",
    [
        (calls.Abort("one"), calls.AbortAnswer(True)),
        (calls.Abort("one"), calls.AbortAnswer(False, unknown=True)),
        (calls.Notify("one", 'hello "ö"'), calls.NotifyAnswer("3")),
        (calls.Remove("one"), calls.RemoveAnswer()),
        (calls.ListFiles("one", 20), calls.FileList((("a", 1), ("b", 2)))),
        (calls.ReadFile("one", "a/b", 5, 7), calls.FilePiece(12, 1_700_000_000_000_000_001, b"\xff\x00")),
        (calls.ReadFile("one", "a/b", 0, 0), calls.FilePiece(12, 3)),
        (calls.ReadFile("one", "c", 0, 0), calls.FilePiece(None)),
    ],
)
def test_a_call_and_its_answer_arrive_as_they_were(
    between: InMemory | InRedis, tmp_path: Path, call: Any, answer: Any
) -> None:
    got: list[Any] = []
    thread = serve(between.store, tmp_path, lambda asked: got.append(asked) or answer)
    assert rpc.ask(between.at("face"), "north", call, 10) == answer
    thread.join()
    assert got == [call]


@pytest.mark.parametrize(
    "error",
    [ServiceIDInUse("running"), UnknownServiceID("none"), Unavailable("no disk"), TokenValidationFailed("who are you")],
)
def test_why_a_machine_refuses_a_call_arrives_as_the_error_that_it_was(
    between: InMemory | InRedis, tmp_path: Path, error: Any
) -> None:
    thread = serve(between.store, tmp_path, lambda _: calls.Refusal.of(error))
    with pytest.raises(type(error), match=error.message):
        rpc.ask(between.at("face"), "north", calls.Remove("one"), 10)
    thread.join()


@pytest.mark.parametrize(
    "fields, kind",
    [
        ({"refused": "why", "side": "Client"}, "InvalidParameter"),
        ({"refused": "why", "side": "Server"}, "Unavailable"),
        ({"refused": "why", "side": "Client", "unknown": True}, "UnknownServiceID"),
        ({"refused": "why", "side": "Client", "code": "OfALaterRelease"}, "InvalidParameter"),
        ({"refused": "why"}, "Unavailable"),
    ],
)
def test_a_refusal_of_another_release_is_understood(fields: dict[str, Any], kind: str) -> None:
    assert type(calls.Refusal.read(fields).error).__name__ == kind


def test_a_call_that_nobody_takes_is_taken_back(between: InMemory | InRedis) -> None:
    store = between.store
    assert rpc.ask(between.at("face"), "north", calls.Notify("one", "late"), 0.1) is None
    assert store.next_call("north", 0.05) is None
    assert rpc.ask(between.at("face"), "north", calls.Abort("one"), 0.1, stays=math.inf) is None
    assert store.next_call("north", 0.05) is not None


def test_redis_away_is_one_of_the_faults() -> None:
    store = InMemoryFleetStore("north", Seals("lab", SECRET))
    store.fail(redis.ConnectionError("gone"))
    with pytest.raises(redis.RedisError):
        store.snapshot("one")

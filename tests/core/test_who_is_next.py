"""Who is next, who is stopped, and what is free: the supervisor's choices as tables."""

from __future__ import annotations

import pytest

from labwaiter.model.record import NOBODY, Owner, Silence
from labwaiter.store.leases import Held, Lease
from labwaiter.supervisor.admission import sorted_out
from labwaiter.supervisor.cleanup import orphaned
from labwaiter.supervisor.queue import (
    MostRunning,
    Queue,
    Running,
    Turns,
    Waiting,
    full_services,
    next_to_run,
    waiting_for,
)
from labwaiter.supervisor.running_job import Rules, stop_due


def job(name: str, service: str = "Waiter", *instruments: str, at_once: int | None = None) -> Waiting:
    """A queued job; a name that comes later in the alphabet came later."""
    return Waiting(float(ord(name[0])), name, service, instruments, Rules(at_once=at_once))


PLAIN, LATER = job("a"), job("b")
SMU, SMU_TOO, BOTH = job("c", "Sweep", "smu"), job("d", "Sweep", "smu"), job("e", "Sweep", "smu", "relays")
RELAYS = job("f", "Blink", "relays")
ONE, ONE_TOO = job("g", "Solver", at_once=1), job("h", "Solver", at_once=1)


@pytest.mark.parametrize(
    "waiting, max_running, running, taken, shut, chosen",
    [
        ([], 5, [], [], [], None),
        ([PLAIN, LATER], 5, [], [], [], PLAIN),  # first come first
        ([PLAIN], 1, ["Waiter"], [], [], None),  # as many run as may
        ([PLAIN], 2, ["Waiter"], [], [], PLAIN),
        ([SMU], 5, [], ["smu"], [], None),
        ([SMU], 5, [], ["relays"], [], SMU),
        ([SMU, RELAYS], 5, [], ["smu"], [], RELAYS),  # who needs something else goes first
        ([BOTH, RELAYS], 5, [], ["smu"], [], None),  # but takes nothing that one before it waits for
        ([BOTH, PLAIN], 5, [], ["smu"], [], PLAIN),
        ([BOTH, RELAYS], 5, [], [], ["smu"], RELAYS),  # unless that waits for a person
        ([BOTH, SMU], 5, [], [], ["relays"], SMU),
        ([SMU, SMU_TOO], 5, [], [], [], SMU),
        ([ONE], 5, ["Solver"], [], [], None),  # of a service no more than its limit
        ([ONE, ONE_TOO], 5, [], [], [], ONE),
        ([ONE, PLAIN], 5, ["Solver"], [], [], PLAIN),
        ([job("a", "Sweep", "smu", at_once=1), SMU_TOO], 5, ["Sweep"], [], [], None),  # it keeps its place at the smu
    ],
)
def test_who_is_next(
    waiting: list[Waiting],
    max_running: int,
    running: list[str],
    taken: list[str],
    shut: list[str],
    chosen: Waiting | None,
) -> None:
    jobs = [(service, NOBODY) for service in running]
    assert next_to_run(waiting, MostRunning(max_running), jobs, taken, shut) is chosen


ADA, BOB, EVE = Owner("", "optics", "ada"), Owner("", "optics", "bob"), Owner("", "acoustics", "eve")


def of(owner: Owner, name: str, *instruments: str) -> Waiting:
    return Waiting(float(ord(name[0])), name, "Waiter", instruments, owner=owner)


def turns(*owners: Owner) -> Turns:
    """After these have had their turns, in this order."""
    made = Turns()
    for owner in owners:
        made.took(owner)
    return made


@pytest.mark.parametrize(
    "waiting, had, chosen",
    [
        ([of(ADA, "a"), of(EVE, "b")], [], "a"),  # who has had none: first come first
        ([of(ADA, "a"), of(ADA, "b"), of(EVE, "c")], [ADA], "c"),  # of another project, though it came later
        ([of(ADA, "a"), of(ADA, "b"), of(EVE, "c")], [ADA, EVE], "a"),  # and then in turn
        ([of(ADA, "a"), of(BOB, "b")], [ADA], "b"),  # of another user of the project
        ([of(ADA, "a"), of(BOB, "b"), of(EVE, "c")], [EVE, ADA], "c"),  # first the project, then its user
        ([of(ADA, "a"), of(BOB, "b"), of(EVE, "c")], [ADA, EVE], "b"),
        ([of(ADA, "a", "smu"), of(EVE, "b", "smu")], [ADA], "a"),  # an instrument is for who came first
        ([of(ADA, "a", "smu"), of(EVE, "b", "smu"), of(EVE, "c")], [ADA], "c"),
    ],
)
def test_owners_take_turns(waiting: list[Waiting], had: list[Owner], chosen: str) -> None:
    found = next_to_run(waiting, MostRunning(100), [], turns=turns(*had))
    assert found is not None and found.name == chosen


@pytest.mark.parametrize(
    "per_project, per_user, running, chosen",
    [
        (2, None, [ADA, BOB], "c"),
        (3, None, [ADA, BOB], "a"),
        (None, 1, [ADA], "b"),
        (None, 1, [ADA, BOB], "c"),
        (2, 1, [ADA, BOB, EVE], None),
        (1, 1, [NOBODY, NOBODY], "a"),  # what belongs to nobody has the limit of all alone
    ],
)
def test_no_more_of_an_owner_run_than_may(
    per_project: int | None, per_user: int | None, running: list[Owner], chosen: str | None
) -> None:
    waiting = [
        of(ADA, "a", "smu"),
        of(BOB, "b"),
        of(EVE, "c", "smu"),
    ]  # an own limit keeps no instrument
    most = MostRunning(10, per_project, per_user)
    found = next_to_run(waiting, most, [("Waiter", owner) for owner in running])
    assert (found and found.name) == chosen


def test_what_each_waits_for_where_owners_have_limits() -> None:
    waiting = [of(ADA, "a", "smu"), of(BOB, "b", "relays"), of(EVE, "c", "smu"), of(EVE, "d"), of(EVE, "e", "smu")]
    running, taken, shut = [("Waiter", ADA)], {"fan"}, {"relays"}
    most = MostRunning(2, per_user=1)
    assert waiting_for(waiting, most, running, taken, shut) == {"owner": 1, "person": 1, "turn": 2, "instrument": 1}
    assert waiting_for(waiting, MostRunning(1), running, taken, shut) == {"person": 1, "place": 2, "instrument": 2}


def one_after_another(queue: Queue) -> list[str]:
    """In which order they begin, where one may run at a time."""
    begun = []
    while found := next_to_run(queue.heads, MostRunning(1), [], turns=queue.turns):
        queue.begins(found)
        begun.append(found.name)
    return begun


def test_a_thousand_starts_of_one_user_keep_another_one_waiting_for_one_of_them() -> None:
    queue = Queue()
    for number in range(1000):
        queue.add(Waiting(float(number), f"ada{number}", "Waiter", owner=ADA))
    queue.begins(queue.heads[0])
    queue.add(Waiting(2000.0, "eve", "Waiter", owner=EVE))
    queue.add(Waiting(2001.0, "bob", "Waiter", owner=BOB))
    queue.add(Waiting(2002.0, "eve again", "Waiter", owner=EVE))
    expected = ["eve", "bob", "eve again", "ada1", "ada2", "ada3"]
    assert queue.names_in_turn[:6] == expected and len(queue.names_in_turn) == len(queue) == 1002
    begun = one_after_another(queue)
    assert begun[:6] == expected and len(begun) == 1002


def test_where_nobody_s_name_is_known_they_go_in_the_order_of_their_starts() -> None:
    queue = Queue()
    for number, service in enumerate(["Waiter", "Sweep", "Waiter", "Single"] * 5):
        queue.add(Waiting(float(number), f"{number:02}", service))
    begun = one_after_another(queue)
    assert len(begun) == 20 and begun == sorted(begun)


def test_what_is_remembered_of_turns_is_bounded() -> None:
    made = turns(*(Owner("", f"p{number}", "u") for number in range(30_000)))
    assert len(made._last) <= 10_000 and made.of(Owner("", "p29999", "u")) > made.of(Owner("", "p0", "u")) == (0, 0)


def test_a_queue_is_in_the_order_of_the_starts() -> None:
    queue = Queue()
    for waiting in (SMU, LATER, PLAIN, SMU, BOTH):
        queue.add(waiting)
    assert queue.names == ["a", "b", "c", "e"] and len(queue) == 4 and "c" in queue and "d" not in queue
    assert queue.needs == {"c": ("smu",), "e": ("smu", "relays")}
    for name in ("b", "b", "nobody"):
        queue.remove(name)
    assert [waiting.name for waiting in queue] == ["a", "c", "e"]


@pytest.mark.parametrize(
    "waiting, running, full",
    [
        ([PLAIN, ONE], ["Waiter", "Solver"], {"Solver": 1}),
        ([PLAIN, ONE], ["Waiter"], {}),
        ([PLAIN], ["Solver"], {}),  # nobody waits for it
        ([job("a", "Solver", at_once=2), PLAIN], ["Solver", "Solver"], {"Solver": 2}),
    ],
)
def test_services_of_which_as_many_run_as_may(waiting: list[Waiting], running: list[str], full: dict[str, int]) -> None:
    jobs = [(service, NOBODY) for service in running]
    assert full_services(waiting, Running(jobs, MostRunning(10))) == full


LIMIT, STALL = "The execution took longer than its limit of 10 s", "The execution made no progress for 5 s"


@pytest.mark.parametrize(
    "rules, started, moved_at, silence, reason, why",
    [
        (Rules(), 0.5, 0.5, None, None, ""),
        (Rules(limit=10), 991.0, 991.0, None, None, ""),
        (Rules(limit=10), 990.0, 999.0, None, "limit", f"{LIMIT} and was stopped."),
        (Rules(limit=10), None, 0.0, None, None, ""),  # nobody knows when it began
        (Rules(stall=5), 1.0, 995.5, None, None, ""),
        (Rules(stall=5), 1.0, 995.0, None, "stall", f"{STALL} and was stopped."),
        (Rules(limit=10, stall=5), 990.0, 990.0, None, "limit", f"{LIMIT} and was stopped."),
        (Rules(), 1.0, 1.0, Silence(59.0, 60.0), None, ""),
        (
            Rules(),
            1.0,
            1.0,
            Silence(60.0, 60.0),
            "abandoned",
            "The execution was abandoned by its workflow manager: that asked nothing for 1 min.",
        ),
        (Rules(stall=5), 1.0, 990.0, Silence(99.0, 60.0), "stall", f"{STALL} and was stopped."),
    ],
)
def test_who_is_stopped(
    rules: Rules, started: float | None, moved_at: float, silence: Silence | None, reason: str | None, why: str
) -> None:
    due = stop_due(rules, started, moved_at, silence, now=1000.0)
    assert (due.reason if due else None, due.why if due else "") == (reason, why)


LEASES = {
    "smu": Lease("smu", Held.BY_JOB, "one"),
    "relays": Lease("relays", Held.MAKING_SAFE, "one"),
    "fan": Lease("fan", Held.BY_JOB, "two"),
    "plate": Lease("plate", Held.UNSAFE, "one"),
    "printer": Lease("printer", Held.RESERVED, why="kim"),
    "scale": Lease("scale", Held.MAKING_SAFE),
}


def test_instruments_that_a_job_s_end_frees_and_those_that_only_a_person_frees() -> None:
    assert sorted_out(LEASES) == ({"smu", "relays", "fan", "scale"}, {"plate", "printer"})
    assert sorted_out({}) == (set(), set())


@pytest.mark.parametrize(
    "known, orphans",
    [
        ([], {"one": ("smu", "relays"), "two": ("fan",)}),
        (["one"], {"two": ("fan",)}),
        (["one", "two"], {}),
    ],
)
def test_instruments_of_jobs_that_nobody_runs(known: list[str], orphans: dict[str, tuple[str, ...]]) -> None:
    assert orphaned(LEASES.values(), known) == orphans


@pytest.mark.parametrize(
    "waiting, max_running, running, taken, shut, reasons",
    [
        ([PLAIN, LATER], 1, ["Waiter"], [], [], {"place": 2}),
        ([PLAIN], 5, [], [], [], {"turn": 1}),
        ([SMU, SMU_TOO, RELAYS], 5, [], ["smu"], [], {"instrument": 2, "turn": 1}),
        ([BOTH, RELAYS], 5, [], ["smu"], [], {"instrument": 2}),  # the second one keeps behind the first
        ([BOTH, RELAYS], 5, [], [], ["smu"], {"person": 1, "turn": 1}),
        ([ONE, ONE_TOO, PLAIN], 5, ["Solver"], [], [], {"service": 2, "turn": 1}),
        ([ONE, PLAIN, SMU], 1, ["Solver"], ["smu"], [], {"service": 1, "place": 1, "instrument": 1}),
    ],
)
def test_what_each_of_the_queue_waits_for(
    waiting: list[Waiting],
    max_running: int,
    running: list[str],
    taken: list[str],
    shut: list[str],
    reasons: dict[str, int],
) -> None:
    jobs = [(service, NOBODY) for service in running]
    most = MostRunning(max_running)
    assert waiting_for(waiting, most, jobs, taken, shut) == reasons
    chosen = next_to_run(waiting, most, jobs, taken, shut)
    assert (chosen is not None) == ("turn" in reasons)  # whom nothing holds up is let in

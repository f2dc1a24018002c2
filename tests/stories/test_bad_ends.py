"""What a caller, and the machine, notice when it doesn't go well."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab, eventually, gone, wait_gone
from labwaiter.errors import JobAborted, JobFailed, Unavailable
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
@pytest.mark.parametrize(
    ("word", "why"),
    [("exit3", "exit status 3"), ("segv", r"SIGSEGV \(11\)"), ("no-result", "without a result")],
)
def test_a_program_s_bad_end_is_told_in_plain_words(lab: Lab, service: str, word: str, why: str) -> None:
    lab.start(service, "one", word=word)
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert re.search(why, record.why), record.why
    if word == "exit3":
        assert "the nozzle is blocked" in lab.status(service, "one").view.log


def test_a_script_that_leaves_without_a_word_is_judged_by_what_it_left(lab: Lab) -> None:
    lab.start("UnrulyScript", "one", word="leave-at-once")
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("UnrulyScript", "one").outputs == {"result": "left at once"}


def test_a_program_that_is_not_there_is_named(lab: Lab) -> None:
    lab.start("Missing", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "a-program-that-nobody-has is not installed" in record.why


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("plain", "the sample slipped"),
        ("sentence", "The oven's door is open."),
        ("path", "No such file or directory"),
        ("none", "without its outputs"),
        ("exit", "left with 2"),
    ],
)
def test_a_function_that_fails_says_why_and_its_traceback_is_in_the_log_only(lab: Lab, how: str, why: str) -> None:
    lab.start("Raises", "one", how=how)
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert why in record.why
    assert "Traceback" not in record.why and "/etc" not in record.why
    if how == "plain":
        assert "ValueError: the sample slipped" in lab.file("one", "log.txt")
    if how == "sentence":
        assert lab.store.log_tail("one") == ""  # it is the service's own


def test_a_failed_job_shows_its_page_for_20_seconds_then_its_fault(lab: Lab) -> None:
    lab.start("Raises", "one", how="sentence")
    lab.ended("one")
    for _ in range(3):
        assert lab.status("Raises", "one").view.record.why == "The oven's door is open."
    lab.told_long_ago("one", 15)
    assert not lab.status("Raises", "one").completed
    lab.told_long_ago("one", 6)
    with pytest.raises(JobFailed, match="door is open"):
        lab.status("Raises", "one")


def test_a_wall_clock_set_back_hides_no_fault_for_long(lab: Lab) -> None:
    lab.start("Raises", "one")
    lab.ended("one")
    lab.status("Raises", "one")
    lab.told_long_ago("one", -3600)
    with pytest.raises(JobFailed):
        lab.status("Raises", "one")


def test_a_service_with_an_outcome_output_completes_with_the_reason_in_it(lab: Lab) -> None:
    lab.start("Outcome", "bad")
    lab.start("Outcome", "good", fail="false")
    lab.ended("bad")
    lab.ended("good")
    for _ in range(2):
        told = lab.status("Outcome", "bad")
        assert told.completed
        assert told.outputs == {"outcome": "The sample was lost.", "result": "UNSET"}
    assert lab.status("Outcome", "good").outputs == {"outcome": "fine", "result": "kept"}


@pytest.mark.parametrize(
    ("service", "inputs"), [("Unruly", {"word": "sleep"}), ("UnrulyScript", {"word": "sleep"}), ("Talk", {})]
)
def test_an_abort_ends_what_runs_and_is_told_first_by_its_page(lab: Lab, service: str, inputs: dict[str, str]) -> None:
    lab.start(service, "one", **inputs)
    lab.running("one")
    assert lab.jobs.abort(lab.services[service], "one", SHELL) is True
    assert lab.left_of("one") == []
    assert lab.record("one").state is State.ABORTED
    assert not lab.status(service, "one").completed
    lab.told_long_ago("one")
    with pytest.raises(JobAborted):
        lab.status(service, "one")
    assert lab.jobs.abort(lab.services[service], "one", SHELL) is True


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
def test_a_program_that_ignores_the_polite_stop_is_killed_after_its_grace(lab: Lab, service: str) -> None:
    lab.start(service, "one", word="deaf")
    lab.file("one", "status.txt")
    assert lab.jobs.abort(lab.services[service], "one", SHELL, wait=0) is False
    assert lab.jobs.abort(lab.services[service], "one", SHELL) is True
    assert lab.record("one").state is State.ABORTED
    assert lab.left_of("one") == []


def test_except_exception_does_not_swallow_an_abort(lab: Lab) -> None:
    lab.start("Stubborn", "one")
    lab.running("one")
    assert lab.jobs.abort(lab.services["Stubborn"], "one", SHELL)
    assert lab.record("one").state is State.ABORTED


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
@pytest.mark.parametrize("word", ["daemon", "nameless-daemon"])
def test_what_a_program_left_behind_in_a_session_of_its_own_is_ended(lab: Lab, service: str, word: str) -> None:
    lab.start(service, "one", word=word)
    assert lab.ended("one").state is State.COMPLETED
    wait_gone(int(lab.file("one", "data/daemon.pid")))
    assert lab.left_of("one") == []


def test_children_of_a_function_end_with_it(lab: Lab) -> None:
    lab.start("Family", "one")
    assert lab.ended("one").state is State.COMPLETED
    assert gone(int(lab.file("one", "data/child.pid")))


def test_a_log_holds_its_limit_with_its_beginning_and_its_end(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(LOG_LIMIT="100000")
    lab.supervise()
    lab.start("Unruly", "one", word="flood")
    assert lab.ended("one").state is State.COMPLETED
    log = (lab.folder("one") / "log.txt").read_bytes()
    assert len(log) <= 100_000
    assert log.startswith(b"this is flood\nthe first line\n")
    assert log.endswith(b"the last line\n")
    assert b"bytes were left out" in log


def test_a_job_that_takes_longer_than_its_limit_has_failed(lab: Lab) -> None:
    lab.start("Limited", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "limit of 0.3 s" in record.why


def test_a_job_without_progress_has_failed(lab: Lab) -> None:
    lab.start("Stalled", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "no progress for 0.3 s" in record.why


def test_no_zombie_and_no_descriptor_of_ours_is_in_a_job(lab: Lab) -> None:
    lab.start("Unruly", "one", word="descriptors")
    lab.ended("one")
    found = lab.status("Unruly", "one").outputs["result"].split()
    assert [f.split(":")[0] for f in found] == ["0", "1", "2"], found
    for number in range(20):
        lab.start("Unruly", f"more {number}", word="exit3")
    for number in range(20):
        lab.ended(f"more {number}")
    for parent in (lab.supervisor, lab.fork_server):
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            eventually(lambda child=child: not Path(f"/proc/{child}/stat").exists() or not gone(int(child)))


@pytest.mark.folder_way  # of many machines, the disk that is full is not the one of the face
def test_a_job_that_fills_the_disk_fails_and_the_truth_is_told(make_lab: Callable[..., Lab], small_disk: Path) -> None:
    lab = make_lab(small_disk / "jobs")
    lab.supervise()
    assert lab.fork_server
    lab.start("Unruly", "greedy", word="fill-disk")
    record = lab.ended("greedy")
    assert record.state is State.FAILED
    assert "exit status 4" in record.why
    with pytest.raises(Unavailable, match="disk is full"):
        for number in range(2000):
            lab.start("Echo", f"next {number}", text="x" * 4000)
    (lab.folder("greedy") / "data" / "big").unlink()
    lab.start("Echo", "after", text="room again")
    assert lab.ended("after").state is State.COMPLETED


@pytest.mark.parametrize("by_program", ["true", "false"])
def test_progress_that_a_full_disk_refuses_costs_the_page_not_the_work(
    make_lab: Callable[..., Lab], small_disk: Path, by_program: str
) -> None:
    lab = make_lab(small_disk / "jobs")
    lab.supervise()
    lab.start("FullDisk", "one", by_program=by_program)
    record = lab.ended("one")
    assert record.state is State.COMPLETED, record.why


def test_an_abort_that_comes_as_soon_as_a_job_begins_is_not_lost(lab: Lab) -> None:
    """Its process has no group of its own yet, or no handler: whichever of some dozen is hit."""
    service, told = lab.services["Steps"], {}

    def caller(number: int) -> None:
        for turn in range(10):
            name = f"{number}-{turn}"
            lab.jobs.start(service, name, {"count": 60, "step": 0.1}, SHELL)
            time.sleep((number + 4 * turn) % 7 * 0.004)  # where in its beginning it is hit differs
            told[name] = lab.jobs.abort(service, name, SHELL)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(120)
    ends = {name: lab.ended(name).state for name in told}
    assert len(ends) == 40 and set(ends.values()) == {State.ABORTED}, ends
    assert all(told.values())

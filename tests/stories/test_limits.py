"""What a deployment allows of one user, of one project and of all, and what becomes of whoever wants more."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from callers import Caller as HttpCaller
from callers import envelope
from lab import PATIENCE, Lab, eventually
from labwaiter.authentication.token_file import TokenFile
from labwaiter.catalogue import catalogue
from labwaiter.errors import (
    DiskFull,
    InvalidParameter,
    ServiceError,
    ServiceIDInUse,
    StartsTooFast,
    TooManyJobs,
    TooManyOfProject,
    TooManyOfUser,
    UnknownServiceID,
)
from labwaiter.model.caller import SHELL, Caller, Identity, Role
from labwaiter.model.record import Owner, State
from labwaiter.settings import load
from labwaiter.store import limits, messages
from labwaiter.store.limits import Book
from labwaiter.verbs import Jobs

ADA, BOB, EVE = (
    Caller(Identity(user, project)) for user, project in (("ada", "optics"), ("bob", "optics"), ("eve", "acoustics"))
)
ADA_OWNER, EVE_OWNER = Owner("", "optics", "ada"), Owner("", "acoustics", "eve")
SLEEP = {"word": "sleep"}


def start(lab: Lab, caller: Caller, name: str, service: str = "Unruly", **inputs: Any) -> object:
    return lab.jobs.start(lab.services[service], name, inputs or SLEEP, caller)


# -- how many ---------------------------------------------------------------------------------------


@pytest.mark.folder_way
def test_a_user_and_a_project_have_a_limit_and_the_others_go_on(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1", MAX_QUEUED="20", MAX_QUEUED_PER_PROJECT="2", MAX_QUEUED_PER_USER="1")
    lab.supervise()
    start(lab, ADA, "a1")
    start(lab, ADA, "a2")
    with pytest.raises(TooManyOfUser, match="2 executions of yours are running or waiting already, as many"):
        start(lab, ADA, "a3")
    start(lab, BOB, "b1")
    with pytest.raises(TooManyOfProject, match="3 executions of the project optics are .* try again in 30 s"):
        start(lab, BOB, "b2")
    for name in ("a3", "b2"):
        with pytest.raises(UnknownServiceID):
            lab.record(name)
    start(lab, EVE, "e1")
    for number in range(5):  # whoever has a shell has the limit of all alone
        start(lab, SHELL, f"s{number}")
    start(lab, ADA, "a2")  # a repeated start is no new one
    with pytest.raises(ServiceIDInUse):
        start(lab, ADA, "a2", word="deaf")
    lab.jobs.abort(None, "a2", ADA)
    start(lab, BOB, "b2")  # there is room again


@pytest.mark.folder_way
def test_one_user_s_starts_leave_room_for_others_as_long_as_nothing_is_set(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1", MAX_QUEUED="8")
    lab.supervise()
    for caller, most in (
        (ADA, 3),
        (BOB, 2),
    ):  # a quarter of what may wait, and who runs; then half
        for number in range(most):
            start(lab, caller, f"{caller.user}{number}")
        with pytest.raises(TooManyJobs):
            start(lab, caller, f"{caller.user}{most}")
    start(lab, EVE, "eve")


def _start_many(environment: dict[str, str], number: int, told: Any) -> None:
    """As one web worker: four threads start three executions each."""
    settings = load(environment)
    jobs, service = Jobs(settings), catalogue.of(settings).whole().services["Unruly"]

    def one(thread: int) -> list[str]:
        answers = []
        for turn in range(3):
            try:
                jobs.start(service, f"{number}-{thread}-{turn}", SLEEP, ADA)
                answers.append("started")
            except ServiceError as error:
                answers.append(error.code)
        return answers

    with ThreadPoolExecutor(4) as threads:
        told.put([answer for answers in threads.map(one, range(4)) for answer in answers])


@pytest.mark.folder_way
@pytest.mark.parametrize("more", [{"MAX_QUEUED_PER_USER": "5"}, {"MAX_QUEUED": "5"}, {"STARTS_PER_MINUTE": "6"}])
def test_starts_that_come_at_the_same_time_to_several_workers_are_not_one_too_many(
    make_lab: Callable[..., Lab], more: dict[str, str]
) -> None:
    wide = dict.fromkeys(("MAX_QUEUED", "MAX_QUEUED_PER_PROJECT", "MAX_QUEUED_PER_USER"), "1000")
    lab = make_lab(**{"MAX_RUNNING": "1", **wide, **more})
    lab.supervise()
    assert lab.services  # the files have been imported
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    workers = [spawn.Process(target=_start_many, args=(lab.environment, number, told)) for number in range(3)]
    for worker in workers:
        worker.start()
    answers = Counter(answer for _ in workers for answer in told.get(timeout=PATIENCE))
    for worker in workers:
        worker.join()
    assert answers == {"started": 6, "TooManyJobs": 30} and len(list(lab.store.names())) == 6


# -- how fast ---------------------------------------------------------------------------------------


@pytest.mark.folder_way
def test_a_user_who_starts_too_fast_hears_when_to_try_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STARTS_PER_MINUTE="3")
    lab.supervise()
    workers = [Jobs(lab.settings), Jobs(lab.settings)]
    service = lab.services["Echo"]
    for number in range(3):
        for worker in workers:  # the second one finds it there: that is no start
            worker.start(service, f"e{number}", {"text": "x"}, ADA)
    for worker in workers:
        with pytest.raises(StartsTooFast, match="You have started 3 .* try again in (20|19|1[0-8]) s"):
            worker.start(service, "too many", {"text": "x"}, ADA)
    with pytest.raises(UnknownServiceID):
        lab.record("too many")
    workers[0].start(service, "e0", {"text": "x"}, ADA)
    workers[0].start(service, "another's", {"text": "x"}, BOB)


@pytest.mark.folder_way
def test_what_was_refused_for_another_reason_is_not_counted(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STARTS_PER_MINUTE="1")
    lab.supervise()
    (lab.settings.files_folder).mkdir()
    for name in ("cube.stl", "cube.txt"):
        (lab.settings.files_folder / name).write_text("x")
    service = lab.services["Fussy"]
    for number in range(3):
        with pytest.raises(InvalidParameter, match="must be an STL"):
            lab.jobs.start(service, f"no {number}", {"file": "cube.txt"}, ADA)
    lab.jobs.start(service, "yes", {"file": "cube.stl"}, ADA)
    with pytest.raises(StartsTooFast, match="You have started an execution within a minute"):
        lab.jobs.start(service, "second", {"file": "cube.stl"}, ADA)


def test_so_many_starts_at_once_and_then_one_after_each_part_of_a_minute() -> None:
    ada, eve, now = ADA_OWNER, EVE_OWNER, 1000.0
    book = Book()
    for _ in range(4):
        book.count(ada, 4, now)
    with pytest.raises(TooManyJobs, match="try again in 15 s"):
        book.count(ada, 4, now)
    with pytest.raises(TooManyJobs, match="try again in 1 s"):
        book.count(ada, 4, now + 14.5)
    book.count(eve, 4, now)
    book.count_back(ada, 4)
    book.count(ada, 4, now)
    book = Book.read(book.text(), now + 15)
    book.count(ada, 4, now + 15)
    with pytest.raises(TooManyJobs):
        book.count(ada, 4, now + 15)
    assert Book.read(book.text(), now + 61).free_at.keys() == {"\nada"}
    assert Book.read(book.text(), now + 76).free_at == {}
    # after a boot the clock begins anew: nobody waits for more than a minute
    assert max(Book.read(book.text(), 1.0).free_at.values()) == 61.0


@pytest.mark.parametrize("text", [b"", b"torn", b"{}", b"[1]", b'{"beginning": {"a": 1}, "free_at": {}}'])
def test_a_torn_file_of_starts_refuses_nothing(text: bytes) -> None:
    assert Book.read(text, 1.0) == Book()


def test_a_start_whose_process_has_died_is_forgotten_after_a_minute() -> None:
    book = Book(beginning={"one": (100.0, "", ADA_OWNER)})
    assert Book.read(book.text(), 159.0) == book
    assert Book.read(book.text(), 160.0) == Book() == Book.read(book.text(), 99.0)


# -- whose turn it is ---------------------------------------------------------------------------------


@pytest.mark.folder_way
def test_one_user_s_many_starts_do_not_keep_another_s_one_waiting(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    lab.supervise()
    for number in range(20):
        start(lab, ADA, f"a{number:02}", word="hundred-but-running")
    lab.running("a00")
    start(lab, EVE, "e", word="hundred-but-running")
    eventually(lambda: lab.status("Unruly", "e").view.place == 1)
    assert lab.status("Unruly", "a01").view.place == 2
    lab.file("a00", "status.txt")
    (lab.folder("a00") / "go").touch()
    lab.running("e")
    assert lab.record("a01").state is State.QUEUED


@pytest.mark.folder_way
def test_no_more_of_a_user_run_than_may_and_the_page_says_so(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING_PER_USER="1", MAX_RUNNING_PER_PROJECT="2")
    lab.supervise()
    for caller, name in ((ADA, "a1"), (ADA, "a2"), (BOB, "b1"), (EVE, "e1")):
        start(lab, caller, name, word="hundred-but-running")
    for name in ("a1", "b1", "e1"):
        lab.running(name)
    eventually(lambda: "no more than" in lab.status("Unruly", "a2").view.ahead)
    assert lab.record("a2").state is State.QUEUED
    lab.file("a1", "status.txt")
    (lab.folder("a1") / "go").touch()
    lab.running("a2")


# -- how large --------------------------------------------------------------------------------------


@pytest.mark.folder_way
def test_an_execution_whose_folder_grows_too_large_fails_and_the_rest_goes_on(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(JOB_FOLDER_LIMIT="3000000")
    lab.supervise()
    lab.start("Hoard", "greedy", size=5_000_000)
    lab.start("Hoard", "modest", size=1_000_000)
    ended = lab.ended("greedy")
    assert ended.state is State.FAILED and ended.why.startswith("The folder of the execution came to hold 5.")
    assert "may hold 3.0 MB" in ended.why and "JOB_FOLDER_LIMIT" in ended.why
    assert lab.record("modest").state is State.RUNNING and lab.left_of("greedy") == []
    (lab.folder("modest") / "go").touch()
    assert lab.ended("modest").state is State.COMPLETED


@pytest.mark.folder_way
def test_all_together_have_a_limit_too_and_what_grows_is_stopped(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(JOBS_FOLDER_LIMIT="8000000")
    lab.supervise()
    lab.start("Hoard", "still", size=5_000_000)
    lab.file("still", "status.txt")
    eventually(lambda: limits.measured(lab.settings) > 5_000_000)
    lab.start("Hoard", "grows", size=100_000_000, slowly=True)
    ended = lab.ended("grows")
    assert ended.state is State.FAILED and "this one grew most" in ended.why and "may hold 8.0 MB" in ended.why
    assert lab.record("still").state is State.RUNNING
    with pytest.raises(DiskFull, match="all executions together hold"):
        lab.start("Echo", "new", text="x")
    with pytest.raises(UnknownServiceID):
        lab.record("new")
    lab.jobs.remove("grows", SHELL)
    eventually(lambda: limits.measured(lab.settings) < 8_000_000)
    lab.start("Echo", "new", text="x")


@pytest.mark.folder_way
def test_nothing_starts_on_a_disk_that_is_nearly_full(make_lab: Callable[..., Lab], small_disk: Path) -> None:
    lab = make_lab(small_disk / "jobs")
    lab.supervise()
    lab.start("Hoard", "runs", size=0)
    lab.file("runs", "status.txt")
    disk = os.statvfs(small_disk)
    with open(small_disk / "big", "wb") as file:  # 4 MB, of which a twentieth is kept
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - 150_000)
    with pytest.raises(DiskFull, match="the disk is full, but for 1.* kB that are kept for what runs"):
        lab.start("Echo", "one", text="x")
    with pytest.raises(UnknownServiceID):
        lab.record("one")
    (lab.folder("runs") / "go").touch()
    assert lab.ended("runs").state is State.COMPLETED
    (small_disk / "big").unlink()
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED


def test_what_a_folder_holds_is_what_it_takes_on_its_disk(tmp_path: Path) -> None:
    from labwaiter.supervisor.sizes import held

    folder = tmp_path / "job"
    (folder / "data" / "deep").mkdir(parents=True)
    until, empty = float("inf"), held(folder, float("inf"))
    (folder / "data" / "deep" / "file").write_bytes(os.urandom(1_000_000))
    os.link(folder / "data" / "deep" / "file", folder / "data" / "again")
    with open(folder / "data" / "holes", "wb") as sparse:
        sparse.truncate(10**9)
    (folder / "data" / "out").symlink_to("/usr")
    (folder / "data" / "round").symlink_to(folder)
    assert 1_000_000 <= held(folder, until) - empty < 1_100_000
    assert held(folder, 0.0) < 1_000_000  # what was seen in the time there was
    assert held(tmp_path / "none", until) == 0


# -- what is sent -----------------------------------------------------------------------------------


@pytest.mark.folder_way
def test_messages_and_requests_have_the_sizes_that_are_set(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MESSAGES_LIMIT="1000", MAX_BODY="10000")
    lab.supervise()
    start(lab, SHELL, "one")
    for _ in range(3):
        lab.jobs.notify(None, "one", "m" * 300, SHELL, wait=0.0)
    with pytest.raises(InvalidParameter, match="too many messages: 1.0 kB of them are kept"):
        lab.jobs.notify(None, "one", "m" * 300, SHELL, wait=0.0)
    assert len(messages.read(lab.folder("one"))) == 3
    caller = HttpCaller(lab)
    reply = caller("/Echo", envelope("startEcho", serviceID="large", sessionToken="t", text="x" * 10_000))
    assert reply["errorCode"] == "InvalidParameter" and "larger than 10000 bytes" in reply["description"]
    assert (
        "status_base64"
        in caller("/Echo", envelope("startEcho", serviceID="small", sessionToken="t", text="x" * 5000)).body.decode()
    )


@pytest.mark.folder_way
def test_a_workflow_manager_hears_whose_limit_it_was(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    lab = make_lab(TOKENS="file", TOKENS_FILE=str(tokens.file), STARTS_PER_MINUTE="1")
    lab.supervise()
    caller, token = HttpCaller(lab), tokens.add("ada", "optics", Role.USER, 600)[1]
    first, again, second = (
        caller("/Echo", envelope("startEcho", serviceID=name, sessionToken=token, text="x"))
        for name in ("one", "one", "two")
    )
    assert "status_base64" in first.body.decode() and again.status == "200 OK"
    assert second["errorCode"] == "TooManyJobs" and ":Server." in second["faultcode"]
    assert "as many as each user may here; try again in 60 s" in second["description"]
    unknown = caller("/Echo", envelope("getServiceStatus", serviceID="two", sessionToken=token))
    assert unknown["errorCode"] == "UnknownServiceID"

"""A record that can't be read is not absent: nothing runs twice, and nothing is told by guess."""

import ctypes
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually
from labwaiter.errors import ServiceError, Unavailable, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store import supervisor_client
from labwaiter.store.files import read_record
from labwaiter.store.leases import Held, Lease, Leases
from labwaiter.system import record_lock
from labwaiter.system.process import identify, lives, open_pidfd
from labwaiter.verbs import Status

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # renameat2(2)


def exchange(one: Path, other: Path) -> None:
    """Have two names name each other's file, in one step: nobody sees a moment at which one of them is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(one))


def spoil(file: Path, how: str) -> None:
    """Have something in a record's place that is no record."""
    kept = file.with_name(f".kept.{file.name}")
    if how == "gone":
        os.rename(file, kept)
        return
    if how == "link":
        kept.symlink_to(kept)
    elif how == "loop":
        kept.symlink_to(file)
    elif how == "pipe":
        os.mkfifo(kept)
    elif how == "folder":
        kept.mkdir()
    exchange(kept, file)


def mend(file: Path) -> None:
    kept = file.with_name(f".kept.{file.name}")
    if not os.path.lexists(file):
        os.rename(kept, file)
        return
    exchange(kept, file)
    kept.rmdir() if kept.is_dir() and not kept.is_symlink() else kept.unlink()


def runs(lab: Lab, service_id: str) -> int:
    """How often it ran: each run adds a line to its log."""
    return (lab.folder(service_id) / "log.txt").read_text().count("ran here")


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    held = []
    try:
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


WAYS = ["gone", "link", "pipe", "folder"]


def look_again(lab: Lab, service_id: str) -> None:
    """Have supervisor and faces look at an execution, and another one pass after it."""
    lab.store.mark_active(service_id)
    supervisor_client.wake(lab.settings, service_id)
    after = f"after {os.urandom(4).hex()}"
    lab.start("Echo", after, text="x")
    assert lab.ended(after).state is State.COMPLETED


@pytest.mark.folder_way
@pytest.mark.parametrize("how", WAYS)
def test_what_has_completed_never_runs_again_whatever_became_of_its_state(lab: Lab, how: str) -> None:
    lab.start("Counted", "one")
    lab.ended("one")
    spoil(lab.folder("one") / "state.json", how)
    if how == "gone":
        assert lab.status("Counted", "one").outputs == {"result": "ran"}
    else:
        with pytest.raises(Unavailable, match="can't be read"):
            lab.status("Counted", "one")
    look_again(lab, "one")
    assert runs(lab, "one") == 1
    if how == "gone":
        assert lab.ended("one").state is State.COMPLETED  # and its state is written again
        assert lab.store.active_names() == []
    else:
        mend(lab.folder("one") / "state.json")
        assert lab.status("Counted", "one").outputs == {"result": "ran"}
        eventually(lambda: not lab.store.active_names())
    assert runs(lab, "one") == 1


@pytest.mark.folder_way
@pytest.mark.parametrize("how", WAYS)
def test_what_has_failed_without_a_word_never_runs_again(lab: Lab, how: str) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    os.kill(lab.running("one"), 9)
    lab.ended("one")
    (lab.folder("one") / "end.json").unlink()  # as with a full disk
    spoil(lab.folder("one") / "state.json", how)
    look_again(lab, "one")
    if how == "gone":
        assert "interrupted" in lab.ended("one").why
    else:
        with pytest.raises(Unavailable):
            lab.record("one")
        mend(lab.folder("one") / "state.json")
        assert lab.ended("one").state is State.FAILED
    assert lab.left_of("one") == []


@pytest.mark.folder_way
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("restarted", [False, True])
def test_what_runs_is_not_told_as_queued_and_goes_on(lab: Lab, how: str, restarted: bool) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    runner = lab.running("one")
    if restarted:
        supervisor = lab.supervisor
        os.kill(supervisor, 19)
    spoil(lab.folder("one") / "state.json", how)
    if restarted:
        os.kill(supervisor, 9)
        eventually(lambda: supervisor_client.alive(lab.settings) not in (None, supervisor))
    look_again(lab, "one")
    if how != "gone":
        with pytest.raises(Unavailable, match="can't be read"):
            lab.record("one")
        mend(lab.folder("one") / "state.json")
    assert lab.record("one").state is State.RUNNING
    assert lab.running("one") == runner and identify(runner) is not None
    if restarted:
        # the new one adopts what it can read, and only then it hears of an abort
        assert lab.jobs.abort(lab.services["Unruly"], "one", SHELL)
        assert lab.ended("one").state is State.ABORTED and lab.left_of("one") == []
        return
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("Unruly", "one").outputs == {"result": "late"}


@pytest.mark.parametrize("how", WAYS[1:])
def test_an_end_that_cannot_be_read_is_neither_unset_nor_a_second_run(lab: Lab, how: str) -> None:
    lab.start("Counted", "one")
    lab.ended("one")
    spoil(lab.folder("one") / "end.json", how)
    if lab.__class__ is Lab:
        with pytest.raises(Unavailable, match="can't be read"):
            lab.status("Counted", "one")
    mend(lab.folder("one") / "end.json")
    lab.caught_up("one")
    assert lab.status("Counted", "one").outputs == {"result": "ran"}


@pytest.mark.folder_way
def test_a_completed_one_whose_end_is_gone_is_not_told_with_placeholders(lab: Lab) -> None:
    lab.start("Counted", "one")
    lab.ended("one")
    (lab.folder("one") / "end.json").unlink()
    with pytest.raises(Unavailable, match="outputs"):
        lab.status("Counted", "one")


@pytest.mark.folder_way
@pytest.mark.parametrize("how", WAYS[1:])
def test_a_request_that_cannot_be_read_is_no_unknown_service_id(lab: Lab, how: str) -> None:
    lab.start("Counted", "one")
    lab.ended("one")
    spoil(lab.folder("one") / "request.json", how)
    for call in (lab.status, lab.start):
        with pytest.raises(Unavailable, match="can't be read"):
            call("Counted", "one")
    look_again(lab, "one")
    mend(lab.folder("one") / "request.json")
    assert lab.status("Counted", "one").outputs == {"result": "ran"}
    assert runs(lab, "one") == 1


@pytest.mark.folder_way
def test_out_of_descriptors_nobody_is_told_that_nothing_was_started(lab: Lab) -> None:
    lab.start("Counted", "done")
    lab.ended("done")
    lab.start("Unruly", "runs", word="sleep")
    lab.running("runs")
    me = identify(os.getpid())
    assert me is not None
    told: list[ServiceError | object] = []
    services = lab.services
    with no_descriptors():
        for service, service_id in (("Counted", "done"), ("Unruly", "runs"), ("Counted", "never")):
            try:
                told.append(lab.jobs.status(services[service], service_id, SHELL))
            except ServiceError as error:
                told.append(error)
        for ask in (
            lambda: lives(me),
            lambda: open_pidfd(me),
            lambda: record_lock.holder(lab.store.layout.supervisor_lock),
        ):
            with pytest.raises(OSError, match="Too many open files"):
                ask()
    # what was read before, and by its stamp is the same, is told without a descriptor
    true = {0: State.COMPLETED, 1: State.RUNNING}
    for number, answer in enumerate(told):
        state = answer.view.record.state if isinstance(answer, Status) else None
        assert state is None or state is true.get(number), told
        assert state is not None or (type(answer) is Unavailable and "try again" in str(answer)), told
    assert lab.status("Counted", "done").completed
    assert lab.record("runs").state is State.RUNNING
    with pytest.raises(UnknownServiceID):
        lab.status("Counted", "never")


@pytest.mark.folder_way
def test_out_of_descriptors_every_verb_answers_in_a_sentence(lab: Lab) -> None:
    lab.start("Unruly", "runs", word="sleep")
    lab.file("runs", "status.txt")
    lab.start("Counted", "ended")
    lab.ended("ended")
    verbs, unruly, counted = lab.jobs, lab.services["Unruly"], lab.services["Counted"]
    record, ended = lab.record("runs"), lab.record("ended")
    told: list[BaseException | object] = []
    with no_descriptors():
        for verb in (
            lambda: verbs.start(counted, "new", {}, SHELL),
            lambda: verbs.status(unruly, "runs", SHELL),
            lambda: verbs.abort(unruly, "runs", SHELL, wait=0.1),
            lambda: verbs.notify(unruly, "runs", "hello", SHELL, wait=0.1),
            lambda: verbs.remove("ended", SHELL),
            # where only the last step of it finds none
            lambda: verbs.records.admit(record.request),
            lambda: verbs.records.notify(record, "hello", 0.1),
        ):
            try:
                told.append(verb())
            except BaseException as error:
                told.append(error)
    seen = told.pop(1)  # by what is remembered of its record, whose stamp takes no descriptor to be seen
    assert isinstance(seen, Unavailable) or (isinstance(seen, Status) and seen.view.record.state is State.RUNNING)
    assert [type(one) for one in told[:4]] == [Unavailable] * 4, told
    assert isinstance(told[4], OSError) and isinstance(told[5], Unavailable)  # the verb has a sentence for the first
    assert lab.record("runs").state is State.RUNNING and ended.state is State.COMPLETED


def test_only_what_is_not_there_is_absent(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none", 10) is None
    (tmp_path / "file").write_text("12345")
    assert read_record(tmp_path / "file", 10) == b"12345"
    with pytest.raises(OSError):
        read_record(tmp_path / "file" / "below", 10)
    with pytest.raises(OSError):
        read_record(tmp_path, 10)


def test_a_lease_that_cannot_be_read_is_not_free_and_nobody_takes_it(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    leases.write(Lease("smu", Held.BY_JOB, "one"))
    file = tmp_path / ".labwaiter" / "leases" / "smu.json"
    spoil(file, "loop")
    found = leases.of("smu")
    assert found is not None and found.how is Held.UNSAFE and "can't be read" in found.why
    assert not leases.take("two", ["smu"])
    with pytest.raises(OSError):
        leases.hand_on(Lease("smu", Held.BY_JOB, "two"))
    mend(file)
    assert json.loads(file.read_text())["job"] == "one"


@pytest.mark.folder_way
def test_a_supervisor_starts_nothing_of_which_it_cannot_read_whether_it_ended(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.supervise()
    lab.start("Counted", "one")
    lab.ended("one")
    supervisor_client.stop(lab.settings)
    for file in ("state.json", "end.json"):
        spoil(lab.folder("one") / file, "gone" if file == "state.json" else "loop")
    lab.store.mark_active("one")
    lab.supervise()
    look_again(lab, "one")
    assert runs(lab, "one") == 1
    mend(lab.folder("one") / "end.json")
    eventually(lambda: lab.store.stored_state("one"))
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("Counted", "one").outputs == {"result": "ran"} and runs(lab, "one") == 1


@pytest.mark.folder_way
def test_the_log_tells_once_that_a_record_cannot_be_read(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    supervisor = lab.supervise()
    lab.start("Unruly", "a", word="hundred-but-running")
    lab.file("a", "status.txt")
    spoil(lab.folder("a") / "state.json", "pipe")
    supervisor.kill()
    supervisor.wait(PATIENCE)
    eventually(lambda: supervisor_client.alive(lab.settings) is not None)
    for _ in range(3):  # as many looks round
        look_again(lab, "a")
    log = lab.root.parent / f"{lab.root.name}.supervisor.log"
    told = log.read_text() + (lab.root / ".labwaiter" / "supervisor.log").read_text()
    assert told.count("its record can't be read now") == 1
    mend(lab.folder("a") / "state.json")
    eventually(lambda: lab.jobs.abort(lab.services["Unruly"], "a", SHELL))
    assert lab.ended("a").state is State.ABORTED

"""One damaged record, one odd file, a clock that is set, a disk that is full or read-only: others don't suffer."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from callers import Caller
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Progress, Record, Request, State, View
from labwaiter.model.span import span
from labwaiter.page import render
from labwaiter.store import messages, supervisor_client
from labwaiter.store.artifacts import Artifacts
from labwaiter.system.process import identify, lives

pytestmark = pytest.mark.folder_way


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labwaiter", *words], env=lab.environment, capture_output=True, text=True, timeout=100
    )


ODD = ["1e999", "-1e999", "NaN", '"noon"', "true", "[1]", "{}", "1e300", "9" * 400]


@pytest.mark.parametrize(
    ("file", "field"),
    [("end.json", "ended"), ("state.json", "ended"), ("state.json", "started"), ("request.json", "created")],
)
def test_one_damaged_record_hides_none_of_the_others(lab: Lab, file: str, field: str) -> None:
    lab.start("Echo", "first", text="x")
    lab.ended("first")
    for number, odd in enumerate(ODD):
        name = f"odd {number}"
        shutil.copytree(lab.folder("first"), lab.folder(name))
        record = lab.folder(name) / file
        record.write_text(re.sub(rf'"{field}":[^,}}]+', f'"{field}":{odd}', record.read_text()))
    lab.start("Echo", "last", text="x")
    lab.ended("last")
    for words in ((), ("--json",)):
        done = shell(lab, "jobs", "list", *words)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        assert "first" in done.stdout and "last" in done.stdout
        # it is named, or what is odd in it isn't needed: the copies all say that they are the first
        assert "odd%200" in done.stderr or done.stdout.count("first") > len(ODD)
    json.loads(done.stdout)


@pytest.mark.parametrize("damaged", [b"", b"short", bytes(32), b"x" * 33])
def test_a_damaged_secret_of_the_links_is_replaced_by_a_new_one(make_lab: Callable[..., Lab], damaged: bytes) -> None:
    lab = make_lab()
    lab.store.make()
    secret = lab.store.layout.folder / "links.key"
    before = Artifacts(lab.settings)
    good = before.link("one")
    secret.write_bytes(damaged)
    after, links = [Artifacts(lab.settings) for _ in range(8)], set()
    threads = [threading.Thread(target=lambda one=one: links.add(one.link("one"))) for one in after]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(links) == 1 and good not in links  # all agree on it
    assert before.link("one") in links  # those that had the old one, too
    assert len(secret.read_bytes()) == 32 and len(set(secret.read_bytes())) > 8
    key = links.pop().split("/")[3]
    assert before.opens("one", key) and not before.opens("one", good.split("/")[3])
    assert Artifacts(lab.settings).link("one") == before.link("one")


NAMES = [
    "a\nb.txt",
    "a\rb.txt",
    "two  blanks .txt",
    "100%.txt",
    "#1?.txt",
    "é 漢.txt",
    "<b>.txt",
    "a&b;c=d.txt",
    "+.txt",
]


def test_every_file_that_is_linked_is_there(lab: Lab, caller: Caller) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    for name in NAMES:
        (lab.folder("one") / "data" / name).write_text(f"this is {name!r}")
    listed = [name for name, _ in lab.jobs.artifacts.listing("one")]
    assert listed == sorted(NAMES)
    at = lab.jobs.artifacts.link("one")
    page = caller(at).body.decode()
    view = lab.jobs.view("one", SHELL, lab.services["Unruly"])
    for text in (page, render(replace(view, own_page=None), lab.services["Unruly"], at)):
        found = [unescape(href) for href in re.findall(r'<li><a href="([^"]+)"', text)]
        assert len(found) == len(NAMES)
        paths = [urllib.parse.unquote(href[href.index("/files/") :], "latin-1") for href in found]  # as WSGI has them
        answers = {caller(path).body.decode() for path in paths}
        assert answers == {f"this is {name!r}" for name in NAMES}


def test_a_clock_that_is_set_back_makes_no_time_negative(lab: Lab) -> None:
    service = lab.services["Unruly"]
    record = Record("one", Request("one", "Unruly", {}), State.RUNNING, started=1_000_000.0)
    view = View(record=record, now=1_000_000.0 - 229_042, progress=Progress(fraction=0.5))
    page = render(view, service)
    assert "remaining" not in page and "-" not in re.findall(r"<dd>([^<]+)</dd>", page)[0]
    page = render(replace(view, ran=600.0), service)  # by the boot clock: whatever was set
    assert re.findall(r"<dd>([^<]+)</dd>", page)[:2] == ["10 min", "10 min"]
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    state = lab.folder("one") / "state.json"
    state.write_text(re.sub(r'"started":[0-9.]+', '"started":4e9', state.read_text()))  # as if the clock were set back
    ran = eventually(lambda: lab.jobs.view("one", SHELL).ran)
    assert ran is not None and 0 <= ran < 100


def test_an_order_that_was_refused_is_not_said_to_start_in_a_moment(lab: Lab) -> None:
    record = Record("one", Request("one", "Echo", {}), State.QUEUED)
    service = lab.services["Echo"]
    assert "It starts in a moment" in render(View(record=record, now=1.0), service)
    told = render(View(record=record, now=1.0, note="The machine north refuses this order."), service)
    assert "refuses this order" in told and "starts" not in told


def test_many_messages_are_counted_and_the_last_ones_shown(tmp_path: Path) -> None:
    assert messages.last(tmp_path, 3) == ((), 0)
    for text in ("one", "two\nlines\rand a \v tab", "é", "four", "five"):
        messages.append(tmp_path, text)
    for most in (1, 2, 3, 5, 9):
        assert messages.last(tmp_path, most) == (tuple(messages.read(tmp_path)[-most:]), 5)
    with open(tmp_path / messages.FILE, "ab") as file:
        file.write(b"being written")
    assert messages.last(tmp_path, 2) == (("four", "five"), 5)
    (tmp_path / messages.FILE).write_bytes(b"m\n" * 100_000)
    assert messages.last(tmp_path, 2) == (("m", "m"), 100_000)


def test_on_a_read_only_disk_a_supervisor_that_lives_is_seen(
    make_lab: Callable[..., Lab], small_disk: Path, services: Path
) -> None:
    lab = make_lab(small_disk / "jobs")
    lab.supervise()
    caller = Caller(lab)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=False)
    if os.access(small_disk, os.W_OK):
        with open(os.devnull) as nothing:  # who has it open for writing keeps it from becoming read-only
            assert nothing
        subprocess.run(["mount", "--bind", str(small_disk), str(small_disk)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(small_disk)], check=True)
    try:
        with pytest.raises(OSError):
            (small_disk / "x").touch()
        assert supervisor_client.alive(lab.settings) == lab.supervisors[0].pid
        assert caller("/health").status == "200 OK"
    finally:
        subprocess.run(["umount", str(small_disk)], check=False)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=False)


FULL = '''
import os, sys
from labwaiter import Command, Job, Outputs, service

class Result(Outputs):
    result: str

@service("Heedless", namespace="http://samples.example/")
def startHeedless(job: Job) -> Result:
    """Writes its result to a full disk, and looks at nothing."""
    script = (
        "import os,sys\\n"
        "try:\\n"
        "    with open('big', 'wb', buffering=0) as f:\\n"
        "        while True: f.write(b'x' * 4096)\\n"
        "except OSError: pass\\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\\n"
        "try: os.write(fd, b'the result')\\n"
        "except OSError: pass\\n"
    )
    return Command(sys.executable, "-c", script, job.result_file)
'''


def test_an_empty_result_on_a_full_disk_is_a_failed_job_that_says_so(
    make_lab: Callable[..., Lab], small_disk: Path, services: Path
) -> None:
    (services / "heedless.py").write_text(FULL)
    lab = make_lab(small_disk / "jobs")
    lab.supervise()
    lab.start("Heedless", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED and "disk" in record.why, record


DAEMONS = '''
import sys
from labwaiter import Command, Job, Outputs, service

class Result(Outputs):
    result: str

@service("Daemons", namespace="http://samples.example/")
def startDaemons(job: Job, named: bool) -> Result:
    """Leaves something behind in a session of its own, and goes on."""
    script = (
        "import os,subprocess,sys,time\\n"
        "environment = dict(os.environ) if sys.argv[1] == 'True' else {}\\n"
        "first = 'import subprocess,sys; p = subprocess.Popen([\\"sleep\\", \\"600\\"], start_new_session=True);'\\n"
        "first += 'open(\\"pid\\", \\"w\\").write(str(p.pid))'\\n"
        "subprocess.run([sys.executable, '-c', first], env=environment, start_new_session=True)\\n"
        "os.rename('pid', 'daemon.pid')\\n"
        "time.sleep(600)\\n"
    )
    return Command(sys.executable, "-c", script, str(named))
'''


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("program_too", [True, False])
def test_runner_and_supervisor_killed_together_leave_no_daemon(
    make_lab: Callable[..., Lab], services: Path, named: bool, program_too: bool
) -> None:
    (services / "daemons.py").write_text(DAEMONS)
    lab = make_lab()
    lab.supervise()
    lab.start("Daemons", "one", named=named)
    daemon = identify(int(lab.file("one", "data/daemon.pid")))
    assert daemon is not None
    victims = [lab.supervisor, lab.running("one"), *(lab.left_of("one") if program_too else ())]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert lab.ended("one").state is State.FAILED
    eventually(lambda: not lives(daemon))
    assert lab.left_of("one") == []


def test_a_list_of_those_that_run_reads_only_those(lab: Lab) -> None:
    for number in range(3):
        lab.start("Echo", f"done {number}", text="x")
        lab.ended(f"done {number}")
    lab.start("Unruly", "runs", word="sleep")
    lab.running("runs")
    (lab.folder("done 0") / "request.json").write_text("damaged")
    done = shell(lab, "jobs", "list", "--state", "running", "--state", "queued")
    assert "runs" in done.stdout and "done" not in done.stdout and done.stderr == ""
    done = shell(lab, "jobs", "list", "--state", "completed", "--state", "running")
    assert "runs" in done.stdout and "done 1" in done.stdout and "done%200" in done.stderr


def test_a_clock_that_is_set_while_it_runs_changes_nothing_of_how_long_it_ran(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.supervise()
    began = time.monotonic()
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    state = lab.folder("one") / "state.json"
    # as if the clock had been set back by years since its start
    state.write_text(re.sub(r'"started":[0-9.]+', '"started":4e9', state.read_text()))
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: supervisor_client.alive(lab.settings) not in (None, supervisor))

    def listed() -> float:
        command = [sys.executable, "-m", "labwaiter", "jobs", "list", "--json"]
        (told,) = json.loads(subprocess.run(command, env=lab.environment, capture_output=True, check=True).stdout)
        return float(told["ran"])

    assert 0 < listed() < time.monotonic() - began
    lab.jobs.abort(lab.services["Unruly"], "one", SHELL)
    ended = listed()
    assert 0 < ended < time.monotonic() - began
    assert listed() == ended
    record = lab.record("one")
    assert record.ended is not None and record.started == 4e9 and record.ran == ended
    view = lab.status("Unruly", "one").view
    assert f"<dt>took</dt><dd>{span(int(ended))}</dd>" in render(view, lab.services["Unruly"])

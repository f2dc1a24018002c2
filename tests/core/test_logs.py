"""Our own logs: a line an entry whatever came from outside, in either form, and none lost when they are rotated."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from labwaiter.system import logs
from labwaiter.system.process import APP

NASTY = "x\n2026-01-01 00:00:00,000 web[1] INFO ended serviceID=forged\r\x1b[31m\x00\u2028\u202e\udc80"
WRITER = """
import logging, os, sys
from labwaiter.system import logs

logs.LARGEST, logs.KEPT = 3000, 300
logs.set_up("writer", sys.argv[1], sys.argv[2])
log = logging.getLogger("labwaiter.test")
for number in range(400):
    log.info("%s/%d %s", sys.argv[3], number, "." * (number % 90))
os.write(2, f"{sys.argv[3]}/last words\\n".encode())  # with PYTHONUNBUFFERED `print` writes its line end by itself
"""


def _entries(form: str, *told: object) -> list[str]:
    record = logging.makeLogRecord({"msg": "%s", "args": told, "levelname": "INFO", "created": 0.5})
    return logs.Lines("web", form).format(record).split("\n")


@pytest.mark.parametrize("form", logs.FORMS)
def test_what_callers_send_is_one_line_and_none_of_its_own(form: str) -> None:
    for told in (NASTY, logs.Event("refused", {"serviceID": NASTY, "why": NASTY})):
        (entry,) = _entries(form, told)
        assert entry.isprintable(), entry
        assert len(entry.splitlines()) == 1


@pytest.mark.parametrize("form", logs.FORMS)
def test_an_exception_s_words_begin_no_line(form: str) -> None:
    try:
        raise ValueError(NASTY)
    except ValueError:
        record = logging.makeLogRecord({"msg": "it broke", "levelname": "ERROR", "exc_info": sys.exc_info()})
    first, *traced = logs.Lines("web", form).format(record).split("\n")
    assert "it broke" in first
    assert all(line.startswith("  | ") and line.isprintable() for line in traced)
    assert any("forged" in line for line in (first, *traced))


def test_an_event_is_read_by_people_and_by_programs() -> None:
    event = logs.Event("ended", {"serviceID": "a b", "user": "", "state": "failed", "seconds": 1.5, "why": 'say "no"'})
    (text,) = _entries("text", event)
    assert text.endswith('] INFO ended serviceID="a b" state=failed seconds=1.5 why="say \\"no\\""')
    (entry,) = _entries("json", event)
    told = json.loads(entry)
    assert told["time"] == "1970-01-01T00:00:00.500Z"
    assert {name: told[name] for name in ("level", "process", "event", "serviceID", "state", "seconds", "why")} == {
        "level": "INFO",
        "process": "web",
        "event": "ended",
        "serviceID": "a b",
        "state": "failed",
        "seconds": 1.5,
        "why": 'say "no"',
    }
    assert "user" not in told


def test_a_huge_value_does_not_fill_the_log() -> None:
    for form in logs.FORMS:
        (entry,) = _entries(form, logs.Event("refused", {"serviceID": "x" * 1_000_000}))
        assert len(entry) < 1000


@pytest.mark.parametrize("form", logs.FORMS)
def test_each_line_of_several_writers_is_in_exactly_one_of_the_files(tmp_path: Path, form: str) -> None:
    log = tmp_path / "web.log"
    environment = {**os.environ, "PYTHONPATH": APP}
    writers = []
    for number in range(4):
        with open(log, "ab") as out:
            command = [sys.executable, "-c", WRITER, form, str(log), f"w{number}"]
            writers.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment))
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = sorted(tmp_path.iterdir())
    assert len(files) > 10, "nothing was rotated"
    lines = [line for file in files for line in file.read_text().splitlines()]
    if form == logs.JSON:
        lines = [json.loads(line)["message"] if line.startswith("{") else line for line in lines]
    found = Counter(line.partition("INFO ")[2] or line for line in lines)
    told = [f"w{w}/{number} {'.' * (number % 90)}" for w in range(4) for number in range(400)]
    assert found == Counter([*told, *(f"w{w}/last words" for w in range(4))])


def test_what_is_printed_beside_the_log_follows_it(tmp_path: Path) -> None:
    log, script = tmp_path / "supervisor.log", "import os, sys\nfrom labwaiter.system import logs\n"
    script += "out = logs.Out(sys.argv[1])\nos.rename(sys.argv[1], sys.argv[1] + '.1')\nout.follow()\nprint('raw')\n"
    with open(log, "ab") as out:
        environment = {**os.environ, "PYTHONPATH": APP}
        subprocess.run([sys.executable, "-c", script, str(log)], stdout=out, stderr=out, env=environment, check=True)
    assert (log.read_text(), (tmp_path / "supervisor.log.1").read_text()) == ("raw\n", "")
    assert log.stat().st_mode == (tmp_path / "supervisor.log.1").stat().st_mode


def test_a_process_that_was_given_a_log_which_was_renamed_since_follows_it(tmp_path: Path) -> None:
    log, script = tmp_path / "supervisor.log", "import sys\nfrom labwaiter.system import logs\n"
    script += "logs.Out(sys.argv[1]).write('an entry\\n')\n"
    with open(log, "ab") as out:
        log.rename(tmp_path / "supervisor.log.2")
        environment = {**os.environ, "PYTHONPATH": APP}
        subprocess.run([sys.executable, "-c", script, str(log)], stdout=out, stderr=out, env=environment, check=True)
    assert (log.read_text(), (tmp_path / "supervisor.log.2").read_text()) == ("an entry\n", "")


def test_a_log_that_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "web.log", tmp_path / "journal"
    ours.write_text("")
    script = "import sys\nfrom labwaiter.system import logs\nlogs.LARGEST = 10\nout = logs.Out(sys.argv[1])\n"
    script += "[out.write('to the journal\\n') for _ in range(3)]\n"
    with open(theirs, "ab") as out:
        environment = {**os.environ, "PYTHONPATH": APP}
        subprocess.run([sys.executable, "-c", script, str(ours)], stderr=out, env=environment, check=True)
    assert (ours.read_text(), theirs.read_text()) == ("", "to the journal\n" * 3)


def test_the_oldest_go(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    for number in range(logs.KEPT + 3):
        log.write_text(f"{number:5}")
        assert logs.rotate(log, largest=5)
    assert not log.exists()
    left = {file.name: int(file.read_text()) for file in tmp_path.iterdir()}
    assert left == {f"web.log.{number}": logs.KEPT + 3 - number for number in range(1, logs.KEPT + 1)}
    log.write_text("1234")
    assert not logs.rotate(log, largest=5)

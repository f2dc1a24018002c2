"""The fixture `wire`, and what `labwaiter instruments record` makes of a transcript."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labfolder import Folder
from labwaiter.instruments import Instrument, Silent, reading, transcript
from labwaiter.instruments.drivers import SourceMeter
from labwaiter.testing import Lab, Wires


class Scale(Instrument):
    """Says what lies on it."""

    identity = ("ID", "SCALE")
    timeout = 0.3
    grams = reading("W?", float, unit="g")


class Greeter(Scale):
    """It has no question for who it is, and says hello when its port is opened."""

    identity = None
    settle, greeting = 5.0, "Ready"


def test_a_driver_that_follows_it_passes(wire: Wires) -> None:
    assert Scale(wire([(b"ID\n", b"SCALE 1\r\n"), (b"W?\n", b"1.5\r\n")])).grams == 1.5


def test_two_devices_each_have_their_own(wire: Wires) -> None:
    one = Scale(wire([(b"ID\n", b"SCALE 1\n"), (b"W?\n", b"1\n")]))
    two = Scale(wire([(b"ID\n", b"SCALE 2\n"), (b"W?\n", b"2\n")]))
    assert (two.grams, one.grams) == (2, 1)


def test_a_device_that_speaks_first_does_once_its_port_is_open(wire: Wires) -> None:
    assert Greeter(wire([(None, b"Boot\r\nReady\r\n"), (b"W?\n", b"7\n")])).grams == 7


def bare(said: str) -> str:
    """Without what is in front of each line of an error."""
    return re.sub(r"^(E )? +", "", said, flags=re.M)


def test_what_goes_another_way_is_silent_and_told(folder: Folder) -> None:
    said = folder.pytest(
        """
from _lamps import Lamp

HELLO = (b"ID\\n", b"LAMP 1\\n")

def test_another_question(wire):
    lamp = Lamp(wire([HELLO, (b"ON\\n", b"OK\\n"), (b"STATE?\\n", b"1\\n")]))
    lamp.switch(True)
    assert lamp.is_safe()

def test_more(wire):
    Lamp(wire([HELLO])).switch(True)

def test_not_all(wire):
    Lamp(wire([HELLO, (b"ON\\n", b"OK\\n")]))

def test_it_fails_before(wire):
    Lamp(wire([HELLO, (b"ON\\n", b"OK\\n")]))
    assert 1 == 2

def test_text(wire):
    wire([("ID\\n", "LAMP\\n")])
"""
    )
    assert "5 failed" in said
    assert "The driver went another way at line 3 of 3:\nexpected > STATE?\\n\nit sent  > STATE\\n" in bare(said)
    assert "The driver says more than the 1 lines of the dialogue:\nit sent  > ON\\n" in bare(said)
    assert "\nThe driver said 1 of the 2 lines of the dialogue.\n" in said and "  2  > ON\\n" in said
    assert "assert 1 == 2\nThe driver said 1 of the 2 lines of the dialogue." in bare(said)
    assert "Line 1 of a dialogue is what is sent and what is answered, both bytes or None" in said


def test_what_a_driver_makes_of_silence_may_be_what_is_tested(wire: Wires) -> None:
    scale = Scale(wire([(b"ID\n", b"SCALE 1\n"), (b"W?\n", None)]))
    with pytest.raises(Silent):
        _ = scale.grams


def test_a_file_that_is_not_there_is_told_with_what_makes_one(wire: Wires) -> None:
    with pytest.raises(FileNotFoundError, match="There is no dialogue .*/testing/scale.wire.txt: labwaiter instru"):
        wire("scale.wire.txt")


# -- recorded -----------------------------------------------------------------------------------


def record(lab: Lab, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "instruments", "record", *words]
    return subprocess.run(command, env=lab.environment, cwd=folder, capture_output=True, text=True)


def test_what_a_job_and_its_instrument_said_is_replayed(lab: Lab, wire: Wires, tmp_path: Path) -> None:
    nothing = record(lab, tmp_path, "sourcemeter")
    assert nothing.returncode == 3 and nothing.stderr.startswith(
        "Error: No execution here has left a transcript of sourcemeter: start one that uses it, then ask again."
    )
    lab.run("Sweep", "one", points=2)
    lab.run("Sweep", "two", points=3)
    done = record(lab, tmp_path, "sourcemeter")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sourcemeter.wire.txt: ") and "passwords, too" in done.stdout
    remark, asked, answered, *_ = (tmp_path / "sourcemeter.wire.txt").read_text().splitlines()
    assert remark == "# sourcemeter, as the execution two and it spoke to each other"
    assert (asked, answered) == (r"> *IDN?\n", r"< LABWAITER,SIM-SMU,0001,1.0\r\n")
    again = record(lab, tmp_path, "sourcemeter")
    assert again.returncode == 1 and "is there already, and stays as it is: name another file." in again.stderr
    assert record(lab, tmp_path, "sourcemeter", "one.txt", "--of", "one").returncode == 0
    assert record(lab, tmp_path, "sourcemeter", "x.txt", "--of", "three").returncode == 2
    assert not (tmp_path / "x.txt").exists()
    meter = SourceMeter(wire(tmp_path / "one.txt"))
    meter.compliance, meter.volts = 0.1, -1.0
    meter.output(True)
    for volts in (-1.0, 1.0):
        meter.volts = volts
        assert meter.current == pytest.approx(volts / 1000, rel=0.01)
        assert not meter.tripped
    meter.output(False)
    meter.make_safe()


def test_a_transcript_is_replayed_as_it_is(wire: Wires, tmp_path: Path) -> None:
    first = Scale(wire([(b"ID\n", b"SCALE 1\r\n"), (b"W?\n", b"1.5\r\n")]), transcript=tmp_path / "scale.line.txt")
    assert first.grams == 1.5
    first.close()
    assert Scale(wire(tmp_path / "scale.line.txt")).grams == 1.5


def test_what_comes_after_a_lost_line_is_left_out() -> None:
    text = b"1.0 -- opened x\n1.1 > A\\n\n1.2 < B\\n\n1.3 x noise\\n\n1.4 -- lost: x\n1.5 -- opened x\n1.6 > C\\n\n"
    assert transcript.dialogue(text, "x.line.txt") == [(b"A\n", b"B\n")]


@pytest.mark.parametrize(
    "data",
    [
        b"VOLT?\n",
        b"\x02\x11\x04\xe2\xf5",
        "5 Ω\\n\r\n".encode(),
        b"ends with a blank ",
        b"\xff\xed\xb3\xbf",
        bytes(range(256)),
    ],
    ids=repr,
)
def test_each_byte_comes_back(data: bytes) -> None:
    line = transcript.written(data)
    assert "\n" not in line and line == line.strip() and transcript.read(line) == data
    assert transcript.dialogue(f"> {line}\n".encode(), "x") == [(data, b"")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"> A\\n\nhello\n", "x.txt, line 2: a line begins with >, <, x, -- or #, not “hello”."),
        (b"# A\n> \\q\n", r"x.txt, line 2: \q is no byte: there are"),
        (b"> \\x4\n", r"x.txt, line 1: \x is no byte"),
        (b"> A\\", r"x.txt, line 1: \ is no byte"),
    ],
    ids=["no mark", "q", "short", "cut"],
)
def test_a_file_that_is_none_is_told_with_its_line(text: bytes, words: str) -> None:
    with pytest.raises(transcript.Unreadable) as told:
        transcript.dialogue(text, "x.txt")
    assert str(told.value).startswith(words)

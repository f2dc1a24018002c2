"""Progress as programs really print it, read from the pieces in which it comes."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from labwaiter import Command
from labwaiter.runner.listening import PRINTED_MAX, Listener

Said = list[tuple[float | None, str]]


def hear(pieces: Sequence[str | bytes], progress: str | tuple[str, ...] = (), stages: tuple[str, ...] = ()) -> Said:
    """What is said of a program that prints these pieces."""
    said: Said = []
    listener = Listener(
        Command("tool", progress=progress, stages=stages), lambda fraction, stage: said.append((fraction, stage))
    )
    for piece in pieces:
        listener.hear(piece if isinstance(piece, bytes) else piece.encode())
    return said


def fractions(pieces: Sequence[str | bytes], *progress: str) -> list[float | None]:
    return [fraction for fraction, _ in hear(pieces, progress=progress)]


def test_gdal_counts_on_in_one_line() -> None:
    pieces = ["0", "...", "10", "...20...3", "0...", "100", " - done.\n"]
    assert fractions(pieces, r"(\d+)(?:\.\.\.| - done)") == [0, 0.2, 0.3, 1]
    assert fractions(pieces, r"(\d+)") == [0, 0.2, 0.3, 1]


def test_7z_goes_back_over_what_it_printed() -> None:
    pieces = ["  0%", "\b\b\b\b    \b\b\b\b", " 12%", "\b\b\b\b    \b\b\b\b 13% 4 - file.txt"]
    assert fractions(pieces, r"(\d+)%") == [0, 0.12, 0.13]


def test_a_line_that_is_drawn_anew_by_the_sequences_of_a_terminal() -> None:
    assert fractions(["\x1b[2K\x1b[1G 5 %", "\x1b[2K\x1b[1G\x1b[32m6\x1b[0m %", "\x1b[", "A7 %"], r"^\s*(\d+) %") == [
        0.05,
        0.06,
        0.07,
    ]


@pytest.mark.parametrize(
    ("printed", "pattern", "right"),
    [
        ("37,5 %", r"(?P<percent>[\d,]+) %", 0.375),
        ("37,5 %", r"(?P<percent>[\d.]+) %", 0.375),  # the number that the group is in
        ("37.5%", r"(\d+)%", 0.375),
        ("at -3 %", r"(-?\d+) %", -0.03),
        ("0,25 done", r"(?P<fraction>[\d,]+) done", 0.25),
        ("1,234 of 5,000", r"(?P<i>\S+) of (?P<n>\S+)", 1234 / 5000),
        ("900 of 1,200", r"(?P<i>\S+) of (?P<n>\S+)", 0.75),
        ("900/1,200 done", r"(?P<i>\d+)/(?P<n>\d+)", 0.75),
        ("1,5 of 6 GB", r"(?P<i>[\d,]+) of (?P<n>[\d,]+)", 0.25),
        ("0,500 of 1,000 GB", r"(?P<i>[\d,]+) of (?P<n>[\d,]+)", 0.5),
        ("1e1 %", r"(\S+) %", 0.1),
        ("nan %", r"(\S+) %", None),
        ("inf %", r"(\S+) %", None),
        ("1_0 %", r"(\S+) %", None),
        ("3/0 ", r"(?P<i>\d+)/(?P<n>\d+)", None),
        ("10 % of 20 % ", r"(\d+) %", 0.2),  # the last one counts
    ],
)
def test_numbers_as_people_write_them(printed: str, pattern: str, right: float | None) -> None:
    for text in (printed + "\n", printed + "\r", printed + " "):
        assert fractions([text], pattern) == [pytest.approx(right)]


def test_a_number_that_may_still_grow_is_waited_for() -> None:
    assert fractions(["frame 3/1", "2", "\r", "frame 12/12\r"], r"(?P<i>\d+)/(?P<n>\d+)") == [0.25, 1]
    assert hear(["mesh", "ing 5 % "], progress=r"(?P<stage>[a-z]+)") == [(None, "meshing")]


def test_a_group_that_may_be_missing_says_nothing_where_it_is() -> None:
    assert fractions(["5 %\n", "ready 7\n", "6 %\n"], r"ready|(\d+) %") == [0.05, 0.05, 0.06]
    pattern = r"(?P<stage>[a-z]+)(?: (?P<i>\d+)/(?P<n>\d+))?"
    assert hear(["mesh 1/4\n", "solve\n"], progress=pattern) == [(0.25, "mesh"), (0.25, "solve")]


def test_what_was_heard_in_an_unfinished_line_is_not_said_again_at_its_end() -> None:
    assert fractions(["12%", " of the file", "\n", "13%\n", "13%\n"], r"(\d+)%") == [0.12, 0.13, 0.13]
    assert fractions(["12%", " 14%\n"], r"(\d+)%") == [0.12, 0.14]


def test_stages_are_heard_in_unfinished_lines_too() -> None:
    assert hear(["meshing ...", " 50%", " ok\nsolving", " ..."], stages=("meshing", "solving"), progress=r"(\d+)%") == [
        (0.0, "meshing"),
        (0.25, "meshing"),
        (0.5, "solving"),
    ]


def test_a_number_and_a_sign_that_come_in_pieces() -> None:
    text = "0 µm … 10 µm … 20 µm … ".encode()
    assert fractions([bytes([byte]) for byte in text], r"(\d+) µm") == [0, 0.1, 0.2]


def test_a_long_line_forgets_its_beginning_but_not_its_progress() -> None:
    dots = "." * 50_000
    assert fractions(["10%", dots, dots, "20%", dots, "\n"], r"(\d+)%") == [0.1, 0.2]
    assert fractions(["x" * 50_000, "7%"], r"^(\d+)%") == []  # that is not where a line begins
    # where the window cuts a number in two, its second half is none
    for length in range(3900, 4200):
        assert fractions(["123456789%" + "." * length, "."], r"(\d)\d*%") in ([0.01], []), length


class Counting:
    """A pattern that fits nowhere, and counts the characters that it was looked for in."""

    looked_at = 0
    longest = 0

    def finditer(self, line: str) -> Iterator[re.Match[str]]:
        self.looked_at += len(line)
        self.longest = max(self.longest, len(line))
        return iter(())


@pytest.mark.parametrize("size", [1, 100, 65536])
def test_a_line_without_an_end_costs_a_bounded_look_with_each_piece(size: int) -> None:
    listener = Listener(Command("tool", progress=r"(\d+)%"), lambda *what: None)
    pattern = Counting()
    listener._patterns = [pattern]  # type: ignore[list-item]
    pieces = 100_000_000 // size if size > 100 else 20_000
    for _ in range(pieces):
        listener.hear(b"." * size)
    assert 0 < pattern.looked_at <= 513 * pieces and pattern.longest <= 513 and len(listener._part) <= 4097
    assert len(listener.printed) == min(PRINTED_MAX, pieces * size)


def test_whatever_the_pieces_the_end_is_the_same() -> None:
    choose = random.Random(3)
    text = "".join(f"frame {i}/400\r" if i % 3 else f"stage {i} ...\n" for i in range(1, 401)).encode()
    whole = fractions([text], r"frame (?P<i>\d+)/(?P<n>\d+)\b")[-1]
    for _ in range(20):
        cuts = sorted(choose.sample(range(len(text)), 60))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        said = fractions(pieces, r"frame (?P<i>\d+)/(?P<n>\d+)\b")
        assert said[-1] == whole == 1.0 and said == sorted(said)


def test_a_pipe_s_unfinished_line_is_heard_while_its_program_waits() -> None:
    code = "import sys\nfor n in range(0, 101, 10): print(n, end='...', flush=True); sys.stdin.readline()"
    said: Said = []
    listener = Listener(Command("tool", progress=r"(\d+)\.\.\."), lambda *what: said.append(what))
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
        assert child.stdin and child.stdout
        for n in range(0, 101, 10):
            while not said or said[-1][0] != n / 100:
                listener.hear(os.read(child.stdout.fileno(), 65536))
            child.stdin.write(b"\n")
            child.stdin.flush()
    assert [fraction for fraction, _ in said] == [n / 100 for n in range(0, 101, 10)]


def test_the_last_of_what_was_printed_is_kept() -> None:
    listener = Listener(Command("tool"), lambda *what: None)
    for n in range(50_000):
        listener.hear(b"%d\n" % n)
    assert len(listener.printed) == PRINTED_MAX and listener.printed.endswith("\n49999\n")

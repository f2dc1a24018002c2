"""How a program's end becomes the job's: what counts as its result, and how its failure is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labwaiter.model.parameter import Parameter
from labwaiter.model.record import State
from labwaiter.runner import ending
from labwaiter.store.artifacts import name_of

TEXT = (Parameter("result", "text"),)
NUMBER = (Parameter("count", "int"),)
FILE = (Parameter("mesh", "file"),)
SEVERAL = (Parameter("mesh", "file"), Parameter("count", "int"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder data/ of the job `one`."""
    folder = tmp_path / "jobs" / "one" / "data"
    folder.mkdir(parents=True)
    return folder


def hand_on(data: Path) -> ending.HandOn:
    return partial(name_of, data.parents[1], "one")


def ended(data: Path, file: Path, outputs: tuple[Parameter, ...] = TEXT, **how: Any) -> Any:
    end = ending.of_program(0, file, outputs, hand_on(data), **how)
    return end.outputs if end.outcome is State.COMPLETED else end.why


# -- the text of a result ---------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_result_is_decoded_as_it_says_itself(data: Path, encoding: str) -> None:
    file = data / "result.txt"
    file.write_bytes("Größe: 3 µm €\r\n".encode(encoding))
    assert ended(data, file) == {"result": "Größe: 3 µm €"}
    file.write_bytes("7\n".encode(encoding))
    assert ended(data, file, NUMBER) == {"count": 7}
    (data / "mäsh").touch()
    file.write_bytes(json.dumps({"mesh": "mäsh", "count": 2}, ensure_ascii=False).encode(encoding))
    assert ended(data, file, SEVERAL) == {"mesh": "one/mäsh", "count": 2}


@pytest.mark.parametrize("order", ["le", "be"])
def test_either_order_of_bytes_is_read(data: Path, order: str) -> None:
    for width in (16, 32):
        (data / "r").write_bytes(f"\ufeffµ{width}".encode(f"utf-{width}-{order}"))
        assert ended(data, data / "r") == {"result": f"µ{width}"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("Größe".encode("latin-1"), "The program's result is not UTF-8 text: its byte 3 is 0xF6."),
        ("Größe".encode("utf-16-le"), "The program's result is not UTF-8 text: it holds a NUL byte."),
        (b"\xff\xfea\x00\x00\xd8", "The program's result is not UTF-16 text: its byte 5 is 0x00."),
        (b"\xef\xbb\xbfok \xe4", "The program's result is not UTF-8 text: its byte 7 is 0xE4."),
        (b"a\x00b", "The program's result is not UTF-8 text: it holds a NUL byte."),
    ],
)
def test_what_is_no_text_is_refused_and_never_guessed(data: Path, content: bytes, why: str) -> None:
    (data / "r").write_bytes(content)
    assert ended(data, data / "r") == why + " Have it write UTF-8."
    for outputs in (NUMBER, SEVERAL):
        assert "is not UTF-" in ended(data, data / "r", outputs)


def test_a_file_s_name_is_bytes_and_needs_no_encoding(data: Path) -> None:
    name = os.fsdecode(b"m\xe4sh.vtk")
    (data / name).touch()
    (data / "r").write_bytes(b"m\xe4sh.vtk\n")
    assert ended(data, data / "r", FILE) == {"mesh": "one/m%E4sh.vtk"}


def test_a_result_that_is_too_deep_or_too_long_is_a_sentence(data: Path) -> None:
    (data / "r").write_bytes(b"[" * 200_000)
    assert "no JSON object" in ended(data, data / "r", SEVERAL)
    (data / "r").write_bytes(b"x" * (ending.RESULT_MAX + 1))
    assert "too long" in ended(data, data / "r")


@pytest.mark.timeout(20)
def test_what_is_no_file_is_no_result_and_holds_nobody_up(data: Path) -> None:
    os.mkfifo(data / "fifo")
    (data / "folder").mkdir()
    for name in ("fifo", "folder"):
        assert ended(data, data / name) == "The program's result is no file."
    (data / "link").symlink_to(data / "gone")
    assert ended(data, data / "link") == "The program ended without a result."


# -- this run's result ------------------------------------------------------------------------


def test_a_file_of_an_earlier_step_is_no_result_of_this_one(data: Path) -> None:
    file = data / "result.txt"
    before = ending.stamp(file)
    assert before is None
    file.write_text("of the first step")
    assert ended(data, file, before=before) == {"result": "of the first step"}
    before = ending.stamp(file)
    why = "The program ended without a result: result.txt is of an earlier step."
    assert ended(data, file, before=before) == why
    assert ended(data, file, NUMBER, before=before, program="solve") == why.replace("The program", "solve")
    assert ended(data, file, (), before=before) == {}  # a service without outputs has no result


@pytest.mark.parametrize("how", ["in place", "anew"])
def test_the_same_words_written_once_more_are_this_run_s(data: Path, how: str) -> None:
    file = data / "result.txt"
    for _ in range(20):  # within a tick of the file system's clock, too
        file.write_text("READY")
        before = ending.stamp(file)
        if how == "anew":
            (data / "beside").write_text("READY")
            os.rename(data / "beside", file)
        else:
            file.write_text("READY")
        assert ended(data, file, before=before) == {"result": "READY"}


def test_paths_are_relative_to_where_the_program_worked(data: Path) -> None:
    case = data / "case"
    case.mkdir()
    (data / "mesh.vtk").write_text("an older one")
    (case / "mesh.vtk").write_text("this one")
    (data / "only-here").touch()
    file = case / "result.txt"
    for said, handed_on in [
        ("mesh.vtk", "one/case/mesh.vtk"),
        ("../mesh.vtk", "one/mesh.vtk"),
        (str(case / "mesh.vtk"), "one/case/mesh.vtk"),
    ]:
        file.write_text(said + "\n")
        assert ended(data, file, FILE, worked_in=case) == {"mesh": handed_on}
        file.write_text(json.dumps({"mesh": said, "count": 1}))
        assert ended(data, file, SEVERAL, worked_in=case) == {"mesh": handed_on, "count": 1}
    for elsewhere in ("only-here", "case/mesh.vtk"):
        file.write_text(elsewhere + "\n")
        assert "is not in the folder" in ended(data, file, FILE, worked_in=case)
    file.write_text("mesh.vtk")
    assert ended(data, file, FILE) == {"mesh": "one/mesh.vtk"}


@pytest.mark.parametrize("said", ["gone.vtk", "../../../two/data/x", "/etc/hostname", "a\0b", "\ud800"])
def test_a_path_that_is_not_in_data_is_refused(data: Path, said: str) -> None:
    (data / "r").write_text(json.dumps({"mesh": said, "count": 1}))
    why = "The file that the output mesh names is not in the folder data/ of the job, or hidden there by a dot."
    assert ended(data, data / "r", SEVERAL, worked_in=data) == why


# -- a full disk ------------------------------------------------------------------------------


def fill(folder: Path) -> None:
    with pytest.raises(OSError), open(folder / "big", "wb", buffering=0) as out:
        while True:
            out.write(bytes(1024))


def test_an_empty_result_on_a_full_disk_has_failed_with_its_reason(small_disk: Path) -> None:
    data = small_disk / "jobs" / "one" / "data"
    data.mkdir(parents=True)
    file = data / "result.txt"
    fill(small_disk)
    careless = f"try: open({str(file)!r}, 'w').write('the result' * 1000)\nexcept OSError: pass"
    status = subprocess.run([sys.executable, "-c", careless]).returncode
    assert status == 0 and file.read_bytes() == b""
    why = "The program ended without a result: its disk can't be written (No space left on device)."
    assert ended(data, file) == ended(data, file, SEVERAL) == why
    assert ended(data, data / "never-made") == why
    os.truncate(small_disk / "big", (small_disk / "big").stat().st_size - 1_200_000)  # as what is kept for ends gives
    assert ended(data, file) == why
    (small_disk / "big").unlink()
    assert ended(data, file) == {"result": ""}  # an empty text is one, where there was room for more
    assert [entry.name for entry in data.iterdir()] == ["result.txt"]


# -- how a failure is told --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "success", "fine"),
    [
        (0, (0,), True),
        (2, (0,), False),
        (2, (0, 2), True),
        (143, (0, -15), True),
        (-15, (0, 143), True),
        (-15, (0, -15), True),
        (-9, (0, -15), False),
        (137, (0, 143), False),
        (-15, (0,), False),
        (128, (0,), False),
    ],
)
def test_a_signal_and_its_status_are_one(status: int, success: tuple[int, ...], fine: bool) -> None:
    assert (ending.refusal(status, success) is None) is fine


@pytest.mark.parametrize(
    ("status", "program", "printed", "why"),
    [
        (2, "", "", "The program ended with the exit status 2."),
        (-11, "", "", "The program was ended by the signal SIGSEGV (11)."),
        (2, "slic3r", "", "slic3r ended with the exit status 2."),
        (
            2,
            "/opt/bin/slic3r",
            "begin\nerror: no such file\n\n",
            "slic3r ended with the exit status 2: error: no such file.",
        ),
        (2, "a", "error!\n---\n", "a ended with the exit status 2: error!"),
        (-6, "a", " 10 %\r 20 %\rstd::bad_alloc", "a was ended by the signal SIGABRT (6): std::bad_alloc."),
        (1, "a", "12%\b\b\b13%\b\b\b\x1b[31mno filament\x1b[0m\x07", "a ended with the exit status 1: no filament."),
        (1, "a", "can't open /home/ada/case/x.stl:\n", "a ended with the exit status 1: can't open x.stl."),
        (1, "a", "error:/home/ada/case/x.stl", "a ended with the exit status 1: error:x.stl."),
        (1, "a", "read data/case/x.stl", "a ended with the exit status 1: read data/case/x.stl."),
        (1, "a", "GET http://lab.example/a/b", "a ended with the exit status 1: GET http://lab.example/a/b."),
        (1, "a", "file:///home/ada/x.stl", "a ended with the exit status 1: file://x.stl."),
        (1, "a", "x" * 300, "a ended with the exit status 1: " + "x" * 200 + "…"),
        (1, "a", "caf\udce9 \u202egone", "a ended with the exit status 1: caf gone."),
    ],
)
def test_a_failed_program_is_told_by_its_name_and_its_own_last_line(
    status: int, program: str, printed: str, why: str
) -> None:
    assert ending.refusal(status, program=program, printed=printed) == why
    end = ending.of_program(status, Path("none"), TEXT, lambda file: None, program=program, printed=printed)
    assert (end.outcome, end.why) == (State.FAILED, why)


def test_an_exception_s_words_keep_relative_paths_and_addresses() -> None:
    for words, shown in [
        ("no /etc/ssl/cert.pem", "no cert.pem"),
        ("no data/case/x.stl", "no data/case/x.stl"),
        ("http://lab.example/a/b", "http://lab.example/a/b"),
    ]:
        assert ending.of_exception(ValueError(words)).why == f"The work failed: {shown} (ValueError)."

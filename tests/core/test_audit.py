"""The audit file: a chain in which nothing is changed, taken out or put in unseen, whoever writes and dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labwaiter.layout import Layout
from labwaiter.store import audit as module
from labwaiter.store.audit import Audit
from labwaiter.system.process import APP


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    layout = Layout(tmp_path)
    layout.folder.mkdir(mode=0o700)
    return Audit(layout)


def _filled(audit: Audit, count: int = 6) -> Path:
    for number in range(count):
        audit.add("start", serviceID=f"one-{number}", user="ada")
    (file,) = audit.files()
    return file


def test_lines_are_chained_and_say_when(audit: Audit) -> None:
    lines = [json.loads(line) for line in _filled(audit).read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["prev"] for line in lines] == ["0" * 64, *(line["hash"] for line in lines[:-1])]
    assert all(line["time"].endswith("Z") and line["event"] == "start" for line in lines)
    verdict = audit.verify()
    assert (verdict.count, verdict.fault, verdict.last, verdict.notes) == (6, "", lines[-1]["hash"], ())


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("changed", "Line 3 of 000000000001.jsonl was changed: its hash is not that of its text."),
        ("the last one changed", "Line 6 of 000000000001.jsonl was changed: its hash is not that of its text."),
        ("taken out", "Line 3 of 000000000001.jsonl has the number 4, where 3 was to come."),
        ("put in", "Line 4 of 000000000001.jsonl has the number 3, where 4 was to come."),
        ("swapped", "Line 3 of 000000000001.jsonl has the number 4, where 3 was to come."),
        ("written anew", "Line 4 of 000000000001.jsonl does not follow the line before it: that one was another."),
        ("made unreadable", "Line 3 of 000000000001.jsonl was changed: its hash is not that of its text."),
    ],
)
def test_the_first_line_that_does_not_fit_is_told(audit: Audit, how: str, sentence: str) -> None:
    file = _filled(audit)
    lines = file.read_bytes().splitlines(keepends=True)
    if how == "changed":
        lines[2] = lines[2].replace(b"ada", b"bob")
    elif how == "the last one changed":
        lines[5] = lines[5].replace(b"ada", b"bob")
    elif how == "taken out":
        del lines[2]
    elif how == "put in":
        lines.insert(3, lines[2])
    elif how == "swapped":
        lines[2], lines[3] = lines[3], lines[2]
    elif how == "written anew":
        link = module.Link(2, json.loads(lines[1])["hash"])
        lines[2] = module._line(link, "start", {"serviceID": "one-2", "user": "bob"})
    else:
        lines[2] = b"\0" * len(lines[2])
    file.write_bytes(b"".join(lines))
    verdict = audit.verify()
    assert verdict.fault == sentence
    assert verdict.count == {"the last one changed": 5, "put in": 3, "written anew": 3}.get(how, 2)


def test_a_line_that_was_cut_off_is_mended_and_told_as_that(audit: Audit) -> None:
    file = _filled(audit, 3)
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    assert audit.verify().fault == ""
    assert "is not whole" in audit.verify().notes[0]
    Audit(Layout(audit.folder.parent.parent)).add("abort", serviceID="one-1")
    entries = list(audit.entries())
    assert [entry["event"] for entry in entries] == ["start", "start", "mended", "abort"]
    assert entries[2]["lost_bytes"] == len(whole.splitlines()[2]) + 1 - 40 + 1
    verdict = audit.verify()
    assert (verdict.fault, verdict.count) == ("", 4)
    assert "can't be read, as the next line there says" in verdict.notes[0]
    # and what it says is of those bytes alone
    file.write_bytes(file.read_bytes().replace(b'"serviceID":"one-2"', b'"serviceID":"one-X"'))
    assert "was changed" in audit.verify().fault


def test_a_gap_that_was_closed_up_is_seen(audit: Audit) -> None:
    file = _filled(audit, 3)
    file.write_bytes(file.read_bytes()[:-40])
    audit.add("abort", serviceID="one-1")
    lines = file.read_bytes().splitlines(keepends=True)
    del lines[2]
    file.write_bytes(b"".join(lines))
    assert "that has been removed" in audit.verify().fault


@pytest.mark.parametrize("left", [b"", b"\0" * 200_000, b'{"seq":1,"ti'])
def test_a_first_line_that_never_came_is_no_end(audit: Audit, left: bytes) -> None:
    audit._make()
    (audit.folder / "000000000001.jsonl").write_bytes(left)
    audit.add("start", serviceID="one")
    audit.add("start", serviceID="two")
    verdict = audit.verify()
    assert (verdict.fault, verdict.count) == ("", 3 if left else 2)


def test_the_chain_goes_over_from_file_to_file(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    for number in range(30):
        audit.add("start", serviceID=f"one-{number}")
        Audit(Layout(audit.folder.parent.parent)).add("abort", serviceID=f"one-{number}")
    files = audit.files()
    assert len(files) > 5
    assert (audit.verify().fault, audit.verify().count) == ("", 60)
    first = [json.loads(file.read_text().splitlines()[0])["seq"] for file in files]
    assert [int(file.stem) for file in files] == first
    files[2].rename(files[2].with_suffix(".away"))
    assert "was to come" in audit.verify().fault
    files[0].unlink()
    files[1].unlink()
    verdict = audit.verify()
    assert (verdict.fault, verdict.notes) == ("", (f"What came before number {first[3]} is not here.",))


def test_an_empty_file_that_a_dead_writer_began_is_gone_on_with(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _filled(audit, 3)
    monkeypatch.setattr(module, "LARGEST", file.stat().st_size)
    (audit.folder / "000000000004.jsonl").touch()
    audit.add("abort", serviceID="one-1")
    assert [path.name for path in audit.files()] == ["000000000001.jsonl", "000000000004.jsonl"]
    assert (audit.verify().fault, audit.verify().count) == ("", 4)


def test_many_writers_make_one_chain(audit: Audit) -> None:
    script = """
import sys
from labwaiter.layout import Layout
from labwaiter.store.audit import Audit

audit = Audit(Layout(sys.argv[1]))
for number in range(100):
    audit.add("start", serviceID=f"{sys.argv[2]}-{number}")
"""
    environment = {**os.environ, "PYTHONPATH": APP}
    jobs = str(audit.folder.parent.parent)
    writers = [
        subprocess.Popen([sys.executable, "-c", script, jobs, str(number)], env=environment) for number in range(3)
    ]
    threads = [
        threading.Thread(target=lambda n=n: [audit.add("abort", serviceID=f"{n}-{i}") for i in range(30)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait(60) for writer in writers] == [0] * 3
    assert (audit.verify().fault, audit.verify().count) == ("", 390)
    told = [entry["serviceID"] for entry in audit.entries() if entry["event"] == "start"]
    assert sorted(told) == sorted(f"{n}-{i}" for n in range(3) for i in range(100))


def test_a_writer_that_hangs_holds_up_nobody_for_long(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    _filled(audit, 1)
    lock = os.open(Layout(audit.folder.parent.parent).audit_lock, os.O_RDONLY)
    module._take(lock, 1.0)
    with pytest.raises(BlockingIOError):
        audit.add("start", serviceID="two")
    os.close(lock)
    audit.add("start", serviceID="two")
    assert audit.verify().count == 2


def test_a_full_disk_leaves_the_chain_whole(small_disk: Path) -> None:
    layout = Layout(small_disk)
    layout.folder.mkdir()
    audit = Audit(layout)
    audit.add("start", serviceID="one")
    (file,) = audit.files()
    with open(small_disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(b"x" * 65536)
    for number in range(100):  # until the page that the file has is full, too
        try:
            audit.add("start", serviceID=f"one-{number}" + "x" * 150)
        except OSError:
            break
    else:
        raise AssertionError("the disk was not full")
    before = file.read_bytes()
    assert before.endswith(b"\n")
    (small_disk / "filler").unlink()
    audit.add("abort", serviceID="one")
    verdict = audit.verify()
    assert (verdict.fault, verdict.notes) == ("", ())


def test_what_callers_send_is_one_line_and_bounded(audit: Audit) -> None:
    audit.add("start", serviceID='x\n{"seq":2}' + "ö" * 1_000_000 + "\udc80")
    (line,) = audit.files()[0].read_bytes().splitlines()
    assert len(line) < 5000
    assert audit.verify().fault == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files")
def test_what_root_does_stands_in_nobody_s_way(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.folder.mkdir(mode=0o700)
    os.chown(layout.folder, 12345, 12345)
    Audit(layout).add("abort", serviceID="one")
    owners = {path.stat().st_uid for path in (layout.audit, layout.audit_lock, *Audit(layout).files())}
    assert owners == {12345}

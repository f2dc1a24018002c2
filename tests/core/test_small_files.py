"""A file that was written just now is read in one go, whatever a program has put in its place."""

import os

import pytest

from labwaiter.system.small_files import read_small


def test_its_first_bytes_are_read(tmp_path):
    file = tmp_path / "stätus.txt"
    file.write_bytes(b"42\n" + b" " * 200)
    assert read_small(os.fsencode(file), 100) == b"42\n" + b" " * 97
    file.write_bytes(b"7")
    assert read_small(os.fsencode(file), 100) == b"7"


@pytest.mark.parametrize("kind", ["nothing", "empty", "folder", "link", "pipe", "unreadable"])
def test_where_there_is_no_such_file_nothing_is_read_and_nobody_waits(tmp_path, kind):
    file = tmp_path / "status.txt"
    if kind == "empty":
        file.touch()
    elif kind == "folder":
        file.mkdir()
    elif kind == "link":
        (tmp_path / "elsewhere").write_text("42")
        file.symlink_to("elsewhere")
    elif kind == "pipe":
        os.mkfifo(file)
        writer = os.open(file, os.O_RDWR)
        os.write(writer, b"42")
    elif kind == "unreadable":
        file = file / "status.txt"  # below what is no folder
        file.parent.write_text("42")
    before = os.listdir("/proc/self/fd")
    assert read_small(os.fsencode(file), 100) == b""
    assert os.listdir("/proc/self/fd") == before
    if kind == "pipe":
        assert os.read(writer, 10) == b"42"  # nothing was taken from it
        os.close(writer)

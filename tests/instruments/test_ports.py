"""Who has a device, and why a port can't be opened: in words that say what to do."""

from __future__ import annotations

import fcntl
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.instruments import InstrumentError, Lost, holding
from labwaiter.instruments.drivers import SourceMeter
from labwaiter.instruments.errors import Busy
from labwaiter.instruments.simulators import Relays, Smu
from labwaiter.instruments.simulators.host import Host


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Path]:
    host = Host()
    yield host.plug(tmp_path / "port", Smu(seed=1))
    host.close()


def test_one_that_another_program_holds_is_busy_and_that_program_is_named(port: Path) -> None:
    code = f"import serial; s = serial.Serial({str(port)!r}, exclusive=True); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        with pytest.raises(Busy, match=rf"smu: its port is used by another program: .*\(process {other.pid}\)"):
            SourceMeter(str(port), name="smu")
        other.communicate(b"\n")
    SourceMeter(str(port), name="smu").close()


@pytest.mark.parametrize("alias", ["link", "spy://", "real name"])
def test_one_device_has_one_holder_on_this_machine_under_whatever_name(port: Path, alias: str) -> None:
    name = {
        "link": str(port) + ".too",
        "spy://": f"spy://{port}?file={os.devnull}",
        "real name": os.path.realpath(port),
    }
    os.symlink(os.readlink(port), str(port) + ".too")
    code = (
        "from labwaiter.instruments.drivers import SourceMeter\n"
        f"meter = SourceMeter({name[alias]!r}); print(1, flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        with pytest.raises(Busy, match="held by another execution, or by another deployment on this machine"):
            SourceMeter(str(port), name="smu")
        other.communicate(b"\n")
    SourceMeter(str(port), name="smu").close()


def test_a_lock_ends_with_its_process(port: Path) -> None:
    code = f"from labwaiter.instruments.holding import hold; hold({str(port)!r}, 'x'); print(1, flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        with pytest.raises(Busy):
            SourceMeter(str(port), name="smu")
        other.kill()
    SourceMeter(str(port), name="smu").close()


def test_whoever_held_a_device_first_others_may_hold_it_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LOCKS", tmp_path)
    before = os.umask(0o077)  # as a job has it
    try:
        holding.release(holding.hold("/dev/ttyOURS", "smu"))
        (lock,) = tmp_path.iterdir()
        assert lock.stat().st_mode & 0o777 == 0o644
        lock.chmod(0o000)  # one of an earlier release, made so by its umask
        holding.release(holding.hold("/dev/ttyOURS", "smu"))
        assert lock.stat().st_mode & 0o777 == 0o644 or os.geteuid()
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's")
def test_a_lock_that_another_user_keeps_to_itself_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):  # pytest's own are root's alone
        folder.chmod(0o755)
    monkeypatch.setattr(holding, "LOCKS", tmp_path)
    holding.release(holding.hold("/dev/ttyOURS", "smu"))
    (lock,) = tmp_path.iterdir()
    lock.chmod(0o600)

    def told() -> str:
        os.seteuid(65534)
        with pytest.raises(InstrumentError) as refused:
            holding.hold("/dev/ttyOURS", "smu")
        return refused.value.message

    assert told_by_a_fork(told) == (
        f"smu: the file of its lock can't be read: have its owner make {lock} readable, or remove it."
    )


def told_by_a_fork(tell: Callable[[], str]) -> str:
    """What a function gives in a process of its own, which may become another user."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(write, tell().encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as said:
        return said.read()


def test_without_permission_the_group_to_join_is_named(tmp_path: Path, port: Path) -> None:
    device = os.path.realpath(port)
    os.chmod(device, 0o600)
    if os.geteuid():
        os.chmod(device, 0o000)  # the owner may be refused, too
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # what root may do is no test
        try:
            if not os.geteuid():
                os.setegid(65534)
                os.seteuid(65534)
            SourceMeter(device, name="smu")
        except InstrumentError as error:
            os.write(write, error.message.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as said:
        assert re.fullmatch(r"smu: its port may not be opened: add this user to the group \w+\.", said.read())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/dev/ttyNOTHING", "its port is not there: is it plugged in and switched on?"),
        ("socket://127.0.0.1:1", "its port can't be opened: Connection refused"),
        ("sim://toaster", "there is no simulator “toaster”; there are: smu, marlin, sba5, relays"),
        ("/dev/null", "its port is no serial line: is it the right one?"),
    ],
)
def test_a_port_that_cannot_be_opened_is_told_in_words(url: str, words: str) -> None:
    with pytest.raises(Lost, match=re.escape(words)):
        SourceMeter(url, name="smu")


def test_no_lock_can_be_laid_on_another_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labwaiter.instruments import holding

    monkeypatch.setattr(holding, "LOCKS", tmp_path)
    (lock,) = holding.hold("/dev/some", "x")
    (made,) = tmp_path.iterdir()
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
    made.unlink()
    made.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        holding.hold("/dev/some", "x")
    assert not (tmp_path / "victim").exists()


def test_whoever_has_a_port_open_sees_at_once_that_it_was_pulled_out(tmp_path: Path) -> None:
    host = Host()
    try:
        for _ in range(20):
            end = os.open(host.plug(tmp_path / "port", Relays(seed=1)), os.O_RDWR | os.O_NOCTTY)
            host.unplug(tmp_path / "port")
            hung_up = select.poll()
            hung_up.register(end)
            assert hung_up.poll(0)[0][1] & select.POLLHUP
            os.close(end)
    finally:
        host.close()

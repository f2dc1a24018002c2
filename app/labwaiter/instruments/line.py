"""A serial line at any of pyserial's URLs: every read and write ends in time, and a transcript has what was said."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import serial

from .errors import Busy, Garbled, Lost, NotOpened, Silent
from .holding import hold, release, users
from .transcript import written

SLICE = 0.05  # s: how often a wait looks whether it is to stop
LINE_MAX = 65536  # bytes: a longer one is garbage
TRANSCRIPT_MAX = 1_000_000  # bytes
if "labwaiter.instruments.simulators" not in serial.protocol_handler_packages:
    serial.protocol_handler_packages.append("labwaiter.instruments.simulators")  # sim://, whoever opens a line


class Line:
    """An open or closed line to one device."""

    def __init__(
        self,
        url: str,
        name: str,
        settings: dict[str, Any] | None = None,
        transcript: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            settings: pyserial's: baudrate, bytesize, parity, stopbits, xonxoff, rtscts; and dtr, rts: the level at
                opening, True or False; None leaves it to the operating system.
            transcript: a file to which all that is said is appended, as `transcript` has it. After 1 MB it goes on in a
                new one, and the last one is kept beside it as "….before.txt", so the end of a long day is there, too.
            check: called in every wait; what it raises ends the wait.
        """
        self.url, self.name = url, name
        self._settings = dict(settings or {})
        self._transcript, self._check = transcript, check
        self._port: Any = None
        self._locks: list[int] = []
        self._buffer = b""

    # -- opening ------------------------------------------------------------------------------

    def open(self) -> None:
        """Have the line. Raises NotOpened; Busy where somebody else has it."""
        self.close()
        self._locks = hold(self.url, self.name)
        try:
            port = open_port(self.url, {"timeout": SLICE, **self._settings})
        except (OSError, serial.SerialException, ValueError) as error:
            release(self._locks)
            raise self._why_not(error) from error
        except BaseException:
            release(self._locks)
            raise
        self._port, self._buffer = port, b""
        self._note("-- opened " + self.url)

    def _why_not(self, error: Exception) -> NotOpened:
        number = getattr(error, "errno", None)
        if number is None and isinstance(error.__context__, (OSError, termios.error)):
            number = error.__context__.args[0]  # termios.error is no OSError, but is made like one
        self._note(f"-- can't be opened: {error}")
        port = f"{self.name}: its port"
        if number == errno.ENOENT:
            return NotOpened(f"{port} is not there: is it plugged in and switched on?")
        if number in (errno.EACCES, errno.EPERM):
            return NotOpened(f"{port} may not be opened: add this user to the group {_group(self.url)}.")
        if number in (errno.EBUSY, errno.EAGAIN):
            return Busy(f"{port} is used by another program{users(self.url)}.")
        if number == errno.ENOTTY:
            return NotOpened(f"{port} is no serial line: is it the right one?")
        if isinstance(error, ValueError):
            return NotOpened(f"{port} can't be opened with the settings that lab.toml gives it: {error}.")
        return NotOpened(f"{port} can't be opened: {os.strerror(number) if isinstance(number, int) else error}.")

    def close(self) -> None:
        """Close the port and release the device; a closed line can be opened again."""
        if self._port is not None:
            self._note("-- closed")
            with contextlib.suppress(Exception):
                self._port.close()
            self._port = None
        release(self._locks)

    def __del__(self) -> None:
        self.close()  # a notebook that forgets one can open it again

    # -- speaking -----------------------------------------------------------------------------

    def write(self, data: bytes, urgent: bool = False) -> None:
        """Send all of these bytes as they are. Raises Lost, or Silent where the other side doesn't take them.

        Args:
            urgent: send it even if `check` would end the work: the last word to a device that may be dangerous.
        """
        if not urgent:
            self._check()
        try:
            self._open_port().write(data)
        except serial.SerialTimeoutException as error:
            raise Silent(f"{self.name} does not take what is sent to it.") from error
        except (OSError, serial.SerialException) as error:
            raise self._lost(error) from error
        self._note("> " + written(data))

    def read_line(self, timeout: float, terminator: bytes = b"\n") -> bytes | None:
        """The next line without its terminator; None if none is complete within `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            self._check()
            line, end, rest = self._buffer.partition(terminator)
            if end:
                self._buffer = rest
                self._note("< " + written(line + terminator))
                return line
            if len(self._buffer) > LINE_MAX:
                self.drop()
                raise Garbled(f"{self.name} sends without end and without a line's end.")
            left = until - time.monotonic()
            self._buffer += self._read(min(SLICE, max(0.0, left)))
            if left <= 0 and terminator not in self._buffer:
                return None  # also where it still drips: a line has its time as a whole

    def read_bytes(self, count: int, timeout: float) -> bytes | None:
        """So many bytes; None if not all of them come within `timeout` seconds. Raises Lost."""
        until = time.monotonic() + timeout
        while len(self._buffer) < count:
            self._check()
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._buffer += self._read(min(SLICE, left))
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        self._note("< " + written(data))
        return data

    def _read(self, seconds: float) -> bytes:
        port = self._open_port()
        try:
            waiting = port.in_waiting
            if not waiting and seconds <= 0:
                return b""
            data: bytes = port.read(max(1, waiting))  # waits SLICE; to set that anew costs rfc2217:// a negotiation
            return data
        except (OSError, serial.SerialException, TypeError) as error:  # TypeError: closed under a read
            raise self._lost(error) from error

    def drop(self, quiet: float = 0.02) -> bytes:
        """Throw away, and return, what came unasked, until nothing comes for `quiet` seconds, or for 1 s longer.

        With 0 it takes what lies there, and waits for nothing.
        """
        stray, self._buffer = self._buffer + self._read(0.0), b""
        heard = time.monotonic()
        until = heard + quiet + 1.0
        while (now := time.monotonic()) < min(until, heard + quiet):
            self._check()
            if more := self._read(min(SLICE, heard + quiet - now)):
                stray, heard = (stray + more)[-LINE_MAX:], time.monotonic()
        if stray:
            self._note("x " + written(stray[-200:]))
        return stray

    def _open_port(self) -> Any:
        if self._port is None:
            raise Lost(f"{self.name}: its line is not open.")
        return self._port

    def _lost(self, error: Exception) -> Lost:
        self._note(f"-- lost: {error}")
        self.close()
        return Lost(f"{self.name} was lost: its line has gone. Is it unplugged, or switched off?")

    def _note(self, text: str) -> None:
        if self._transcript is None:
            return
        with contextlib.suppress(OSError):
            with open(self._transcript, "a", encoding="utf-8", errors="replace") as out:
                out.write(f"{time.time():.3f} {' '.join(text.splitlines())}\n")
                full = out.tell() >= TRANSCRIPT_MAX
            if full:
                os.replace(self._transcript, self._transcript.with_suffix(f".before{self._transcript.suffix}"))


def open_port(url: str, settings: dict[str, Any]) -> Any:
    """A port of pyserial's, open, with its time-outs and the levels of DTR and RTS. Raises what pyserial raises."""
    settings = dict(settings)
    levels = {signal: settings.pop(signal, None) for signal in ("dtr", "rts")}
    if os.path.realpath(url).startswith("/dev/pts/"):
        # a pty has neither, and where they alone are to be changed, tcsetattr(3) refuses: at the second opening
        settings |= {"bytesize": serial.EIGHTBITS, "parity": serial.PARITY_NONE}
    if not url.startswith("rfc2217://"):  # it knows no time-out for writing, but its socket has one of 5 s
        settings.setdefault("write_timeout", 2.0)
    port = serial.serial_for_url(url, do_not_open=True, **settings)
    for signal, level in levels.items():
        if level is not None:
            setattr(port, signal, level)
    with contextlib.suppress(ValueError, AttributeError, NotImplementedError):
        port.exclusive = True
    port.open()
    return port


def _group(path: str) -> str:
    with contextlib.suppress(OSError, KeyError):
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    return "dialout"

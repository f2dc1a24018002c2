"""The socket between a session's process, which has the instruments, and its tasks, which use them through it.

task → session    {"task": id}   who speaks
                  {"n": 1, "on": "meter", "get": "current"}   {…, "set": "volts", "value": …}
                  {…, "call": "output", "args": […], "kwargs": {…}}
session → task    {"n": 1, "value": …}   {"n": 1, "method": true}   {"n": 1, "error": [class, words]}
guard → session   {"n": 1, "make safe after": id}     session → guard   {"n": 1, "value": [names]}

Not by messages to the session's execution, as students' orders go: these are kept, and a session may have a million
bytes of them. What a task may do is what the lab's own code may: all but names that begin with _. One thread has the
instruments; it takes one call of each task at a time, between two readings.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import os
import select
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import JobFailed, SessionOver
from ..instruments import errors as instrument_errors
from ..instruments.errors import InstrumentError, Lost, WrongDevice
from ..instruments.opening import Opened
from ..instruments.quantity import Reading
from ..model.lab_task import LINE
from ..model.values import plain_tree
from ..system.channel import Channel

SEND_SECONDS = 5.0  # that a task may take to hear an answer
WAITING = 32  # tasks that may be about to connect
OVER = "The session is over: its instruments can't be used any more."


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """A unix socket's path ends at 107 bytes, a folder's doesn't."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{LINE}"
    finally:
        os.close(fd)


def pack(value: Any) -> Any:
    """A value as the line has it: as `plain_tree`, but readings keep unit and age. Raises TypeError."""
    if isinstance(value, Reading):
        return {"reading": [float(value), value.unit, value.age]}
    if isinstance(value, dict):
        return {"dict": {str(name): pack(one) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return [pack(one) for one in value]
    return plain_tree(value)


def unpack(value: Any) -> Any:
    """What `pack` packed."""
    if isinstance(value, list):
        return [unpack(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "reading" in value:
        number, unit, age = value["reading"]
        return Reading(number, unit, time.monotonic() - age)
    return {name: unpack(one) for name, one in value["dict"].items()}


def words_of(error: BaseException) -> str:
    """An exception's own words."""
    if isinstance(error, errors.ServiceError):
        return error.message
    if isinstance(error, KeyError) and len(error.args) == 1:  # which writes its text in quotes
        return str(error.args[0])
    return str(error)


# -- in the session's process -------------------------------------------------------------------


class TaskLine:
    """The session's end. Nothing here waits: `serve` takes what has come."""

    def __init__(self, folder: Path, opened: Mapping[str, Opened]) -> None:
        """
        Args:
            folder: of the session's execution.
            opened: its instruments, by the lab's names for them.
        """
        self._opened = opened
        self._tasks: dict[int, tuple[Channel, str]] = {}  # by descriptor: whose it is
        self._used: dict[str, set[str]] = {}  # by task: the instruments that it has called
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with _address(folder) as address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / LINE)
            self._listener.bind(address)
        os.chmod(folder / LINE, 0o600)
        self._listener.listen(WAITING)
        self._serving = False
        self._fatal: JobFailed | None = None

    def descriptors(self) -> Sequence[int]:
        """What is to be watched for calls."""
        return (self._listener.fileno(), *self._tasks)

    def has_come(self) -> bool:
        """Whether somebody is there to be taken, or has called."""
        return bool(select.select(self.descriptors(), [], [], 0)[0])

    def serve(self) -> None:
        """Take who has come, and one call of each.

        Raises:
            JobFailed: the session is over: a line is lost, or another device answers, or a task was ended and an
                instrument that it had used could not be made safe. It is raised again, whoever has caught it.
        """
        if self._fatal is not None:
            raise self._fatal
        if self._serving:  # an instrument's call that itself looks at tasks
            return
        self._serving = True
        try:
            self._accept()
            for number in list(self._tasks):
                self._take(number)
        finally:
            self._serving = False

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                if uid not in (os.geteuid(), 0):
                    connection.close()
                    continue
                connection.setblocking(False)  # one with a timeout waits for a message that hasn't come
                self._tasks[connection.fileno()] = Channel(connection), ""

    def _take(self, number: int) -> None:
        channel, task = self._tasks[number]
        try:
            received = channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:
            del self._tasks[number]
            channel.close()
            return
        message, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        if "task" in message:
            self._tasks[number] = channel, str(message["task"])
            return
        try:
            if "make safe after" in message:
                answer = {"value": self._make_safe_after(str(message["make safe after"]))}
            else:
                answer = self._called(task, message)
        except JobFailed as error:
            self._answer(number, message, {"error": [type(error).__name__, error.message]})
            if "make safe after" in message or isinstance(error, (Lost, WrongDevice)):
                self._fatal = error
                raise
        except Exception as error:
            if not isinstance(error, errors.ServiceError):
                traceback.print_exc()
            self._answer(number, message, {"error": [type(error).__name__, words_of(error)]})
        else:
            self._answer(number, message, answer)

    def _answer(self, number: int, message: dict[str, Any], answer: dict[str, Any]) -> None:
        channel, _ = self._tasks[number]
        try:
            channel.end.settimeout(SEND_SECONDS)
            channel.send({"n": message.get("n")} | answer)
            channel.end.setblocking(False)
        except OSError:  # it has ended meanwhile, or doesn't listen
            del self._tasks[number]
            channel.close()

    def _called(self, task: str, message: dict[str, Any]) -> dict[str, Any]:
        """Raises whatever goes wrong."""
        on = message["on"]
        if on not in self._opened:
            raise KeyError(f"This lab has no instrument {on}; it has: {', '.join(self._opened)}.")
        name = next((message[what] for what in ("get", "set", "call") if what in message), "")
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise AttributeError(f"{on}: a task uses names that don't begin with _.")
        device = self._opened[on].device
        self._used.setdefault(task, set()).add(on)
        if "set" in message:
            setattr(device, name, unpack(message["value"]))
            return {"value": None}
        if "call" in message:
            kwargs = {str(key): unpack(one) for key, one in message["kwargs"].items()}
            value = getattr(device, name)(*unpack(message["args"]), **kwargs)
        elif inspect.isroutine(inspect.getattr_static(device, name, None)):
            return {"method": True}
        else:
            value = getattr(device, name)
            if inspect.isroutine(value):  # of a driver that makes its methods as they are asked for
                return {"method": True}
        try:
            return {"value": pack(value)}
        except TypeError:
            raise TypeError(
                f"{on}: {name} gave something of the type {type(value).__name__}, and a task is given values only:"
                " numbers, texts, switches, arrays, lists and dicts. Have an action of the lab's do it."
            ) from None

    def _make_safe_after(self, task: str) -> list[str]:
        """Raises JobFailed."""
        names = sorted(self._used.pop(task, ()))
        for name in names:
            try:
                self._opened[name].make_safe()
                if not self._opened[name].is_safe():
                    raise InstrumentError(f"{name} says that it is not safe.")
            except Exception as error:
                traceback.print_exc()
                words = error.message if isinstance(error, errors.ServiceError) else f"{name}: {error}."
                raise JobFailed(f"A task was ended, and {name} could not be made safe after it: {words}") from error
        return names


# -- in a task's process, and in the guard's ----------------------------------------------------


class LineToSession:
    """The other end. Its calls may come of several threads."""

    def __init__(self, folder: Path, task: str = "", patience: float | None = None) -> None:
        """
        Args:
            folder: of the session's execution.
            task: the id of who speaks.
            patience: s that an answer is waited for; None: as long as it takes.

        Raises:
            SessionOver: nobody is there.
        """
        self._turn, self._count = threading.Lock(), 0
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            line.settimeout(patience)
            with _address(folder) as address:
                line.connect(address)
            self._channel = Channel(line)
            if task:
                self._channel.send({"task": task})
        except OSError as error:
            line.close()
            raise SessionOver(OVER) from error

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises what went wrong there; SessionOver; TimeoutError."""
        with self._turn:
            self._count += 1
            number = self._count
            try:
                self._channel.send({"n": number} | message)
                while True:
                    received = self._channel.receive()
                    if received is None:
                        raise SessionOver(OVER)
                    answer, _ = received
                    if answer.get("n") == number:  # not one that an abort has left behind
                        break
            except TimeoutError:
                raise
            except OSError as error:
                raise SessionOver(OVER) from error
        if "error" in answer:
            raise _raised(*answer["error"])
        return answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _raised(name: str, words: str) -> Exception:
    """What was raised there, as far as it is known here."""
    for kind in (getattr(instrument_errors, name, None), getattr(errors, name, None), getattr(builtins, name, None)):
        if isinstance(kind, type) and issubclass(kind, Exception):
            with contextlib.suppress(TypeError):  # of more than words
                return kind(words)
    return InstrumentError(f"{words or name} ({name})." if name not in words else words)


class RemoteInstrument:
    """An instrument as a task gets it: its driver's attributes and methods, carried out by the session's process.

    Values go there and come back as JSON has them; readings have unit and age. A call waits until those before it are
    done. Raises what the driver raises; SessionOver: the session has ended.
    """

    def __init__(self, line: LineToSession, name: str) -> None:
        vars(self).update(_line=line, _name=name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{self._name}: a task uses names that don't begin with _.")
        answer = self._line.ask({"on": self._name, "get": name})
        if not answer.get("method"):
            return unpack(answer["value"])
        method: Callable[..., Any] = functools.partial(self._call, name)
        vars(self)[name] = method  # it is one for good
        return method

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        given = {key: pack(value) for key, value in kwargs.items()}
        return unpack(self._line.ask({"on": self._name, "call": name, "args": pack(args), "kwargs": given})["value"])

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise AttributeError(f"{self._name}: a task uses names that don't begin with _.")
        self._line.ask({"on": self._name, "set": name, "value": pack(value)})

    def __repr__(self) -> str:
        return f"<{self._name}, through its session>"

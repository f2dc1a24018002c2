"""Our own logs: a line an entry, as text or as JSON, in files that are rotated without the loss of a line.

What came from outside can't end a line, begin one, or steer a terminal, in either form. A traceback in text is
several lines, each of which begins with blanks and a bar.

Several processes write one file, each line in one write(2) at its end. Whoever finds it too large renames it; the
others go on in the renamed one until their next look, so that each line is in exactly one of them.

The standard library alone, and `logging` only where it is asked for: granian's main process reads this file by its
path, and the fork server must not hold what has something done in each fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

TEXT, JSON = "text", "json"
FORMS = (TEXT, JSON)
LARGEST = 5_000_000  # bytes of a log before a new one is begun
KEPT = 9  # older ones; what is older than these is removed
MESSAGE_MAX = 4000  # characters
VALUE_MAX = 400
TRACE_MAX = 30_000  # of its end
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/@+~%")


def clean(text: str) -> str:
    """A text in which nothing ends a line or steers a terminal: what isn't printable is written as Python would."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def cut(text: str, most: int) -> str:
    """At most so many characters of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def in_words(event: str, about: Mapping[str, Any]) -> str:
    """An event as text: its name, then name=value for each that is known; a value that isn't plain stands in quotes."""
    words = [event]
    for name, value in about.items():
        if value is None or value == "":
            continue
        text = cut(str(value), VALUE_MAX)
        plain = _PLAIN.issuperset(text)
        words.append(f"{name}={text}" if plain else f"{name}={json.dumps(clean(text), ensure_ascii=False)}")
    return " ".join(words)


class Event:
    """The message of a log entry that tells of one event; `tell` makes it."""

    def __init__(self, name: str, about: Mapping[str, Any]) -> None:
        self.name, self.about = name, about

    def __str__(self) -> str:
        return in_words(self.name, self.about)


def tell(log: logging.Logger, event: str, /, **about: Any) -> None:
    """Log that something was started, has ended, was aborted, refused, …: the one way that such a line comes about.

    Args:
        about: serviceID, service, user, project, code, why, …; None and "" are left out. Never a token.
    """
    log.info("%s", Event(event, about))


def line(
    form: str, when: float, who: str, level: str, message: str | Event, trace: str = "", pid: int | None = None
) -> str:
    """An entry as it stands in the log, with its line end.

    Args:
        when: Unix time, s.
        who: which process of ours: web, supervisor, …
        trace: a traceback; "" without one.
    """
    pid = os.getpid() if pid is None else pid
    if form == JSON:
        known: dict[str, Any] = {"time": utc(when), "level": level, "process": who, "pid": pid}
        if isinstance(message, Event):
            known["event"] = message.name
            known |= {name: value for name, value in known_of(message.about, VALUE_MAX).items() if name not in known}
        else:
            known["message"] = cut(message, MESSAGE_MAX)
        if trace:
            known["trace"] = trace[-TRACE_MAX:]
        return json.dumps(known) + "\n"
    clock = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))},{int(when % 1 * 1000):03}"
    text = f"{clock} {who}[{pid}] {level} {cut(clean(str(message)), MESSAGE_MAX)}\n"
    for traced in trace[-TRACE_MAX:].splitlines():
        text += f"  | {clean(traced)}\n"
    return text


def bounded(value: Any, most: int) -> Any:
    """A value as JSON has it: a number, true or false as it is, all else as a text of at most so many characters."""
    return value if isinstance(value, (int, float)) else cut(str(value), most)


def known_of(about: Mapping[str, Any], most: int) -> dict[str, Any]:
    """What there is to say of an event: each value bounded, None and "" left out."""
    return {name: bounded(value, most) for name, value in about.items() if value is not None and value != ""}


def utc(when: float) -> str:
    """A Unix time (s) as ISO 8601 has it, to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(when))}.{int(when % 1 * 1000):03}Z"


class Lines:
    """What `logging` calls a formatter: each record as `line` has it."""

    def __init__(self, who: str, form: str) -> None:
        self._who, self._form = who, form
        self._traces: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The entry, without the line end that a handler adds."""
        args = record.args
        told = args[0] if isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], Event) else None
        trace = ""
        if record.exc_info:
            if self._traces is None:
                import logging

                self._traces = logging.Formatter()
            trace = self._traces.formatException(record.exc_info)
        entry = line(
            self._form, record.created, self._who, record.levelname, told or record.getMessage(), trace, record.process
        )
        return entry[:-1]


class Out:
    """Where a process logs to: its standard error. Where that is a log of ours, it is followed and rotated."""

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        """
        Args:
            file: the log of ours that standard error may be; where it isn't (a container, systemd), others rotate.
        """
        self._file = None
        if file is not None:
            # somebody may have renamed what this process was given, before it came here
            names = (os.fspath(file), *(f"{os.fspath(file)}.{number}" for number in range(1, KEPT + 1)))
            if any(_is(2, name) for name in names):
                self._file = os.fspath(file)

    def write(self, text: str) -> int:
        """Add an entry in one write. What can't be written is lost: a full disk ends nobody."""
        with contextlib.suppress(OSError):
            self.follow()
        with contextlib.suppress(OSError):
            rest = memoryview(text.encode("utf-8", "backslashreplace"))
            while rest:
                rest = rest[os.write(2, rest) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def follow(self) -> None:
        """Have standard error, and standard output where it went the same way, be the log that is written now.

        Raises OSError.
        """
        file = self._file
        if file is None:
            return
        try:
            status = os.stat(file)
            if os.path.samestat(status, os.fstat(2)):
                if status.st_size < LARGEST:
                    return
                rotate(file)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(file)):
                return
        both = os.path.samestat(os.fstat(1), os.fstat(2))
        mode = stat.S_IMODE(os.fstat(2).st_mode)
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            with contextlib.suppress(OSError):  # another user's, as root's
                os.fchmod(fd, mode)
            os.dup2(fd, 2)
            if both:
                os.dup2(fd, 1)
        finally:
            os.close(fd)


def _is(descriptor: int, file: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    return False


def rotate(file: str | os.PathLike[str], largest: int = -1) -> bool:
    """Where a log is too large, call it `<file>.1`, the one before it `.2`, …: whoever writes next begins a new one.

    Args:
        largest: bytes; LARGEST unless given.

    Returns:
        Whether it was renamed. Somebody else may just be at it.
    """
    file = os.fspath(file)
    with contextlib.suppress(OSError):
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # held on the very file that is renamed last: nobody else is at its older ones meanwhile
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(fd, file) or os.fstat(fd).st_size < (LARGEST if largest < 0 else largest):
                return False
            for number in range(KEPT, 0, -1):
                older = file if number == 1 else f"{file}.{number - 1}"
                with contextlib.suppress(FileNotFoundError):
                    os.rename(older, f"{file}.{number}")
            return True
        finally:
            os.close(fd)
    return False


def handler(who: str, form: str, out: Out) -> logging.Handler:
    """What `logging` calls a handler: its entries, in this form, to `out`."""
    import logging

    made = logging.StreamHandler(out)
    made.setFormatter(Lines(who, form))  # type: ignore[arg-type]
    return made


def set_up(who: str, form: str, file: str | os.PathLike[str] | None = None, level: str = "INFO") -> Out:
    """Have all that this process logs be told in this form.

    Args:
        who: which process of ours it is.
        file: see `Out`.
    """
    import logging

    out = Out(file)
    logging.basicConfig(handlers=[handler(who, form, out)], level=level)
    return out

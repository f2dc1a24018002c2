"""A service file imported in a process of its own, for what it declares or for its `check`.

Nobody else imports one but its jobs: whatever a file does as it is imported (ends its process, hangs, prints,
starts programs), whoever asked gets an answer or a sentence. `importer` is two processes: one counts the time
and ends what is left, and its child, in a session of its own, imports.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidParameter, Unavailable
from ..settings import SECRETS
from ..system.process import MARKER, for_ours, kill_marked

log = logging.getLogger(__name__)
CHECK_SECONDS = 5.0  # a start waits for its check, and its caller for the start
PRINTED_MAX = 8_000  # bytes of what is printed that are kept, its last ones
LATE_SECONDS = 20.0  # the guarding process itself has to begin and to clear up
# the web side is told by the first, and what a service's file may not know is left out
RACY_NS = 20_000_000  # ns: a module as young as that may have been written after it was read
_LEFT_OUT = ("LABWAITER_WEB", *SECRETS)


@dataclass(frozen=True)
class Description:
    """What came of importing a file."""

    services: list[dict[str, Any]] = field(default_factory=list)  # as `Service.as_data` writes them
    needs: dict[str, list[str]] = field(default_factory=dict)  # service → the programs that it needs
    stamps: dict[str, list[int]] = field(default_factory=dict)  # of the modules of the user's that it imported
    absent: list[tuple[str, int, str]] = field(default_factory=list)  # what it names and isn't there: why, line, text
    lab: dict[str, Any] = field(default_factory=dict)  # of a remote lab's file, as `RemoteLab.as_data` writes it
    wrong: str = ""  # why it offers nothing, in a sentence without a path
    places: list[tuple[str, int, str]] = field(default_factory=list)  # where: file, line, the line's text
    traceback: str = ""  # for logs
    printed: str = ""  # the last of what it printed


def describe(file: Path, seconds: float, services: Path | None = None) -> Description:
    """What a service file declares. Never raises for what the file does.

    Args:
        seconds: how long its import may take.
        services: of a remote lab's file: the services folder, where it finds modules, too.
    """
    order = {"file": os.fspath(file)} | ({"lab": os.fspath(services)} if services is not None else {})
    try:
        outcome, printed = _ask(order, seconds)
    except OSError as error:
        log.exception("no process could be started to import %s", file.name)
        return Description(wrong=f"{file.name} could not be imported: no process could be started ({error.strerror}).")
    answer = outcome.get("answer")
    if answer is None:
        if outcome.get("over"):
            return Description(wrong=f"{file.name} took more than {seconds:g} s to import.", printed=printed)
        ended = f"{file.name} ended the process that imported it ({_ending(outcome)})"
        last = next((line for line in reversed(printed.splitlines()) if line.strip()), "")
        last_words = f"; the last that it printed: {_line(last)}" if last else "."
        return Description(wrong=ended + last_words, printed=printed)
    places = [(str(name), int(line), str(text)) for name, line, text in answer.get("places", ())]
    return Description(**{**answer, "places": places, "printed": printed})


def refuse(file: Path, service: str, inputs: dict[str, Any]) -> None:
    """Let a service's own `check` look at the inputs of a start, as the function will get them.

    Raises:
        InvalidParameter: with the sentence that it gave.
        Unavailable: it gave none and doesn't end, or it failed.
    """
    paths = [name for name, value in inputs.items() if isinstance(value, Path)]
    order = {"file": os.fspath(file), "check": service, "paths": paths, "inputs": inputs}
    try:
        outcome, printed = _ask(order, CHECK_SECONDS)
    except OSError as error:
        log.exception("no process could be started for the check of %s", service)
        raise Unavailable(f"The execution was not started: the check of {service} could not be run.") from error
    for line in printed.splitlines():
        log.info("the check of %s prints: %s", service, line)
    answer = outcome.get("answer")
    if answer is None:
        why = (
            f"took more than {CHECK_SECONDS:g} s" if outcome.get("over") else f"ended its process ({_ending(outcome)})"
        )
        log.error("the check of %s %s", service, why)
        raise Unavailable(f"The execution was not started: the check of {service}'s inputs {why}.")
    if answer.get("wrong"):
        log.error("the check of %s failed: %s\n%s", service, answer["wrong"], answer.get("traceback", ""))
        raise Unavailable(f"The service {service} is not available: {answer['wrong']}")
    if answer.get("failed"):
        log.error("the check of %s failed\n%s", service, answer["failed"])
        raise Unavailable(
            f"The execution was not started: the check of {service}'s inputs failed, and the log says why."
            " Tell the administrator."
        )
    if refusal := answer.get("refused"):
        raise InvalidParameter(str(refusal))


def stamp(path: str | Path) -> list[int]:
    """What changes when a file or a folder does; [0, 0] where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return [0, 0]
    return [status.st_mtime_ns, status.st_size]


# -- the process that asks --------------------------------------------------------------------


def _ask(order: dict[str, Any], seconds: float) -> tuple[dict[str, Any], str]:
    """What the guarding process has found, and the last that was printed. Raises OSError."""
    mark = os.urandom(32).hex()
    environment = {name: value for name, value in for_ours(os.environ).items() if name not in _LEFT_OUT} | {
        MARKER: mark
    }
    exchange = os.memfd_create("labwaiter")
    try:
        os.write(exchange, json.dumps(order | {"seconds": seconds}, default=str).encode())
        with _folder() as folder:
            guard = subprocess.Popen(
                [sys.executable, "-u", "-P", "-m", "labwaiter.catalogue.importer", str(exchange)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[exchange],
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
            try:
                printed = _listen(guard, seconds + LATE_SECONDS)
            finally:
                guard.kill()
                guard.wait()
                assert guard.stdout is not None
                guard.stdout.close()
                outcome = read(exchange)
                if "status" not in outcome:
                    kill_marked(mark)  # what the guard has left, for it was ended itself
    finally:
        os.close(exchange)
    ended = outcome if "status" in outcome else {"status": guard.returncode}
    return ended, printed.decode("utf-8", "replace")


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """An empty folder to work in, as a job's is; "/" where none can be made."""
    import tempfile  # and random with it, which the fork server, where this module is loaded, has no use for

    try:
        made = tempfile.TemporaryDirectory(prefix="labwaiter-", ignore_cleanup_errors=True)
    except OSError:
        yield "/"
        return
    with made as folder:
        yield folder


def _listen(guard: subprocess.Popen[bytes], seconds: float) -> bytes:
    """What is printed, its end, until the guard has ended or its time is over."""
    assert guard.stdout is not None
    output = guard.stdout.fileno()
    os.set_blocking(output, False)
    printed = b""
    ended = os.pidfd_open(guard.pid)
    until = time.monotonic() + seconds
    try:
        listening = [output, ended]
        while (left := until - time.monotonic()) > 0:
            ready = select.select(listening, [], [], left)[0]
            if output in ready:
                part = os.read(output, 65536)
                printed = (printed + part)[-PRINTED_MAX:]
                if part:
                    continue
                listening.remove(output)
            if ended in ready:
                break
        return printed
    finally:
        os.close(ended)


def read(fd: int) -> dict[str, Any]:
    """The object that a memfd holds; {} where it is none."""
    text = os.pread(fd, os.fstat(fd).st_size, 0)
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        if isinstance(content, dict):
            return content
    return {}


def _ending(outcome: dict[str, Any]) -> str:
    status = int(outcome.get("status", 0))
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"
    return f"exit status {status}"


def _line(text: str) -> str:
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return "“" + " ".join(words)[:200] + "”."

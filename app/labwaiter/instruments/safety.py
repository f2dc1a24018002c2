"""Ask instruments, and make them safe, from outside of whatever uses them: a process of its own, with a time limit.

`python -m labwaiter.instruments.safety [--alone] NAME …` makes them safe, all at once: the supervisor's guard runs it,
since an instrument may keep anybody waiting. Each one's result is a line of JSON: its name, whether it was read back
safe, and the words to it. It comes within twice its `safe_seconds` and a little more, whatever a driver does.

With `--check` it asks who they are, one after the other: those whose names come as lines of standard input. Each
one's result is a line with its name, whether all is well, and the words to it.

`--alone` is for where no deployment runs: then there is no simulated lab to wait for.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .. import settings
from ..errors import Misconfigured
from ..lab import labfile
from ..lab.lab import InstrumentEntry, Lab, resolve
from ..model.sentences import N_
from ..system import logs
from ..system.process import start_thread
from .errors import InstrumentError, WrongDevice
from .opening import Opened
from .panel import panel_of

PAUSE = 0.5  # s between two tries
LAST_TRY = 4.0  # s that a try which began in time may take
Outcome = tuple[bool, str]  # whether all is well with it, and the words to it


class OutOfTime(InstrumentError):
    """Its `safe_seconds` are over; this ends a driver's wait."""


def make_safe(entry: InstrumentEntry, lab: Lab, jobs: Path | None) -> Outcome:
    """Make one instrument safe and ask it, within its `safe_seconds`; where that fails, cut it off by its relay."""
    until = time.monotonic() + entry.safe_seconds

    def check() -> None:
        if time.monotonic() > until:
            raise OutOfTime(f"{entry.name} was silent or busy for the {entry.safe_seconds:g} s to make it safe.")

    def ask() -> Outcome:
        opened = Opened(entry, jobs, check=check, rescue=True)
        try:
            opened.make_safe()
            if opened.is_safe():
                return True, N_("made safe and read back")
            return False, N_(f"{entry.name} was told to be safe, but says that it is not.")
        finally:
            opened.close()

    safe, why = _within(entry.safe_seconds, N_(f"{entry.name} can't be made safe"), ask)
    if safe or entry.power is None:
        return safe, why
    board, number = entry.power

    def cut_off() -> Outcome:
        opened = Opened(lab.entries[board], jobs)
        try:
            opened.device.switch(number, False)
        finally:
            opened.close()
        return True, N_(f"cut off by relay {number} of {board}, because: {why}")

    # another job may have the board, and another guard may be at it: that may be over in time
    cut, words = _within(entry.safe_seconds, N_(f"relay {number} of {board} can't be switched"), cut_off)
    return cut, words if cut else N_(f"{why} And it could not be cut off by relay {number} of {board}: {words}")


def check(entry: InstrumentEntry, lab: Lab, jobs: Path | None) -> Outcome:
    """Open an instrument, ask who it is and close it; and see whether its relay could cut it off."""
    try:
        opened = Opened(entry, jobs)
        try:
            identity = opened.ask()
            strange = entry.limits.keys() - {item.name for item in panel_of(opened.device, entry).items}
        finally:
            opened.close()
        if mistake := power_mistake(entry, lab):
            return False, N_(f"answers, but could not be cut off: {mistake}")
        if strange:
            return False, N_(f"answers, but has no reading {min(strange)}, whose limits lab.toml has")
    except InstrumentError as error:
        return False, f"{error.message.removeprefix(f'{entry.name}: ')} ({entry.port})"
    except Misconfigured as error:  # its driver can't be had
        return False, str(error)
    except Exception as error:
        logging.exception("%s can't be asked", entry.name)
        return False, _failed(N_("can't be asked"), error)
    if identity is None:
        return True, N_("can be opened; its driver knows no question, so nobody knows whether it answers")
    return True, N_(f"answers: {identity}") if identity else N_("answers")


def power_mistake(entry: InstrumentEntry, lab: Lab) -> str:
    """Why the relay that lab.toml gives as `power` could not cut it off, as far as the board's driver tells; or "".

    Raises:
        Misconfigured: the board's driver can't be had.
    """
    if entry.power is None:
        return ""
    board, number = entry.power
    driver = resolve(lab.entries[board].driver)
    count = getattr(driver, "count", None)
    if isinstance(driver, type) and not callable(getattr(driver, "switch", None)):
        return f"its power is a relay of {board}, whose driver has no switch(number, on)"
    if isinstance(count, int) and not 1 <= number <= count:
        return f"its power is {board}.{number}, but {board} has relays 1 to {count}"
    return ""


def _within(seconds: float, failure: str, work: Callable[[], Outcome]) -> Outcome:
    """Try it again and again for so many seconds. A driver that hangs is left alone with it then."""
    until = time.monotonic() + seconds
    outcomes: list[Outcome] = [(False, N_(f"{failure}: that did not end within {seconds:g} s."))]

    def tries() -> None:
        while True:
            try:
                outcomes.append(work())
            except WrongDevice as wrong:  # nothing more is said to that device
                outcomes.append((False, wrong.message))
                return
            except InstrumentError as error:
                outcomes.append((False, error.message))
            except Exception as error:
                logging.exception(failure)
                outcomes.append((False, _failed(failure, error)))
                if isinstance(error, Misconfigured):  # what lab.toml names isn't there: no try will find it
                    return
            if outcomes[-1][0] or time.monotonic() + PAUSE > until:
                return
            time.sleep(PAUSE)

    start_thread(tries, daemon=True).join(seconds + LAST_TRY)
    return outcomes[-1]


def _failed(failure: str, error: Exception) -> str:
    words = " ".join(str(error).split())[:200]
    return N_(f"{failure}: {words} ({type(error).__name__}).")


def main() -> None:
    """Make those that are named safe, or check them."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a driver that prints is not taken for us
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    try:
        current = settings.load()
        logs.set_up("safety", current.log_format, level="WARNING")
    except Misconfigured:
        logs.set_up("safety", logs.TEXT, level="WARNING")
        # a mistake that somebody is just making leaves nothing on: the supervisor hands on what it knew
        logging.getLogger("labwaiter.safety").exception("the file env can't be read")
        current = settings.load(env_file=Path(os.devnull))
    sys.path.append(str(current.services))  # drivers of this lab's own lie beside its services
    jobs = None if "--alone" in options else current.jobs_folder
    lab, mistake = Lab({}), ""
    try:
        lab = labfile.load(current.lab)
    except Misconfigured as error:
        mistake = str(error)
    lock = threading.Lock()

    def answer(name: str, **values: object) -> None:
        with lock:
            print(json.dumps({"name": name, **values}), file=out, flush=True)

    def be_safe(name: str) -> None:
        entry = lab.entries.get(name)
        if entry is not None:
            safe, why = make_safe(entry, lab, jobs)
        elif mistake:
            safe, why = False, N_(f"nobody knows how it is made safe: {mistake}")
        else:
            safe, why = False, N_(f"{name} is no longer in lab.toml, so nobody knows how it is made safe.")
        answer(name, safe=safe, why=why)

    if "--check" in options:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by whoever has begun this
        for name in map(str.strip, sys.stdin):
            gone = mistake or N_(f"{name} is no longer in lab.toml.")
            ok, words = check(lab.entries[name], lab, jobs) if name in lab.entries else (False, gone)
            answer(name, ok=ok, words=words)
        return
    threads = [start_thread(be_safe, word) for word in sys.argv[1:] if word not in options]
    for thread in threads:
        thread.join()
    os._exit(0)  # what hangs in a driver is not waited for


if __name__ == "__main__":
    main()

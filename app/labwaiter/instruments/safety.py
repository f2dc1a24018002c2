"""Make instruments safe, from outside of whatever used them: `python -m labwaiter.instruments.safety [--alone] NAME …`.

The supervisor's guard runs this in a process of its own, with a time limit: an instrument may keep anybody
waiting. Each one's result is a line of JSON: its name, whether it was read back safe, and the words to it.
It comes within twice its `safe_seconds` and a little more, whatever a driver does.
`--alone` is for where no deployment runs: then there is no simulated lab to wait for.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .. import settings
from ..errors import Misconfigured
from ..lab import lab
from ..lab.lab import Entry, Lab, resolve
from ..system.process import start_thread
from .line import InstrumentError, WrongDevice
from .opening import Opened

PAUSE = 0.5  # s between two tries
LAST_TRY = 4.0  # s that a try which began in time may take
Told = tuple[bool, str]  # whether it is safe, and the words to it


class OutOfTime(InstrumentError):
    """Its `safe_seconds` are over; this ends a driver's wait."""


def make_safe(entry: Entry, whole: Lab, jobs: Path | None) -> Told:
    """Make one instrument safe and ask it, within its `safe_seconds`; where that fails, cut it off by its relay."""
    until = time.monotonic() + entry.safe_seconds

    def check() -> None:
        if time.monotonic() > until:
            raise OutOfTime(f"{entry.name} was silent or busy for the {entry.safe_seconds:g} s to make it safe.")

    def ask() -> Told:
        opened = Opened(entry, jobs, check=check, rescue=True)
        try:
            opened.make_safe()
            if opened.is_safe():
                return True, "made safe and read back"
            return False, f"{entry.name} was told to be safe, but says that it is not."
        finally:
            opened.close()

    safe, why = _within(entry.safe_seconds, f"{entry.name} can't be made safe", ask)
    if safe or entry.power is None:
        return safe, why
    board, number = entry.power

    def cut_off() -> Told:
        opened = Opened(whole.entries[board], jobs)
        try:
            opened.device.switch(number, False)
        finally:
            opened.close()
        return True, f"cut off by relay {number} of {board}, because: {why}"

    # another job may have the board, and another guard may be at it: that may be over in time
    cut, word = _within(entry.safe_seconds, f"relay {number} of {board} can't be switched", cut_off)
    return cut, word if cut else f"{why} And it could not be cut off by relay {number} of {board}: {word}"


def power_mistake(entry: Entry, whole: Lab) -> str:
    """Why the relay that lab.toml gives as `power` could not cut it off, as far as the board's driver tells; or "".

    Raises:
        Misconfigured: the board's driver can't be had.
    """
    if entry.power is None:
        return ""
    board, number = entry.power
    driver = resolve(whole.entries[board].driver)
    count = getattr(driver, "count", None)
    if isinstance(driver, type) and not callable(getattr(driver, "switch", None)):
        return f"its power is a relay of {board}, whose driver has no switch(number, on)"
    if isinstance(count, int) and not 1 <= number <= count:
        return f"its power is {board}.{number}, but {board} has relays 1 to {count}"
    return ""


def _within(seconds: float, failure: str, work: Callable[[], Told]) -> Told:
    """Try it again and again for so many seconds. A driver that hangs is left alone with it then."""
    until = time.monotonic() + seconds
    told: list[Told] = [(False, f"{failure}: that did not end within {seconds:g} s.")]

    def tries() -> None:
        while True:
            try:
                told.append(work())
            except WrongDevice as wrong:  # nothing more is said to that device
                told.append((False, wrong.message))
                return
            except InstrumentError as error:
                told.append((False, error.message))
            except Exception as error:
                logging.exception(failure)
                told.append((False, f"{failure}: {' '.join(str(error).split())[:200]} ({type(error).__name__})."))
                if isinstance(error, Misconfigured):  # what lab.toml names isn't there: no try will find it
                    return
            if told[-1][0] or time.monotonic() + PAUSE > until:
                return
            time.sleep(PAUSE)

    start_thread(tries, daemon=True).join(seconds + LAST_TRY)
    return told[-1]


def main() -> None:
    """Make those that are named safe, all at once."""
    logging.basicConfig(format="%(asctime)s safety %(levelname)s %(message)s")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a driver that prints is not taken for us
    try:
        found = settings.load()
    except (
        Misconfigured
    ):  # a mistake that somebody is just making leaves nothing on: the supervisor hands on what it knew
        logging.getLogger("labwaiter.safety").exception("the file env can't be read")
        found = settings.load(env_file=Path(os.devnull))
    sys.path.append(str(found.services))  # drivers of this lab's own lie beside its services
    alone = sys.argv[1:2] == ["--alone"]
    jobs = None if alone else found.jobs_folder
    whole, wrong = Lab({}), ""
    try:
        whole = lab.load(found.lab)
    except Misconfigured as error:
        wrong = f"nobody knows how it is made safe: {error}"
    turn = threading.Lock()

    def one(name: str) -> None:
        entry = whole.entries.get(name)
        told = (False, wrong or f"{name} is no longer in lab.toml, so nobody knows how it is made safe.")
        if entry is not None:
            told = make_safe(entry, whole, jobs)
        with turn:
            print(json.dumps({"name": name, "safe": told[0], "why": told[1]}), file=out, flush=True)

    threads = [start_thread(one, name) for name in sys.argv[2 if alone else 1 :]]
    for thread in threads:
        thread.join()
    os._exit(0)  # what hangs in a driver is not waited for


if __name__ == "__main__":
    main()

"""Make instruments safe, from outside of whatever used them: `python -m labwaiter.instruments.safety NAME …`.

The supervisor's guard runs this in a process of its own, with a time limit: an instrument may keep anybody
waiting. Each one's result is a line of JSON: its name, whether it was read back safe, and the words to it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path

from .. import lab, settings
from ..lab import Entry, Lab
from .line import InstrumentError
from .opening import Opened

PAUSE = 0.5  # s between two tries


class OutOfTime(InstrumentError):
    """Its `safe_seconds` are over; this ends a driver's wait."""


def make_safe(entry: Entry, whole: Lab, jobs: Path) -> tuple[bool, str]:
    """Make one instrument safe and ask it, within its `safe_seconds`: whether it is, and the words to it."""
    until = time.monotonic() + entry.safe_seconds
    why = ""

    def check() -> None:
        if time.monotonic() > until:
            raise OutOfTime(
                why or f"{entry.name} was silent or busy for the {entry.safe_seconds:g} s that it has to become safe."
            )

    while True:
        opened = None
        try:
            opened = Opened(entry, jobs, check=check, rescue=True)
            opened.make_safe()
            if opened.is_safe():
                return True, "made safe and read back"
            why = f"{entry.name} was told to be safe, but says that it is not."
        except InstrumentError as error:
            why = error.message
        except Exception as error:
            logging.exception("%s can't be made safe", entry.name)
            why = f"{entry.name} can't be made safe: {' '.join(str(error).split())[:200]} ({type(error).__name__})."
        finally:
            if opened is not None:
                opened.close()
        if time.monotonic() + PAUSE > until:
            break
        time.sleep(PAUSE)
    return _cut_off(entry, whole, jobs, why) if entry.power else (False, why)


def _cut_off(entry: Entry, whole: Lab, jobs: Path, why: str) -> tuple[bool, str]:
    """The second way, below the driver: its relay."""
    assert entry.power is not None
    board, number = entry.power
    try:
        opened = Opened(whole.entries[board], jobs)
        try:
            opened.device.switch(number, False)
        finally:
            opened.close()
        return True, f"cut off by relay {number} of {board}, because: {why}"
    except Exception as error:
        logging.exception("%s can't be cut off", entry.name)
        return False, f"{why} And relay {number} of {board} could not cut it off: {' '.join(str(error).split())[:200]}"


def main() -> None:
    """Make those that are named safe, all at once."""
    logging.basicConfig(format="%(asctime)s safety %(levelname)s %(message)s")
    found = settings.load()
    sys.path.append(str(found.services))  # drivers of this lab's own lie beside its services
    whole = lab.load(found.lab)
    turn = threading.Lock()

    def one(name: str) -> None:
        entry = whole.entries.get(name)
        if entry is None:
            told = (False, f"{name} is no longer in lab.toml, so nobody knows how it is made safe.")
        else:
            told = make_safe(entry, whole, found.jobs_folder)
        with turn:
            print(json.dumps({"name": name, "safe": told[0], "why": told[1]}), flush=True)

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in sys.argv[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

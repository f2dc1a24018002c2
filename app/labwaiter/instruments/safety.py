"""Make instruments safe, from outside of whatever used them: `python -m labwaiter.instruments.safety [--alone] NAME …`.

The supervisor's guard runs this in a process of its own, with a time limit: an instrument may keep anybody
waiting. Each one's result is a line of JSON: its name, whether it was read back safe, and the words to it.
`--alone` is for where no deployment runs: then there is no simulated lab to wait for.
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


def make_safe(entry: Entry, whole: Lab, jobs: Path | None) -> tuple[bool, str]:
    """Make one instrument safe and ask it, within its `safe_seconds`: whether it is, and the words to it."""
    until = time.monotonic() + entry.safe_seconds
    why = ""
    while True:
        opened = None
        try:
            opened = Opened(entry, jobs)
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


def _cut_off(entry: Entry, whole: Lab, jobs: Path | None, why: str) -> tuple[bool, str]:
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
    alone = sys.argv[1:2] == ["--alone"]
    jobs = None if alone else found.jobs_folder
    turn = threading.Lock()

    def one(name: str) -> None:
        entry = whole.entries.get(name)
        if entry is None:
            told = (False, f"{name} is no longer in lab.toml, so nobody knows how it is made safe.")
        else:
            told = make_safe(entry, whole, jobs)
        with turn:
            print(json.dumps({"name": name, "safe": told[0], "why": told[1]}), flush=True)

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in sys.argv[2 if alone else 1 :]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

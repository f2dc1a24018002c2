"""Direct control, in the process on the line: it reads all that the driver declares, and obeys who has the instrument.

What is to be set or done comes as a message, a line of JSON, and is answered by a reply in JSON; what was read lies in
data/. Nobody but the verbs (`verbs/control.py`) writes such messages, and what they ask is judged here once more.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ..instruments.opening import Opened
from ..instruments.reading import PanelReader
from ..model.direct_control import PANEL, READINGS, UNATTENDED
from ..model.panel import What
from ..store import messages
from ..store.folder import Folder
from ..system.process import boot_clock
from ..system.watch import until
from .job import Job

READ_EVERY = 1.0  # s between two rounds
LATE = 1.0  # s after the supervisor should have ended it: where that doesn't live, this process ends itself
ASKED_MAX = 20  # of those who asked for it that are told


def serve(job: Job, opened: Opened, store: Folder, seconds: float) -> None:
    """Serve for so many seconds, or until nobody asks any more.

    Raises:
        InstrumentError: the line is lost, or another device answers.
    """
    _Held(job, opened, store).serve(seconds)


class _Held:
    def __init__(self, job: Job, opened: Opened, store: Folder) -> None:
        self._job, self._opened, self._store = job, opened, store
        self._name, self._device = opened.entry.name, opened.device
        self._reader = PanelReader(opened)
        self._panel = self._reader.panel
        self._asked: list[dict[str, Any]] = []  # who asked for it
        self._seen = -1  # bytes of the messages that were obeyed
        self._began = boot_clock()

    def serve(self, seconds: float) -> None:
        said = {"identity": self._opened.identified_as, "panel": self._panel.as_data()}
        self._job.write(PANEL, json.dumps(said))
        ends, due = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < ends and self._is_attended():
            if now >= due:
                self._look()
                due = max(due + READ_EVERY, time.monotonic() + READ_EVERY / 2)
            until(self._job.folder, self._has_come, min(due, ends) - time.monotonic())
            self._obey_all()

    def _is_attended(self) -> bool:
        asked = self._store.polled_at(self._job.folder.name) or 0.0
        return boot_clock() - max(asked, self._began) < UNATTENDED + LATE

    # -- reading ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read all; who wants something meanwhile doesn't wait for the rest."""
        self._reader.look(self._between)
        self._tell()

    def _between(self) -> None:
        self._obey_all()
        self._job.check()

    def _tell(self) -> None:
        told = {"at": time.time(), "readings": self._reader.read, "asked": self._asked}
        self._job.write(READINGS, json.dumps(told))

    # -- obeying ------------------------------------------------------------------------------

    def _has_come(self) -> bool:
        try:
            return (self._job.folder / messages.FILE).stat().st_size != self._seen
        except FileNotFoundError:
            return False

    def _obey_all(self) -> None:
        if not self._has_come():
            return
        self._seen = (self._job.folder / messages.FILE).stat().st_size
        for message in self._job.messages():
            try:
                wanted = json.loads(message)
                answer = self._obey(wanted)
            except (ValueError, TypeError, KeyError, AttributeError):
                answer = {"why": "That was no order that direct control understands."}
            self._job.reply(message, json.dumps(answer))

    def _obey(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if "ask" in wanted:
            asked = {"by": str(wanted["ask"])[:100], "text": str(wanted.get("text", ""))[:500], "at": time.time()}
            self._asked = [*self._asked, asked][-ASKED_MAX:]
            self._tell()
            return {"done": True}
        try:
            if "set" in wanted:
                item = self._panel.find(self._name, wanted["set"], What.CONTROL)
                values = item.accept(self._name, {item.name: wanted["value"]})
                setattr(self._device, item.name, values[item.name])
                self._reader.read[item.name] = self._reader.ask(item)
                self._tell()
                return {"done": True, "read": self._reader.read[item.name]}
            item = self._panel.find(self._name, wanted["do"], What.ACTION)
            values = item.accept(self._name, wanted.get("inputs", {}))
            getattr(self._device, item.name)(**values)
            return {"done": True}
        except Exception as error:
            return {"why": self._reader.words(error)}

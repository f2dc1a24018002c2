"""Instruments in somebody's hands, in the process on their lines: it reads what the drivers declare, and obeys.

What is to be set or done comes as a message, a line of JSON, and is answered by a reply in JSON; what was read lies in
data/. Nobody but the verbs (`verbs/control.py`, `verbs/sessions.py`) writes such messages, and what they ask is judged
here once more. Direct control is here; a session is the same with several instruments (`runner/session.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..instruments.opening import Opened
from ..instruments.reading import PanelReader, words_of
from ..model.direct_control import PANEL, READINGS, UNATTENDED
from ..model.panel import Panel, What
from ..store import messages
from ..store.folder import Folder
from ..system.process import boot_clock
from ..system.watch import until
from .job import Job

READ_EVERY = 1.0  # s between two rounds
LATE = 1.0  # s after the supervisor should have ended it: where that doesn't live, this process ends itself
ASKED_MAX = 20  # of those who asked for it that are told
NO_ORDER = "That was no order that is understood here."


def serve(job: Job, opened: Opened, store: Folder, seconds: float) -> None:
    """Direct control, for so many seconds, or until nobody asks any more.

    Raises:
        InstrumentError: the line is lost, or another device answers.
    """
    _InHand(job, HeldInstrument(opened.entry.name, opened), store).serve(seconds)


class HeldInstrument:
    """One of them, open, with what its people may use of it."""

    def __init__(self, name: str, opened: Opened, panel: Panel | None = None) -> None:
        """
        Args:
            name: as they know it.
            panel: what they may use; None: all that the driver declares.

        Raises:
            Misconfigured: what the driver declares can't be read.
        """
        self.name, self.identity = name, opened.identified_as
        self._device, self._reader = opened.device, PanelReader(opened, name, panel)

    @property
    def panel(self) -> Panel:
        """What its people may use."""
        return self._reader.panel

    @property
    def read(self) -> dict[str, dict[str, Any]]:
        """By name: what was read last, or why it could not be."""
        return self._reader.read

    def look(self, between: Callable[[], None]) -> None:
        """Read all, one after the other; `between` is called before each, for who wants something meanwhile."""
        self._reader.look(between)

    def set(self, control: str, value: Any) -> dict[str, Any]:
        """Set a control, within its limits: what it reads since. Raises whatever goes wrong."""
        item = self.panel.find(self.name, control, What.CONTROL)
        values = item.accept(self.name, {item.name: value})
        setattr(self._device, item.name, values[item.name])
        self.read[item.name] = self._reader.ask(item)
        return self.read[item.name]

    def do(self, action: str, inputs: dict[str, Any]) -> None:
        """Have it do something. Raises whatever goes wrong."""
        item = self.panel.find(self.name, action, What.ACTION)
        getattr(self._device, item.name)(**item.accept(self.name, inputs))


class Serving:
    """Reads them once a second, and obeys orders between two readings, as long as somebody asks."""

    def __init__(self, job: Job, held: list[HeldInstrument], store: Folder, unattended: float | None) -> None:
        """
        Args:
            unattended: s without a sign of life after which it is over; None: never.
        """
        self._job, self._held, self._store, self._unattended = job, held, store, unattended
        self._seen = -1  # bytes of the messages that were obeyed
        self._began = boot_clock()

    def serve(self, seconds: float) -> None:
        """For so many seconds. Raises InstrumentError: a line is lost, or another device answers."""
        ends, due = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < ends and self._is_attended():
            if now >= due:
                for held in self._held:
                    held.look(self._turn)
                self._tell()
                due = max(due + READ_EVERY, time.monotonic() + READ_EVERY / 2)
            self._wait(min(due, ends) - time.monotonic())
            self._obey_all()

    def _wait(self, seconds: float) -> None:
        """Until there is something to obey, for so long at most."""
        until(self._job.folder, self._has_come, seconds)

    def _is_attended(self) -> bool:
        if self._unattended is None:
            return True
        asked = self._store.polled_at(self._job.folder.name) or 0.0
        return boot_clock() - max(asked, self._began) < self._unattended + LATE

    def _turn(self) -> None:
        self._obey_all()
        self._job.check()

    def _tell(self) -> None:
        """Write down what was read."""
        raise NotImplementedError

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
                answer = self._obey(json.loads(message))
            except (ValueError, TypeError, KeyError, AttributeError):
                answer = {"why": NO_ORDER}
            self._job.reply(message, json.dumps(answer))

    def _obey(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """What came of an order. Raises ValueError, TypeError, KeyError, AttributeError: it is none."""
        raise NotImplementedError

    def _set_or_do(self, held: HeldInstrument, wanted: dict[str, Any]) -> dict[str, Any]:
        try:
            if "set" in wanted:
                read = held.set(wanted["set"], wanted["value"])
                self._tell()
                return {"done": True, "read": read}
            held.do(wanted["do"], wanted.get("inputs", {}))
            return {"done": True}
        except Exception as error:
            return {"why": words_of(held.name, error)}


class _InHand(Serving):
    """Direct control of one instrument."""

    def __init__(self, job: Job, held: HeldInstrument, store: Folder) -> None:
        super().__init__(job, [held], store, UNATTENDED)
        self._one = held
        self._asked: list[dict[str, Any]] = []  # who asked for it

    def serve(self, seconds: float) -> None:
        said = {"identity": self._one.identity, "panel": self._one.panel.as_data()}
        self._job.write(PANEL, json.dumps(said))
        super().serve(seconds)

    def _tell(self) -> None:
        told = {"at": time.time(), "readings": self._one.read, "asked": self._asked}
        self._job.write(READINGS, json.dumps(told))

    def _obey(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if "ask" in wanted:
            asked = {"by": str(wanted["ask"])[:100], "text": str(wanted.get("text", ""))[:500], "at": time.time()}
            self._asked = [*self._asked, asked][-ASKED_MAX:]
            self._tell()
            return {"done": True}
        return self._set_or_do(self._one, wanted)

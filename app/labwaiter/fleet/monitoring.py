"""What monitored instruments of all machines said: of another machine's by what it tells, and by signed calls."""

from __future__ import annotations

import contextlib
import threading
import time

from ..errors import Misconfigured, ServiceError
from ..model.caller import Caller
from ..settings import Settings
from ..store.history import POINTS, LastReading, Series
from ..system.process import start_thread
from ..verbs.monitoring import HistoryTold, Monitoring
from ..verbs.permission import Action, permit
from . import operations
from .fleet_store import FleetStore
from .instruments import OtherMachines

HISTORY_SECONDS = 10.0  # that a machine has for a history: ten thousand points of each reading take it a while
TRENDS_EVERY = 30.0  # s after which a machine is asked again for its trends of an hour, while somebody looks


class FleetMonitoring(Monitoring):
    """The verbs over what is monitored, wherever it is. Events are of this machine alone."""

    def __init__(self, settings: Settings, store: FleetStore) -> None:
        super().__init__(settings)
        self._others = OtherMachines(settings, store)
        self._turn = threading.Lock()
        self._trends: dict[str, dict[str, list[Series]]] = {}  # by machine, as it told last
        self._asked: dict[str, float] = {}  # monotonic s, at which each machine was asked for them last

    def last(self, caller: Caller) -> dict[str, tuple[LastReading, ...]]:
        """This machine's, then what the others told last; of one that isn't heard of, what it told last."""
        found, homes = super().last(caller), self._homes()
        heard, _ = self._others.told(sorted(set(homes.values())))
        for name, machine in homes.items():
            told = heard[machine].get(name)
            if told is not None and told.readings:
                found[name] = told.readings
        return found

    def trends(self, caller: Caller) -> dict[str, list[Series]]:
        """This machine's, and the others' as they told less than a minute ago.

        Nobody waits for another machine by it: what has not come yet comes with a look in some seconds.
        """
        found, now = super().trends(caller), time.monotonic()
        for machine in sorted(set(self._homes().values())):
            with self._turn:
                is_due = now - self._asked.get(machine, -TRENDS_EVERY) >= TRENDS_EVERY
                if is_due:
                    self._asked[machine] = now
                found |= self._trends.get(machine, {})
            if is_due:
                start_thread(self._ask_for_trends, machine, caller, daemon=True)
        return found

    def _homes(self) -> dict[str, str]:
        """The machines of the others, by their instruments' names; none while lab.toml has a mistake."""
        with contextlib.suppress(Misconfigured):
            return self._instruments.lab().elsewhere
        return {}

    def _ask_for_trends(self, machine: str, caller: Caller) -> None:
        told: dict[str, list[Series]] = {}
        try:
            said = self._others.ask(operations.trends, machine, caller)
            told = {name: list(series) for name, series in said.items()}
        except ServiceError:  # its cards say that it isn't heard of; trends of an hour ago are none
            pass
        with self._turn:
            self._trends[machine] = told

    def history(
        self, name: str, caller: Caller, since: float, until: float | None = None, points: int = POINTS
    ) -> HistoryTold:
        machine = self._instruments.lab().elsewhere.get(name, "")
        if not machine:
            return super().history(name, caller, since, until, points)
        permit(caller, Action.LIST_INSTRUMENTS, name)
        until = self._judged(since, until, points)
        ask = self._others.ask
        return ask(
            operations.history, machine, caller, HISTORY_SECONDS, name=name, since=since, until=until, points=points
        )

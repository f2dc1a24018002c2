"""What a supervisor counts, and how it is now, told in a file for the metrics."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable

from ..layout import Layout
from ..model.record import State
from ..store import figures
from ..store.figures import WORK_BOUNDS, Durations, Figures, added, count

TELL_EVERY = 1.0  # s between two writes of what has changed
TELL_AGAIN = 5.0  # s after which it is written though nothing has: whoever reads it sees that we live
UNKNOWN = "unknown"  # the service of an execution whose request was lost


class SupervisorFigures:
    """Counts what happens to executions. What an earlier supervisor of the jobs folder counted is counted on."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.supervisor_figures
        self._before: Figures | None = None  # what those before it counted, once that could be read
        self._begun: Figures = {}
        self._ended: Figures = {}
        self._queue, self._lag, self._safe = Durations(WORK_BOUNDS), Durations(WORK_BOUNDS), Durations(WORK_BOUNDS)
        self._stops: dict[str, Durations] = {}
        self._told: Figures = {}
        self._told_at = -TELL_AGAIN  # boot clock, s

    # -- counting -------------------------------------------------------------------------------

    def began(self, service: str, waited: float) -> None:
        """An execution begins, `waited` s after it was started."""
        count(self._begun, service or UNKNOWN)
        _note(self._queue, waited)

    def ended(self, service: str, state: State) -> None:
        """An execution has ended."""
        count(self._ended, service or UNKNOWN, str(state))

    def stopped(self, reason: str, seconds: float) -> None:
        """One that was told to stop is gone, and cleared up after, so many seconds later (`reason`: as `Stopping`)."""
        _note(self._stops.setdefault(reason, Durations(WORK_BOUNDS)), seconds)

    def made_safe(self, seconds: float) -> None:
        """The instruments of an execution, or of what it left, were made safe as far as they could be."""
        _note(self._safe, seconds)

    def late(self, seconds: float) -> None:
        """The loop has looked round, so much later than it was to."""
        _note(self._lag, seconds)

    # -- telling --------------------------------------------------------------------------------

    def tell(self, now: float, running: Callable[[], Iterable[str]], waiting: Callable[[], Figures]) -> None:
        """Write it all where that is due. A disk that refuses costs this write alone.

        Raises:
            OSError: what was counted before can't be read now; nothing is put in its place.

        Args:
            now: boot clock, s.
            running: the services of the running executions.
            waiting: "queued", how many executions wait, by what they wait for; "oldest", when the first of them was
                started, Unix time in s.
        """
        if now - self._told_at < TELL_EVERY:
            return
        content = {"counted": self._counted(), "running": dict(Counter(running())), **waiting()}
        if content == self._told and now - self._told_at < TELL_AGAIN:
            return
        self._told, self._told_at = content, now
        self._write(content, now)

    def tell_at_last(self, now: float) -> None:
        """Write what was counted since, as this supervisor leaves; who runs and waits is the next one's to tell."""
        with contextlib.suppress(OSError):
            self._write({**self._told, "counted": self._counted()}, now)

    def _write(self, content: Figures, now: float) -> None:
        with contextlib.suppress(OSError):
            figures.write(self._path, {**content, "at": now})

    def _counted(self) -> Figures:
        durations = {"queue": self._queue, "lag": self._lag, "safe": self._safe}
        ours: Figures = {name: told for name, one in durations.items() if (told := one.figures())}
        ours["stops"] = {reason: one.figures() for reason, one in self._stops.items()}
        if self._before is None:
            self._before = figures.read(self._path).get("counted", {})
        return added(self._before, {"begun": self._begun, "ended": self._ended, **ours})


def _note(durations: Durations, seconds: float) -> None:
    durations.note(max(0, round(seconds * 1e9)))  # clocks that are set make some negative

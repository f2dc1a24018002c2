"""One execution, as a test has it: a labwaiter.Client's, and what only a test wants of it."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .. import client
from ..model.record import Record, State
from ..page import language_of, render
from ..system.process import children, identify, kill, mark_of, marked
from ..system.watch import until

if TYPE_CHECKING:
    from .lab import Lab

PATIENCE = 60.0  # s that a test waits for what must happen, on a machine that has much else to do, too
LINES = 15  # of a log, in a failed test's words
T = TypeVar("T")


class NotThatWay(AssertionError):
    """An execution went another way than a test has it; the message says how."""


class Execution(client.Execution):
    """One execution. What is asked of it is looked up anew each time."""

    def __init__(self, lab: Lab, record: Record) -> None:
        super().__init__(lab.jobs, record, lab.caller)
        self._lab = lab
        self.folder: Path = lab.settings.jobs_folder / record.name
        self._name = record.name
        self.instruments = record.request.instruments  # the names of those that it needs

    # -- what became of it --------------------------------------------------------------------

    @property
    def outputs(self) -> dict[str, Any]:
        """Its outputs by name. Raises NotThatWay, with its reason and the end of its log, where it has none."""
        __tracebackhide__ = True
        outputs = super().outputs
        if outputs is None:
            raise NotThatWay(f"{self.service_id} has no outputs: {self.in_words()}")
        return outputs

    def page(self) -> str:
        """Its status page, HTML, as a workflow manager would show it now."""
        view = self._jobs.view(self.service_id, self._caller)
        service = self._jobs.service_of(view.record)
        assert service is not None  # it was started just now
        files_at = self._lab.root_address + self._jobs.artifacts.link(self._name) if view.files else ""
        language = language_of(view.record.request, self._jobs.settings.page_language)
        return render(view, service, files_at, language)

    @property
    def log(self) -> str:
        """All of its log."""
        try:
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def files(self) -> dict[str, Path]:
        """What it made, by name: where each file lies."""
        return {name: self.data.path(name) for name in self.data}

    @property
    def rows(self) -> list[dict[str, str]]:
        """What it recorded: a row each, texts by the column's name, as in "voltage / V"."""
        with open(self.files["record.csv"], newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def states(self) -> list[State]:
        """The states that it went through, the first one first: ["queued", "running", "completed"]."""
        began = any(happening.event == "began" for happening in self.timeline)
        now = self.state
        return [State.QUEUED, *[State.RUNNING] * began, *[now] * (now not in (State.QUEUED, State.RUNNING))]

    @property
    def stages(self) -> list[str]:
        """What it said that it does, the first one first."""
        return [str(happening.about.get("stage", "")) for happening in self.timeline if happening.event == "stage"]

    def in_words(self) -> str:
        """How it stands, for a failed test: its state, why, and the last lines of its log."""
        record = self.record
        log = "".join(f"\n  {line}" for line in self.log.splitlines()[-LINES:])
        at = "" if not record.active else f": {self.stage}" if self.stage else ", and says nothing of its progress"
        why = f": {record.why}" if record.why else at
        return (
            f"it {'is' if record.active else 'has'} {record.state}{why}{log and f'{chr(10)}the end of its log:{log}'}"
        )

    # -- waiting ------------------------------------------------------------------------------

    def join(self, timeout: float | None = PATIENCE, raising: bool = False) -> Execution:
        """As labwaiter.Client's, but that one which has not ended in time raises NotThatWay."""
        __tracebackhide__ = True
        super().join(timeout, raising)
        if self.running:
            raise NotThatWay(f"{self.service_id} has not ended within {timeout:g} s: {self.in_words()}")
        return self

    def wait_for(self, stage: str | Callable[[], T], timeout: float = PATIENCE) -> str | T:
        """Wait until it says that it does this, or until something is so.

        Args:
            stage: a part of what stands on its page as what it does now; or a function, asked again and again until
                what it gives is true.

        Returns:
            The whole stage, or what the function gave.

        Raises:
            NotThatWay: it ended before, or it did not come to that in time.
        """
        __tracebackhide__ = True
        look: Callable[[], Any] = stage if callable(stage) else lambda: stage in self.stage and self.stage
        over = False

        def found() -> tuple[Any] | None:
            nonlocal over
            over = not self.running  # before the look: what it said last counts
            seen = look()
            return (seen,) if seen or over else None

        seen = until(self.folder, found, timeout)
        if seen and seen[0]:
            return seen[0]  # type: ignore[no-any-return]
        wanted = "what was waited for" if callable(stage) else f"it said “{stage}”"
        when = f"It ended before {wanted}" if over else f"Within {timeout:g} s it did not come to what was waited for"
        raise NotThatWay(f"{self.service_id}: {when}: {self.in_words()}")

    def wait_for_begin(self, timeout: float = PATIENCE) -> int:
        """Wait until it runs: the pid of the process in which its function is called. Raises NotThatWay."""

        def working() -> int | None:
            runner = self.record.runner
            if runner is None or not any(happening.event == "began" for happening in self.timeline):
                return None
            return next(iter(children(runner.pid)), None) if identify(runner.pid) else None

        return int(self.wait_for(working, timeout) or 0)

    # -- what may happen to it ----------------------------------------------------------------

    def abort(self, wait: float = PATIENCE) -> bool:
        """As labwaiter.Client's, with more patience."""
        return super().abort(wait)

    def kill(self) -> None:
        """Kill its process (SIGKILL), as a crash or want of memory does. Raises NotThatWay: it never began."""
        self.wait_for_begin()
        self._signal(signal.SIGKILL, runner=True)

    def interrupt(self) -> None:
        """Have an exception (KeyboardInterrupt) come up where its function just is; a program gets SIGINT."""
        pid = self.wait_for_begin()
        if who := identify(pid):
            kill(who, signal.SIGINT)

    def freeze(self) -> None:
        """Stop all its processes where they are (SIGSTOP), as one that hangs: it tells no progress any more."""
        self.wait_for_begin()
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int, runner: bool = False) -> None:
        watched = self.record.runner
        mark = mark_of(self._lab.settings.jobs_folder, self._name)
        for who in marked(mark) if not runner else [watched] if watched else []:
            if runner or watched is None or who.pid != watched.pid:
                kill(who, number)

    # -- what it leaves -----------------------------------------------------------------------

    def assert_safe(self) -> None:
        """Its instruments could be left alone by their own records, and are free. Raises NotThatWay."""
        __tracebackhide__ = True
        self._lab.assert_safe(*self.instruments)


def eventually(look: Callable[[], T], timeout: float = PATIENCE, every: float = 0.01) -> T:
    """What `look` gives as soon as it is true, for what no event tells of. Raises NotThatWay: it never was."""
    __tracebackhide__ = True
    over = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > over:
            raise NotThatWay(f"what was waited for did not come to pass within {timeout:g} s")
        time.sleep(every)
    return found

"""STOP: whatever has an instrument is ended, and the instrument is made safe. It waits for no queue.

An execution that has it is aborted, whosever it is: the guard behind it makes its instruments safe and reads them back.
What no execution has is made safe by a process of its own, as `labwaiter instruments safe` does.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Misconfigured, ServiceError
from ..model.caller import Caller
from ..settings import Settings
from .acts import Acts
from .instruments import Holding, Instruments
from .jobs import Jobs
from .permission import Action, permit

log = logging.getLogger(__name__)
SECONDS = 7.5  # that an answer may take; the stop goes on by itself afterwards
GOES_ON = "the stop goes on by itself; look again in a moment"


@dataclass(frozen=True)
class Stopped:
    """What came of a STOP of one instrument."""

    name: str
    safe: bool | None  # it was read back so; None: the stop goes on
    why: str


def stop(settings: Settings, jobs: Jobs, names: Sequence[str], caller: Caller) -> tuple[Stopped, ...]:
    """Stop these instruments of this machine, all at the same time; all of them where none is named.

    Raises:
        NotPermitted; UnknownInstrument: one of them isn't here, and nothing was done; Misconfigured: lab.toml has a
            mistake, and none was named that somebody has.
    """
    for name in names or ("",):
        permit(caller, Action.MAKE_SAFE, name)
    instruments, acts = Instruments(settings), Acts(settings)
    held = _held(instruments)
    if not names:
        with contextlib.suppress(Misconfigured):  # what somebody has is stopped all the same
            names = instruments.names()
        names = list(dict.fromkeys([*names, *held]))
    results: dict[str, Stopped] = {}
    works: dict[str, list[str]] = {}  # execution's folder → instruments; "": those that none has
    for name in names:
        holding = held.get(instruments.held_as(name, held))
        at_work = holding is not None and holding.by_job
        works.setdefault(holding.lease.job if holding is not None and at_work else "", []).append(name)
    if free := works.get(""):
        instruments.known(free)
    threads = []
    for job, stopped in works.items():
        about = {"instrument": ", ".join(stopped)} | ({"of": job} if job else {})
        acts.go_on("stop", caller, about, durable=True)
        work = threading.Thread(target=_end, args=(instruments, jobs, job, stopped, caller, results), daemon=True)
        work.start()
        threads.append(work)
    until = time.monotonic() + SECONDS
    for work in threads:
        work.join(max(0.0, until - time.monotonic()))
    told = tuple(results.get(name) or Stopped(name, None, GOES_ON) for name in names)
    for each in told:
        outcome = "goes on" if each.safe is None else each.safe
        acts.tell("stopped", caller, {"instrument": each.name, "safe": outcome, "why": each.why})
    return told


def _held(instruments: Instruments) -> dict[str, Holding]:
    return {holding.lease.instrument: holding for holding in instruments.not_safe()}


def _end(
    instruments: Instruments, jobs: Jobs, job: str, names: list[str], caller: Caller, results: dict[str, Stopped]
) -> None:
    """Stop what one execution has, or what none has."""
    try:
        if job:
            _abort(instruments, jobs, job, names, caller, results)
        else:
            for made in instruments.make_safe(names, caller):
                results[made.name] = Stopped(made.name, made.safe, made.why.removeprefix(f"{made.name}: "))
    except ServiceError as error:
        results.update({name: Stopped(name, False, error.message) for name in names})
    except Exception:
        log.exception("a stop met an error of our own")
        why = "the stop met an error of its own: switch it off by hand; the administrator finds more in the log"
        results.update({name: Stopped(name, False, why) for name in names})


def _abort(
    instruments: Instruments, jobs: Jobs, job: str, names: list[str], caller: Caller, results: dict[str, Stopped]
) -> None:
    """Abort an execution, whosever it is, and say how its instruments are after it."""
    gone = jobs.records.abort(jobs.records.record(job), SECONDS, caller.in_words)
    held = _held(instruments)
    for name in names:
        holding = held.get(instruments.held_as(name, held))
        if holding is None or holding.lease.job != job:
            results[name] = Stopped(name, True, "it was read back safe; what had it is aborted")
        elif gone or not holding.by_job:
            results[name] = Stopped(name, False, holding.lease.why or holding.words)
        else:
            results[name] = Stopped(name, None, f"what has it is being aborted: {GOES_ON}")

"""Schedules and machines, where there are any."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from ...errors import Misconfigured, ServiceError, Unavailable
from ...lab import labfile
from ...page.words import printable
from ...verbs.permission import Action, permit
from . import PAGES, Face
from .executions import row


def add(app: Flask, face: Face) -> None:
    """Add the pages of schedules and machines to the application."""

    @app.get(PAGES + "schedules")
    def schedules() -> Response:
        return face.page("schedules.html.j2", lambda: _schedules(face))

    @app.get(PAGES + "machines")
    def machines() -> Response:
        return face.page("machines.html.j2", lambda: _machines(face))


def _schedules(face: Face) -> dict[str, Any]:
    permit(face.caller, Action.LIST_INSTRUMENTS)  # they are the lab's, no project's, as its instruments are
    if not face.settings.schedule.exists():
        return {"rows": [], "mistake": "", "absent": True}
    from ...fleet.redis_faults import FAULTS, of
    from ...schedule import scheduler
    from ...schedule.schedule import load

    try:
        found = scheduler.standing(
            face.settings, face.jobs, load(face.settings.schedule, face.offered.now()), face.caller
        )
    except Misconfigured as error:
        return {"rows": [], "mistake": str(error), "absent": False}
    except FAULTS as error:
        raise Unavailable(f"Nothing is known of the last runs. {of(error).mend}") from error
    rows = [
        {
            "name": each.schedule.name,
            "service": each.schedule.service,
            "times": each.schedule.times,
            "note": printable(each.schedule.note),
            "next": each.next,
            "last": row(face, each.last) if each.last else None,
            "skipped": each.skipped,
            "why": printable(each.why),
        }
        for each in found
    ]
    return {"rows": rows, "mistake": "", "absent": False}


def _machines(face: Face) -> dict[str, Any]:
    permit(face.caller, Action.LIST_INSTRUMENTS)  # they are the lab's, no project's, as its instruments are
    if not face.settings.redis_url:
        return {"rows": [], "mistake": "", "absent": True}
    from ...fleet import machines
    from ...fleet.redis_faults import FAULTS, of
    from ...fleet.redis_store import RedisStore

    records = face.jobs.records
    if not isinstance(records, RedisStore):
        return {"rows": [], "mistake": "", "absent": True}
    try:
        lab = labfile.load(face.settings.lab)
        states = machines.states(records.store, lab)
    except Misconfigured as error:
        return {"rows": [], "mistake": str(error), "absent": False}
    except FAULTS as error:
        return {"rows": [], "mistake": of(error).mend, "absent": False}
    except ServiceError as error:
        return {"rows": [], "mistake": error.message, "absent": False}
    rows = [
        {
            "name": state.name,
            "state": state.in_words,
            "tone": "good" if state.state == "takes orders" else "waits" if state.alive else "bad",
            "seen": state.seen,
            "version": state.version,
            "offers": state.offers,
            "active": state.active,
            "waiting": state.waiting,
            "orders": state.orders,
            "instruments": [name for name, entry in lab.entries.items() if entry.machine == state.name],
            "known": state.known,
        }
        for state in states
    ]
    return {"rows": rows, "mistake": "", "absent": False}

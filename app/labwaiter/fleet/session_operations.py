"""What a face has the machine of a session do: the verbs over sessions of remote labs, by name (see `operations`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import InvalidParameter
from ..model.caller import Caller
from ..model.lab_session import About
from ..settings import Settings
from ..verbs.control import Done
from ..verbs.sessions import Acted, Beginning, SessionLook, Sessions, SessionView, TaskView

TASKS_TOLD = 20  # of a session, in a look at all of it: the last ones, without their data


_kept: list[tuple[Settings, Sessions]] = []  # those of this process' last deployment: they remember drivers' panels


def _verbs(here: Settings) -> Sessions:
    """Those of this machine; whether a page of the lab's own may be served is the face's to judge."""
    for settings, verbs in _kept:
        if settings is here:
            return verbs
    _kept[:] = [(here, Sessions(replace(here, weblab_blueprints=True)))]
    return _kept[0][1]


def begin_session(here: Settings, caller: Caller, lab: str, about: About, session_id: str, wait: float) -> None:
    """`Sessions.begin`."""
    _verbs(here).begin(lab, about, session_id, wait, caller)


def session_beginning(here: Settings, caller: Caller, session_id: str, wait: float) -> Beginning:
    """`Sessions.beginning`: also what keeps it in the queue."""
    return _verbs(here).beginning(session_id, wait, caller)


def withdraw_session(here: Settings, caller: Caller, session_id: str, why: str) -> None:
    """`Sessions.withdraw`."""
    _verbs(here).withdraw(session_id, caller, why)


def why_closed(here: Settings, caller: Caller, lab: str) -> tuple[str, ...]:
    """`Sessions.test`."""
    return tuple(_verbs(here).test(lab, caller))


def list_sessions(here: Settings, caller: Caller, lab: str) -> tuple[SessionView, ...]:
    """`Sessions.sessions`."""
    return tuple(_verbs(here).sessions(caller, lab))


def session_status(here: Settings, caller: Caller, session_id: str) -> SessionView:
    """`Sessions.status`."""
    return _verbs(here).status(session_id, caller)


def session_statuses(
    here: Settings, caller: Caller, session_ids: tuple[str, ...], wait: float
) -> dict[str, tuple[str, int]]:
    """`Sessions.statuses`."""
    return _verbs(here).statuses(session_ids, caller, wait)


def session_alive(here: Settings, caller: Caller, session_id: str) -> SessionView:
    """`Sessions.alive`: what keeps it its student's."""
    return _verbs(here).alive(session_id)


def look_at_session(here: Settings, caller: Caller, session_id: str) -> SessionLook:
    """`Sessions.look`; of its tasks the last ones, without their data: `session_tasks` has all."""
    look = _verbs(here).look(session_id)
    return replace(look, tasks=tuple(replace(task, data={}) for task in look.tasks[-TASKS_TOLD:]))


def session_file(here: Settings, caller: Caller, session_id: str, name: str) -> None:
    """Raises what `Sessions.file` raises; the file itself is fetched as those of executions are."""
    _verbs(here).file(session_id, name)


def session_data(here: Settings, caller: Caller, session_id: str) -> dict[str, Any]:
    """What `Sessions.data` has now."""
    return dict(_verbs(here).data(session_id))


def change_session_data(
    here: Settings, caller: Caller, session_id: str, values: dict[str, Any], without: tuple[str, ...]
) -> bool:
    """Put values into `Sessions.data`, and take others out: False where one of these wasn't there."""
    data = _verbs(here).data(session_id)
    try:
        if values:
            data.update(values)
        for name in without:
            del data[name]
    except KeyError:
        return False
    except (TypeError, ValueError) as error:
        raise InvalidParameter(str(error)) from error
    return True


def set_in_session(
    here: Settings, caller: Caller, session_id: str, instrument: str, control: str, value: Any, wait: float
) -> Done:
    """`Sessions.set`."""
    return _verbs(here).set(session_id, instrument, control, value, wait)


def do_in_session(
    here: Settings, caller: Caller, session_id: str, instrument: str, action: str, inputs: dict[str, Any], wait: float
) -> Done:
    """`Sessions.do`."""
    return _verbs(here).do(session_id, instrument, action, inputs, wait)


def act_in_session(
    here: Settings, caller: Caller, session_id: str, action: str, inputs: dict[str, Any], wait: float
) -> Acted:
    """`Sessions.act`."""
    return _verbs(here).act(session_id, action, inputs, wait)


def session_tasks(here: Settings, caller: Caller, session_id: str, name: str) -> tuple[TaskView, ...]:
    """`Sessions.tasks`."""
    return tuple(_verbs(here).tasks(session_id, name))


def session_task(here: Settings, caller: Caller, session_id: str, task_id: str) -> TaskView:
    """`Sessions.task`."""
    return _verbs(here).task(session_id, task_id)


def start_task(
    here: Settings, caller: Caller, session_id: str, task: str, inputs: dict[str, Any], by_student: bool
) -> TaskView:
    """`Sessions.start_task`."""
    return _verbs(here).start_task(session_id, task, inputs, by_student)


def stop_task(here: Settings, caller: Caller, session_id: str, task_id: str, by_student: bool) -> TaskView:
    """`Sessions.stop_task`."""
    return _verbs(here).stop_task(session_id, task_id, by_student)


def join_task(here: Settings, caller: Caller, session_id: str, task_id: str, timeout: float) -> TaskView:
    """`Sessions.join_task`."""
    return _verbs(here).join_task(session_id, task_id, timeout)


def tasks_of(here: Settings, caller: Caller, session_id: str) -> tuple[TaskView, ...]:
    """`Sessions.tasks_of`."""
    return tuple(_verbs(here).tasks_of(session_id, caller))


def end_task(here: Settings, caller: Caller, task_id: str, wait: float) -> TaskView:
    """`Sessions.end_task`."""
    return _verbs(here).end_task(task_id, caller, wait)


def end_session(here: Settings, caller: Caller, session_id: str, why: str) -> None:
    """`Sessions.end`."""
    _verbs(here).end(session_id, caller, why)


def leave_session(here: Settings, caller: Caller, session_id: str) -> None:
    """`Sessions.leave`."""
    _verbs(here).leave(session_id)


def session_gone(here: Settings, caller: Caller, session_id: str, wait: float) -> bool:
    """`Sessions.gone`."""
    return _verbs(here).gone(session_id, wait)


# these change nothing that would have to survive a power cut
LOOKS = (
    *(session_beginning, why_closed, list_sessions, session_status, session_statuses, session_alive),
    *(look_at_session, session_file, session_data, session_tasks, session_task, join_task, tasks_of, session_gone),
)
ACTS = (
    *(begin_session, withdraw_session, end_session, leave_session, change_session_data),
    *(set_in_session, do_in_session, act_in_session, start_task, stop_task, end_task),
)

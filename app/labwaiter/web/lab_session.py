"""The session of a remote lab, for the views of a blueprint that is the lab's page: docs/labs.md.

from labwaiter.web.lab_session import session

@blueprint.get("/")
def index():
    return render_template("index.html", left=session.time_left)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import g
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from ..verbs.sessions import TaskView
    from .lab_server import Face
    from .lab_server.student import Student, Students


class LabSession:
    """The session of who makes this request, as a blueprint's views get it."""

    def __init__(self, face: Face, students: Students, student: Student) -> None:
        self._face, self._students, self._student = face, students, student

    @property
    def username(self) -> str:
        """The user's name, as the calling system says it; unique, full_name, locale and back likewise."""
        return self._student.view.about.username

    @property
    def unique(self) -> str:
        """A name that no other user of any system has."""
        return self._student.view.about.unique

    @property
    def full_name(self) -> str:
        """The user's name for people."""
        return self._student.view.about.full_name

    @property
    def locale(self) -> str:
        """The language that the calling system asks for."""
        return self._student.view.about.locale

    @property
    def back(self) -> str:
        """The address to which the user goes afterwards."""
        return self._student.view.about.back

    @property
    def is_active(self) -> bool:
        """Whether the session runs; after its end a view may still show its results."""
        return self._student.is_in

    @property
    def time_left(self) -> float:
        """Seconds that are left; 0 after the end."""
        return self._student.view.time_left_s

    @property
    def why_ended(self) -> str:
        """Why it is over, in a sentence."""
        return self._student.view.why_ended

    @property
    def data(self) -> Any:
        """What the lab's code keeps of the session, a dict that on_start, actions and on_dispose have, too."""
        return self._face.sessions.data(self._student.session_id)

    @property
    def readings(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What was read last, by instrument and name: "value", "unit" and "at" (Unix time, s), or "why" not."""
        look = self._face.sessions.look(self._student.session_id)
        return {each.name: each.readings for each in look.instruments}

    def set(self, instrument: str, control: str, value: Any) -> Any:
        """Set a control within its limits: what it reads since. Raises ServiceError: `message` says why not."""
        return self._face.sessions.set(self._student.session_id, instrument, control, value).read

    def do(self, instrument: str, action: str, **inputs: Any) -> None:
        """Have an instrument do something. Raises as `set`."""
        self._face.sessions.do(self._student.session_id, instrument, action, inputs)

    def act(self, action: str, **inputs: Any) -> Any:
        """Have an action of the lab's file called: what it gave. Raises as `set`."""
        return self._face.sessions.act(self._student.session_id, action, inputs).gave

    def start_task(self, task: str, **inputs: Any) -> TaskView:
        """Have a task of the lab's file started, whether or not it is offered to its people: it.

        Raises:
            AlreadyRunning: it is unique, and one runs.
            ServiceError: it can't be started; `message` says why.
        """
        return self._face.sessions.start_task(self._student.session_id, task, inputs, by_student=False)

    def tasks(self, name: str = "") -> list[TaskView]:
        """All tasks of the session, or those of this name; the oldest first."""
        return self._face.sessions.tasks(self._student.session_id, name)

    def task(self, task_id: str) -> TaskView:
        """One of them, as it is now. Raises UnknownTask."""
        return self._face.sessions.task(self._student.session_id, task_id)

    def stop_task(self, task_id: str) -> TaskView:
        """Tell a task to stop; one that goes on is ended. Raises UnknownTask."""
        return self._face.sessions.stop_task(self._student.session_id, task_id, by_student=False)

    def join_task(self, task_id: str, timeout: float) -> TaskView:
        """How a task stands once it has ended, or after so many seconds, for which this request waits."""
        return self._face.sessions.join_task(self._student.session_id, task_id, timeout)

    def leave(self) -> None:
        """End the session: the user has left."""
        self._face.sessions.leave(self._student.session_id)

    @property
    def form_key(self) -> str:
        """What each POST of a blueprint's page has to send as `form_key`, or as the header X-Form-Key."""
        return self._students.cookies.form_key(self._student.lab, self._student.nonce)


def _current() -> LabSession:
    current: LabSession = g.lab_session
    return current


session: Any = LocalProxy(_current)

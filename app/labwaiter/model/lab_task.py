"""Tasks: what a remote lab's code has done apart from its session's process, as executions of a built-in service.

A task has its process, its log and its record as any job, and a session of which it is: it uses the instruments through
the session's process, which has them, and ends with it. A service file can't declare it: its name is none that a
service may have.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parameter import Parameter
from .service import Service, parameter_of

NAME = "lab task"
PREFIX = "task-"  # of the serviceID, which is the task's id
GRACE, GRACE_MAX = 10.0, 600.0  # s from `stop()` until one that goes on is ended
KILL_AFTER = 2.0  # s from then, until what is left is killed
AT_ONCE = 20  # of one session that have not ended
KEPT = 500  # of one session in all
LARGEST = 1_000_000  # bytes of what one is given, gives, or keeps in its data
# in a session's folder: a file by each task's name, and the socket at which its process takes their calls
TASKS, LINE = "tasks", "tasks.line"
# in a task's folder: what its code keeps, what it gave, why it failed, and since when it is told to stop
DATA, RESULT, ERROR, STOP = "task-data.json", "task-result.json", "task-error.json", "stop"
UNIQUE = ("", "global", "user")


@dataclass(frozen=True)
class TaskDeclaration:
    """One task of a remote lab, as its file declares it."""

    name: str  # its function's
    doc: str = ""  # in words, for people
    unique: str = ""  # "global": one at a time in the whole lab; "user": one of each user
    grace: float = GRACE  # s from `stop()` until it is ended
    offered: bool = False  # the lab's people may start and stop it themselves
    inputs: tuple[Parameter, ...] = ()  # of one that is offered

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold of it, for `declaration_of`."""
        return vars(self) | {"inputs": [vars(parameter) for parameter in self.inputs]}


def declaration_of(data: Mapping[str, Any]) -> TaskDeclaration:
    """What `as_data` wrote down. Raises KeyError, TypeError, ValueError: it is none."""
    return TaskDeclaration(**{**data, "inputs": tuple(parameter_of(one) for one in data["inputs"])})


def new_id() -> str:
    """Of a task: the serviceID of its execution."""
    return f"{PREFIX}{uuid.uuid4().hex}"


def signature(file: Path) -> Service:
    """The service, as an execution of it is recorded.

    Args:
        file: the lab's.
    """
    return Service(
        name=NAME,
        namespace="urn:labwaiter:lab-task",
        operation="task",
        inputs=(
            Parameter("lab", "text"),
            Parameter("task", "text"),
            Parameter("session", "text"),  # its execution's folder
            Parameter("unique", "text", mandatory=False),  # the user's unique name
            Parameter("grace", "float", unit="s"),
            Parameter("call", "text"),  # what the function is called with, as JSON
        ),
        outputs=(),
        doc="A task of a session of a remote lab.",
        file=file,
        grace=KILL_AFTER,
        user="",
    )

"""Who may do what: the one place that every verb asks before it does anything."""

from __future__ import annotations

from enum import StrEnum

from ..errors import NotPermitted
from ..model.caller import Caller
from ..model.record import Record


class Action(StrEnum):
    """What can be done with executions and instruments, in the words of a refusal."""

    START = "start executions"
    SEE = "see executions"  # their status, record, page and log
    ABORT = "abort executions"
    NOTIFY = "send messages to executions"
    REMOVE = "remove executions"
    READ_FILES = "read files of executions"
    LIST_INSTRUMENTS = "list instruments"
    CHECK = "check instruments"
    RESERVE = "reserve instruments"
    RELEASE = "release instruments"
    MAKE_SAFE = "make instruments safe"


def may(caller: Caller, action: Action, target: Record | str) -> bool:
    """Whether a caller may do that. In this release whoever can call a verb may do all that it does.

    Of several polls within a second the first one alone asks (`soap/lane.py`, whose answers are kept by execution and
    public address): once this looks at the token, they are to be kept by that, too.

    Args:
        target: the execution's record; its serviceID, where there is no record yet or it can't be read; its folder's
            name, for its files; an instrument's name; "" for all of them.
    """
    return True


def permit(caller: Caller, action: Action, target: Record | str = "") -> None:
    """Raises NotPermitted where a caller may not do that."""
    if not may(caller, action, target):
        raise NotPermitted(f"You may not {action} here.")

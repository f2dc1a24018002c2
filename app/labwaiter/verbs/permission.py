"""Who may do what: the one place that every verb asks before it does anything."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ..errors import NotPermitted
from ..model.caller import Caller, Identity, Role
from ..model.record import Request, Tombstone
from ..model.sentences import N_


class Action(StrEnum):
    """What can be done with executions and instruments, in the words of a refusal."""

    START = N_("start executions")
    SEE = N_("see executions")  # their status, record, page and log
    ABORT = N_("abort executions")
    NOTIFY = N_("send messages to executions")
    REMOVE = N_("remove executions")
    READ_FILES = N_("read files of executions")
    LIST_SCHEDULES = N_("list schedules")
    LIST_MACHINES = N_("list machines")
    LIST_INSTRUMENTS = N_("list instruments")
    CHECK = N_("check instruments")
    RESERVE = N_("reserve instruments")
    RELEASE = N_("release instruments")
    MAKE_SAFE = N_("make instruments safe")
    STOP = N_("stop instruments")
    TAKE = N_("take instruments in hand")
    RELEASE_ANOTHERS = N_("let go instruments that somebody else has in hand")
    LIST_LABS = "list remote labs"
    LET_IN = "let people into remote labs"  # a session: begin it, ask for it, end it
    MAINTAIN = N_("take instruments out of service")


_LISTS = frozenset({Action.LIST_SCHEDULES, Action.LIST_MACHINES, Action.LIST_INSTRUMENTS, Action.LIST_LABS})
_LOOKS = _LISTS | {Action.SEE, Action.READ_FILES}
_OF_USERS = _LOOKS | {Action.START, Action.ABORT, Action.NOTIFY, Action.REMOVE, Action.MAKE_SAFE, Action.STOP}
_BY_PAGES_KEY = frozenset({Action.SEE, Action.ABORT, Action.NOTIFY})  # what the page itself shows, and its buttons
_OF_NOBODY = _LISTS | {Action.START, Action.MAKE_SAFE, Action.STOP}  # no owner is asked for


def may(caller: Caller, action: Action, target: Request | Tombstone | str = "") -> bool:
    """Whether a caller may do that. Nobody may who hasn't been identified, or has an execution's page's key.

    Operators and administrators may do all, but for what somebody else has in hand: that is theirs until it is let go,
    STOPped or taken by an administrator. A user may start executions, do everything with those of the own project
    (with the own ones alone, where OWNER=user) and make any instrument safe and STOP it; a guest may only look, at
    those of the own project, or at all where GUESTS=on lets whoever comes look.

    Args:
        target: the execution's request or tombstone, which says whose it is; its serviceID or its folder's name, where
            that can't be read or there is none yet; an instrument's name; "" for all of them.
    """
    if caller.steers:
        return action in _BY_PAGES_KEY and isinstance(target, Request) and target.service_id == caller.steers
    return caller.identity is not None and allows(caller.identity, action, target)


def allows(identity: Identity, action: Action, target: Request | Tombstone | str = "") -> bool:
    """As `may`, of somebody who has been identified."""
    if identity.role in (Role.OPERATOR, Role.ADMINISTRATOR):
        return action is not Action.RELEASE_ANOTHERS or identity.role is Role.ADMINISTRATOR
    if action not in (_LOOKS if identity.role is Role.GUEST else _OF_USERS):
        return False
    if identity.sees_all:
        return True
    if isinstance(target, Request | Tombstone):
        return is_owner(identity, target)
    return action in _OF_NOBODY


def usually(identity: Identity) -> list[Action]:
    """What somebody may do, with executions of its own where not with all."""
    own = Request("", "", {}, user=identity.user, project=identity.project or "-", authority=identity.authority)
    with_one = replace(identity, project=identity.project or "-")
    return [action for action in Action if allows(identity, action) or allows(with_one, action, own)]


def is_owner(identity: Identity, execution: Request | Tombstone) -> bool:
    """Whether an execution belongs to somebody: to the project, or to the user where only users own."""
    if not identity.project or (execution.authority, execution.project) != (identity.authority, identity.project):
        return False
    return execution.user == identity.user or not identity.owns_alone


def permit(caller: Caller, action: Action, target: Request | str = "") -> None:
    """Raises NotPermitted where a caller may not do that."""
    if not may(caller, action, target):
        raise NotPermitted(f"You may not {action} here.")

"""What somebody does is remembered: a line in the audit file, and one in the log, whoever it is and by whichever face.

What begins something new (a start, a message, a reservation) is refused where the audit can't be written. What ends,
frees or makes safe goes on all the same: a full disk keeps no heater on.
"""

from __future__ import annotations

import logging
import os
import pwd
from typing import Any

from ..errors import Unavailable
from ..model.caller import Caller
from ..settings import Settings
from ..store.audit import PATIENCE, SHORT_PATIENCE, Audit
from ..store.folder import Folder
from ..system.logs import tell

log = logging.getLogger("labwaiter.acts")


def account() -> str:
    """The account by which this process runs; by whom, where sudo knows."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    by = os.environ.get("SUDO_USER", "")
    return f"{name}, for {by}" if by and by != name else name


def who(caller: Caller) -> dict[str, str]:
    """Who acts, and by which face: what is remembered of a caller."""
    identity = caller.identity
    known = {"face": caller.face, "address": caller.address}
    if identity is not None:
        known |= {"user": identity.user, "project": identity.project, "role": str(identity.role)}
        known["authority"] = identity.authority
    if caller.machine:
        known["machine"] = caller.machine
    elif not caller.address:  # somebody of this machine
        known["account"] = account()
    return known


class Acts:
    """Remembers acts. Thread-safe, cheap to make."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._audit = Audit(settings.layout)
        self._missing = 0  # acts that went on though the audit could not be written, since it last could

    def begin(self, act: str, caller: Caller, about: dict[str, Any], durable: bool = False) -> None:
        """Remember what is about to begin. Raises Unavailable: it can't be, so it may not begin."""
        try:
            try:
                self._write(act, durable, about | who(caller))
            except FileNotFoundError:  # the first act of this folder
                Folder(self._settings.jobs_folder).make(self._settings.jobs_mode)
                self._write(act, durable, about | who(caller))
        except OSError as error:
            log.exception("%s is refused: the audit can't be written", act)
            why = error.strerror or "another program holds it"
            raise Unavailable(
                f"This is not done, for it could not be remembered who did it: the audit file can't be written ({why})."
                " Tell the administrator."
            ) from error

    def go_on(self, act: str, caller: Caller, about: dict[str, Any], durable: bool = False) -> None:
        """Remember what ends, frees or makes safe, which nothing may hold up."""
        try:
            self._write(act, durable, about | who(caller), SHORT_PATIENCE)
        except FileNotFoundError:
            log.warning("%s is remembered nowhere: there is no jobs folder yet", act)
        except OSError:
            self._missing += 1
            log.exception("%s goes on, but the audit can't be written", act)

    def _write(self, act: str, durable: bool, about: dict[str, Any], patience: float = PATIENCE) -> None:
        if self._missing:
            about = about | {"missing_before": self._missing}
        self._audit.add(act, durable=durable, patience=patience, **about)
        self._missing = 0

    @staticmethod
    def tell(act: str, caller: Caller, about: dict[str, Any]) -> None:
        """Have a line in the log: what came of it. A script knows what it does, and its log is its own."""
        if caller.face != "python":
            known = {name: value for name, value in who(caller).items() if name != "role"}
            tell(log, act, **about, **known)

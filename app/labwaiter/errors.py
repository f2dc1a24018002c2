"""Everything a caller can be told is wrong, on one screen, sorted by what the caller can do.

A face translates these and adds nothing: SOAP writes ``faultcode`` from `side`, and `code` and
the message into ``<ServiceFault>``; the shell prints the message. A message is one sentence or
two for the person who reads it: what was wrong, what to do. Never a path, a token or Python's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .model.caller import Identity
    from .model.record import Tombstone


class ServiceError(Exception):
    """Base of all that a caller can be told. `code` is the contract's errorCode."""

    code = "Unavailable"
    side = "Server"

    @property
    def message(self) -> str:
        """The sentence for the caller."""
        return str(self.args[0]) if self.args else self.code

    @property
    def reason(self) -> str:
        """What of its code it is, in a word, for the metrics: one of few, and nothing that a caller has written."""
        return type(self).__name__


# -- The caller mends the call. ---------------------------------------------------------------


class ClientError(ServiceError):
    """The call itself is wrong: the same call again fails again. `input` is the one that it is about, if it is one."""

    side = "Client"
    input = ""

    def of(self, name: str) -> Self:
        """The same error, about the input of that name."""
        self.input = name
        return self


class MissingParameter(ClientError):
    """A mandatory input is missing, nil, empty or blank."""

    code = "MissingParameter"


class InvalidParameter(ClientError):
    """An input has the wrong type, is out of range or no choice, or the request can't be read."""

    code = "InvalidParameter"


class NotInHand(InvalidParameter):
    """Nobody has that instrument in hand, so nothing can be set there; the message says how it stands."""


class UnknownLab(InvalidParameter):
    """There is no remote lab of that name."""


class SessionOver(InvalidParameter):
    """A session isn't running, so nothing can be set or done in it; the message says why."""


class UnknownServiceID(ClientError):
    """Nothing was started under this serviceID, or retention has removed it."""

    code = "UnknownServiceID"


class Removed(UnknownServiceID):
    """Retention has removed it: for whom it belonged to. `tombstone` says who that is."""

    def __init__(self, message: str, tombstone: Tombstone) -> None:
        super().__init__(message)
        self.tombstone = tombstone


class UnknownSession(UnknownServiceID):
    """No session has that id, or it has ended so long ago that nothing is told of it."""


class UnknownTask(UnknownServiceID):
    """The session has no such task, or its lab declares none of that name."""


class ServiceIDInUse(ClientError):
    """The serviceID belongs to another execution: another service, or other inputs."""

    code = "ServiceIDInUse"


class TokenValidationFailed(ClientError):
    """The sessionToken isn't accepted."""

    code = "TokenValidationFailed"


class TokenExpired(TokenValidationFailed):
    """It was good until it ran out: whoever polls by it is there all the same. `identity` says whose it was."""

    def __init__(self, message: str, identity: Identity) -> None:
        super().__init__(message)
        self.identity = identity


class NotPermitted(ClientError):
    """The token is good, but its user may not do this."""

    code = "NotPermitted"


class UnknownInstrument(ClientError):
    """An instrument input names nothing in lab.toml, or something of another kind."""

    code = "UnknownInstrument"


# -- The caller tries again later, or asks the administrator. ---------------------------------


class TooManyJobs(ServiceError):
    """As many executions run and wait as may. Nothing was recorded, so the same start may be tried again."""

    code = "TooManyJobs"


class TooManyOfProject(TooManyJobs):
    """Likewise, of one project."""


class TooManyOfUser(TooManyJobs):
    """Likewise, of one user."""


class StartsTooFast(TooManyJobs):
    """One user has started too many within a minute."""


class Unavailable(ServiceError):
    """This service, or the whole deployment, can't serve now; the message says why."""

    code = "Unavailable"


class DiskFull(Unavailable):
    """The disk takes no new execution: it is nearly full, can't be written, or the executions may hold no more."""


class ManagerAway(Unavailable):
    """The authentication manager doesn't say whether the sessionToken is good."""


class InstrumentInUse(Unavailable):
    """Somebody else has that instrument; the message says who."""


class LabClosed(Unavailable):
    """Nobody can be let into that remote lab now; the message says why."""


class AlreadyRunning(Unavailable):
    """A task that is there once at a time, of the lab or of a user, is running already."""


class NotInTime(InstrumentInUse):
    """A session could not begin in the time that its caller waits: somebody else has what it needs."""


class Incident(Unavailable):
    """We have met an error of our own."""


def internal(incident: str) -> str:
    """What a caller hears of our own mistakes; the log has the rest under that name."""
    return f"The service has met an error of its own; the administrator finds it in the log as {incident}."


# -- The execution itself came to a bad end: told after its page was shown. --------------------


class JobFailed(ServiceError):
    """The job ended as failed. Raised only after the caller had the page that says why."""

    code = "JobFailed"


class SessionFailed(JobFailed):
    """A session could not begin: its instrument can't be opened, or its lab's on_start failed. It was put away."""


class JobAborted(ServiceError):
    """The job was aborted. Raised only after the caller had the page that says so."""

    code = "JobAborted"


# -- For those who write service files and run deployments, never on the wire. -----------------


class Misconfigured(Exception):
    """A setting or a service file is wrong; the message says which and how to mend it."""

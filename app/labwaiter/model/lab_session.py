"""Sessions: a person from elsewhere has a remote lab for a time, as an execution of a built-in service.

So its lease, its process, its guard and its record are those of a job, and it waits in the jobs' queue. A service file
can't declare it: its name is none that a service may have. Its serviceID is made of the session's id, and not the other
way round: who may see executions can't become the student.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .parameter import Parameter
from .record import Request
from .service import Service

NAME = "lab session"
SHORTEST, LONGEST = 1.0, 12 * 3600.0  # s that one may last
SPARE = 30.0  # s after which the supervisor ends what should have ended by itself
OPENS_SECONDS = 330.0  # that its instruments may take to open: lab.toml's settle may be 300
ON_INSTRUMENT = "instrument "  # what the input that names one begins with
SESSION, READINGS = "session.json", "readings.json"  # in its data/: how it began, and what was read last
FILES = "files"  # in its data/: what its student may take home
RECORDED = "readings.csv"  # among these: all that was read, a row each second
RESULTS_MAX = 5  # of the lab's actions that are told, the last ones
DATA = "session-data.json"  # in its folder: what the lab's code keeps of it
# in its folder: that on_dispose is to be run, written before on_start; who is at it; and that it was run
DISPOSE, DISPOSING, DISPOSED = "dispose.json", "disposing.json", "disposed.json"
ENDED_BY = "ended-by.txt"  # in its folder: why it was ended, where somebody wanted that
ABOUT_MAX = 200_000  # characters of what a calling system says of one


@dataclass(frozen=True)
class About:
    """Whose session it is to be, and when: as the calling system says it."""

    username: str = ""
    unique: str = ""  # the user's name that no other user of any system has
    full_name: str = ""
    locale: str = ""
    length_s: float = 300.0
    start: float = 0.0  # Unix time (s) at which its time began; 0: now
    back: str = ""  # the address to which its user goes afterwards
    client_data: dict[str, Any] = field(default_factory=dict)
    server_data: dict[str, Any] = field(default_factory=dict)
    category: str = ""
    experiment: str = ""
    initialization_in_accounting: bool = True  # on_start's time counts
    reservation_id: str = ""

    def as_json(self) -> str:
        """As a text, for `about_of`."""
        return json.dumps(asdict(self))


def about_of(text: str) -> About:
    """What `About.as_json` wrote. Raises ValueError, TypeError, AttributeError: it is none."""
    known = {each.name for each in fields(About)}
    return About(**{name: value for name, value in json.loads(text).items() if name in known})


def service_id_of(session_id: str) -> str:
    """The serviceID of a session's execution."""
    return "session-" + hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()[:40]


def signature(instruments: Mapping[str, str], seconds: float, file: Path) -> Service:
    """The service, as an execution of it is recorded.

    Args:
        instruments: of lab.toml, by the lab's names for them.
        seconds: which it may last at most, with its beginning.
        file: the lab's.
    """
    own = tuple(Parameter(ON_INSTRUMENT + name, "instrument") for name in instruments)
    return Service(
        name=NAME,
        namespace="urn:labwaiter:lab-session",
        operation="session",
        inputs=(
            Parameter("lab", "text"),
            Parameter("holder", "text"),
            Parameter("seconds", "float", unit="s"),
            Parameter("unattended", "float", unit="s", mandatory=False),
            Parameter("wanted_until", "float", unit="s"),
            Parameter("about", "text"),
            *own,
        ),
        outputs=(),
        doc="A remote lab in somebody's hands.",
        file=file,
        limit=seconds + SPARE,
        user="",
    )


def unattended_of(request: Request) -> float | None:
    """Seconds without a sign of life after which a session is ended; None: never."""
    seconds = request.inputs.get("unattended")
    return float(seconds) if isinstance(seconds, int | float) else None


def instruments_of(request: Request) -> dict[str, str]:
    """The instruments of a session, by its lab's names for them."""
    found = {name: value for name, value in request.inputs.items() if name.startswith(ON_INSTRUMENT)}
    return {name.removeprefix(ON_INSTRUMENT): str(value) for name, value in found.items()}

"""Direct control: an instrument in the hands of a holder that is no service's work, as an execution.

Whoever takes an instrument starts an execution of this built-in service: so its lease, its process, its guard and its
record are those of a job, and whatever ends one ends it. It serves what its holder asks (`runner/holding.py`), as long
as somebody asks. A service file can't declare it: its name is none that a service may have.
"""

from __future__ import annotations

from pathlib import Path

from .parameter import Parameter
from .service import Service

NAME = "direct control"
# s in which its holder has asked nothing, after which it is ended: pages ask each second, and may be held up
UNATTENDED = 15.0
LONGEST = 12 * 3600.0  # s that one may be had at a time
SPARE = 30.0  # s after which the supervisor ends what should have ended by itself
PANEL, READINGS = "panel.json", "readings.json"  # in its data/: what the driver declares, and what was read last


def signature(seconds: float = LONGEST) -> Service:
    """The service, as its executions are recorded; `seconds`: how long this one may last."""
    return Service(
        name=NAME,
        namespace="urn:labwaiter:direct-control",
        operation="take",
        inputs=(
            Parameter("instrument", "instrument"),
            Parameter("holder", "text"),
            Parameter("seconds", "float", low=1.0, high=LONGEST, unit="s"),
        ),
        outputs=(),
        doc="An instrument in somebody's hands.",
        file=Path(NAME),
        limit=seconds + SPARE,
        user="",
    )

"""labwaiter: anything that takes longer than an HTTP request, as an asynchronous SOAP service.

What a service file needs is here; see `service` for the smallest one. `Client` is for scripts.
"""

from typing import TYPE_CHECKING, Any

from .errors import AlreadyRunning, InvalidParameter, JobFailed
from .model.parameter import Driver, Length, Range, Seconds, Suffix, Unit, hours, minutes
from .model.program import Command, Script
from .model.service import Outputs, service
from .runner.job import Job
from .runner.results import json_value, last_line, printed_value, text_in, text_of
from .runner.stop import Aborted

if TYPE_CHECKING:
    from .client import Client
    from .model.remote_lab import Lab

__version__ = "0.4.0"

__all__ = [
    "Aborted",
    "AlreadyRunning",
    "Client",
    "Command",
    "Driver",
    "InvalidParameter",
    "Job",
    "JobFailed",
    "Lab",
    "Length",
    "Outputs",
    "Range",
    "Script",
    "Seconds",
    "Suffix",
    "Unit",
    "hours",
    "json_value",
    "last_line",
    "minutes",
    "printed_value",
    "service",
    "text_in",
    "text_of",
]


_LATER = {"Client": ".client", "Lab": ".model.remote_lab"}


def __getattr__(name: str) -> Any:
    """What services and their runners have no use for is imported when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"labwaiter has no {name}")
    import importlib

    return getattr(importlib.import_module(_LATER[name], __name__), name)

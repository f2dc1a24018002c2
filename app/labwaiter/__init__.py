"""labwaiter: anything that takes longer than an HTTP request, as an asynchronous SOAP service.

What a service file needs is here; see `service` for the smallest one. `Client` is for scripts.
"""

from typing import TYPE_CHECKING, Any

from .errors import InvalidParameter, JobFailed
from .model.parameter import Driver, Length, Range, Seconds, Suffix, Unit, hours, minutes
from .model.program import Command, Script
from .model.service import Outputs, service
from .runner.job import Job
from .runner.results import json_value, last_line, printed_value, text_in, text_of
from .runner.stop import Aborted

if TYPE_CHECKING:
    from .client import Client

__version__ = "0.4.0"

__all__ = [
    "Aborted",
    "Client",
    "Command",
    "Driver",
    "InvalidParameter",
    "Job",
    "JobFailed",
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


def __getattr__(name: str) -> Any:
    """`Client` is imported when it is asked for: services and their runners have no use for it."""
    if name != "Client":
        raise AttributeError(f"labwaiter has no {name}")
    import importlib

    return importlib.import_module(".client", __name__).Client

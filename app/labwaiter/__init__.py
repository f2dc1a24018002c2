"""labwaiter: anything that takes longer than an HTTP request, as an asynchronous SOAP service.

What a service file needs is here; see `service` for the smallest one. `Client` is for scripts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .errors import AlreadyRunning, InvalidParameter, JobFailed
    from .model.parameter import Driver, Length, Range, Seconds, Suffix, Unit, hours, minutes
    from .model.program import Command, Script
    from .model.remote_lab import Lab
    from .model.service import Outputs, service
    from .runner.job import Job
    from .runner.results import json_value, last_line, printed_value, text_in, text_of
    from .runner.stop import Aborted

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


# module → what service files import of it
_OF_SERVICES = {
    "errors": ("AlreadyRunning", "InvalidParameter", "JobFailed"),
    "model.parameter": ("Driver", "Length", "Range", "Seconds", "Suffix", "Unit", "hours", "minutes"),
    "model.program": ("Command", "Script"),
    "model.service": ("Outputs", "service"),
    "runner.job": ("Job",),
    "runner.results": ("json_value", "last_line", "printed_value", "text_in", "text_of"),
    "runner.stop": ("Aborted",),
}
_LATER = {"Client": ".client", "Lab": ".model.remote_lab"}  # and what few of them do


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: a command has no use for a job, nor a service for `Client` or `Lab`.

    What service files import comes at once, all of it, and is then as if it had been imported above.
    """
    import importlib

    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name], __name__), name)
    if name not in __all__:
        raise AttributeError(f"labwaiter has no {name}")
    for module, names in _OF_SERVICES.items():
        found = importlib.import_module(f".{module}", __name__)
        globals().update({each: getattr(found, each) for each in names})
    return globals()[name]

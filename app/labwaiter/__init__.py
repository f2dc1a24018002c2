"""labwaiter: anything that takes longer than an HTTP request, as an asynchronous SOAP service.

What a service file needs is here; see `service` for the smallest one.
"""

from .errors import InvalidParameter, JobFailed
from .parameter import Driver, Length, Range, Seconds, Suffix, Unit, hours, minutes
from .program import Command, Script
from .runner.job import Aborted, Job
from .service import Outputs, service

__version__ = "0.3.0"

__all__ = [
    "Aborted",
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
    "minutes",
    "service",
]

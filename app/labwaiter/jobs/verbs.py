from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..record import Record, View
from ..service import Service
from ..settings import Settings


@dataclass(frozen=True)
class Status:
    """The answer to start and getServiceStatus, before a face gives it its form."""

    view: View  # what the page is made of
    completed: bool  # then the word COMPLETED stands instead of the page
    outputs: dict[str, Any]  # the real ones when completed, else placeholders, in the signature's order


class Jobs:
    """The verbs over the jobs folder of this deployment. Thread-safe, cheap to make."""

    def __init__(self, settings: Settings) -> None: ...

    def start(self, service: Service, service_id: str, given: dict[str, Any],
              extra_parameters: str | None = None, user: str = "") -> Status:
        """Record and queue an execution, or find the same one again.

        Args:
            given: input name → value or text as the caller wrote it; None or absent: its default.

        Raises:
            MissingParameter, InvalidParameter: an input (or a blank serviceID) is refused.
            ServiceIDInUse: the serviceID has another service or other inputs.
            TooManyJobs: the queue is full.
            Unavailable: the deployment is being stopped, or its disk is full.
            JobFailed, JobAborted: as `status`, for a repeated start.
        """

    def status(self, service: Service, service_id: str) -> Status:
        """How an execution is going.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            JobFailed, JobAborted: it came to a bad end, and its page has been shown for 20 s.
        """

    def abort(self, service: Service, service_id: str, wait: float = 7.5) -> bool:
        """Have an execution stopped: True once it is gone, False if the stop goes on by itself.

        Raises:
            UnknownServiceID.
        """

    def notify(self, service: Service, service_id: str, message: str, wait: float = 1.0) -> str:
        """Hand a message to the job: its reply, or the message's number if none comes in `wait` s.

        Raises:
            UnknownServiceID; InvalidParameter: the message is too long, or there are too many.
        """

    def list(self) -> list[Record]:
        """Every execution on disk, oldest first."""

"""The four operations of every service, over the verbs: texts in, texts out."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from ..errors import MissingParameter
from ..jobs import Jobs, Status
from ..page import render
from ..parameter import text_of
from ..public import HERE
from ..record import View
from ..service import Service

log = logging.getLogger("labwaiter.soap")
STATUS, ABORT, NOTIFY = "getServiceStatus", "abortService", "notifyService"
COMPLETED, UNCHANGED = "COMPLETED", "UNCHANGED"
UNCHANGED_SECONDS = 60.0
Texts = dict[str, str | None]


def signatures(service: Service) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Operation → the names of its inputs and of its outputs, in the contract's order."""
    outputs = ("status_base64", *(p.name for p in service.outputs))
    own = tuple(p.name for p in service.inputs)
    return {
        service.operation: (("serviceID", "sessionToken", *own, "extraParameters"), outputs),
        STATUS: (("serviceID", "sessionToken"), outputs),
        ABORT: (("serviceID", "sessionToken"), ("success",)),
        NOTIFY: (("sessionToken", "serviceID", "message"), ("response",)),
    }


class Operations:
    """One service's operations. Each takes what the caller gave and returns the outputs' texts."""

    def __init__(self, service: Service, jobs: Jobs) -> None:
        self.service, self.jobs = service, jobs
        self._seen = Seen()
        self._by_name: dict[str, Callable[[Texts], list[str]]] = {
            service.operation: self.start,
            STATUS: self.status,
            ABORT: self.abort,
            NOTIFY: self.notify,
        }

    def call(self, operation: str, texts: Texts) -> list[str]:
        """Carry one out. Raises errors.ServiceError."""
        return self._by_name[operation](texts)

    def start(self, texts: Texts) -> list[str]:
        """The start operation."""
        service_id, token = mandatory(texts, "serviceID"), mandatory(texts, "sessionToken")
        own = {p.name: texts.get(p.name) for p in self.service.inputs}
        answer = self.jobs.start(self.service, service_id, own, texts.get("extraParameters"), address=HERE.get())
        log.info("%s: start %r", self.service.name, service_id)
        return self._outputs(answer, service_id, token)

    def status(self, texts: Texts) -> list[str]:
        """getServiceStatus."""
        service_id, token = mandatory(texts, "serviceID"), mandatory(texts, "sessionToken")
        return self._outputs(self.jobs.status(self.service, service_id), service_id, token)

    def abort(self, texts: Texts) -> list[str]:
        """abortService."""
        service_id, _ = mandatory(texts, "serviceID"), mandatory(texts, "sessionToken")
        gone = self.jobs.abort(self.service, service_id)
        log.info("%s: abort %r: %s", self.service.name, service_id, gone)
        return [text_of(gone)]

    def notify(self, texts: Texts) -> list[str]:
        """notifyService."""
        mandatory(texts, "sessionToken")
        service_id, message = mandatory(texts, "serviceID"), mandatory(texts, "message")
        response = self.jobs.notify(self.service, service_id, message)
        log.info("%s: message for %r", self.service.name, service_id)
        return [response]

    def _outputs(self, answer: Status, service_id: str, token: str) -> list[str]:
        outputs = [text_of(value) for value in answer.outputs.values()]
        if answer.completed:
            return [COMPLETED, *outputs]
        if self.service.unchanged and self._seen.before(answer.view, service_id, token):
            return [UNCHANGED, *outputs]
        files_at = HERE.get() + self.jobs.exchange.link(answer.view.record.name) if answer.view.files else ""
        page = render(answer.view, self.service, files_at)
        return [base64.b64encode(page.encode("utf-8", "replace")).decode(), *outputs]


def mandatory(texts: Texts, name: str) -> str:
    """A text that must be there. Raises MissingParameter."""
    text = texts.get(name)
    if text is None or not text.strip():
        raise MissingParameter(f"The input {name} is missing: give it a value.")
    return text


class Seen:
    """Which page this worker sent to whom in the last minute, for services that ask for UNCHANGED."""

    LARGEST = 10_000  # callers remembered

    def __init__(self) -> None:
        self._sent: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._turn = threading.Lock()

    def before(self, view: View, service_id: str, token: str) -> bool:
        """Whether this very page was the last that was sent to this caller, within a minute."""
        caller = hashlib.sha256(f"{len(service_id)} {service_id}{token}".encode("utf-8", "replace")).digest()
        revision = hashlib.sha256(repr(replace(view, now=0.0)).encode("utf-8", "replace")).digest()
        now = time.monotonic()
        with self._turn:
            known = self._sent.get(caller)
            if known is not None and known[0] == revision and now - known[1] < UNCHANGED_SECONDS:
                return True
            self._sent[caller] = (revision, now)
            self._sent.move_to_end(caller)
            if len(self._sent) > self.LARGEST:
                self._sent.popitem(last=False)
            return False

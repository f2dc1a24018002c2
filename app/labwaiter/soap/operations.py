"""The operations of every service (`contract`), over the verbs: texts in, texts out."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from ..errors import InvalidParameter, MissingParameter, ServiceError, Unavailable
from ..model.caller import Caller
from ..model.contract import EXTRA_PARAMETERS, MESSAGE, SERVICE_ID
from ..model.parameter import TEXT_MAX, text_of
from ..model.record import View
from ..model.service import Service
from ..page import Page, language_of
from ..page.words import named, printable
from ..verbs import Jobs, Status

COMPLETED, UNCHANGED = "COMPLETED", "UNCHANGED"
UNCHANGED_SECONDS = 60.0
Texts = dict[str, str | None]


class BeganOtherwise(ServiceError):
    """An execution began with another signature than these operations': its answers have another form. Never told."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.name)
        self.service = service


class Operations:
    """One service's operations. Each takes what the caller gave and returns the outputs' texts."""

    def __init__(self, service: Service, jobs: Jobs, refusal: Callable[[], str] = str) -> None:
        """
        Args:
            refusal: why nothing new of this service can be started now; "" where it can.
        """
        self.service, self.jobs, self._refusal = service, jobs, refusal
        self._sent_pages = SentPages()
        self._by_name: dict[str, Callable[[Texts, Caller], list[str]]] = {
            name: getattr(self, operation.method) for name, operation in service.operations.items()
        }

    def call(self, operation: str, texts: Texts, caller: Caller) -> list[str]:
        """Carry one out. Raises errors.ServiceError, BeganOtherwise.

        Args:
            caller: with the token, which whoever made it has seen to be there.
        """
        return self._by_name[operation](texts, caller)

    def start(self, texts: Texts, caller: Caller) -> list[str]:
        """The start operation."""
        service_id = mandatory(texts, SERVICE_ID.name)
        own = {p.name: texts.get(p.name) for p in self.service.inputs}
        bounded(texts, EXTRA_PARAMETERS.name)
        extra, refusal = texts.get(EXTRA_PARAMETERS.name), self._refusal()
        answer = self.jobs.start(self.service, service_id, own, caller, extra, refusal)
        return self._page_and_outputs(answer, service_id, caller)[1]

    def status(self, texts: Texts, caller: Caller) -> list[str]:
        """getServiceStatus."""
        return self.status_and_page(texts, caller)[2]

    def status_and_page(self, texts: Texts, caller: Caller) -> tuple[Status, Page | None, list[str]]:
        """As `status`, before it what that was made of; None for the page where a bare word stands in its place."""
        service_id = mandatory(texts, SERVICE_ID.name)
        status = self.jobs.status(self.service, service_id, caller)
        return (status, *self._page_and_outputs(status, service_id, caller))

    def abort(self, texts: Texts, caller: Caller) -> list[str]:
        """abortService."""
        service_id = mandatory(texts, SERVICE_ID.name)
        gone = self.jobs.abort(self.service, service_id, caller)
        return [text_of(gone)]

    def notify(self, texts: Texts, caller: Caller) -> list[str]:
        """notifyService."""
        service_id, message = mandatory(texts, SERVICE_ID.name), mandatory(texts, MESSAGE.name)
        response = self.jobs.notify(self.service, service_id, message, caller)
        return [response]

    def _page_and_outputs(self, answer: Status, service_id: str, caller: Caller) -> tuple[Page | None, list[str]]:
        if answer.service is not self.service and answer.service.form != self.service.form:
            raise BeganOtherwise(answer.service)
        files = {p.name for p in answer.service.outputs if p.kind == "file"}
        outputs = [named(value) if name in files else text_of(value) for name, value in answer.outputs.items()]
        if answer.completed:
            return None, [COMPLETED, *outputs]
        if answer.service.unchanged and self._sent_pages.before(answer.view, service_id, caller.token):
            return None, [UNCHANGED, *outputs]
        files_at = ""
        if answer.view.files:
            with contextlib.suppress(Unavailable):  # without links.key the page says all but where they are
                files_at = caller.public_url + self.jobs.artifacts.link(answer.view.record.name)
        language = language_of(answer.view.record.request, self.jobs.settings.page_language)
        buttons = self.jobs.buttons(answer.view, answer.service, caller)
        page = Page(answer.view, answer.service, files_at, language, buttons)
        return page, [base64.b64encode(printable(page.text).encode()).decode(), *outputs]


def mandatory(texts: Texts, name: str) -> str:
    """A text that must be there. Raises MissingParameter."""
    text = texts.get(name)
    if text is None or not text.strip():
        raise MissingParameter(f"The input {name} is missing: give it a value.")
    bounded(texts, name)
    return text


def bounded(texts: Texts, name: str) -> None:
    """Refuse a text that is longer than texts may be. Raises InvalidParameter."""
    count = len(texts.get(name) or "")
    if count > TEXT_MAX:
        raise InvalidParameter(f"The input {name} must be at most {TEXT_MAX} characters, not {count} characters.")


class SentPages:
    """Which page this worker sent to whom in the last minute, for services that ask for UNCHANGED."""

    LARGEST = 10_000  # callers remembered

    def __init__(self) -> None:
        self._sent: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._turn = threading.Lock()

    def before(self, view: View, service_id: str, token: str) -> bool:
        """Whether this very page was the last that was sent to this caller, within a minute."""
        caller = hashlib.sha256(f"{len(service_id)} {service_id}{token}".encode("utf-8", "replace")).digest()
        revision = hashlib.sha256(repr(replace(view, now=0.0, ran=None)).encode("utf-8", "replace")).digest()
        now = time.monotonic()
        with self._turn:
            sent = self._sent.get(caller)
            if sent is not None and sent[0] == revision and now - sent[1] < UNCHANGED_SECONDS:
                return True
            self._sent[caller] = (revision, now)
            self._sent.move_to_end(caller)
            if len(self._sent) > self.LARGEST:
                self._sent.popitem(last=False)
            return False

"""The SOAP services of a deployment as a WSGI application: which address, which method, which answer."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from .. import public
from ..authentication.authenticator import Authenticator
from ..catalogue.catalogue import Catalogue, WatchedCatalogue
from ..errors import ManagerAway, ServiceError, TokenExpired, Unavailable, UnknownServiceID
from ..model.caller import Caller
from ..model.contract import EXTRA_PARAMETERS, SERVICE_ID, SESSION_TOKEN, STATUS, extra_parameters
from ..model.service import Service
from ..settings import Settings
from ..store.figures import WebFigures
from ..system.process import boot_clock
from ..verbs import Jobs
from ..verbs.permission import allows
from ..verbs.refusals import Refusals, wait_out_the_slot
from . import faults, wsdl
from .binding import Answers
from .door import Call, envelope_in, parse, read_body, service_id_in, spoken_namespace
from .faults import Answer, Refused, fault, of_poll
from .lane import (
    ANSWER_MAX,
    COMPARED_TIMES,
    Forms,
    KeptAnswer,
    KeptAnswers,
    Lane,
    Place,
    Poll,
    is_plain,
    may_be_kept,
    page_is_for,
)
from .operations import BeganOtherwise, Operations, mandatory

log = logging.getLogger("labwaiter.soap")
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
NO_ADDRESS = (
    "The request doesn't say how this deployment is reached: send a Host header with a name or address,"
    " or have PUBLIC_URL set here."
)
_ALLOW = (("Allow", "GET, HEAD, OPTIONS, POST"),)
_ADDRESS = re.compile(r"/(?:([A-Za-z][A-Za-z0-9_]*)/)?([A-Za-z][A-Za-z0-9_]*)(?:\.wsdl)?", re.IGNORECASE)
_PAGES = ("health", "ready", "metrics")  # not worth a look whether a file has come that offers it
POLL_MAX = 16_384  # bytes of a call that is parsed when it is its turn
OTHERS_MAX = 100  # endpoints of signatures that are no longer offered, as their executions began with them


class Endpoint:
    """One service at its addresses, as one signature has it."""

    def __init__(self, service: Service, soap: Soap, refusal: Callable[[], str]) -> None:
        """
        Args:
            refusal: why nothing new can be started by this signature; "" where it can.
        """
        self.service, self._soap = service, soap
        self.operations = Operations(service, soap.jobs, refusal)
        self.inputs = {name: operation.names()[0] for name, operation in service.operations.items()}
        self.forms = Forms(service.namespace, self.inputs)
        self._kept = KeptAnswers()
        self._turn = threading.Lock()
        self._made: tuple[Answers, bytes] | None = None

    @property
    def made(self) -> tuple[Answers, bytes]:
        """The form of its answers and the WSDL's template, made when first asked for: some milliseconds a service."""
        if self._made is None:
            with self._turn:
                if self._made is None:
                    self._made = Answers(self.service), wsdl.template(self.service)
        return self._made

    def wsdl(self, address: str) -> Answer:
        """The WSDL of this service at `address`."""
        return Answer("200 OK", wsdl.at(self.made[1], address))

    def post(self, environ: dict[str, Any], caller: Caller) -> Answer:
        """One call. `caller`: without the token, which is in the body."""
        try:
            body = read_body(environ, self._soap.settings.max_body)
            answer = self.reply(envelope_in(body, environ.get("CONTENT_TYPE", "")), caller)
        except Refused as refusal:
            self._soap.refusals.note(refusal.error, caller, self.service.name)
            return fault(refusal.error, self.service.namespace, refusal.faultcode)
        if self._soap.lane.is_open and answer.status == "200 OK" and is_plain(environ):
            self.forms.learn(body)
        return answer

    def poll(self, place: Place[Endpoint], poll: Poll) -> Answer:
        """As `post`, for a poll that was recognised by its form."""
        try:
            identity = self._soap.authenticator.of_token(poll.token)  # at the door it is told why not
        except ServiceError:
            return self._at_the_door(place, poll)
        with self._soap.polls_in_turn:
            kept = self._kept.of(poll.service_id, place.public_url)
            answer = None
            if kept is not None and allows(identity, kept.action, kept.record.request):
                answer = kept.now()
                if answer is None:
                    caller = place.caller(poll, identity)
                    if kept.renew(partial(self._soap.jobs.goes_on, caller=caller)):
                        answer = kept.now()
        if kept is None or answer is None:
            return self._at_the_door(place, poll)
        if not poll.form.is_to_compare():
            return answer
        return self._compared(place, poll, kept, answer)

    def _at_the_door(self, place: Place[Endpoint], poll: Poll) -> Answer:
        call = Call(STATUS, {SERVICE_ID.name: poll.service_id, SESSION_TOKEN.name: poll.token})
        return self.reply(poll.body, place.caller(poll, None), call=call)

    def _compared(self, place: Place[Endpoint], poll: Poll, kept: KeptAnswer, answer: Answer) -> Answer:
        """The answer made anew at the door; where what was kept differs from it, the lane is closed."""
        for _ in range(COMPARED_TIMES):
            anew = self.reply(poll.body, place.caller(poll, None))
            with self._soap.polls_in_turn:
                is_sure = anew.status == "200 OK" and anew != answer and kept.now() == answer
            if not is_sure:  # it is the same, or has changed meanwhile
                return anew
        self._soap.lane.close()
        return anew

    def _status(self, call: Call, caller: Caller) -> Answer:
        began, began_boot = time.time(), boot_clock()
        status, page, outputs = self.operations.status_and_page(call.texts, caller)
        body, view = self.made[0].envelope(STATUS, outputs), status.view
        service_id = view.record.request.service_id
        is_for = page_is_for(status, page)
        if (
            self._soap.lane.is_open
            and len(body) <= ANSWER_MAX
            and is_for is not None
            and may_be_kept(status)
            and self._kept.asked(service_id)
        ):
            stamps = self._soap.jobs.records.stamps(view, began)
            if stamps is not None:
                kept = KeptAnswer(body, view.record, began_boot, stamps, is_for)
                if page is not None:
                    kept.show(view.moment, outputs[0].encode(), page.template())
                self._kept.keep(service_id, caller.public_url, kept)
        return of_poll(body)

    def reply(self, body: bytes, caller: Caller, final: bool = False, call: Call | None = None) -> Answer:
        """The answer to one call.

        Args:
            caller: its token is read from the body.
            final: it is answered by this signature, whatever it is.
            call: what the body says, where that is known already.
        """
        tns, taken_up = self.service.namespace, time.monotonic()
        try:
            answers, _ = self.made
            try:
                # a large one is no poll, and polls don't wait for its parsing: that may be made to take seconds
                with self._soap.polls_in_turn if len(body) <= POLL_MAX else nullcontext():
                    call = call or parse(body, tns, self.inputs)
                caller = replace(caller, token=mandatory(call.texts, SESSION_TOKEN.name))
                caller = self._soap.identified(caller, call)
                if call.operation == STATUS:
                    with self._soap.polls_in_turn:
                        return self._status(call, caller)
            except Refused:
                other = None if final else self._soap.other_for(self, body)
                if other is None:
                    raise
                return other.reply(body, caller, final=True)
            if call.operation == self.service.operation and not final:
                newest = self._soap.newest(self.service.name)  # an edited file counts for the next start
                if newest is not None and newest is not self:
                    return newest.reply(body, caller, final=True)
            outputs = self.operations.call(call.operation, call.texts, caller)
            method = self.service.operations[call.operation].method
            return Answer("200 OK", answers.envelope(call.operation, outputs), operation=method)
        except BeganOtherwise as began:
            return self._soap.other(began.service).reply(body, caller, final=True)
        except Refused as refusal:
            self._soap.refused(refusal.error, caller, self.service.name, call)
            return fault(refusal.error, tns, refusal.faultcode)
        except ServiceError as error:
            self._soap.refused(error, caller, self.service.name, call)
            if isinstance(error, UnknownServiceID) and self._soap.settings.judges_tokens:
                wait_out_the_slot(taken_up)
            return fault(error, tns)
        except Exception:
            incident = os.urandom(4).hex()
            log.exception("incident %s in %s", incident, self.service.name)
            return fault(faults.internal(incident), tns)


class Soap:
    """Every service of a deployment at its two addresses.

    Polls are answered by what was found last; starts and WSDLs look whether the service's file has changed. What was
    started stays reachable when its file breaks or goes: by the signature that was offered last, or by its own.
    """

    def __init__(self, settings: Settings, offered: WatchedCatalogue, jobs: Jobs) -> None:
        self.settings, self.offered, self.jobs = settings, offered, jobs
        # A worker has many threads, for aborts and messages wait. But polls only read small files, and threads that
        # each want Python's own lock again after each read take twice the time. Those that ask Redis wait for it.
        self.polls_in_turn: AbstractContextManager[Any] = nullcontext() if settings.redis_url else threading.Lock()
        self.authenticator = Authenticator(settings)
        self.refusals = Refusals()
        self.figures = WebFigures(settings.layout)
        self.lane: Lane[Endpoint] = Lane(settings.poll_lane, self.authenticator.only_here)
        self._turn = threading.Lock()
        self._endpoints: dict[str, Endpoint] = {}  # by the service's name
        self._others: OrderedDict[str, Endpoint] = OrderedDict()  # by their signatures

    def service_at(self, path: str) -> str | None:
        """The service whose address a path below the context root is, without a slash at its end."""
        parts = _ADDRESS.fullmatch(path)
        if parts is None or (parts[1] is not None and parts[1] != parts[2].lower()):
            return None
        name = parts[2]
        if _has(self.offered.last(), name):
            return name
        # a file may have come since: what it offers is then known, or that it is being imported
        return name if name not in _PAGES and _has(self.offered.now(wait=0.0), name) else None

    def endpoint(self, name: str) -> Endpoint | None:
        """The service as it was found last, or as it was when it was offered last; None where that isn't known."""
        service = self.offered.last().known(name)
        if service is None:
            return None
        made = self._endpoints.get(name)
        if made is None or made.service is not service:
            with self._turn:
                made = self._endpoints.get(name)
                if made is None or made.service != service:
                    made = self._endpoints[name] = Endpoint(
                        service, self, lambda: self.offered.last().refusal(service.name)
                    )
                made.service = service  # the same; next time it is seen at once
        return made

    def newest(self, name: str) -> Endpoint | None:
        """As `endpoint`, after a look whether the service's file has changed."""
        self.offered.now(name)
        return self.endpoint(name)

    def other(self, service: Service) -> Endpoint:
        """Of a signature that an execution began with."""
        key = repr(service)
        with self._turn:
            made = self._others.pop(key, None) or Endpoint(
                service, self, lambda: f"{service.name} has changed since; read its WSDL anew for a new execution."
            )
            self._others[key] = made
            if len(self._others) > OTHERS_MAX:
                self._others.popitem(last=False)
            return made

    def other_for(self, endpoint: Endpoint, body: bytes) -> Endpoint | None:
        """Who may understand a call that `endpoint` doesn't: the edited file, or the execution that it names."""
        newest = self.newest(endpoint.service.name)
        if newest is not None and newest is not endpoint:
            return newest
        return self.of_execution(endpoint.service.name, body)

    def of_execution(self, name: str, body: bytes) -> Endpoint | None:
        """By the signature of the execution that a call names; None where it names none of this service."""
        try:
            service = self.jobs.began_with(name, service_id_in(body))
        except ServiceError:
            return None
        return self.other(service) if service is not None else None

    def identified(self, caller: Caller, call: Call) -> Caller:
        """The caller of a call, now that somebody has said who it is. Raises ServiceError: nobody does.

        A poll whose token was good until it ran out, or that nobody can judge just now, is a sign of life all the same.
        """
        try:
            manager = extra_parameters(call.texts.get(EXTRA_PARAMETERS.name) or "").get("auth", "")
            return replace(caller, identity=self.authenticator.identify(caller, manager))
        except (TokenExpired, ManagerAway) as error:
            if call.operation == STATUS:
                identity = error.identity if isinstance(error, TokenExpired) else None
                self.jobs.heard(call.texts.get(SERVICE_ID.name) or "", identity)
            raise

    def refused(self, error: ServiceError, caller: Caller, service: str, call: Call | None) -> None:
        """Have the log told of a call that gets a fault; None: what it says can't be understood."""
        if call is None:
            self.refusals.note(error, caller, service)
            return
        service_id = call.texts.get(SERVICE_ID.name)
        self.refusals.note(error, caller, service, call.operation, service_id, call.operation == STATUS)

    def polled(self, environ: dict[str, Any]) -> Answer | None:
        """The answer to a poll of a form that is known; None for all else: its body can still be read then."""
        began = time.perf_counter_ns()
        try:
            read = self.lane.read(environ, self.offered.last())
            if read is None:
                return None
            answer = read[0].endpoint.poll(*read)
        except Exception:
            answer = _incident()
        if answer.fault is None:
            self.figures.polls.note(time.perf_counter_ns() - began)
        else:
            self.figures.fault(*answer.fault)
        return answer

    def answer(self, environ: dict[str, Any], start_response: StartResponse, path: str, name: str) -> Iterable[bytes]:
        """As WSGI has it (PEP 3333): one request at the address `path` of the service `name`."""
        began = time.perf_counter_ns()
        try:
            answer = self._answer(environ, path, name)
        except Exception:
            answer = _incident()
        if answer.fault is not None:
            self.figures.fault(*answer.fault)
        elif answer.operation:
            self.figures.calls[answer.operation].note(time.perf_counter_ns() - began)
        start_response(answer.status, answer.http_headers())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: dict[str, Any], path: str, name: str) -> Answer:
        public_url = public.root(environ, self.settings)
        method = environ["REQUEST_METHOD"]
        asked = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        asks_wsdl = any(key.lower() == "wsdl" for key, _ in asked)  # beside what callers add to get past caches
        if path.lower().endswith(".wsdl"):
            path, asks_wsdl = path[: -len(".wsdl")], True
        if method == "OPTIONS":
            return Answer("204 No Content", b"", headers=_ALLOW)
        if method not in ("GET", "HEAD", "POST"):
            return _plain("405 Method Not Allowed", "A SOAP service takes POST, and GET for its ?wsdl.", _ALLOW)
        if not public_url and (method == "POST" or asks_wsdl):
            return _plain("400 Bad Request", NO_ADDRESS)
        # its body says the token
        caller = Caller(
            address=environ.get("REMOTE_ADDR", ""),
            public_url=public_url,
            polls=True,
            is_elsewhere=public.is_from_elsewhere(environ),
            face="soap",
        )
        endpoint = self.endpoint(name) if method == "POST" else self.newest(name)
        if endpoint is None:
            return self._unavailable(name, environ, caller)
        if method == "POST":
            answer = endpoint.post(environ, caller)
            if endpoint.forms.are_known and endpoint is self._endpoints.get(name):
                self.lane.know(environ, endpoint, public_url, self.offered.last())
            return answer
        if asks_wsdl:
            return endpoint.wsdl(public_url + path)
        described = f"GET {public_url}{path}?wsdl for its description"
        text = f"{name} is a SOAP service: POST calls to this address, or {described}."
        return _plain("405 Method Not Allowed", text, _ALLOW)

    def _unavailable(self, name: str, environ: dict[str, Any], caller: Caller) -> Answer:
        """Of a service that can't be offered, and of which nobody knows what it was like."""
        error = Unavailable(self.offered.now(name).refusal(name))
        if environ["REQUEST_METHOD"] == "POST":
            if (endpoint := self.endpoint(name)) is not None:  # it is right again
                return endpoint.post(environ, caller)
            try:
                body = envelope_in(read_body(environ, self.settings.max_body), environ.get("CONTENT_TYPE", ""))
            except Refused as refusal:
                self.refusals.note(refusal.error, caller, name)
                return fault(refusal.error, "urn:labwaiter", refusal.faultcode)
            if (endpoint := self.of_execution(name, body)) is not None:
                return endpoint.reply(body, caller, final=True)
            self.refusals.note(error, caller, name)
            return fault(error, spoken_namespace(body) or "urn:labwaiter")  # the caller knows it, we don't
        return _plain("503 Service Unavailable", error.message)


def _has(catalogue: Catalogue, name: str) -> bool:
    return name in catalogue.services or name in catalogue.broken or name in catalogue.gone


def _incident() -> Answer:
    incident = os.urandom(4).hex()
    log.exception("incident %s", incident)
    error = faults.internal(incident)
    answer = _plain("500 Internal Server Error", error.message)
    return answer._replace(fault=(error.code, error.reason))


def _plain(status: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, (text + "\n").encode("utf-8", "replace"), "text/plain; charset=utf-8", headers)

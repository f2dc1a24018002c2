"""What the buttons of status pages send: a message or an abort, by the key that only an execution's page has.

The key is the right, so it comes in the body and no address, log or Referer has it; a cookie says nothing here. Pages
lie in frames of no origin, so any page may send this, and read the answer where the key was right.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from .. import public
from ..errors import ClientError, ServiceError, UnknownServiceID
from ..languages import asked_for
from ..model.caller import PAGES_KEY, Caller
from ..model.contract import MESSAGE_MAX
from ..model.sentences import N_
from ..page import language_of, render, small_page
from ..page.words import printable
from ..settings import Settings
from ..verbs import Jobs
from ..verbs.refusals import Refusals, wait_out_the_slot
from .wording import _, language, told

FORM_LARGEST = 12 * MESSAGE_MAX + 1000  # bytes: a character is twelve at most, percent-encoded
FIELDS_MAX = 5
ABORT = "yes"  # what the button for an abort sends
UNKNOWN = N_(
    "This page's key is not right, so nothing was done: the execution has been removed, or the key was renewed."
    " Open its status page anew."
)
FROM_ELSEWHERE = N_(
    "This deployment answers its own machine alone, and this came from another or through a proxy, so nothing was"
    " done: the administrator says by TOKENS who may call."
)
# of the page that answers a form: ours, in a frame of no origin, as the portal's is
POLICY = (
    "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
    " script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " connect-src {address}; form-action {address}"
)
_CODES = {"Unavailable": 503, "UnknownServiceID": 404, "NotPermitted": 403}


class Refused(Exception):
    """A button does nothing."""

    def __init__(self, words: str, code: int, is_known: bool = True) -> None:
        super().__init__(words)
        self.words, self.code = words, code
        self.is_known = is_known  # the key was right: who sent it may read why


def add(app: Flask, settings: Settings, jobs: Jobs) -> None:
    """Add their address to the application."""
    refusals = Refusals()

    @app.post("/buttons/<job>")
    def pressed(job: str) -> Response:
        began, g.language = time.monotonic(), asked_for(None, settings.page_language)
        caller = Caller(
            address=request.environ.get("REMOTE_ADDR", ""),
            public_url=public.root(request.environ, settings),
            is_elsewhere=public.is_from_elsewhere(request.environ),
            face=PAGES_KEY,
        )
        try:
            return answered(job, caller)
        except Refused as error:
            if not error.is_known:
                wait_out_the_slot(began)  # as where a serviceID is unknown: how long it takes tells nothing
                refusals.note(UnknownServiceID(error.words), caller, "", "button", job, is_poll=True)
            return refused(error.words, error.code, error.is_known)
        except ServiceError as error:
            refusals.note(error, caller, "", "button", job)
            return refused(error.message, _CODES.get(error.code, 400 if isinstance(error, ClientError) else 503), True)

    def answered(job: str, caller: Caller) -> Response:
        request.max_content_length = request.max_form_memory_size = FORM_LARGEST
        request.max_form_parts = FIELDS_MAX
        try:
            key, message, abort = (request.form.get(name) for name in ("key", "message", "abort"))
        except RequestEntityTooLarge:
            raise Refused(N_("What was sent is too large for a message."), 413, False) from None
        keyed = jobs.by_page_key(job, key or "", caller)
        if keyed is None:
            raise Refused(UNKNOWN, 404, False)
        if not settings.tokens and caller.is_elsewhere:
            raise Refused(FROM_ELSEWHERE, 403)
        service_id = keyed.steers
        record = jobs.record(service_id, keyed)
        g.language = language_of(record.request, settings.page_language)  # the button's page has that, too
        if not record.active:
            raise Refused(N_(f"This execution is over ({record.state}): there is nothing to send it any more."), 410)
        if (abort is None) == (message is None) or abort not in {None, ABORT} or not (abort or message or "").strip():
            raise Refused(N_("Send either a message or an abort."), 400)
        said: dict[str, Any]
        if message is None:
            gone = jobs.abort(None, service_id, keyed)
            over, goes_on = (
                _("It is over, and its instruments are safe."),
                _("It is being stopped; that goes on by itself."),
            )
            words = over if gone else goes_on
            said = {"success": gone, "words": words}
        else:
            reply = printable(jobs.notify(None, service_id, message, keyed))
            number = _("%(what)s was taken as message number %(n)s.", what=printable(message), n=reply)
            said = {"response": reply, "words": number if reply.isdigit() else f"{printable(message)}: {reply}"}
        if is_of_a_script():
            return open_to_all(jsonify(said))
        return status_page(service_id, keyed, said["words"])

    def status_page(service_id: str, caller: Caller, words: str) -> Response:
        with contextlib.suppress(ServiceError):  # what was asked for is done, whatever can be shown of it
            view = jobs.view(service_id, caller)
            if (service := jobs.service_of(view.record)) is not None:
                buttons = jobs.buttons(view, service, caller)
                files = (caller.public_url or settings.context_root) + jobs.artifacts.link(view.record.name)
                # not the program's own page, which is a stranger's
                text = render(replace(view, own_page=None), service, files, language(), buttons, words)
                return open_to_all(html(text, 200, buttons.address if buttons is not None else "'none'"))
        return open_to_all(html(small_page(_("It was sent"), words, language()), 200))


def html(text: str, code: int, address: str = "'none'") -> Response:
    """A page of ours in the frame. `address`: to which it may send."""
    answer = Response(printable(text), code, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = POLICY.format(address=address)
    return answer


def refused(words: str, code: int, is_known: bool) -> Response:
    """Why a button did nothing."""
    words = told(words)[0]
    if is_of_a_script():
        answer = jsonify({"why": words})
        answer.status_code = code
    else:
        answer = html(small_page(_("Nothing was done"), words, language()), code)
    return open_to_all(answer) if is_known else answer


def open_to_all(answer: Response) -> Response:
    """An answer that a page of no origin may read, and nothing keeps."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def is_of_a_script() -> bool:
    """Whether a script sent it, and no form."""
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"

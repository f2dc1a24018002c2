"""Services: what each does, the address of its WSDL, and a form by which a person starts one."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request

from ...errors import (
    ClientError,
    InvalidParameter,
    JobAborted,
    JobFailed,
    Misconfigured,
    ServiceError,
    UnknownServiceID,
)
from ...lab import labfile
from ...lab.lab import Lab
from ...model.parameter import TEXT_MAX, Parameter, text_of
from ...model.sentences import N_
from ...model.service import Service
from ...page import LANGUAGE
from ...page.words import cut, printable
from ...store.leases import Held
from ...verbs.instruments import InstrumentState
from ...verbs.permission import Action
from ..wording import _, language
from . import PAGES, Face

LONG = 80  # characters: a text of more gets a field of several lines
AT_ONCE = 5  # files of a form


@dataclass
class Field:
    """One input of a form."""

    parameter: Parameter
    text: str  # as it stands in the field
    wrong: str = ""  # the sentence beside it
    choices: tuple[tuple[str, str], ...] = ()  # of a menu: value and words

    @property
    def hint(self) -> str:
        """What may stand there."""
        parameter = self.parameter
        words = "" if parameter.choices or parameter.kind == "instrument" else self.limits
        if not words:
            words = {"int": _("a whole number"), "float": _("a number")}.get(parameter.kind, "")
            if words and parameter.unit:
                words = _("%(what)s, in %(unit)s", what=words, unit=parameter.unit)
        if parameter.kind != "instrument" and not parameter.mandatory:
            default = "" if parameter.default is None else language().number(text_of(parameter.default))
            default = f"{default} {parameter.unit}".strip() if default else ""
            said = _("%(default)s unless you say otherwise", default=cut(default, 60)) if default else ""
            words += f"{'; ' if words else ''}{said or _('may be left empty')}"
        return words

    @property
    def limits(self) -> str:
        """Its parameter's limits in words."""
        limits = self.parameter.limits
        return language().told(limits) or limits

    @property
    def shown(self) -> str:
        """Its text as the field has it."""
        return language().number(self.text) if self.parameter.kind == "float" else self.text

    @property
    def is_long(self) -> bool:
        """Whether it needs several lines."""
        return self.parameter.kind == "text" and (len(self.text) > LONG or "\n" in self.text)


def offers(face: Face) -> list[dict[str, Any]]:
    """The services of this deployment, and those that are not available, with why."""
    catalogue = face.offered.now(wait=0.0)
    listed = []
    for name in sorted({*catalogue.services, *catalogue.broken}):
        service = catalogue.services.get(name)
        doc = service.doc if service else ""
        listed.append(
            {
                "name": name,
                "doc": doc.partition("\n")[0],
                "more": doc.partition("\n")[2].strip(),
                "wsdl": f"{face.here}/{name.lower()}/{name}?wsdl",
                "broken": "" if service else catalogue.broken[name].reason,
                "inputs": _in_words(service.inputs) if service else [],
                "outputs": _in_words(service.outputs) if service else [],
            }
        )
    return listed


def _in_words(parameters: tuple[Parameter, ...]) -> list[tuple[str, str]]:
    kinds = {
        "text": _("a text"),
        "int": _("a whole number"),
        "float": _("a number"),
        "boolean": _("yes or no"),
        "file": _("a file"),
    }
    rows = []
    for p in parameters:
        limits = _("an instrument") if p.kind == "instrument" else language().told(p.limits) or p.limits
        rows.append((p.name, limits or kinds[p.kind] + (f", {p.unit}" * bool(p.unit))))
    return rows


def add(app: Flask, face: Face) -> None:
    """Add the pages of services to the application."""

    @app.get(PAGES + "services")
    def services() -> Response:
        return face.page("services.html.j2", lambda: {"offered": offers(face)})

    @app.get(PAGES + "service")
    def service() -> Response:
        service = _asked(face)
        given = {}
        if again := request.args.get("again", ""):
            record = face.jobs.record(again, face.caller)
            given = {name: text_of(value) for name, value in record.request.inputs.items() if value is not None}
        fields = [field_of(face, p, given.get(p.name), bool(again)) for p in service.inputs]
        return _form(face, service, fields, _fresh_id(service), again=again)

    @app.post(PAGES + "service")
    def start() -> Response:
        service = _asked(face)
        fields = [field_of(face, p, request.form.get(f"in-{p.name}", ""), True) for p in service.inputs]
        service_id = request.form.get("id", "").strip() or _fresh_id(service)
        wrong = _take_files(face, fields)
        values = {}
        for field in fields:
            values[field.parameter.name] = value = _value(field)
            if not field.wrong:
                try:
                    field.parameter.accept(value)
                except ServiceError as error:
                    field.wrong = error.message
        if not wrong and not any(field.wrong for field in fields):
            try:
                with contextlib.suppress(JobFailed, JobAborted):  # the same start again: its page says how it ended
                    face.jobs.start(service, service_id, values, face.caller, _asks(face), _refusal(face, service))
                return face.to("execution", id=service_id)
            except ServiceError as error:
                of = [f for f in fields if isinstance(error, ClientError) and f.parameter.name == error.input]
                if of:
                    of[0].wrong = error.message
                else:
                    wrong = error.message
        answer = _form(face, service, fields, service_id, wrong)
        answer.status_code = 422
        return answer


def _asks(face: Face) -> str | None:
    """The extraParameters of a start: its status page is to be in the language of who starts it."""
    code = language().code
    return None if code == face.settings.page_language else f"{LANGUAGE}={code},"


def _refusal(face: Face, service: Service) -> str:
    return face.offered.now().refusal(service.name) or ""


def _asked(face: Face) -> Service:
    name = request.values.get("name", "")
    catalogue = face.offered.now(name or None)
    if name not in catalogue.services:
        raise UnknownServiceID(
            catalogue.broken[name].reason if name in catalogue.broken else N_("There is no such service here.")
        )
    return catalogue.services[name]


def _fresh_id(service: Service) -> str:
    return f"{service.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def _form(
    face: Face, service: Service, fields: list[Field], service_id: str, wrong: str = "", again: str = ""
) -> Response:
    def make() -> dict[str, Any]:
        return {
            "service": service,
            "doc": service.doc,
            "wsdl": f"{face.here}/{service.name.lower()}/{service.name}?wsdl",
            "fields": fields,
            "service_id": service_id,
            "wrong": wrong,
            "wrong_count": sum(bool(field.wrong) for field in fields),
            "again": printable(again),
            "files": [printable(name) for name in face.jobs.artifacts.handed_in()]
            if any(f.parameter.kind == "file" for f in fields) and face.may(Action.START)
            else [],
            "refusal": _refusal(face, service),
            "wants_token": service.session_token,
            "outputs": _in_words(service.outputs),
        }

    return face.page("service.html.j2", make)


def field_of(face: Face | None, parameter: Parameter, text: str | None, given: bool) -> Field:
    """A field with what stands in it: what was given, else the default.

    Args:
        face: None: no instrument is chosen by it.
    """
    if text is None:
        text = "" if given or parameter.default is None else text_of(parameter.default)
    choices: list[tuple[str, str]] = []
    if parameter.choices:
        choices = [(choice, choice) for choice in parameter.choices]
    elif parameter.kind == "boolean":
        choices = [("true", _("yes")), ("false", _("no"))]
        text = {"1": "true", "0": "false"}.get(text, text)
    elif parameter.kind == "instrument" and face is not None:
        choices, first = _instruments(face, parameter)
        text = text or first
    if choices and (parameter.mandatory or parameter.kind == "instrument") and not text:
        choices.insert(0, ("", _("choose one")))
    if choices and text and text not in dict(choices):  # nothing that was given is lost
        choices.append((text, text))
    return Field(parameter, text, choices=tuple(choices))


def _instruments(face: Face, parameter: Parameter) -> tuple[list[tuple[str, str]], str]:
    """The instruments that fit, each with how it stands, and the first that is free."""
    states: dict[str, InstrumentState] = {}
    lab = Lab({})
    with contextlib.suppress(Misconfigured, ServiceError):
        lab = labfile.load(face.settings.lab)
        states = {state.name: state for state in face.instruments.list(face.caller)}
    choices, first = [], ""
    for name in lab.fitting(parameter.drivers):
        holding = states[name].holding if name in states else None
        words = _("free") if name in states else _("on %(machine)s", machine=lab.entries[name].machine)
        if holding is not None:
            words = {
                Held.BY_JOB: _("in use: it would wait"),
                Held.MAKING_SAFE: _("being made safe"),
                Held.UNSAFE: _("unsafe: it would wait for an operator"),
                Held.RESERVED: _("reserved: it would wait"),
            }.get(holding.lease.how, _("in use: it would wait"))
        elif not first:
            first = name
        choices.append((name, f"{name} ({words})"))
    return choices, first or (choices[0][0] if len(choices) == 1 else "")


def _take_files(face: Face, fields: list[Field]) -> str:
    """Keep the files that came with a form, and write their names into its fields; what is wrong besides these."""
    for field in fields:
        given = request.files.get(f"file-{field.parameter.name}")
        if field.parameter.kind != "file" or given is None or not given.filename:
            continue
        endings = field.parameter.endings
        if endings and not given.filename.lower().endswith(endings):
            wrong = f"The input {field.parameter.name} must be {field.parameter.limits}, not {given.filename[:60]}."
            field.wrong = N_(wrong)
            continue
        try:
            field.text = face.jobs.take_in(given.filename, given.stream, face.caller)
        except InvalidParameter as error:
            field.wrong = error.message
        except ServiceError as error:
            return error.message
    return ""


def _value(field: Field) -> str | None:
    """What a field says; None for its input's default."""
    parameter, text = field.parameter, field.text.replace("\r\n", "\n")
    if parameter.kind == "float":
        text = language().read_number(text)
    if text.strip() or len(text) > TEXT_MAX:
        return text
    if parameter.kind == "text" and not parameter.mandatory and parameter.default:
        return ""  # it was emptied on purpose
    return None

"""Our JSON files ⇄ the values in `model.record`.

Unknown fields are passed over and missing ones have their defaults, so that one release reads
what the last and the next one wrote.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from types import NoneType
from typing import Any, TypeVar

from ..model.record import (
    ENDED,
    End,
    Happening,
    Holder,
    Picture,
    Progress,
    Record,
    Request,
    Silence,
    State,
    Stopping,
    StoredState,
    View,
)
from ..system.process import Identity

T = TypeVar("T")


def dump(value: Any) -> bytes:
    """A value as the JSON that lies on disk, one line, ASCII."""
    return _encode(value).encode() + b"\n"


_encode = json.JSONEncoder(separators=(",", ":"), default=vars).encode  # asdict() takes five times as long
MOST = 1e11  # of a number in a record, most of which are times in s: dates end there. NaN is none
_NUMBERS = (int, float)
_TYPES: dict[str, tuple[type[Any], ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool, int),  # Redis has no booleans
    "float": (int, float),
    "float | None": (int, float, NoneType),
    "int | None": (int, NoneType),
    "str | None": (str, NoneType),
    "dict[str, Any]": (dict,),
    "dict[str, Any] | None": (dict, NoneType),
}


@cache
def _known(kind: type[Any]) -> dict[str, tuple[type[Any], ...] | None]:
    """Field → the types that its JSON may have; None where that is looked at elsewhere."""
    return {f.name: _TYPES.get(str(f.type)) for f in dataclasses.fields(kind)}


def _read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:  # one damaged record may end no supervisor
        raise ValueError("nested too deeply for a record") from error


def _fields(kind: type[T], data: Any) -> dict[str, Any]:
    """What is known of the fields, each of its type: one damaged record may hold up none of the others."""
    if not isinstance(data, dict):
        raise ValueError(f"a {kind.__name__} is a JSON object, not {type(data).__name__}")
    types = _known(kind)  # type: ignore[arg-type]
    fields = {}
    for name, value in data.items():
        if name not in types:
            continue
        expected, actual = types[name], type(value)
        if expected is not None and (actual not in expected or (actual in _NUMBERS and not -MOST < value < MOST)):
            raise ValueError(f"a {kind.__name__}'s {name} is no {value!r:.50}")
        fields[name] = value
    return fields


def request(text: bytes) -> Request:
    """request.json. Raises ValueError, TypeError or KeyError for what is none; so do the others here."""
    return request_of(_read(text))


def request_of(content: Any) -> Request:
    """A request, of its JSON object."""
    data = _fields(Request, content)
    for name in ("instruments", "files"):
        data[name] = tuple(data.get(name, ()))
    request = Request(**data)
    if not all(isinstance(name, str) for name in (*request.instruments, *request.files)):
        raise ValueError("a request's instruments and files are names")
    return request


def stored_state(text: bytes) -> StoredState:
    """state.json."""
    return StoredState(**_with_process(_fields(StoredState, _read(text))))


def identity(text: bytes) -> Identity:
    """begun."""
    return Identity(**_fields(Identity, _read(text)))


def _with_process(data: dict[str, Any]) -> dict[str, Any]:
    """What a stored state and a record share."""
    data["state"] = State(data["state"])
    for name, kind in (("runner", Identity), ("stopping", Stopping)):
        if data.get(name) is not None:
            data[name] = kind(**_fields(kind, data[name]))
    return data


def end(text: bytes) -> End:
    """end.json."""
    return end_of(_read(text))


def end_of(data: Any) -> End:
    """An end, of its JSON object."""
    data = _fields(End, data)
    data["outcome"] = State(data["outcome"])
    if data["outcome"] not in ENDED:
        raise ValueError(f"no end is {data['outcome']}")
    return End(**data)


def progress(text: bytes) -> Progress:
    """progress.json."""
    return _progress(_read(text))


def progress_changes(content: Any) -> dict[str, Any]:
    """Some fields of a progress, of their JSON object."""
    data = _fields(Progress, content)
    if data.get("picture") is not None:
        data["picture"] = Picture(**_fields(Picture, data["picture"]))
    return data


def _progress(content: Any) -> Progress:
    data = progress_changes(content)
    for name in ("values", "units"):
        data[name] = dict(data.get(name, {}))
    data["replies"] = {int(number): reply for number, reply in dict(data.get("replies", {})).items()}
    return Progress(**data)


def view(text: bytes) -> View:
    """A view that another machine has told; its picture and its own page come beside it."""
    data = _fields(View, _read(text))
    record = _with_process(_fields(Record, data["record"]))
    data["record"] = Record(**record | {"request": request_of(record["request"])})
    data["progress"] = _progress(data["progress"])
    for name in ("messages", "hardware"):
        data[name] = tuple(data.get(name, ()))
    data["holders"] = tuple(Holder(**_fields(Holder, holder)) for holder in data.get("holders", ()))
    if data.get("silence") is not None:
        data["silence"] = Silence(**_fields(Silence, data["silence"]))
    data["timeline"] = tuple(Happening(**_fields(Happening, told)) for told in data.get("timeline", ()))
    data["files"] = tuple((name, size) for name, size in data["files"])
    return View(**data)

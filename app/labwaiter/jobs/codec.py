"""Our JSON files ⇄ the values in `record`.

Unknown fields are passed over and missing ones have their defaults, so that one release reads
what the last and the next one wrote.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any, TypeVar

from ..record import Condition, End, Identity, Picture, Progress, Record, Request, Silence, State, Stopping, View

T = TypeVar("T")


def dump(value: Any) -> bytes:
    """A value as the JSON that lies on disk, one line, ASCII."""
    return json.dumps(value, separators=(",", ":"), default=vars).encode() + b"\n"  # asdict() takes five times as long


@cache
def _known(kind: type[Any]) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(kind))


def _read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:  # one damaged record may end no supervisor
        raise ValueError("nested too deeply for a record") from error


def _fields(kind: type[T], data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"a {kind.__name__} is a JSON object, not {type(data).__name__}")
    known = _known(kind)  # type: ignore[arg-type]
    return {k: v for k, v in data.items() if k in known}


def request(text: bytes) -> Request:
    """request.json. Raises ValueError, TypeError or KeyError for what is none; so do the others here."""
    return request_of(_read(text))


def request_of(said: Any) -> Request:
    """A request, of its JSON object."""
    data = _fields(Request, said)
    for name in ("instruments", "files"):
        data[name] = tuple(data.get(name, ()))
    found = Request(**data)
    # what the queue sorts and counts by: one damaged record may not hold up the others
    if not isinstance(found.created, (int, float)) or not all(isinstance(n, str) for n in found.instruments):
        raise ValueError("a request's time is a number, and its instruments are names")
    return found


def condition(text: bytes) -> Condition:
    """state.json."""
    return Condition(**_with_process(_fields(Condition, _read(text))))


def _with_process(data: dict[str, Any]) -> dict[str, Any]:
    """What a condition and a record share."""
    data["state"] = State(data["state"])
    for name, kind in (("runner", Identity), ("stopping", Stopping)):
        if data.get(name) is not None:
            data[name] = kind(**_fields(kind, data[name]))
    return data


def end(text: bytes) -> End:
    """end.json."""
    data = _fields(End, _read(text))
    data["outcome"] = State(data["outcome"])
    return End(**data)


def progress(text: bytes) -> Progress:
    """progress.json."""
    return _progress(_read(text))


def _progress(said: Any) -> Progress:
    data = _fields(Progress, said)
    if data.get("picture") is not None:
        data["picture"] = Picture(**_fields(Picture, data["picture"]))
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
    if data.get("silence") is not None:
        data["silence"] = Silence(**_fields(Silence, data["silence"]))
    data["files"] = tuple((name, size) for name, size in data["files"])
    return View(**data)

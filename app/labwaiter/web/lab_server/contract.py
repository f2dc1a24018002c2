"""What remote-laboratory systems send and get, read and written: the two forms of one contract.

WebLab-Deusto's form is below `/weblab`, LabDiscoveryEngine's own below `/ldl`. What they send varies from system to
system: numbers come as texts, objects as JSON in a text, a time in three ways. All of that is read here; what can't be
is a `BadRequest`, with a sentence for whoever keeps the calling system.
"""

from __future__ import annotations

import json
import math
import re
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ...model.lab_session import LONGEST, SHORTEST, About
from ...page.words import printable

API_VERSION = "1"
NOT_STARTED = "Error initializing laboratory"  # the contract's words where on_start has failed
TEXT_MAX = 500  # characters of a name
URL_MAX = 2000  # likewise of an address
IDS_MAX = 1000  # session ids of one question
SLOT = "priority.queue.slot."
OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?(?::?\d{2})?", re.IGNORECASE)


class BadRequest(Exception):
    """A call that can't be read; its text is a sentence for whoever keeps the calling system."""


# -- JSON ---------------------------------------------------------------------------------------


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object that a request's body is. Raises BadRequest."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("The body must be JSON in UTF-8.") from None
    value = _json(text, "The body")
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object, like {…}.")
    return value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest(f"{what} must be JSON, and can't be read as such.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(value: Any, what: str) -> dict[str, Any]:
    """An object, which may come as a JSON text; {} for what is left out or empty."""
    if isinstance(value, str):
        value = _json(value, what) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{what} must be a JSON object, or a text that holds one.")
    return value


def _text(value: Any, what: str, most: int = TEXT_MAX) -> str:
    """A text without control characters; "" for what is left out. Numbers are their own texts."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadRequest(f"{what} must be a text.")
    return " ".join(printable(str(value)).split())[:most]


def _number(value: Any, what: str) -> float:
    """A finite number, which may come as a text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadRequest(f"{what} must be a number, or a text that holds one.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRequest(f"{what} must be a number, or a text that holds one, not “{printable(str(value))[:40]}”.")
    return number


def _truth(value: Any, what: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    word = str(value).strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise BadRequest(f"{what} must be true or false, not “{printable(str(value))[:40]}”.")


# -- times and addresses ------------------------------------------------------------------------


def _length(value: Any, what: str) -> float:
    if value is None:
        raise BadRequest(f"{what} is missing: for how many seconds the session may last.")
    seconds = _number(value, what)
    if not SHORTEST <= seconds <= LONGEST:
        raise BadRequest(f"{what} must be from {SHORTEST:g} to {LONGEST:g} s, not {seconds:g}.")
    return seconds


def _clock(text: str, zone: tzinfo | None, what: str) -> float:
    """The Unix time, in s, of a time as a text: as the contract writes it, or as ISO 8601 does.

    Args:
        zone: the time's own, where its text has none; None: this machine's.
    """
    written = text.strip()
    moment: datetime | None = None
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            moment = datetime.strptime(written, form)
            break
        except ValueError:
            continue
    if moment is None:
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            raise BadRequest(
                f"{what} must be a time like 2026-11-30 12:00:00.000 or 2026-11-30T12:00:00+01:00, not"
                f" “{printable(written)[:40]}”."
            ) from None
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.timestamp()
    except (OverflowError, OSError, ValueError):
        raise BadRequest(f"{what} is a time that no clock has: “{printable(written)[:40]}”.") from None


def _zone(value: Any, what: str) -> tzinfo | None:
    """A time zone by its name or its distance from UTC; None where none is given."""
    name = str(value or "").strip()
    if not name:
        return None
    if name.upper() in ("UTC", "GMT", "Z"):
        return UTC
    shift = OFFSET.fullmatch(name)
    ahead = timedelta(hours=int(shift[2]), minutes=int(shift[3] or 0)) if shift else timedelta(0)
    if shift and ahead < timedelta(hours=24):
        return timezone(-ahead if shift[1] == "-" else ahead)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # what isn't there is a KeyError; what is no name at all, a ValueError
        raise BadRequest(
            f"{what} is no time zone that is known here: “{printable(name)[:40]}”. Send {SLOT}start.timestamp, in"
            " seconds since 1970."
        ) from None


def _start(server: dict[str, Any]) -> float:
    """When a session begins, of three ways to say it: the first that is there counts; now where none is."""
    key = SLOT + "start"
    if server.get(f"{key}.timestamp") not in (None, ""):
        return _number(server[f"{key}.timestamp"], f"{key}.timestamp")
    if server.get(f"{key}.utc") not in (None, ""):
        return _clock(_text(server[f"{key}.utc"], f"{key}.utc"), UTC, f"{key}.utc")
    if server.get(key) not in (None, ""):
        return _clock(_text(server[key], key), _zone(server.get(f"{key}.timezone"), f"{key}.timezone"), key)
    return time.time()


def link_of(value: Any) -> str:
    """An address that a page may lead to; "" for what is none, or what would run in the page."""
    if not isinstance(value, str) or len(value) > URL_MAX or not value.isprintable():
        return ""
    try:
        parts = urlsplit(value.strip())
    except ValueError:
        return ""
    return value.strip() if parts.scheme in ("http", "https") and parts.netloc else ""


# -- what is asked for --------------------------------------------------------------------------


def about_weblab(body: dict[str, Any]) -> About:
    """Whom a session is for, as WebLab-Deusto's form has it. Raises BadRequest."""
    server = _object(body.get("server_initial_data"), "server_initial_data")
    counts = server.get(SLOT + "initialization_in_accounting")
    username = _text(server.get("request.username"), "request.username")
    return About(
        username=username,
        unique=_text(server.get("request.username.unique"), "request.username.unique") or username,
        full_name=_text(server.get("request.full_name"), "request.full_name"),
        locale=_text(server.get("request.locale"), "request.locale"),
        length_s=_length(server.get(SLOT + "length"), SLOT + "length"),
        start=_start(server),
        back=link_of(body.get("back")),
        client_data=_object(body.get("client_initial_data"), "client_initial_data"),
        server_data=server,
        category=_text(server.get("request.experiment_id.category_name"), "request.experiment_id.category_name"),
        experiment=_text(server.get("request.experiment_id.experiment_name"), "request.experiment_id.experiment_name"),
        initialization_in_accounting=True
        if counts in (None, "")
        else _truth(counts, SLOT + "initialization_in_accounting"),
        reservation_id="",
    )


def about_ldl(body: dict[str, Any]) -> About:
    """Whom a session is for, as LabDiscoveryEngine's own form has it. Raises BadRequest."""
    request = _object(body.get("request"), "request")
    laboratory = _object(body.get("laboratory"), "laboratory")
    user = _object(body.get("user"), "user")
    schedule = _object(body.get("schedule"), "schedule")
    start = schedule.get("start")
    if isinstance(start, str) and start.strip():
        began = _clock(start, None, "schedule.start")
    else:
        began = time.time() if start in (None, "") else _number(start, "schedule.start")
    username = _text(user.get("username"), "user.username")
    return About(
        username=username,
        unique=_text(user.get("unique"), "user.unique") or username,
        full_name=_text(user.get("fullName"), "user.fullName"),
        locale=_text(request.get("locale"), "request.locale"),
        length_s=_length(schedule.get("length"), "schedule.length"),
        start=began,
        back=link_of(request.get("backUrl")),
        client_data=_object(request.get("user"), "request.user"),
        server_data=_object(request.get("server"), "request.server"),
        category=_text(laboratory.get("category"), "laboratory.category"),
        experiment=_text(laboratory.get("name"), "laboratory.name"),
        initialization_in_accounting=True,
        reservation_id=_text(request.get("ldeReservationId"), "request.ldeReservationId"),
    )


def asked_of_many(body: dict[str, Any]) -> tuple[list[str], float]:
    """Of which sessions the status is asked, and within how many s. Raises BadRequest."""
    ids = body.get("session_ids")
    if isinstance(ids, str):
        ids = _json(ids, "session_ids")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise BadRequest("session_ids must be a list of texts: the sessions to tell of.")
    if len(ids) > IDS_MAX:
        raise BadRequest(f"session_ids may name at most {IDS_MAX} sessions in one call.")
    given = body.get("timeout")
    seconds = 10.0 if given in (None, "") else _number(given, "timeout")
    return list(dict.fromkeys(ids)), max(0.0, min(seconds, 60.0))

"""The cases that every toolkit is taken through, and what must come of each."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from kits import Client

NASTY = "é 漢字 😀 <&>\"'"
LINES = "one\ntwo\n  three"
SECONDS = 20.0


@dataclass(frozen=True)
class Verdict:
    """How a case went: "passes", "can't do", or "WRONG"; and the words to it."""

    mark: str
    words: str = ""


PASSES = Verdict("passes")


def wrong(found: object) -> Verdict:
    return Verdict("WRONG", str(found)[:300])


def fresh() -> dict[str, str | None]:
    return {"serviceID": f"k-{secrets.token_hex(8)}", "sessionToken": "a token"}


def until_completed(client: Client, who: dict[str, str | None]) -> tuple[str, dict[str, str]]:
    """The last answer to polls, once it isn't a page any more."""
    until = time.monotonic() + SECONDS
    while True:
        kind, found = client("status", **who)
        if kind != "ok" or found.get("status_base64") == "COMPLETED" or time.monotonic() > until:
            return kind, found
        time.sleep(0.05)  # as a workflow manager does, only faster


def echoed(text: str, count: str | None = "", expected: str = "7") -> Callable[[Client], Verdict]:
    """Start with that text and count ("": none is given), and poll until the outputs come."""

    def case(client: Client) -> Verdict:
        who = fresh()
        more = {} if count == "" else {"count": count}
        kind, found = client("start", **who, text=text, **more)
        if kind == "refused":
            return Verdict("can't do", found["why"])
        if kind != "ok" or b"<html" not in base64.b64decode(found["status_base64"]):
            return wrong(found)
        if found["echo"] != "UNSET" or found["number"] != "0":
            return wrong(found)
        kind, found = until_completed(client, who)
        wanted = {"status_base64": "COMPLETED", "echo": text, "number": expected}
        right = kind == "ok" and {n: found.get(n) for n in wanted} == wanted
        right = right and float(found["ratio"]) == int(expected) / 2 and found["held"] in ("false", "0", "")
        return PASSES if right else wrong(found)

    return case


def refused(code: str, words: str, operation: str = "start", **inputs: str | None) -> Callable[[Client], Verdict]:
    """A call that must end in the typed fault with this code, and these words of what was wrong.

    Other words mean that the toolkit sent something else: PHP's SoapClient sends 0 for "ten".
    """

    def case(client: Client) -> Verdict:
        kind, found = client(operation, **fresh(), **inputs)
        if kind == "refused":
            return Verdict("can't do", found["why"])
        if kind != "fault" or found["errorCode"] != code or not found["description"]:
            return wrong(found)
        if words not in found["description"]:
            return Verdict("can't do", f"it sends something else: “{found['description']}”")
        return PASSES if found["typed"] == "typed" else Verdict("passes", "the fault's detail has no type there")

    return case


def held(client: Client) -> tuple[dict[str, str | None], str]:
    who = fresh()
    kind, found = client("start", **who, text="x", hold="true")
    return who, "" if kind == "ok" else str(found)


def aborted(client: Client) -> Verdict:
    who, why = held(client)
    kind, found = client("abort", **who)
    return PASSES if not why and kind == "ok" and found["success"] in ("true", "1") else wrong(why or found)


def notified(client: Client) -> Verdict:
    who, why = held(client)
    kind, found = client("notify", **who, message=NASTY)
    # the reply if it came within a second, else the message's number
    good = kind == "ok" and found["response"] in (f"you said {NASTY}", "1")
    client("abort", **who)
    return PASSES if good and not why else wrong(why or found)


CASES: dict[str, Callable[[Client], Verdict]] = {
    "start, status until COMPLETED": echoed("plain"),
    "abort": aborted,
    "notify": notified,
    "unknown serviceID": refused("UnknownServiceID", "Nothing was started", "status"),
    "mandatory text missing": refused("MissingParameter", "missing"),
    "mandatory text empty": refused("MissingParameter", "empty", text=""),
    "mandatory text blank": refused("MissingParameter", "empty", text="  "),
    "mandatory text nil": refused("MissingParameter", "missing", text=None),
    "é 漢字 😀 <&>\"' both ways": echoed(NASTY),
    "newlines both ways": echoed(LINES),
    "integer given": echoed("x", "42", "42"),
    "integer omitted (default)": echoed("x"),
    "integer nil (default)": echoed("x", None),
    "integer empty": refused("InvalidParameter", "is empty", text="x", count=""),
    "integer not a number": refused("InvalidParameter", "whole number, not “ten”", text="x", count="ten"),
    "integer out of range": refused("InvalidParameter", "between 1 and 100", text="x", count="5000"),
}

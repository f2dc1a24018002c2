"""Whatever is sent: every answer is one of the contract's. Hypothesis makes up requests, the same ones in each run.

`HYPOTHESIS_PROFILE=long ./test.sh tests/hostile/test_fuzzing.py` makes up fifty times as many, other ones each time.
"""

from __future__ import annotations

import gzip
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callers import Caller, envelope
from contract import errors_in

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if LONG else 900)]  # s: what fails is made shorter first


def drawn(examples: int) -> settings:
    """So many cases."""
    return settings(
        max_examples=50 * examples if LONG else examples,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


GOOD = [
    envelope("getServiceStatus", serviceID="warm", sessionToken="t"),
    envelope("getServiceStatus", serviceID="nobody's", sessionToken="t"),
    envelope("startEcho", serviceID="fuzzed", sessionToken="t", text="x", number="7", colour="red"),
    envelope("abortService", serviceID="nobody's", sessionToken="t"),
    envelope("notifyService", sessionToken="t", serviceID="nobody's", message="m"),
]
PIECES = [
    b"<",
    b">",
    b"/>",
    b"&",
    b"&#0;",
    b"&amp;",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE a>",
    b"<?xml version='1.0' encoding='utf-16'?>",
    b"<?a?>",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b" xmlns=''",
    b" xmlns:t='urn:x'",
    b" i:nil='true' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'",
    b" href='#a'",
    b"<t:serviceID>",
    b"</t:serviceID>",
    b"<t:sessionToken/>",
    b"<s:Header/>",
    b"<s:Body>",
    b"</s:Envelope>",
    b"1e999",
    b"-0",
    b"NaN",
    b"x" * 5000,
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put in", "take out", "double", "replace"]),
        st.floats(0, 1),
        st.integers(0, 60),
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)),
    ),
    min_size=1,
    max_size=5,
)


def edited(body: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """A body, spoilt."""
    for how, where, length, piece in edits:
        at = int(where * len(body))
        before, there, after = body[:at], body[at : at + length], body[at + length :]
        if how == "put in":
            body = before + piece + there + after
        elif how == "take out":
            body = before + after
        elif how == "double":
            body = before + there + there + after
        else:
            body = before + piece + after
    return body


def must_be_right(caller: Caller, body: bytes, **environ: Any) -> None:
    reply = caller("/Echo", body, **environ)
    assert errors_in(reply) == "", (body, environ, reply.status, reply.body)


@given(body=st.sampled_from(GOOD), edits=EDITS)
@drawn(400)
def test_spoilt_calls(caller: Caller, body: bytes, edits: list[tuple[str, float, int, bytes]]) -> None:
    must_be_right(caller, edited(body, edits))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
NAMES = st.sampled_from(
    ["serviceID", "sessionToken", "text", "number", "fraction", "flag", "colour", "message", "extraParameters", "x"]
)


@given(
    operation=st.sampled_from(["startEcho", "getServiceStatus", "abortService", "notifyService", "startRocket", "é"]),
    inputs=st.dictionaries(NAMES, TEXT, max_size=8),
    named=st.booleans(),
)
@drawn(300)
def test_texts_of_every_kind(caller: Caller, operation: str, inputs: dict[str, str], named: bool) -> None:
    if named:  # past the first look
        inputs = {"serviceID": "a", "sessionToken": "t", "text": "x"} | inputs
    must_be_right(caller, envelope(operation, **inputs))


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
KINDS = st.builds(
    lambda kind, parameters: "; ".join([kind, *parameters]),
    st.sampled_from(
        ["text/xml", "application/xop+xml", "multipart/related", "multipart/mixed", "TEXT/XML", "", "a/b/c"]
    ),
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "charset=utf-8",
                    "charset=utf-16",
                    "charset=utf-7",
                    "charset=unicode_escape",
                    "charset=rot13",
                    "charset=undefined",
                    "charset=mbcs",
                    "charset=ebcdic-cp-be",
                    'charset="',
                    "boundary=x",
                    'boundary="(.*)+"',
                    "boundary=",
                    'start="<a>"',
                    "charset=idna",
                ]
            ),
            HEADER,
        ),
        max_size=4,
    ),
)


@given(
    body=st.one_of(st.sampled_from(GOOD), st.binary(max_size=300), st.sampled_from(GOOD).map(gzip.compress)),
    kind=st.one_of(KINDS, HEADER),
    encoding=st.one_of(
        st.just(""), st.sampled_from(["gzip", "gzip, gzip", "br", "identity", "deflate", "chunked"]), HEADER
    ),
    length=st.one_of(
        st.none(), st.integers(0, 5000).map(str), st.sampled_from(["-1", "+5", "1_0", "\u0663", "9" * 30, " 5", "0x10"])
    ),
    more=st.dictionaries(
        st.sampled_from(
            [
                "HTTP_SOAPACTION",
                "HTTP_TRANSFER_ENCODING",
                "HTTP_X_FORWARDED_HOST",
                "HTTP_X_FORWARDED_PREFIX",
                "QUERY_STRING",
            ]
        ),
        HEADER,
        max_size=3,
    ),
)
@drawn(400)
def test_headers_of_every_kind(
    caller: Caller, body: bytes, kind: str, encoding: str, length: str | None, more: dict[str, str]
) -> None:
    environ = {"CONTENT_TYPE": kind, "HTTP_CONTENT_ENCODING": encoding, "REMOTE_ADDR": "127.0.0.1", **more}
    query = environ.pop("QUERY_STRING", "")
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    reply = caller("/Echo", body, query=query, **environ)
    assert errors_in(reply) == "", (reply.status, reply.body)


@given(
    path=st.text(st.characters(max_codepoint=255), max_size=80),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PROPFIND"]),
    host=HEADER,
)
@drawn(300)
def test_addresses_of_every_kind(caller: Caller, path: str, method: str, host: str) -> None:
    reply = caller(
        "/" + path, GOOD[0] if method == "POST" else None, method=method, HTTP_HOST=host, SERVER_PROTOCOL="HTTP/1.1"
    )
    status = int(reply.status.split()[0])
    assert status in (200, 308, 400, 403, 404, 405, 500), reply.status  # 403: the operator's page, by a strange name
    assert status != 500 or b"ServiceFault" in reply.body, reply.body
    assert not any("\r" in value or "\n" in value for value in reply.headers.values())
    assert b"Traceback" not in reply.body

"""XML that is made to harm its reader: files and addresses that it names, bombs, depth, numbers, control characters.

What a request may not be at all (DOCTYPE, gzip bombs, odd charsets, cut and damaged ones) stands in
tests/soap/test_raw_requests.py, and the small print of HTTP beside it.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callers import Caller, Reply, envelope
from contract import errors_in
from labwaiter.soap import app
from labwaiter.soap.door import LARGEST, parse

POLL = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
SECRET = "root-of-all-secrets"


def post(caller: Caller, body: bytes, **environ: str) -> Reply:
    reply = caller("/Echo", body, **environ)
    assert errors_in(reply) == "", reply.body[:1000]
    return reply


# -- what a document names ----------------------------------------------------------------------------


@pytest.fixture
def address() -> Iterator[tuple[str, list[int]]]:
    """One that notes how often it is called."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                calls.append(1)
                line.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x", calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def named(address: str, file: Path) -> dict[str, bytes]:
    """Every way to name a file or an address in a document."""
    inside = POLL.replace(b"nobody's", b"&e;")
    include = f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{address}" parse="text"/>'
    schema = f'xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:schemaLocation="urn:a {address}"'
    return {
        "an entity of a file": f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{file}">]>'.encode() + inside,
        "an entity of an address": f'<!DOCTYPE a [<!ENTITY e SYSTEM "{address}">]>'.encode() + inside,
        "a public one": f'<!DOCTYPE a [<!ENTITY e PUBLIC "p" "{address}">]>'.encode() + inside,
        "a parameter entity": f'<!DOCTYPE a [<!ENTITY % e SYSTEM "{address}"> %e;]>'.encode() + POLL,
        "a DTD elsewhere": f'<!DOCTYPE a SYSTEM "{address}">'.encode() + POLL,
        "XInclude": POLL.replace(b"nobody's", include.encode()),
        "a schema": POLL.replace(b"<s:Envelope ", f"<s:Envelope {schema} ".encode()),
        "a style sheet": f'<?xml-stylesheet href="{address}" type="text/xsl"?>'.encode() + POLL,
        "a reference": POLL.replace(b"<t:serviceID>", f'<t:serviceID href="{address}">'.encode()),
        "an attachment": POLL.replace(
            b"nobody's", f'<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="{address}"/>'.encode()
        ),
    }


@pytest.mark.parametrize("way", named("", Path()))
def test_what_a_document_names_is_neither_read_nor_called(
    caller: Caller, tmp_path: Path, address: tuple[str, list[int]], way: str
) -> None:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    url, calls = address
    reply = post(caller, named(url, file)[way])
    assert SECRET.encode() not in reply.body and reply["errorCode"] in ("InvalidParameter", "UnknownServiceID")
    assert calls == []


# -- bombs ----------------------------------------------------------------------------------------------


def names() -> Iterator[str]:
    """a, b, …, aa, ab, …"""
    return ("".join(name) for n in itertools.count(1) for name in itertools.product(string.ascii_letters, repeat=n))


def as_many(form: str, size: int = LARGEST - 1000) -> bytes:
    """As many as a request can have of something with a name of its own."""
    written, left = [], size
    for name in names():
        left -= len(one := form % name)
        if left < 0:
            return "".join(written).encode()
        written.append(one)
    raise AssertionError


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMBS: dict[str, Callable[[], bytes]] = {
    "a billion laughs": lambda: (
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + POLL.replace(b"nobody's", b"&l9;")
    ),
    "a long entity, often": lambda: (
        f'<!DOCTYPE a [<!ENTITY e "{"x" * 50_000}">]>'.encode() + POLL.replace(b"nobody's", b"&e;" * 50_000)
    ),
    "an entity in an attribute": lambda: (
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + POLL.replace(b"<t:serviceID", b"<t:serviceID a='&l9;'")
    ),
    "a million attributes": lambda: POLL.replace(b"<s:Envelope ", b"<s:Envelope" + b" abc=''" * 1_000_000 + b" "),
    "a million attributes, packed": lambda: gzip.compress(
        POLL.replace(b"<s:Envelope ", b"<s:Envelope" + b" abc=''" * 1_000_000 + b" "), 1
    ),
    "as many attributes as a request can have": lambda: POLL.replace(
        b"<t:serviceID", b"<t:serviceID" + as_many(" %s=''")
    ),
    "as many name spaces": lambda: POLL.replace(b"<s:Envelope ", b"<s:Envelope" + as_many(" xmlns:%s='u'") + b" "),
    "as many elements": lambda: POLL.replace(b"<s:Body>", b"<s:Header>" + b"<x/>" * 400_000 + b"</s:Header><s:Body>"),
    "as many inputs": lambda: POLL.replace(b"</t:getS", b"<t:serviceID/>" * 120_000 + b"</t:getS"),
    "as many references to characters": lambda: POLL.replace(b"nobody's", b"&#97;" * 390_000),
    "as many sections": lambda: POLL.replace(b"nobody's", b"<![CDATA[a]]>" * 140_000),
    "as many instructions": lambda: POLL.replace(b"nobody's", b"<?a?>" * 390_000 + b"nobody's"),
    "depth": lambda: POLL.replace(
        b"<s:Body>", b"<s:Header>" + b"<a>" * 290_000 + b"</a>" * 290_000 + b"</s:Header><s:Body>"
    ),
    "a name of a million letters": lambda: POLL.replace(b"serviceID", b"s" * 900_000),
    "an attribute of two million": lambda: POLL.replace(b"<t:serviceID", b"<t:serviceID a='" + b"x" * 1_900_000 + b"'"),
    "name spaces in each other": lambda: POLL.replace(
        b"<s:Body>",
        b"<s:Header>"
        + b"".join(b"<x xmlns:%s='u'>" % name.encode() for name in itertools.islice(names(), 250))
        + b"</x>" * 250
        + b"</s:Header><s:Body>",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_a_call_like_any_other_or_none(caller: Caller, bomb: str) -> None:
    body = BOMBS[bomb]()
    packed = {"HTTP_CONTENT_ENCODING": "gzip"} if body.startswith(b"\x1f\x8b") else {}
    reply = post(caller, body, **packed)
    assert reply["errorCode"] in ("InvalidParameter", "UnknownServiceID"), reply.body[:500]
    assert len(reply.body) < 3000
    assert post(caller, POLL)["errorCode"] == "UnknownServiceID"


def test_polls_go_on_while_a_large_call_is_parsed(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(body: bytes, *more: object) -> object:
        if len(body) > 1_000_000:
            begun.set()
            assert go_on.wait(60)
        return parse(body, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(app, "parse", slow)
    large = POLL.replace(b"nobody's", b"x" * 1_500_000)
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(post(caller, large)))
    thread.start()
    try:
        assert begun.wait(60)
        for _ in range(5):
            assert caller.call("Echo", "getServiceStatus", serviceID="warm").status == "200 OK"
    finally:
        go_on.set()
        thread.join(60)
    assert replies[0]["errorCode"] == "InvalidParameter"


# -- control characters, inwards ------------------------------------------------------------------------

# XML 1.0, section 2.2: written as they are, and as references
BARE = [b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\x1b", b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xed\xa0\x80"]
REFERENCES = [b"&#0;", b"&#x0;", b"&#1;", b"&#11;", b"&#x1b;", b"&#xFFFE;", b"&#xFFFF;", b"&#xD800;", b"&#x110000;"]
CALLS = {
    "getServiceStatus": ("serviceID", "sessionToken"),
    "abortService": ("serviceID", "sessionToken"),
    "notifyService": ("sessionToken", "serviceID", "message"),
    "startEcho": ("serviceID", "sessionToken", "text", "extraParameters"),
}


@pytest.mark.parametrize("character", BARE + REFERENCES, ids=repr)
def test_what_xml_can_t_carry_is_refused_wherever_it_stands(caller: Caller, character: bytes) -> None:
    for operation, inputs in CALLS.items():
        for spoilt in inputs:
            texts = dict.fromkeys(inputs, "never started") | {spoilt: "beforeafter"}
            body = envelope(operation, **texts).replace(b"beforeafter", b"before" + character + b"after")
            reply = post(caller, body)
            assert "no well-formed XML" in reply["faultstring"], (operation, spoilt)
    assert "never%20started" not in [*caller.lab.store.names()]


@pytest.mark.parametrize("character", "\t\r\n\x7f\x85\u2028\u202e\ufffd\ufeff\U0010ffff", ids=repr)
def test_what_xml_can_carry_comes_back_as_it_was(caller: Caller, character: str) -> None:
    text = f"before{character}after"
    written = text.replace("\r", "&#13;")
    inside = "".join(f"<t:{name}>{written}</t:{name}>" for name in ("serviceID", "sessionToken", "text"))
    assert post(caller, envelope("startEcho", inside)).status == "200 OK"
    caller.lab.ended(text)
    assert post(caller, envelope("getServiceStatus", inside.partition("<t:text>")[0]))["text"] == text

"""Requests that no well-behaved toolkit sends: each gets SOAP or the right HTTP answer."""

import gzip
import json
import zlib

import pytest

from callers import NS, SOAP_11, Caller, envelope

GOOD = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
DOCTYPE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no body"),
        (b"   ", "no body"),
        (b"hello", "no well-formed XML"),
        (b"\xff\xfe\x00", "no well-formed XML"),
        (GOOD[:-5], "no well-formed XML"),
        (GOOD.replace(b"nobody", b"nob\xff\xfe"), "no well-formed XML"),
        (DOCTYPE + GOOD, "DOCTYPE"),
        (DOCTYPE + GOOD.replace(b"nobody's", b"&e;"), "DOCTYPE"),
        (GOOD.replace(b"nobody's", b"&undeclared;"), "no well-formed XML"),
        (b"<a/>", "no SOAP 1.1 envelope"),
        (f'<s:Envelope xmlns:s="{SOAP_11}"/>'.encode(), "one operation"),
        (f'<s:Envelope xmlns:s="{SOAP_11}"><s:Body/></s:Envelope>'.encode(), "one operation"),
        (envelope("startRocket", serviceID="a"), "no operation “startRocket”"),
        (envelope("getServiceStatus", ns="urn:other"), "namespace “urn:other”"),
        (envelope("getServiceStatus", "<t:serviceID>a</t:serviceID><t:serviceID>b</t:serviceID>"), "there twice"),
        (envelope("getServiceStatus", "<t:serviceID><b/></t:serviceID>"), "plain text"),
        (b"<" + b"a>" * 300_000, "no well-formed XML"),
        (envelope("getServiceStatus", "<t:x>" * 400 + "</t:x>" * 400), ""),
    ],
)
def test_what_cannot_be_understood_is_a_client_fault(caller: Caller, body: bytes, words: str) -> None:
    reply = caller("/Echo", body)
    assert reply.status.startswith("500")
    assert reply["faultcode"] == "soap11env:Client.InvalidParameter"
    assert words in reply["faultstring"]


@pytest.mark.parametrize(
    ("body", "environ"),
    [
        (GOOD.decode().encode("utf-16"), {}),
        (b"\xef\xbb\xbf" + GOOD, {}),
        (GOOD.decode().encode("utf-16"), {"CONTENT_TYPE": "text/xml; charset=utf-16"}),
        (b'<?xml version="1.0" encoding="UTF-8"?>' + GOOD, {"CONTENT_TYPE": 'text/xml; charset="ISO-8859-1"'}),
        (gzip.compress(GOOD), {"HTTP_CONTENT_ENCODING": "gzip"}),
        (GOOD, {"CONTENT_LENGTH": ""}),
        (GOOD, {"CONTENT_TYPE": ""}),
        (
            GOOD.replace(
                b"<t:serviceID>", b'<t:serviceID xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="i:int">'
            ),
            {},
        ),
    ],
)
def test_other_spellings_of_a_good_call_are_understood(caller: Caller, body: bytes, environ: dict[str, str]) -> None:
    assert caller("/Echo", body, **environ)["errorCode"] == "UnknownServiceID"


@pytest.mark.parametrize(
    ("body", "environ", "status", "words"),
    [
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=klingon"}, "500", "charset “klingon”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=hex"}, "500", "charset “hex”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=bz2"}, "500", "charset “bz2”"),
        (zlib.compress(GOOD), {"CONTENT_TYPE": "text/xml; charset=zlib"}, "500", "charset “zlib”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=punycode"}, "500", "charset “punycode”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=Unicode_Escape"}, "500", "charset “unicode_escape”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=a\0b"}, "500", "is not known"),
        (GOOD, {"HTTP_CONTENT_ENCODING": "br"}, "415", "content encoding"),
        (b"no gzip", {"HTTP_CONTENT_ENCODING": "gzip"}, "500", "damaged"),
        (gzip.compress(b" " * 5_000_000), {"HTTP_CONTENT_ENCODING": "gzip"}, "413", "larger than"),
        (b" " * 3_000_000, {}, "413", "larger than"),
        (GOOD, {"CONTENT_TYPE": "multipart/related; boundary=x"}, "415", "Attachments"),
    ],
)
def test_what_is_not_read_here_is_named(
    caller: Caller, body: bytes, environ: dict[str, str], status: str, words: str
) -> None:
    reply = caller("/Echo", body, **environ)
    assert reply.status.startswith(status)
    assert words in reply["faultstring"]


def test_soap_1_2_is_a_version_mismatch_and_a_header_that_must_be_understood_is_refused(caller: Caller) -> None:
    twelve = GOOD.replace(SOAP_11.encode(), b"http://www.w3.org/2003/05/soap-envelope")
    assert caller("/Echo", twelve)["faultcode"] == "soap11env:VersionMismatch"
    header = b'<s:Header><x:secret xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header><s:Body>'
    assert caller("/Echo", GOOD.replace(b"<s:Body>", header))["faultcode"] == "soap11env:MustUnderstand"
    for harmless in (header.replace(b'"1"', b'"0"'), header.replace(b" s:must", b' s:actor="urn:a-proxy" s:must')):
        assert caller("/Echo", GOOD.replace(b"<s:Body>", harmless))["errorCode"] == "UnknownServiceID"
    ours = header.replace(b" s:must", b' s:actor="http://schemas.xmlsoap.org/soap/actor/next" s:must')
    assert caller("/Echo", GOOD.replace(b"<s:Body>", ours))["faultcode"] == "soap11env:MustUnderstand"


@pytest.mark.parametrize(("method", "status"), [("PUT", "405"), ("DELETE", "405"), ("GET", "405"), ("OPTIONS", "204")])
def test_other_methods_learn_what_is_allowed(caller: Caller, method: str, status: str) -> None:
    reply = caller("/Echo", method=method)
    assert reply.status.startswith(status)
    assert "POST" in reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/echo/Echo", "/Echo", "/Echo/", "/Echo.wsdl"])
@pytest.mark.parametrize("query", ["wsdl", "WSDL", "wsdl=1"])
def test_the_wsdl_is_found_in_every_usual_spelling(caller: Caller, path: str, query: str) -> None:
    reply = caller(path, query="" if path.endswith(".wsdl") else query)
    assert reply.status == "200 OK"
    address = f"http://lab.example:8080{caller.root}{path.rstrip('/').removesuffix('.wsdl')}"
    assert f'location="{address}"'.encode() in reply.body
    head = caller(path, query="wsdl", method="HEAD")
    assert (head.status, head.body) == ("200 OK", b"")
    assert head.headers["Content-Length"] == str(len(caller(path, query="wsdl").body))


@pytest.mark.parametrize("host", ["evil.example/<x>", '"quoted"', "", "two words"])
def test_a_strange_host_header_gets_nowhere(caller: Caller, host: str) -> None:
    reply = caller("/Echo", query="wsdl", HTTP_HOST=host)
    assert f'location="http://localhost:8080{caller.root}/Echo"'.encode() in reply.body


def test_an_address_without_a_service_lists_those_there_are(caller: Caller) -> None:
    for path in ("/nothing", "/nothing/Here"):
        reply = caller(path)
        assert reply.status.startswith("404")
        assert "/echo/Echo?wsdl" in reply.body.decode()
    assert caller("/nothing", b"x").status.startswith("404")
    assert b"Echo" in caller("").body and b"not available" in caller("/").body
    assert json.loads(caller("/health").body)["status"] == "ok"
    assert NS.encode() in caller("/Echo", query="wsdl").body

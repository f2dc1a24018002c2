"""Requests that no well-behaved toolkit sends: each gets SOAP or the right HTTP answer."""

import base64
import gzip
import json
import quopri
import zlib

import pytest

from callers import NS, SOAP_11, Caller, envelope, warm
from lab import Lab

GOOD = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
CAFE = envelope("startEcho", serviceID="one", sessionToken="t", text="café 漢")
LATIN = CAFE.decode().replace(" 漢", "").encode("latin-1")
DECLARED = b'<?xml version="1.0" encoding="%s"?>\n'
DOCTYPE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.fixture(scope="module")
def caller(shared_lab: Lab) -> Caller:
    """With a lane that knows the form of GOOD; `.ci/run` has these tests without a lane, too."""
    return warm(Caller(shared_lab))


@pytest.fixture
def own(lab: Lab) -> Caller:
    """The same of the test's own lab: it starts something."""
    return warm(Caller(lab))


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
    ("body", "environ", "words"),
    [
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=klingon"}, "charset “klingon”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=hex"}, "charset “hex”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=bz2"}, "charset “bz2”"),
        (zlib.compress(GOOD), {"CONTENT_TYPE": "text/xml; charset=zlib"}, "charset “zlib”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=punycode"}, "charset “punycode”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=Unicode_Escape"}, "charset “unicode_escape”"),
        (GOOD, {"CONTENT_TYPE": "text/xml; charset=a\0b"}, "is not known"),
        (b"\xef\xbb\xbf" + LATIN, {"CONTENT_TYPE": "text/xml; charset=latin1"}, "no well-formed XML"),
        (GOOD, {"HTTP_CONTENT_ENCODING": "br"}, "encoding “br”"),
        (gzip.compress(GOOD), {"HTTP_CONTENT_ENCODING": "br, gzip"}, "encoding “br”"),
        (b"no gzip", {"HTTP_CONTENT_ENCODING": "gzip"}, "damaged"),
        (gzip.compress(GOOD)[:-9], {"HTTP_CONTENT_ENCODING": "gzip"}, "cut short"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, {"HTTP_CONTENT_ENCODING": "gzip"}, "damaged"),
        (gzip.compress(b"") * 50_000, {"HTTP_CONTENT_ENCODING": "gzip"}, "no body"),
        (gzip.compress(b" " * 5_000_000), {"HTTP_CONTENT_ENCODING": "gzip"}, "larger than"),
        (b" " * 3_000_000, {}, "larger than"),
        (GOOD, {"CONTENT_TYPE": "multipart/related"}, "only multipart/related"),
        (GOOD, {"CONTENT_TYPE": "multipart/form-data; boundary=x"}, "only multipart/related"),
        (GOOD, {"CONTENT_TYPE": "multipart/related; boundary=x"}, "no root part"),
        (b"--x\r\n\r\n" * 100_000, {"CONTENT_TYPE": "multipart/related; boundary=x; start=a"}, "no root part"),
    ],
)
def test_what_is_not_read_here_is_named_in_a_fault_that_every_toolkit_reads(
    caller: Caller, body: bytes, environ: dict[str, str], words: str
) -> None:
    reply = caller("/Echo", body, **environ)
    assert reply.status.startswith("500")  # SOAP 1.1, section 6.2: of another one toolkits don't read the body
    assert words in reply["faultstring"]
    assert f'<tns:ServiceFault xmlns:tns="{NS}">'.encode() in reply.body


def given(caller: Caller, body: bytes, **environ: str) -> str:
    """Start Echo so: the text that it was given."""
    reply = caller("/Echo", body, **environ)
    assert reply.status == "200 OK", reply["faultstring"]
    return str(caller.lab.record("one").request.inputs["text"])


@pytest.mark.parametrize("encoding", [b"ISO-8859-1", b"windows-1252", b"utf-16", b"UTF-8", b"nonsense"])
def test_the_charset_of_http_wins_over_the_document_s_own_word(own: Caller, encoding: bytes) -> None:
    """RFC 7303, section 3. .NET writes what its StringWriter thinks, and sends UTF-8."""
    assert given(own, DECLARED % encoding + CAFE, CONTENT_TYPE="text/xml; charset=utf-8") == "café 漢"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (DECLARED % b"UTF-8" + LATIN, 'text/xml; CharSet = "ISO-8859-1"'),
        (DECLARED % b"ISO-8859-1" + LATIN, "text/xml"),
        (b"\xef\xbb\xbf" + DECLARED % b"ISO-8859-1" + CAFE, "text/xml; charset=iso-8859-1"),
        ((DECLARED % b"utf-8" + CAFE).decode().encode("utf-16-le"), "text/xml; charset=utf-16"),
        ((DECLARED % b"utf-8" + CAFE).decode().encode("utf-16-be"), "text/xml; charset=UTF-16"),
        ((DECLARED % b"utf-8" + CAFE).decode().encode("utf-16"), "text/xml; charset=utf-8"),
        (DECLARED % b"UTF-8" + CAFE, "text/xml; x-charset=iso-8859-1"),
        (DECLARED % b"UTF-8" + CAFE, "text/xml; charset=utf-16"),  # it can't be that, and is well-formed
        (DECLARED % b"UTF-8" + CAFE, 'text/xml; action="a;charset=iso-8859-1"; charset=utf-8'),
    ],
)
def test_a_byte_order_mark_then_http_then_the_document_say_its_charset(own: Caller, body: bytes, kind: str) -> None:
    assert given(own, body, CONTENT_TYPE=kind).startswith("café")


XOP = 'multipart/related; boundary="--=_b 1"; type="application/xop+xml"; start="<root@x>"; start-info="text/xml"'


def parts(*headers_and_bodies: tuple[str, bytes], ends: bytes = b"\r\n", boundary: bytes = b"--=_b 1") -> bytes:
    """A multipart body."""
    written = b"preamble" + ends
    for headers, body in headers_and_bodies:
        lines = headers.encode().replace(b"\n", ends)
        written += b"--" + boundary + ends + lines + ends * (2 if lines else 1) + body + ends
    return written + b"--" + boundary + b"--" + ends


ROOT = 'Content-Type: application/xop+xml; charset=UTF-8; type="text/xml"\nContent-ID: <root@x>'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (XOP, parts((ROOT, CAFE))),
        (XOP, parts((ROOT, CAFE), ends=b"\n")),
        (XOP, parts(("Content-ID: <picture>", b"\x89PNG\r\n\r\n--\0"), (ROOT, CAFE))),
        (XOP.replace("start=", "x-start="), parts((ROOT, CAFE), ("", b"more"))),
        (XOP, parts((ROOT + "\nContent-Transfer-Encoding: base64", base64.encodebytes(CAFE)))),
        (XOP, parts((ROOT + "\nContent-Transfer-Encoding: Quoted-Printable", quopri.encodestring(CAFE)))),
        (XOP, parts((ROOT.replace("UTF-8", "iso-8859-1"), LATIN))),
        ("Multipart/Related; boundary=b; type=text/xml", parts(("", CAFE), boundary=b"b")),
        (XOP, parts((ROOT, CAFE)).partition(b"--=_b 1--")[0] + b"--=_b 1--"),
    ],
)
def test_an_envelope_that_is_the_root_of_a_multipart_request_is_read(own: Caller, kind: str, body: bytes) -> None:
    """As clients with MTOM or attachments switched on send every call (RFC 2387)."""
    assert given(own, body, CONTENT_TYPE=kind).startswith("café")


@pytest.mark.parametrize(
    "inside", ['<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:a"/>', "<text href='cid:a'/>"]
)
def test_an_input_that_lies_in_an_attachment_is_refused_by_name(caller: Caller, inside: str) -> None:
    written = inside if inside.startswith("<text") else f"<text>{inside}</text>"
    body = envelope("startEcho", written, serviceID="one", sessionToken="t")
    reply = caller("/Echo", parts((ROOT, body), ("Content-ID: <a>", b"text")), CONTENT_TYPE=XOP)
    assert "The input text refers to an attachment" in reply["faultstring"]


def test_an_input_in_a_foreign_namespace_is_no_input_and_one_without_any_is_read(own: Caller) -> None:
    strange = envelope("startEcho", '<o:text xmlns:o="urn:other">x</o:text>', serviceID="one", sessionToken="t")
    assert "no input “text” in the namespace “urn:other”" in own("/Echo", strange)["faultstring"]
    assert given(own, envelope("startEcho", "<text>x</text>", serviceID="one", sessionToken="t")) == "x"


def test_soap_1_2_is_a_version_mismatch_and_a_header_that_must_be_understood_is_refused(caller: Caller) -> None:
    twelve = GOOD.replace(SOAP_11.encode(), b"http://www.w3.org/2003/05/soap-envelope")
    assert caller("/Echo", twelve)["faultcode"] == "soap11env:VersionMismatch"
    header = b'<s:Header><x:secret xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header><s:Body>'
    assert caller("/Echo", GOOD.replace(b"<s:Body>", header))["faultcode"] == "soap11env:MustUnderstand"
    for harmless in (header.replace(b'"1"', b'"0"'), header.replace(b" s:must", b' s:actor="urn:a-proxy" s:must')):
        assert caller("/Echo", GOOD.replace(b"<s:Body>", harmless))["errorCode"] == "UnknownServiceID"
    ours = header.replace(b" s:must", b' s:actor="http://schemas.xmlsoap.org/soap/actor/next" s:must')
    assert caller("/Echo", GOOD.replace(b"<s:Body>", ours))["faultcode"] == "soap11env:MustUnderstand"


def test_the_fault_of_a_header_carries_no_detail(caller: Caller) -> None:
    """SOAP 1.1, section 4.4: a detail is of the body's errors alone."""
    header = b'<s:Header><x:secret xmlns:x="urn:x" s:mustUnderstand="%s"/></s:Header><s:Body>'
    for true in (b"1", b"true", b" 1 ", b"\ttrue\n"):  # xs:boolean's white space collapses
        reply = caller("/Echo", GOOD.replace(b"<s:Body>", header % true))
        assert reply["faultcode"] == "soap11env:MustUnderstand" and b"detail" not in reply.body
        assert "“secret” must be understood" in reply["faultstring"]


@pytest.mark.parametrize(("method", "status"), [("PUT", "405"), ("DELETE", "405"), ("GET", "405"), ("OPTIONS", "204")])
def test_other_methods_learn_what_is_allowed(caller: Caller, method: str, status: str) -> None:
    reply = caller("/Echo", method=method)
    assert reply.status.startswith(status)
    assert "POST" in reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/echo/Echo", "/Echo", "/Echo/", "/Echo.wsdl"])
@pytest.mark.parametrize("query", ["wsdl", "WSDL", "wsdl=1", "wsdl&x=1", "x=1&wsdl", "wsdl&", "_=17&WSDL=&a"])
def test_the_wsdl_is_found_in_every_usual_spelling(caller: Caller, path: str, query: str) -> None:
    reply = caller(path, query="" if path.endswith(".wsdl") else query)
    assert reply.status == "200 OK"
    address = f"http://lab.example:8080{caller.root}{path.rstrip('/').removesuffix('.wsdl')}"
    assert f'location="{address}"'.encode() in reply.body
    head = caller(path, query="wsdl", method="HEAD")
    assert (head.status, head.body) == ("200 OK", b"")
    assert head.headers["Content-Length"] == str(len(caller(path, query="wsdl").body))


@pytest.mark.parametrize(
    "host", ["evil.example/<x>", '"quoted"', "", "two words", "a,b", "a:99999", "me@a", "[::1", "ü"]
)
def test_a_strange_host_header_is_refused_as_http_says(caller: Caller, host: str) -> None:
    """RFC 9112, section 3.2."""
    for body in (None, GOOD):
        reply = caller("/Echo", body, query="wsdl", HTTP_HOST=host, SERVER_PROTOCOL="HTTP/1.1")
        assert reply.status == "400 Bad Request" and "Host" in reply.body.decode()


def test_an_address_without_a_service_lists_those_there_are(caller: Caller) -> None:
    for path in ("/nothing", "/nothing/Here"):
        reply = caller(path)
        assert reply.status.startswith("404")
        assert "/echo/Echo?wsdl" in reply.body.decode()
    for path in ("//echo//Echo", "///Echo", "//Echo/"):
        reply = caller(path, query="wsdl")
        assert reply.status == "200 OK" and b"http://lab.example:8080%s/" % caller.root.encode() in reply.body
    assert caller("/Echo", query="nowsdl&x=wsdl").status.startswith("405")
    assert caller("/nothing", b"x").status.startswith("404")
    assert b"Echo" in caller("").body and b"not available" in caller("/").body
    assert json.loads(caller("/health").body)["status"] == "ok"
    assert NS.encode() in caller("/Echo", query="wsdl").body

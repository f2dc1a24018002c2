"""The small print of HTTP and SOAP, clause by clause, against the real web server: what each asks, and what comes.

Each line: the clause, what is sent (to Echo unless it says otherwise), the status, and words of the answer. What the
web server decides by itself stands here, too: it is part of what callers meet.
"""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator

import pytest

from callers import SOAP_11, Web, envelope, warm
from lab import Lab

ROOT = b"/sintef/docker_services"
GOOD = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
UNKNOWN = b"UnknownServiceID"  # the answer to a call that was understood
START = envelope("startEcho", sessionToken="t", serviceID="-", text="x")


def post(
    *headers: str, body: bytes = GOOD, version: str = "1.1", length: bool = True, host: str = "Host: lab.example"
) -> bytes:
    lines = [f"POST {ROOT.decode()}/Echo HTTP/{version}", *([host] if host else []), "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}"] * length
    if not any(h.lower().startswith("content-type") for h in headers):
        lines.append("Content-Type: text/xml; charset=utf-8")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, extra: bytes = b"", trailer: bytes = b"") -> bytes:
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extra, p) for p in pieces) + b"0\r\n" + trailer + b"\r\n"


def get(target: bytes, *headers: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/" + version, b"Connection: close", *headers, b"", b""])


def gzipped(flags: int, more: bytes | None = b"") -> bytes:
    """GOOD in gzip whose head has these flags and what they announce; None: the right CRC16."""
    whole = gzip.compress(GOOD)
    head = whole[:3] + bytes([flags]) + whole[4:10]
    return head + ((zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") if more is None else more) + whole[10:]


HOST = b"Host: lab.example"
WSDL = ROOT + b"/echo/Echo?wsdl"
TE = "Transfer-Encoding: "

HTTP: list[tuple[str, bytes, int, bytes]] = [
    # -- RFC 9112: messages
    ("9112 2.2: a server accepts a bare LF as a line's end", get(WSDL, HOST).replace(b"\r\n", b"\n"), 200, b"definiti"),
    ("9112 2.2: empty lines before a request are passed over", b"\r\n" + get(WSDL, HOST), 200, b"definitions"),
    ("9112 2.3: a major version that isn't spoken is refused", get(WSDL, HOST, version=b"2.0"), 400, b""),
    ("9112 3: what is no request line is 400", b"NONSENSE\r\n\r\n", 400, b""),
    ("9112 3.2: no Host is 400", get(WSDL), 400, b"has no Host"),
    ("9112 3.2: two Hosts are 400", get(WSDL, HOST, b"Host: b"), 400, b"several Hosts"),
    ("9112 3.2: an empty Host is 400 for http", get(WSDL, b"Host:"), 400, b"has no Host"),
    ("9112 3.2: one that isn't ASCII is none", get(WSDL, b"Host: m\xfcsli"), 400, b"other letters than ASCII"),
    ("9110 4.2.1: nobody is called at port 0", get(WSDL, b"Host: x:0"), 400, b"Host that is none"),
    ("3986 3.2.2, 1034 3.1: no part of a name is empty", get(WSDL, b"Host: .."), 400, b"Host that is none"),
    ("4291 2.5.2: 0.0.0.0 is no address to be told", get(WSDL, b"Host: 0.0.0.0:80"), 200,
     b'location="http://127.0.0.1:'),
    ("4291 2.5.2: nor is ::", get(WSDL, b"Host: [::]"), 200, b'location="http://127.0.0.1:'),
    ("9112 3.2: a Host that is none is 400", get(WSDL, b"Host: a/b"), 400, b"Host that is none"),
    ("9112 3.2: so for calls", post(host=""), 400, b"has no Host"),
    ("9112 3.2: HTTP/1.0 needs none", get(WSDL, version=b"1.0"), 200, b'location="http://127.0.0.1:'),
    # deviates, docs/operating.md: that host should win
    ("9112 3.2.2: an absolute target is served", get(b"http://other.example" + WSDL, HOST), 200, b"http://lab.example/"),
    ("9112 3.2.2: its host is the one, where no Host is", get(b"http://o.example" + WSDL), 200, b"http://o.example/"),
    ("9112 3.2.3: CONNECT is for proxies", get(b"lab.example:80", HOST, method=b"CONNECT"), 405, b""),
    ("9112 3.2.4: OPTIONS * is of the server", get(b"*", HOST, method=b"OPTIONS"), 204, b""),
    ("9112 5.1: no blank before a header's colon", get(WSDL, b"Host : lab.example"), 400, b""),
    ("9112 5.2: folded headers are refused", get(WSDL, HOST, b"X: a\r\n b"), 400, b""),
    ("9112 6.1: chunked", post(TE + "chunked", body=chunked(GOOD[:9], GOOD[9:]), length=False), 500, UNKNOWN),
    ("9112 6.1: in any spelling", post(TE + "CHUNKED", body=chunked(GOOD), length=False), 500, UNKNOWN),
    ("9112 6.1: other codings below it are undone",
     post(TE + "gzip, chunked", body=chunked(gzip.compress(GOOD)), length=False), 500, UNKNOWN),
    ("9112 6.1: or refused", post(TE + "br, chunked", body=chunked(GOOD), length=False), 500,
     b"is not read"),
    ("9112 6.1: chunked isn't last: 400", post(TE + "chunked, gzip", length=False), 400, b""),
    ("9112 6.1: HTTP/1.0 has none", post(TE + "chunked", body=chunked(GOOD), length=False, version="1.0"), 400, b""),
    ("9112 6.3: chunked wins over a length, or is refused",
     post(TE + "chunked", "Content-Length: 3", body=chunked(GOOD), length=False), 500, UNKNOWN),
    ("9112 6.3: two lengths that differ are 400", post("Content-Length: 3"), 400, b""),
    ("9112 6.3: a length is digits", post("Content-Length: +3", length=False), 400, b""),
    ("9112 6.3: neither: no body", post(body=b"", length=False), 500, b"no body"),
    ("9112 6.3: a shorter body than its length is none", post(f"Content-Length: {len(GOOD) + 9}", length=False), 500,
     b"cut short"),
    ("9112 7.1: damaged chunks", post(TE + "chunked", body=b"zz\r\n" + GOOD, length=False), 500, b"chunks are damaged"),
    ("9112 8: half an envelope before damaged chunks", post(TE + "chunked", body=chunked(GOOD[:-9])[:-5] + b"zz\r\n",
     length=False), 500, b"no well-formed XML"),
    # deviates, docs/operating.md: it should be refused
    ("9112 8: a whole one before them", post(TE + "chunked", body=chunked(GOOD)[:-5] + b"zz\r\n", length=False), 500,
     UNKNOWN),
    ("9112 7.1.1: unknown chunk extensions are passed over",
     post(TE + "chunked", body=chunked(GOOD, extra=b';a="b"'), length=False), 500, UNKNOWN),
    ("9112 7.1.2: trailers are passed over",
     post(TE + "chunked", body=chunked(GOOD, trailer=b"X-Sum: 1\r\n"), length=False), 500, UNKNOWN),
    # -- RFC 9110: semantics
    ("9110 5.6.6: parameters' names have no case", post('Content-Type: text/xml; CHARSET="utf-8"'), 500, UNKNOWN),
    ("9110 5.6.6: another name is another", post("Content-Type: text/xml; x-charset=klingon"), 500, UNKNOWN),
    ("9110 5.6.6: a quoted value is one value",
     post('Content-Type: text/xml; a="; charset=klingon"; charset=utf-8'), 500, UNKNOWN),
    ("9110 5.6.6: in it \\ quotes", post('Content-Type: text/xml; a="\\"; charset=klingon"'), 500, UNKNOWN),
    ("9110 7.2: an empty port is the usual one", get(WSDL, b"Host: o.example:"), 200, b"http://o.example/"),
    ("9110 8.4: codings are undone in their order",
     post("Content-Encoding: gzip, X-GZIP", body=gzip.compress(gzip.compress(GOOD))), 500, UNKNOWN),
    ("9110 8.4: also in several headers", post("Content-Encoding: gzip", "Content-Encoding: gzip",
                                              body=gzip.compress(gzip.compress(GOOD))), 500, UNKNOWN),
    ("9110 8.4.1: identity is none", post("Content-Encoding: identity"), 500, UNKNOWN),
    ("9110 9.1: a method that an address doesn't take is 405 and Allow",
     get(ROOT + b"/Echo", HOST, method=b"PUT"), 405, b"allow: GET, HEAD, OPTIONS, POST"),
    ("9110 9.1: also of pages", get(ROOT + b"/health", HOST, method=b"PUT"), 405, b"allow: GET, HEAD, OPTIONS"),
    ("9110 9.3.2: HEAD is GET without its body", get(WSDL, HOST, method=b"HEAD"), 200, b"content-length: "),
    ("9110 9.3.7: OPTIONS", get(ROOT + b"/Echo", HOST, method=b"OPTIONS"), 204, b"allow: GET, HEAD, OPTIONS, POST"),
    ("9110 10.1.1: an expectation may be passed over", post("Expect: 200-maybe"), 500, UNKNOWN),
    ("9110 12.5.3: gzip is sent to nobody who didn't ask", get(WSDL, HOST), 200, b"<wsdl:definitions"),
    # -- RFC 1952: gzip
    ("1952 2.2: several members are one text", post("Content-Encoding: gzip",
     body=gzip.compress(GOOD[:40]) + gzip.compress(b"") + gzip.compress(GOOD[40:])), 500, UNKNOWN),
    ("1952 2.3.1: a member that is cut short", post("Content-Encoding: gzip", body=gzip.compress(GOOD)[:-1]), 500,
     b"cut short"),
    ("1952 2.3.1: a wrong CRC", post("Content-Encoding: gzip", body=gzip.compress(GOOD)[:-8] + b"\1" * 8), 500,
     b"damaged"),
    ("1952 2.3.1: what follows is no member", post("Content-Encoding: gzip", body=gzip.compress(GOOD) + b"x"), 500,
     b"damaged"),
    ("1952 2.3.1.2: reserved flags", post("Content-Encoding: gzip", body=gzipped(0x20)), 500, b"damaged"),
    ("1952 2.3.1: a wrong CRC16 of the head", post("Content-Encoding: gzip",
     body=gzipped(2, b"\0\0")), 500, b"damaged"),
    ("1952 2.3.1: a right one", post("Content-Encoding: gzip", body=gzipped(2, None)), 500, UNKNOWN),
    ("1952 2.3.1: a name and a comment", post("Content-Encoding: gzip", body=gzipped(0x18, b"name\0comment\0")), 500,
     UNKNOWN),
    ("1952 2.2: very many members", post("Content-Encoding: gzip",
     body=gzip.compress(GOOD) + gzip.compress(b"") * 50_000),
     500, UNKNOWN),
    ("1952 2.2: more than a request may have", post("Content-Encoding: gzip",
     body=gzip.compress(b" " * 3_000_000)), 500,
     b"larger than"),
    ("gzip(1): padding of zeros is none", post("Content-Encoding: gzip", body=gzip.compress(GOOD) + b"\0" * 9), 500,
     UNKNOWN),
]  # fmt: skip


def soap(header: str = "", after: str = "", attributes: str = "", body: bytes = GOOD) -> bytes:
    """A call with these in its envelope."""
    text = body.decode().replace("<s:Envelope ", f"<s:Envelope {attributes} ")
    text = text.replace("<s:Body>", f"<s:Header>{header}</s:Header><s:Body>" if header else "<s:Body>")
    return post(body=text.replace("</s:Body>", f"</s:Body>{after}").encode())


def must(value: str, actor: str = "") -> str:
    who = f' s:actor="{actor}"' if actor else ""
    return f'<x:h xmlns:x="urn:x" s:mustUnderstand="{value}"{who}/>'


NEXT = "http://schemas.xmlsoap.org/soap/actor/next"
SOAP: list[tuple[str, bytes, int, bytes]] = [
    ("1.1 3: no DTD", post(body=b"<!DOCTYPE a>" + GOOD), 500, b"DOCTYPE"),
    ("1.1 3: an instruction is passed over", post(body=b"<?x y?>" + GOOD), 500, UNKNOWN),
    ("1.1 4.1.1: encodingStyle is passed over", soap(attributes=f's:encodingStyle="{SOAP_11}"'), 500, UNKNOWN),
    ("1.1 4.1.2: another envelope is VersionMismatch", post(body=GOOD.replace(SOAP_11.encode(), b"urn:soap")), 500,
     b"VersionMismatch"),
    ("1.1 4.2: a header that nobody must understand", soap(must("0")), 500, UNKNOWN),
    ("1.1 4.2.2: to us by its actor", soap(must("1", NEXT)), 500, b"MustUnderstand"),
    ("1.1 4.2.2: to another one", soap(must("1", "urn:other")), 500, UNKNOWN),
    ("1.1 4.2.3: one that must be understood", soap(must("1")), 500, b"MustUnderstand"),
    ("Schema 2, 3.2.2: true, too, and white space collapses", soap(must(" true\n")), 500, b"MustUnderstand"),
    ("Schema 2, 3.2.2: nil's, too", post(body=START.replace(b"<t:text>x", b'<t:text xmlns:i='
     b'"http://www.w3.org/2001/XMLSchema-instance" i:nil=" true ">')), 500, b"text is missing"),
    ("1.1 4.3: one Body", soap(after="<s:Body/>"), 500, b"two Body"),
    ("1.1 4.3: no Body", post(body=GOOD.replace(b"s:Body", b"s:Head")), 500, b"must hold one operation"),
    ("1.1 4.3, BP R9981: what follows the Body is passed over", soap(after='<x:y xmlns:x="urn:x"/>'), 500, UNKNOWN),
    ("1.1 4.4: the fault of a body has a detail", soap(), 500, b"<detail>"),
    ("1.1 5: a reference to elsewhere", post(body=START.replace(b"<t:text>x", b'<t:text href="#a">')), 500,
     b"refers to"),
    ("1.1 6.1: other media types are read", post("Content-Type: application/xml"), 500, UNKNOWN),
    ("1.1 6.1.1: no SOAPAction, or any", post('SOAPAction: "urn:any"'), 500, UNKNOWN),
    ("1.1 6.2: a fault is 500", post(body=b"<a/>"), 500, b"no SOAP 1.1 envelope"),
    ("BP R1012: UTF-16", post("Content-Type: text/xml", body=GOOD.decode().encode("utf-16")), 500, UNKNOWN),
    ("BP R1111: an answer is 200", post(body=START), 200, b"status_base64"),
    ("BP R1126: a fault is 500 for what is too large", post(body=b" " * 3_000_000), 500, b"larger than"),
    ("BP R1126: and for what can't be read", post("Content-Encoding: br"), 500, b"is not read here"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One deployment for the whole table. Its lane knows the form of GOOD; `.ci/run` has it without a lane, too."""
    import shutil

    from lab import SAMPLES

    folder = tmp_path_factory.mktemp("print")
    (folder / "services").mkdir()
    shutil.copy(SAMPLES / "services.py", folder / "services" / "services.py")
    lab = Lab(folder / "jobs", folder / "services")
    lab.supervise()
    web = Web(lab)
    yield warm(web)
    web.close()
    lab.close()


def artifacts(port: int, request: bytes, half: bool = False) -> bytes:
    """What comes; `half`: nothing more is sent, and that is told."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(request)
        if half:
            line.shutdown(socket.SHUT_WR)
        got = b""
        while piece := line.recv(65536):
            got += piece
        return got


@pytest.mark.parametrize(("clause", "request_", "status", "words"), HTTP + SOAP, ids=[c[0] for c in HTTP + SOAP])
def test_what_each_clause_asks_is_what_comes(
    served: Web, clause: str, request_: bytes, status: int, words: bytes
) -> None:
    got = artifacts(served.port, request_, half="shorter body" in clause)
    assert got.startswith((b"HTTP/1.1 %d" % status, b"HTTP/1.0 %d" % status)), got[:500]
    head, _, body = got.partition(b"\r\n\r\n")
    assert words in (head.replace(b"Allow", b"allow") + b"\r\n" + body), got[:800]


def test_a_header_name_that_only_ends_like_ours_is_not_ours(make_web: Callable[..., Web], served: Web) -> None:
    got = artifacts(served.port, post("X-Content-Encoding: br", "X-Host: evil.example"))
    assert UNKNOWN in got

"""`lint` on WSDLs as others write them: it says what is so, and why."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwaiter.desk import fetch as fetching
from labwaiter.desk.lint import lint
from labwaiter.desk.wsdl import read

HEAD = (
    '<definitions name="W" targetNamespace="urn:x" xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:x"'
    ' xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/"'
    ' xmlns:xs="http://www.w3.org/2001/XMLSchema">'
)
TYPES = (
    '<types><xs:schema targetNamespace="urn:x" elementFormDefault="qualified">{more}'
    '<xs:element name="run"><xs:complexType><xs:sequence><xs:element name="serviceID" type="xs:string"/>'
    '<xs:element name="sessionToken" type="xs:string"/></xs:sequence></xs:complexType></xs:element>'
    '<xs:element name="runResponse"><xs:complexType><xs:sequence><xs:element name="status_base64" type="xs:string"/>'
    "</xs:sequence></xs:complexType></xs:element>"
    '<xs:element name="bare" type="xs:string"/><xs:element name="token" type="xs:string"/></xs:schema></types>'
)
MESSAGES = (
    '<message name="in"><part name="parameters" element="t:run"/>{in_more}</message>'
    '<message name="out"><part name="parameters" element="t:runResponse"/></message>'
    '<message name="bare"><part name="parameters" element="t:bare"/></message>'
)


def operation(name: str, message: str = "in") -> str:
    return f'<operation name="{name}"><input message="t:{message}"/><output message="t:out"/></operation>'


def bound(*names: str, soap: str = "s", into: str = "", kind: str = "P") -> str:
    parts = ' parts="parameters"' if into else ""
    operations = "".join(
        f'<operation name="{n}"><input><{soap}:body use="literal"{parts}/>{into}</input>'
        f'<output><{soap}:body use="literal"/></output></operation>'
        for n in names
    )
    transport = 'style="document" transport="http://schemas.xmlsoap.org/soap/http"'
    return f'<binding name="{kind}{soap}" type="t:{kind}"><{soap}:binding {transport}/>{operations}</binding>'


def port(name: str, binding: str, soap: str = "s") -> str:
    return f'<port name="{name}" binding="t:{binding}"><{soap}:address location="http://127.0.0.1:9/{name}"/></port>'


def found(folder: Path, *parts: str, more: str = "", in_more: str = "") -> list[str]:
    """What lint says of a WSDL of these parts, as LEVEL: SENTENCE; that nobody is at its address is left out."""
    file = folder / "w.wsdl"
    types, messages = TYPES.format(more=more), MESSAGES.format(in_more=in_more)
    file.write_text(HEAD + types + messages + "".join(parts) + "</definitions>")
    told = [f for f in lint(read(file.as_uri())) if not f.what.startswith("Its address")]
    return [f"{f.level}: {f.what}" for f in told]


PORT_TYPE = f'<portType name="P">{operation("run")}</portType>'
SERVICE = f'<service name="W">{port("A", "Ps")}</service>'


def test_one_that_speaks_soap_1_2_alone_is_told_that_and_its_operations_are_looked_at(tmp_path: Path) -> None:
    told = found(
        tmp_path, PORT_TYPE, bound("run", soap="s12"), f'<service name="W">{port("A", "Ps12", "s12")}</service>'
    )
    assert told[0] == "error: It speaks SOAP 1.2 only."
    assert not any("no operation" in one or "SOAP 1.2, too" in one or "port for SOAP 1.1;" in one for one in told)
    assert any("synchronous service: run" in one for one in told)


def test_a_bare_message_is_told_as_that_and_once(tmp_path: Path) -> None:
    told = found(tmp_path, f'<portType name="P">{operation("run", "bare")}</portType>', bound("run"), SERVICE)
    wanted = "its element bare is xs:string itself, as JAX-WS writes parameterStyle BARE"
    assert f"error: The input of run isn't document/literal wrapped: {wanted}." in told
    assert not any("has no input" in one for one in told)


@pytest.mark.parametrize(
    ("in_more", "old", "new", "words"),
    [
        ('<part name="more" element="t:token"/>', "", "", "its message has 2 parts (parameters, more)"),
        ("", '<part name="parameters" element="t:run"/>', "", "its message has 0 parts"),
        ("", '"parameters" element="t:run"', '"x" type="xs:string"', "its part x names a type instead of an element"),
        ("", 'element="t:run"', 'element="t:walk"', "its element t:walk is defined nowhere"),
        ("", 'message="t:in"', 'message="t:on"', "its message t:on is defined nowhere"),
    ],
)
def test_what_else_is_not_wrapped_is_told_with_its_cause(
    tmp_path: Path, in_more: str, old: str, new: str, words: str
) -> None:
    found(tmp_path, PORT_TYPE, bound("run"), SERVICE, in_more=in_more)
    file = tmp_path / "w.wsdl"
    file.write_text(file.read_text().replace(old, new) if old else file.read_text())
    assert any(f"isn't document/literal wrapped: {words}" in f.what for f in lint(read(file.as_uri())))


def test_a_binding_of_a_port_type_that_is_nowhere_is_told_as_that(tmp_path: Path) -> None:
    found(tmp_path, PORT_TYPE, bound("run"), SERVICE)
    file = tmp_path / "w.wsdl"
    file.write_text(file.read_text().replace('type="t:P"', 'type="t:Q"'))
    told = [f.what for f in lint(read(file.as_uri()))]
    assert "The type t:Q of the binding Ps is defined nowhere." in told
    assert not any("no operation" in one for one in told)


def test_a_soap_header_is_no_second_part_and_is_told(tmp_path: Path) -> None:
    """As JAX-WS writes @WebParam(header = true): the header is a part of the same message."""
    header = '<s:header message="t:in" part="auth" use="literal"/>'
    part = '<part name="auth" element="t:token"/>'
    told = found(tmp_path, PORT_TYPE, bound("run", into=header), SERVICE, in_more=part)
    assert "warning: run asks for the SOAP header auth." in told
    assert not any("wrapped" in one for one in told)
    without = bound("run", into=header).replace(' parts="parameters"', "")
    assert not any("wrapped" in one for one in found(tmp_path, PORT_TYPE, without, SERVICE, in_more=part))


def test_of_several_ports_the_one_that_is_polled_is_looked_at_and_named(tmp_path: Path) -> None:
    """Event services have a port for events beside that for calls."""
    events = f'<portType name="E">{operation("subscribe")}</portType>'
    polled = f'<portType name="P">{operation("run")}{operation("getServiceStatus")}</portType>'
    ports = f'<service name="W">{port("Events", "Es")}{port("Calls", "Ps")}{port("Again", "Ps")}</service>'
    told = found(tmp_path, events, polled, bound("subscribe", kind="E"), bound("run", "getServiceStatus"), ports)
    assert (
        "warning: It has 1 service with 3 ports for SOAP 1.1, of which Calls, Events have different operations;"
        " that of Calls is looked at here." in told
    )
    assert not any("synchronous" in one or "has no operation" in one for one in told)
    assert read((tmp_path / "w.wsdl").as_uri()).addresses[0].endswith("/Calls")


def test_one_without_a_service_is_told_that_and_not_that_it_has_no_operation(tmp_path: Path) -> None:
    told = found(tmp_path, PORT_TYPE, bound("run"))
    assert told[0] == "error: It has no service, so it says no address."
    assert any("synchronous service: run" in one for one in told)


def test_an_import_that_can_t_be_had_is_told_with_its_cause_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    more = '<xs:import namespace="urn:y" schemaLocation="http://127.0.0.1:9/y.xsd"/>'
    told = found(tmp_path, PORT_TYPE, bound("run"), SERVICE, more=more)
    at = (tmp_path / "w.wsdl").as_uri()
    assert (
        f"error: {at} imports what can't be had: http://127.0.0.1:9/y.xsd can't be reached: Connection refused." in told
    )
    assert any("synchronous service: run" in one for one in told)
    more = '<xs:import namespace="urn:y"/><xs:import namespace="http://www.w3.org/XML/1998/namespace"/>'
    told = found(tmp_path, PORT_TYPE, bound("run"), SERVICE, more=more)
    lost = [one for one in told if "imports" in one]
    assert lost == ["error: A schema imports the namespace urn:y, but says of no document where that is."]
    (tmp_path / "w.wsdl").write_text(HEAD + '<import namespace="urn:z" location="gone.wsdl"/></definitions>')
    told = [f.what for f in lint(read(at))]
    assert any("gone.wsdl can't be reached: No such file" in one for one in told)
    assert "It has no operation." not in told


class Replies(http.server.BaseHTTPRequestHandler):
    """Answers each GET with the server's own reply: status, Content-Type, body."""

    def do_GET(self) -> None:
        status, kind, body = self.server.reply  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server whose reply is the test's."""
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((404, "text/html", b"<!DOCTYPE html><html><body>Oh no</body></html>"), "answers with HTTP 404: Not Found"),
        ((503, "text/plain", b"<html>no"), "answers with HTTP 503: Service Unavailable"),
        ((503, "text/plain", b"The service is not available."), "HTTP 503: The service is not available."),
        ((500, "text/xml", b"<s:F><faultstring>why</faultstring></s:F>"), "HTTP 500: why"),
        ((403, "application/json", b'{"a": 1}'), "HTTP 403: Forbidden"),
    ],
)
def test_of_a_refusal_its_sentence_is_told_and_never_a_page(
    server: http.server.ThreadingHTTPServer, reply: tuple[int, str, bytes], words: str
) -> None:
    server.reply = reply  # type: ignore[attr-defined]
    with pytest.raises(fetching.Unreachable) as told:
        fetching.fetch(f"http://127.0.0.1:{server.server_port}/x?wsdl")
    assert str(told.value).endswith(words)


def test_the_charset_of_http_wins_over_the_document_s_own_word(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    found(tmp_path, PORT_TYPE, bound("run"), SERVICE.replace('name="W"', 'name="Wärme"'))
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + (tmp_path / "w.wsdl").read_text()
    for kind in ("text/xml; charset=utf-8", "text/xml; charset=klingon"):
        server.reply = (200, kind, text.encode())  # type: ignore[attr-defined]
        described = read(f"http://127.0.0.1:{server.server_port}/x?wsdl")
        assert described.service == ("Wärme" if "utf-8" in kind else "WÃ¤rme")

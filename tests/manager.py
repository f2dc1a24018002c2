"""An authentication manager as the platform has it (JAX-WS's own WSDL form), served for real, whose moods are set."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

NS = "http://authmanager.sintef.no/"
OPERATIONS = {
    "validateSessionToken": "xs:boolean",
    "getUsername": "xs:string",
    "getProject": "xs:string",
    "getEmail": "xs:string",
    "getRoles": "xs:string",
    "getTokenInfo": "tns:tokenInfo",
}


def _wsdl(address: str, operations: dict[str, str]) -> str:
    elements = "".join(
        f'<xs:element name="{name}" type="tns:{name}"/><xs:element name="{name}Response" type="tns:{name}Response"/>'
        f'<xs:complexType name="{name}"><xs:sequence><xs:element name="sessionToken" type="xs:string" minOccurs="0"/>'
        f'</xs:sequence></xs:complexType><xs:complexType name="{name}Response"><xs:sequence><xs:element name="return"'
        f' type="{kind}" minOccurs="0" maxOccurs="{"unbounded" if name == "getRoles" else "1"}"/></xs:sequence>'
        "</xs:complexType>"
        for name, kind in operations.items()
    )
    parts = ("id", "name", "description")
    named = "".join(f'<xs:element name="{part}" type="xs:string" minOccurs="0"/>' for part in parts)
    info = (
        f'<xs:complexType name="named"><xs:sequence>{named}</xs:sequence></xs:complexType>'
        '<xs:complexType name="tokenInfo"><xs:sequence><xs:element name="project" type="tns:named" minOccurs="0"/>'
        '<xs:element name="roles" type="xs:string" nillable="true" minOccurs="0" maxOccurs="unbounded"/>'
        '<xs:element name="user" type="tns:named" minOccurs="0"/></xs:sequence></xs:complexType>'
    )
    messages = "".join(
        f'<message name="{name}{end}"><part name="parameters" element="tns:{name}{end}"/></message>'
        for name in operations
        for end in ("", "Response")
    )
    port = "".join(
        f'<operation name="{name}"><input message="tns:{name}"/><output message="tns:{name}Response"/></operation>'
        for name in operations
    )
    bound = "".join(
        f'<operation name="{name}"><soap:operation soapAction=""/><input><soap:body use="literal"/></input>'
        '<output><soap:body use="literal"/></output></operation>'
        for name in operations
    )
    return (
        f'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"'
        f' xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="{NS}" targetNamespace="{NS}" name="AuthManager">'
        f'<types><xs:schema targetNamespace="{NS}" version="1.0">{elements}{info}</xs:schema></types>{messages}'
        f'<portType name="AuthManager">{port}</portType><binding name="AuthManagerBinding" type="tns:AuthManager">'
        f'<soap:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>{bound}</binding>'
        f'<service name="AuthManager"><port name="AuthManagerPort" binding="tns:AuthManagerBinding">'
        f'<soap:address location="{address}"/></port></service></definitions>'
    )


class Manager:
    """One that runs; a token is good that `people` has."""

    def __init__(self, operations: dict[str, str] = OPERATIONS) -> None:
        self.people: dict[str, tuple[str, str, tuple[str, ...]]] = {}  # token → user, project, roles
        self.mood = ""  # "fault": every call is one; "hang": none is answered; a text: what validateSessionToken gives
        self.asked: list[tuple[str, str]] = []  # operation and token of each call
        self.go_on = threading.Event()  # ends a hang
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._send(200, _wsdl(manager.address, operations))

            def do_POST(self) -> None:
                body = etree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
                call = body.find("{*}Body/*")
                operation, token = etree.QName(call).localname, call.findtext("sessionToken") or ""
                manager.asked.append((operation, token))
                if manager.mood == "hang":
                    manager.go_on.wait(60)
                if manager.mood == "fault":
                    inside = f"<s:Fault><faultcode>s:Server</faultcode><faultstring>no {token}</faultstring></s:Fault>"
                    self._send(500, _envelope(inside))
                else:
                    given = manager.answer(operation, token)
                    self._send(200, _envelope(f'<t:{operation}Response xmlns:t="{NS}">{given}</t:{operation}Response>'))

            def _send(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/xml; charset=utf-8")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/authManager"
        self.wsdl = f"{self.address}?wsdl"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, operation: str, token: str) -> str:
        """What stands in a response."""
        user, project, roles = self.people.get(token, ("", "", ()))
        if operation == "validateSessionToken":
            return f"<return>{self.mood or str(token in self.people).lower()}</return>"
        if operation == "getTokenInfo":
            listed = "".join(f"<roles>{escape(role)}</roles>" for role in roles)
            project = f"<project><id>1</id><name>{escape(project)}</name></project>"
            return f"<return>{project}{listed}<user><id>2</id><name>{escape(user)}</name></user></return>"
        if operation == "getRoles":
            return "".join(f"<return>{escape(role)}</return>" for role in roles)
        return f"<return>{escape(user if operation == 'getUsername' else project)}</return>"

    def count(self, operation: str = "validateSessionToken") -> int:
        """How often that was called."""
        return sum(name == operation for name, _ in self.asked)

    def close(self) -> None:
        """Be down from now on: connections are refused."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


def _envelope(inside: str) -> str:
    return f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{inside}</s:Body></s:Envelope>'

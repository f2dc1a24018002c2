"""A deployment with its web side, as callers reach it."""

from __future__ import annotations

import http.client
import io
import subprocess
import sys
from typing import Any, TypeVar

from lab import PATIENCE, Lab, eventually
from labwaiter.catalogue import catalogue
from labwaiter.deployment import web_processes
from labwaiter.settings import load
from labwaiter.system.process import kill
from labwaiter.testing.ports import free_port
from labwaiter.wsgi import Application

NS = "http://samples.example/"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"


def envelope(operation: str, inside: str = "", ns: str = NS, **texts: str) -> bytes:
    """A call as most toolkits write it; texts are escaped, `inside` isn't."""
    from xml.sax.saxutils import escape

    given = "".join(f"<t:{name}>{escape(text)}</t:{name}>" for name, text in texts.items())
    return (
        f'<s:Envelope xmlns:s="{SOAP_11}"><s:Body><t:{operation} xmlns:t="{ns}">{given}{inside}'
        f"</t:{operation}></s:Body></s:Envelope>"
    ).encode()


class Reply:
    """What came back."""

    def __init__(self, status: str, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name: str) -> str:
        """The text of the first element of that local name."""
        from lxml import etree

        found = etree.fromstring(self.body).xpath(f"//*[local-name()='{name}']")
        assert found, f"no {name} in {self.body!r}"
        return found[0].text or ""


class Caller:
    """Calls the application in this process."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.root = lab.settings.context_root
        self.application = Application(load(lab.face_environment), catalogue.of(lab.settings))

    def __call__(
        self, path: str, body: bytes | None = None, method: str = "", query: str = "", **environ: Any
    ) -> Reply:
        got: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            got.update(status=status, headers=dict(headers))

        answer = self.application(
            {
                "REQUEST_METHOD": method or ("GET" if body is None else "POST"),
                "SCRIPT_NAME": "",
                "PATH_INFO": self.root + path,
                "QUERY_STRING": query,
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "8080",
                "HTTP_HOST": "lab.example:8080",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(body or b""),
                "CONTENT_TYPE": "text/xml; charset=utf-8",
                "CONTENT_LENGTH": str(len(body or b"")),
                **environ,
            },
            start_response,
        )
        return Reply(got["status"], got["headers"], b"".join(answer))

    def call(self, service: str, operation: str, **texts: str) -> Reply:
        """One operation, with a token."""
        if operation == "getServiceStatus" and texts.get("serviceID", "").strip():
            self.lab.caught_up(texts["serviceID"])
        return self(f"/{service}", envelope(operation, **{"sessionToken": "a token", **texts}))


class Web:
    """A deployment served by granian."""

    def __init__(self, lab: Lab, workers: int = 1) -> None:
        self.lab = lab
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{lab.settings.context_root}"
        command = [sys.executable, "-m", "labwaiter", "serve", "--port", str(self.port), "--workers", str(workers)]
        self.log = lab.root.parent / "web.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env=lab.face_environment, stdout=log, stderr=log)
        eventually(self.answers, every=0.05)

    def answers(self) -> bool:
        """Whether it does."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            line.request("GET", f"{self.lab.settings.context_root}/health")
            return line.getresponse().status == 200
        except OSError:
            return False

    def __call__(self, path: str, body: bytes) -> Reply:
        """POST a call."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Host": "lab.example", "Content-Type": "text/xml; charset=utf-8"}
        line.request("POST", self.lab.settings.context_root + path, body, headers)
        answer = line.getresponse()
        return Reply(f"{answer.status} {answer.reason}", dict(answer.getheaders()), answer.read())

    def wsdl(self, service: str) -> str:
        """The WSDL's address."""
        return f"{self.url}/{service.lower()}/{service}?wsdl"

    def close(self) -> None:
        """End it, and workers whose main process a test has killed."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        for who in web_processes.find(load(self.lab.face_environment)):
            kill(who)


class Up(Web):
    """A deployment started by `labwaiter up`."""

    def __init__(self, lab: Lab, *words: str) -> None:
        self.lab, self.port = lab, free_port()
        self.url = f"http://127.0.0.1:{self.port}{lab.settings.context_root}"
        self.log = lab.root.parent / "up.log"
        command = [sys.executable, "-m", "labwaiter", "up", "--port", str(self.port), *words]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env=lab.environment, stdout=log, stderr=log)


F = TypeVar("F", Caller, Web)


def warm(face: F) -> F:
    """A face of one worker whose lane knows polls of Echo as `envelope` writes them, unless it is switched off."""
    face("/Echo", envelope("startEcho", serviceID="warm", sessionToken="t", text="x"))
    for _ in range(3):
        reply = face("/Echo", envelope("getServiceStatus", serviceID="warm", sessionToken="t"))
        assert reply.status.startswith("200"), reply.body
    if isinstance(face, Caller):
        knows = face.application._soap.endpoint("Echo").forms.are_known
        assert knows is face.lab.settings.poll_lane
    return face

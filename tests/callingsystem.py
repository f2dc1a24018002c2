"""A remote-laboratory system that calls a lab server, written from the contract's table alone."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab import PATIENCE

LOGIN = {"WEBLAB_USERNAME": "portal", "WEBLAB_PASSWORD": "let them in"}


def basic(name: str = "portal", password: str = "let them in") -> str:
    """A header that logs in."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class System:
    """A calling system, written from the contract's table alone: it calls over HTTP what lies below one address."""

    def __init__(
        self, at: str, form: str = "weblab", login: str | None = None, certificate: Path | None = None
    ) -> None:
        """
        Args:
            at: the lab's address: scheme, host and path.
            certificate: which is trusted where that is https.
        """
        self.trusted = None if certificate is None else ssl.create_default_context(cafile=str(certificate))
        self.at, self.form, self.login = at, form, basic() if login is None else login

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One call: the code, and the JSON that came."""
        parts = urlsplit(self.at)
        line = http.client.HTTPConnection(parts.netloc, timeout=2 * PATIENCE)
        if self.trusted is not None:
            line = http.client.HTTPSConnection(parts.netloc, timeout=2 * PATIENCE, context=self.trusted)
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        given = {"Authorization": self.login} if self.login else {}
        line.request(method, f"{parts.path}/{self.form}/sessions{path}", sent, given | headers)
        answer = line.getresponse()
        text = answer.read()
        kind = answer.getheader("Content-Type")
        line.close()
        assert kind == "application/json", (kind, text)
        return answer.status, json.loads(text)

    def start(self, user: str = "ada", length: Any = 300, back: str = "", **more: Any) -> dict[str, Any]:
        """A session, as this form asks for one."""
        if self.form == "ldl":
            body = {
                "request": {"locale": "en", "ldeReservationId": user, "user": {}, "server": {}, "backUrl": back},
                "laboratory": {"name": "diode", "category": "Electronics"},
                "user": {"username": user, "unique": f"{user}@portal", "fullName": user.capitalize()},
                "schedule": {"start": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), "length": length},
            }
        else:
            server = {
                "priority.queue.slot.length": length,
                "priority.queue.slot.start": time.strftime("%Y-%m-%d %H:%M:%S.000000"),
                "priority.queue.slot.initialization_in_accounting": False,
                "request.username": user,
                "request.username.unique": f"{user}@portal",
                "request.full_name": user.capitalize(),
                "request.locale": "en",
            }
            body = {"client_initial_data": {}, "server_initial_data": server | more, "back": back}
        code, told = self.call("POST", "/", body)
        assert code == 200, told
        return told  # type: ignore[no-any-return]

    def status(self, session_id: str) -> int | float:
        """When to ask for it again."""
        code, told = self.call("GET", f"/{session_id}/status")
        assert code == 200 and list(told) == ["should_finish"]
        return told["should_finish"]  # type: ignore[no-any-return]

    def delete(self, session_id: str) -> str:
        """End it, as WebLab-Deusto's form does."""
        code, told = self.call("POST", f"/{session_id}", {"action": "delete"})
        assert code == 200, told
        return told["message"]  # type: ignore[no-any-return]

"""The JSON face as programs call it."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from callers import Web
from lab import PATIENCE


class Said(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """As JSON; a number that JSON hasn't fails."""
        return json.loads(self.body, parse_constant=none)

    def __getitem__(self, name: str) -> Any:
        return self.data[name]


def none(word: str) -> None:
    """No parser but Python's reads NaN."""
    raise AssertionError(f"{word} is no JSON")


class Api:
    """Somebody with a token who calls a deployment."""

    def __init__(self, web: Web, token: str = "t", **headers: str) -> None:
        self.port, self.root = web.port, web.lab.settings.context_root
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.headers |= {name.replace("_", "-"): text for name, text in headers.items()}

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> Said:
        """One request.

        Args:
            path: below /api/v1; a whole address is taken as it is.
            body: sent as JSON; bytes as they are.
        """
        at = path[path.index(self.root) :] if path.startswith("http") else f"{self.root}/api/v1{path}"
        at += f"?{urlencode(query, doseq=True)}" if query else ""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if sent is not None else {}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            line.request(method, at, sent, given | self.headers | (headers or {}))
            answer = line.getresponse()
            headers = {name.lower(): text for name, text in answer.getheaders()}
            return Said(answer.status, headers, answer.read())
        finally:
            line.close()

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Said:
        """GET."""
        return self("GET", path, None, headers, **query)

    def start(self, service: str, service_id: str | None = None, **inputs: Any) -> Said:
        """Start an execution."""
        body = {"service": service, "inputs": inputs} | ({"serviceID": service_id} if service_id else {})
        return self("POST", "/executions", body)

    def ended(self, service_id: str) -> Said:
        """Wait for its end, as programs do."""
        etag = {}
        while True:
            said = self.get(f"/executions/{service_id}", etag, wait=20)
            assert said.status in (200, 304), said.body
            if said.status == 200:
                etag = {"If-None-Match": said.headers["etag"]}
                if said["state"] not in ("queued", "running"):
                    return said

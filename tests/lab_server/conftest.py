"""A lab server as its callers have it: real instruments' simulators, a supervisor, a web side, a calling system."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchlab import Plugged, plugged
from callers import Caller, Reply, Web
from lab import PATIENCE, Lab
from operator_page.conftest import browser, open_screen  # noqa: F401 - the same Chromium, and windows of it
from remotelab import remote_lab

LOGIN = {"WEBLAB_USERNAME": "portal", "WEBLAB_PASSWORD": "let them in"}


def basic(name: str = "portal", password: str = "let them in") -> str:
    """A header that logs in."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class System:
    """A calling system, written from the contract's table alone: it calls over HTTP what lies below one address."""

    def __init__(self, at: str, form: str = "weblab", login: str | None = None) -> None:
        """
        Args:
            at: the lab's address: scheme, host and path.
        """
        self.at, self.form, self.login = at, form, basic() if login is None else login

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One call: the code, and the JSON that came."""
        parts = urlsplit(self.at)
        line = http.client.HTTPConnection(parts.netloc, timeout=2 * PATIENCE)
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        given = {"Authorization": self.login} if self.login else {}
        line.request(method, f"{parts.path}/{self.form}/sessions{path}", sent, given | headers)
        answer = line.getresponse()
        text = answer.read()
        self.headers = dict(answer.getheaders())
        line.close()
        assert self.headers["Content-Type"] == "application/json", text
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


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def here(tmp_path: Path, bench: Plugged) -> Iterator[Lab]:
    """A deployment of the test's own, with the labs of samples/labs."""
    lab = remote_lab(tmp_path, bench, **LOGIN)
    lab.supervise()
    yield lab
    lab.close()


@pytest.fixture
def serve(here: Lab) -> Iterator[Callable[..., Web]]:
    """Its web side, with these settings besides."""
    made: list[Web] = []

    def start(**settings: str) -> Web:
        here.face_environment = here.environment | settings
        made.append(Web(here))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def call(here: Lab) -> Callable[..., tuple[str, Any, Reply]]:
    """One call of the application in this process: its status, its JSON, and all of it."""
    made: dict[tuple[tuple[str, str], ...], Caller] = {}

    def ask(path: str, body: Any = None, method: str = "", login: str | None = basic(), **more: str) -> Any:
        settings = {name: more.pop(name) for name in list(more) if name.startswith(("WEBLAB", "PUBLIC", "TRUSTED"))}
        key = tuple(sorted(settings.items()))
        if key not in made:
            here.face_environment = here.environment | settings
            made[key] = Caller(here)
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if login is not None:
            more["HTTP_AUTHORIZATION"] = login
        reply = made[key](path, sent, method, **more)
        told = json.loads(reply.body) if reply.headers.get("Content-Type") == "application/json" else None
        return reply.status, told, reply

    return ask

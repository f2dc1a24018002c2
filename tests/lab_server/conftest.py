"""A lab server as its callers have it: real instruments' simulators, a supervisor, a web side, a calling system."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged, plugged
from callers import Caller, Reply, Web
from callingsystem import LOGIN, basic
from lab import Lab
from remotelab import remote_lab


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

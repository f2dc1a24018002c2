"""Remote labs for tests: a deployment with the labs of samples/labs, and students of them."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from asking import each_second
from benchlab import Plugged
from lab import PATIENCE, SAMPLES, Lab
from labwaiter.errors import UnknownSession
from labwaiter.model.caller import Caller, Identity, Role
from labwaiter.model.lab_session import About
from labwaiter.verbs.sessions import Sessions, SessionView

SYSTEM = Caller(Identity("weblab", role=Role.OPERATOR), face="weblab")


def remote_lab(root: Path, bench: Plugged, **settings: str) -> Lab:
    """A deployment with the instruments of `bench` and the labs of samples/labs."""
    app = root / "app"
    shutil.copytree(SAMPLES / "labs", app / "labs")
    (app / "services").mkdir()
    shutil.copy(SAMPLES / "benches.py", app / "services")
    return Lab(root / "jobs", app / "services", LAB=str(bench.toml), **settings)


def wish(bench: Plugged, name: str, what: str = "") -> None:
    """Have samples/labs/diode.py do that at its start or its end; "" for nothing."""
    path = bench.folder / f"wish-{name}"
    if what:
        path.write_text(what)
    else:
        path.unlink(missing_ok=True)


def disposed(bench: Plugged) -> list[str]:
    """What on_dispose of samples/labs/diode.py has noted, a line each time."""
    path = bench.folder / "disposed"
    return path.read_text().splitlines() if path.exists() else []


def let_in(lab: Lab, name: str = "diode", user: str = "ada", wait: float = PATIENCE, **more: Any) -> SessionView:
    """A session that has begun."""
    about = About(**{"username": user, "full_name": user.capitalize(), "length_s": 300.0, **more})
    return Sessions(lab.settings).start(name, about, SYSTEM, wait)


def alive(lab: Lab, *sessions: SessionView) -> AbstractContextManager[None]:
    """As pages that are open: they give a sign of life each second."""
    return each_second(Sessions(lab.settings).alive, tuple(each.session_id for each in sessions), UnknownSession)

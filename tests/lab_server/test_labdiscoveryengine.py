"""LabDiscoveryEngine, the real one, as the calling system: a student of its own is let into our lab, and put out of it.

It is called as a whole, by its commands and its pages, in a .venv of its own (labdiscoveryengine.txt beside this file),
as `.ci/run` makes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged
from callers import Web
from callingsystem import LOGIN
from here import ROOT
from lab import PATIENCE, Lab, eventually
from labwaiter.testing.ports import free_port
from labwaiter.verbs.sessions import Sessions
from remotelab import SYSTEM, disposed

pytestmark = pytest.mark.slow
OWN = ROOT / ".venv-lde" / "bin"
HOW = "python3 -m venv .venv-lde && .venv-lde/bin/pip install -r tests/lab_server/labdiscoveryengine.txt"


@pytest.fixture
def engine(tmp_path: Path, serve: Callable[..., Web]) -> Iterator[tuple[str, Web, Path]]:
    """The address of one whose only laboratory is ours, our web side, and the log of who calls that."""
    lde = os.environ.get("LABWAITER_LDE") or shutil.which("lde", path=f"{OWN}:{os.environ['PATH']}")
    redis = shutil.which("redis-server")
    if lde is None or redis is None:
        pytest.skip(f"no LabDiscoveryEngine is here ({HOW})" if lde is None else "no redis-server is here")
    web, folder = serve(), tmp_path / "lde"
    port, redis_port = free_port(), free_port()
    environ = {**os.environ, "PATH": f"{Path(lde).parent}:{os.environ['PATH']}", "FLASK_CONFIG": "production"}
    environ["HOME"] = str(tmp_path)

    def run(*words: str) -> None:
        made = subprocess.run([lde, *words], env=environ, capture_output=True, text=True, timeout=PATIENCE)
        assert made.returncode == 0, made.stderr

    run("deployments", "create", "--directory", str(folder))
    run("deployments", "add-gunicorn-script", "-d", str(folder))
    login, password = LOGIN["WEBLAB_USERNAME"], LOGIN["WEBLAB_PASSWORD"]
    (folder / "resources.yml").write_text(
        f"diode-1:\n  url: {web.url}/diode\n  login: {login}\n  password: {password}\n"
    )
    (folder / "laboratories.yml").write_text(
        "diode:\n  display_name: Diode\n  category: Electronics\n  max_time: 120\n  resources: [diode-1]\n"
    )
    with open(folder / "configuration.yml", "a") as file:
        file.write(f"\nREDIS_URL: redis://127.0.0.1:{redis_port}/0\n")
    scripts = environ | {"PYTHONPATH": str(folder / "scripts")}
    gunicorn = str(Path(lde).parent / "gunicorn")
    commands = [
        ([redis, "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""], environ),
        ([lde, "worker", "run"], environ),
        (
            [gunicorn, "--workers", "1", "--threads", "8", "--bind", f"127.0.0.1:{port}", "wsgi_app:application"],
            scripts,
        ),
    ]
    with contextlib.ExitStack() as stack:
        for number, (words, with_environ) in enumerate(commands):
            log = stack.enter_context(open(tmp_path / f"lde-{number}.log", "wb"))
            started = subprocess.Popen(words, env=with_environ, cwd=folder, stdout=log, stderr=log)
            stack.callback(started.wait, PATIENCE)
            stack.callback(started.terminate)
            if number == 0:
                eventually(lambda: b"Ready to accept" in (tmp_path / "lde-0.log").read_bytes())
        yield f"http://127.0.0.1:{port}", web, tmp_path / "lde-1.log"


def test_its_student_is_let_in_and_when_he_leaves_it_hears_of_that(
    engine: tuple[str, Web, Path], here: Lab, bench: Plugged, open_screen: Callable[..., Any]
) -> None:
    address, web, log = engine
    screen = open_screen(web)
    page = screen.page

    def is_up() -> bool:
        with contextlib.suppress(Exception):  # Playwright's own, while nobody listens
            return bool(page.goto(f"{address}/login", wait_until="commit").ok)
        return False

    eventually(is_up, every=0.5)
    page.fill("[name=username]", "admin")  # as its new deployments have it
    page.fill("[name=password]", "password")
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/user/")
    page.click("button.lab-access-btn")
    # its own page leads there, too, sooner or later: what it was told is in its log at once
    url = eventually(lambda: re.search(rf"Successfully started .*: url ({web.url}\S+)", log.read_text()))[1]
    page.close()  # two ways there at once would be in each other's way
    screen.page = page = screen.context.new_page()
    page.goto(url)
    screen.see("admin", "h1")
    [session] = Sessions(here.settings).sessions(SYSTEM)
    about = session.about
    assert (about.username, about.experiment, about.category) == ("admin", "diode", "Electronics")
    assert about.reservation_id and about.back.startswith(f"{address}/user/") and 0 < session.time_left_s <= 120
    page.click("text=Leave")
    screen.see("You have left the lab.", ".lab-end")
    assert page.get_attribute(".lab-end a", "href") == about.back
    assert Sessions(here.settings).gone(session.service_id, PATIENCE) and len(disposed(bench)) == 1
    assert bench.simulators["smu"].is_safe()
    eventually(lambda: f"Reservation {about.reservation_id} finished" in log.read_text())

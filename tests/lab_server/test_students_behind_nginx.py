"""A lab server behind a real nginx that speaks https: what the portal is told, what a real browser makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import nginx
from benchlab import Plugged
from callers import Web
from callingsystem import System
from lab import PATIENCE, Lab, eventually
from labwaiter.testing.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx.PROGRAM is None or shutil.which("openssl") is None, reason="no nginx, or openssl"),
]
CONF = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/lab.crt;
        ssl_certificate_key {folder}/lab.key;
        location {prefix}/ {{
            proxy_pass http://127.0.0.1:{behind}/;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            {headers}
        }}
    }}
"""
TOLD = """proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix "{prefix}"; proxy_set_header X-Forwarded-For $remote_addr;"""


@pytest.fixture
def proxied(tmp_path: Path, serve: Callable[..., Web]) -> Iterator[Callable[..., tuple[Web, str, Path]]]:
    """An https nginx before a web side: that, the address by which it is reached from outside, and its certificate."""
    folder = tmp_path / "nginx"
    folder.mkdir(mode=0o755)
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    keys = ["-keyout", str(folder / "lab.key"), "-out", str(folder / "lab.crt")]
    subprocess.run(["openssl", *words.split(), *keys], check=True, capture_output=True)
    started: list[subprocess.Popen[bytes]] = []

    def start(prefix: str, told: bool) -> tuple[Web, str, Path]:
        port = free_port()
        # who tells nothing in headers says it by PUBLIC_URL
        web = serve(**({} if told else {"PUBLIC_URL": f"https://127.0.0.1:{port}{prefix}"}))
        headers = TOLD.format(prefix=prefix) if told else ""
        conf = CONF.format(folder=folder, port=port, behind=web.port, prefix=prefix, headers=headers)
        started.append(nginx.start(folder, conf))
        at = f"https://127.0.0.1:{port}{prefix}{web.lab.settings.context_root}"
        system = System(f"{at}/diode", certificate=folder / "lab.crt")

        def answers() -> bool:
            try:
                return system.call("GET", "/api")[0] == 200
            except OSError:
                return False

        eventually(answers, every=0.05)
        return web, at, folder / "lab.crt"

    yield start
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize(("prefix", "told"), [("", True), ("/physics", True), ("/physics", False)])
def test_a_student_comes_through_an_https_proxy(
    here: Lab,
    bench: Plugged,
    proxied: Callable[..., tuple[Web, str, Path]],
    open_screen: Callable[..., Any],
    prefix: str,
    told: bool,
) -> None:
    web, at, certificate = proxied(prefix, told)
    system = System(f"{at}/diode", certificate=certificate)
    assert system.call("GET", "/test") == (200, {"valid": True})
    begun = system.start()
    assert begun["url"] == f"{at}/diode/weblab/callback/{begun['session_id']}"
    screen = open_screen(web, ignore_https_errors=True)
    screen.page.goto(begun["url"])
    assert screen.page.url == f"{at}/diode/page"
    screen.page.fill("#set-meter-volts input[name=in-volts]", "2")
    screen.page.press("#set-meter-volts input[name=in-volts]", "Enter")
    screen.see("meter: volts is set to 2.", "[role=status]")
    screen.see("2 V", ".lab-instrument dl")
    screen.page.wait_for_selector("#plot canvas")
    cookies = [cookie for cookie in screen.context.cookies() if "session" in cookie["name"]]
    assert [(c["secure"], c["httpOnly"], c["path"]) for c in cookies] == [(True, True, f"{urlsplit(at).path}/diode")]
    screen.page.click("text=Leave")
    screen.see("You have left the lab.", ".lab-end")
    screen.see("The lab was put away.", ".lab-end")
    with screen.page.expect_download() as download:
        screen.page.click("text=readings.csv")
    assert "meter.volts / V" in download.value.path().read_text()
    assert system.status(begun["session_id"]) == -1 and bench.simulators["smu"].is_safe()
    assert screen.wrong == [] and all(url.startswith(at) for url in screen.asked)

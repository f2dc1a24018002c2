"""A headless Chromium: what it asks for, what goes wrong in it, pictures of it. It is told over two pipes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 90.0  # s, for one answer
QUIET = 0.3  # s without a request after which a page has all that it wants


class Window:
    """One page in it.

    Attributes:
        requests: the addresses that it has asked for.
        problems: what its scripts threw or wrote as an error, and what couldn't be fetched.
    """

    def __init__(self, browser: Browser, width: int, height: int, *, phone: bool = False, scale: float = 1) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._browser = browser
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.windows[self._session] = self
        self.loaded = False
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self._ask("Emulation.setDeviceMetricsOverride", **size, mobile=phone)
        if phone:
            self._ask("Emulation.setTouchEmulationEnabled", enabled=True)

    def _ask(self, method: str, **what: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **what)

    def go(self, address: str) -> None:
        """Open an address; returns when it is there and asks for nothing more."""
        self.loaded = False
        error = self._ask("Page.navigate", url=address).get("errorText")
        assert not error, f"{address}: {error}"
        self._browser.hear(lambda: self.loaded)
        self.settle()

    def show(self) -> None:
        """Have it before all others: a page that nobody sees is not painted."""
        self._ask("Page.bringToFront")

    def colours(self, scheme: str) -> None:
        """Have it want light or dark pages."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def settle(self) -> None:
        """Until it asks for nothing more."""
        asked = -1
        while asked != len(self.requests):
            asked = len(self.requests)
            self._browser.hear(lambda: False, QUIET)

    def evaluate(self, script: str) -> Any:
        """What a script gives in it; a promise is awaited."""
        said = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self._ask("Input.insertText", text=text)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A .png of what is seen, or of the whole page."""
        said = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(said["data"]))

    def hears(self, method: str, said: dict[str, Any]) -> None:
        """Take in an event."""
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.problems.append(f"{said['entry']['text']} {said['entry'].get('url', '')}".strip())
        elif method == "Runtime.consoleAPICalled" and said["type"] == "error":
            self.problems.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in said["args"]))


class Browser:
    """One of it, with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None, "no Chromium is here"
        self.windows: dict[str, Window] = {}
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._rest = b""
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (there, back)]  # it wants them as 3 and 4
        os.close(there)
        os.close(back)
        words = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        words += ["--hide-scrollbars", "--disable-background-networking", "--disable-component-update"]
        words += ["--force-color-profile=srgb", f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        silent = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        given = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(ends, (3, 4), strict=True)]
        self.pid = os.posix_spawn(PROGRAM, words, os.environ, file_actions=[*given, silent], setpgroup=0)
        for end in ends:
            os.close(end)

    def window(self, width: int = 1280, height: int = 800, *, phone: bool = False, scale: float = 1) -> Window:
        """A new page of that size in CSS pixels; a phone has touch, and its pages say how wide they are."""
        return Window(self, width, height, phone=phone, scale=scale)

    def ask(self, method: str, session: str | None = None, **what: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        number = self._number
        call: dict[str, Any] = {"id": number, "method": method, "params": what}
        if session:
            call["sessionId"] = session
        os.write(self._write, json.dumps(call).encode() + b"\0")
        self.hear(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def hear(self, enough: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Take in what it says until that is enough; where it must come, a time-out is an error."""
        until = time.monotonic() + seconds
        while not enough():
            ready, _, _ = select.select([self._read], [], [], max(0, until - time.monotonic()))
            if not ready:
                assert seconds == QUIET, "the browser doesn't answer"
                return
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has ended"
            *texts, self._rest = (self._rest + chunk).split(b"\0")
            for text in texts:
                self._take(json.loads(text))

    def _take(self, said: dict[str, Any]) -> None:
        if "id" in said:
            self._answers[said["id"]] = said
        elif said.get("sessionId") in self.windows:
            self.windows[said["sessionId"]].hears(said["method"], said["params"])

    def close(self) -> None:
        """End it, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._read)
        os.close(self._write)


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """One, ended afterwards."""
    one = Browser(profile)
    try:
        yield one
    finally:
        one.close()

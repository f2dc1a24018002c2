"""Simulators behind real ptys: other programs open them as they open any port.

A link with a name stands for the device that a lab has plugged in; `unplug` and `plug` do what the words say.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import threading
import time
import tty
from pathlib import Path

from .base import Simulator

SHORTEST = 0.01  # s between two looks at what is due
LONGEST = 0.25  # s: for what is done to a simulator from elsewhere than its line


class Host:
    """Serves simulators on ptys, in a thread."""

    def __init__(self) -> None:
        self._plugged: dict[Path, tuple[Simulator, int, int]] = {}  # link → simulator, our end, the other end
        self._turn = threading.Condition()
        self._turns = 0  # of the serving thread; each looks anew at what is plugged in
        self._over = threading.Event()
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # something was plugged or unplugged
        self._thread = threading.Thread(target=self._serve, name="simulators", daemon=True)
        self._thread.start()

    def plug(self, link: Path, simulator: Simulator) -> Path:
        """Have it there under this name. Returns the name."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs, termios.TCSANOW)  # a serial line echoes nothing and changes nothing
        os.set_blocking(ours, False)
        beside = link.with_name(f".{link.name}.new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        os.symlink(os.ttyname(theirs), beside)
        with self._turn:
            os.replace(beside, link)
            self._plugged[link] = (simulator, ours, theirs)
        os.write(self._wake, b"+")
        return link

    def unplug(self, link: Path) -> Simulator:
        """Pull it out: whoever has it open sees a hang-up. It stays switched on."""
        with self._turn:
            simulator, ours, theirs = self._plugged.pop(link)
            link.unlink(missing_ok=True)
            os.write(self._wake, b"-")
            turn = self._turns  # a select() of the turn before would keep the line up, though it is closed
            self._turn.wait_for(lambda: self._turns != turn or not self._thread.is_alive())
            os.close(ours)
            os.close(theirs)
        return simulator

    def close(self) -> None:
        """Unplug all and end the thread."""
        self._over.set()
        os.write(self._wake, b"x")
        self._thread.join()
        for link in list(self._plugged):
            self.unplug(link)
        os.close(self._awake)
        os.close(self._wake)

    def _serve(self) -> None:
        then, spoke = time.monotonic(), False
        while not self._over.is_set():
            with self._turn:
                self._turns += 1
                self._turn.notify_all()
                ours = [fd for _, fd, _ in self._plugged.values()]
                wait = min((simulator.wait() for simulator, _, _ in self._plugged.values()), default=LONGEST)
            wait = SHORTEST if spoke else max(SHORTEST, min(LONGEST, wait))  # who speaks may have more to say
            ready = select.select([*ours, self._awake], [], [], wait)[0]
            if self._awake in ready:
                os.read(self._awake, 4096)
            now, spoke = time.monotonic(), False
            with self._turn:
                for simulator, _, _ in self._plugged.values():
                    simulator.advance(now - then)  # all of them first: one's state is another one's air
                for simulator, fd, _ in self._plugged.values():
                    with contextlib.suppress(OSError):
                        if fd in ready:
                            simulator.receive(os.read(fd, 65536))
                        if data := simulator.take():
                            spoke = True
                            os.write(fd, data)  # where nobody reads, a serial line's bytes are lost, as these are
            then = now

"""A device that another program simulates (lewis, sinstruments, a manufacturer's own), plugged in like one of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..instruments.line import open_port
from ..instruments.simulators import Simulator
from .execution import NotThatWay, eventually

COMES_WITHIN = 20.0  # s that its program may take to serve it
LOOK_EVERY = 0.01  # s between two looks at what it has said


class Bridge(Simulator):
    """Hands on what is said, both ways, so that its line can be pulled out; its record is what it was sent."""

    period = 0.005

    def __init__(self, url: str, is_safe: Callable[[], bool] = lambda: True, terminator: bytes = b"\n") -> None:
        """
        Args:
            url: where that program serves it, as pyserial has it: socket://127.0.0.1:9999, or a pty.
            is_safe: whether it could be left alone now, asked by another way than this line.
            terminator: what ends a line that it is sent, for its record.

        Raises:
            NotThatWay: nobody serves it there, and nobody comes to.
        """
        super().__init__()
        self.terminator = terminator
        self._is_safe = is_safe
        try:
            self._port = eventually(lambda: _opened(url), COMES_WITHIN, every=0.1)
        except NotThatWay:
            raise NotThatWay(
                f"Nobody serves a device at {url} within {COMES_WITHIN:g} s: does its program run?"
            ) from None

    def receive(self, data: bytes) -> None:
        """Hand on what it is sent."""
        self._port.write(data)
        super().receive(data)

    def line(self, text: str) -> None:
        """A line that it was sent."""
        self.note(text)

    def due(self) -> float:
        """It may speak at any time."""
        return LOOK_EVERY

    def take(self) -> bytes:
        """What it has said."""
        data: bytes = b"" if "silent" in self.moods else self._port.read(65536)
        return data

    def is_safe(self) -> bool:
        """As it was said when this was made."""
        return self._is_safe()


def _opened(url: str) -> Any:
    try:
        return open_port(url, {"timeout": 0})
    except OSError:  # pyserial's are, too
        return None

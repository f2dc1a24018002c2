"""pyserial's handler for sim://KIND?option=value: a simulator inside this process, without a thread.

Time passes in it whenever it is spoken or listened to. pyserial finds this module by its name:
see `serial.protocol_handler_packages`.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from serial import PortNotOpenError, SerialBase, SerialException


class Serial(SerialBase):  # type: ignore[misc]
    """A port behind which a simulator sits."""

    def open(self) -> None:
        """Switch it on. Raises SerialException for a kind that there isn't."""
        from . import KINDS

        parts = urlsplit(self.portstr)
        kind = KINDS.get(parts.netloc)
        if kind is None:
            raise SerialException(f"there is no simulator {parts.netloc}; there are: {', '.join(KINDS)}")
        options: dict[str, Any] = {}
        for name, value in parse_qsl(parts.query):
            options[name] = float(value) if value.replace(".", "", 1).isdigit() else value
        self.simulator = kind(**options)
        self._then, self._ready = time.monotonic(), b""
        self.is_open = True

    def close(self) -> None:
        """Leave it."""
        self.is_open = False

    def _advance(self) -> None:
        if not self.is_open:
            raise PortNotOpenError()
        now = time.monotonic()
        self.simulator.advance(now - self._then)
        self._then = now
        self._ready += self.simulator.take()

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        self._advance()
        return len(self._ready)

    def read(self, size: int = 1) -> bytes:
        """What came, at most `size`, within the time-out."""
        until = time.monotonic() + (self._timeout or 0.0)
        self._advance()
        while len(self._ready) < size and time.monotonic() < until:
            time.sleep(0.002)
            self._advance()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def write(self, data: bytes) -> int:
        """It hears this now."""
        self._advance()
        self.simulator.receive(bytes(data))
        return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what came."""
        self._ready = b""

    def reset_output_buffer(self) -> None:
        """Nothing waits."""

    def _reconfigure_port(self, *_: Any, **__: Any) -> None:
        """Baud rates mean nothing here."""

    _update_break_state = _update_rts_state = _update_dtr_state = _reconfigure_port
    cts = dsr = ri = cd = property(lambda self: True)

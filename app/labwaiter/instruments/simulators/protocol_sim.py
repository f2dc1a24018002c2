"""pyserial's handler for sim:// URLs, which it finds by this module's name (`serial.protocol_handler_packages`).

``sim://KIND?option=value`` is a simulator inside this process, without a thread: time passes in it whenever it is
spoken or listened to. ``sim:///path/of/a/link`` is the pty on which this deployment's simulated lab serves one;
each opening, also one after the line was lost, asks anew whether that lives.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import serial
from serial import PortNotOpenError, SerialBase, SerialException

from ...lab import simulation

NOT_THERE = "the simulated lab that serves it is not there"


def serial_class_for_url(url: str) -> tuple[str, type[SerialBase]]:
    """Which of the two it is, as pyserial asks."""
    return url, Served if url.startswith("sim:///") else Serial


class Served(serial.Serial):  # type: ignore[misc]
    """The pty of a simulator that the simulated lab serves."""

    def open(self) -> None:
        """Open it. Raises SerialException where the simulated lab isn't there."""
        url: str = self.port
        link = Path(url.removeprefix("sim://"))
        device = simulation.served(link)
        if device is None:
            raise SerialException(NOT_THERE)
        self.portstr = device
        try:
            super().open()
        finally:
            self.portstr = url
        if simulation.served(link) != device:  # it died meanwhile: the number may be somebody else's pty by now
            self.close()
            raise SerialException(NOT_THERE)


class Serial(SerialBase):  # type: ignore[misc]
    """A port behind which a simulator sits."""

    def open(self) -> None:
        """Switch it on. Raises SerialException for a kind or an option that there isn't."""
        from . import KINDS

        try:
            simulated = simulation.read(self.portstr)
        except ValueError as error:
            raise SerialException(str(error)) from None
        self.simulator = KINDS[simulated.kind](**simulated.options)  # alone it has no relay board: no fan turns
        self._then, self._ready = time.monotonic(), b""
        self.is_open = True

    def close(self) -> None:
        """Close the port; the simulator is gone."""
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
        """Have the simulator receive this at once: how many bytes that were."""
        self._advance()
        self.simulator.receive(bytes(data))
        return len(data)

    def reset_input_buffer(self) -> None:
        """Drop what can be read."""
        self._ready = b""

    def reset_output_buffer(self) -> None:
        """What is written has left already."""

    def _reconfigure_port(self, *_: Any, **__: Any) -> None:
        """Baud rates mean nothing here."""

    _update_break_state = _update_rts_state = _update_dtr_state = _reconfigure_port
    cts = dsr = ri = cd = property(lambda self: True)

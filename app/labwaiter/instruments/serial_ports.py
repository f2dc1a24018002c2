"""Which serial ports this machine has, for whoever writes lab.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serial.tools.list_ports import comports

BY_ID = Path("/dev/serial/by-id")


@dataclass(frozen=True)
class SerialPort:
    """A port that is plugged in."""

    name: str  # one that stays its own when it is plugged in elsewhere, where there is one
    device: str  # as the system names it now
    description: str


def serial_ports() -> list[SerialPort]:
    """Those that are there now, by their devices."""
    by_id = {str(link.resolve()): str(link) for link in BY_ID.iterdir()} if BY_ID.is_dir() else {}
    return [SerialPort(by_id.get(p.device, p.device), p.device, p.description) for p in sorted(comports())]

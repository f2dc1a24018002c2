"""An instrument that a wrapped program speaks to itself."""

from __future__ import annotations

from typing import Any


class Port:
    """The address of a device, held for a job and left unopened: its program opens it.

    How it is made safe afterwards, lab.toml says: `safe = "module:function"`, a function that takes this and opens
    `port` itself, or `safe = "nothing to do"`.
    """

    def __init__(self, port: str, **line: Any) -> None:
        """
        Args:
            port: a device's path, or what else the program takes for one.
            line: lab.toml's other settings of the line, for `safe`.
        """
        self.port, self.line = port, line

"""Reading all that an open instrument's driver declares, one after the other: for hands, and for the monitor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from ..errors import ServiceError
from ..model.panel import Item, Panel, What
from ..model.sentences import N_
from ..model.values import plain
from .errors import Lost, WrongDevice
from .opening import Opened
from .panel import panel_of
from .quantity import Reading


class PanelReader:
    """Reads the readings and controls of one instrument.

    Attributes:
        panel: what its driver declares.
        read: by name what was read ("value", "unit", "at" in Unix time, s), or why it could not be ("why").
    """

    def __init__(self, opened: Opened, name: str = "", panel: Panel | None = None) -> None:
        """
        Args:
            name: by which its people know it; "": lab.toml's.
            panel: what is to be read; None: all that its driver declares.

        Raises:
            Misconfigured: what the driver declares can't be read.
        """
        self._name, self._device = name or opened.entry.name, opened.device
        self.panel = panel_of(self._device, opened.entry) if panel is None else panel
        self.read: dict[str, dict[str, Any]] = {}

    def look(self, between: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Read all.

        Args:
            between: called before each; what it raises ends the round.

        Raises:
            Lost, WrongDevice: the line is lost, or is another device's.
        """
        shut: dict[str, str] = {}
        if callable(prepare := getattr(self._device, "prepare_readings", None)):
            try:
                shut = prepare()
            except Exception as error:
                why = self.words(error)
                shut = {item.name: why for item in self.panel.items}
        for item in self.panel.of(What.READING, What.CONTROL):
            between()
            self.read[item.name] = _note(item, shut[item.name]) if item.name in shut else self.ask(item)
        return self.read

    def ask(self, item: Item) -> dict[str, Any]:
        """Read one. Raises as `look`."""
        try:
            value = getattr(self._device, item.name)
        except Exception as error:
            return _note(item, self.words(error))
        at = time.time() - value.age if isinstance(value, Reading) else time.time()
        unit = value.unit if isinstance(value, Reading) else item.unit
        try:
            value = plain(value)
        except TypeError:
            value = str(value)[:200]
        if isinstance(value, float) and not math.isfinite(value):
            return _note(item, N_("It tells none."))
        return {"value": value, "unit": unit, "at": at}

    def words(self, error: Exception) -> str:
        """As `words_of`, of this instrument."""
        return words_of(self._name, error)


def words_of(name: str, error: Exception | SystemExit) -> str:
    """Why something went wrong, for people. Raises what ends it: the line is lost, or is another device's."""
    if isinstance(error, (Lost, WrongDevice)):
        raise error
    if isinstance(error, ServiceError):
        return error.message
    words = " ".join(str(error).split())[:200]
    return f"{name}: {words or type(error).__name__} ({type(error).__name__})."


def _note(item: Item, why: str) -> dict[str, Any]:
    return {"why": why, "unit": item.unit, "at": time.time()}

"""What the drivers of instruments declare, for whoever may not import one: found by a process, and kept meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from typing import Any

from ..catalogue.catalogue import AGAIN_SECONDS, around
from ..catalogue.importing import stamp
from ..model.panel import Panel, panel_of
from ..model.sentences import plain
from ..settings import Settings
from ..store import supervisor_client

SECONDS = 30.0  # that the drivers may take to import


class DriverPanels:
    """The panels of a deployment's instruments, as their drivers are now. Cheap to make, thread-safe.

    One process imports all drivers that are asked for; what it found is kept until lab.toml, a driver beside the
    services or an installed package has changed, and what could not be imported for a minute.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._around: list[Any] = []
        self._stamps: dict[str, list[int]] = {}
        self._kept: dict[str, tuple[Panel | str, float]] = {}  # by instrument, with the time of the steady clock, s

    def of(self, names: Collection[str]) -> dict[str, Panel | str]:
        """Of each instrument its panel, or in a sentence why there is none; of what lab.toml doesn't have, nothing."""
        if not names:
            return {}
        with self._turn:
            here = [around(), stamp(self._settings.lab)]
            if here != self._around or any(stamp(file) != seen for file, seen in self._stamps.items()):
                self._kept, self._stamps, self._around = {}, {}, here
            now = time.monotonic()
            lacking = [name for name in dict.fromkeys(names) if not self._is_good(name, now)]
            if lacking:
                self._kept |= {name: (panel, now) for name, panel in self._found(lacking).items()}
            return {name: self._kept[name][0] for name in names if name in self._kept}

    def _is_good(self, name: str, now: float) -> bool:
        panel, at = self._kept.get(name, ("", 0.0))
        return isinstance(panel, Panel) or (bool(panel) and now - at < AGAIN_SECONDS)

    def _found(self, names: list[str]) -> dict[str, Panel | str]:
        command = [sys.executable, "-m", "labwaiter.instruments.declared", *names]
        try:
            ran = subprocess.run(
                command,
                env=supervisor_client.environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=SECONDS,
            )
            told = json.loads(ran.stdout)
            self._stamps |= told["stamps"]
            panels = {name: panel_of(panel) for name, panel in told["panels"].items()}
            wrong = {name: f"{name}: {plain(why, 500)}" for name, why in told["wrong"].items()}
            return {**panels, **wrong}
        except subprocess.TimeoutExpired:
            why = f"took more than {SECONDS:g} s to import"
        except OSError as error:
            why = f"could not be imported: no process could be started ({error.strerror})"
        except (ValueError, TypeError, KeyError):
            why = "ended the process that imported them"
        return dict.fromkeys(names, f"The drivers of {', '.join(names)} {why}.")

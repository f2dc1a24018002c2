"""A relay board: eight outputs, each told and asked by its number. And the box that its fan ventilates."""

from __future__ import annotations

from .base import Simulator

COUNT = 8


class Relays(Simulator):
    """Answers OK or ERR to each command: ON n, OFF n, ALL OFF, STATE n, STATE, ID."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.identity = "RELAY8 V2.1"
        self.closed = [False] * COUNT
        self.stuck: set[int] = set()  # relays, from 1, whose contacts are welded

    def line(self, text: str) -> None:
        """One command."""
        words = text.upper().split()
        if words == ["ID"]:
            self.say(self.identity)
        elif words == ["ALL", "OFF"]:
            for number in range(1, COUNT + 1):
                self._switch(number, False)
            self.say("OK")
        elif words == ["STATE"]:
            self.say("".join("1" if closed else "0" for closed in self.closed))
        elif (
            len(words) == 2
            and words[1].isdigit()
            and 1 <= int(words[1]) <= COUNT
            and words[0] in ("ON", "OFF", "STATE")
        ):
            number = int(words[1])
            if words[0] == "STATE":
                self.say("1" if self.closed[number - 1] else "0")
            else:
                self._switch(number, words[0] == "ON")
                self.say("OK")
        else:
            self.say("ERR")

    def _switch(self, number: int, on: bool) -> None:
        if number in self.stuck and not on:
            self.note(f"relay {number} is welded")
            return
        if self.closed[number - 1] != on:
            self.note(f"relay {number} {'on' if on else 'off'}")
        self.closed[number - 1] = on

    def is_safe(self) -> bool:
        """All are off."""
        return not any(self.closed)

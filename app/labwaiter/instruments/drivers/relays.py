"""A relay board: actuators that must be off when nobody is there."""

from __future__ import annotations

from typing import Annotated

from ...model.parameter import Length, Range
from ..errors import Garbled, InstrumentError, Lost
from ..instrument import Instrument
from ..quantity import action


class RelayBoard(Instrument):
    """Eight relays, numbered from 1 as on the board."""

    identity = ("ID", r"RELAY8")
    line_settings = {"baudrate": 9600}
    acknowledgement = "OK"
    count = 8

    _switched: tuple[bool, ...] | None = None  # as they were when they were last told or asked

    @action
    def switch(self, number: Annotated[int, Range(1, 8)], on: bool) -> None:
        """Switch a relay, and see that it did. Raises InstrumentError."""
        if not 1 <= number <= self.count:
            raise InstrumentError(f"{self.name} has relays 1 to {self.count}, not {number}.")
        self.tell(f"{'ON' if on else 'OFF'} {number}")
        if self.states()[number - 1] != on:
            raise InstrumentError(f"{self.name}: relay {number} does not switch {'on' if on else 'off'}.")

    def states(self) -> tuple[bool, ...]:
        """Which relays are on, the first one first."""
        answer = self.ask("STATE")
        if len(answer) != self.count or set(answer) - {"0", "1"}:
            self.doubt("STATE")
            raise Garbled(f"{self.name}: asked STATE, it answered “{answer[:80]}” instead of {self.count} digits.")
        self._switched = tuple(digit == "1" for digit in answer)
        return self._switched

    @property
    def switched_on(self) -> Annotated[str, Length()]:
        """Which relays are on, by their numbers."""
        return ", ".join(str(number) for number, on in enumerate(self.states(), 1) if on) or "none"

    def resume(self) -> None:
        """The relays must be as they were. Raises Lost."""
        before = self._switched
        if before is not None and self.states() != before:
            raise Lost(f"{self.name} is back, but its relays aren't as they were: was it switched off?")

    def make_safe(self) -> None:
        """All off."""
        self._switched = None
        self.tell("ALL OFF")

    def is_safe(self) -> bool:
        """All say that they are off."""
        return not any(self.states())

"""A PP Systems SBA-5 CO2 analyser: it speaks at its own pace (operation manual, version 1.06).

Its measurement lines come by themselves, about one a second; a command is answered by its echo and OK,
with such lines in between.
"""

from __future__ import annotations

import time

from ..instrument import Instrument, Reading
from ..line import Garbled, InstrumentError, Silent


class CO2Analyser(Instrument):
    """Its last measurement is kept, with its age."""

    line_settings = {"baudrate": 19200}
    timeout = 3.0
    stale = 5.0  # s: an older reading is asked for anew

    _co2: Reading | None = None
    _fields: tuple[str, ...] = ()
    _warming: float | None = None
    _zeroing: str = ""

    def begin(self) -> None:
        """Its own lines are stopped, it is identified, and they begin again."""
        self.line.drop()
        self.command("!")
        self.line.drop()
        self.identify()
        self.command("@")

    def identify(self) -> str:
        """Its answer to ?. Raises WrongDevice."""
        from ..line import WrongDevice

        self.command("?")
        until = time.monotonic() + self.timeout
        said = ""
        while "SBA-5" not in said:
            got = self._line(until)
            if got is None:
                raise WrongDevice(f"{self.name}: expected a device that answers ? with SBA-5, got “{said[:80]}”.")
            said = got
        return said

    def command(self, text: str) -> None:
        """Send a command; one of several characters gets its carriage return. Raises Silent without its echo and OK."""
        self._persist(lambda: self._command(text))

    def _command(self, text: str) -> None:
        self.line.write(text.encode() if len(text) == 1 else (text + "\r").encode())
        until, echoed = time.monotonic() + self.timeout, False
        while True:
            got = self._line(until)
            if got is None:
                raise Silent(f"{self.name} did not acknowledge {text} within {self.timeout:g} s.")
            if got == text:
                echoed = True
            elif got == "OK" and echoed:
                return

    def _line(self, until: float) -> str | None:
        """The next line; what it tells by itself is noted."""
        got = self.line.read_line(max(0.0, until - time.monotonic()), b"\n")
        if got is None:
            return None
        text = got.decode("ascii", "replace").strip()
        words = text.replace(",", " ").split()
        if words[:1] == ["M"] and len(words) > 1:
            try:
                self._co2, self._fields, self._warming = Reading(float(words[3]), "ppm"), tuple(words), None
                self._zeroing = ""
            except (ValueError, IndexError):
                raise Garbled(f"{self.name} sent “{text[:80]}”, which is no measurement.") from None
        elif words[:1] == ["W"] and len(words) == 2:
            self._warming = float(words[1])
        elif words[:1] == ["Z"] and len(words) == 4:
            self._zeroing = " ".join(words[1:])
        return text

    def listen(self, seconds: float = 0.0) -> None:
        """Take in what it said, for at least one line if there are `seconds` for it."""
        self._persist(lambda: self._listen(seconds))

    def _listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._line(until) is not None:
            until = time.monotonic()

    @property
    def co2(self) -> Reading:
        """The last CO2 concentration in ppm; raises Silent when none came for `stale` seconds."""
        self.listen(0.0 if self._co2 is not None and self._co2.age < 1.5 else 2.0)
        until = time.monotonic() + self.stale
        while self._co2 is None or self._co2.age > self.stale:
            if time.monotonic() > until:
                if self._warming is not None:
                    raise InstrumentError(f"{self.name} is warming up: its cell has {self._warming:g} °C of 55 °C.")
                if self._zeroing:
                    raise InstrumentError(f"{self.name} is zeroing ({self._zeroing}).")
                raise Silent(f"{self.name} has sent no measurement for {self.stale:g} s.")
            self.listen(1.0)
        return self._co2

    @property
    def pressure(self) -> Reading:
        """The last atmospheric pressure in mbar."""
        taken = self.co2.taken
        return Reading(float(self._fields[7]), "mbar", taken)

    def zero(self) -> None:
        """Begin a zero operation; measurements come again when it is done."""
        self.command("Z")

    def make_safe(self) -> None:
        """It moves and heats nothing that could do harm: there is nothing to do but to hear that it lives."""
        self.command("@")

    def is_safe(self) -> bool:
        """It answers."""
        self.command("@")
        return True

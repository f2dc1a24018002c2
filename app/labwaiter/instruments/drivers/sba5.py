"""A PP Systems SBA-5 CO2 analyser: it speaks at its own pace (operation manual, version 1.06).

Its measurement lines come by themselves, about one a second (``S,11`` sets that, ``M`` asks for one); a command is
answered by its echo and OK, with such lines in between. A line is ``M zero-count count ppm temperature humidity
humidity-temperature mbar detector source status``; its command F can leave the counts and what follows ppm out.
"""

from __future__ import annotations

import time

from ..errors import Garbled, InstrumentError, Silent, WrongDevice
from ..instrument import Instrument
from ..quantity import Reading, action, clean

FRESH = 1.5  # s: what came since the last look, if that was no longer ago, is new enough
WHOLE = 10  # words of a measurement line from which nothing is left out, before its status


class CO2Analyser(Instrument):
    """Its last measurement is kept, with its age."""

    line_settings = {"baudrate": 19200}
    timeout = 3.0
    stale = 5.0  # s: an older reading is none
    zero_seconds = 120.0  # it zeroes itself now and then, for 21 to 90 s; so long it is waited for

    _co2: Reading | None = None
    _fields: tuple[str, ...] = ()
    _warming: float | None = None  # °C
    _zeroing = ""
    _garbled = ""
    _looked = 0.0  # monotonic s: when its lines were last taken in

    def begin(self) -> None:
        """Its own lines are stopped, it is identified, and they begin again."""
        if self.settle:
            self._boot()
        self.line.drop()
        self.command("!")
        self.line.drop()
        self.identify()
        self.command("@")

    def identify(self) -> str:
        """Its answer to ?, its configuration. Raises WrongDevice, Silent."""
        self.command("?")
        until, last = time.monotonic() + self.timeout, ""
        while (line := self._line(until)) is not None:
            if "SBA-5" in line or "Zpup=" in line:
                self.identified_as = line
                return line
            last = line or last
        raise WrongDevice(f"{self.name}: expected a device that answers ? with SBA-5, got “{clean(last)}”.")

    def command(self, text: str) -> None:
        """Send a command; one of several characters gets its carriage return. Raises Silent without its echo and OK."""
        self.persist(lambda: self._command(text))

    def _command(self, text: str) -> None:
        self.line.write(text.encode() if len(text) == 1 else (text + "\r").encode())
        until, echoed, last = time.monotonic() + self.timeout, False, ""
        while (line := self._line(until)) is not None:
            if line == text:
                echoed = True
            elif line == "OK" and echoed:
                return
            last = line or last
        instead = f"; it said “{clean(last)}”" if last else ""
        raise Silent(f"{self.name} did not acknowledge {text} within {self.timeout:g} s{instead}.")

    def _line(self, until: float) -> str | None:
        """The next line; what it tells by itself is noted."""
        text = super()._line(until)
        if text is not None:
            self._hear(text)
        return text

    def _hear(self, text: str) -> None:
        words = text.replace(",", " ").split()
        try:
            if words[:1] == ["M"] and len(words) > 1:
                self._co2 = Reading(_ppm(words), "ppm")
                self._fields, self._warming, self._zeroing, self._garbled = tuple(words), None, "", ""
            elif words[:1] == ["W"] and len(words) == 2:
                self._warming = float(words[1])
            elif words[:1] == ["Z"] and len(words) == 4:
                self._zeroing = " ".join(words[1:])
        except ValueError:
            self._garbled = text  # one disturbed line among thousands is none; without a better one it is told

    def listen(self, seconds: float = 0.0) -> None:
        """Take in what it said, for at least one line if there are `seconds` for it."""
        self.persist(lambda: self._listen(seconds))

    def _listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        latest = until + 1.0  # it may flood
        while self._line(until) is not None and time.monotonic() < latest:
            until = min(until, time.monotonic())
        self._looked = time.monotonic()

    @property
    def co2(self) -> Reading:
        """The last CO2 concentration in ppm. While it zeroes itself that is waited for.

        Raises:
            Silent, Garbled: none came for `stale` seconds.
            InstrumentError: it is warming up, or zeroes itself without an end.
        """
        recent = time.monotonic() - self._looked < FRESH
        self.listen()
        if not recent:
            self._co2 = None  # nobody knows how long that lay in the line
        began = time.monotonic()
        asked = False
        while self._co2 is None or self._co2.age > self.stale:
            waited = time.monotonic() - began
            if self._zeroing and waited > self.zero_seconds:
                raise InstrumentError(f"{self.name} zeroes itself without an end ({self._zeroing}).")
            if not self._zeroing and waited > self.stale:
                raise self._none()
            self.listen(min(1.0, self.stale / 5))
            if not (asked or self._zeroing or self._warming is not None or self._co2) and waited > self.stale / 2:
                asked = True
                self.command("M")
        return self._co2

    def _none(self) -> InstrumentError:
        if self._warming is not None:
            return InstrumentError(f"{self.name} is warming up: its cell has {self._warming:g} °C of 55 °C.")
        if self._garbled:
            return Garbled(f"{self.name} sent “{clean(self._garbled)}”, which is no measurement.")
        return Silent(f"{self.name} has sent no measurement for {self.stale:g} s.")

    @property
    def pressure(self) -> Reading:
        """The last atmospheric pressure in mbar. Raises what `co2` raises, and where its lines are shortened."""
        taken = self.co2.taken
        if len(self._fields) < WHOLE:
            raise InstrumentError(f"{self.name} sends shortened lines, without its pressure: F255 makes them whole.")
        return Reading(float(self._fields[7]), "mbar", taken)

    @action
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


def _ppm(words: list[str]) -> float:
    """The CO2 of a measurement line. Raises ValueError for a line that is damaged or cut short."""
    for word in words[1:WHOLE]:
        float(word)
    if len(words) >= WHOLE:
        return float(words[3])
    # some of its fields are left out; the counts are whole numbers, the CO2 is none
    with_point = [word for word in words[1:4] if "." in word]
    if not with_point:
        raise ValueError("no CO2 in it")
    return float(with_point[0])

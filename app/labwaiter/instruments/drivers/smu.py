"""A SCPI source-measure unit: request and answer (SCPI-1999; the commands of Keithley's 2400 manual).

What it is told: ``*IDN?``, ``FORM:ELEM``, ``*CLS``, ``SOUR:VOLT``, ``SENS:CURR:PROT``, ``OUTP``, ``READ?``,
``SYST:ERR?``. ``MEAS:CURR?`` is not used: on a 2400 it sets the compliance back to its default.
"""

from __future__ import annotations

from collections.abc import Callable

from ...model.sentences import N_
from ..errors import InstrumentError, Lost
from ..instrument import Instrument
from ..quantity import action, control, number, reading


def _field(which: int) -> Callable[[str], float]:
    """One number of READ?'s answer, "volts,amps"; of an instrument that gives one only, that."""

    def understood(text: str) -> float:
        words = text.split(",")
        return number(words[min(which, len(words) - 1)])

    return understood


class SourceMeter(Instrument):
    """Sources a voltage up to a compliance current, and measures both."""

    identity = ("*IDN?", r"SMU|MODEL 24\d\d")
    line_settings = {"baudrate": 9600}
    acknowledgement = False  # SCPI: only a question has an answer

    volts = control("SOUR:VOLT?", "SOUR:VOLT {:.6f}", float, "V", -210, 210, "The voltage that is sourced.")
    compliance = control("SENS:CURR:PROT?", "SENS:CURR:PROT {:.9f}", float, "A", 1e-9, 1.05, "The current's limit.")
    current = reading("READ?", _field(1), "A", "The current that is measured; the output must be on.")
    measured_volts = reading("READ?", _field(0), "V", "The voltage that is measured; the output must be on.")
    tripped = reading("SENS:CURR:PROT:TRIP?", lambda text: text == "1", doc="Whether the compliance limits it.")

    _on = False

    def begin(self) -> None:
        """Identify it; a reading is volts and amps; errors of the time before are nobody's."""
        super().begin()
        self._send("FORM:ELEM VOLT,CURR")
        self._send("*CLS")

    @action
    def output(self, on: bool) -> None:
        """Switch the output. Raises InstrumentError if the instrument reports an error."""
        self.tell(f"OUTP {'ON' if on else 'OFF'}")
        self._on = on
        self.raise_errors()

    def prepare_readings(self) -> dict[str, str]:
        """It measures nothing while its output is off."""
        return {} if self._on else dict.fromkeys(("current", "measured_volts"), N_("The output is off."))

    def raise_errors(self) -> None:
        """Ask for its error queue. Raises InstrumentError with what stands there."""
        answer = self.ask("SYST:ERR?")
        if not answer.startswith(("0,", "+0,")):
            raise InstrumentError(f"{self.name} reports the error {answer[:100]}.")

    def resume(self) -> None:
        """An output that was on must still be on, at the same voltage and compliance. Raises Lost."""
        super().resume()
        if self._on and self.is_safe():
            raise Lost(f"{self.name} is back, but its output is off: was it switched off? The work can't go on.")

    def make_safe(self) -> None:
        """Output off, 0 V."""
        self._on = False
        self.tell("OUTP OFF")
        self.tell("SOUR:VOLT 0")

    def is_safe(self) -> bool:
        """The output says that it is off."""
        return self.ask("OUTP?").upper() in ("0", "OFF")

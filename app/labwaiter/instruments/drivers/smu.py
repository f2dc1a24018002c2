"""A SCPI source-measure unit: request and answer (SCPI-1999; the commands of Keithley's 2400 manual)."""

from __future__ import annotations

from ..instrument import Instrument, control, reading
from ..line import InstrumentError


class SourceMeter(Instrument):
    """Sources a voltage up to a compliance current, and measures both."""

    identity = ("*IDN?", r"SMU|MODEL 24\d\d")
    line_settings = {"baudrate": 9600}

    volts = control("SOUR:VOLT?", "SOUR:VOLT {:.6f}", float, "V", -210, 210, "The voltage that is sourced.")
    compliance = control("SENS:CURR:PROT?", "SENS:CURR:PROT {:.9f}", float, "A", 1e-9, 1.05, "The current's limit.")
    current = reading("MEAS:CURR?", float, "A", "The current that is measured.")
    measured_volts = reading("MEAS:VOLT?", float, "V", "The voltage that is measured.")
    tripped = reading("SENS:CURR:PROT:TRIP?", lambda text: text == "1", doc="Whether the compliance limits it.")

    def output(self, on: bool) -> None:
        """Switch the output. Raises InstrumentError if the instrument reports an error."""
        self.tell(f"OUTP {'ON' if on else 'OFF'}")
        self.raise_errors()

    def raise_errors(self) -> None:
        """Ask for its error queue. Raises InstrumentError with what stands there."""
        said = self.ask("SYST:ERR?")
        if not said.startswith(("0,", "+0,")):
            raise InstrumentError(f"{self.name} reports the error {said[:100]}.")

    def make_safe(self) -> None:
        """Output off, 0 V."""
        self.tell("OUTP OFF")
        self.tell("SOUR:VOLT 0")

    def is_safe(self) -> bool:
        """The output says that it is off."""
        return self.ask("OUTP?") == "0"

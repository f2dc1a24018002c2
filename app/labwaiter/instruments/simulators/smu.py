"""A SCPI source-measure unit with a part under test: a resistor, or a diode with a series resistance."""

from __future__ import annotations

import math

from .base import Simulator

RESISTANCE = 1000.0  # Ω
SATURATION = 2e-9  # A, of the diode
IDEALITY = 1.8
THERMAL = 0.02585  # V at 300 K: k·T/q
SERIES = 2.0  # Ω


class Smu(Simulator):
    """Sources a voltage up to a compliance current and measures both."""

    def __init__(self, *args: object, part: str = "resistor", **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.part = part
        self.identity = "LABWAITER,SIM-SMU,0001,1.0"
        self.volts = 0.0
        self.compliance = 0.1  # A
        self.on = False
        self._errors: list[str] = []

    def current(self) -> float:
        """The current through the part in A, noise-free, within the compliance."""
        if not self.on:
            return 0.0
        amps = self.volts / RESISTANCE if self.part == "resistor" else diode(self.volts)
        return max(-self.compliance, min(self.compliance, amps))

    def line(self, text: str) -> None:
        """One command, or several with ; between."""
        for part in text.split(";"):
            command, _, value = part.strip().partition(" ")
            self._obey(command.upper().lstrip(":"), value.strip())

    def _obey(self, command: str, value: str) -> None:
        if command == "*IDN?":
            self.say(self.identity)
        elif command in ("READ?", "MEAS:CURR?", "MEAS:VOLT?"):
            amps = self.current()
            limited = self.on and abs(amps) >= self.compliance
            volts = 0.0 if not self.on else (amps * RESISTANCE if limited and self.part == "resistor" else self.volts)
            measured = {
                "VOLT": f"{self.random.gauss(volts, 5e-5):.8E}",
                "CURR": f"{self.random.gauss(amps, 2e-8 + 1e-4 * abs(amps)):.8E}",
            }
            self.say(",".join(measured.values()) if command == "READ?" else measured[command[5:9]])
        elif command == "SOUR:VOLT?":
            self.say(f"{self.volts:.6E}")
        elif command == "SENS:CURR:PROT?":
            self.say(f"{self.compliance:.6E}")
        elif command == "SENS:CURR:PROT:TRIP?":
            self.say("1" if self.on and abs(self.current()) >= self.compliance else "0")
        elif command == "OUTP?":
            self.say("1" if self.on else "0")
        elif command == "SYST:ERR?":
            self.say(self._errors.pop(0) if self._errors else '0,"No error"')
        elif command in ("*CLS", "FORM:ELEM"):
            self._errors.clear()
        elif command == "*RST":
            self.volts, self.on, self.compliance = 0.0, False, 0.1
            self.note("reset")
        elif command == "OUTP" and value.upper() in ("ON", "OFF", "1", "0"):
            self.on = value.upper() in ("ON", "1")
            self.note("output on" if self.on else "output off")
        elif command in ("SOUR:VOLT", "SENS:CURR:PROT"):
            try:
                number = float(value)
            except ValueError:
                self._errors.append('-104,"Data type error"')
                return
            if command == "SOUR:VOLT" and abs(number) <= 210:
                self.volts = number
                self.note(f"{number:g} V")
            elif command == "SENS:CURR:PROT" and 0 < number <= 1.05:
                self.compliance = number
            else:
                self._errors.append('-222,"Parameter data out of range"')
        elif command:
            self._errors.append('-113,"Undefined header"')

    def is_safe(self) -> bool:
        """The output is off."""
        return not self.on


def diode(volts: float) -> float:
    """Current in A of a diode with a series resistance, by bisection of its equation (Shockley, 1949)."""
    if volts <= 0:
        return -SATURATION * (1 - math.exp(volts / (IDEALITY * THERMAL)))
    low, high = 0.0, volts / SERIES
    for _ in range(60):
        middle = (low + high) / 2
        flows = SATURATION * math.expm1(min(80.0, (volts - middle * SERIES) / (IDEALITY * THERMAL)))
        low, high = (middle, high) if flows > middle else (low, middle)
    return (low + high) / 2

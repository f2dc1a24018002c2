"""Instruments on serial lines: drivers that read like a manual's command table, and simulators that behave.

Nothing here knows of jobs: a driver is as good in a notebook.

    from labwaiter.instruments import Instrument, control, reading

    class Oven(Instrument):
        \"\"\"Acme T100 oven, RS-232.\"\"\"
        identity = ("*IDN?", r"ACME,T100")
        temperature = reading("TEMP?", float, unit="°C")
        setpoint = control("SET?", "SET {:.1f}", float, low=20, high=300, unit="°C")
        def make_safe(self): self.tell("HEAT 0")
        def is_safe(self): return self.ask("HEAT?") == "0"

    with Oven("/dev/ttyUSB0") as oven:
        oven.setpoint = 80
"""

from .errors import Garbled, InstrumentError, Lost, NotANumber, Overflow, Silent, WrongDevice
from .instrument import Instrument
from .quantity import Reading, action, control, number, reading, whole

__all__ = [
    "Garbled",
    "Instrument",
    "InstrumentError",
    "Lost",
    "NotANumber",
    "Overflow",
    "Reading",
    "Silent",
    "WrongDevice",
    "action",
    "control",
    "number",
    "reading",
    "whole",
]

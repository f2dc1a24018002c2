"""What can go wrong with an instrument. Each message names it, and says what was expected."""

from __future__ import annotations

from ..errors import JobFailed


class InstrumentError(JobFailed):
    """An instrument didn't do what it should; the message names it and says what was expected."""


class Silent(InstrumentError):
    """Nothing came in time, or not all of it."""


class Garbled(InstrumentError):
    """What came is no answer to what was asked."""


class Overflow(Garbled):
    """It says that the value is out of its range: SCPI's 9.9E37, INF."""


class NotANumber(Garbled):
    """It says that it has no value: SCPI's 9.91E37, NAN."""


class WrongDevice(InstrumentError):
    """Another device answers than the driver is for."""


class Lost(InstrumentError):
    """The line is gone: unplugged, closed by the other side, no such port."""


class NotOpened(Lost):
    """Its line can't be opened, for the reason that is told; so nothing was said to it."""


class Busy(NotOpened):
    """Somebody else has the device."""

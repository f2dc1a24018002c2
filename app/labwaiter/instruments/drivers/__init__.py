"""Four drivers, each for another kind of conversation."""

from .marlin import MarlinPrinter
from .relays import RelayBoard
from .sba5 import CO2Analyser
from .smu import SourceMeter

__all__ = ["CO2Analyser", "MarlinPrinter", "RelayBoard", "SourceMeter"]

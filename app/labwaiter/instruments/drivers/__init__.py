"""Four drivers, each for another kind of conversation; and `Port`, for a program that has its own."""

from .marlin import MarlinPrinter
from .port import Port
from .relays import RelayBoard
from .sba5 import CO2Analyser
from .smu import SourceMeter

__all__ = ["CO2Analyser", "MarlinPrinter", "Port", "RelayBoard", "SourceMeter"]

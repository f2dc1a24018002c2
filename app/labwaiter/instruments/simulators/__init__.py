"""Simulated instruments that behave: physics, noise and time. Each keeps a record of its own of what happened to it.

``sim://KIND`` as a port is one inside this process (``protocol_sim``); `host` serves them over real ptys.
"""

from .base import Simulator
from .marlin import Marlin
from .relays import Relays
from .sba5 import Sba5
from .smu import Smu

KINDS: dict[str, type[Simulator]] = {"smu": Smu, "marlin": Marlin, "sba5": Sba5, "relays": Relays}

__all__ = ["KINDS", "Simulator"]

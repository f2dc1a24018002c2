"""A heater that takes its time."""

import math

AMBIENT = 22.0  # °C


class Heater:
    """A first-order heater with hysteresis."""

    def __init__(self, power: float, loss: float) -> None:
        self.power, self.loss = power, loss  # °C/s at full power; 1/s
        self.temperature, self.target = AMBIENT, 0.0

    def tick(self, seconds: float) -> None:
        """Full power below the target, none above it: towards where it would end, as exp(-t) does."""
        end = AMBIENT + (self.power / self.loss if self.temperature < self.target else 0.0)
        self.temperature = end + (self.temperature - end) * math.exp(-self.loss * seconds)

    @property
    def reached(self) -> bool:
        """Within 2 °C of its target."""
        return abs(self.temperature - self.target) < 2.0

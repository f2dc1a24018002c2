"""Pauses between the tries of something that fails: each twice as long as the one before, up to a longest."""

from __future__ import annotations

from dataclasses import dataclass

STEADY = 10.0  # s after which what was started and lives is believed to go on


@dataclass
class Backoff:
    """The pauses between tries, and when the next one is due. Clocks are the callers': any, but always the same.

    Attributes:
        first: the first pause that isn't 0, s.
        longest: s.
        step: added to each doubled pause, s.
        pause: the last one, s; 0 while nothing has failed.
        due: when the next try is due, s on the caller's clock.
    """

    first: float
    longest: float
    step: float = 0.0
    pause: float = 0.0
    due: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether the next try may be made."""
        return now >= self.due

    def failed(self, now: float = 0.0) -> float:
        """A try has failed: the pause before the next one, s."""
        self.pause = min(self.longest, 2 * self.pause + self.step if self.pause else self.first)
        self.due = now + self.pause
        return self.pause

    def started(self, now: float) -> None:
        """A try is made now, and whether it lives shows later; where it doesn't, the next one first follows at once."""
        before = self.pause
        self.failed(now)
        self.due = now + before

    def lives(self, now: float) -> None:
        """What was started lives: once it has for a while, the pauses begin anew."""
        if now > self.due + STEADY:
            self.pause = 0.0

    def succeeded(self) -> None:
        """The pauses begin anew, and nothing is waited for."""
        self.pause = self.due = 0.0

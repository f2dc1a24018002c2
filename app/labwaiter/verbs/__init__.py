"""The verbs: start, status, abort, notify, list. Every face calls these and decides nothing itself.

The ways of a start, a poll and an abort through them are drawn in docs/architecture.md, by docs/ways.py.
"""

from .jobs import Jobs, Status

__all__ = ["Jobs", "Status"]

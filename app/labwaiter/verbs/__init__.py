"""The verbs: start, status, abort, notify, list. Every face calls these and decides nothing itself.

The way of a start: main → soap → jobs.start → folder.claim → wake ┐→ page → soap
                    supervisor: queue → nursery.fork → runner → user's code → end.json
The way of a poll:  soap → jobs.status → folder.read → derive → page → soap: no writes but a mark.
"""

from .jobs import Jobs, Status

__all__ = ["Jobs", "Status"]

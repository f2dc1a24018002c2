"""The processes of a deployment: its web side and its supervisor, started, replaced, stopped and found.

    deployment.py     start, replace, stop, have back what is gone, is it well
    foreground.py     the same two as children of one process, as a container runs them
    units.py          the same by systemd: its units written, started and stopped
    web_processes.py  the web side's processes
    listening.py      who listens on its port, and why this deployment can't
    address.py        where it listens and how it is called

They return values and raise errors; words for people who wait go to a function that the caller gives.
"""

from .deployment import Deployment, Health, Leftovers, Started, Stopped, WebSideFailed, revive_if_gone
from .errors import DeploymentError
from .foreground import Foreground

__all__ = [
    "Deployment",
    "DeploymentError",
    "Foreground",
    "Health",
    "Leftovers",
    "Started",
    "Stopped",
    "WebSideFailed",
    "revive_if_gone",
]

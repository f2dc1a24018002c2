"""How long has the workflow manager of a running job been silent?

A start over the web is the first poll, and nobody is abandoned in the queue: the silence counts anew when the job
begins to run. It doesn't count where there never was a poll (a shell or a notebook started that), nor while the web
side wasn't there to be polled. All by the boot clock, the `polled` marks too.
"""

from __future__ import annotations

from ..lab.lab import Lab
from ..model.record import Silence
from ..system.process import boot_clock
from .folder import Folder
from .web_side import up_since

QUIET = 12.0  # s: workflow managers poll every 6 s, so this is two polls left out


def silence(store: Folder, lab: Lab | None, name: str, instruments: tuple[str, ...]) -> Silence | None:
    """How silent the workflow manager of a running job is.

    Returns:
        None where that doesn't count: its instruments don't mind, nobody has ever polled, the web side isn't up.
    """
    most = lab.unpolled(instruments) if lab is not None and instruments else None
    polled = store.polled_at(name) if most is not None else None
    if most is None or polled is None:
        return None
    now = boot_clock()
    since = up_since(store.layout, now)
    return None if since is None else Silence(max(0.0, now - max(polled, since)), most)

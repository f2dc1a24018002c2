"""How many forks a supervisor asks its fork server for, before it hears what came of them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from labwaiter.store.folder import Folder
from labwaiter.supervisor.admission import FORKING_MAX, Admission
from labwaiter.supervisor.queue import MostRunning, Queue, Waiting
from labwaiter.system.channel import Channel, pair


def test_however_many_wait_it_never_waits_for_a_fork_server_that_waits_for_it(tmp_path: Path) -> None:
    """Each of two who send without reading waits for the other, once more was sent than a socket takes."""
    ours, theirs = pair()  # nobody reads what is sent to it, as of a fork server that is sending
    fork_server: Any = SimpleNamespace(channel=Channel(ours), pid=1)
    queue = Queue()
    for number in range(1000):
        queue.add(Waiting(float(number), f"one {number}", "Waiter"))
    nobody: Any = SimpleNamespace(running=[], instruments=set())
    parts: dict[str, Any] = {
        "fork_servers": SimpleNamespace(ready=lambda: fork_server),
        "keeper": nobody,
        "cleanup": nobody,
        "states": None,
        "leases": SimpleNamespace(take=lambda name, instruments, in_hand: True),
        "lab": SimpleNamespace(now=lambda: None),
        "figures": None,
        "monitoring": None,
        "long_wait": None,
    }
    admission = Admission(MostRunning(1000), Folder(tmp_path), queue, **parts)
    admitting = threading.Thread(target=admission.admit, daemon=True)
    admitting.start()
    admitting.join(10)
    assert not admitting.is_alive() and len(admission.forking) == FORKING_MAX
    admission.on_refused(admission.forking[0], "processes")  # it was heard: the next one may be asked for
    assert len(admission.forking) == FORKING_MAX - 1
    theirs.close()

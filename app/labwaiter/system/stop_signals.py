"""SIGTERM and SIGINT as events, for processes that wait for events."""

from __future__ import annotations

import os
import signal
import threading


def set_by_signals(*events: threading.Event) -> None:
    """From now on the first SIGTERM or SIGINT sets the first of these events, the next one the second, and so on.

    A thread sets them: a handler runs in the main thread, between any two of its steps, and if that is just about to
    wait for the event, it holds the very lock that `set` needs, and both would wait for ever.

    Raises:
        ValueError: this is not the main thread.
    """
    readable, writable = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writable, False)
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)

    def listen() -> None:
        unset = list(events)
        while unset:
            if os.read(readable, 1)[0] in numbers:
                unset.pop(0).set()

    threading.Thread(target=listen, name="signals", daemon=True).start()

"""Entry of the supervisor's process."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from ..settings import NAMINGS, Settings, load
from ..store.folder import Folder
from ..system import logs
from .loop import Supervisor
from .single_instance import SingleInstance, Taken, far_disk

log = logging.getLogger("labwaiter.supervisor")


def main(settings: Settings | None = None) -> None:
    """Serve until stopped; exit 0 also where another supervisor serves the folder already."""
    lock = int(sys.argv[2]) if sys.argv[1:2] == ["--lock"] else None
    settings = settings or load()
    for name in NAMINGS & os.environ.keys():
        del os.environ[name]
    os.environ.update(settings.naming)  # what it starts means this lab, too, and works elsewhere
    out = logs.set_up("supervisor", settings.log_format, settings.layout.supervisor_log)
    try:
        serve(settings, lock, leaving=sys.argv[1:] == ["--leaving"], out=out)
    except Taken as error:
        print(error, file=sys.stderr)


def serve(settings: Settings, lock: int | None = None, leaving: bool = False, out: logs.Out | None = None) -> None:
    """Be the supervisor of the jobs folder until stopped.

    Args:
        lock: the descriptor of the lock, for a supervisor that has begun anew.
        leaving: admit nothing, settle what is left of a deployment that was stopped.
        out: where its log goes, which is looked after meanwhile.

    Raises:
        single_instance.Taken: there is one already.
        OSError: the folder can't be made or written.
    """
    store = Folder(settings.jobs_folder)
    store.make(settings.jobs_mode)
    single_instance = SingleInstance(store.layout, lock)
    store.note_form()
    if not leaving:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(store.layout.stopped)
    if kind := far_disk(settings.jobs_folder):
        log.warning("the jobs folder is on %s: labwaiter needs a local disk, jobs may be lost", kind)
    log.info("supervisor (pid %d) of %s", os.getpid(), settings.jobs_folder)
    Supervisor(settings, single_instance, out).run(leaving)
    log.info("stopped")

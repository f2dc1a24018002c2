"""`<WAITER_LOG_FOLDER>/.labwaiter/`: what lies there beside the jobs, under which name, and whose it is.

No other module knows a name in it. docs/files.md has the same table; a test compares the two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

NAME = ".labwaiter"  # no job's folder: their names begin with no dot
FORM = 1  # of what lies in a jobs folder: one more with each change that releases before would misread


class Entry:
    """One file or folder of a `Layout`, as an attribute of it: its path."""

    def __init__(self, name: str, writer: str, reader: str, purpose: str) -> None:
        """
        Args:
            name: as it lies there; a folder's ends with a slash.
            writer: who makes, changes and removes it.
            reader: who looks at it besides.
        """
        self.name, self.writer, self.reader, self.purpose = name, writer, reader, purpose

    def __set_name__(self, owner: type[Layout], name: str) -> None:
        self._attribute = name

    @overload
    def __get__(self, layout: None, owner: type[Layout]) -> Entry: ...
    @overload
    def __get__(self, layout: Layout, owner: type[Layout]) -> Path: ...
    def __get__(self, layout: Layout | None, owner: type[Layout]) -> Entry | Path:
        if layout is None:
            return self
        path = layout.folder / self.name
        layout.__dict__[self._attribute] = path  # next time it is found there: polls ask for some each time
        return path


class Layout:
    """The paths of one deployment's own files."""

    def __init__(self, jobs_folder: str | os.PathLike[str]) -> None:
        self.folder = Path(jobs_folder, NAME)

    form = Entry("form", "supervisor", "all", "a number: the form of what lies in the jobs folder")

    # the jobs
    active = Entry("active/", "faces, supervisor", "supervisor", "a mark per job that hasn't ended: the queue's index")
    new = Entry("new/", "faces", "supervisor", "folders being filled, before they are renamed into place")
    queue = Entry("queue.json", "supervisor", "faces", "who waits at which place, for the pages of those who wait")
    leases = Entry("leases/", "supervisor, runners, operators", "all", "who has which instrument; without a file: free")
    out_of_service = Entry("out-of-service/", "operators, who stops", "all", "which instruments are, and why")
    instruments = Entry("instruments/", "supervisor, guard, operators", "operators", "an instrument's use and its log")
    readers = Entry(
        "readers/", "monitor, faces, supervisor", "all", "which idle instrument is being read, who wants it"
    )
    history = Entry("history/", "monitor", "faces", "what monitored instruments said; it may be removed")
    events = Entry("events/", "supervisor, guard, monitor", "faces", "events, and those that are still to be sent")
    starts = Entry("starts.json", "faces", "", "starts that are being recorded, and how many each user has just made")
    sizes = Entry("sizes.json", "supervisor", "faces", "the bytes that all jobs' folders hold, if they have a limit")
    kept_sizes = Entry("sizes.kept.json", "supervisor", "", "what those of ended jobs hold: each is looked at once")
    links_key = Entry("links.key", "whoever needs it first", "faces, runners", "the secret behind the links to files")
    links_lock = Entry("links.lock", "whoever makes links.key", "", "of several who find none, one makes it")
    hashes = Entry(
        "hashes/", "runners, functions' processes", "", "of large programs, by their stamps; it may be removed"
    )
    matplotlib = Entry("matplotlib/", "functions' processes", "", "matplotlib's list of fonts, made once")

    audit = Entry("audit/", "faces, supervisor, guard", "operators", "who did what: lines that are chained by hashes")
    audit_lock = Entry("audit.lock", "who writes the audit", "", "held: a line is being added to it")

    # the supervisor
    supervisor_lock = Entry("supervisor.lock", "supervisor", "all", "held: a supervisor lives")
    wake = Entry("wake", "supervisor", "faces, runners", "a socket: which job to look at")
    stopped = Entry("stopped", "`labwaiter stop`, supervisor", "all", "a mark: stopped on purpose")
    ensure_lock = Entry("ensure.lock", "whoever starts a supervisor", "faces", "held: one is being started")
    handed_settings = Entry("settings.json", "`labwaiter start`", "supervisor", "with which a running one begins anew")
    reserve = Entry("reserve", "supervisor", "", "room kept for a full disk")
    clock = Entry("clock.json", "supervisor", "", "by which retention sees that the machine's clock has jumped")
    supervisor_figures = Entry("supervisor.figures", "supervisor", "web side", "what it counts for the metrics")
    supervisor_log = Entry("supervisor.log", "supervisor", "", "its log; `supervisor.log.1` to `.9` are older")

    # the web side
    start_lock = Entry("start.lock", "`labwaiter start`, `stop`", "", "held: one of them is at it")
    web = Entry("web", "web side", "supervisor, faces", "since when calls are answered, and when one was last")
    expected_web = Entry("web.json", "`labwaiter start`, `stop`", "supervisor, commands", "which one should be there")
    web_log = Entry("web.log", "web side", "", "its log; `web.log.1` to `.9` are older")
    web_figures = Entry("web.figures", "web side", "", "what its workers, the ended ones too, count for the metrics")
    figures_lock = Entry("figures.lock", "web side", "", "held: a worker adds to web.figures")
    services = Entry("services/", "faces, commands", "supervisor", "what service files declare; it may be removed")
    labs = Entry("labs/", "faces, commands", "", "what remote labs' files declare; it may be removed")
    tasks_lock = Entry("tasks.lock", "who starts a task of a session", "", "held: one is being started")
    schedules = Entry("schedules.json", "`labwaiter schedule`", "", "what was left out of each schedule, and why")

    # the simulated lab
    simulated = Entry("sim/", "simulated lab", "runners, guard", "links to the instruments' ptys; their own records")
    simulated_lock = Entry("simulated.lock", "simulated lab", "all", "held: it lives")

    # many machines
    known = Entry("known/", "faces", "", "what a face last knew of executions")
    given = Entry("given/", "worker", "runners", "files that came with the orders of executions that have not ended")
    fetched = Entry("fetched/", "faces", "", "files that other machines' executions made, until KEEP_DAYS")
    worker_lock = Entry("worker.lock", "worker", "`labwaiter stop`", "held: the worker lives")
    machine_id = Entry("machine.id", "worker", "", "what tells two machines of one name apart")
    used_errands = Entry("errands.used", "worker", "", "which errands this machine has done")

    @property
    def form_here(self) -> int:
        """The form of what lies here; 0 where that was never written down, as by 0.4.0 and before."""
        try:
            fd = os.open(self.form, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place holds nobody up
        except OSError:
            return 0
        try:
            return int(os.read(fd, 20))
        except (OSError, ValueError):
            return 0
        finally:
            os.close(fd)

    @classmethod
    def entries(cls) -> list[Entry]:
        """All that may lie there, besides files that are just being written (`.name.…`)."""
        return [entry for entry in vars(cls).values() if isinstance(entry, Entry)]

"""Executions of this machine: a folder for each, and the supervisor who is woken for it.

What is told of an execution is derived from what lies in its folder, and never written. Whoever looks at one that
somebody should run makes sure that somebody does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from ..errors import Removed, Unavailable, UnknownServiceID
from ..model.record import (
    ACTIVE,
    ENDED,
    Happening,
    Moment,
    Owner,
    Record,
    Request,
    State,
    StoredState,
    Tombstone,
    View,
    derive,
)
from ..model.sentences import N_
from ..model.service import Service
from ..settings import Settings
from ..system.changes import Changes, Counts
from ..system.process import Identity, boot_clock, lives
from ..system.watch import until
from . import figures, limits, messages, records, supervisor_client, timeline, web_side
from .artifacts import Artifacts, bytes_of
from .folder import Folder, ran, running_since
from .leases import Leases
from .names import folder_name
from .stamps import Remembered, Stamps, is_young
from .views import Views

log = logging.getLogger(__name__)
T = TypeVar("T")
CLOCKS_DIFFER = 60.0  # s: a file system's, which counts in steps, or a face's on another machine, from this one's
OTHERS_SECONDS = 2.0  # that a look waits for somebody else who starts a supervisor
TRY_AGAIN = 60.0  # s after a supervisor could not be started
SERVED_SECONDS = 0.25  # that what was seen of the supervisor serves others who ask for it
POLLED_EVERY = 1.0  # s between two touches of the mark of one execution
POLLED_MAX = 20_000
FILES_STAMPED = 16  # in data/: of more, each poll looks at all
SETTLE_SECONDS = 1.5  # a supervisor settles in milliseconds; one that has yet to start, in a tenth of a second
HANGS_SECONDS = 30.0  # s after which a supervisor that has told no figures hangs: it tells them every 5 s


class LocalStore:
    """The records of this machine's jobs folder: `records.Records`, where each of these methods is described."""

    def __init__(self, settings: Settings, has_supervisor: bool = False) -> None:
        """
        Args:
            has_supervisor: it has been started by one, as a job is, and starts none itself.
        """
        self.settings, self._has_supervisor = settings, has_supervisor
        self.folder = Folder(settings.jobs_folder, Remembered() if settings.poll_lane else None)
        self.artifacts = Artifacts(settings)
        self._leases = Leases(settings.jobs_folder)
        self._views = Views(self.folder, self.artifacts, self._leases, settings.lab)
        self._limits = limits.Limits(settings, self._owners)
        self._polled: dict[str, float] = {}  # when its mark was touched here last, boot clock, s
        self._changes: Changes | None = None  # in web workers, which are asked again and again
        self._served = -SERVED_SECONDS  # when a supervisor was seen to live, boot clock, s
        self._no_supervisor_before = 0.0  # monotonic s: until then none is started

    # -- the supervisor -----------------------------------------------------------------------

    def unserved(self) -> str:
        """Whether no supervisor lives. Raises OSError: that can't be seen now."""
        return N_("no supervisor") if supervisor_client.alive(self.settings) is None else ""

    def is_served(self) -> bool:
        """Whether a supervisor lives, or did a moment ago: of many who ask in one moment, one looks. Raises OSError."""
        now = boot_clock()
        if not 0 <= now - self._served < SERVED_SECONDS:
            if self.unserved():
                return False
            self._served = now
        return True

    def crowded(self) -> str:
        """Whether the supervisor hangs, the disk is full or as many run as may."""
        told = figures.read(self.folder.layout.supervisor_figures).get("at")
        if isinstance(told, int | float) and (age := boot_clock() - told) > HANGS_SECONDS:
            return N_(f"the supervisor has done nothing for {age:.0f} s")
        if why := limits.no_room(self.settings):
            return why
        queue = self.folder.queue()
        running, most = queue.get("running"), queue.get("max_running")
        if isinstance(running, int) and isinstance(most, int) and running >= most:
            return f"{running} of {most} executions are running"
        return ""

    def have_supervisor(self) -> None:
        """Have a supervisor there, unless it was stopped on purpose."""
        if self._has_supervisor or time.monotonic() < self._no_supervisor_before:
            return
        try:
            supervisor_client.ensure(self.settings, patience=OTHERS_SECONDS)
        except OSError:
            # the try takes 10 s, and polls come one after the other: not each of them can make one
            self._no_supervisor_before = time.monotonic() + TRY_AGAIN
            log.exception("no supervisor could be started")

    def _wake(self, name: str) -> None:
        """Have the supervisor look at a job, and have one."""
        if not supervisor_client.wake(self.settings, name):
            self.have_supervisor()

    # -- starting -----------------------------------------------------------------------------

    def request(self, name: str) -> Request | None:
        """request.json."""
        return self._read(self.folder.request, name)

    def buried(self, name: str) -> Tombstone | None:
        """Its tombstone."""
        return self._read(self.folder.tombstone, name)

    def admit(self, request: Request) -> Callable[[bool], None]:
        """Refuse while the deployment is stopped, the disk is nearly full, or a limit of starts is reached."""
        if supervisor_client.stopped(self.settings):
            raise Unavailable("This deployment is being stopped and starts nothing more; try again later.")
        self.judge_room()
        name = folder_name(request.service_id)
        try:
            return self._limits.admit(name, request, self.folder.active_names)
        except OSError as error:
            if error.errno not in limits.NOT_WRITTEN:
                raise
            raise limits.not_recorded(name, error) from error

    def judge_room(self) -> None:
        """Whether this machine's disk takes one more. Raises Unavailable."""
        limits.judge_room(self.settings)

    def _owners(self, names: Collection[str]) -> dict[str, Owner]:
        """Whose executions these are, of those that can be read now."""
        owners = {}
        for name in names:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                owners[name] = limits.owner_of(self.folder.request(name))
        return owners

    def claim(self, name: str, request: Request, token: str = "") -> bool:
        """Fill a folder, rename it into place, wake the supervisor."""
        try:
            try:
                claimed = self.folder.claim(name, request, token)
            except FileNotFoundError:  # the first claim of this folder
                self.folder.make(self.settings.jobs_mode)
                claimed = self.folder.claim(name, request, token)
        except OSError as error:
            raise limits.not_recorded(name, error) from error
        if claimed:
            self._wake(name)
        return claimed

    def keep(self, name: str) -> None:
        """Nothing is left to do: `claim` has written it to the disk."""

    # -- looking ------------------------------------------------------------------------------

    def record(self, name: str, brief: bool = False, judge: Callable[[Request], None] | None = None) -> Record:
        """Derived from what lies in its folder.

        Args:
            brief: without the outputs of one that has completed.
            judge: as in `look`.
        """
        request = self.request(name)
        if request is None:
            if (tombstone := self.buried(name)) is not None:
                raise Removed(records.REMOVED, tombstone)
            raise UnknownServiceID(records.UNKNOWN)
        if judge is not None:
            judge(request)
        stored = self._read(self.folder.stored_state, name)
        if brief and stored is not None and stored.state in ENDED:
            return derive(name, request, stored, None)
        if stored is not None and stored.state in (State.FAILED, State.ABORTED):
            # the supervisor has told it all, also where the end itself is damaged
            return derive(name, request, stored, None, self._is_to_stop(name))
        end = self._read(self.folder.end, name)
        nobody = False
        if stored is None or stored.state in ACTIVE:
            if not self.folder.is_active(name):
                self.folder.mark_active(name)  # a face may have died between claim and mark, or the mark was lost
            self.have_supervisor()
            if end is None and stored is not None and stored.runner and _is_gone(stored.runner):
                # its process is gone and the supervisor is about to say how it ended
                runner = stored.runner
                settled = until(self.folder.path(name), lambda: self._moved_on(name, runner), SETTLE_SECONDS)
                stored, end = settled or stored, self._read(self.folder.end, name)
                nobody = settled is None and self._nobody_will_settle(name, stored)
        return derive(name, request, stored, end, self._is_to_stop(name), nobody)

    def _is_to_stop(self, name: str) -> bool:
        return self._read(lambda name: self.folder.marked(name, "abort"), name)

    def _moved_on(self, name: str, runner: Identity) -> StoredState | None:
        """The job's stored state, once it has ended, or is no longer with that runner and waits again."""
        stored = self._read(self.folder.stored_state, name)
        if stored is None or (stored.state in ACTIVE and stored.runner == runner):
            return None
        return stored

    def _nobody_will_settle(self, name: str, stored: StoredState) -> bool:
        """Whether nobody is there who will say how a job ended whose process is gone."""
        try:
            if supervisor_client.alive(self.settings) is not None or supervisor_client.is_being_started(self.settings):
                return False
            return not self.folder.never_began(name, stored)
        except OSError:
            return False

    def settled(self, name: str) -> bool:
        """Whether it has ended and nothing is left behind."""
        # end.json alone is not the end: the supervisor's state says that nothing is left behind
        stored = self._read(self.folder.stored_state, name)
        return stored is not None and stored.state in ENDED

    def ended(self, name: str, wait: float) -> Record | None:
        """Once state.json says so."""
        return self.record(name) if until(self.folder.path(name), lambda: self.settled(name), wait) else None

    def _read(self, read: Callable[[str], T], name: str) -> T:
        """What one of the folder's readers gives. Raises Unavailable for a record that is damaged or can't be read."""
        try:
            return read(name)
        except OSError as error:
            log.exception("a record can't be read: %s", name)
            raise Unavailable("The record of this execution can't be read now; try again in a moment.") from error
        except (ValueError, TypeError, KeyError) as error:
            log.exception("a record is damaged: %s", name)
            raise Unavailable("The record of this execution is damaged; tell the administrator.") from error

    def look(self, name: str, judge: Callable[[Request], None] | None = None) -> records.Look:
        """What lies in its folder."""
        record = self.record(name, judge=judge)
        return records.Look(record, functools.partial(self.view, record))

    def view(self, record: Record, service: Service | None) -> View:
        """Its record, and what lies beside it in its folder."""
        return self._views.of(record, service)

    def timeline(self, name: str) -> tuple[Happening, ...]:
        """As its folder has it."""
        return self.folder.timeline(name)

    def stamps(self, view: View, read_from: float) -> FolderRevision | None:
        """Of all the files that it was made of; what status.txt says may change."""
        if len(view.files) > FILES_STAMPED:
            return None
        record = view.record
        at = os.fsencode(self.folder.root) + b"/" + os.fsencode(record.name)
        # all else of ours is renamed into place, which the folder's own stamp tells
        names = [b"data", b"status.html", b"log.txt", b"notifications.txt"]
        sizes = {at + b"/data/" + bytes_of(file): size for file, size in view.files}
        names += sizes
        if view.progress.picture is not None:
            try:
                names.append(b"data/" + bytes_of(view.progress.picture.file))
            except UnicodeEncodeError:
                return None
        if view.files:
            names.append(os.fsencode(self.settings.layout.links_key))
        if record.request.instruments:
            names.append(os.fsencode(self._leases.folder))
        asks_status = self.folder.asks_status(record.name)
        if self._changes is None:
            self._changes = Changes()
        counts = self._changes.watch(at, b"data", b"status.txt")  # before their stamps: what comes after is counted
        stamps = Stamps.of(at, names, read_from)
        if stamps is None:
            return None
        seen = {path: size for path, _, size in stamps.files}
        if any(seen.get(path) != size for path, size in sizes.items()):
            return None
        told = None if counts is None else Told(self._changes, counts, stamps.but_for(at, at + b"/data"))
        return FolderRevision(stamps, self, view, read_from, asks_status, told)

    def revision(self, name: str = "") -> str | None:
        """The stamps of the folders, of what the supervisor tells of all, and of what those that run write."""
        layout, seen = self.folder.layout, []
        paths: list[str] = [os.fspath(p) for p in (self.folder.root, layout.active, layout.queue, layout.leases)]
        for each in (name,) if name else self.folder.active_names():
            at = os.fspath(self.folder.path(each))
            paths += [at, f"{at}/status.txt"]
            if name:
                others = ("status.html", "log.txt", "notifications.txt", "timeline.jsonl", "data", "data/record.csv")
                paths += [f"{at}/{file}" for file in others]
        for path in paths:
            try:
                status = os.stat(path)
                seen.append((status.st_ctime_ns, status.st_size))
            except OSError as error:
                seen.append((error.errno or 0, 0))
        with contextlib.suppress(OSError):
            seen.append((int(self.is_served()), 0))
        return hashlib.blake2b(repr(seen).encode(), digest_size=12).hexdigest()

    def names(self, active: bool = False) -> Iterable[str]:
        """Every folder, or what the queue's index has."""
        return self.folder.active_names() if active else self.folder.names()

    def times(self) -> list[tuple[float, str]]:
        """By when their requests were written: that is never before the start, but for what clocks differ."""
        return [(written + CLOCKS_DIFFER, name) for written, name in self.folder.claimed()]

    def every(
        self, left_out: list[str] | None = None, brief: bool = False, names: Iterable[str] | None = None
    ) -> Iterable[Record]:
        """These folders' records."""
        for name in self.names() if names is None else names:
            try:
                yield self.record(name, brief)
            except UnknownServiceID:
                continue  # removed
            except Unavailable:
                if left_out is not None:
                    left_out.append(name)

    # -- noting that somebody asked -------------------------------------------------------------

    def polled(self, record: Record) -> None:
        """The mark `polled` in its folder, touched once a second at most."""
        name, now = record.name, boot_clock()
        if not 0 <= now - self._polled.get(name, -POLLED_EVERY) < POLLED_EVERY:
            self.folder.polled(name)
            if len(self._polled) >= POLLED_MAX:
                self._polled.clear()
            self._polled[name] = now

    def signed(self, anew: bool = False) -> None:
        """The file `web` of this deployment."""
        web_side.sign(self.folder.layout, anew)

    def told(self, name: str) -> float | None:
        """Since the mark `told` was set, which this does where it isn't."""
        with contextlib.suppress(OSError):  # a full disk must not hide the page for ever
            if self.folder.mark(name, "told"):
                return 0.0
        first = self.folder.marked_at(name, "told")
        return None if first is None else time.time() - first

    # -- speaking to it -----------------------------------------------------------------------

    def abort(self, record: Record, wait: float, by: str = "") -> bool:
        """Set the mark, wake the supervisor, wait for the end."""
        name = record.name
        if not record.active and not record.request.instruments:
            return True
        if record.active:
            self._tell_to_abort(name, by)
        # what has written its end may still be made safe; what could not be read back safe keeps its lease
        return self.ended(name, wait) is not None and not self._leases.of_job(name)

    def abort_unread(self, name: str, wait: float) -> bool | None:
        """As `abort`: the supervisor knows its processes."""
        if not self.folder.path(name).is_dir():
            return None
        self._tell_to_abort(name)

        def over() -> bool:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                stored = self.folder.stored_state(name)
                return stored is not None and stored.state in ENDED
            return False

        return bool(until(self.folder.path(name), over, wait)) and not self._leases.of_job(name)

    def _tell_to_abort(self, name: str, by: str = "") -> None:
        """Set the mark and wake the supervisor. Raises Unavailable: neither can be done."""
        try:
            if self.folder.mark(name, "abort"):
                timeline.note(self.folder.path(name), "abort asked for", by=by)
        except OSError as error:  # a full disk keeps nothing running
            if not supervisor_client.wake(self.settings, supervisor_client.ABORT + name):
                log.exception("%s can't be told to stop", name)
                raise Unavailable(
                    f"The execution could not be told to stop: its folder can't be written ({error.strerror}), and no"
                    " supervisor hears it. Tell the administrator."
                ) from error
            return
        self._wake(name)

    def notify(self, record: Record, message: str, wait: float, by: str = "") -> str:
        """Append it to notifications.txt."""
        name = record.name
        try:
            number = messages.append(self.folder.path(name), message, self.settings.messages_limit)
            timeline.note(self.folder.path(name), "message", number=number, by=by)
        except OSError as error:
            raise Unavailable("The message could not be kept: the disk is full or can't be written.") from error
        if record.state is State.QUEUED:
            return str(number)

        def reply() -> tuple[str, ...] | None:  # a tuple: an empty reply is one, too
            replies = self.folder.progress(name).replies
            return (replies[number],) if number in replies else None

        replied = until(self.folder.path(name), reply, wait)
        return replied[0] if replied else str(number)

    def bury(self, record: Record, by: str = "") -> None:
        """Leave a tombstone in its folder."""
        self.folder.bury(record.name, Tombstone.of(record.request, time.time()))


class Told:
    """What the kernel tells of a job's folder, so that its files need not be looked at."""

    def __init__(self, changes: Changes, counts: Counts, elsewhere: Stamps) -> None:
        """
        Args:
            counts: of the folder, looked at before the stamps were taken.
            elsewhere: the stamps of files of which it tells nothing.
        """
        self._changes, self._counts, self._elsewhere = changes, counts, elsewhere
        self._others, self._status = counts.others, -1
        self._fraction: float | None = None

    def is_same(self, are_same: Callable[[], bool]) -> bool:
        """Whether each file but status.txt is as it was.

        Args:
            are_same: looks at the files, where something was told.
        """
        self._changes.look()
        others = self._counts.others
        if others == self._others:
            return not self._elsewhere.files or self._elsewhere.are_same()
        if not are_same():
            return False
        self._others = others
        return True

    def fraction(self, read: Callable[[], float | None]) -> float | None:
        """What status.txt says, as `read` reads it, where something of it was told since that was done last."""
        counts = self._counts
        status = counts.apart
        if status != self._status or counts.is_lost:
            self._fraction, self._status = read(), status
        return self._fraction

    def forget_fraction(self) -> None:
        """Have status.txt read the next time."""
        self._status = -1


class FolderRevision:
    """The stamps of all files that a view was made of, but for status.txt: that is read again when it has changed."""

    def __init__(
        self,
        stamps: Stamps,
        store: LocalStore,
        view: View,
        read_from: float,
        asks_status: bool,
        told: Told | None,
    ) -> None:
        """
        Args:
            read_from: Unix time (s) before which nothing was read.
            asks_status: status.txt tells the fraction of the work.
            told: of the folder; None: its files are looked at each time.
        """
        self._stamps, self._store, self._folder, self._record = stamps, store, store.folder, view.record
        self._told, self._fraction = told, view.progress.fraction
        self._began, self._ran = running_since(view.record), ran(view.record)
        self._status = self._folder.status_file(view.record.name) if asks_status else ""
        # a page or a picture that is written by mmap(2) has no new stamp, nor has the silence of a workflow manager
        self._is_plain = view.own_page is None and view.picture is None and not view.record.request.instruments
        self._read: tuple[tuple[int, int], float | None] | None = None  # a stamp of status.txt, and what that said then
        if asks_status:
            try:
                self._note(os.stat(self._status), read_from, self._fraction)
            except FileNotFoundError:
                self._status = ""  # the folder's own stamp tells when it comes
            except OSError:
                pass

    def are_same(self) -> bool:
        """Whether each file is as it was."""
        return self._stamps.are_same() if self._told is None else self._told.is_same(self._stamps.are_same)

    def look_again(self) -> bool:
        """Whether somebody is there who would write its end, which its folder's stamp tells; status.txt is read again.

        Nothing is said of its process: as long as its supervisor lives, that has the last word on it.
        """
        record, self._read = self._record, None
        if record.state is not State.RUNNING or not self._is_plain:
            return False
        if self._told is not None:  # there are ways to write of which the kernel doesn't tell
            self._told.forget_fraction()
            if not self._stamps.are_same():
                return False
        return self._store.is_served() and self._folder.is_active(record.name)

    def moment(self) -> Moment:
        """Now."""
        now = time.time()
        return Moment(now, self._seconds(), self._share(now))

    def shown(self) -> tuple[int, int, float | None]:
        """What a page shows of it. Nothing is made but this: a poll has ten microseconds."""
        now = time.time()
        ran = boot_clock() - self._began if self._began is not None else self._ran
        return int(now), int(ran or 0.0), self._share(now)

    def _seconds(self) -> float | None:
        return self._ran if self._began is None else max(0.0, boot_clock() - self._began)

    def _share(self, now: float) -> float | None:
        """The fraction of the work, which status.txt tells."""
        if not self._status:
            return self._fraction
        if self._told is not None:
            return self._told.fraction(self._read_new_share)
        try:
            status = os.stat(self._status)
        except OSError:
            return self._read_share()
        read = self._read
        if read is not None and read[0] == (status.st_ctime_ns, status.st_size):
            return read[1]
        fraction = self._read_share()
        self._note(status, now, fraction)
        return fraction

    def _read_share(self) -> float | None:
        return self._folder.status_fraction(self._record.name)

    def _read_new_share(self) -> float | None:
        return self._folder.status_fraction(self._record.name, just_written=True)

    def _note(self, status: os.stat_result, read_from: float, fraction: float | None) -> None:
        """What status.txt said, if its stamp can tell that it was written since (stamps.py)."""
        self._read = None if is_young(status, read_from) else ((status.st_ctime_ns, status.st_size), fraction)


def _is_gone(process: Identity) -> bool:
    """Whether that process has ended; what can't be looked at now may live."""
    try:
        return lives(process) is False
    except OSError:
        return False

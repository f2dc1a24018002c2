"""Where jobs live on one machine: a folder each, and who wrote what in it.

    <WAITER_LOG_FOLDER>/<name>/             one job; the table of its files is in docs/files.md
    <WAITER_LOG_FOLDER>/.labwaiter/         the deployment's own: see `layout`

A look never writes a state. request.json is a face's, state.json the supervisor's, end.json and
progress.json the runner's; each is replaced whole.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from ..layout import FORM, Layout
from ..model.caller import by
from ..model.record import ENDED, End, Happening, Progress, Record, Request, State, StoredState, Tombstone
from ..system.process import Identity, boot_clock, boot_id, identify, uid_of
from ..system.small_files import read_small
from . import codec, messages, timeline
from .files import (
    make_folder,
    open_ours,
    read_bounded,
    read_record,
    rights_in,
    stranger,
    sync_folder,
    touch,
    write_first,
    write_whole,
)
from .stamps import Remembered

T = TypeVar("T")
RECORD_MAX = 64_000_000  # bytes of one of our own files: outputs may be large texts
OWN_PAGE_MAX = 2_000_000  # bytes read of a program's status.html: over the page's bound, so that it can say so
PICTURE_MAX = 1_000_001
MESSAGES_SHOWN = 10
TOKEN_FILE = "session_token"  # of a job whose service asks for it
LOG_TAIL = 8_000  # bytes
_NO_PROGRESS = Progress()
STATUS_MAX = 100  # bytes read of status.txt
_STATUS = re.compile(rb"\s*([0-9]{1,3}(?:\.[0-9]*)?)\s*%?\s*")


class Folder:
    """The jobs folder of this deployment."""

    def __init__(self, root: Path, remembered: Remembered | None = None) -> None:
        """
        Args:
            remembered: where to remember what was read of it, for who looks at the same files again and again.
        """
        self.root = root
        self._remembered = remembered
        self._at = os.fspath(root)  # a poll reads a dozen files: joining texts costs less than joining paths
        self.layout = Layout(root)
        self.active = self.layout.active
        self._active = os.fspath(self.active)
        self._new = os.fspath(self.layout.new)

    def make(self, mode: int | None = None) -> None:
        """Have the folders there. Raises OSError where that can't be.

        Args:
            mode: what users may do in the jobs folder (JOBS_MODE); None: as it is, and others nothing in a new one.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            make_folder(self.root, 0o700)
        status = os.stat(self.root)
        if mode is not None and status.st_mode & 0o777 != mode and status.st_uid == os.geteuid():
            os.chmod(self.root, mode)
        rights = rights_in(self.root) & 0o770  # locks are in there: others' would stop the service
        for folder in (self.layout.folder, self.active, self.layout.new):
            with contextlib.suppress(FileExistsError):
                make_folder(folder, rights)
                if os.geteuid() == 0:  # root's would keep the deployment's own account from starting
                    os.chown(folder, status.st_uid, status.st_gid, follow_symlinks=False)
                if folder == self.active:
                    self._mark_what_has_not_ended()
            made = os.stat(folder)
            if mode is not None and made.st_mode & 0o777 != rights and made.st_uid == os.geteuid():
                os.chmod(folder, rights)

    def note_form(self) -> None:
        """Note that a labwaiter of this form serves the folder: so releases before leave it alone."""
        if self.layout.form_here < FORM:
            with contextlib.suppress(OSError):  # a full disk keeps nobody from settling what runs
                write_whole(self.layout.form, f"{FORM}\n".encode())

    def _mark_what_has_not_ended(self) -> None:
        """Have the supervisor find it all again, as after the folder was restored from a backup without ours."""
        for name in self.names():
            try:
                stored = self.stored_state(name)
            except (OSError, ValueError, TypeError, KeyError):  # the supervisor sees to it
                stored = None
            if stored is None or stored.state not in ENDED:
                self.mark_active(name)

    def path(self, name: str) -> Path:
        """The folder of one job."""
        return self.root / name

    # -- a face's ---------------------------------------------------------------------------

    def claim(self, name: str, request: Request, token: str = "") -> bool:
        """Make the record of a new execution: True for exactly one of all who try, ever.

        The folder is filled first and renamed into place: it is there with its request or not
        at all, and a rename onto a filled folder fails.

        Args:
            token: the sessionToken that its job is given; "": none.
        """
        fresh = f"{self._new}/{os.getpid()}.{os.urandom(8).hex()}"
        try:
            rights = rights_in(self.root)
            make_folder(fresh, rights)
            make_folder(f"{fresh}/data", rights)
            if token:
                write_whole(f"{fresh}/{TOKEN_FILE}", token.encode("utf-8", "replace"), durable=True, mode=0o600)
            asked_by = by(request.user, request.project, request.face)
            timeline.note(fresh, "queued", at=request.created, by=asked_by)
            write_first(f"{fresh}/request.json", codec.dump(request))
            os.rename(fresh, f"{self._at}/{name}")
        except FileExistsError:
            shutil.rmtree(fresh, ignore_errors=True)
            return False
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if error.errno in (39, 20):  # ENOTEMPTY, ENOTDIR: the name is taken
                return False
            raise
        sync_folder(self.root)
        self.mark_active(name)
        return True

    def forget_token(self, name: str) -> None:
        """Remove the token that a job was given."""
        with contextlib.suppress(OSError):
            os.unlink(f"{self._at}/{name}/{TOKEN_FILE}")

    def mark_active(self, name: str) -> None:
        """Have the supervisor find the job."""
        with contextlib.suppress(OSError):  # on a full disk the next look marks it
            touch(f"{self._active}/{name}")

    def is_active(self, name: str) -> bool:
        """Whether the supervisor finds it."""
        return os.path.lexists(f"{self._active}/{name}")

    def mark(self, name: str, mark: str) -> bool:
        """Set one of the faces' marks (abort, told); True for the one who set it first."""
        try:
            os.close(open_ours(self.path(name) / mark, os.O_WRONLY | os.O_EXCL))
            return True
        except FileExistsError:
            return False

    def marked(self, name: str, mark: str) -> bool:
        """Whether that mark is set. Raises OSError: that can't be seen now."""
        try:
            os.lstat(f"{self._at}/{name}/{mark}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def marked_at(self, name: str, mark: str) -> float | None:
        """When it was set, as Unix time in s (`polled`: boot clock); None where it isn't."""
        try:
            return os.lstat(f"{self._at}/{name}/{mark}").st_mtime
        except OSError:
            return None

    def polled(self, name: str) -> None:
        """A workflow manager has asked for this job. The mark's time is the boot clock's, which nobody can set."""
        mark, now = f"{self._at}/{name}/polled", boot_clock()
        with contextlib.suppress(OSError):
            try:
                os.utime(mark, (now, now), follow_symlinks=False)
            except FileNotFoundError:
                touch(mark, now)

    def polled_at(self, name: str) -> float | None:
        """When one last did, boot clock, s; None where none ever did."""
        return self.marked_at(name, "polled")

    def trace(self, name: str) -> object:
        """Differs when the program, or who speaks to it, has written since: times and sizes, without reading."""
        stamps = []
        for file in ("log.txt", "status.txt", "status.html", "notifications.txt", "data"):
            try:
                stat = os.stat(f"{self._at}/{name}/{file}")
                stamps.append((stat.st_mtime_ns, stat.st_size))
            except OSError:
                stamps.append((0, 0))
        return tuple(stamps)

    # -- reading -----------------------------------------------------------------------------

    def request(self, name: str) -> Request | None:
        """request.json; None where nothing was claimed (or a tombstone is left).

        Raises:
            ValueError, TypeError, KeyError: it was damaged.
            OSError: it can't be read now; so do the others here.
        """
        return self._read(f"{self._at}/{name}/request.json", codec.request)

    def _read(self, path: str, decode: Callable[[bytes], T]) -> T | None:
        """One of our own files; None where there is none."""

        def read() -> T | None:
            text = read_record(path, RECORD_MAX)
            return None if text is None else decode(text)

        return read() if self._remembered is None else self._remembered.of(path, read)

    def stored_state(self, name: str) -> StoredState | None:
        """state.json; None while the supervisor hasn't written any.

        Where it was lost of a job that has begun, what the runner itself wrote of that.
        """
        stored = self._read(f"{self._at}/{name}/state.json", codec.stored_state)
        return self.begun(name) if stored is None else stored

    def begun(self, name: str) -> StoredState | None:
        """Its state as far as `begun` tells it, which its runner wrote; None where its work never began."""
        text = read_record(f"{self._at}/{name}/begun", 10_000)
        if text is None:
            return None
        when = self.marked_at(name, "begun")
        runner = None
        with contextlib.suppress(ValueError, TypeError, KeyError):  # killed between its making and its writing
            runner = codec.identity(text)
        if runner is not None and not self._may_be_its_runner(name, runner):
            runner = None
        clock = runner.start_ticks / os.sysconf("SC_CLK_TCK") if runner else None  # proc_pid_stat(5): from boot
        return StoredState(
            State.RUNNING, since=when or 0.0, started=when, started_boot=clock, runner=runner, marks_begin=True
        )

    def _may_be_its_runner(self, name: str, runner: Identity) -> bool:
        """Whether a job that ran as another account names one of that account's: whoever reads it may end it."""
        try:
            account = stranger(f"{self._at}/{name}/data")
            return account is None or account == uid_of(runner.pid)
        except OSError:
            return False

    def end(self, name: str) -> End | None:
        """end.json; None before the end."""
        return self._read(f"{self._at}/{name}/end.json", codec.end)

    def progress(self, name: str) -> Progress:
        """progress.json; where that says nothing of a fraction, status.txt does."""
        progress = self._own_progress(name)
        return progress if progress.is_told else replace(progress, fraction=self.status_fraction(name))

    def asks_status(self, name: str) -> bool:
        """Whether status.txt says how far the work is: progress.json doesn't."""
        return not self._own_progress(name).is_told

    def _own_progress(self, name: str) -> Progress:
        """progress.json alone."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return self._read(f"{self._at}/{name}/progress.json", codec.progress) or _NO_PROGRESS
        return _NO_PROGRESS

    def status_file(self, name: str) -> str:
        """Where status.txt is, which the job's program writes."""
        return f"{self._at}/{name}/status.txt"

    def status_fraction(self, name: str, just_written: bool = False) -> float | None:
        """status.txt as 0…1; None where it says no number from 0 to 100.

        Programs truncate the file before they write it: an empty one is looked at again.

        Args:
            just_written: as the kernel has told, so that reading it waits for no disk.
        """
        if just_written and (written := read_small(os.fsencode(self.status_file(name)), STATUS_MAX)).strip():
            return _fraction_in(written)
        for wait in (0.001, 0.002, 0.005, None):
            text = read_bounded(self.status_file(name), STATUS_MAX)
            if text is None:
                return None
            if text.strip():
                return _fraction_in(text)
            if wait is not None:
                time.sleep(wait)  # between its truncate and its write: microseconds
        return None

    def last_messages(self, name: str) -> tuple[tuple[str, ...], int]:
        """The last messages that a page shows, oldest first, and how many there are."""
        path = f"{self._at}/{name}"
        if self._remembered is None:
            return messages.last(path, MESSAGES_SHOWN)
        try:
            return self._remembered.of(f"{path}/{messages.FILE}", lambda: messages.last(path, MESSAGES_SHOWN)) or (
                (),
                0,
            )
        except OSError:
            return (), 0

    def own_page(self, name: str) -> str | None:
        """The program's own status.html, if it wrote one."""
        text = read_bounded(f"{self._at}/{name}/status.html", OWN_PAGE_MAX)
        return text.decode("utf-8", "replace") if text and text.strip() else None

    def picture(self, name: str, file: str) -> bytes | None:
        """A picture in data/, at most 1 MB and a byte."""
        if "/" in file or file.startswith(".") or os.path.islink(self.path(name) / "data"):
            return None
        data = f"{self._at}/{name}/data"
        with contextlib.suppress(OSError):
            return read_bounded(f"{data}/{file}", PICTURE_MAX, owner=stranger(data))
        return None

    def timeline(self, name: str) -> tuple[Happening, ...]:
        """What it has been through."""
        return timeline.read(f"{self._at}/{name}")

    def log_tail(self, name: str, size: int = LOG_TAIL) -> str:
        """The last of log.txt, from the beginning of a line."""
        text = read_bounded(f"{self._at}/{name}/log.txt", size, tail=True) or b""
        if len(text) == size:
            text = text.partition(b"\n")[2] or text
        return text.decode("utf-8", "replace")

    def names(self) -> Iterator[str]:
        """Every job's folder, in no order."""
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        yield entry.name
        except FileNotFoundError:
            return

    def claimed(self) -> list[tuple[float, str]]:
        """Every execution by when its request was written (Unix time, s), in no order: a stat(2) each, nothing is read.

        Where that can't be seen it may be any time: inf.
        """
        times = []
        for name in self.names():
            try:
                times.append((os.stat(f"{self._at}/{name}/request.json").st_mtime, name))
            except FileNotFoundError:
                continue  # only a tombstone is left
            except OSError:
                times.append((math.inf, name))
        return times

    def active_names(self) -> list[str]:
        """Every job that may not have ended."""
        try:
            return os.listdir(self.active)
        except FileNotFoundError:
            return []

    def active_stamp(self) -> int:
        """Something that differs once a job was added."""
        try:
            return os.stat(self.active).st_mtime_ns
        except OSError:
            return 0

    def queue(self) -> dict[str, object]:
        """queue.json, {} before the first.

        {"running": n, "max_running": n, "queued": [name, …], "needs": {name: [instrument, …]}, "full": {service: n},
        "full_owners": [["project" or "user", authority, name, n], …]}: "queued" in turn, "needs" as they were started.
        """
        text = read_bounded(self.layout.queue, RECORD_MAX)  # for pages: without it they say less
        try:
            return dict(json.loads(text)) if text else {}
        except ValueError:
            return {}

    # -- the supervisor's, and the runner's ---------------------------------------------------

    def write_state(self, name: str, stored: StoredState) -> None:
        """state.json. Raises OSError when the disk refuses."""
        write_whole(f"{self._at}/{name}/state.json", codec.dump(stored))

    def write_end(self, name: str, end: End) -> bool:
        """end.json, durably; False if there is one already, which then stands."""
        try:
            write_whole(f"{self._at}/{name}/end.json", codec.dump(end), durable=True, exclusive=True)
            return True
        except FileExistsError:
            return False

    def begin(self, name: str) -> None:
        """Note which process begins this job's work: this one, and no other, ever.

        Raises:
            FileExistsError: it was begun before.
        """
        process = identify(os.getpid())
        fd = open_ours(f"{self._at}/{name}/begun", os.O_WRONLY | os.O_EXCL)
        try:
            os.write(fd, codec.dump(process))
        finally:
            os.close(fd)

    def never_began(self, name: str, stored: StoredState) -> bool:
        """Whether a running job's process, if it is gone, had not come to begin its work. Raises OSError."""
        runner = stored.runner
        if not stored.marks_begin or runner is None or runner.boot_id != boot_id():  # a power cut may take a mark
            return False
        try:
            os.lstat(f"{self._at}/{name}/begun")
        except FileNotFoundError:
            return True
        return False

    def write_progress(self, name: str, progress: Progress) -> None:
        """progress.json."""
        write_whole(f"{self._at}/{name}/progress.json", codec.dump(progress))

    def write_queue(
        self,
        running: int,
        max_running: int,
        queued: list[str],
        needs: dict[str, tuple[str, ...]],
        full: dict[str, int],
        full_owners: Sequence[tuple[str, str, str, int]] = (),
    ) -> None:
        """queue.json."""
        content = {"running": running, "max_running": max_running, "queued": queued, "needs": needs, "full": full}
        content["full_owners"] = full_owners
        write_whole(self.layout.queue, json.dumps(content).encode())

    def forget_active(self, name: str) -> None:
        """The job has ended and its state is written."""
        with contextlib.suppress(OSError):
            os.unlink(self.active / name)

    # -- retention ----------------------------------------------------------------------------

    def tombstone(self, name: str) -> Tombstone | None:
        """What retention left; None for a job that is there, or never was. Raises OSError: it can't be read now."""
        text = read_record(f"{self._at}/{name}/tombstone.json", 10_000)
        try:
            return Tombstone(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return Tombstone("", 0.0)

    def bury(self, name: str, tombstone: Tombstone) -> None:
        """Leave only a tombstone of an ended job. Interrupted, it is finished by the next call."""
        folder = self.path(name)
        content = json.dumps(asdict(tombstone)).encode()
        write_whole(folder / "tombstone.json", content, durable=True)
        # first the request: with one and without a state the job would be run again. Last the state: by
        # that the next call finds what it has to finish
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / "request.json")
        sync_folder(folder)
        for entry in list(os.scandir(folder)):
            if entry.name in ("tombstone.json", "state.json"):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.unlink(folder / "state.json")


def _fraction_in(status: bytes) -> float | None:
    match = _STATUS.fullmatch(status)
    percent = float(match[1]) if match else 101
    return percent / 100 if percent <= 100 else None


def ran(job: Record | StoredState) -> float | None:
    """For how long it has been running, or ran, in s: by the boot clock, which nobody sets. None: that isn't known."""
    if job.state is not State.RUNNING or job.started_boot is None or job.runner is None:
        return job.ran
    began = running_since(job)
    return None if began is None else max(0.0, boot_clock() - began)


def running_since(job: Record | StoredState) -> float | None:
    """When it began, by the boot clock, s; None: it doesn't run, or it isn't known."""
    if job.state is not State.RUNNING or job.started_boot is None or job.runner is None:
        return None
    return job.started_boot if job.runner.boot_id == boot_id() else None

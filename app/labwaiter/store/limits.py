"""What a start must find room in before it is recorded: the number of executions, their pace, the disk.

All processes of a deployment (of a face of many machines) judge by what stands in one small file under a lock, so two
that judge at the same time don't let in one too many.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import DiskFull, StartsTooFast, TooManyJobs, TooManyOfProject, TooManyOfUser, Unavailable
from ..model.record import NOBODY, Owner, Request
from ..model.sentences import N_
from ..model.span import size
from ..settings import Settings
from ..system import flock
from ..system.process import boot_clock
from .files import open_ours, read_record
from .folder import Folder

log = logging.getLogger(__name__)
MINUTE = 60.0
PATIENCE = 2.0  # s that a start waits for others that are judged
LOST_SECONDS = 60.0  # a start of which nothing was heard for so long: its process has died
READ_MAX = 10_000_000  # bytes of starts.json
MEASURED_MAX = 1_000_000  # bytes of sizes.json
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITTEN = (*NO_SPACE, errno.EROFS, errno.EACCES, errno.EPERM)
TRY_AGAIN = "there is room as soon as one of them has ended: try again in 30 s."
BUSY = "Too many starts come at the same time; try again in a moment."


@dataclass(frozen=True)
class Most:
    """How many executions may be there that have not ended."""

    all: int
    of_project: int
    of_user: int

    @classmethod
    def of(cls, settings: Settings) -> Most:
        """As the settings say."""
        running, queued = settings.max_running, settings.max_queued
        of_project, of_user = settings.max_queued_per_project, settings.max_queued_per_user
        return cls(
            running + queued,
            (settings.max_running_per_project or running)
            + (math.ceil(queued / 2) if of_project is None else of_project),
            (settings.max_running_per_user or running) + (math.ceil(queued / 4) if of_user is None else of_user),
        )


@dataclass
class Book:
    """starts.json: what the processes that judge starts must know of each other. Times are the boot clock's, s."""

    # starts that are being recorded: since when, where (as `Limits.admit` has it) and whose
    beginning: dict[str, tuple[float, str, Owner]] = field(default_factory=dict)
    # of who has started something in the last minute: when all of his starts are free again
    free_at: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, text: bytes, now: float) -> Book:
        """What still counts of it; of one that is torn, nothing."""
        try:
            content = json.loads(text or b"{}")
            beginning = {
                str(name): (float(since), str(where), Owner(*owner))
                for name, (since, where, owner) in content["beginning"].items()
            }
            free_at = {str(user): min(float(at), now + MINUTE) for user, at in content["free_at"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls(
            {name: entry for name, entry in beginning.items() if 0 <= now - entry[0] < LOST_SECONDS},
            {user: at for user, at in free_at.items() if at > now},  # one from before a boot is cut to a minute
        )

    def text(self) -> bytes:
        """As JSON."""
        return json.dumps({"beginning": self.beginning, "free_at": self.free_at}).encode()

    def count(self, owner: Owner, most: int, now: float) -> None:
        """Count a start: so many at once, then one after each such part of a minute. Raises StartsTooFast."""
        user, each = _user(owner), MINUTE / most
        at = max(self.free_at.get(user, now), now)
        if (wait := at + each - now - MINUTE) > 1e-6:
            executions = f"{most} executions" if most > 1 else "an execution"
            raise StartsTooFast(
                f"You have started {executions} within a minute, as many as each user may here; try again in"
                f" {math.ceil(wait)} s.",
            )
        self.free_at[user] = at + each

    def count_back(self, owner: Owner, most: int) -> None:
        """It was none."""
        user = _user(owner)
        if user in self.free_at:
            self.free_at[user] -= MINUTE / most


def _user(owner: Owner) -> str:
    return "\n".join(owner.of_user)


class Owners:
    """Whose the executions are, remembered for as long as they have not ended."""

    def __init__(self, read: Callable[[Collection[str]], dict[str, Owner]]) -> None:
        """
        Args:
            read: of some names those that can be read now.
        """
        self._read = read
        self._known: dict[str, Owner] = {}

    def of(self, names: set[str]) -> Iterable[Owner]:
        """Of these names; they are all that have not ended."""
        for name in self._known.keys() - names:
            del self._known[name]
        if unknown := names - self._known.keys():
            self._known |= self._read(unknown)
        return self._known.values()


class Limits:
    """Judges starts. Thread-safe; cheap to make."""

    def __init__(self, settings: Settings, owners: Callable[[Collection[str]], dict[str, Owner]]) -> None:
        """
        Args:
            owners: whose the executions of these names are, of those that can be read now.
        """
        self._settings, self._most = settings, Most.of(settings)
        self._owners = Owners(owners)
        self._turn = threading.Lock()

    def admit(
        self, name: str, request: Request, active: Callable[[], Iterable[str]], where: str = ""
    ) -> Callable[[bool], None]:
        """Take a place for a new execution, and count its start.

        Args:
            active: the names of the executions that have not ended.
            where: of these, behind "running or waiting": " on north".

        Returns:
            To be called once it is clear whether it was recorded: where it was not, nothing was started.

        Raises:
            TooManyJobs: the limit of all, of its project or of its user is reached. The message says which, and when
                there may be room.
            Unavailable: too many are judged at the same time.
            OSError.
        """
        owner = request.owner
        most = self._settings.starts_per_minute if owner.is_known else None
        with self._book() as book:
            here, now = set(active()), boot_clock()
            beginning = [
                whose
                for other, (_, there, whose) in book.beginning.items()
                if there == where and other != name and other not in here
            ]
            self._judge(owner, here, beginning, where)
            if most is not None:
                book.count(owner, most, now)
            book.beginning[name] = (now, where, owner)
        return functools.partial(self._done, name, owner, most)

    def _judge(self, owner: Owner, here: set[str], beginning: list[Owner], where: str) -> None:
        most = self._most
        if len(here) + len(beginning) >= most.all:
            raise TooManyJobs(
                f"{most.all} executions are running or waiting{where} already, as many as this deployment takes;"
                f" {TRY_AGAIN}"
            )
        if not owner.is_known or len(here) + len(beginning) < min(most.of_project, most.of_user):
            return
        owners = Counter((*self._owners.of(here), *beginning))
        if sum(owners[one] for one in owners if one.of_project == owner.of_project) >= most.of_project:
            raise TooManyOfProject(
                f"{most.of_project} executions of the project {owner.project} are running or waiting{where} already, as"
                f" many as each project may have here; {TRY_AGAIN}",
            )
        if sum(owners[one] for one in owners if one.is_known and one.of_user == owner.of_user) >= most.of_user:
            raise TooManyOfUser(
                f"{most.of_user} executions of yours are running or waiting{where} already, as many as each user may"
                f" have here; {TRY_AGAIN}",
            )

    def _done(self, name: str, owner: Owner, most: int | None, is_recorded: bool) -> None:
        try:
            with self._book() as book:
                book.beginning.pop(name, None)
                if most is not None and not is_recorded:
                    book.count_back(owner, most)
        except (OSError, Unavailable):  # it is taken for lost after a minute
            log.warning("%s: that its start was judged can't be noted", name, exc_info=True)

    @contextlib.contextmanager
    def _book(self) -> Iterator[Book]:
        """Nobody else's until it is left; what was changed is kept, unless something was raised."""
        if not self._turn.acquire(timeout=PATIENCE):
            raise Unavailable(BUSY)
        fd = None
        try:
            fd = self._open()
            try:
                flock.lock(fd, PATIENCE)
            except BlockingIOError as error:
                raise Unavailable(BUSY) from error
            text = os.pread(fd, READ_MAX, 0)
            book = Book.read(text, boot_clock())
            yield book
            changed = book.text()
            if changed != text:
                os.pwrite(fd, changed, 0)
                os.ftruncate(fd, len(changed))
        finally:
            if fd is not None:
                os.close(fd)
            self._turn.release()

    def _open(self) -> int:
        file = self._settings.layout.starts
        try:
            fd = open_ours(file, os.O_RDWR)
        except FileNotFoundError:  # the first start of this folder
            Folder(self._settings.jobs_folder).make(self._settings.jobs_mode)
            fd = open_ours(file, os.O_RDWR)
        if os.geteuid() == 0 and not os.fstat(fd).st_size:  # root's would keep the deployment's own from starting
            folder = os.stat(file.parent)
            os.fchown(fd, folder.st_uid, folder.st_gid)
        return fd


def judge_room(settings: Settings) -> None:
    """Whether this machine's disk takes one more execution. Raises DiskFull."""
    if why := no_room(settings):
        raise DiskFull(f"The execution was not started: {why}. Tell the administrator.")


def no_room(settings: Settings) -> str:
    """Why this machine's disk takes no more executions, in some words; "" where it does."""
    with contextlib.suppress(OSError):  # there is none yet: whoever makes it is told why it can't be
        disk = os.statvfs(settings.jobs_folder)
        free, reserve = disk.f_bavail * disk.f_frsize, min(settings.disk_reserve, disk.f_blocks * disk.f_frsize // 20)
        if free < reserve:
            return N_(f"the disk is full, but for {size(free)} that are kept for what runs")
    most = settings.jobs_folder_limit
    if most is not None and (whole := measured(settings)) >= most:
        return N_(
            f"all executions together hold {size(whole)} on the disk, and may hold {size(most)}"
            " (old ones can be removed, or JOBS_FOLDER_LIMIT raised)"
        )
    return ""


def measured(settings: Settings) -> int:
    """How many bytes the jobs' folders held when the supervisor had them looked at last; 0 where that isn't known."""
    try:
        return int(json.loads(read_record(settings.layout.sizes, MEASURED_MAX) or b"{}").get("whole") or 0)
    except (OSError, ValueError, TypeError, AttributeError):
        return 0


def not_recorded(name: str, error: OSError) -> DiskFull:
    """What a caller is told of a disk that takes no record of an execution."""
    log.error("no record could be made for %s", name, exc_info=error)
    why = N_("the disk is full") if error.errno in NO_SPACE else N_("the jobs folder can't be written")
    return DiskFull(f"The execution was not started: {why}. Tell the administrator.")


def owner_of(request: Request | None) -> Owner:
    """Whose an execution is; `NOBODY` where it has been removed meanwhile."""
    return NOBODY if request is None else request.owner

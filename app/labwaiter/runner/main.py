"""The life of a runner: the process of one job, from its fork to its end.json.

It is forked (or exec'd) by the nursery and held until its identity is on disk. What it leaves
behind, and its end if it died without one, is the supervisor's to deal with.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import InvalidParameter, JobFailed
from ..jobs.codec import dump
from ..jobs.exchange import Exchange, name_of
from ..jobs.folder import Folder
from ..process import become_subreaper, children, make_ready_for_marks, mark_of, put_mark
from ..program import Program
from ..record import End, Request
from ..service import Service
from ..settings import Settings
from . import ending, program
from .bench import Bench
from .job import Aborted, Job, Stop
from .log import Log

LEFT_CHILDREN = 77  # our exit status when the end is written but processes of the job still live
_RESERVE = 4096  # bytes kept on the disk for end.json: a full disk must not hide how a job ended


@dataclass(frozen=True)
class Order:
    """What a runner is to do, made before it is forked: what it needn't make itself stays shared."""

    store: Folder
    name: str
    request: Request
    mark: str
    stop: Stop
    job: Job
    folder: str
    exchange: Exchange
    settings: Settings
    log_limit: int  # bytes


def order(settings: Settings, name: str) -> Order:
    """The order for a job's runner. Raises what `Folder.request` raises."""
    store = Folder(settings.jobs_folder)
    request = store.request(name)
    if request is None:
        raise ValueError(f"{name} has no request")
    stop, exchange = Stop(), Exchange(settings)
    return Order(
        store=store,
        name=name,
        request=request,
        mark=mark_of(settings.jobs_folder, name),
        stop=stop,
        job=Job(store, name, request, stop, exchange),
        folder=os.fspath(store.path(name)),
        exchange=exchange,
        settings=settings,
        log_limit=settings.log_limit,
    )


def run(order: Order, release: int, service: Callable[[], Service]) -> None:
    """Be the runner of one job. Never returns.

    Args:
        release: a pipe: one byte lets the work begin; its end without one means that nobody wants it.
        service: gives the service's data, once the job may begin.
    """
    status = 1
    try:
        _settle_in(order, release)
        log, reserve = _prepare(order)
        if os.read(release, 1) != b"":
            os.close(release)
            status = _live(order, log, reserve, service)
        else:
            status = 0
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        # not sys.exit: above us are the nursery's frames, and its finalisers aren't ours to run
        os._exit(status)


def _settle_in(order: Order, release: int) -> None:
    """Have nothing of the nursery's but its imports: own session, clean signals and descriptors."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the only one that a nursery deals with
    signal.set_wakeup_fd(-1)
    order.stop.listen()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.closerange(3, release)
    os.closerange(release + 1, os.sysconf("SC_OPEN_MAX"))
    put_mark(order.mark)
    become_subreaper()


def _prepare(order: Order) -> tuple[Log, int | None]:
    """What can be done while the supervisor writes down who we are."""
    job = order.job
    reserve = _reserve(f"{order.folder}/.end")
    os.chdir(f"{order.folder}/data")
    # matplotlib's list of fonts takes a second to make: all jobs of a deployment share one, and need no home for it
    os.environ.setdefault("MPLCONFIGDIR", os.fspath(order.store.ours / "matplotlib"))
    log = Log(f"{order.folder}/log.txt", order.log_limit, job.flush, job.is_pending)
    job.on_pending = log.nudge
    faulthandler.enable(log.descriptor)
    atexit._clear()  # the nursery's
    gc.enable()
    log.start()
    return log, reserve


def _live(order: Order, log: Log, reserve: int | None, service: Callable[[], Service]) -> int:
    """The work, from its first line to its end.json: the exit status."""
    job, stop = order.job, order.stop
    # that the job began must outlive a power cut: a job is never run twice. The supervisor has
    # written it, but may not wait for disks.
    state = os.open(f"{order.folder}/state.json", os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(state)
    os.close(state)
    end = _work(order, log, service)
    stop.armed = False  # from here on the end is what it is
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    job.flush()
    left = bool(children())
    log.close(1.0)
    _write_end(order.store, order.name, end, reserve)
    with contextlib.suppress(OSError):
        os.unlink(f"{order.folder}/.end")
    return LEFT_CHILDREN if left else 0


def _work(order: Order, log: Log, service: Callable[[], Service]) -> End:
    """Call the user's function and make an end of whatever comes of it."""
    job, stop = order.job, order.stop
    hand_on = partial(name_of, order.store.root, order.name)
    bench = Bench(order.settings, order.name, job)
    try:
        return _worked(order, log, service, bench, hand_on)
    finally:
        stop.armed = False  # what is being made safe is not interrupted
        bench.put_away()
        with contextlib.suppress(Exception):
            job.recorder.close()


def _worked(order: Order, log: Log, service: Callable[[], Service], bench: Bench, hand_on: ending.HandOn) -> End:
    job, stop = order.job, order.stop
    try:
        offered = service()

        def run(wanted: Program) -> tuple[int, str]:
            ran = program.run(wanted, offered.file, job, stop, log)
            stop.check()  # what ended the program may have been the stop that we were told, too
            return ran

        def run_well(wanted: Program) -> str:
            try:
                status, printed = run(wanted)
            except program.NotThere as error:
                raise JobFailed(str(error)) from None
            if why := ending.refusal(status, wanted.success):
                raise JobFailed(why)
            return printed

        inputs = order.exchange.resolve(offered.inputs, order.request.inputs, order.name)
        job.on_run = run_well
        stop.armed = True
        stop.check()
        inputs = bench.set_up(offered.instruments, inputs)
        found = offered.function(job, **inputs)
        if isinstance(found, Program):
            status, _ = run(found)
            result = job.result_file if found.result is None else job.data / found.folder / found.result
            return ending.of_program(status, result, offered.outputs, hand_on, found.success)
        stop.armed = False
        if stop.asked and found is None and offered.outputs:
            return ending.aborted()
        return _outputs(offered, found, hand_on)
    except Aborted:
        stop.armed = False
        return ending.aborted()
    except JobFailed as error:  # the service's own sentence for its user
        stop.armed = False
        traceback.print_exc()
        return ending.failed(error.message)
    except (program.NotThere, InvalidParameter) as error:
        stop.armed = False
        print(error, file=sys.stderr)
        return ending.failed(str(error))
    except SystemExit as leaving:
        stop.armed = False
        return ending.failed(f"The work left with {leaving.code!r} before it gave its outputs.")
    except BaseException as error:
        stop.armed = False
        traceback.print_exc()
        return ending.of_exception(error)


def _outputs(offered: Service, found: Any, hand_on: ending.HandOn) -> End:
    if offered.result is None:
        return ending.completed({})
    if not isinstance(found, offered.result):
        return ending.failed(f"The work ended without its outputs: it must return {offered.result.__name__}(…).")
    return ending.of_values({p.name: getattr(found, p.name) for p in offered.outputs}, offered.outputs, hand_on)


def make_ready() -> None:
    """What a process does once, before it forks runners or becomes one."""
    make_ready_for_marks()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _reserve(path: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.posix_fallocate(fd, 0, _RESERVE)
        return fd
    except OSError:
        return None


def _write_end(store: Folder, name: str, end: End, reserve: int | None) -> None:
    """end.json; on a full disk into the room that was kept for it."""
    try:
        store.write_end(name, end)
        return
    except OSError:
        if reserve is None:
            raise
    content = dump(end)
    if len(content) > _RESERVE:
        content = dump(ending.failed("The disk was full when the result was to be written."))
    os.pwrite(reserve, content, 0)
    os.ftruncate(reserve, len(content))
    os.fsync(reserve)
    folder = store.path(name)
    with contextlib.suppress(FileExistsError):
        os.link(folder / ".end", folder / "end.json")

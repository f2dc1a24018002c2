"""The runner: the process of one job that stays ours, from its fork to its end.json.

It is forked by the fork server and held until its identity is on disk. The service's function runs in
a child of it (`runner.function`), scripts in further ones (`runner.script`): whatever these do to
their process, this one has imported nothing of anybody's, keeps log.txt and progress.json, and
writes how it ended. What the job leaves behind, and its end if this process died without one, is
the supervisor's to deal with.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..model.record import End
from ..store import codec, timeline
from ..store.files import sync_folder
from ..system.channel import Channel, pair
from ..system.process import children, ended_children, is_shortage, make_ready_for_marks, tell_group
from . import ending, function, leaving, script
from .confinement import Confinement
from .forking import fork, leave_the_fork_server, leave_the_runner, set_group, try_fork
from .listening import Listener
from .log import Log
from .made_by import noting_programs
from .program import (
    NoProcess,
    NotThere,
    Prepared,
    Ran,
    become,
    judge_start,
    out_of_the_way,
    spawn,
    waits_for_one,
)
from .records import EndFile, ProgressFile
from .spec import RunnerSpec

NOT_BEGUN = 75  # our exit status when something was wanting (processes, memory) before the work began: it waits again
LEFT_CHILDREN = 77  # our exit status when the end is written but processes of the job still live
TRY_EVERY = 0.5  # s between two tries to start a program while there is no process for it
KILL_EVERY = 0.1  # s between two kills of a function's process that doesn't go
# of its grace, which may be taken by what is stopped after it had given its end, to make safe and leave: what it
# gave is written before the supervisor ends us, too
LAST_SHARE = 0.8

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # as we are told of it, and as a shell tells of what it ran
# what a process does next, once it has left the frames of the one that it was forked from
Continuation = Callable[[], Any]
# in a fork of a runner: that one. Its sockets were closed by their numbers, which name other files by now: it is never
# let go of, or these would be closed in their stead
_left: list[object] = []


def make_ready() -> None:
    """What a process does once, before it forks runners."""
    make_ready_for_marks()
    leaving.make_ready()
    script.make_ready()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def run(spec: RunnerSpec, release: int) -> Continuation | None:
    """Be the runner of one job. It leaves by itself; only in a fork of it this returns: what that is to do.

    Args:
        release: a pipe: one byte lets the work begin; its end without one means that nobody wants it.
    """
    status, begun = 1, False
    try:
        runner = Runner(spec, release)
        step = runner.begin()
        if step is None and os.read(release, 1) != b"":
            spec.store.begin(spec.name)
            begun = True
            step = runner.serve()
        if step is not None:
            _left.append(runner)
            return step
        status = runner.status
    except BaseException as error:
        if not begun and _is_wanting(error):
            status = NOT_BEGUN  # the supervisor says what it waits for
        else:
            with contextlib.suppress(OSError):
                traceback.print_exc()
    os._exit(status)


def _is_wanting(error: BaseException) -> bool:
    """Whether it tells of too few processes, descriptors or too little memory just now."""
    descriptors = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    return descriptors or isinstance(error, MemoryError) or is_shortage(error)


class Runner:
    """One job, seen from its own process."""

    def __init__(self, spec: RunnerSpec, release: int) -> None:
        self.spec = spec
        self.status = 0  # our exit status
        leave_the_fork_server(spec.mark, release, spec.confinement, spec.folder)
        self._release = release
        self._progress = ProgressFile(spec.store, spec.name)
        self._end: End | None = None  # as the function gave it
        self._function = 0  # pid
        self._function_status: int | None = None
        self._stopped_at: float | None = None  # monotonic s
        self._groups: set[int] = set()  # of programs that run
        self._scripts: dict[int, Channel] = {}  # pid → who asked for it
        self._pipes: set[int] = set()  # that the log is fed by
        self._program: Prepared | None = None  # the one that the function gave, whose process has left
        self._program_pid = self._program_pipe = -1
        self._due: Prepared | None = None  # that one, while there is no process for it
        self._due_at = 0.0  # monotonic s
        self._listener: Listener | None = None
        self._before: ending.Stamp | None = None
        self._ran: Ran | None = None
        self._poll = select.poll()
        self._step: Continuation | None = None  # in a fork: what it does

    def begin(self) -> Continuation | None:
        """Fork the function's process, which waits to be let go; in that process: what it does.

        First of all: what this process has touched by then is copied for it, too.
        """
        self._awake, asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(asleep, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)  # they arrive as bytes: `_wake_up`
        signal.signal(signal.SIGCHLD, lambda *_: None)
        pipe, into = os.pipe()
        ours, theirs = pair()
        pid = fork()
        if pid == 0:
            return partial(_be_function, self.spec, into, theirs)
        os.close(into)
        theirs.close()
        os.set_blocking(pipe, False)
        self._pipes.add(pipe)
        self._channel = Channel(ours)
        self._function = pid
        self._groups.add(pid)
        set_group(pid)
        self._end_file = EndFile(self.spec.store, self.spec.name, self.spec.folder)
        self._log = Log(f"{self.spec.folder}/log.txt", self.spec.settings.log_limit)
        os.dup2(self._log.file, 1)  # what this process itself has to say
        os.dup2(self._log.file, 2)
        return None

    def serve(self) -> Continuation | None:
        """The work, from its first line to its end.json; in a script's process: what it does."""
        os.close(self._release)
        # that the job began must outlive a power cut: a job is never run twice. The supervisor has
        # written it, but may not wait for disks.
        # Another account than the supervisor's may not read that, and `begun` tells it, too
        mark = "begun" if self.spec.confinement.account else "state.json"
        state = os.open(f"{self.spec.folder}/{mark}", os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(state)
        os.close(state)
        if self.spec.confinement.account:
            sync_folder(self.spec.folder)
        with contextlib.suppress(OSError):
            self._channel.send({"do": "begin"})
        timeline.note(self.spec.folder, "began", **self.spec.made_by)
        for number in (self._awake, self._channel.fileno(), *self._pipes):
            self._poll.register(number, select.POLLIN)
        while self._function_status is None or self._due or (self._program is not None and self._ran is None):
            for number, _ in self._poll.poll(self._wait()):
                if number == self._awake:
                    self._wake_up()
                elif number == self._channel.fileno():
                    self._hear()
                elif number in self._pipes and not self._log.drain(number, self._listener_of(number)):
                    self._forget(number)
            if self._due is not None and time.monotonic() >= self._due_at:
                self._run(self._due)
            if self._step is not None:
                return self._step
            if self._progress.due_in() == 0.0:
                self._progress.write()
            if self._function_status is None and self._wait_to_leave() == 0.0:
                tell_group(self._function, signal.SIGKILL)
        self._hear_all()
        if self._step is None:
            self._finish()
        return self._step

    # -- hearing --------------------------------------------------------------------------------

    def _wait(self) -> float | None:
        """How long nothing is due, ms; None: until something comes."""
        waits = []
        if (write := self._progress.due_in()) is not None:
            waits.append(write)
        if self._due is not None:
            waits.append(max(0.0, self._due_at - time.monotonic()))
        if (leave := self._wait_to_leave()) is not None:
            waits.append(leave or KILL_EVERY)
        return min(waits) * 1000 if waits else None

    def _wait_to_leave(self) -> float | None:
        """How long the function's process, which has given its end and is told to stop, may still take, s."""
        if self._stopped_at is None or self._end is None:
            return None
        grace = self.spec.service.grace if self.spec.service else 0.0
        return max(0.0, self._stopped_at + LAST_SHARE * max(1.0, grace) - time.monotonic())

    def _wake_up(self) -> None:
        numbers = b""
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._awake, 4096)
        if signal.SIGTERM in numbers:
            self._hear_all()  # what came before it counts
            self._stop()
        self._reap()

    def _stop(self) -> None:
        """The wish to stop, for all that works here."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._due = None
            with contextlib.suppress(OSError):
                self._channel.send({"do": "stop"})  # before the signal: so it is known there that it is ours
        for group in list(self._groups):
            tell_group(group, signal.SIGTERM)

    def _reap(self) -> None:
        for pid, status in ended_children():
            if pid == self._function:
                self._function_status = status
                self._groups.discard(pid)  # the number may be somebody else's by the time of a stop
            elif self._program is not None and pid == self._program_pid:
                self._groups.discard(pid)
                self._program_ended(status)
            elif (client := self._scripts.pop(pid, None)) is not None:
                self._groups.discard(pid)
                _answer(client, {"status": status})

    def _hear_all(self) -> None:
        """Take what the function's process has sent so far."""
        while self._step is None and self._hear():
            pass

    def _hear(self) -> bool:
        """Take one message, if there is any; False without one. In a fork, `_step` is what that does."""
        try:
            received = self._channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (ValueError, OSError):
            return True  # some fork's own words: no message
        if received is None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._channel)  # it closed all that it had open; its exit tells the rest
            return False
        message, descriptors = received
        if "say" in message:
            self._progress.change(message["say"])
        elif "reply" in message:
            self._progress.reply(*message["reply"])
        elif "end" in message:
            # what was asked first counts: after a stop it is no longer the function's to say how it ended
            if self._stopped_at is None and self._end is None:
                self._end = codec.end_of(message["end"])
        elif "failed" in message:
            if self._stopped_at is None and self._end is None:
                self._end = ending.failed(message["failed"])
                self._stop()
        elif "waits" in message:
            self._tell_waiting(message["waits"])
        elif "began" in message:
            self._tell_waiting("")
            self._groups.add(message["began"])
            if self._stopped_at is not None:
                tell_group(message["began"], signal.SIGTERM)
        elif "ended" in message:
            self._groups.discard(message["ended"])
        elif "drain" in message:
            os.set_blocking(descriptors[0], False)
            self._pipes.add(descriptors[0])
            self._poll.register(descriptors[0], select.POLLIN)
        elif "run" in message:
            self._run(Prepared(**message["run"]))
        elif "script" in message:
            self._fork_script(message["script"], *descriptors)
        return True

    def _forget(self, pipe: int) -> None:
        self._poll.unregister(pipe)
        self._pipes.discard(pipe)
        os.close(pipe)

    def _tell_waiting(self, text: str) -> None:
        """On the page and in the log, that a program waits for a process; "": it waits no longer."""
        if self._progress.show_waiting(text):
            self._log.append(f"{text}\n".encode())

    def _fork_script(self, spec: dict[str, Any], into: int, answer: int) -> None:
        client = Channel(socket.socket(fileno=answer))
        try:
            pid = try_fork()
        except NoProcess as want:
            _answer(client, {"refused": str(want)})
            os.close(into)
            return
        if pid == 0:
            self._step = partial(_be_script, script.ScriptSpec(**spec), into, self.spec.confinement)
            return
        os.close(into)
        set_group(pid)
        self._tell_waiting("")
        self._scripts[pid] = client
        self._groups.add(pid)
        if self._stopped_at is not None:
            tell_group(pid, signal.SIGTERM)

    # -- the program that the function gave -----------------------------------------------------

    def _run(self, program: Prepared) -> None:
        """Run it here: nothing of the function's process is needed any more. In a fork, `_step` is what that does."""
        self._due = None
        if self._stopped_at is not None:
            return
        self._before = ending.stamp(Path(program.result))
        self._listener = Listener(program, self._progress.show_progress)
        try:
            ours, theirs = program.terminal_or_pipe()
        except OSError as error:
            self._end = ending.failed(f"The program {program.name} could not be started: {error.strerror}.")
            return
        try:
            if program.warm:
                pid = try_fork()
                if pid == 0:
                    self._step = partial(_be_script, program.spec(), theirs, self.spec.confinement)
                    return
                set_group(pid)
            elif self.spec.confinement.limits:
                told, failure = os.pipe()
                pid = try_fork()
                if pid == 0:
                    self._step = partial(_be_program, program, theirs, failure, self.spec.confinement)
                    return
                set_group(pid)
                os.close(failure)
                judge_start(program, told)
            else:
                pid = spawn(program, theirs)
        except NoProcess as want:
            self._tell_waiting(waits_for_one(program.name, want))
            self._due, self._due_at = program, time.monotonic() + TRY_EVERY
            os.close(ours)
            return
        except (OSError, NotThere) as error:
            words = error.strerror if isinstance(error, OSError) else None
            why = f"The program {program.name} could not be started: {words}." if words else str(error)
            self._log.append(f"{why}\n".encode())
            self._end = ending.failed(why)
            os.close(ours)
            return
        finally:
            if self._step is None:
                os.close(theirs)
        self._tell_waiting("")
        self._program, self._program_pid, self._program_pipe = program, pid, ours
        self._groups.add(pid)
        noting_programs(self.spec.folder, self.spec.store.layout.hashes)(program)
        os.set_blocking(ours, False)
        self._pipes.add(ours)
        self._poll.register(ours, select.POLLIN)

    def _listener_of(self, pipe: int) -> Callable[[bytes], None] | None:
        return self._listener.hear if pipe == self._program_pipe and self._listener is not None else None

    def _program_ended(self, status: int) -> None:
        assert self._program is not None and self._listener is not None
        if self._program_pipe in self._pipes:  # what it printed to its end; what others still hold is drained on
            self._log.drain(self._program_pipe, self._listener.hear, at_most=64)
        self._ran = Ran(self._program, status, self._listener.printed, self._before)

    # -- the end --------------------------------------------------------------------------------

    def _finish(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on the end is what it is
        if self._progress.due_in() is not None:
            self._progress.write()
        for pipe in self._pipes:
            self._log.drain(pipe, self._listener_of(pipe), at_most=64)
        end = self._what_came()
        self._reap()
        has_children = bool(children())
        self._end_file.write(end)
        self.status = LEFT_CHILDREN if has_children else 0

    def _what_came(self) -> End:
        """How the job ended. What was asked first counts: a stop, or the end that the function gave."""
        if self._end is not None:
            return self._end
        if self._stopped_at is not None:
            return ending.aborted()
        # its process left without a word: by os._exit, by a signal, or as another program
        assert self._function_status is not None
        hand_on = partial(ending.hand_on, self.spec.store.root, self.spec.name)
        outputs = self.spec.service.outputs if self.spec.service else ()
        confinement = self.spec.confinement
        status = self._function_status if self._ran is None else self._ran.status
        if status in _KILLED and confinement.group is not None and confinement.group.ran_out_of_memory():
            return ending.of_memory(confinement.confined)
        if self._ran is not None:
            return ending.of_run(self._ran, outputs, hand_on, confinement.confined)
        if self._function_status == function.NOT_TOLD:
            return ending.failed(
                "The function has closed descriptors that it did not open (os.closerange?), labwaiter's among them,"
                " so its result could not be told: have it close its own alone."
            )
        result = Path(self.spec.folder, "result.txt")
        return ending.of_program(self._function_status, result, outputs, hand_on, confined=confinement.confined)


def _answer(client: Channel, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone
        client.send(message)
    client.close()


def _be_function(spec: RunnerSpec, into: int, end: socket.socket) -> None:
    leave_the_runner(into)
    channel = Channel(socket.socket(fileno=out_of_the_way(end.fileno())))
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    end.detach()
    spec.confinement.put_on()
    function.run_function(spec, channel)


def _be_script(spec: script.ScriptSpec, into: int, confinement: Confinement) -> None:
    leave_the_runner(into)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    confinement.put_on()
    script.run_script(spec)


def _be_program(program: Prepared, into: int, failure: int, confinement: Confinement) -> None:
    """Be any other program under limits, which posix_spawn(3) can't give: `judge_start` hears why it can't be."""
    leave_the_runner(into)
    os.closerange(3, failure)
    os.closerange(failure + 1, os.sysconf("SC_OPEN_MAX"))
    confinement.put_on()
    become(program, failure)

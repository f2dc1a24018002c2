"""Running programs for a job: each with a process group, a pipe, a folder and an environment of its own.

The thread that asks for one attends to it: hands what it prints on to the log, and hears its
progress. Several threads may run several at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import socket
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ..errors import JobFailed, Misconfigured
from ..model.program import Program, Script, command_file, interpreter, script_file
from ..system.backoff import Backoff
from ..system.channel import Channel, pair
from ..system.process import LONGEST_PAUSE, is_shortage, proc_status, reap
from . import script
from .ending import Stamp, stamp
from .listening import Listener, Say
from .stop import Aborted, Stop

if TYPE_CHECKING:
    import subprocess

_HIGH = 700  # below the usual limit of 1024
COLUMNS = 80  # of a program's terminal


class NoProcess(Exception):
    """There is no process for a program just now; the message is the system's word for that. It is tried again."""


class NotThere(Exception):
    """The program can't be started; the message is for the user."""


@dataclass(frozen=True)
class Prepared:
    """A program that is known to be there, with all that its process gets; another process of ours may start it."""

    name: str
    arguments: list[str]  # the first is the path: of a program, or (`warm`) of a Python file
    warm: bool
    environment: dict[str, str]
    folder: str
    umask: int
    tty: bool
    progress: list[str]
    stages: list[str]
    result: str  # the file in which its result is expected
    success: list[int]
    file: str = ""  # its own: the script's, not its interpreter's

    def terminal_or_pipe(self) -> tuple[int, int]:
        """Where it prints to: our end and its. Raises OSError where the machine has no more of them."""
        return _terminal() if self.tty else os.pipe()

    def spec(self, asked_by: int | None = None) -> script.ScriptSpec:
        """What a warm one's process gets.

        Args:
            asked_by: the process whose limits, priority and CPUs it has; None: those of the one that it is forked from.
        """
        path, *arguments = self.arguments
        return script.ScriptSpec(path, arguments, self.environment, self.folder, self.umask, asked_by)


def prepare(program: Program, data: Path, result_file: Path, service_file: Path) -> Prepared:
    """Find a program and make its folder.

    Args:
        data: the job's data/, which its folder is relative to.
        result_file: where its result is, if it doesn't name a file of its own.
        service_file: beside which programs and scripts are looked for.

    Raises:
        NotThere: it can't be started.
    """
    folder = data / program.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotThere(f"The program can't work in the folder {folder.name}: {error.strerror}.") from error
    environment = {**os.environ, **({"TERM": "dumb"} if program.tty else {}), **dict(program.environment)}
    warm, beside = False, service_file.parent
    try:
        if isinstance(program, Script):
            path = script_file(program.program, beside)
            warm = program.python is None and not script.needs_an_interpreter(path, environment)
            python = interpreter(program.python, beside) if program.python else sys.executable
            # -u: what it prints is seen at once, as it is of a warm one
            first = [path] if warm else [python, "-u", path]
        else:
            path = command_file(program.program, beside, environment.get("PATH"))
            first = [path]
    except Misconfigured as error:
        raise NotThere(str(error)) from None
    return Prepared(
        name=Path(program.program).name,
        arguments=[*first, *program.arguments],
        warm=warm,
        environment=environment,
        folder=os.fspath(folder),
        umask=_umask(),
        tty=program.tty,
        progress=list(program.progress),
        stages=list(program.stages),
        result=os.fspath(result_file if program.result is None else folder / program.result),
        success=sorted(program.success),
        file=os.fspath(folder / path),
    )


@dataclass(frozen=True)
class Ran:
    """A program that has ended."""

    program: Prepared
    status: int  # its exit status, negative for a signal
    printed: str  # the last of what it printed
    before: Stamp | None = None  # its result file as it was before it began


class Child(Protocol):
    """A process that was started for a program."""

    def fileno(self) -> int:
        """Readable once there is news of its end."""

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""


class Programs:
    """Runs the programs of one job, from within its function's process."""

    def __init__(self, stop: Stop, channel: Channel, began: Callable[[Prepared], None] = lambda program: None) -> None:
        """
        Args:
            channel: to the runner.
            began: is told of each program once it runs.
        """
        self._stop, self._channel, self._began = stop, channel, began
        self._log = out_of_the_way(1)  # the log, whatever becomes of stdout

    def run(self, program: Prepared, say: Say) -> Ran:
        """Run a program to its end.

        Args:
            say: is told its progress.

        Raises:
            NotThere: it can't be started.
            Aborted: the job was asked to stop, and the program is gone.
        """
        backoff = Backoff(0.05, LONGEST_PAUSE)
        while True:
            try:
                return self._run(program, say)
            except NoProcess as want:
                if not backoff.pause:
                    with contextlib.suppress(OSError):
                        self._channel.send({"waits": waits_for_one(program.name, want)})
            self._stop.check()
            time.sleep(backoff.failed())  # a stop arrives here
            self._stop.check()

    def _run(self, program: Prepared, say: Say) -> Ran:
        """As `run`. Raises NoProcess, too."""
        listener = Listener(program, say)
        before = stamp(Path(program.result))
        armed, self._stop.armed = self._stop.armed, False  # between its start and the name for it nothing may come
        try:
            ours, theirs = program.terminal_or_pipe()
            try:
                child: Child
                if program.warm:
                    child = WarmScript(program.spec(os.getpid()), theirs, self._channel)
                else:
                    child = ProgramProcess(program, theirs, self._channel)
            except BaseException:
                os.close(ours)
                raise
            finally:
                os.close(theirs)
            with contextlib.suppress(Exception):  # the service's own code may have changed what is used here
                self._began(program)
        finally:
            self._stop.armed = armed
        try:
            status = self._attend(child, ours, listener)
        finally:
            os.close(ours)
        self._stop.check()  # what ended the program may have been the stop that we were told, too
        return Ran(program, status, listener.printed, before)

    def _attend(self, child: Child, out: int, listener: Listener) -> int:
        """Hand on what it prints until it has ended: its exit status."""
        os.set_blocking(out, False)
        poll = select.poll()
        poll.register(out, select.POLLIN)
        poll.register(child.fileno(), select.POLLIN)
        open_end = True  # whether somebody holds the other end
        while True:
            try:
                if open_end and not self._hand_on(out, listener):
                    open_end = False
                    poll.unregister(out)
                if (status := child.status()) is not None:
                    break
                poll.poll()
            except Aborted:
                pass  # the runner tells the program, too, and the supervisor kills it if it doesn't listen
        while open_end and (size := self._hand_on(out, listener)):
            if size == _NOTHING_YET:
                # descendants of it hold the pipe: what they print is the runner's to keep from now on
                with contextlib.suppress(OSError):
                    self._channel.send({"drain": None}, [out])
                break
        return status

    def _hand_on(self, out: int, listener: Listener) -> int:
        """A piece of what was printed, to the log and the listener; 0 once nobody can print there any more."""
        try:
            printed = os.read(out, 65536)
        except BlockingIOError:
            return _NOTHING_YET
        except OSError:  # EIO: nobody holds the terminal's inside any more
            return 0
        if printed:
            with contextlib.suppress(OSError):
                text = memoryview(printed)
                while text:
                    text = text[os.write(self._log, text) :]
            listener.hear(printed)
        return len(printed)


_NOTHING_YET = -1


def start(program: Prepared, out: int) -> subprocess.Popen[bytes]:
    """Start any program but a warm one as a child of this process, with a process group of its own.

    For a process that may have threads, or a folder of its own: see `spawn`.

    Raises:
        NotThere, NoProcess.
    """
    import subprocess  # not before it is needed: see supervisor/fork_server.py

    try:
        return subprocess.Popen(
            program.arguments,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=program.environment,
            cwd=program.folder,
            process_group=0,
            umask=program.umask,
        )
    except OSError as error:
        raise _why_not(program, error) from error


def spawn(program: Prepared, out: int) -> int:
    """As `start`, of a process that has nothing but this to do: its pid.

    Without `subprocess`, which a runner would import for each job: posix_spawn(3) has no folder and no umask, so they
    are this process' own meanwhile.

    Raises:
        NotThere, NoProcess.
    """
    folder, umask = os.getcwd(), os.umask(program.umask)
    try:
        os.chdir(program.folder)
        return os.posix_spawn(
            program.arguments[0],
            program.arguments,
            program.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
            ],
            setpgroup=0,
            setsigdef=_RESTORED,
        )
    except OSError as error:
        raise _why_not(program, error) from error
    finally:
        os.umask(umask)
        os.chdir(folder)


def become(program: Prepared, failure: int) -> NoReturn:
    """Be the program, in a process that was forked for it and has its stdout; or tell why not, and leave.

    Args:
        failure: a pipe's end that closes once it is that.
    """
    try:
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.umask(program.umask)
        os.chdir(program.folder)
        os.execve(program.arguments[0], program.arguments, program.environment)
    except OSError as error:
        os.write(failure, str(error.errno).encode())
    finally:
        os._exit(127)


def judge_start(program: Prepared, told: int) -> None:
    """Wait until a fork has become the program.

    Args:
        told: the other end of what `become` was given; it is closed.

    Raises:
        NotThere, NoProcess: it couldn't.
    """
    try:
        number = os.read(told, 20)
    finally:
        os.close(told)
    if number:
        raise _why_not(program, OSError(int(number), os.strerror(int(number))))


# those that Python ignores, as `subprocess` has them
_RESTORED = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)]


def _why_not(program: Prepared, error: OSError) -> NoProcess | NotThere:
    if is_shortage(error):
        return NoProcess(error.strerror)
    why = {
        errno.EACCES: f"The program {program.name} may not be executed: it lacks the permission.",
        errno.ENOEXEC: f"{program.name} is no program that this machine can run.",
        errno.ENOENT: f"The program {program.name} is not there, or what its first line names isn't.",
    }.get(error.errno or 0, f"The program {program.name} could not be started: {error.strerror}.")
    return NotThere(why)


def waits_for_one(name: str, want: NoProcess) -> str:
    """What the page and the log tell meanwhile."""
    return f"{name} waits for a process: this machine has none for it now ({want})"


def out_of_the_way(descriptor: int) -> int:
    """A copy of a descriptor with a high number: who closes all that follow 2 up to some hundreds doesn't close it."""
    for lowest in (_HIGH, 3):
        with contextlib.suppress(OSError):
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    return os.dup(descriptor)


class ProgramProcess:
    """Any program, as a child of this process."""

    def __init__(self, program: Prepared, out: int, channel: Channel) -> None:
        """Start it. Raises NotThere, NoProcess."""
        self._channel = channel
        self._process = start(program, out)
        with contextlib.suppress(OSError):
            channel.send({"began": self._process.pid})
        self._name = program.name
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            raise JobFailed(
                f"Whether {program.name} succeeded can't be told: the service's own code ignores SIGCHLD."
            ) from None

    def fileno(self) -> int:
        """A pidfd."""
        return self._pidfd

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs.

        Raises:
            JobFailed: code of the service's in this process has taken it. `Popen` would say 0 then.
        """
        try:
            status = reap(self._pidfd)
        except ChildProcessError:
            taken, status = True, 0
        else:
            taken = False
            if status is None:
                return None
        os.close(self._pidfd)
        with contextlib.suppress(OSError):
            self._channel.send({"ended": self._process.pid})
        self._process.returncode = status
        if taken:
            raise JobFailed(
                f"Whether {self._name} succeeded can't be told: the service's own code ignores SIGCHLD, or waits for"
                " every child of its process."
            )
        return status


class WarmScript:
    """A Python file, forked from the runner."""

    def __init__(self, spec: script.ScriptSpec, out: int, channel: Channel) -> None:
        """Ask for it. Raises NotThere."""
        ours, theirs = pair()
        try:
            channel.send({"script": vars(spec)}, [out, theirs.fileno()])
        except OSError as error:
            ours.close()
            raise NotThere(f"The script {Path(spec.path).name} could not be started: {error.strerror}.") from error
        finally:
            theirs.close()
        self._answers = Channel(ours)

    def fileno(self) -> int:
        """The channel on which its end is told."""
        return self._answers.fileno()

    def status(self) -> int | None:
        """As the runner tells it. Raises NoProcess: it could not be forked."""
        try:
            received = self._answers.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        self._answers.close()
        message: dict[str, Any] = received[0] if received else {"status": -signal.SIGKILL}
        if "refused" in message:
            raise NoProcess(message["refused"])
        return int(message["status"])


def _umask() -> int:
    """This process' umask, read where that changes nothing for its other threads: proc_pid_status(5)."""
    return int(proc_status("Umask") or b"022", 8)


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal for a program that prints as it should only there: pty(7), its outside and inside.

    Raises OSError where the machine has no more of them.
    """
    outside, inside = pty.openpty()
    attributes = termios.tcgetattr(inside)
    attributes[1] &= ~termios.OPOST  # a log's lines end as they were printed, without carriage returns
    termios.tcsetattr(inside, termios.TCSANOW, attributes)
    termios.tcsetwinsize(inside, (24, COLUMNS))
    return outside, inside

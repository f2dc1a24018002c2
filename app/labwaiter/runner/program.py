"""Running a program for a job: a Python file in this very process, or any program as a child."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pty
import shutil
import subprocess
import sys
import termios
import threading
import traceback
import types
from pathlib import Path

from ..parameter import text_of
from ..program import Program, Script
from .job import Aborted, Job, Stop
from .listening import Listener
from .log import Log


class NotThere(Exception):
    """The program can't be started; the message is for the user."""


def find(path: str, service_file: Path, what: str) -> str:
    """The path of a program that a service names: beside the service file, or in the folder above it.

    Raises:
        NotThere: it is at neither place.
    """
    beside = os.path.dirname(service_file)
    for folder in (beside, os.path.dirname(beside)):
        found = os.path.join(folder, path)
        if os.path.isfile(found):
            return os.path.realpath(found)
    raise NotThere(f"The {what} {Path(path).name} is not there: it is looked for beside its service file.")


def find_command(program: str, service_file: Path) -> str:
    """The program of a Command: on PATH if it's a bare name there, else as `find` does.

    Raises:
        NotThere: it's nowhere.
    """
    if os.sep not in program and (found := shutil.which(program)):
        return found
    if os.path.isabs(program):
        if os.path.exists(program):
            return program
        raise NotThere(f"The program {Path(program).name} is not installed on this machine.")
    try:
        return find(program, service_file, "program")
    except NotThere:
        if os.sep in program:
            raise
        raise NotThere(f"The program {program} is not installed on this machine.") from None


def run_script(script: Program, service_file: Path) -> int:
    """Run a Python file as `python file arguments` would.

    Returns:
        Its exit status.

    Raises:
        NotThere: there's no such file.
        Aborted: the job was asked to stop.
    """
    path = find(script.program, service_file, "script")
    os.environ.update(script.environment)
    sys.argv = [path, *(text_of(a) for a in script.arguments)]
    sys.path.insert(0, os.path.dirname(path))
    # runpy would look whether the file is a zip archive first, which takes as long as all of this
    module = types.ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    try:
        with open(path, "rb") as source:
            code = compile(source.read(), path, "exec")
        exec(code, module.__dict__)
        status = 0
    except SystemExit as leaving:
        status = _exit_status(leaving.code)
    except Exception:
        # our own frames tell its author nothing: theirs begin where its file does
        kind, error, trace = sys.exc_info()
        while trace is not None and trace.tb_frame.f_code.co_filename != path:
            trace = trace.tb_next
        traceback.print_exception(kind, error, trace)
        status = 1
    # what an interpreter does on its way out, so that nothing that the program wrote is lost
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    module.__dict__.clear()  # its open files are closed, so flushed
    gc.collect()
    return status


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def run_command(command: Program, service_file: Path, stop: Stop) -> int:
    """Run a program and wait for it; its output goes to log.txt.

    Returns:
        Its exit status, negative for a signal.

    Raises:
        NotThere: it can't be started.
        Aborted: the job was asked to stop, and the program is gone.
    """
    program = find_command(command.program, service_file)
    arguments = [program, *(text_of(a) for a in command.arguments)]
    terminal = Terminal() if command.tty else None
    environment = {**os.environ, **({"TERM": "dumb"} if terminal else {}), **dict(command.environment)}
    out = terminal.inside if terminal else None
    stop.armed = False  # between the fork and the name for the child nothing may come
    try:
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
    except OSError as error:
        name = Path(program).name
        why = {
            errno.EACCES: f"The program {name} may not be executed: it lacks the permission.",
            errno.ENOEXEC: f"{name} is no program that this machine can run.",
            errno.ENOENT: f"The program {name} is not there, or what its first line names isn't.",
        }.get(error.errno or 0, f"The program {name} could not be started: {error.strerror}.")
        raise NotThere(why) from error
    finally:
        if terminal:
            terminal.begin()
        stop.armed = True
    try:
        stop.check()
        status = child.wait()
        if terminal:
            terminal.end()
        return status
    except Aborted:
        # the supervisor told the whole group, the program too, and kills it if it doesn't listen
        child.wait()
        raise


class Terminal:
    """A pseudo-terminal for a program that prints as it should only there: pty(7)."""

    COLUMNS = 80

    def __init__(self) -> None:
        """Raises OSError where the machine has no more of them."""
        self._outside, self.inside = pty.openpty()
        how = termios.tcgetattr(self.inside)
        how[1] &= ~termios.OPOST  # a log's lines end as they were printed, without carriage returns
        termios.tcsetattr(self.inside, termios.TCSANOW, how)
        termios.tcsetwinsize(self.inside, (24, self.COLUMNS))
        self._thread = threading.Thread(target=self._copy, name="terminal", daemon=True)

    def begin(self) -> None:
        """Its program has been started: copy what that prints to where all is printed."""
        os.close(self.inside)
        self._thread.start()

    def end(self, seconds: float = 1.0) -> None:
        """Its program has ended: copy the rest; at most `seconds`, for others may still hold it."""
        self._thread.join(seconds)

    def _copy(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody holds the inside any more
            while printed := os.read(self._outside, 65536):
                os.write(1, printed)


def run(program: Program, service_file: Path, job: Job, stop: Stop, log: Log) -> tuple[int, str]:
    """Run either kind, in its folder, and hear what it prints.

    Returns:
        Its exit status, negative for a signal; and the last of what it printed.

    Raises:
        NotThere: it can't be started.
        Aborted: the job was asked to stop, and the program is gone.
    """
    folder = job.data / program.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise NotThere(f"The program can't work in the folder {folder.name}: {error.strerror}.") from error
    listener = Listener(program, job.heard)
    log.listener = listener.hear
    if isinstance(program, Script):
        status = run_script(program, service_file)
        sys.stdout.flush()
        sys.stderr.flush()
    else:
        status = run_command(program, service_file, stop)
    log.catch_up()
    log.listener = None
    return status, listener.printed

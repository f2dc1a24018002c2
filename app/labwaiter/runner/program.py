"""Running a program for a job: a Python file in this very process, or any program as a child."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import traceback
import types
from pathlib import Path

from ..parameter import text_of
from ..program import Command, Script
from ..record import End
from .ending import failed
from .job import Aborted, Job, Stop


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


def find_command(command: Command, service_file: Path) -> str:
    """The program of a Command: on PATH if it's a bare name there, else as `find` does.

    Raises:
        NotThere: it's nowhere.
    """
    if os.sep not in command.program and (found := shutil.which(command.program)):
        return found
    if os.path.isabs(command.program):
        if os.path.exists(command.program):
            return command.program
        raise NotThere(f"The program {Path(command.program).name} is not installed on this machine.")
    try:
        return find(command.program, service_file, "program")
    except NotThere:
        if os.sep in command.program:
            raise
        raise NotThere(f"The program {command.program} is not installed on this machine.") from None


def run_script(script: Script, service_file: Path) -> int:
    """Run a Python file as `python file arguments` would.

    Returns:
        Its exit status.

    Raises:
        NotThere: there's no such file.
        Aborted: the job was asked to stop.
    """
    path = find(script.path, service_file, "script")
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


def run_command(command: Command, service_file: Path, job: Job, stop: Stop) -> int:
    """Run a program and wait for it; its output goes to log.txt.

    Returns:
        Its exit status, negative for a signal.

    Raises:
        NotThere: it can't be started.
        Aborted: the job was asked to stop, and the program is gone.
    """
    program = find_command(command, service_file)
    arguments = [program, *(text_of(a) for a in command.arguments)]
    stop.armed = False  # between the fork and the name for the child nothing may come
    try:
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, cwd=job.data)
    except OSError as error:
        name = Path(program).name
        why = {
            errno.EACCES: f"The program {name} may not be executed: it lacks the permission.",
            errno.ENOEXEC: f"{name} is no program that this machine can run.",
            errno.ENOENT: f"The program {name} is not there, or what its first line names isn't.",
        }.get(error.errno or 0, f"The program {name} could not be started: {error.strerror}.")
        raise NotThere(why) from error
    finally:
        stop.armed = True
    try:
        stop.check()
        return child.wait()
    except Aborted:
        # the supervisor told the whole group, the program too, and kills it if it doesn't listen
        child.wait()
        raise


def run(program: Script | Command, service_file: Path, job: Job, stop: Stop) -> int | End:
    """Run either kind; a program that can't be started is a failed end."""
    try:
        if isinstance(program, Script):
            return run_script(program, service_file)
        return run_command(program, service_file, job, stop)
    except NotThere as error:
        print(error, file=sys.stderr)
        return failed(str(error))

"""The process in which a service's function is called: it imports the service's file, and ends as an interpreter does.

A fork of it that comes back here is not the job: it ends nothing, makes nothing safe, and leaves as
the fork of any script would.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import sys
import time
import traceback
import types
from collections.abc import Callable
from functools import partial
from inspect import CO_VARARGS, CO_VARKEYWORDS, signature
from pathlib import Path
from types import FunctionType
from typing import Any

from ..errors import InvalidParameter, JobFailed, Misconfigured
from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..model.lab_session import ON_INSTRUMENT
from ..model.lab_task import NAME as LAB_TASK
from ..model.program import Program
from ..model.record import End
from ..model.service import Declaration, Outputs, Service
from ..service_files import hash_of_source, import_file
from ..store import timeline
from ..store.artifacts import Artifacts
from ..store.upkeep import FAULT, Upkeep
from ..system.channel import Channel
from ..system.process import children, proc_status
from . import ending
from .job import Job
from .job_engine import JobEngine
from .leaving import leave
from .listening import Say
from .made_by import noting_programs
from .open_instruments import OpenInstruments
from .program import NotThere, Prepared, Programs, prepare
from .script import Limits
from .spec import RunnerSpec
from .stop import Aborted, Stop

NOT_TOLD = 79  # the exit status of a function's process that could not tell its end: it has closed what it tells it by


def run_function(spec: RunnerSpec, channel: Channel) -> None:
    """Call the function of a job's service, and tell the runner what came of it."""
    # nobody else's code runs before it is let go; ours does, while the job's beginning is written to the disk
    os.chdir(f"{spec.folder}/data")
    # matplotlib's list of fonts takes a second to make: all jobs of a deployment share one, and need no home for it
    if spec.confinement.account is None:  # another one has a home of its own, and may not go there
        os.environ.setdefault("MPLCONFIGDIR", os.fspath(spec.store.layout.matplotlib))
    faulthandler.enable(os.dup(2))
    sys.modules["__main__"] = types.ModuleType("__main__")  # not the fork server's, which a spawned child would import
    work = Work(spec, channel)
    message = channel.receive()
    if message is None or message[0]["do"] != "begin":
        os._exit(0)
    try:
        end = work.end()
    except _HandOver as hand_over:
        channel.send({"run": vars(hand_over.program)})
        del work
        leave(0)
    if end is None:
        return
    # it says how it ended before it makes safe: whoever asks it to stop from now on comes after that
    was_told = True
    try:
        channel.send({"end": {**vars(end), "outcome": str(end.outcome)}})
    except OSError:
        was_told = False
    work.put_away()
    del work
    leave(0 if was_told else NOT_TOLD)


def _file_of(spec: RunnerSpec) -> Path:
    if spec.file is not None:
        return spec.file
    if spec.request.service == DIRECT_CONTROL:
        return spec.settings.services / "-"
    from ..catalogue import catalogue  # recorded by a release before 0.5

    folder = spec.settings.services
    return next((f for f in catalogue.files(folder) if spec.request.service in catalogue.names_in(f)), folder / "-.py")


def _inheritance() -> tuple[object, ...]:
    """What this process' own programs would get from it, or find held by it, besides environment and umask."""
    ignored = proc_status("SigIgn")
    return Limits.of(0), ignored, os.listdir("/proc/self/fd")


def _takes(function: Callable[..., Any]) -> list[str]:
    """The names of what a function takes."""
    if type(function) is FunctionType and not vars(function).keys() & {"__wrapped__", "__signature__"}:
        code = function.__code__
        if not code.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
            return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    return list(signature(function).parameters)


def _has_threads() -> bool:
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


class _HandOver(BaseException):
    """The function gave a program, and its process has nothing more to do: the runner runs that."""

    def __init__(self, program: Prepared) -> None:
        self.program = program


class Work:
    """One call of a service's function."""

    def __init__(self, spec: RunnerSpec, channel: Channel) -> None:
        self._spec = spec
        self._process = os.getpid()
        self._stop = Stop(channel)
        self._artifacts = Artifacts(spec.settings)
        self._file = _file_of(spec)
        self._engine = JobEngine(spec.store, spec.name, spec.request, self._stop, self._artifacts, channel)
        self._engine.run_program = self._run_well
        self.job = Job(self._engine)
        note = noting_programs(spec.folder, spec.store.layout.hashes)
        self._programs = Programs(self._stop, channel, note)
        self._instruments = OpenInstruments(spec.settings, self._engine)
        self._callbacks, self._inheritance = atexit._ncallbacks(), _inheritance()

    def end(self) -> End | None:
        """Call the function and make an end of whatever comes of it; None in a fork of this process."""
        try:
            end = self._called()
        except _HandOver:
            raise
        except BaseException as error:
            if os.getpid() != self._process:
                raise
            self._stop.armed = False
            end = self._end_of(error)
        self._stop.armed = False  # what is being made safe is not interrupted
        return end if os.getpid() == self._process else None

    def put_away(self) -> None:
        """Make safe and close what is open; the last of the plot."""
        self._instruments.put_away()
        with contextlib.suppress(Exception):
            self._engine.close_recorder()

    def _called(self) -> End:
        self._stop.listen()
        self._engine.began = time.monotonic()
        self._stop.armed = True
        self._stop.check()
        if self._spec.request.service == DIRECT_CONTROL:
            return self._held()
        if self._spec.request.service == LAB_SESSION:
            return self._in_session()
        if self._spec.request.service == LAB_TASK:
            return self._task()
        declaration, service = self._declared()
        inputs = self._artifacts.resolve(service.inputs, self._spec.request.inputs, self._spec.name)
        inputs = self._instruments.set_up(service.instruments, inputs)
        result = declaration.function(self.job, **inputs)
        if os.getpid() != self._process:
            return ending.completed({})
        if isinstance(result, Program):
            self._stop.armed = False
            program = self._prepare(result)
            if self._untouched():
                raise _HandOver(program)
            self._stop.armed = True
            self._stop.check()
            return ending.of_run(
                self._programs.run(program, self._engine.show_progress),
                service.outputs,
                self._hand_on,
                self._spec.confinement.confined,
            )
        return self._outputs(service, result)

    def _held(self) -> End:
        """Its instrument is in the hands of whoever took it."""
        from . import holding  # no other job needs that

        service, inputs = self._spec.service, self._spec.request.inputs
        assert service is not None
        sys.path.append(str(self._spec.settings.services))  # drivers of this lab's own lie beside its services
        self._instruments.set_up(service.instruments, inputs)
        holding.serve(self.job, self._instruments.first, self._spec.store, inputs["seconds"])
        return ending.completed({})

    def _in_session(self) -> End:
        """A remote lab is somebody's for a time."""
        from . import session  # no other job needs that

        spec = self._spec
        assert spec.service is not None
        session.judge_wanted(spec.request, spec.store)
        sys.path.append(str(spec.settings.services))
        self._instruments.set_up(spec.service.instruments, spec.request.inputs)
        opened = {name.removeprefix(ON_INSTRUMENT): one for name, one in self._instruments.by_input.items()}
        session.serve(self.job, spec.store, spec.settings, spec.request, opened)
        return ending.completed({})

    def _task(self) -> End:
        """A function of a remote lab's, for a session of it."""
        from . import task  # no other job needs that

        spec = self._spec
        task.run(self.job, spec.store, spec.settings, spec.request)
        return ending.completed({})

    def _prepare(self, program: Program) -> Prepared:
        """Raises NotThere; JobFailed: the sessionToken would stand where every account of the machine may read it."""
        if self._spec.request.signature.get("session_token") and self.job.session_token_file.is_file():
            token = self.job.session_token
            if any(token in argument for argument in program.arguments):
                raise JobFailed(
                    "The sessionToken is put into no argument list, which every account of the machine may read: give"
                    f" {Path(program.program).name} job.session_token_file."
                )
        return prepare(program, self.job.data, self.job.result_file, self._file)

    def _run_well(self, program: Program, say: Say) -> str:
        """`Job.run`."""
        if os.getpid() != self._process:
            raise JobFailed(
                "job.run works in the job's own process only, not in one that it forked: use a thread, or subprocess."
            )
        try:
            ran = self._programs.run(self._prepare(program), say)
        except NotThere as error:
            raise JobFailed(str(error)) from None
        confined = self._spec.confinement.confined
        if why := ending.refusal(ran.status, ran.program.success, ran.program.name, ran.printed, confined):
            raise JobFailed(why)
        return ran.printed

    def _untouched(self) -> bool:
        """Whether nothing is left here that a program would miss: then this process may leave before it."""
        return (
            not self._instruments.opened
            and not _has_threads()
            and atexit._ncallbacks() == self._callbacks
            and not children()
            and _inheritance() == self._inheritance
        )

    def _declared(self) -> tuple[Declaration, Service]:
        """The function as its file has it now, and the service as the execution was started with.

        Raises:
            JobFailed: there is no such service any more, or its inputs are others.
        """
        request = self._spec.request
        try:
            declaration = import_file(self._file).get(request.service)
        except Misconfigured as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            raise JobFailed(f"The service {request.service} is not available: {error}") from None
        if declaration is None:
            raise JobFailed(f"The service {request.service} is no longer declared in {self._file.name}.")
        if (digest := hash_of_source(self._file)) != self._spec.made_by.get("sha256"):
            timeline.note(self._spec.folder, "imported", file=self._file.name, sha256=digest)
        service = self._spec.service or declaration.signature()
        takes = _takes(declaration.function)[1:]
        changed = takes != [p.name for p in service.inputs]
        if not changed and self._file.stat().st_mtime > request.created:
            changed = declaration.signature().inputs != service.inputs
        if changed:
            raise JobFailed(
                f"The service {request.service} was changed while this execution waited: its inputs are others now"
                f" ({', '.join(takes) or 'none'}). Start it again."
            )
        return declaration, service

    def _note_fault(self, error: JobFailed) -> None:
        """What an instrument didn't do as it should, in that instrument's log."""
        errors = sys.modules.get("labwaiter.instruments.errors")
        if errors is None or not isinstance(error, errors.InstrumentError):
            return
        for name in self._spec.request.instruments:
            if error.message.startswith(name):
                Upkeep(self._spec.store.layout).note(name, FAULT, text=error.message, job=self._spec.name)

    @property
    def _hand_on(self) -> ending.HandOn:
        return partial(ending.hand_on, self._spec.store.root, self._spec.name)

    def _outputs(self, service: Service, result: Any) -> End:
        if not service.outputs:
            return ending.completed({})
        names = [p.name for p in service.outputs]
        if not isinstance(result, Outputs) or not all(hasattr(result, name) for name in names):
            return ending.failed(
                f"The work ended without its outputs: it must return its Outputs with {', '.join(names)}."
            )
        return ending.of_values({name: getattr(result, name) for name in names}, service.outputs, self._hand_on)

    def _end_of(self, error: BaseException) -> End:
        if isinstance(error, Aborted):
            return ending.aborted()
        if isinstance(error, JobFailed):  # the service's own sentence for its user
            self._note_fault(error)
            if error.__cause__ is not None:
                traceback.print_exception(error)
            return ending.failed(error.message)
        if isinstance(error, (NotThere, InvalidParameter)):
            print(error, file=sys.stderr)
            return ending.failed(str(error))
        if isinstance(error, SystemExit):
            return ending.failed(f"The work left with {error.code!r} before it gave its outputs.")
        traceback.print_exception(error)
        return ending.of_exception(error, self._spec.confinement.confined)

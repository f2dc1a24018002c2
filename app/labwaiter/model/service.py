"""What a user writes a service with, and the signature as data.

    from labwaiter import Job, Outputs, Range, Script, service

    class Waited(Outputs):
        result: str

    @service("Waiter", namespace="http://waiter.sintef.no/")
    def startWaiter(job: Job, secondsToWait: Annotated[int, Range(0, 86400, "s")] = 300) -> Waited:
        \"\"\"Wait for a while.\"\"\"
        return Script("wait_a_while.py", secondsToWait, job.status_file, job.result_file)

The function's name is the start operation's, its parameters after `job` are the inputs, the
fields of its `Outputs` are the outputs. Everything that a face, the supervisor or a page needs to know
of it stands in `Service`, which is data and can be written down: they never import a service's file.
The function itself is called in the process of a job, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, dataclass_transform

from .. import settings
from ..errors import InvalidParameter, Misconfigured, MissingParameter
from . import contract
from .parameter import Driver, Length, Parameter, Range, Suffix, Unit, shown


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Outputs:
    """Base of a service's outputs: one annotated field each, no defaults.

    class Held(Outputs):
        reached: Annotated[float, Unit("°C")]
    """

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or cls.__name__  # dataclass() would spell out the signature, which takes a job longer
        dataclass(frozen=True, kw_only=True)(cls)


# what a job may be limited to, by its keyword here, from and to; each is a setting, too
MOST = {
    "cpu_seconds": settings.CPU_SECONDS,
    "memory": settings.MEMORY,
    "open_files": settings.OPEN_FILES,
    "processes": settings.PROCESSES,
    "file_size": settings.FILE_SIZE,
    "cpus": settings.CPUS,
}


MESSAGES_MAX = 12  # that a service may declare
MESSAGE_LONGEST, MESSAGE_WORDS_LONGEST = 60, 200  # characters: buttons show them


@dataclass(frozen=True)
class Service:
    """One SOAP service as data: its signature and its rules."""

    name: str  # "Waiter"; its addresses are /waiter/Waiter and /Waiter
    namespace: str  # the WSDL's target namespace, absolute
    operation: str  # the start operation, "startWaiter"
    inputs: tuple[Parameter, ...]  # the service's own, without serviceID and its kin
    outputs: tuple[Parameter, ...]  # the service's own, without status_base64
    doc: str  # the function's docstring
    file: Path  # where it was written
    limit: float | None = None  # s a job may run
    stall: float | None = None  # s a job may run without progress
    grace: float = 5.0  # s between SIGTERM and SIGKILL
    at_once: int | None = None  # jobs of this service running at a time
    unchanged: bool = False  # may answer UNCHANGED
    # what its jobs may use; None: what the deployment's settings say
    cpu_seconds: int | None = None  # of each process
    memory: int | None = None  # bytes, of each process, and in a cgroup of all together
    open_files: int | None = None  # of each process
    processes: int | None = None  # and threads
    file_size: int | None = None  # bytes of each file
    cpus: float | None = None  # processors kept busy, in a cgroup
    user: str | None = None  # the account that its jobs run as; "": the supervisor's own
    session_token: bool = False  # its jobs get their caller's token
    # what it understands by notifyService, as its pages' buttons say it: a message, and what that does, in words
    messages: tuple[tuple[str, str], ...] = ()
    checks: bool = False  # whether it has a `check` of its own for a start's inputs

    def accept(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs as the function will get them: defaults filled in, in the signature's order.

        Raises:
            MissingParameter, InvalidParameter: see `Parameter.accept`; also for an input that
                this service doesn't have.
        """
        strange = [name for name in inputs if name not in {p.name for p in self.inputs}]
        if strange:
            names = ", ".join(p.name for p in self.inputs) or "none"
            raise InvalidParameter(f"{self.operation} has no input {shown(strange[0])}; its inputs are: {names}.")
        return {p.name: p.accept(inputs.get(p.name)) for p in self.inputs}

    @cached_property
    def operations(self) -> dict[str, contract.Operation]:
        """Its operations by their names, the start operation first."""
        words = self.doc or f"Start an execution of {self.name}."
        return contract.operations(self.operation, words, self.inputs, self.outputs)

    @property
    def instruments(self) -> tuple[Parameter, ...]:
        """The inputs that are instruments."""
        return tuple(p for p in self.inputs if p.kind == "instrument")

    def not_declared(self, message: str) -> str:
        """Why a message is none that the service declares, in a sentence; "" where it is, or it declares none."""
        names = [name for name, _ in self.messages]
        if not names or message in names:
            return ""
        return f"{self.name} understands {in_a_row(names, 'and')}, not {shown(message)}."

    @property
    def placeholders(self) -> dict[str, Any]:
        """What the outputs hold until the job has completed."""
        return {p.name: p.placeholder for p in self.outputs}

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold of it, for `service_of`."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**own, "file": str(self.file), **{k: [vars(p) for p in own[k]] for k in _PARAMETERS}}

    @cached_property
    def written(self) -> dict[str, Any]:
        """`as_data` as JSON reads it again: equal to the signature of an execution that began with this very one."""
        return dict(json.loads(json.dumps(self.as_data())))

    @property
    def form(self) -> tuple[object, ...]:
        """What its calls and answers look like: two signatures of one form are the same to a poll."""
        return self.name, self.namespace, self.operation, tuple(p.name for p in self.outputs)


_PARAMETERS = ("inputs", "outputs")
_LISTS = ("choices", "drivers", "endings")


def service_of(data: dict[str, Any]) -> Service:
    """The service that `Service.as_data` wrote down; what a later release added to it is passed over.

    Raises:
        KeyError, TypeError: it is none.
    """
    values = {f.name: data[f.name] for f in dataclasses.fields(Service) if f.name in data}
    values |= {k: tuple(parameter_of(p) for p in values[k]) for k in _PARAMETERS}
    values["messages"] = tuple((str(name), str(words)) for name, words in values.get("messages", ()))
    return Service(**{**values, "file": Path(values["file"])})


def parameter_of(data: dict[str, Any]) -> Parameter:
    """The parameter that was written down. Raises TypeError."""
    values = {f.name: data[f.name] for f in dataclasses.fields(Parameter) if f.name in data}
    return Parameter(**values | {k: tuple(values[k]) for k in _LISTS if k in values})


@dataclass(frozen=True)
class Declaration:
    """What `@service` leaves on a function, as `__labwaiter__`: the signature is read when it is asked for."""

    name: str
    function: Callable[..., Any]
    check: Callable[..., str | None] | None
    needs: tuple[str, ...]
    rules: dict[str, Any]  # namespace, limit, stall, grace, at_once, unchanged, and what its jobs may use and get

    def signature(self) -> Service:
        """The function and its annotations as data.

        Raises:
            Misconfigured: they can't be a service's, or a program that it needs is not installed; the
                message says which.
        """
        if why := lacking(self.name, self.needs):
            raise Misconfigured(why)
        return self.described()

    def described(self) -> Service:
        """As `signature`, whatever is installed."""
        return read_signature(self.function, name=self.name, checks=self.check is not None, **self.rules)


def lacking(service: str, needs: Collection[str]) -> str | None:
    """Which program that a service needs is not installed, in a sentence; None where all are."""
    for program in needs:
        if shutil.which(program) is None:
            return f"{service} needs the program {program}, which is not installed on this machine."
    return None


def service(
    name: str,
    *,
    namespace: str,
    limit: float | None = None,
    stall: float | None = None,
    grace: float = 5.0,
    at_once: int | None = None,
    unchanged: bool = False,
    check: Callable[..., str | None] | None = None,
    needs: str | Collection[str] = (),
    cpu_seconds: int | None = None,
    memory: int | None = None,
    open_files: int | None = None,
    processes: int | None = None,
    file_size: int | None = None,
    cpus: float | None = None,
    user: str | None = None,
    session_token: bool = False,
    messages: Sequence[str] | Mapping[str, str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a SOAP service of a function; the function itself stays as it was.

    Args:
        name: an XML name; also the address: /<name in lower case>/<name>.
        namespace: the WSDL's target namespace, an absolute URI.
        limit: seconds a job may run; then it is stopped and has failed.
        stall: seconds a job may run without any progress; then likewise.
        grace: seconds between the polite stop (SIGTERM) and the sure one (SIGKILL).
        at_once: how many jobs of this service may run at a time; more wait in the queue.
        unchanged: let polls be answered with UNCHANGED where the page has not changed.
        check: called with the inputs at the start, in a process of its own: a sentence refuses the
            start, None lets it pass. It must be quick.
        needs: the program, or the programs, that must be installed: without one of them the service is not offered.
        cpu_seconds: seconds of CPU time that each process of a job may use. This and what follows wins over the
            deployment's settings (JOB_CPU_SECONDS and so on); docs/security.md says where which of it holds.
        memory: bytes of memory that each process may use, and all together where the job has a cgroup.
        open_files: files that each process may have open.
        processes: processes and threads that a job may have.
        file_size: bytes that each file may have.
        cpus: processors that a job may keep busy, where it has a cgroup.
        user: the account that jobs run as, where the supervisor is root; "": not another one, whatever JOB_USER is.
        session_token: let jobs have their caller's token: `job.session_token`, `job.session_token_file`.
        messages: what jobs understand by notifyService: their pages have a button for each, and one for an abort.
            With words of what each does: `{"PAUSE": "The nozzle rises and waits."}`.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        rules = {
            "namespace": namespace,
            "limit": limit,
            "stall": stall,
            "grace": grace,
            "at_once": at_once,
            "unchanged": unchanged,
            "cpu_seconds": cpu_seconds,
            "memory": memory,
            "open_files": open_files,
            "processes": processes,
            "file_size": file_size,
            "cpus": cpus,
            "user": user,
            "session_token": session_token,
            "messages": messages,
        }
        programs = (needs,) if isinstance(needs, str) else tuple(needs)
        function.__labwaiter__ = Declaration(name, function, check, programs, rules)  # type: ignore[attr-defined]
        return function

    return declare


def read_signature(function: Callable[..., Any], *, name: str, namespace: str, **rules: Any) -> Service:
    """The `Service` that a function and its annotations describe.

    Raises:
        Misconfigured: what can't be served, in a sentence that names the parameter.
    """
    where = f"{name}: {function.__name__}"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise Misconfigured(f"A service's name must be letters, digits and _, at most 64: not {shown(name)}.")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", namespace):
        raise Misconfigured(f"{name}: the namespace must be an absolute URI, not {shown(namespace)}.")
    if function.__name__.removesuffix("Response") in (o.name for o in contract.OF_EVERY_SERVICE):
        raise Misconfigured(f"{name}: {function.__name__} is labwaiter's own; name the function start{name}.")
    _judge_rules(name, rules)
    rules["messages"] = _messages(name, rules.get("messages", ()))
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Misconfigured(f"{where} has an annotation that can't be read: {error}.") from error
    names = list(inspect.signature(function).parameters.values())
    if not names or names[0].name != "job":
        raise Misconfigured(f"{where} needs `job: Job` as its first parameter.")
    inputs = tuple(read_input(where, p, hints) for p in names[1:])
    mandatory = [p.mandatory for p in inputs if p.kind != "instrument"]  # these are optional where one fits
    if mandatory != sorted(mandatory, reverse=True):
        raise Misconfigured(f"{where}: inputs with a default come after those without.")
    no_outputs: tuple[Parameter, ...] = ()
    result = hints.get("return")
    if result in (None, type(None)):
        outputs = no_outputs
    elif isinstance(result, type) and issubclass(result, Outputs):
        outputs = tuple(_output(where, result, f.name) for f in dataclasses.fields(result))  # type: ignore[arg-type]
    else:
        raise Misconfigured(f"{where} must return a class of its own that inherits Outputs, or None.")
    if rules.get("user") and any(p.kind == "instrument" for p in inputs):
        raise Misconfigured(
            f"{name}: user= is for services without instruments, which the supervisor's own account alone may lease:"
            " have what needs another account in a service of its own."
        )
    return Service(
        name=name,
        namespace=namespace,
        operation=function.__name__,
        inputs=inputs,
        outputs=outputs,
        doc=inspect.getdoc(function) or "",
        file=Path(function.__code__.co_filename),
        **rules,
    )


def _judge_rules(name: str, rules: dict[str, Any]) -> None:
    """Raises Misconfigured for what a job can't be limited to."""
    for rule, (low, high) in MOST.items():
        value = rules.get(rule)
        kinds = (int, float) if rule == "cpus" else (int,)
        if value is not None and (type(value) not in kinds or not low <= value <= high):
            kind = "a number" if rule == "cpus" else "a whole number"
            raise Misconfigured(f"{name}: {rule} must be {kind} from {low:,} to {high:,}, not {shown(value)}.")
    for rule in ("limit", "stall", "grace"):
        value = rules.get(rule)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and (value > 0 or (value == 0 and rule == "grace"))):
            raise Misconfigured(f"{name}: {rule} must be a number of seconds, not {shown(value)}.")
    at_once = rules.get("at_once")
    if at_once is not None and (type(at_once) is not int or at_once < 1):
        raise Misconfigured(f"{name}: at_once must be a whole number from 1, not {shown(at_once)}.")
    user = rules.get("user")
    if user and (not isinstance(user, str) or not re.fullmatch(settings.ACCOUNT, user)):
        raise Misconfigured(f"{name}: user must be the name of an account of this machine, not {shown(user)}.")


def _messages(name: str, declared: Any) -> tuple[tuple[str, str], ...]:
    """The messages that a service declares, with their words. Raises Misconfigured."""
    is_row = isinstance(declared, (list, tuple, Mapping))  # whose order is the same in every process
    if not is_row or not all(isinstance(message, str) for message in declared):
        raise Misconfigured(f'{name}: messages= must be a list of texts, or texts with their words: {{"PAUSE": "…"}}.')
    with_words = declared if isinstance(declared, Mapping) else dict.fromkeys(declared, "")
    if len(with_words) < len(declared) or len(with_words) > MESSAGES_MAX:
        raise Misconfigured(f"{name}: messages= must be different ones, {MESSAGES_MAX} at most.")
    for message, words in with_words.items():
        for text, most, may_be_empty in ((message, MESSAGE_LONGEST, False), (words, MESSAGE_WORDS_LONGEST, True)):
            is_line = isinstance(text, str) and text.isprintable() and text == text.strip() and len(text) <= most
            if not is_line or not (text or may_be_empty):
                what = "the words of a message" if may_be_empty else "a message that is declared"
                raise Misconfigured(
                    f"{name}: {what} must be one line of text of {0 if may_be_empty else 1} to {most} characters,"
                    f" without blanks at its ends: not {shown(text)}."
                )
    return tuple(with_words.items())


def in_a_row(words: Collection[str], last: str) -> str:
    """Words as a sentence has them: “PAUSE, RESUME and STOP”."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def read_input(where: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> Parameter:
    """A function's parameter as data. Raises Misconfigured."""
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise Misconfigured(f"{where}: *{parameter.name} can't be an input; name each input.")
    if parameter.name not in hints:
        raise Misconfigured(f"{where}: the input {parameter.name} needs a type, e.g. {parameter.name}: int.")
    described = describe(where, parameter.name, hints[parameter.name])
    if parameter.default is parameter.empty or described.kind == "instrument":
        return described
    optional = dataclasses.replace(described, mandatory=False)
    try:
        default = None if parameter.default is None else described.accept(parameter.default)
    except MissingParameter:
        default = parameter.default  # an empty text is a fair default
    except InvalidParameter as error:
        raise Misconfigured(f"{where}: the default of {parameter.name} is refused: {error.message}") from error
    return dataclasses.replace(optional, default=default)


def _output(where: str, result: type[Outputs], name: str) -> Parameter:
    hints = typing.get_type_hints(result, include_extras=True)
    described = describe(where, name, hints[name])
    if described.kind == "instrument":
        raise Misconfigured(f"{where}: the output {name} can't be an instrument.")
    return described


def describe(where: str, name: str, annotation: Any) -> Parameter:
    """One annotation as data: str, int, float, bool, Path or Literal of texts, with Range, Unit, Length or Suffix."""
    if name in contract.RESERVED or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise Misconfigured(f"{where}: {name} is labwaiter's own name or no XML name; choose another.")
    extras: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is Annotated:
        annotation, *rest = typing.get_args(annotation)
        extras = tuple(rest)
    foreign = tuple(extra.name for extra in extras if isinstance(extra, Driver))
    if foreign or getattr(annotation, "__labwaiter_instrument__", False):
        drivers = foreign or (f"{annotation.__module__}:{annotation.__qualname__}",)
        return Parameter(name, "instrument", drivers=drivers, mandatory=False)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(inner) == 1:  # `str | None = None`: an optional input without a default value
            described = describe(where, name, inner[0])
            return _with_extras(where, described, extras)
    if typing.get_origin(annotation) is Literal:
        choices = typing.get_args(annotation)
        if not all(isinstance(c, str) and c.strip() for c in choices):
            raise Misconfigured(f"{where}: the choices of {name} must be texts.")
        return _with_extras(where, Parameter(name, "text", choices=choices), extras)
    kinds = {str: "text", int: "int", float: "float", bool: "boolean", Path: "file"}
    if annotation not in kinds:
        raise Misconfigured(
            f"{where}: {name} has a type that workflow editors don't know; use str, int, float, bool, Path"
            ' or Literal["one", "other"].'
        )
    return _with_extras(where, Parameter(name, kinds[annotation]), extras)


def _with_extras(where: str, described: Parameter, extras: tuple[Any, ...]) -> Parameter:
    for extra in extras:
        kinds = {Range: ("int", "float"), Unit: ("int", "float"), Length: ("text",), Suffix: ("file",)}
        fits = kinds.get(type(extra))
        if fits is None:
            continue  # somebody else's annotation
        if described.kind not in fits or described.choices:
            raise Misconfigured(f"{where}: {type(extra).__name__} doesn't fit {described.name}, a {described.kind}.")
        if isinstance(extra, Unit):
            described = dataclasses.replace(described, unit=extra.unit)
        elif isinstance(extra, Suffix):
            described = dataclasses.replace(described, endings=extra.endings)
        elif isinstance(extra, Range):
            described = dataclasses.replace(
                described, low=extra.low, high=extra.high, unit=extra.unit or described.unit
            )
        else:
            described = dataclasses.replace(described, low=extra.low, high=extra.high)
    low, high = described.low, described.high
    if low is not None and high is not None and not low <= high:
        raise Misconfigured(f"{where}: nothing fits {described.name}, which may be from {low} to {high}.")
    return described

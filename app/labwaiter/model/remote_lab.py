"""Remote labs: what a file of `app/labs/` declares, and the same as data.

    \"\"\"A silicon diode: its current at voltages up to 1 V.\"\"\"

    from labwaiter import Lab

    lab = Lab(instruments=["meter"], controls={"meter.volts": Range(0, 1)}, actions=["meter.output"])

    @lab.on_start
    def prepare(session):
        session.instrument("meter").compliance = 0.01

A file is imported by its sessions' processes, and by one that is there for that alone: all that anybody else needs
of it stands in `RemoteLab`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

from ..errors import Misconfigured
from .lab_task import GRACE, GRACE_MAX, UNIQUE, TaskDeclaration, declaration_of
from .panel import Item, Panel, What, panel_of
from .parameter import Range, shown
from .service import read_input

Function = TypeVar("Function", bound=Callable[..., Any])
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")  # of a lab: it stands in addresses
TAKEN = frozenset({"api", "files", "ldl", "operator", "weblab"})  # names below the context root that are others'
START_LIMIT, DISPOSE_LIMIT = 60.0, 30.0  # s
LIMIT_MAX = 3600.0  # s


@dataclass(frozen=True)
class RemoteLab:
    """One remote lab as data."""

    name: str  # its file's, without .py
    title: str  # the first line of its docstring
    doc: str  # the rest
    file: Path
    instruments: dict[str, tuple[str, ...]]  # by the lab's name for it: those of lab.toml, of which one will do
    # "meter.volts": what its people see and set; None: all that the drivers declare
    readings: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None  # of the drivers'
    limits: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)  # narrower ones, of controls
    own: Panel = Panel()  # the lab's own actions
    tasks: tuple[TaskDeclaration, ...] = ()
    page: str = ""  # its own page: a template, or "module:blueprint"; "": ours
    start_limit: float = START_LIMIT  # s that on_start may take
    dispose_limit: float = DISPOSE_LIMIT  # s that on_dispose may take

    @property
    def instruments_named(self) -> tuple[str, ...]:
        """All instruments of lab.toml that it names."""
        return tuple(dict.fromkeys(choice for choices in self.instruments.values() for choice in choices))

    def panel(self, name: str, declared: Panel) -> Panel:
        """What its people may use of an instrument of which the driver declares all this.

        Raises:
            Misconfigured: the lab names what the driver doesn't declare, or a limit doesn't fit.
        """
        wanted = {What.READING: self.readings, What.CONTROL: self.controls, What.ACTION: self.actions}
        items = []
        for item in declared.items:
            of_kind, full = wanted[item.what], f"{name}.{item.name}"
            if of_kind is None or full in of_kind:
                items.append(self._limited(item, full))
            elif item.what is What.CONTROL and self.readings is not None and full in self.readings:
                items.append(dataclasses.replace(item, what=What.READING, inputs=()))
        for what, names in wanted.items():
            known = [item.name for item in declared.items if item.what is what or what is What.READING]
            for full in names or ():
                role, _, wished = full.partition(".")
                if role == name and wished not in known:
                    of_them = ", ".join(n.name for n in declared.items if n.what is what) or "none"
                    raise Misconfigured(
                        f"{self.file.name} names the {what} {full}, which the driver of {name} doesn't declare;"
                        f" there are: {of_them}."
                    )
        return Panel(tuple(items))

    def _limited(self, item: Item, full: str) -> Item:
        if full not in self.limits:
            return item
        low, high = self.limits[full]
        value = item.inputs[0]
        if value.kind not in ("int", "float"):
            raise Misconfigured(f"{self.file.name} gives {full} limits, but it is no number.")
        low = value.low if low is None else low
        high = value.high if high is None else high
        if (value.low is not None and low is not None and low < value.low) or (
            value.high is not None and high is not None and high > value.high
        ):
            raise Misconfigured(f"{self.file.name} gives {full} wider limits than its driver: {value.limits}.")
        return dataclasses.replace(item, inputs=(dataclasses.replace(value, low=low, high=high),))

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold of it, for `remote_lab_of`."""
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        tasks = [task.as_data() for task in self.tasks]
        return {**own, "file": str(self.file), "own": self.own.as_data(), "tasks": tasks}


def remote_lab_of(data: Mapping[str, Any]) -> RemoteLab:
    """The remote lab that `as_data` wrote down. Raises KeyError, TypeError, ValueError: it is none."""
    values = {each.name: data[each.name] for each in dataclasses.fields(RemoteLab) if each.name in data}
    values["file"], values["own"] = Path(values["file"]), panel_of(values["own"])
    values["tasks"] = tuple(declaration_of(task) for task in values.get("tasks", ()))
    values["instruments"] = {name: tuple(choice) for name, choice in values["instruments"].items()}
    values["limits"] = {name: (low, high) for name, (low, high) in values["limits"].items()}
    for kind in ("readings", "controls", "actions"):
        values[kind] = None if values[kind] is None else tuple(values[kind])
    return RemoteLab(**values)


class TasksHere(Protocol):
    """What can be done with tasks in the process that has imported the lab's file."""

    def start(self, task: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Start one: what its `delay` gives."""


class TaskFunction:
    """A function of a lab's that may be run as a task: in a process of its own, which outlives whoever started it.

    Called as any function, it is one: `sweep(session, top=1)` runs it here and now.
    """

    def __init__(self, lab: Lab, function: Callable[..., Any], unique: str | None, grace: float) -> None:
        self._lab, self.function, self.unique, self.grace = lab, function, unique or "", grace
        self.name = function.__name__
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Start it as a task of this session, and don't wait: the task.

        Args:
            args, kwargs: what the function takes after `session`: numbers, texts, switches, None, lists and dicts.

        Raises:
            TypeError: the function doesn't take these, or JSON can't hold them.
            AlreadyRunning: it is unique, and one runs.
            ServiceError: it can't be started now; `message` says why.
            RuntimeError: there is no session here.
        """
        inspect.signature(self.function).bind(None, *args, **kwargs)
        if self._lab.tasks_here is None:
            raise RuntimeError(f"{self.name}.delay works where a session is: in on_start, an action or a task of it.")
        return self._lab.tasks_here.start(self.name, args, kwargs)

    def run_sync(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """As `delay`, and wait for its end: the task.

        Args:
            timeout: s; None: as long as it takes.

        Raises:
            TimeoutError: it goes on.
        """
        task = self.delay(*args, **kwargs)
        task.join(timeout)
        return task


class Lab:
    """A remote lab, as its file declares it; `on_start`, `on_dispose`, `action` and `task` are decorators."""

    def __init__(
        self,
        instruments: Sequence[str] | Mapping[str, str | Sequence[str]],
        *,
        readings: Sequence[str] | None = None,
        controls: Sequence[str] | Mapping[str, Range | None] | None = None,
        actions: Sequence[str] | None = None,
        tasks: Sequence[str] = (),
        page: str = "",
        start_limit: float = START_LIMIT,
        dispose_limit: float = DISPOSE_LIMIT,
    ) -> None:
        """
        Args:
            instruments: their names in lab.toml; or by names of the lab's own, each with one of lab.toml, or with
                several of which one will do: {"meter": ["smu1", "smu2"]}. So many people can be in at once.
            readings: what its people may see of what the drivers declare, "meter.volts"; unless given, all of it.
            controls: likewise what they may set; with narrower limits: {"meter.volts": Range(0, 1)}.
            actions: likewise what they may have done.
            tasks: those of its tasks that its people may start and stop themselves; their inputs are declared as a
                service's are. Unless given, none: the lab's own code starts them.
            page: the page of its people, if it is not ours.
            start_limit: seconds that on_start may take.
            dispose_limit: seconds that on_dispose may take; then it is ended, and the instruments are made safe.
        """
        self._instruments, self._readings, self._controls, self._actions = instruments, readings, controls, actions
        self._tasks, self._page = tasks, page
        self._start_limit, self._dispose_limit = start_limit, dispose_limit
        self.start_function: Callable[[Any], Any] | None = None
        self.dispose_function: Callable[[Any], Any] | None = None
        self.action_functions: dict[str, Callable[..., Any]] = {}
        self.task_functions: dict[str, TaskFunction] = {}
        self.tasks_here: TasksHere | None = None  # set by a process of a session's

    def on_start(self, function: Function) -> Function:
        """Have `function(session)` called before somebody is let in, with the instruments open."""
        self.start_function = function
        return function

    def on_dispose(self, function: Function) -> Function:
        """Have `function(session)` called after each session, however it ended; before the instruments are made safe.

        It runs in a process of its own, once at least: where the machine lost power in the middle, once more.
        """
        self.dispose_function = function
        return function

    def action(self, function: Function) -> Function:
        """Have the lab's people call `function(session, …)`: its inputs are declared as a service's are.

        What it returns is shown to them: None, a number, a text, a boolean, or a list or dict of these.
        """
        self.action_functions[function.__name__] = function
        return function

    @overload
    def task(self, function: Callable[..., Any], /) -> TaskFunction: ...
    @overload
    def task(
        self, function: None = None, /, *, unique: str | None = None, grace: float = GRACE
    ) -> Callable[[Callable[..., Any]], TaskFunction]: ...
    def task(
        self, function: Callable[..., Any] | None = None, /, *, unique: str | None = None, grace: float = GRACE
    ) -> Any:
        """Have `function(session, …)` run as a task by its `delay` or `run_sync`, for what takes longer than a second.

        What it returns is the task's `result`: None, a number, a text, a switch, or a list or dict of these.

        Args:
            unique: "global": one at a time in the whole lab; "user": one at a time of each user.
            grace: seconds from `stop()` until a task that goes on is ended.
        """

        def declare(function: Callable[..., Any]) -> TaskFunction:
            task = self.task_functions[function.__name__] = TaskFunction(self, function, unique, grace)
            return task

        return declare if function is None else declare(function)

    def described(self, name: str, doc: str, file: Path) -> RemoteLab:
        """The lab as data. Raises Misconfigured: it can't be offered; the message says why."""
        where = file.name
        if not NAME.fullmatch(name):
            raise Misconfigured(
                f"{where}: a remote lab's name stands in addresses: small letters, digits, - and _, beginning with a"
                f" letter, at most 40, not {shown(name)}."
            )
        if name in TAKEN:
            raise Misconfigured(f"{where}: {name} stands in addresses of labwaiter's own; call the file otherwise.")
        title, _, rest = inspect.cleandoc(doc).partition("\n")
        instruments = _instruments(where, self._instruments)
        limits: dict[str, tuple[float | None, float | None]] = {}
        if isinstance(self._controls, Mapping):
            for control, limit in self._controls.items():
                if isinstance(limit, Range):
                    limits[control] = (limit.low, limit.high)
                elif limit is not None:
                    raise Misconfigured(f"{where}: the limits of {control} must be a Range or None.")
        given = {"readings": self._readings, "controls": self._controls, "actions": self._actions}
        items = {kind: _items(where, kind, wanted, instruments) for kind, wanted in given.items()}
        for limit_name in ("start_limit", "dispose_limit"):
            seconds = getattr(self, f"_{limit_name}")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LIMIT_MAX:
                raise Misconfigured(f"{where}: {limit_name} must be a number of seconds, at most {LIMIT_MAX:g}.")
        if not isinstance(self._page, str):
            raise Misconfigured(f"{where}: page must be a text.")
        for hook, called in (("on_start", self.start_function), ("on_dispose", self.dispose_function)):
            if called is not None:
                _judge_hook(where, hook, called)
        own = tuple(_action(where, function) for function in self.action_functions.values())
        for item in own:
            if item.name in instruments:
                raise Misconfigured(f"{where}: the action {item.name} has the name of an instrument; rename one.")
        return RemoteLab(
            name=name,
            title=title.removesuffix(".") or name,
            doc=rest.strip(),
            file=file,
            instruments=instruments,
            limits=limits,
            own=Panel(own),
            tasks=self._described_tasks(where, {*instruments, *self.action_functions}),
            page=self._page,
            start_limit=float(self._start_limit),
            dispose_limit=float(self._dispose_limit),
            **items,
        )

    def _described_tasks(self, where: str, taken: Collection[str]) -> tuple[TaskDeclaration, ...]:
        if isinstance(self._tasks, str) or not isinstance(self._tasks, Sequence):
            raise Misconfigured(f'{where}: tasks must be a list of names, e.g. ["sweep"].')
        for name in self._tasks:
            if name not in self.task_functions:
                names = ", ".join(self.task_functions) or "none"
                raise Misconfigured(f"{where}: tasks names {shown(name)}; its tasks (@lab.task) are: {names}.")
        described = []
        for name, task in self.task_functions.items():
            if name in taken:
                raise Misconfigured(f"{where}: the task {name} has the name of an instrument or an action; rename one.")
            if task.unique not in UNIQUE:
                raise Misconfigured(f'{where}: unique of {name} must be None, "global" or "user".')
            _judge_plain(where, task.function)
            grace = task.grace
            if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 < grace <= GRACE_MAX:
                raise Misconfigured(f"{where}: grace of {name} must be a number of seconds, at most {GRACE_MAX:g}.")
            parameters = list(inspect.signature(task.function).parameters)
            if not parameters:
                raise Misconfigured(f"{where}: {name} needs `session` as its first parameter.")
            if "timeout" in parameters:
                raise Misconfigured(f"{where}: {name} takes a timeout, which is run_sync's own; rename it.")
            offered = name in self._tasks
            item = _action(where, task.function) if offered else None
            doc = (inspect.getdoc(task.function) or "").partition("\n")[0].removesuffix(".")
            inputs = item.inputs if item is not None else ()
            described.append(TaskDeclaration(name, doc, task.unique, float(grace), offered, inputs))
        return tuple(described)


def _instruments(where: str, given: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(given, str) or not isinstance(given, Sequence | Mapping):
        raise Misconfigured(f'{where}: instruments must be a list of names, e.g. ["meter"].')
    named = given if isinstance(given, Mapping) else {name: name for name in given}
    found = {}
    for name, choice in named.items():
        choices = (choice,) if isinstance(choice, str) else tuple(choice)
        if not isinstance(name, str) or not choices or not all(isinstance(c, str) and c for c in choices):
            raise Misconfigured(f"{where}: the instrument {shown(name)} must stand for a name of lab.toml, or several.")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
            raise Misconfigured(f"{where}: {shown(name)} can be no instrument's name: letters, digits, - and _.")
        found[name] = choices
    if not found:
        raise Misconfigured(f"{where}: a remote lab needs one instrument at least.")
    return found


def _items(where: str, kind: str, wanted: Any, instruments: Mapping[str, Any]) -> tuple[str, ...] | None:
    if wanted is None:
        return None
    if isinstance(wanted, str) or not isinstance(wanted, Sequence | Mapping):
        raise Misconfigured(f'{where}: {kind} must be a list, e.g. ["meter.volts"].')
    for name in wanted:
        role = name.partition(".")[0] if isinstance(name, str) else ""
        if role not in instruments or "." not in name:
            names = ", ".join(instruments)
            raise Misconfigured(
                f"{where}: {kind} names {shown(name)}: write INSTRUMENT.NAME, with one of its instruments ({names})."
            )
    return tuple(wanted)


def _judge_hook(where: str, hook: str, function: Callable[..., Any]) -> None:
    """Raises Misconfigured: it can't be called as a hook is."""
    _judge_plain(where, function)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        takes = inspect.signature(function)
        raise Misconfigured(
            f"{where}: {hook} is called with the session alone, and {function.__name__}{takes} takes something else:"
            f" write def {function.__name__}(session)."
        ) from None


def _judge_plain(where: str, function: Callable[..., Any]) -> None:
    """Raises Misconfigured: to call it does nothing yet."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise Misconfigured(f"{where}: {function.__name__} must be a plain function: without async, await and yield.")


def _action(where: str, function: Callable[..., Any]) -> Item:
    of = f"{where}: {function.__name__}"
    _judge_plain(where, function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Misconfigured(f"{of} has an annotation that can't be read: {error}.") from error
    taken = list(inspect.signature(function).parameters.values())
    if not taken:
        raise Misconfigured(f"{of} needs `session` as its first parameter.")
    inputs = tuple(read_input(of, parameter, hints) for parameter in taken[1:])
    if strange := next((p.name for p in inputs if p.kind in ("instrument", "file")), ""):
        raise Misconfigured(f"{of}: {strange} must be a text, a number, a switch or a choice.")
    doc = (inspect.getdoc(function) or "").partition("\n")[0].removesuffix(".")
    return Item(function.__name__, What.ACTION, doc, "", inputs)

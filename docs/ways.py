"""The ways of a start, a poll, an abort and an order from another machine, stop by stop, as real calls take them.

    .venv/bin/python docs/ways.py [--write | start poll abort order]

It has deployments in a temporary folder (the order's with a redis-server), puts one SOAP request per way through the
WSGI application in this process, and notes each call of a function of labwaiter, here and in the processes behind it.
What these do anyway, while nobody asks for anything, is left out. `--write` puts the ways into docs/architecture.md.

A stop is a file; its reason is the first line of its docstring. An arrow is a call from one file into another; which
may be is said by the layers in pyproject.toml. An import may not go up; a call does where a callback was handed down.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "app" / "labwaiter"
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- docs/ways.py writes from here -->", "<!-- … to here -->"
# s that are watched twice before a way: what goes on in both is done anyway, what in one alone is left of the request
# before. Longer than the pauses between two looks or heartbeats
IDLE = 2.5
PATIENCE = 60.0  # s
SERVICE = '''
from typing import Annotated
from labwaiter import Job, Outputs, Range, service

class Rested(Outputs):
    beats: int

@service("Rest", namespace="http://ways.example/")
def startRest(job: Job, beats: Annotated[int, Range(1, 1000)]) -> Rested:
    """Do nothing for a while."""
    for beat, _ in enumerate(job.every(0.1, lasting=beats / 10)):
        job.progress(beat / beats)
    return Rested(beats=beats)
'''
CALL = """<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<r:{operation} xmlns:r="http://ways.example/">{inputs}</r:{operation}></s:Body></s:Envelope>"""


def follow(folder: str, package: str) -> None:
    """Note each call of a function below `package` in this process and its forks: a file per process in `folder`.

    Its source is also every other process' sitecustomize.py. What an import calls is left out: it is done once.
    """
    import os
    import sys
    import threading
    import time

    def note(*fields: object) -> None:
        # opened anew each time: a runner closes what it doesn't know, and may leave at any moment
        file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(file, ("\t".join(map(str, (time.monotonic_ns(), *fields))) + "\n").encode())
        finally:
            os.close(file)

    begins: dict[object, int] = {}  # of a function's code: a generator is also called each time that it goes on

    def profile(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(package) or code.co_name.startswith("<"):
            return
        if begins.setdefault(code, frame.f_lasti) != frame.f_lasti:
            return
        caller = "-\t-"
        while frame := frame.f_back:
            above = frame.f_code
            if above.co_filename.startswith(package):
                if above.co_name == "<module>" and frame.f_globals["__name__"] != "__main__":
                    return
                if caller == "-\t-" and not above.co_name.startswith("<"):
                    caller = f"{above.co_filename[len(package) :]}\t{above.co_qualname}"
        note("call", caller, code.co_filename[len(package) :], code.co_qualname)

    os.register_at_fork(after_in_child=lambda: note("process", os.getppid(), ""))
    note("process", os.getppid(), " ".join(sys.orig_argv[1:]))
    threading.setprofile(profile)
    sys.setprofile(profile)


@dataclass(frozen=True)
class Place:
    """A function, and its file below the package."""

    file: str
    function: str

    def __str__(self) -> str:
        *_, owner, name = ("", *self.function.replace(".<locals>", "").split("."))
        return owner if name in ("__init__", "__call__", "__enter__", "__exit__", "__post_init__") else name


@dataclass(frozen=True)
class Call:
    """One call, and the nearest function of labwaiter above it; None where none is."""

    at: int  # monotonic, ns
    caller: Place | None
    callee: Place


@dataclass
class Process:
    """What one process was seen to do."""

    pid: int
    parent: int
    command: str = ""  # empty: a fork
    calls: list[Call] = field(default_factory=list)


@dataclass
class Stop:
    """A file on a way."""

    file: str
    functions: Counter[str] = field(default_factory=Counter)
    callers: dict[str, None] = field(default_factory=dict)  # other files, in their order


@dataclass(frozen=True)
class Span:
    """A time from … until: monotonic, ns."""

    since: int
    until: int

    def __contains__(self, call: Call) -> bool:
        return self.since <= call.at < self.until


@dataclass(frozen=True)
class Taken:
    """When a way was taken."""

    idle: tuple[Span, Span]  # before it
    answering: Span
    until_over: Span


def processes(folder: Path) -> dict[int, Process]:
    """What was noted so far."""
    noted: dict[int, Process] = {}
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            at, kind, *fields = line.split("\t")
            if kind == "process":
                noted[int(file.name)] = Process(int(file.name), int(fields[0]), fields[1])
                continue
            above, below = Place(*fields[:2]), Place(*fields[2:])
            noted[int(file.name)].calls.append(Call(int(at), None if above.file == "-" else above, below))
    return noted


def stops(calls: Iterable[Call]) -> list[Stop]:
    """The files that calls came to, in their order."""
    by_file: dict[str, Stop] = {}
    for call in calls:
        stop = by_file.setdefault(call.callee.file, Stop(call.callee.file))
        stop.functions[str(call.callee)] += 1
        if call.caller is not None and call.caller.file != call.callee.file:
            stop.callers.setdefault(call.caller.file)
    return list(by_file.values())


@cache
def reason(file: str) -> str:
    """The first line of a file's docstring, for a table's cell; of what is no Python, what it is."""
    if not file.endswith(".py"):
        return "A template."
    text = ast.get_docstring(ast.parse((PACKAGE / file).read_text())) or ""
    pieces = text.partition("\n")[0].replace("|", r"\|").split("`")  # every other one is code, shown as it stands
    return "`".join(piece if at % 2 else piece.replace("<", "&lt;") for at, piece in enumerate(pieces))


@cache
def layers() -> list[dict[str, int]]:
    """Of each contract in pyproject.toml about layers: how high a module stands, 0 being the highest."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [
        {
            f"{prefix}{name.strip()}": height
            for prefix in [f"{container}." for container in contract.get("containers", ())] or [""]
            for height, names in enumerate(contract["layers"])
            for name in names.split("|")
        }
        for contract in contracts
        if contract["type"] == "layers"
    ]


def goes_up(caller: str, callee: str) -> bool:
    """Whether an import from one file into the other would be forbidden."""

    def height(file: str, heights: dict[str, int]) -> int | None:
        module = ("labwaiter/" + file.removesuffix(".py").removesuffix("/__init__")).replace("/", ".")
        return next((high for name, high in heights.items() if f"{module}.".startswith(f"{name}.")), None)

    for heights in layers():
        above, below = height(caller, heights), height(callee, heights)
        if above is not None and below is not None and below < above:
            return True
    return False


def arrows_up(calls: Iterable[Call]) -> list[str]:
    """The calls that go up: of each two files all functions."""
    arrows: dict[str, dict[str, None]] = {}
    for call in calls:
        if call.caller is not None and goes_up(call.caller.file, call.callee.file):
            arrows.setdefault(f"`{call.caller.file}` → `{call.callee.file}`", {})[str(call.callee)] = None
    return [f"{arrow} ({', '.join(functions)})" for arrow, functions in arrows.items()]


class Deployment:
    """A deployment whose WSGI application is called in this process; a start there starts its supervisor."""

    def __init__(self, folder: Path, services: Path, **settings: str) -> None:
        self.jobs = folder / "jobs"
        self.environment = {
            **os.environ,
            "LABWAITER_ENV": os.devnull,
            "LABWAITER_QUIET": "yes",
            "CONTEXT_ROOT": "",
            "WAITER_LOG_FOLDER": str(self.jobs),
            "FILES_FOLDER": str(folder / "files"),
            "SERVICES": str(services),
            **settings,
        }
        self.labwaiter = [sys.executable, "-m", "labwaiter"]

    def application(self) -> Callable[..., str]:
        """What calls an operation and gives its answer's texts by their names, or raises `Fault`."""
        os.environ.update(self.environment)
        wsgi = runpy.run_module("labwaiter.application")["application"]
        statuses: list[str] = []

        def call(operation: str, service_id: str, **inputs: object) -> str:
            texts = {"serviceID": service_id, "sessionToken": "a token", **inputs}
            body = CALL.format(
                operation=operation, inputs="".join(f"<r:{name}>{text}</r:{name}>" for name, text in texts.items())
            ).encode()
            environ = {
                "REQUEST_METHOD": "POST",
                "SCRIPT_NAME": "",
                "PATH_INFO": "/rest/Rest",
                "QUERY_STRING": "",
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "8080",
                "HTTP_HOST": "localhost:8080",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(body),
                "CONTENT_TYPE": "text/xml; charset=utf-8",
                "CONTENT_LENGTH": str(len(body)),
            }
            answer = b"".join(wsgi(environ, lambda status, _: statuses.append(status)))
            if not statuses[-1].startswith("200"):
                raise Fault(answer.decode(errors="replace"))
            return " ".join(ElementTree.fromstring(answer).itertext())

        return call

    def ended(self, service_id: str) -> bool:
        """Whether this execution was taken up and has ended, by its files (docs/files.md)."""
        active = self.jobs / ".labwaiter" / "active" / service_id  # made after the execution's folder
        return (self.jobs / service_id / "state.json").exists() and not active.exists()

    def close(self) -> None:
        """End what serves it."""
        subprocess.run(
            [*self.labwaiter, "stop"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


class Fault(Exception):
    """An operation was refused."""


def wait_until(condition: Callable[[], object]) -> None:
    """Until it is so."""
    late = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > late:
            raise SystemExit("It took too long: this machine is busy, or labwaiter broken.")
        time.sleep(0.02)


def look_on() -> tuple[Span, Span]:
    """Let be done what is done while nobody asks for anything."""
    times = [time.monotonic_ns()]
    for _ in range(2):
        time.sleep(IDLE)
        times.append(time.monotonic_ns())
    return Span(*times[:2]), Span(*times[1:])


def take(idle: tuple[Span, Span], call: Callable[[], object], over: Callable[[], bool] = lambda: True) -> Taken:
    """Ask, and wait until all is over that the request began."""
    asked = time.monotonic_ns()
    call()
    answered = time.monotonic_ns()
    wait_until(over)
    return Taken(idle, Span(asked, answered), Span(asked, time.monotonic_ns()))


def answers(call: Callable[[], object]) -> bool:
    """Whether it is not refused."""
    try:
        call()
    except Fault:
        return False
    return True


def on_one_machine(folder: Path, services: Path, names: list[str]) -> Iterator[tuple[str, Taken]]:
    """A start, a poll and an abort."""
    lab = Deployment(folder / "alone", services)
    with contextlib.closing(lab):
        call = lab.application()
        wait_until(lambda: answers(lambda: call("startRest", "before", beats=1)))  # what is made once is there then
        wait_until(lambda: lab.ended("before"))
        call("getServiceStatus", "before")
        if "start" in names:
            yield "start", take(look_on(), lambda: call("startRest", "started", beats=2), lambda: lab.ended("started"))
        if "poll" in names or "abort" in names:
            call("startRest", "long", beats=1000)
            wait_until((lab.jobs / "long" / "progress.json").exists)
            call("getServiceStatus", "long")
            idle = look_on()
        if "poll" in names:
            yield "poll", take(idle, lambda: call("getServiceStatus", "long"))
            wait_until(lambda: time.time() % 1 < 0.3)  # an answer is kept until its second is over
            for _ in range(4):
                call("getServiceStatus", "before")
            yield "again", take(idle, lambda: call("getServiceStatus", "before"))
        if "abort" in names:
            yield "abort", take(idle, lambda: call("abortService", "long"), lambda: lab.ended("long"))


def on_another_machine(folder: Path, services: Path) -> Iterator[tuple[str, Taken]]:
    """A start at a web machine, whose execution is another machine's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (folder / "lab.toml").write_text("[machines.bench]\n")
    shared = {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "REDIS_SECRET": "known to both machines",
        "LAB": str(folder / "lab.toml"),
    }
    bench = Deployment(folder / "bench", services, MACHINE="bench", **shared)
    face = Deployment(folder / "face", services, MACHINE="face", **shared)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)], **quiet)
    worker = subprocess.Popen([*bench.labwaiter, "worker"], env=bench.environment, **quiet)
    try:
        call = face.application()
        wait_until(lambda: answers(lambda: call("startRest", "before", beats=1)))
        wait_until(lambda: bench.ended("before"))
        call("getServiceStatus", "before")
        yield "order", take(look_on(), lambda: call("startRest", "ordered", beats=2), lambda: bench.ended("ordered"))
    finally:
        for process in (worker, server):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        bench.close()


TITLES = {
    "start": "A start",
    "poll": "A poll, of an execution that runs",
    "again": "A poll again within a second, of an execution of which nothing has changed",
    "abort": "An abort, of an execution that runs",
    "order": "A start whose execution is another machine's",
}


def trace(names: list[str]) -> Iterator[str]:
    """The lines that tell of these ways."""
    folder = Path(tempfile.mkdtemp(prefix="labwaiter-ways-"))
    services, noted, at_start = folder / "services", folder / "calls", folder / "python"
    try:
        for each in (services, noted, at_start):
            each.mkdir()
        (services / "rest.py").write_text(SERVICE)
        where = (str(noted), f"{PACKAGE}/")
        (at_start / "sitecustomize.py").write_text(
            f"from __future__ import annotations\n{inspect.getsource(follow)}\nfollow(*{where!r})\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "app"), str(at_start)])
        sys.path.insert(0, str(ROOT / "app"))
        follow(*where)
        taken = dict(on_one_machine(folder, services, names)) if {*names} - {"order"} else {}
        if "order" in names:
            taken |= on_another_machine(folder, services)
        sys.setprofile(None)
        seen = processes(noted)
        for name, way in taken.items():
            yield from lines_of(TITLES[name], way, seen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lines_of(title: str, way: Taken, seen: dict[int, Process]) -> Iterator[str]:
    """One way, as Markdown. A file's reason is given once."""
    yield from (f"### {title}", "")
    up: dict[str, None] = {}
    explained: set[str] = set()
    for process in sorted(seen.values(), key=lambda p: next((c.at for c in p.calls if c in way.until_over), 0)):
        span = way.answering if process.pid == os.getpid() else way.until_over
        before = [{(c.caller, c.callee) for c in process.calls if c in idle} for idle in way.idle]
        during = [c for c in process.calls if c in span]
        up |= dict.fromkeys(arrows_up(during))
        calls = [c for c in during if (c.caller, c.callee) not in before[0] & before[1]]
        if not calls:
            continue
        on_the_way = stops(calls)
        yield from (f"**{name_of(process)}**: {len(on_the_way)} files, {len(calls)} calls", "")
        yield from ("| | stop | functions | called by | because |", "| --- | --- | --- | --- | --- |")
        for number, stop in enumerate(on_the_way, 1):
            functions = ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in stop.functions.items())
            because = "" if stop.file in explained else reason(stop.file)
            explained.add(stop.file)
            yield f"| {number} | `{stop.file}` | {functions} | {', '.join(stop.callers)} | {because} |"
        yield ""
    yield f"Calls that go up: {'; '.join(up) or 'none'}."
    yield ""


def name_of(process: Process) -> str:
    """What a process is, by its command, or by where it begins."""
    if process.pid == os.getpid():
        return "The web worker, until it has answered"
    if process.command:
        return f"`python {process.command.rstrip(' 0123456789')}`"  # without a descriptor's number
    first = process.calls[0].callee
    return f"A fork that begins in `{first.file}` ({first})"


def main() -> None:
    """Print the ways, or write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"{', '.join(TITLES)}; without any: all")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if unknown := {*arguments.ways} - {*TITLES}:
        parser.error(f"there is no way {', '.join(unknown)}")
    if arguments.write and arguments.ways:
        parser.error("the document has all ways, or none")
    text = "\n".join(trace(arguments.ways or list(TITLES)))
    if not arguments.write:
        print(text)
        return
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()

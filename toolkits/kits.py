"""The toolkits: what each needs, how its client is made and called, and what its version is.

A client reads calls from its standard input, a line each, and answers each with a line:

    start|status|abort|notify <tab> name=value … <tab> name! (nil)            values percent-encoded
    ok <tab> name=value …  |  fault <tab> typed|untyped <tab> errorCode <tab> description
    refused <tab> why (the toolkit itself won't send that)  |  error <tab> words
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

CLIENTS = Path(__file__).resolve().parent / "clients"
JAXWS = ":/usr/share/java/jaxws-rt.jar"  # its manifest names what it needs: nothing else that lies there is meant
NODE_SOAP = "1.1.10"
Make = Callable[[Path, str], list[str]]  # a folder, the WSDL → the command of the client


class NotHere(Exception):
    """The toolkit isn't installed; the message says what is missing."""


class CantImport(Exception):
    """The toolkit doesn't take the WSDL; the message is its own."""


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command prints. Raises CantImport with its last words where it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CantImport(" ".join((done.stdout + done.stderr).split())[-600:])
    return done.stdout + done.stderr


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise NotHere(f"{program} is not installed")


def python(kind: str) -> Make:
    return lambda folder, wsdl: [sys.executable, str(CLIENTS / "python_client.py"), kind, wsdl]


def java(folder: Path, wsdl: str) -> list[str]:
    need("wsimport", "javac")
    run("wsimport", "-quiet", "-d", ".", "-p", "gen", wsdl, cwd=folder)
    run("javac", "-cp", f".{JAXWS}", "-d", ".", str(CLIENTS / "Client.java"), cwd=folder)
    return ["java", "-cp", f"{folder}{JAXWS}", "Client", wsdl]


def gsoap(folder: Path, wsdl: str) -> list[str]:
    need("wsdl2h", "soapcpp2", "g++")
    run("wsdl2h", "-o", "service.h", wsdl, cwd=folder)
    run("soapcpp2", "-C", "-j", "service.h", cwd=folder)
    made = ["soapC.cpp", "soapToolkitProxy.cpp", str(CLIENTS / "client.cpp")]
    if not Path("/usr/include/stdsoap2.h").exists():
        raise NotHere("libgsoap-dev is not installed")
    run("g++", "-O0", "-I.", *made, "-lgsoap++", "-o", "client", cwd=folder)
    return [str(folder / "client"), wsdl]


def php(folder: Path, wsdl: str) -> list[str]:
    php_packages(folder)
    return ["php", str(CLIENTS / "client.php"), wsdl]


def node(folder: Path, wsdl: str) -> list[str]:
    node_packages(folder)
    shutil.copy(CLIENTS / "client.js", folder)
    return ["node", str(folder / "client.js"), wsdl]


def perl(folder: Path, wsdl: str) -> list[str]:
    perl_packages(folder)
    return ["perl", str(CLIENTS / "client.pl"), wsdl]


def mono(folder: Path, wsdl: str) -> list[str]:
    need("mono", "mcs", "wsdl")
    run("wsdl", "-out:Toolkit.cs", wsdl, cwd=folder)
    run("mcs", "-r:System.Web.Services.dll", "-out:client.exe", "Toolkit.cs", str(CLIENTS / "Client.cs"), cwd=folder)
    return ["mono", str(folder / "client.exe"), wsdl]


@dataclass(frozen=True)
class Described:
    """A service as a toolkit is told of it."""

    wsdl: str  # its address
    start: str  # the start operation
    inputs: dict[str, str]  # something for each mandatory input of its own


Takes = Callable[[Path, Described], None]  # a folder, the service; raises CantImport
REFUSALS = ["UnknownServiceID", "MissingParameter"]  # of a status of nobody's, and of a start with a blank serviceID


def calling(*command: str, packages: Callable[[Path], None] = lambda folder: None) -> Takes:
    """A toolkit without generated code: it calls status and start, each so that it is refused."""

    def take(folder: Path, service: Described) -> None:
        packages(folder)
        *program, client = command
        # node looks for its packages beside the file
        script = shutil.copy(CLIENTS / client, folder) if program == ["node"] else CLIENTS / client.split()[0]
        words = [*program, str(script), *client.split()[1:], service.wsdl, service.start, json.dumps(service.inputs)]
        said = run(*words, cwd=folder).split()
        if said[-2:] != REFUSALS:
            raise CantImport(f"a status and a start were answered by {' and '.join(said)}")

    return take


def java_takes(folder: Path, service: Described) -> None:
    need("wsimport", "javac")
    run("wsimport", "-quiet", "-d", ".", "-p", "gen", service.wsdl, cwd=folder)  # and javac, which it runs


def gsoap_takes(folder: Path, service: Described) -> None:
    need("wsdl2h", "soapcpp2", "g++")
    run("wsdl2h", "-o", "service.h", service.wsdl, cwd=folder)
    run("soapcpp2", "-C", "-j", "service.h", cwd=folder)
    if not Path("/usr/include/stdsoap2.h").exists():
        raise NotHere("libgsoap-dev is not installed")
    made = [str(file) for file in folder.glob("soap*.cpp")]
    run("g++", "-fsyntax-only", "-I.", *made, cwd=folder)


def mono_takes(folder: Path, service: Described) -> None:
    need("mono", "mcs", "wsdl")
    run("wsdl", "-out:Made.cs", service.wsdl, cwd=folder)
    run("mcs", "-target:library", "-r:System.Web.Services.dll", "-out:made.dll", "Made.cs", cwd=folder)


def node_packages(folder: Path) -> None:
    need("node", "npm")
    run("npm", "install", "--silent", "--no-audit", "--no-fund", f"soap@{NODE_SOAP}", cwd=folder)


def php_packages(folder: Path) -> None:
    need("php")
    if "soap" not in run("php", "-m").split():
        raise NotHere("PHP's soap extension is not installed")


def perl_packages(folder: Path) -> None:
    need("perl")
    if subprocess.run(["perl", "-MSOAP::Lite", "-MURI::Escape", "-e1"], capture_output=True).returncode:
        raise NotHere("SOAP::Lite is not installed")


def of_python(package: str) -> Callable[[], str]:
    from importlib.metadata import version

    return lambda: version(package)


def last_line(*command: str) -> Callable[[], str]:
    return lambda: run(*command).strip().splitlines()[-1]


def first_line(*command: str) -> Callable[[], str]:
    return lambda: run(*command).strip().splitlines()[0]


@dataclass(frozen=True)
class Kit:
    """One toolkit."""

    name: str
    make: Make
    takes: Takes
    version: Callable[[], str]
    packages: str = ""  # Debian's


KITS = {
    "suds": Kit("suds-community", python("suds"), calling(sys.executable, "any.py suds"), of_python("suds-community")),
    "zeep": Kit("zeep, strict", python("zeep"), calling(sys.executable, "any.py zeep"), of_python("zeep")),
    "zeep-lax": Kit(
        "zeep, not strict", python("zeep-lax"), calling(sys.executable, "any.py zeep-lax"), of_python("zeep")
    ),
    "jaxws": Kit(
        "JAX-WS RI (Java)", java, java_takes, first_line("wsimport", "-version"), "jaxws default-jdk-headless"
    ),
    "gsoap": Kit("gSOAP (C++)", gsoap, gsoap_takes, last_line("soapcpp2", "-V"), "gsoap libgsoap-dev g++"),
    "php": Kit(
        "PHP SoapClient",
        php,
        calling("php", "any.php", packages=php_packages),
        first_line("php", "-r", "echo PHP_VERSION;"),
        "php-cli php-soap",
    ),
    "node": Kit("node soap", node, calling("node", "any.js", packages=node_packages), lambda: NODE_SOAP, "nodejs npm"),
    "perl": Kit(
        "Perl SOAP::Lite",
        perl,
        calling("perl", "any.pl", packages=perl_packages),
        first_line("perl", "-MSOAP::Lite", "-e", "print SOAP::Lite->VERSION"),
        "libsoap-lite-perl",
    ),
    "mono": Kit("Mono (C#)", mono, mono_takes, first_line("mono", "--version"), "mono-devel mono-mcs"),
}


class Client:
    """A running client."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise CantImport("its client did not come up")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def __call__(self, operation: str, **inputs: str | None) -> tuple[str, dict[str, str]]:
        """What the toolkit made of a call: ok, fault, refused or error, and the values."""
        words = [f"{n}!" if v is None else f"{n}={quote(v, safe='')}" for n, v in inputs.items()]
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\t".join([operation, *words]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return "error", {"why": "the client has ended"}
        kind, *parts = self._line().split("\t")
        if kind == "ok":
            return kind, {n: unquote(v) for n, _, v in (part.partition("=") for part in parts)}
        if kind == "fault":
            typed, code, description = (unquote(part) for part in parts)
            return kind, {"typed": typed, "errorCode": code, "description": description}
        return kind or "error", {"why": unquote(parts[0]) if parts else "the client has ended"}

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

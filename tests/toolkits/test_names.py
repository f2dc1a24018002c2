"""Names that toolkits can't say: what is refused is what they fail on, and every shipped service is taken by all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Caller, Web
from here import ROOT
from kits import KITS, CantImport, Described, NotHere
from lab import Lab
from labwaiter.catalogue import catalogue
from labwaiter.desk import lint, names
from labwaiter.desk.wsdl import read
from labwaiter.model.contract import names_of, nillable
from labwaiter.model.naming import RESERVED
from matrix import described

SHIPPED = sorted(catalogue.load(ROOT / "app" / "services").services)
HEAD = """
from labwaiter import Job, Outputs, service

class Made(Outputs):
    {outputs}

@service("{service}", namespace="http://samples.example/")
def {start}(job: Job, {inputs}) -> Made:
    \"\"\"Never run.\"\"\"
"""


def written(
    folder: Path,
    service: str = "Named",
    start: str = "startNamed",
    inputs: str = "x",
    outputs: str = "y",
    optional: str = "",
) -> Path:
    """A service file with these names."""
    folder.mkdir(exist_ok=True)
    text = HEAD.format(
        service=service,
        start=start,
        inputs=", ".join([*(f"{n}: str" for n in inputs.split()), *(f'{n}: str = ""' for n in optional.split())]),
        outputs="\n    ".join(f"{n}: str" for n in outputs.split()),
    )
    file = folder / f"{service.lower()}.py"
    file.write_text(text)
    return file


def taken(kit: str, folder: Path, described: Described) -> str:
    """What a toolkit says against a service; "" if it takes it."""
    folder.mkdir()
    try:
        KITS[kit].takes(folder, described)
    except NotHere as why:
        pytest.skip(str(why))
    except CantImport as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kit", list(KITS))
def test_every_shipped_service_is_taken_by_every_toolkit(
    make_lab: Callable[..., Lab], make_web: Callable[..., Web], tmp_path: Path, kit: str
) -> None:
    lab = make_lab(services_folder=ROOT / "app" / "services")
    lab.supervise()
    web = make_web(lab)
    assert SHIPPED
    for name in SHIPPED:
        assert taken(kit, tmp_path / name, described(lab.services[name], web.wsdl(name))) == "", name
        assert lint.of_names(read(web.wsdl(name))) == []


JAVA_S = " ".join(sorted(RESERVED["Java"] - RESERVED["Python"]))
TRIED = [  # toolkit, names, what of them is refused; "" where they must be taken
    ("jaxws", {"inputs": JAVA_S}, ""),
    ("jaxws", {"outputs": JAVA_S}, ""),
    ("jaxws", {"inputs": "volts", "outputs": "Volts"}, ""),
    ("jaxws", {"inputs": "volts Volts"}, "The inputs volts and Volts"),
    ("jaxws", {"outputs": "set_point setPoint"}, "The outputs set_point and setPoint"),
    ("jaxws", {"outputs": "statusBase64"}, "The outputs status_base64 and statusBase64"),
    ("jaxws", {"start": "AbortService"}, "The messages"),
    ("jaxws", {"optional": "response"}, "The input response of startNamed"),
    ("jaxws", {"start": "get", "optional": "serviceStatus"}, "The input serviceStatus of get"),
    ("jaxws", {"inputs": "response"}, ""),
    ("jaxws", {"start": "new"}, "The operation's name new"),
    ("gsoap", {"inputs": "EOF"}, "The input EOF"),
    ("gsoap", {"outputs": "unix"}, "The output unix"),
    ("gsoap", {"outputs": "EACCES"}, "The output EACCES"),
    ("gsoap", {"inputs": "min max status INFINITY"}, ""),
    ("node", {"service": "Named", "start": "Named"}, "The operation Named is named as its service"),
    ("node", {"start": "then"}, "The operation's name then"),
    ("node", {"start": "toString"}, "The operation's name toString"),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kit", "of", "refused"), TRIED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_refused_is_what_a_toolkit_fails_on(
    make_lab: Callable[..., Lab],
    make_web: Callable[..., Web],
    tmp_path: Path,
    kit: str,
    of: dict[str, str],
    refused: str,
) -> None:
    written(tmp_path / "named", **of)
    lab = make_lab(services_folder=tmp_path / "named")
    lab.supervise()
    service = lab.services["Named"]
    web = make_web(lab)
    against = taken(kit, tmp_path / "made", described(service, web.wsdl("Named")))
    errors = [
        f.what
        for f in names.of_service("Named", names_of(service.operations), nillable(service.operations))
        if f.level == "error"
    ]
    assert bool(against) == bool(refused), against
    assert any(one.startswith(refused) for one in errors) if refused else errors == []
    assert errors == [] or set(errors) <= {f.what for f in lint.lint(read(web.wsdl("Named")))}


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("Java", "final"),
        ("C#", "params"),
        ("C++", "template"),
        ("PHP", "echo"),
        ("Python", "lambda"),
        ("JavaScript", "let"),
    ],
)
def test_each_language_s_words_are_told_with_its_name(language: str, name: str) -> None:
    for found in (
        list(names.of_service("Named", {"startNamed": ((name,), ())})),
        list(names.of_service("Named", {"startNamed": ((), (name,))})),
        list(names.of_service(name, {"startNamed": ((), ())})),
    ):
        assert [f.level for f in found] == ["warning"] and language in found[0].what and name in found[0].what


def check(lab: Lab, file: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "labwaiter", "check", str(file), *words],
        env=lab.environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" or "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_check_tells_reserved_words_and_refuses_what_no_toolkit_takes(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    file = written(folder, outputs="final")
    lab = make_lab(services_folder=folder)
    status, out = check(lab, file)
    assert status == 0 and "named.py is right." in out
    assert "warning    The output final is a reserved word of Java, PHP." in out
    status, out = check(lab, written(folder, inputs="volts Volts"))
    assert status == 1 and "named.py has names that callers can't use." in out
    assert "error      The inputs volts and Volts differ only in case or _." in out
    status, out = check(lab, folder / "named.py", "--json")
    assert status == 1 and json.loads(out)["Named"]["names"][0]["level"] == "error"


def test_a_service_that_callers_know_goes_on_being_served_whatever_its_names(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    file = written(folder, start="Named", inputs="volts Volts")
    lab = make_lab(services_folder=folder)
    lab.supervise()
    caller = Caller(lab)
    assert caller("/Named", query="wsdl").status == "200 OK"
    assert check(lab, file)[0] == 1
    assert caller.call("Named", "Named", serviceID="one", volts="1", Volts="2").status == "200 OK"
    lab.ended("one")
    status, out = check(lab, file)
    assert status == 0 and "named.py is right." in out
    assert "warning    The inputs volts and Volts differ only in case or _. Executions were started with it" in out
    assert "warning    The operation Named is named as its service. Executions" in out
    status, out = check(lab, written(folder, start="Named", inputs="volts Volts EOF"))
    assert status == 1 and "error      The input EOF of Named is refused by gSOAP (C++)." in out
    assert caller("/Named", query="wsdl").status == "200 OK"


@pytest.mark.parametrize("start", ["abortService", "abortServiceResponse", "notifyServiceResponse"])
def test_a_start_named_as_a_message_of_ours_is_refused_when_the_file_is_read(
    make_lab: Callable[..., Lab], tmp_path: Path, start: str
) -> None:
    """Spyne makes no service of it, so none was ever served."""
    file = written(tmp_path / "named", start=start)
    lab = make_lab(services_folder=tmp_path / "named")
    done = subprocess.run(
        [sys.executable, "-m", "labwaiter", "check", str(file)], env=lab.environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and f"{start} is labwaiter's own; name the function startNamed." in done.stderr

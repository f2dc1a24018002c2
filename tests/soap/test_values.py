"""What inputs and outputs may hold, as XML Schema writes it, and where callers read their limits."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from callers import Caller
from lab import Lab

X = "{http://www.w3.org/2001/XMLSchema}"
SERVICE = """
import math
from typing import Annotated
from labwaiter import Job, Outputs, Range, service

class Given(Outputs):
    free: float
    above: float

@service("Doubles", namespace="http://samples.example/")
def startDoubles(job: Job, note: str, free: float = 0.0, above: Annotated[float, Range(0, None)] = 1.0,
                 within: Annotated[float, Range(0, 1)] = 0.5,
                 below: Annotated[float, Range(0, math.inf)] = 1.0) -> Given:
    \"\"\"Give back what came in.\"\"\"
    return Given(free=free, above=above)
"""


@pytest.fixture
def doubles(make_lab: Callable[..., Lab], tmp_path: Path) -> Caller:
    """A lab with that service."""
    folder = tmp_path / "doubles"
    folder.mkdir()
    (folder / "doubles.py").write_text(SERVICE)
    lab = make_lab(services_folder=folder)
    lab.supervise()
    return Caller(lab)


def start(caller: Caller, **inputs: str) -> str:
    reply = caller.call("Doubles", "startDoubles", serviceID="one", note="x", **inputs)
    return "" if reply.status == "200 OK" else reply["description"]


@pytest.mark.parametrize(
    ("free", "above"), [("INF", "INF"), ("-INF", "+INF"), ("NaN", "1e308"), ("1e400", "0"), (" NaN ", "-0")]
)
def test_infinity_and_nan_go_both_ways_where_the_limits_allow_them(doubles: Caller, free: str, above: str) -> None:
    assert start(doubles, free=free, above=above) == ""
    assert start(doubles, free=free, above=above) == ""  # NaN is the same input as NaN
    doubles.lab.ended("one")
    reply = doubles.call("Doubles", "getServiceStatus", serviceID="one")
    assert reply["status_base64"] == "COMPLETED"
    assert reply["free"] == {"1e400": "INF"}.get(free, free.strip())
    assert reply["above"] == {"+INF": "INF", "1e308": "1e+308", "0": "0.0", "-0": "-0.0"}.get(above, above)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("above", "NaN", "The input above must be at least 0, not “NaN”."),
        ("above", "-INF", "The input above must be at least 0, not “-INF”."),
        ("within", "INF", "The input within must be between 0 and 1, not “INF”."),
        ("within", "NaN", "The input within must be between 0 and 1, not “NaN”."),
        ("free", "inf", "The input free must be a number, not “inf”."),
        ("free", "nan", "The input free must be a number, not “nan”."),
        ("free", "Infinity", "The input free must be a number, not “Infinity”."),
    ],
)
def test_beyond_the_limits_or_in_another_spelling_they_are_refused_by_name(
    doubles: Caller, name: str, value: str, words: str
) -> None:
    assert start(doubles, **{name: value}) == words


def test_the_limits_of_texts_stand_in_the_wsdl_and_are_those_that_are_kept(doubles: Caller) -> None:
    root = etree.fromstring(doubles("/Doubles", query="wsdl").body)
    told = {}
    for kind in root.iter(f"{X}complexType"):
        for element in kind.iter(f"{X}element"):
            told[kind.get("name"), element.get("name")] = " ".join("".join(element.itertext()).split())
    for operation in ("startDoubles", "getServiceStatus", "abortService", "notifyService"):
        assert told[operation, "serviceID"] == "at most 1000 characters"
        assert told[operation, "sessionToken"] == "at most 1000000 characters"
    assert told["notifyService", "message"] == "at most 20000 characters"
    assert told["startDoubles", "extraParameters"] == told["startDoubles", "note"] == "at most 1000000 characters"
    assert told["startDoubles", "above"] == "at least 0; default 1.0"
    assert not [f for f in root.iter(f"{X}maxInclusive") if f.get("value").lower() == "inf"]

    def said(operation: str, **texts: str) -> str:
        texts = {"serviceID": "one", **({"note": "x"} if operation.startswith("start") else {}), **texts}
        reply = doubles.call("Doubles", operation, **texts)
        return "" if reply.status == "200 OK" else reply["description"]

    assert "at most 1000" in said("startDoubles", serviceID="x" * 1001)
    for name in ("note", "extraParameters", "sessionToken"):
        assert "1000000" in said("startDoubles", **{name: "x" * 1_000_001}), name
    assert said("startDoubles", serviceID="x" * 1000, note="x" * 1_000_000) == ""
    assert "at most 20000" in said("notifyService", serviceID="x" * 1000, message="x" * 20_001)


BYTES = """
import os
from pathlib import Path
from labwaiter import Job, Outputs, service

class Made(Outputs):
    part: Path
    read: str

@service("Bytes", namespace="http://samples.example/")
def startBytes(job: Job, given: Path | None = None) -> Made:
    \"\"\"Make a file whose name is Latin-1.\"\"\"
    part = job.data / os.fsdecode(b"m\\xfcll \\xe9.gcode")
    part.write_text("G28")
    for literal in ("m%FCll \xe9.gcode", "m%FCll%20%E9.gcode", "m%25FCll%20%25E9.gcode", "50%.txt"):
        (job.data / literal).write_text(literal)
    if job.extra_parameters:
        part = job.data / job.extra_parameters
    return Made(part=part, read=given.read_text() if given else "")
"""


def test_the_name_of_an_output_that_is_no_utf_8_names_the_file_again(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / "bytes.py").write_text(BYTES)
    lab = make_lab(services_folder=tmp_path / "bytes")
    lab.supervise()
    caller = Caller(lab)
    caller.call("Bytes", "startBytes", serviceID="a b")
    lab.ended("a b")
    reply = caller.call("Bytes", "getServiceStatus", serviceID="a b")
    assert (reply["status_base64"], reply["part"]) == ("COMPLETED", "a%2520b/m%FCll%20%E9.gcode")
    assert caller.call("Bytes", "startBytes", serviceID="two", given=reply["part"]).status == "200 OK"
    assert lab.ended("two").outputs["read"] == "G28"
    for name in ("m%FCll%20%E9.gcode", "m%25FCll%20%25E9.gcode", "50%.txt"):  # files that are literally called so
        caller.call("Bytes", "startBytes", serviceID=f"made {name}", extraParameters=name)
        lab.ended(f"made {name}")
        told = caller.call("Bytes", "getServiceStatus", serviceID=f"made {name}")["part"]
        assert told.endswith("/" + name.replace("%", "%25")), told
        caller.call("Bytes", "startBytes", serviceID=f"read {name}", given=told)
        assert lab.ended(f"read {name}").outputs["read"] == name
    files = lab.settings.files_folder
    files.mkdir(exist_ok=True)
    (files / "m%FCll.txt").write_text("literal")
    for number, (given, read) in enumerate(
        {
            "m%25FCll.txt": "literal",
            "m%FCll.txt": "literal",  # as it stands there, as long as no other file is told so
            "a%20b/50%.txt": "50%.txt",  # as it was told before
        }.items()
    ):
        caller.call("Bytes", "startBytes", serviceID=f"given {number}", given=given)
        assert lab.ended(f"given {number}").outputs["read"] == read, given
    (files / os.fsdecode(b"m\xfcll.txt")).write_text("bytes")
    for given, read in (("m%25FCll.txt", "literal"), ("m%FCll.txt", "bytes")):
        caller.call("Bytes", "startBytes", serviceID=f"both {read}", given=given)
        assert lab.ended(f"both {read}").outputs["read"] == read


NAMED = """
from pathlib import Path
from labwaiter import Job, Outputs, service

class Made(Outputs):
    part: Path
    read: str

@service("Named", namespace="http://samples.example/")
def startNamed(job: Job, name: str, given: Path | None = None) -> Made:
    \"\"\"Make a file of the name whose letters' numbers are given.\"\"\"
    part = job.data / "".join(chr(int(number)) for number in name.split())
    part.write_text(job.service_id)
    return Made(part=part, read=given.read_text() if given else "")
"""


@pytest.mark.parametrize(
    "name", ["x.txt", "\x01c.txt", "\x0b", "\x1b[31m.txt", "a\rb", "a\nb", "\x85", "\ufffe.txt", "é%.txt"]
)
def test_what_an_execution_gives_out_names_its_own_file_whatever_others_are_called(
    make_lab: Callable[..., Lab], tmp_path: Path, name: str
) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "named.py").write_text(NAMED)
    lab = make_lab(services_folder=tmp_path / "named")
    lab.supervise()
    caller, numbers = Caller(lab), " ".join(str(ord(letter)) for letter in name)
    ids = ["ü", "%C3%BC", "%25C3%25BC", "a/b", "a%2Fb", "a b", "a%20b"]  # the folder's name of one is another
    for service_id in ids:
        caller.call("Named", "startNamed", serviceID=service_id, name=numbers)
        lab.ended(service_id)
    for number, service_id in enumerate(ids):
        part = caller.call("Named", "getServiceStatus", serviceID=service_id)["part"]
        assert part.isprintable()
        caller.call("Named", "startNamed", serviceID=f"reads {number}", name=numbers, given=part)
        assert lab.ended(f"reads {number}").outputs["read"] == service_id


SURROGATES = """
from labwaiter import Job, JobFailed, Outputs, service

NAME = "m\\udcfcll"

class Told(Outputs):
    text: str

@service("System", namespace="http://samples.example/")
def startSystem(job: Job, fail: bool = False) -> Told:
    \"\"\"Hand on a text of the system everywhere.\"\"\"
    job.progress(0.5, NAME)
    job.record(**{NAME: NAME, "number": 1.0})
    job.units(number=NAME)
    job.plot("number", against=NAME)
    job.plot("number")
    job.write(NAME, NAME)
    job.picture(job.write("picture.svg", "<svg/>").name, NAME)
    print(NAME)
    for _ in job.every(0.05, 20):
        for message in job.messages():
            job.reply(message, job.link(NAME))
            if fail:
                raise JobFailed(NAME)
            return Told(text=NAME)
"""


def test_a_text_of_the_system_may_stand_wherever_a_text_may(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "system.py").write_text(SURROGATES)
    lab = make_lab(services_folder=tmp_path / "system")
    lab.supervise()
    caller = Caller(lab)
    for name, fail in (("one", "false"), ("two", "true")):
        caller.call("System", "startSystem", serviceID=name, fail=fail)
        lab.running(name)
        page = caller.call("System", "getServiceStatus", serviceID=name)
        assert page.status == "200 OK"
        told = caller.call("System", "notifyService", serviceID=name, message="go")
        assert told["response"].endswith("/m%FCll"), told.text
        record = lab.ended(name)
        reply = caller.call("System", "getServiceStatus", serviceID=name)
        if fail == "true":
            assert record.why == "m\udcfcll" and "m\ufffdll" in base64.b64decode(reply["status_base64"]).decode()
        else:
            assert (reply["status_base64"], reply["text"]) == ("COMPLETED", "m\ufffdll"), record.why
        assert (lab.folder(name) / "data" / os.fsdecode(b"m\xfcll")).read_bytes() == b"m\xfcll"

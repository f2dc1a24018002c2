"""Programs as services by a TOML file alone: what they are given, and where their outputs come from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchlab import leases
from lab import Lab
from labwaiter.model.record import State

PROGRAM = """
import json, os, sys
print("arguments:", json.dumps(sys.argv[1:]))
print("variable:", os.environ.get("KIND"))
json.dump({"fit": {"slope": 2.5, "points": [3, 4]}, "none": None}, open("out.json", "w"))
open("note.txt", "w", encoding="utf-8").write(" Größe\\n")
print("cells: 12")
print("cells: 42")
print("well done")
print()
"""
SERVICE = """
[service]
name = "{name}"
namespace = "http://samples.example/"

[inputs.size]
type = "float"
default = 0.5

[inputs.seed]
type = "int"
optional = true

[inputs.loud]
type = "boolean"
default = false

[script]
line = [
    "program.py", "--size={{size}}",
    {{with = "seed", add = ["--seed", "{{seed}}"]}}, {{with = "loud", add = ["-v"]}}, 3, true]
environment = {{ KIND = "{{size}} mm" }}
"""


@pytest.fixture
def write(tmp_path: Path, make_lab: Callable[..., Lab]) -> Callable[..., Lab]:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)

    def make(outputs: str) -> Lab:
        (folder / "grow.toml").write_text(SERVICE.format(name="Grow") + outputs)
        lab = make_lab(services_folder=folder)
        lab.supervise()
        return lab

    return make


def test_outputs_come_from_files_json_and_what_was_printed(write: Callable[..., Lab]) -> None:
    lab = write(
        "[outputs.slope]\ntype = 'float'\njson = 'out.json'\nkey = 'fit.slope'\n"
        "[outputs.second]\ntype = 'int'\njson = 'out.json'\nkey = 'fit.points.1'\n"
        "[outputs.cells]\ntype = 'int'\npattern = 'cells: (\\d+)'\n"
        "[outputs.note]\nfile = 'note.txt'\n"
        "[outputs.last]\nlast_line = true\n"
        "[outputs.fit]\ntype = 'file'\nfile = 'out.json'\n"
    )
    lab.start("Grow", "one", seed=7, loud=True)
    record = lab.ended("one")
    assert record.state is State.COMPLETED, record.why
    outputs = dict(record.outputs or {})
    assert str(outputs.pop("fit")).endswith("out.json")
    assert outputs == {"slope": 2.5, "second": 4, "cells": 42, "note": "Größe", "last": "well done"}
    log = lab.file("one", "log.txt")
    assert 'arguments: ["--size=0.5", "--seed", "7", "-v", "3", "true"]' in log and "variable: 0.5 mm" in log


def test_what_is_not_given_is_left_out(write: Callable[..., Lab]) -> None:
    lab = write("[outputs.last]\nlast_line = true\n")
    lab.start("Grow", "one")
    assert lab.ended("one").state is State.COMPLETED
    assert 'arguments: ["--size=0.5", "3", "true"]' in lab.file("one", "log.txt")


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("json = 'out.json'\nkey = 'fit.offset'", "The file out.json has no value fit.offset."),
        ("json = 'out.json'\nkey = 'fit'", "The value fit of the file out.json is neither a number nor a text."),
        ("json = 'out.json'\nkey = 'none'", "The value none of the file out.json is neither a number nor a text."),
        ("json = 'note.txt'\nkey = 'fit'", "The file note.txt is no JSON: "),
        ("json = 'no.json'", "The program left no file no.json."),
        ("file = 'no.txt'", "The program left no file no.txt."),
        ("pattern = 'cell: (.*)'", "The program printed nothing that fits the pattern cell: (.*)."),
    ],
)
def test_a_result_that_is_not_there_fails_the_job_with_a_sentence(
    write: Callable[..., Lab], output: str, why: str
) -> None:
    lab = write(f"[outputs.value]\n{output}\n")
    lab.start("Grow", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED and record.why.startswith(why), record.why


def test_outputs_that_say_nothing_are_the_result_file_s(write: Callable[..., Lab], tmp_path: Path) -> None:
    (tmp_path / "own" / "program.py").write_text('import sys\nopen(sys.argv[-1], "w").write(\'{"mean": 2, "sum": 4}\')')
    lab = write("[outputs.mean]\ntype = 'int'\n[outputs.sum]\ntype = 'int'\n")
    file = tmp_path / "own" / "grow.toml"
    file.write_text(file.read_text().replace("3, true]", '"{job.result_file}"]'))
    lab.start("Grow", "one")
    assert lab.ended("one").outputs == {"mean": 2, "sum": 4}


def test_a_program_that_has_the_port_of_an_instrument_itself(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mill.toml").write_text(
        "[service]\nname = 'Mill'\nnamespace = 'http://samples.example/'\n"
        "[inputs.mill]\ntype = 'instrument'\ndriver = 'labwaiter.instruments.drivers:Port'\n"
        f"[command]\nline = ['{sys.executable}', '-c', 'import sys; print(sys.argv[1])', '{{mill.port}}']\n"
        "[outputs.port]\nlast_line = true\n"
    )
    toml = tmp_path / "lab.toml"
    toml.write_text(
        '[instruments.mill]\ndriver = "labwaiter.instruments.drivers:Port"\nport = "/dev/null"\n'
        'safe = "nothing to do"\n'
    )
    lab = make_lab(services_folder=folder, LAB=str(toml))
    lab.supervise()
    lab.start("Mill", "one")
    record = lab.ended("one")
    assert record.state is State.COMPLETED, record.why
    assert record.outputs == {"port": "/dev/null"} and record.request.instruments == ("mill",)
    assert leases(lab).all() == {}

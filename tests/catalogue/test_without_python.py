"""A service whose file is TOML: it is offered, checked and imported as the Python that it stands for."""

from __future__ import annotations

import json
import linecache
import math
from pathlib import Path

import pytest

from labwaiter.catalogue import catalogue
from labwaiter.model.service import Service
from labwaiter.model.toml_service import python_of
from shelf import Shelf

GOOD = """
[service]
name = "Mesh"
namespace = "http://lab.example/mesh/"
doc = "Mesh a part."
limit = "1.5 min"
at_once = 2
needs = []

[inputs.size]
type = "float"
low = 0.1
high = 5
unit = "mm"
default = 1

[inputs.part]
type = "file"
endings = ".stl"
words = "what is meshed"

[inputs.kind]
choices = ["coarse", "fine"]
default = "fine"

[inputs.seed]
type = "int"
optional = true

[inputs.loud]
type = "boolean"
default = false

[inputs.label]
type = "text"
high = 20
default = "a {label}"

[inputs.mill]
type = "instrument"
driver = "labwaiter.instruments.drivers:Port"

[command]
line = ["mesh", "{part}", "--size={size}", {with = "seed", add = ["--seed", "{seed}"]}, "{{}}", 3, "{mill.port}"]

[outputs.mesh]
type = "file"
file = "{part.stem}.msh"

[outputs.cells]
type = "int"
pattern = 'cells: (\\d+)'
"""
PYTHON = '''
from pathlib import Path
from typing import Annotated, Any, Literal

from labwaiter import Command, Driver, Job, Length, Outputs, Range, Suffix, Unit, service

class Results(Outputs):
    mesh: Path
    cells: int

@service("Mesh", namespace="http://lab.example/mesh/", limit=90.0, at_once=2)
def startMesh(
    job: Job,
    part: Annotated[Path, Suffix(".stl")],
    mill: Annotated[Any, Driver("labwaiter.instruments.drivers:Port")],
    size: Annotated[float, Range(0.1, 5, "mm")] = 1,
    kind: Literal["coarse", "fine"] = "fine",
    seed: int | None = None,
    loud: bool = False,
    label: Annotated[str, Length(0, 20)] = "a {label}",
) -> Results:
    """Mesh a part.

    part: what is meshed
    """
'''


def only(shelf: Shelf, text: str, name: str = "mesh.toml") -> object:
    (shelf.folder / name).write_text(text)
    offered = catalogue.load(shelf.folder)
    return next(iter([*offered.services.values(), *offered.broken.values()]))


def test_it_is_the_service_that_python_declares(shelf: Shelf, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    in_python, in_toml = only(Shelf(beside), PYTHON, "mesh.py"), only(shelf, GOOD)
    assert {**vars(in_toml), "file": None} == {**vars(in_python), "file": None}


def test_the_python_that_it_stands_for_is_a_service_file_of_the_same_service(shelf: Shelf, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    in_python = only(Shelf(beside), python_of(GOOD, "mesh.toml"), "mesh.py")
    assert {**vars(only(shelf, GOOD)), "file": None} == {**vars(in_python), "file": None}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "Mesh"', 'name = "Mesh', "this is no TOML: "),
        ('doc = "Mesh', 'docs = "Mesh', "service has no key docs; is doc meant?"),
        ("[inputs.kind]", "[input.kind]", "the file has no key input; is inputs meant?"),
        (
            'limit = "1.5 min"',
            'limit = "soon"',
            'service.limit must be a number of seconds, or a text such as "30 min"',
        ),
        ("at_once = 2", 'at_once = "two"', "service.at_once must be a whole number"),
        ("at_once = 2", "at_once = true", "service.at_once must be a whole number"),
        ('type = "float"', 'type = "flaot"', "inputs.size has no type 'flaot'; is float meant?"),
        ("low = 0.1", 'low = "little"', "inputs.size.low must be a number"),
        ("low = 0.1", "low = -inf", "inputs.size.low must be a number, not -inf"),
        ('limit = "1.5 min"', "limit = nan", 'or a text such as "30 min", not nan'),
        ('endings = ".stl"', "endnigs = '.stl'", "inputs.part has no key endnigs; is endings meant?"),
        ('choices = ["coarse", "fine"]', "choices = [1, 2]", "inputs.kind.choices must be a list of texts"),
        ("optional = true", "driver = 'a:b'", "inputs.seed.driver is for an instrument: its type is int"),
        ("[inputs.loud]", "[inputs.class]", "'class' can be no name here"),
        ("[inputs.loud]", "[inputs.lo-ud]", "'lo-ud' can be no name here"),
        ("[command]", "[comand]", "the file has no key comand; is command meant?"),
        ('line = ["mesh",', 'line = ["mesh", {part = 1},', "command.line has no key part"),
        ('line = ["mesh",', 'line = ["mesh", ["-a"],', "each part of command.line must be a text, a number, or {with"),
        ('"{part}"', '"{prat}"', "command.line names {prat}, which is no input; is part meant?"),
        ('"{part}"', '"{part.size}"', "command.line names {part.size}: of a file there are name, stem, suffix"),
        ('"{part}"', '"{job.secret}"', "command.line names {job.secret}; of the job there are: data, status_file"),
        ('"{part}"', '"{part"', "command.line has a lone {: write it twice where it is meant so"),
        ('"{part}"', '"{seed}"', 'names {seed}, which may be left out: {with = "seed", add = ["{seed}"]}'),
        ('"{mill.port}"', '"{mill}"', "command.line names the instrument mill: what a program can be given of one is"),
        ('{with = "seed"', '{with = "sed"', "command.line names 'sed', which is no input; is seed meant?"),
        ('{with = "seed"', '{with = "mill"', "command.line names mill, an instrument, which is always there"),
        ('file = "{part.stem}.msh"', 'flie = "x"', "outputs.mesh has no key flie; is file meant?"),
        ('file = "{part.stem}.msh"', "", "outputs.mesh says not where it comes from: give it one of file, json"),
        (
            'file = "{part.stem}.msh"',
            'file = "x"\nlast_line = true',
            "outputs.mesh comes from one place: give it file or",
        ),
        ('file = "{part.stem}.msh"', 'key = "x"', "outputs.mesh.key is a key of a JSON file: say which by outputs"),
        (r"'cells: (\d+)'", "'cells: ('", "outputs.cells.pattern is no pattern: "),
        (r"'cells: (\d+)'", "'cells'", "outputs.cells.pattern needs one group, around what is the value"),
    ],
)
def test_a_mistake_is_told_with_its_line(shelf: Shelf, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    (shelf.folder / "mesh.toml").write_text(text)
    _, described = catalogue.check(shelf.folder / "mesh.toml")
    assert sentence in described.wrong and described.wrong.startswith("mesh.toml, line ")
    (place,) = described.places
    assert described.wrong.endswith((".", "?")) and not described.wrong.endswith("?.")
    line = text.splitlines()[place[1] - 1]
    assert line.strip() == place[2] and ((new.splitlines() or ["[outputs.mesh]"])[-1] in line or line.startswith("["))
    assert described.wrong.startswith(f"mesh.toml, line {place[1]}: ")


def test_limits_that_nothing_fits_are_told(shelf: Shelf) -> None:
    (shelf.folder / "mesh.toml").write_text(GOOD.replace("low = 0.1", "low = 7"))
    _, described = catalogue.check(shelf.folder / "mesh.toml")
    assert described.wrong == "Mesh: startMesh: nothing fits size, which may be from 7 to 5."


def test_a_number_without_an_end_can_be_a_default_and_an_argument(shelf: Shelf) -> None:
    text = GOOD.replace("high = 5\n", "").replace("low = 0.1\n", "").replace("default = 1\n", "default = -inf\n")
    offered = only(shelf, text.replace('"{{}}", 3', '"{{}}", nan'))
    assert isinstance(offered, Service), offered
    assert {p.name: p.default for p in offered.inputs}["size"] == -math.inf


def test_a_default_outside_its_limits_is_told_as_in_python(shelf: Shelf) -> None:
    text = GOOD.replace("default = 1", "default = 9")
    (shelf.folder / "mesh.toml").write_text(text)
    _, described = catalogue.check(shelf.folder / "mesh.toml")
    assert described.wrong == (
        "Mesh: startMesh: the default of size is refused: The input size must be between 0.1 and 5 mm, not “9”."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "service.name is missing: give it a text"),
        ('[service]\nname = "A"\n', "service.namespace is missing: give it a text"),
        ("service = 3\n", "service must be a table: [service]"),
        (f'[service]\nname = "A"\nnamespace = "http://a/"\nx = {"[" * 3000}\n', "this is no TOML"),
        ('[service]\nname = "A"\nnamespace = "http://a/"\n', "it needs one program: a table [command] or [script]"),
        ('[service]\nname = "A"\nnamespace = "http://a/"\n[command]\n', "command.line must be a list: the program"),
        (
            '[service]\nname = "A"\nnamespace = "http://a/"\ninputs.a = 1\n[command]\nline = ["a"]\n',
            "service has no key",
        ),
        (
            'inputs.a = 1\n[service]\nname = "A"\nnamespace = "http://a/"\n[command]\nline = ["a"]\n',
            "inputs.a must be a",
        ),
        (
            'inputs = 1\n[service]\nname = "A"\nnamespace = "http://a/"\n[command]\nline = ["a"]\n',
            "inputs must be a table",
        ),
        ('command = 1\n[service]\nname = "A"\nnamespace = "http://a/"\n', "command must be a table: [command]"),
    ],
)
def test_a_file_that_is_none_gets_a_sentence(shelf: Shelf, text: str, sentence: str) -> None:
    (shelf.folder / "mesh.toml").write_text(text)
    _, described = catalogue.check(shelf.folder / "mesh.toml")
    assert sentence in described.wrong, described.wrong


def test_a_text_can_t_become_python(shelf: Shelf, tmp_path: Path) -> None:
    evil = f'"""\n\\"); __import__("os").system("touch {tmp_path / "made"}") #\''
    told = json.dumps(evil)  # as TOML writes a text, too
    text = (
        GOOD.replace('"Mesh a part."', told).replace('"what is meshed"', told).replace('"a {label}"', '"\\"); 1/0 #"')
    )
    service = only(shelf, text)
    assert isinstance(service, Service), service
    assert service.doc.startswith('"""') and not (tmp_path / "made").exists()


def test_a_program_that_is_not_there_is_told_with_its_line(shelf: Shelf) -> None:
    text = GOOD.replace('[command]\nline = ["mesh"', '[script]\nline = ["mesh.py"')
    (shelf.folder / "mesh.toml").write_text(text)
    (shelf.folder / "mehs.py").write_text("")
    _, described = catalogue.check(shelf.folder / "mesh.toml")
    ((why, line, shown),) = described.absent
    assert why == "The script mesh.py is not there: it is looked for beside its service file; is mehs.py meant?"
    assert text.splitlines()[line - 1].strip() == shown and shown.startswith("line = ")


def test_a_program_on_the_path_is_needed_unless_the_file_says_otherwise(shelf: Shelf) -> None:
    offered = only(shelf, GOOD.replace("needs = []\n", "").replace('"mesh",', '"no-such-mesher",'))
    assert "no-such-mesher" in getattr(offered, "reason", "")


def test_it_and_a_python_file_of_the_same_name_do_not_share_what_python_keeps(shelf: Shelf) -> None:
    (shelf.folder / "mesh.toml").write_text(GOOD)
    (shelf.folder / "mesh.py").write_text(PYTHON.replace('"Mesh"', '"Other"').replace("startMesh", "startOther"))
    for _ in range(2):
        assert sorted(catalogue.load(shelf.folder).services) == ["Mesh", "Other"]
    linecache.clearcache()

"""services, check, new: what somebody who writes a service file is told."""

from __future__ import annotations

import pytest

from labwaiter import settings as settings_module


def test_a_good_service_file_is_shown_as_a_workflow_manager_will_see_it(shell):
    said = shell("check", str(shell.folder / "services" / "count.py"))
    assert said.exit_code == 0
    for words in (
        "count.py is right.",
        "Count, at http://127.0.0.1:8080/lab/count/Count?wsdl",
        "namespace  http://lab.example/count/",
        "may run 2 min, 3 at a time",
        "operation  startCount",
        "xs:double between 0 and 60 s\n",
        "xs:string one of good, bad; optional, default “good”",
        "xs:double in mm",
        "xs:boolean",
    ):
        assert words in said.stdout
    order = [said.stdout.index(f" {name} ") for name in ("serviceID", "sessionToken", "seconds", "extraParameters")]
    assert order == sorted(order)


def test_a_mistake_in_lab_toml_is_told_whichever_file_is_checked(shell):
    toml = shell.folder / "lab.toml"
    toml.write_text("[instruments.oven]\nport = 3\n")
    shell.environ["LAB"] = str(toml)
    said = shell("check", str(shell.folder / "services" / "count.py"))
    assert "count.py is right." in said.stdout and "oven: it needs driver" in said.stderr


@pytest.mark.parametrize(
    ("text", "sentence", "line"),
    [
        ("x = (\n", "syntax error", 1),
        ("\nimport no_such_module_anywhere\n", "not installed", 2),
        ("a = 1\nb = 1 / 0\n", "ZeroDivisionError", 2),
        ("x = 1\n", "declares no service", None),
        (
            "from labwaiter import Job, Outputs, service\n\n"
            "@service('Odd', namespace='http://lab.example/')\ndef startOdd(job: Job, when: list): pass\n",
            "when has a type that workflow editors don't know",
            3,
        ),
    ],
)
def test_a_wrong_service_file_is_told_with_its_line(shell, text, sentence, line):
    file = shell.write("odd.py", text)
    said = shell("check", str(file))
    assert said.exit_code == 1
    assert sentence in said.stderr
    assert "Traceback" not in said.output
    assert (f"odd.py, line {line}:" in said.stderr) == (line is not None)


PROGRAMS = """
import labwaiter
from labwaiter import Command, Job, Script, service

@service("Odd", namespace="http://lab.example/")
def startOdd(job: Job, name: str = "x") -> None:
    job.run(Script(job.data / "made.py"))
    job.run(Command(name))
    return {program}
"""


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            'Script("growe.py", 3)',
            "The script growe.py is not there: it is looked for beside its service file; is grow.py meant?",
        ),
        (
            'labwaiter.Script("tools/grow.py")',
            "The script grow.py is not there: it is looked for beside its service file.\n",
        ),
        ('Command("no-such-program", name)', "The program no-such-program is not installed on this machine."),
        ('Command("bin/grow")', "The program grow is not there"),
        ('Command("/opt/none/grow")', "The program grow is not installed on this machine."),
        ('Script("grow.py", python="envs/none")', "The Python envs/none is not there"),
    ],
)
def test_a_misspelt_program_is_found_by_check(shell, program, sentence):
    shell.write("grow.py.txt", "")
    (shell.folder / "grow.py").write_text("")  # the folder above is looked in, too
    file = shell.write("odd.py", PROGRAMS.replace("{program}", program))
    said = shell("check", str(file))
    assert said.exit_code == 1 and sentence in said.stderr, said.output
    assert f"odd.py, line 9:  return {program}" in said.stderr
    assert "Odd" in shell.json("services")  # it is served all the same: what isn't there may come


@pytest.mark.parametrize(
    "program",
    [
        'Script("grow.py")',
        'Command("sh", "-c", "true")',
        'Command("odd", environment={"PATH": name})',
        "Command(*[name])",
    ],
)
def test_programs_that_are_there_or_can_t_be_known_are_right(shell, program):
    (shell.folder / "grow.py").write_text("")
    said = shell("check", str(shell.write("odd.py", PROGRAMS.replace("{program}", program))))
    assert said.exit_code == 0, said.output


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (r'Command("sh", progress=r"\d+ %")', "needs a named group"),
        (r'Command(name, name, progress=(r"(\d+) %", r"(\d+"))', "is no pattern"),
        ('Script(name, success="0")', "success of program must be a list of exit statuses"),
        ('Command("sh", progres="(.) %")', "unexpected keyword argument 'progres'"),
        ('Command("sh", None)', "The argument 1 of sh is of the type NoneType"),
    ],
)
def test_a_program_that_can_t_be_made_is_told_before_it_is_to_run(shell, program, sentence):
    file = shell.write("odd.py", PROGRAMS.replace("{program}", program))
    said = shell("check", str(file))
    assert said.exit_code == 1 and sentence in said.stderr, said.output
    assert f"odd.py, line 9:  return {program}" in said.stderr
    assert sentence in shell.json("services")["Odd"]["broken"]


def test_check_says_that_other_files_are_no_service_files(shell, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert shell("check", str(tmp_path / "notes.txt")).exit_code == 2
    assert shell("check", str(tmp_path / "missing.py")).exit_code == 2


def test_the_list_of_services_has_their_inputs_and_why_one_is_broken(shell):
    shell.write("lens.py", "@service('Lens', namespace='x:y')\nimport no_such_module_anywhere\n")
    said = shell("services").stdout.splitlines()
    assert said[0].split() == ["NAME", "ADDRESS", "INPUTS"]
    assert said[1].split(None, 2)[:2] == ["Count", "http://127.0.0.1:8080/lab/count/Count"]
    assert "seconds, mode=good" in said[1]
    assert said[2].startswith("Lens") and "lens.py" in said[2]
    told = shell.json("services")
    assert told["Count"]["inputs"][0] == {
        "type": "xs:double",
        "name": "seconds",
        "choices": [],
        "low": 0,
        "high": 60,
        "unit": "s",
        "mandatory": True,
        "default": None,
    }
    assert "broken" in told["Lens"]


def test_a_new_service_file_is_right_and_runs_at_once(shell):
    said = shell("new", "heatAndHold")
    assert said.exit_code == 0
    file = shell.folder / "services" / "heat_and_hold.py"
    assert "labwaiter check" in said.stdout and "labwaiter run HeatAndHold" in said.stdout
    assert shell("check", str(file)).exit_code == 0
    ran = shell("run", "HeatAndHold", "steps=1", "name=lab")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines() == ["answer = Hello, lab!", "total = 1"]


def test_what_new_says_to_do_next_can_be_pasted(shell):
    shell.environ["SERVICES"] = str(shell.folder / "my services")
    said = shell("new", "Oven")
    file = shell.folder / "my services" / "oven.py"
    assert f"then: labwaiter check '{file}'; labwaiter run Oven steps=3" in said.stdout


def test_new_overwrites_nothing(shell):
    file = shell.write("oven.py", "# mine\n")
    assert shell("new", "Oven").exit_code == 2
    assert file.read_text() == "# mine\n"


def test_new_takes_no_name_that_is_taken_or_that_is_none(shell):
    assert "count.py offers a service of the name" in shell("new", "COUNT").stderr
    for name in ("../x", "a b", "1st", "", "x" * 65):
        assert shell("new", name).exit_code == 2
    assert [f.name for f in (shell.folder / "services").glob("*.py")] == ["count.py"]


def test_every_command_says_what_it_does_in_a_line(shell):
    said = shell("--help").stdout
    for command in ("serve", "supervise", "services", "check", "run", "jobs", "new", "start", "stop"):
        line = next(text for text in said.splitlines() if text.strip().startswith(f"{command} "))
        assert not line.endswith("...") and len(line) <= 80
    for status in "0123":
        assert f"{status}  " in said.partition("Exit status:")[2]


def test_a_setting_that_cannot_be_is_named(shell):
    shell.environ["PORT"] = "many"
    said = shell("services")
    assert said.exit_code == 2
    assert "PORT must be a number" in said.stderr
    del shell.environ["PORT"]


def test_a_service_without_python_is_written_checked_run_and_shown_as_python(shell):
    said = shell("new", "Grower", "--toml")
    assert said.exit_code == 0 and "grower.toml" in said.stdout, said.output
    file = shell.folder / "services" / "grower.toml"
    assert "grower.toml is right." in shell("check", str(file)).stdout
    ran = shell("run", "Grower", "steps=3")
    assert ran.exit_code == 0 and "total" in ran.stdout and "3" in ran.stdout, ran.output
    python = shell("as-python", str(file))
    assert "def startGrower(" in python.stdout
    shell.write("grown.py", python.stdout.replace("Grower", "Grown"))
    assert shell("check", str(shell.folder / "services" / "grown.py")).exit_code == 0


def test_as_python_tells_a_mistake_with_its_line_and_takes_no_other_file(shell):
    file = shell.write("odd.toml", "[service]\nname = 3\n")
    said = shell("as-python", str(file))
    assert said.exit_code == 1 and said.stderr == "odd.toml, line 2: service.name must be a text.\n"
    said = shell("as-python", str(shell.folder / "services" / "count.py"))
    assert said.exit_code == 2 and "count.py is no service without Python: those end in .toml." in said.stderr
    assert "those end in .py or .toml" in shell("check", str(shell.folder / "env")).stderr


def test_a_services_folder_with_nothing_in_it_is_told_with_what_to_do(shell, tmp_path):
    (shell.folder / "services" / "count.py").unlink()
    said = f"No service yet: {tmp_path}/services holds no service file; labwaiter new NAME writes one.\n"
    assert shell("services").output == said
    assert shell("run", "Count").stderr.endswith("\nError: There is no service “Count”; there are: none.\n")
    (shell.folder / "services").rmdir()
    for words in (("services",), ("start",), ("run", "Count")):
        done = shell(*words)
        assert done.exit_code == 2 and f"There is no services folder {tmp_path}/services: SERVICES names" in done.stderr
    assert not (tmp_path / "jobs").exists() and not (tmp_path / "files").exists()  # nothing was begun
    made = shell("new", "Grower")
    assert made.exit_code == 0 and (shell.folder / "services" / "grower.py").is_file()


def test_a_lab_of_a_newer_labwaiter_is_refused_in_a_sentence_and_left_as_it_is(shell):
    shell("services")
    form = settings_module.load({"LABWAITER_ENV": shell.environ["LABWAITER_ENV"]}).layout.form
    form.parent.mkdir(parents=True, exist_ok=True)
    before = form.read_text() if form.exists() else "1"
    form.write_text("99\n")
    try:
        for words in (("services",), ("start",), ("stop",), ("run", "Count", "seconds=0"), ("jobs", "list")):
            done = shell(*words)
            assert done.exit_code == 2 and done.stdout == "", words
            assert done.stderr.splitlines()[-1].startswith("Error: A newer labwaiter than this one has used"), words
        assert form.read_text() == "99\n"
    finally:
        form.write_text(before)

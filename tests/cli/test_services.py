"""services, check, new: what somebody who writes a service file is told."""

from __future__ import annotations

import pytest


def test_a_good_service_file_is_shown_as_a_workflow_manager_will_see_it(shell):
    said = shell("check", str(shell.folder / "services" / "count.py"))
    assert said.exit_code == 0
    for words in (
        "count.py is right.",
        "Count, at http://localhost:8080/lab/count/Count?wsdl",
        "namespace  http://lab.example/count/",
        "may run 2:00, 3 at a time",
        "operation  startCount",
        "xs:double between 0 and 60 s\n",
        "xs:string one of good, bad; optional, default “good”",
        "xs:double in mm",
        "xs:boolean",
    ):
        assert words in said.stdout
    order = [said.stdout.index(f" {name} ") for name in ("serviceID", "sessionToken", "seconds", "extraParameters")]
    assert order == sorted(order)


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


def test_check_says_that_other_files_are_no_service_files(shell, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert shell("check", str(tmp_path / "notes.txt")).exit_code == 2
    assert shell("check", str(tmp_path / "missing.py")).exit_code == 2


def test_the_list_of_services_has_their_inputs_and_why_one_is_broken(shell):
    shell.write("lens.py", "@service('Lens', namespace='x:y')\nimport no_such_module_anywhere\n")
    said = shell("services").stdout.splitlines()
    assert said[0].split() == ["NAME", "ADDRESS", "INPUTS"]
    assert said[1].split(None, 2)[:2] == ["Count", "http://localhost:8080/lab/count/Count"]
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

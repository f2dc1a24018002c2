"""`labwaiter workflow`: services tried in order before they are registered anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from callers import Web
from here import ROOT
from lab import PATIENCE, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

TWO = """
every = 0.1
[[step]]
name = "first"
wsdl = "{echo}"
inputs.text = "é 漢字 😀 <&>"
inputs.number = 5
inputs.flag = true
[[step]]
wsdl = "{echo}"
inputs.text = "got {{first.text}} and {{first.number}}"
inputs.colour = "red"
[outputs]
said = "{{Echo.text}}!"
"""


class Desk:
    """The command in a folder, with a deployment to call."""

    def __init__(self, web: Web, folder: Path) -> None:
        self.web, self.file = web, folder / "flow.toml"

    def start(self, toml: str, *words: str) -> subprocess.Popen[str]:
        self.file.write_text(toml.format(echo=self.web.wsdl("Echo"), talk=self.web.wsdl("Talk"), url=self.web.url))
        command = [sys.executable, "-m", "labwaiter", "workflow", str(self.file), *words]
        environment = self.web.lab.environment
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.file.parent
        )

    def run(self, toml: str, *words: str) -> tuple[int, str, str]:
        process = self.start(toml, *words)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


@pytest.fixture
def desk(web: Web, tmp_path: Path) -> Desk:
    return Desk(web, tmp_path)


def test_outputs_of_one_step_are_the_inputs_of_the_next(desk: Desk) -> None:
    status, out, err = desk.run(TWO)
    assert (status, out) == (0, "said = got é 漢字 😀 <&> and 5!\n"), err
    assert "first: completed" in err and "Echo: completed" in err


def test_without_outputs_of_its_own_the_last_step_s_are_told_also_as_json(desk: Desk) -> None:
    status, out, _ = desk.run(TWO.partition("[outputs]")[0], "--json")
    told = json.loads(out)
    assert status == 0 and told["outputs"]["colour"] == "red" and told["outputs"]["flag"] == "false"
    assert [step["state"] for step in told["steps"]] == ["completed", "completed"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_aborts_the_running_step(desk: Desk, how: signal.Signals) -> None:
    process = desk.start('every = 0.1\n[[step]]\nwsdl = "{talk}"\n')
    lab = desk.web.lab
    found = eventually(lambda: [r for r in lab.jobs.list(SHELL) if r.state is State.RUNNING])
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "It was aborted." in err and "Traceback" not in err
    assert lab.record(found[0].request.service_id).state is State.ABORTED


def test_a_step_that_fails_ends_the_workflow_with_its_words(desk: Desk) -> None:
    toml = 'every = 0.1\n[[step]]\nwsdl = "{url}/Missing?wsdl"\n[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\n'
    desk.web.lab.store.make()
    process = desk.start(toml, "--json")
    record = eventually(lambda: next((r for r in desk.web.lab.jobs.list(SHELL) if r.state is State.FAILED), None))
    # its page is shown for 20 s before the fault: that is over at once where it was told long ago
    told = desk.web.lab.folder(record.request.service_id) / "told"
    eventually(told.exists)
    os.utime(told, (0, 0))
    out, err = process.communicate(timeout=PATIENCE)
    steps = json.loads(out)["steps"]
    assert process.returncode == 1 and "JobFailed" in err and "not installed" in err
    assert [s["state"] for s in steps] == ["failed", "waits"]


WRONG: list[tuple[str, int, str]] = [
    ("every = \nx = 1\n", 2, "flow.toml is no TOML: Invalid value (at line 1"),
    ("every = 0\n", 2, "every must be a number of seconds"),
    ("steps = 1\n", 2, "“steps” is not known here"),
    ("every = 1\n", 2, "has no step"),
    ("token = 'x'\n", 2, "give it in $SESSION_TOKEN"),
    ("[[step]]\nname = 'x'\n", 2, "step 1 names no service"),
    ('[[step]]\nwsdl = "{echo}"\n', 2, "the input text of startEcho is missing; write inputs.text"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\ninputs.size = 1\n', 2, "startEcho has no input size; its"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = []\n', 2, "must be a text, a number, true or false"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "{{Echo.text}}"\n', 2, "there is no earlier step Echo; there are: none"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\n[outputs]\na = "{{Echo.size}}"\n', 2, "Echo has no output size"),
    (2 * '[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\n', 2, "named Echo already"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\ninputs.number = "many"\n', 2, "must be a whole number, not “many”"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\ninputs.flag = "yes"\n', 2, "must be true or false, not “yes”"),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\ninputs.colour = "pink"\n', 2, "must be one of "),
    ('[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\n[outputs]\na = "{{Echo}}"\n', 2, "{Echo} names a step; write"),
    ('[[step]]\nwsdl = "{url}/nobody?wsdl"\n', 3, "answers with HTTP 404"),
    ('[[step]]\nwsdl = "{url}/Broken?wsdl"\n', 3, "needs the module a_module_that_nobody_has"),
    ('[[step]]\nwsdl = "http://127.0.0.1:9/x?wsdl"\n', 3, "can't be reached: Connection refused"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "status", "words"), WRONG, ids=[w[2][:40] for w in WRONG])
def test_a_mistake_is_told_before_anything_is_started(desk: Desk, toml: str, status: int, words: str) -> None:
    found, out, err = desk.run(toml)
    assert (found, out) == (status, "") and words in err and "Traceback" not in err, err
    assert list(desk.web.lab.jobs.list(SHELL)) == []


def test_the_page_shows_the_steps_and_the_status_page(desk: Desk) -> None:
    process = desk.start('every = 0.1\n[[step]]\nwsdl = "{talk}"\n', "--page", "--no-open")
    assert process.stderr is not None
    address = process.stderr.readline().split()[-1]

    def get(path: str) -> str:
        with urllib.request.urlopen(address + path, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    state = eventually(lambda: (s := json.loads(get("state")))["steps"][0]["pages"] and s)
    assert state["steps"][0]["state"] == "runs" and not state["over"]
    assert "listening" in eventually(lambda: (p := get("step/0")) and "listening" in p and p)
    assert "'sandbox', 'allow-popups'" in get("") and "flow.toml" in get("")
    lab = desk.web.lab
    lab.jobs.notify(lab.services["Talk"], state["steps"][0]["service_id"], "bye", SHELL)
    over = eventually(lambda: (s := json.loads(get("state")))["over"] and s)
    assert over["outputs"] == {"result": "bye"} and over["steps"][0]["state"] == "completed"
    get("seen")  # as a browser says that it has everything
    err = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0
    kept = desk.file.with_name("flow.page.html")
    assert f"The last page was saved: {kept.resolve()}" in err
    assert '"bye"' in kept.read_text() and "listening" in kept.read_text()


def test_a_page_that_can_t_be_saved_is_said_and_harms_nothing(desk: Desk) -> None:
    desk.file.with_name("flow.page.html").mkdir()
    status, out, err = desk.run('every = 0.1\n[[step]]\nwsdl = "{echo}"\ninputs.text = "x"\n', "--page", "--no-open")
    assert status == 0 and "text = x" in out and "can't be saved" in err and "Traceback" not in err


def test_a_text_that_ends_a_script_stays_text_in_the_kept_page(desk: Desk) -> None:
    """What a service sends must neither end the page's own script nor run beside it."""
    toml = 'every = 0.1\n[[step]]\nwsdl = "{echo}"\ninputs.text = "</script><script>alert(1)</script>"\n'
    status, _, err = desk.run(toml, "--page", "--no-open")
    assert status == 0, err
    kept = desk.file.with_name("flow.page.html").read_text()
    assert kept.count("<script>") == 1 and kept.count("</script>") == 1


def test_the_example_is_a_plan_that_fits_its_service() -> None:
    import tomllib

    from labwaiter.catalogue import catalogue

    said = tomllib.loads((ROOT / "examples" / "two_steps.toml").read_text())
    plate = catalogue.load(ROOT / "app" / "services").services["HeatPlate"]
    assert all(set(step["inputs"]) <= {p.name for p in plate.inputs} for step in said["step"])
    assert all("/heatplate/HeatPlate?wsdl" in step["wsdl"] for step in said["step"])

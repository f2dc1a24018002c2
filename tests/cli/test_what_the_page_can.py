"""What the operator's page shows and does of executions, at the shell; and commands that are cut off or misread."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import eventually

TALKER = """
from pathlib import Path
from typing import Annotated
from labwaiter import Job, Outputs, Suffix, service

class Said(Outputs):
    result: str

@service("Talker", namespace="http://lab.example/talker/")
def startTalker(job: Job, words: str, part: Annotated[Path, Suffix(".stl")] | None = None) -> Said:
    for number in range(30):
        print(f"line {number}", flush=True)
    job.write("made.txt", words)
    if part is not None:
        return Said(result=part.read_text())
    for _ in job.every(0.02):
        for message in job.messages():
            if message == "go":
                return Said(result=words)
            job.reply(message, f"heard {message}")
"""


@pytest.fixture
def talker(shell):
    shell.write("talker.py", TALKER)
    return shell


def running(shell, service_id: str) -> None:
    said = shell("run", "Talker", "words=hello", "--id", service_id, "--detach")
    assert said.exit_code == 0 and said.stdout == f"{service_id}\n", said.output
    eventually(lambda: "line 29" in shell("jobs", "log", service_id).stdout)


def test_a_message_is_sent_and_its_reply_told(talker):
    running(talker, "one")
    assert talker("jobs", "notify", "one", "hi", "--wait", "20").stdout == "heard hi\n"
    assert talker.json("jobs", "notify", "one", "again", "--wait", "20") == {"response": "heard again"}
    assert "1  hi  → heard hi" in talker("jobs", "show", "one").stdout
    messages = talker.json("jobs", "show", "one")["messages"]
    assert messages[0] == {"number": 1, "text": "hi", "reply": "heard hi"}
    empty = talker("jobs", "notify", "one", " ")
    assert empty.exit_code == 2 and "The message is empty: write one." in empty.stderr
    talker("jobs", "notify", "one", "go")
    assert talker("jobs", "wait", "one").exit_code == 0
    late = talker("jobs", "notify", "one", "late")
    assert late.exit_code == 1
    assert "The execution has ended (completed); the message was not delivered." in late.stderr


def test_an_execution_is_started_again_with_its_inputs_or_others(talker):
    running(talker, "one")
    assert talker("run", "--again", "one", "--id", "two", "--detach").exit_code == 0
    assert talker("run", "--again", "one", "words=other", "--id", "three", "--detach").exit_code == 0
    assert talker("run", "Talker", "--again", "one", "words=x", "--id", "four", "--detach").exit_code == 0
    said = {each["serviceID"]: each["inputs"]["words"] for each in talker.json("jobs", "list")}
    assert said == {"one": "hello", "two": "hello", "three": "other", "four": "x"}
    other = talker("run", "Count", "--again", "one")
    assert other.exit_code == 2 and "one was an execution of Talker: leave that out." in other.stderr
    assert "Name the service" in talker("run").stderr
    assert talker("run", "--again", "none").exit_code == 2


def test_a_file_of_ones_own_is_handed_in(talker, tmp_path):
    (tmp_path / "cube.stl").write_text("solid")
    assert talker.json("run", "Talker", "words=w", f"part=@{tmp_path}/cube.stl")["outputs"] == {"result": "solid"}
    wrong = talker("run", "Talker", "words=w", f"part=@{tmp_path}/cube.txt")
    assert wrong.exit_code == 2 and ".stl" in wrong.stderr
    absent = talker("run", "Talker", "words=w", "part=@absent.stl")
    assert absent.exit_code == 3 and "absent.stl can't be used: No such file" in absent.stderr
    assert len(talker.json("jobs", "list")) == 1


def test_the_log_is_read_from_its_end_and_whole_and_as_data(talker):
    running(talker, "one")
    assert talker("jobs", "log", "one", "--last", "2").stdout == "line 28\nline 29\n"
    assert talker("jobs", "log", "one").stdout.splitlines() == [f"line {number}" for number in range(30)]
    assert talker("jobs", "log", "one", "--last", "100").stdout.count("\n") == 30
    assert talker.json("jobs", "log", "one", "--last", "1") == {
        "serviceID": "one",
        "text": "line 29\n",
        "whole": False,
    }
    assert talker.json("jobs", "log", "one")["whole"] is True
    assert talker("jobs", "log", "one", "-f", "--json").exit_code == 2


def test_files_are_listed_and_fetched_and_none_is_replaced(talker, tmp_path, monkeypatch):
    running(talker, "one")
    assert {"name": "made.txt", "size": 5} in talker.json("jobs", "files", "one")
    monkeypatch.chdir(tmp_path)
    assert talker("jobs", "fetch", "one", "made.txt").stdout == "made.txt  5 B\n"
    assert Path("made.txt").read_text() == "hello"
    again = talker("jobs", "fetch", "one", "made.txt")
    assert again.exit_code == 1 and "made.txt is there already, and stays as it is" in again.stderr
    assert talker("jobs", "fetch", "one", "made.txt", "--to", "-").stdout == "hello"
    assert talker("jobs", "fetch", "one", "../state.json").exit_code == 1
    talker("jobs", "abort", "one")
    assert talker.json("jobs", "remove", "one") == ["one"]


def test_the_list_is_narrowed_by_time_user_and_whether_it_goes_on(talker):
    running(talker, "one")
    talker("run", "Count", "seconds=0", "--id", "two")

    def listed(*words: str) -> list[str]:
        return [each["serviceID"] for each in talker.json("jobs", "list", *words)]

    assert listed("--state", "active") == ["one"] and listed("--state", "ended") == ["two"]
    assert listed("--user", "SHELL") == ["one", "two"] and listed("--user", "ada") == []
    assert listed("--since", "1h") == ["one", "two"] and listed("--until", "1h") == []
    assert listed("--since", time.strftime("%Y-%m-%d")) == ["one", "two"] and listed("--since", "2999-01-01") == []
    wrong = talker("jobs", "list", "--since", "yesterday")
    assert wrong.exit_code == 2 and "“yesterday” is no time: write 90s, 15min, 2h" in wrong.stderr


@pytest.mark.parametrize("module", ["click", "labwaiter.settings", "labwaiter.cli.jobs", "labwaiter.verbs.jobs"])
def test_ctrl_c_while_a_command_is_still_imported_prints_no_traceback(shell, tmp_path, module):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Pressed:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressed)\n"
    )
    environ = shell.environ | {"PYTHONPATH": f"{tmp_path}:{shell.environ['PYTHONPATH']}"}
    said = subprocess.run(
        [sys.executable, "-m", "labwaiter", "jobs", "list"], env=environ, capture_output=True, text=True, timeout=100
    )
    assert (said.returncode, said.stdout, said.stderr.strip()) == (1, "", "Aborted!")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_empty_deployment_means_no_folder_and_is_told(shell):
    said = shell("--deployment", "", "jobs", "list")
    assert said.exit_code == 2
    assert "--deployment is empty: name the lab's folder, or leave it out." in said.stderr


def test_what_is_said_to_be_done_next_means_the_same_lab(shell, tmp_path, monkeypatch):
    lab = tmp_path / "my lab"
    (lab / "app").mkdir(parents=True)
    (lab / "env").write_text("SERVICES=app/services\n")
    monkeypatch.setenv("LABWAITER_ENV", "")
    monkeypatch.setitem(shell.environ, "LABWAITER_ENV", "")
    said = shell("--deployment", str(lab), "new", "Foo")
    assert said.exit_code == 0, said.output
    assert f"labwaiter --deployment '{lab}' check " in said.stdout
    assert f"; labwaiter --deployment '{lab}' run Foo steps=3" in said.stdout
    assert json.loads(shell("--deployment", str(lab), "services", "--json").stdout)["Foo"]["doc"]

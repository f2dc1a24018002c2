"""run and jobs: executions from the shell, with a real supervisor."""

from __future__ import annotations

import json
import signal

import pytest

from lab import PATIENCE
from labwaiter import Client
from labwaiter.settings import load
from labwaiter.store.files import touch
from labwaiter.store.names import folder_name


def test_run_prints_the_outputs_and_completes(shell):
    ran = shell("run", "count", "seconds=0", "words=é 漢字 <&>")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines() == ["total = 3", "mean = 2.5", "ok = true", "words = é 漢字 <&>"]


def test_run_as_json_is_for_other_programs(shell):
    told = shell.json("run", "Count", "seconds=0", "--id", "one")
    assert told["serviceID"] == "one" and told["state"] == "completed"
    assert told["outputs"] == {"total": 3, "mean": 2.5, "ok": True, "words": ""}
    assert told["inputs"] == {"seconds": 0.0, "mode": "good", "words": ""}


def test_a_failed_run_says_why_and_exits_with_1(shell):
    ran = shell("run", "Count", "seconds=0", "mode=bad")
    assert ran.exit_code == 1
    assert " is failed. " in ran.stdout and "the plate has cracked" in ran.stdout
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["Count", "seconds=61"], 2, "between 0 and 60 s"),
        (["Count"], 2, "seconds is missing"),
        (["Count", "seconds=1", "colour=red"], 2, "no input “colour”"),
        (["Count", "seconds"], 2, "name=value"),
        (["Count", "seconds=1", "seconds=2"], 2, "twice"),
        (["Cuont", "seconds=1"], 2, "there are: Count"),
        (["Lens"], 3, "no_such_module_anywhere"),
    ],
)
def test_a_wrong_call_starts_nothing_and_says_what_to_mend(shell, words, status, sentence):
    shell.write(
        "lens.py",
        "@service('Lens', namespace='x:y')\n".replace("@", "#@") + "import no_such_module_anywhere\n",
    )
    ran = shell("run", *words)
    assert ran.exit_code == status, ran.output
    assert sentence in ran.stderr
    assert shell.json("jobs", "list") == []


def test_ctrl_c_aborts_the_run(shell):
    def hears() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background of a script ignores it

    with shell.process("run", "Count", "seconds=60", "--id", "long", preexec_fn=hears) as running:
        assert "Started Count as long" in shell.said_first(running)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert "long is aborted" in out
    assert shell.json("jobs", "list")[0]["state"] == "aborted"


def test_the_list_can_be_narrowed_by_state_and_service(shell):
    assert shell("jobs", "list").stdout == "No executions.\n"
    shell("run", "Count", "seconds=0", "--id", "good")
    shell("run", "Count", "seconds=0", "mode=bad", "--id", "bad")
    assert [job["serviceID"] for job in shell.json("jobs", "list")] == ["good", "bad"]
    assert [job["serviceID"] for job in shell.json("jobs", "list", "--state", "failed")] == ["bad"]
    assert shell.json("jobs", "list", "--service", "Waiter") == []
    assert "the plate has cracked" in shell("jobs", "list").stdout


def test_the_list_has_the_last_ones_and_says_how_many_more_there_are(shell):
    for name in ("a", "b", "c"):
        shell("run", "Count", "seconds=0", "--id", name)
    assert [job["serviceID"] for job in shell.json("jobs", "list", "--last", "2")] == ["b", "c"]
    short = shell("jobs", "list", "--last", "2")
    assert [line.split()[0] for line in short.stdout.splitlines()] == ["SERVICEID", "b", "c"]
    assert short.stderr == "1 older one is not listed: --all lists them.\n"
    whole = shell("jobs", "list", "--all")
    assert [line.split()[0] for line in whole.stdout.splitlines()] == ["SERVICEID", "a", "b", "c"] and not whole.stderr
    assert "Up to 2 older ones" in shell("jobs", "list", "--last", "1", "--state", "completed").stderr
    assert shell("jobs", "list", "--last", "1", "--state", "queued").output == "No such executions.\n"


TALKS = """
from labwaiter import Job, service

@service("Talks", namespace="http://lab.example/talks/")
def startTalks(job: Job) -> None:
    print("first\\tline \x1b[31mred")
    for message in (message for _ in job.every(0.02) for message in job.messages()):
        print(message, end="" if message == "the last" else "\\n")
        if message == "the last":
            return
"""


def test_the_log_is_printed_and_followed_until_the_end(shell):
    shell.write("talks.py", TALKS)
    with shell.process("run", "Talks", "--id", "one") as running:
        shell.said_first(running)
        lab = Client(load(shell.environ))
        with shell.process("jobs", "log", "one", "-f") as following:
            assert following.stdout.readline() == "first   line \\x1b[31mred\n"
            lab.get("one").notify("é 漢字")
            assert following.stdout.readline() == "é 漢字\n"
            assert shell("jobs", "log", "one").stdout.splitlines() == ["first   line \\x1b[31mred", "é 漢字"]
            lab.get("one").notify("the last")
            assert following.communicate(timeout=PATIENCE) == ("the last\n", "")
        assert following.returncode == 0
        running.communicate(timeout=PATIENCE)
    assert shell("jobs", "log", "one").stdout.endswith("the last\n")
    assert shell("jobs", "log", "two").exit_code == 2


def test_a_log_that_floods_is_followed_to_its_end(shell):
    shell.environ["LOG_LIMIT"] = "100000"
    shell.write(
        "talks.py",
        TALKS.replace("        print(message", "        print(*range(90_000), sep='\\n')\n        print(message"),
    )
    with shell.process("run", "Talks", "--id", "one") as running:
        shell.said_first(running)
        with shell.process("jobs", "log", "one", "-f") as following:
            following.stdout.readline()
            Client(load(shell.environ)).get("one").notify("the last")
            out, _ = following.communicate(timeout=PATIENCE)
        running.communicate(timeout=PATIENCE)
    assert following.returncode == 0 and out.endswith("89999\nthe last\n")


def test_show_tells_all_of_one_execution(shell):
    shell("run", "Count", "seconds=0", "--id", "one")
    said = shell("jobs", "show", "one").stdout
    for words in (
        "completed",
        "input seconds",
        "output mean",
        "2.5",
        "end.json",
        "log.txt",
        "counting",
        "shell",
    ):
        assert words in said
    told = shell.json("jobs", "show", "one")
    assert told["log"] == "counting\n" and "request.json" in told["files"]
    assert shell("jobs", "show", "two").exit_code == 2


def test_the_page_that_callers_see_can_be_saved(shell, tmp_path):
    shell("run", "Count", "seconds=0", "mode=bad", "--id", "bad")
    assert shell("jobs", "show", "bad", "--page", str(tmp_path / "page.html")).exit_code == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<html" in html and "the plate has cracked" in html


def test_nothing_from_outside_steers_the_terminal(shell):
    evil = "a\x1b[2J\nb\u202e"
    shell("run", "Count", "seconds=0", "words=\x1b]0;x\x07", "--id", evil)
    (shell.jobs / folder_name(evil) / "log.txt").write_text("\x1b[31mred\x9b2J\n")
    for words in (["list"], ["show", evil], ["wait", evil], ["remove", evil]):
        said = shell("jobs", *words).output
        assert all(c.isprintable() or c == "\n" for c in said)
        assert "x1b" in said


def test_wait_says_how_it_ended_or_that_time_is_up(shell):
    with shell.process("run", "Count", "seconds=60", "--id", "long") as running:
        shell.said_first(running)
        waited = shell("jobs", "wait", "long", "--timeout", "0.1")
        assert waited.exit_code == 3
        assert "long is " in waited.stdout
        removed = shell("jobs", "remove", "long")
        assert removed.exit_code == 2 and "abort it first" in removed.stderr
        aborted = shell("jobs", "abort", "long")
        assert aborted.exit_code == 0, aborted.output
        running.communicate(timeout=PATIENCE)
    assert shell("jobs", "wait", "long").exit_code == 1
    assert json.loads(shell("jobs", "wait", "long", "--json").stdout)["state"] == "aborted"


def test_a_removed_execution_is_gone_but_its_id_stays_used(shell):
    shell("run", "Count", "seconds=0", "--id", "one")
    assert shell("jobs", "remove", "one").stdout == "one is removed.\n"
    assert shell.json("jobs", "list") == []
    assert "removed" in shell("jobs", "show", "one").stderr
    again = shell("run", "Count", "seconds=0", "--id", "one")
    assert again.exit_code == 2 and "used before" in again.stderr


def test_a_deployment_that_was_stopped_starts_nothing(shell):
    shell("run", "Count", "seconds=0", "--id", "one")
    assert shell("stop").exit_code == 0
    ran = shell("run", "Count", "seconds=0", "--id", "two")
    assert ran.exit_code == 3 and "stopped" in ran.stderr
    assert shell("jobs", "list").exit_code == 0


def test_a_damaged_record_hides_no_other(shell):
    shell("run", "Count", "seconds=0", "--id", "good")
    shell("run", "Count", "seconds=0", "--id", "damaged")
    (shell.jobs / "damaged" / "request.json").write_text("{")
    touch(shell.jobs / "a file")
    assert [job["serviceID"] for job in shell.json("jobs", "list")] == ["good"]
    assert "damaged" in shell("jobs", "show", "damaged").stderr

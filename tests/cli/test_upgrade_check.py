"""upgrade --check: what this version will find in a lab, told before anything is replaced, and without a change."""

import json
import os
import shutil
from pathlib import Path

import pytest

from lab import SAMPLES, eventually

PROGRAM = """
from labwaiter import Job, Outputs, Script, service

class Result(Outputs):
    result: str

@service("Left", namespace="http://lab.example/left/")
def startLeft(job: Job) -> Result:
    return Script("left_behind.py", job.result_file)
"""


def stamps(folder):
    """Whatever lies in a folder: kind, mode, times and bytes."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = os.lstat(path)
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def check(shell, *words):
    """Look, and see that this has changed nothing."""
    before = stamps(shell.folder)
    said = shell("upgrade", "--check", *words)
    assert stamps(shell.folder) == before
    assert "Traceback" not in said.output
    return said


def told(shell, part):
    """The findings of a part: level and sentence."""
    parts = json.loads(check(shell, "--json").stdout)["parts"]
    return [(finding["level"], finding["what"]) for finding in parts[part]["findings"]]


def test_a_lab_in_order_has_nothing_in_the_way(shell):
    shell("check", "--keep")
    said = check(shell)
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("What labwaiter ") and "nothing was changed." in said.stdout
    assert "fine     Count: its WSDL says what the kept one does." in said.stdout
    assert (
        "fine     These are set, and can be: CONTEXT_ROOT, WAITER_LOG_FOLDER, SERVICES, WEB_CONCURRENCY." in said.stdout
    )
    assert said.stdout.endswith("Nothing is in the way; 0 warnings.\n")


def test_where_executions_have_been_nothing_is_kept_of_what_it_finds(shell):
    assert shell.call("run", "Count", "seconds=0").returncode == 0
    assert shell("stop").exit_code == 0
    text = (shell.folder / "services" / "count.py").read_text()
    shell.write("count.py", text + "\n# edited since, so it is imported anew\n")
    assert check(shell).exit_code == 0
    assert "labwaiter has stopped" not in shell("stop").stdout  # and nothing was started


def test_each_setting_that_went_or_can_no_longer_be_is_told(shell):
    before = (shell.folder / "env").read_text()
    (shell.folder / "env").write_text(
        "SERVICES=services\nWAITER_LOG_FOLDER=jobs\nMAX_JOBS=3\nMAX_RUNING=7\nPORT=http\nHOST='0.0.0.0'\nKEEP_DAYS=-1\n"
    )
    said = check(shell)
    assert said.exit_code == 1
    for sentence in (
        "error    env, line 3: MAX_JOBS is no setting",
        "error    env, line 4: MAX_RUNING is no setting; perhaps MAX_RUNNING is meant.",
        "error    env, line 6: write HOST=…, without quotes.",
        "error    PORT must be a number from 1 to 65535, not “http”.",
        "error    KEEP_DAYS must be a number from 0 to 36500 days, not “-1”.",
    ):
        assert sentence in said.stdout, said.stdout
    (shell.folder / "env").write_text(before)


def test_who_may_call_must_be_said_where_others_can(shell):
    shell.environ |= {"HOST": "0.0.0.0"}
    assert any(level == "error" and "TOKENS must say who may" in what for level, what in told(shell, "settings"))


def test_services_that_no_longer_import_or_break_their_callers_are_told(shell):
    shell("check", "--keep")
    text = (shell.folder / "services" / "count.py").read_text()
    shell.write("count.py", text.replace('    mode: Literal["good"', '    speed: int = 3,\n    mode: Literal["good"'))
    shell.write("odd.py", "import no_such_module_anywhere\n")
    found = told(shell, "services")
    assert ("error", "Count: The input speed of startCount was put in before mode.") in found
    assert any(level == "error" and what.startswith("odd.py, line 1: ") for level, what in found)
    (shell.folder / "services" / "count.py").unlink()
    assert any("Count is no longer there" in what for level, what in told(shell, "services") if level == "error")


def test_a_program_that_was_left_behind_is_told_with_its_line(shell):
    shell.write("left.py", PROGRAM)
    line = PROGRAM.splitlines().index('    return Script("left_behind.py", job.result_file)') + 1
    assert [
        level for level, what in told(shell, "services") if f"left.py, line {line}: The script left_behind" in what
    ] == ["error"]


def test_a_plot_that_nothing_can_draw_is_told(shell):
    (shell.folder / "no_matplotlib").mkdir()
    (shell.folder / "no_matplotlib" / "sitecustomize.py").write_text(
        "import sys, importlib.util as util\nsys.modules['matplotlib'] = None\nfound = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'matplotlib' else found(name, *more)\n"
    )
    text = (shell.folder / "services" / "count.py").read_text()
    shell.write("count.py", text.replace('print("counting")', 'job.plot("mean")'))
    assert check(shell).exit_code == 0
    shell.environ["PYTHONPATH"] = f"{shell.environ['PYTHONPATH']}:{shell.folder}/no_matplotlib"
    said = shell("check", str(shell.folder / "services" / "count.py"))
    assert said.exit_code == 1 and "job.plot needs matplotlib" in said.stderr
    assert any(level == "error" and "job.plot needs matplotlib" in what for level, what in told(shell, "services"))


def test_a_service_whose_wsdl_was_not_kept_can_not_be_judged(shell):
    said = check(shell)
    assert said.exit_code == 0
    assert (
        "warning  Whether these stay as their callers know them can't be told, for no WSDL was kept: Count."
        in said.stdout
    )


@pytest.mark.parametrize(
    ("name", "text", "part", "sentence"),
    [
        ("lab.toml", "[instruments.x]\n", "instruments", "lab.toml, line 1: x: it needs driver"),
        ("lab.toml", "[instruments\n", "instruments", "lab.toml is no TOML"),
        (
            "schedule.toml",
            '[schedules.air]\nservice = "Count"\nevery = "soon"\n',
            "schedules",
            "schedule.toml, line 1: air:",
        ),
        (
            "schedule.toml",
            '[schedules.air]\nservice = "Gone"\nevery = "1 h"\n',
            "schedules",
            "there are: Count.",
        ),
    ],
)
def test_lab_and_schedule_are_read_as_this_version_does(shell, name, text, part, sentence):
    (shell.folder / name).write_text(text)
    assert check(shell).exit_code == 1
    assert [level for level, what in told(shell, part) if sentence in what] == ["error"]


def test_a_jobs_folder_with_nothing_in_it_is_of_no_older_release(shell):
    shell.jobs.mkdir(exist_ok=True)
    assert told(shell, "executions") == [("fine", "There are none yet.")]


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes the right to become one")
def test_a_jobs_folder_that_this_account_cannot_write_is_told(shell, tmp_path):
    shutil.copytree(SAMPLES / "jobs-0.4.0", shell.jobs)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder != Path("/"):
            os.chmod(folder, folder.stat().st_mode | 0o055)
    os.chmod(shell.jobs, 0o755)
    os.seteuid(65534)
    try:
        levels = {what: level for level, what in told(shell, "executions")}
    finally:
        os.seteuid(0)
    assert levels[f"{shell.jobs} can't be written by this account."] == "error"
    shutil.rmtree(shell.jobs)


def test_a_file_where_the_jobs_folder_is_to_be_is_told(shell):
    shell.jobs.write_text("")
    assert told(shell, "executions")[0] == (
        "error",
        f"{shell.jobs} is no folder, and the jobs folder is to be there.",
    )
    shell.jobs.unlink()


def test_jobs_of_an_older_release_are_read_and_what_becomes_of_them_is_told(shell):
    shutil.copytree(SAMPLES / "jobs-0.4.0", shell.jobs)
    (shell.jobs / "damaged").mkdir()
    (shell.jobs / "damaged" / "request.json").write_text("{")
    found = told(shell, "executions")
    assert ("fine", "Executions that have ended and can be read: 4; tombstones: 1.") in found
    assert ("warning", "These can't be read: damaged.") in found
    assert any("Its form is that of labwaiter 0.4 or before, and would become" in what for _, what in found)
    assert any(level == "warning" and "No file offers the service Echo" in what for level, what in found)
    assert ("warning", "These were cut off: interrupted.") in found
    assert ("error", "These wait, and could not be run: queued (nobody offers Echo).") in found
    shutil.rmtree(shell.jobs)


def test_what_runs_and_waits_is_told_and_goes_on(shell):
    text = (shell.folder / "services" / "count.py").read_text()
    with shell.process("run", "Count", "--id", "long", "seconds=60") as called:
        progress = shell.jobs / "long" / "progress.json"
        eventually(lambda: progress.exists() and "half way" in progress.read_text())
        shell.write("count.py", text.replace("seconds: Annotated", "duration: Annotated"))
        before = (shell.jobs / "long" / "state.json").read_bytes()
        said = shell("upgrade", "--check")
        assert "These run, as far as is known: long." in said.stdout
        assert (shell.jobs / "long" / "state.json").read_bytes() == before
        assert shell("jobs", "abort", "long").exit_code == 0
        called.communicate()


def test_a_newer_one_s_lab_is_refused_in_one_sentence(shell):
    form = shell.jobs / ".labwaiter" / "form"
    form.parent.mkdir(parents=True)
    form.write_text("99\n")
    said = check(shell)
    assert said.exit_code == 1 and said.stdout == ""
    assert said.stderr.count("\n") == 1 and "A newer labwaiter than this one has used " in said.stderr
    refused = check(shell, "--json")
    assert refused.exit_code == 1 and "A newer labwaiter" in json.loads(refused.stdout)["refused"]
    form.unlink()


def test_it_does_nothing_without_check(shell):
    said = shell("upgrade")
    assert said.exit_code == 2 and "labwaiter upgrade --check" in said.stderr

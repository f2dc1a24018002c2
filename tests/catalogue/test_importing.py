"""Whatever a service file does to the process that imports it, whoever asked gets a sentence and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from here import ROOT
from lab import eventually, gone
from labwaiter.catalogue import catalogue, importing
from shelf import Shelf

GOOD = '''
from labwaiter import Job, Outputs, service
class Result(Outputs):
    result: str
@service("Good", namespace="http://samples.example/")
def startGood(job: Job) -> Result:
    """Be good."""
'''
SERVICE = '\n@service("Grow", namespace="http://samples.example/")\ndef startGrow(job): pass\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os\nprint('no display', flush=True)\nos.abort()", "the process that imported it (SIGABRT)"),
        ("print('no display')\nimport os\nos._exit(3)", "the process that imported it (exit status 3)"),
        ("print('no display')\nimport ctypes\nctypes.string_at(0)", "the process that imported it (SIGSEGV)"),
        ("import os\nos.write(2, b'no display\\n\\n')\nos.kill(os.getppid(), 9)\nos._exit(0)", "(SIGKILL)"),
        ("import sys\nsys.exit(2)", "does not import: SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_a_file_that_ends_its_importer_is_one_sentence_and_the_others_serve(
    shelf: Shelf, text: str, reason: str
) -> None:
    (shelf.folder / "grow.py").write_text(text + SERVICE)
    (shelf.folder / "good.py").write_text(GOOD)
    offered = catalogue.load(shelf.folder)
    assert list(offered.services) == ["Good"]
    found = offered.broken["Grow"].reason
    assert found.startswith("grow.py") and reason in found and str(shelf.folder) not in found
    if "no display" in text and "SIGKILL" not in reason:
        assert found.endswith("the last that it printed: “no display”.")


def test_an_import_has_a_limit_of_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "IMPORT_SECONDS", 0.5)
    (shelf.folder / "grow.py").write_text("import time\nwhile True: time.sleep(1)\n" + SERVICE)
    assert catalogue.load(shelf.folder).broken["Grow"].reason == "grow.py took more than 0.5 s to import."


def test_processes_that_a_file_starts_are_ended_with_its_import(shelf: Shelf) -> None:
    pids = shelf.folder / "pids"
    lines = [
        "import os, signal, subprocess",
        f"def note(pid): open({str(pids)!r}, 'a').write(f'{{pid}}\\n')",
        "note(subprocess.Popen(['sleep', '1000']).pid)",
        "note(subprocess.Popen(['sleep', '1000'], start_new_session=True, env={}).pid)",
        "if os.fork() == 0:",  # an orphan that has left everything, its mark too
        "    os.setsid()",
        "    note(subprocess.Popen(['sleep', '1000'], start_new_session=True, env={}).pid)",
        "    os._exit(0)",
        "os.wait()",
    ]
    (shelf.folder / "grow.py").write_text("\n".join(lines) + GOOD)
    assert list(catalogue.load(shelf.folder).services) == ["Good"]
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 3
    assert all(gone(pid) for pid in started)


def test_a_fork_that_goes_on_with_the_import_gives_no_answer_of_its_own(shelf: Shelf) -> None:
    (shelf.folder / "good.py").write_text("import os\nchild = os.fork()\n" + GOOD + "\nif child == 0: x = 1 / 0\n")
    assert list(catalogue.load(shelf.folder).services) == ["Good"]


def test_what_a_file_prints_reaches_nobody_s_output(shelf: Shelf, tmp_path: Path) -> None:
    (shelf.folder / "good.py").write_text("import os\nprint('hello')\nos.system('echo hello')\n" + GOOD)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "app"),
        "SERVICES": str(shelf.folder),
        "WAITER_LOG_FOLDER": str(tmp_path / "jobs"),
        "LABWAITER_ENV": os.devnull,
    }
    for words in (["services", "--json"], ["check", str(shelf.folder / "good.py"), "--json"]):
        told = subprocess.run(
            [sys.executable, "-m", "labwaiter", *words], env=environment, capture_output=True, text=True
        )
        assert (told.returncode, "hello" in told.stdout, told.stderr) == (0, False, "")
    told = subprocess.run(
        [sys.executable, "-m", "labwaiter", "check", str(shelf.folder / "good.py")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "hello" not in told.stdout and "good.py prints as it is imported: hello" in told.stderr


def test_files_are_imported_side_by_side(shelf: Shelf) -> None:
    # each waits for the other's sign: one after the other they would wait for ever
    for mine, other in (("a", "b"), ("b", "a")):
        (shelf.folder / f"{mine}.py").write_text(
            f"import pathlib, time\nhere = pathlib.Path({str(shelf.folder)!r})\n(here / '{mine}.sign').touch()\n"
            f"while not (here / '{other}.sign').exists(): time.sleep(0.01)\n" + GOOD.replace("Good", mine.upper())
        )
    assert list(catalogue.load(shelf.folder).services) == ["A", "B"]


def test_an_import_has_a_folder_and_a_session_of_its_own_and_no_secrets(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SECRET", "a secret of the lab's")
    monkeypatch.setenv("LABWAITER_WEB", "x")
    seen = shelf.folder / "seen"
    (shelf.folder / "good.py").write_text(
        f"import os, sys\nopen('made.log', 'w').close()\n"
        f"open({str(seen)!r}, 'w').write(repr((os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read(),"
        " 'REDIS_SECRET' in os.environ, 'LABWAITER_WEB' in os.environ)))\n" + GOOD
    )
    assert list(catalogue.load(shelf.folder).services) == ["Good"]
    folder, leads, read, secret, web = eval(seen.read_text())
    assert (leads, read, secret, web) == (True, "", False, False)
    assert folder != os.getcwd() and not Path(folder).exists()


def test_numbers_of_other_kinds_are_numbers_in_a_signature(shelf: Shelf) -> None:
    text = GOOD.replace("def startGood(job: Job)", "def startGood(job: Job, n: Annotated[int, Range(Decimal(1), 5)])")
    text = "from decimal import Decimal\nfrom typing import Annotated\nfrom labwaiter import Range\n" + text
    (shelf.folder / "good.py").write_text(text)
    assert catalogue.load(shelf.folder).services["Good"].inputs[0].low == 1


def test_whoever_asks_may_be_ended_and_nothing_is_left(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = shelf.folder / "pid"
    (shelf.folder / "grow.py").write_text(
        f"import os, time\nopen({str(pid)!r}, 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(1000)\n" + SERVICE
    )
    script = "from labwaiter.catalogue import catalogue; import pathlib; catalogue.IMPORT_SECONDS = 3.0;"
    script += f"catalogue.load(pathlib.Path({str(shelf.folder)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    asking = subprocess.Popen([sys.executable, "-c", script], env=environment)
    importer = int(eventually(lambda: pid.exists() and pid.read_text().endswith("\n") and pid.read_text()))
    asking.kill()
    asking.wait()
    eventually(lambda: gone(importer))


def test_our_own_mistake_is_told_and_not_tried_for_ever(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def fails(*_: object) -> importing.Description:
        tries.append(time.monotonic())
        raise RuntimeError("ours")

    shelf.write("Word")
    monkeypatch.setattr(importing, "describe", fails)
    kept = shelf.kept()
    assert "could not be imported, and the log says why" in kept.now().broken["Word"].reason
    kept.now()
    assert len(tries) == 1 and "RuntimeError: ours" in caplog.text

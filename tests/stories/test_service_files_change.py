"""A service's file is edited, breaks or goes while its executions run: they stay reachable by every operation."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callers import NS, Caller, Web, envelope
from lab import PATIENCE, Lab, eventually
from labwaiter import Client
from labwaiter.catalogue import catalogue, importing
from labwaiter.errors import InvalidParameter, Unavailable
from labwaiter.model.caller import SHELL
from labwaiter.store.names import folder_name

WAITS = '''
from labwaiter import Job, Outputs, service

class Result(Outputs):
    result: str

@service("Waits", namespace="http://samples.example/")
def startWaits(job: Job, word: str = "hello") -> Result:
    """Wait for a message."""
    job.progress(None, "waiting")
    for _ in job.every(0.02):
        for message in job.messages():
            job.reply(message, f"you said {message}")
            if message == "bye":
                return Result(result=word)
'''


@pytest.fixture
def waits(services: Path) -> Path:
    file = services / "waits.py"
    file.write_text(WAITS)
    return file


def begun(lab: Lab, service_id: str) -> None:
    """Until its function runs: its file is imported."""
    lab.when(service_id, lambda: lab.status_progress(service_id).stage == "waiting")


def test_one_that_waited_while_its_inputs_became_others_fails_with_a_sentence(
    waits: Path, make_lab: Callable[..., Lab], services: Path
) -> None:
    lab = make_lab(MAX_RUNNING="1")
    lab.supervise()
    lab.start("Waits", "first")
    begun(lab, "first")
    lab.start("Waits", "second")
    waits.write_text(
        WAITS.replace('word: str = "hello"', "word: int = 3").replace("Result(result=word)", 'Result(result="")')
    )
    lab.jobs.notify(None, "first", "bye", SHELL)
    assert lab.ended("first").outputs == {"result": "hello"}
    assert lab.ended("second").why == (
        "The service Waits was changed while this execution waited: its inputs are others now (word). Start it again."
    )


def page(reply: object) -> str:
    return base64.b64decode(reply["status_base64"]).decode()  # type: ignore[index]


@pytest.mark.parametrize("how", ["breaks", "aborts", "goes", "offers another"])
def test_what_runs_is_polled_told_and_aborted_whatever_became_of_its_file(waits: Path, lab: Lab, how: str) -> None:
    caller = Caller(lab)
    for service_id in ("one", "two"):
        assert "<html" in page(caller.call("Waits", "startWaits", serviceID=service_id))
        begun(lab, service_id)
    wsdl = caller("/waits/Waits", query="wsdl").body
    if how == "goes":
        waits.unlink()
    else:
        added = {"breaks": "\n1 / 0\n", "aborts": "\nimport os\nos.abort()\n", "offers another": ""}[how]
        waits.write_text(WAITS.replace("Waits", "Others" if how == "offers another" else "Waits") + added)
    reason = {
        "breaks": "ZeroDivisionError",
        "aborts": "ended the process that imported it (SIGABRT)",
        "goes": "no longer offers it",
        "offers another": "no longer offers it",
    }[how]
    for face in (caller, Caller(lab)):  # the web side that was there, and one that has just begun
        refused = face.call("Waits", "startWaits", serviceID="new")
        assert refused["errorCode"] == "Unavailable" and reason in refused["description"]
        assert "<html" in page(face.call("Waits", "getServiceStatus", serviceID="one"))
        assert "<html" in page(face.call("Waits", "startWaits", serviceID="one"))  # the same start again
        assert face("/waits/Waits", query="wsdl").body == wsdl
        said = face.call("Waits", "notifyService", serviceID="one", message="hi")
        assert said["response"] == "you said hi"
    caller.call("Waits", "notifyService", serviceID="one", message="bye")
    lab.ended("one")
    assert Caller(lab).call("Waits", "getServiceStatus", serviceID="one")["result"] == "hello"
    assert Caller(lab).call("Waits", "abortService", serviceID="two")["success"] == "true"
    assert {folder_name(name) for name in ("one", "two")} == set(lab.store.names())
    # the shell and a script
    words = [sys.executable, "-m", "labwaiter", "jobs", "show", "two", "--page", "-"]
    shown = subprocess.run(words, env=lab.face_environment, capture_output=True, text=True)
    assert shown.returncode == 0 and "<html" in shown.stdout, shown.stderr
    assert Client(lab.jobs.settings).get("two").aborted


def test_a_web_side_that_never_knew_the_service_answers_by_the_execution_s_own_signature(waits: Path, lab: Lab) -> None:
    Caller(lab).call("Waits", "startWaits", serviceID="one")
    begun(lab, "one")
    waits.write_text("import a_module_that_nobody_has\n" + WAITS)
    lab.take_away(catalogue.cache_of(lab.settings.jobs_folder))
    caller = Caller(lab)
    assert "<html" in page(caller.call("Waits", "getServiceStatus", serviceID="one"))
    assert caller.call("Waits", "notifyService", serviceID="one", message="hi")["response"] == "you said hi"
    assert caller.call("Waits", "abortService", serviceID="one")["success"] == "true"
    assert "a_module_that_nobody_has" in caller.call("Waits", "startWaits", serviceID="new")["description"]
    assert caller.call("Waits", "getServiceStatus", serviceID="nobody's")["errorCode"] == "Unavailable"


def test_an_execution_answers_by_the_signature_that_it_began_with(waits: Path, lab: Lab) -> None:
    caller = Caller(lab)
    caller.call("Waits", "startWaits", serviceID="old")
    begun(lab, "old")
    new = WAITS.replace("result: str", "answer: str\n    length: int").replace(
        "Result(result=word)", "Result(answer=word, length=len(word))"
    )
    waits.write_text(new.replace('word: str = "hello"', 'word: str = "hello", times: int = 2'))
    began = caller.call("Waits", "startWaits", serviceID="new", times="3")
    assert (began["answer"], began["length"]) == ("UNSET", "0")
    for face in (caller, Caller(lab)):
        old = face.call("Waits", "getServiceStatus", serviceID="old")
        assert old["result"] == "UNSET" and b"length" not in old.body
        assert face.call("Waits", "startWaits", serviceID="old")["result"] == "UNSET"
    for service_id in ("old", "new"):
        caller.call("Waits", "notifyService", serviceID=service_id, message="bye")
        lab.ended(service_id)
    assert Caller(lab).call("Waits", "getServiceStatus", serviceID="new")["length"] == "5"


def test_callers_with_the_wsdl_of_before_reach_what_they_started(waits: Path, lab: Lab) -> None:
    caller = Caller(lab)
    caller.call("Waits", "startWaits", serviceID="one")
    begun(lab, "one")
    waits.write_text(WAITS.replace(NS, "http://another.example/").replace("startWaits", "beginWaits"))
    began = caller("/Waits", envelope("beginWaits", ns="http://another.example/", serviceID="two", sessionToken="t"))
    assert "<html" in page(began)
    assert "<html" in page(caller.call("Waits", "getServiceStatus", serviceID="one"))
    assert "<html" in page(caller.call("Waits", "startWaits", serviceID="one"))
    refused = caller.call("Waits", "startWaits", serviceID="three")
    assert refused["errorCode"] == "InvalidParameter" and "http://another.example/" in refused["description"]
    assert caller.call("Waits", "abortService", serviceID="one")["success"] == "true"
    stranger = caller.call("Waits", "getServiceStatus", serviceID="two")  # it never had this namespace
    assert stranger["errorCode"] == "InvalidParameter"


def test_a_new_file_is_served_by_every_worker_and_a_list_shows_it(
    services: Path, lab: Lab, make_web: Callable[..., Web]
) -> None:
    import urllib.request

    def get(address: str) -> str:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    web = make_web(lab, workers=2)
    (services / "waits.py").write_text(WAITS)
    for _ in range(8):
        assert "startWaits" in get(web.wsdl("Waits"))
    assert "Waits" in get(f"{web.url}/")
    (services / "waits.py").write_text(WAITS.replace('"hello"', '"good morning"'))
    for _ in range(8):
        assert "good morning" in get(web.wsdl("Waits"))


# -- a service's own check ----------------------------------------------------------------------

CHECKED = '''
import os, time
from pathlib import Path
from labwaiter import InvalidParameter, Job, Outputs, service

class Result(Outputs):
    result: str

def check(how, file=None):
    with open({count!r}, "a") as noted:
        noted.write(how + "\\n")
    print("looking at", how)
    if how == "refuses":
        return "No such thing today."
    if how == "raises":
        raise InvalidParameter("No such thing ever.")
    if how == "file":
        return f"It has {{len(file.read_text())}} characters."
    if how == "slips":
        return 1 / 0
    if how == "leaves":
        raise SystemExit
    if how == "hangs":
        time.sleep(1000)
    if how == "dies":
        os.abort()

@service("Checked", namespace="http://samples.example/", check=check)
def startChecked(job: Job, how: str, file: Path | None = None) -> Result:
    """What its check lets pass."""
    return Result(result=how)
'''


@pytest.fixture
def checked(services: Path) -> Iterator[Callable[[], list[str]]]:
    count = services.parent / "checks"
    (services / "checked.py").write_text(
        CHECKED.format(count=str(count)).replace("Path | None = None", 'Path = "none.txt"')
    )
    yield lambda: count.read_text().splitlines() if count.exists() else []


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("refuses", InvalidParameter, "No such thing today."),
        ("raises", InvalidParameter, "No such thing ever."),
        ("file", InvalidParameter, "It has 7 characters."),
        ("slips", Unavailable, "the check of Checked's inputs failed, and the log says why"),
        ("leaves", Unavailable, "the check of Checked's inputs failed, and the log says why"),
        ("hangs", Unavailable, "the check of Checked's inputs took more than 2 s"),
        ("dies", Unavailable, r"the check of Checked's inputs ended its process \(SIGABRT\)"),
    ],
)
def test_a_check_refuses_a_start_and_nothing_is_recorded(
    checked: Callable[[], list[str]],
    lab: Lab,
    how: str,
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(importing, "CHECK_SECONDS", 2.0)
    for name in ("none.txt", "seven.txt"):
        (lab.jobs.settings.files_folder).mkdir(exist_ok=True)
        (lab.jobs.settings.files_folder / name).write_text("7 chars")
    with pytest.raises(error, match=words):
        lab.start("Checked", "one", how=how, file="seven.txt")
    assert checked() == [how] and not list(lab.store.names())
    assert how != "slips" or "ZeroDivisionError" in caplog.text


def test_a_repeated_start_is_not_checked_again(checked: Callable[[], list[str]], lab: Lab) -> None:
    lab.jobs.settings.files_folder.mkdir(exist_ok=True)
    (lab.jobs.settings.files_folder / "none.txt").touch()
    for _ in range(3):
        lab.start("Checked", "one", how="passes")
    assert lab.ended("one").outputs == {"result": "passes"}
    lab.start("Checked", "one", how="passes")
    assert checked() == ["passes"]


def test_a_file_that_is_not_there_is_refused_without_a_check_too(lab: Lab, services: Path) -> None:
    (services / "takes.py").write_text(
        WAITS.replace("Waits", "Takes")
        .replace("word: str", "file: Path, word: str")
        .replace("from labwaiter", "from pathlib import Path\nfrom labwaiter")
    )
    with pytest.raises(InvalidParameter, match="names no file"):
        lab.start("Takes", "one", file="nowhere.txt")
    assert eventually(lambda: not list(lab.store.names()))

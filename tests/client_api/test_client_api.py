"""`labwaiter.Client`: what a script does with executions, on one machine and on many."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually
from labwaiter import Client
from labwaiter.errors import InvalidParameter, JobAborted, JobFailed, ServiceIDInUse, UnknownServiceID


@pytest.fixture
def client(lab: Lab) -> Client:
    return Client(lab.jobs.settings, user="ada")


def test_a_script_starts_waits_and_reads_the_outputs(client: Client) -> None:
    echo = client.start("Echo", text="é 漢字", number=3).join(60, raising=True)
    assert echo.completed and not echo.running and echo.error is None
    assert echo.outputs == {"text": "é 漢字", "number": 3, "fraction": 0.5, "flag": False, "colour": "green"}
    assert echo.inputs["number"] == 3 and echo.user == "ada" and echo.service == "Echo"
    assert client.get(echo.service_id) == echo


def test_join_does_not_raise_unless_it_is_asked_to(client: Client) -> None:
    bad = client.start("Raises").join(60)
    assert bad.failed and bad.outputs is None and bad.error
    with pytest.raises(JobFailed, match=bad.error[:20].replace("(", ".")):
        bad.join(raising=True)
    talk = client.start("Talk")
    assert talk.join(0.01) is talk and talk.running
    with pytest.raises(TimeoutError, match="has not ended within 0.01 s"):
        talk.join(0.01, raising=True)
    assert eventually(talk.abort) and talk.aborted
    with pytest.raises(JobAborted):
        talk.join(raising=True)


def test_the_same_start_again_is_the_same_execution_however_it_ended(client: Client) -> None:
    first = client.start("Raises", "mine", how="plain").join(60)
    assert client.start("Raises", "mine", how="plain") == first
    with pytest.raises(ServiceIDInUse):
        client.start("Raises", "mine", how="other")


def test_executions_are_listed_by_service_user_and_whether_they_run(client: Client, lab: Lab) -> None:
    talk, echo = client.start("Talk"), client.start("Echo", text="a").join(60)
    other = Client(lab.jobs.settings, user="bob").start("Echo", text="b").join(60)
    assert client.executions() == [talk, echo, other]
    assert client.executions(running=True) == [talk]
    assert client.executions(running=False, service="echo", user="ada") == [echo]
    assert client.executions(user="nobody") == []
    talk.notify("bye")
    assert client.join([talk, echo], 60) == [talk, echo]


def test_a_message_is_answered_and_progress_is_seen(client: Client) -> None:
    talk = client.start("Talk")
    assert eventually(lambda: talk.stage == "listening")
    assert talk.progress is None and talk.notify("hello", wait=20) == "you said hello"
    talk.notify("bye")
    assert talk.join(60).completed


def test_what_it_made_is_read_wherever_it_runs(client: Client, lab: Lab) -> None:
    talk = client.start("Talk", "making")
    lab.running("making")
    (lab.folder("making") / "data" / "curve.csv").write_bytes(b"1,2\n")
    assert eventually(talk.data.names) == ["curve.csv"] and "curve.csv" in talk.data
    with talk.data.open("curve.csv") as file:
        assert file.read() == b"1,2\n"
    assert talk.data.sizes() == {"curve.csv": 4}
    for outside in ("nothing.csv", "../request.json", "/etc/hostname"):
        with pytest.raises(FileNotFoundError):
            talk.data.path(outside)
    assert eventually(talk.abort)


def test_what_is_not_there_is_told_by_its_name(client: Client) -> None:
    with pytest.raises(InvalidParameter, match="There is no service “Ehco”; there are: "):
        client.start("Ehco")
    with pytest.raises(InvalidParameter, match="number"):
        client.start("Echo", text="a", number="many")
    with pytest.raises(UnknownServiceID):
        client.get("nobody's")


def test_many_threads_share_one_client(client: Client) -> None:
    ended, wrong = [], []

    def work(number: int) -> None:
        try:
            one = client.start("Echo", f"thread {number}", text=str(number)).join(90, raising=True)
            ended.append((number, (one.outputs or {})["text"]))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong and sorted(ended) == [(number, str(number)) for number in range(12)]


def test_importing_labwaiter_does_not_import_what_only_scripts_need(lab: Lab, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, labwaiter; print(any('redis' in m or m.endswith('.client') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=lab.environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


SCRIPT = """
import logging, sys
from labwaiter import Client
logging.basicConfig(level=logging.INFO) if sys.argv[1] == "logs" else None
lab = Client()
print(lab.start("Echo", text="a").join(60).outputs["text"])
try:
    lab.start("Broken")
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize("logs", ["", "logs"])
def test_a_script_hears_nothing_of_services_that_it_did_not_ask_for(make_lab: Callable[..., Lab], logs: str) -> None:
    lab = make_lab()
    assert (lab.settings.services / "broken.py").exists()
    lab.supervise()
    command = [sys.executable, "-c", SCRIPT, logs]
    ran = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.stdout.splitlines()[0] == "a" and "can't be run: broken.py needs the module" in ran.stdout
    assert ran.stderr == ""

"""The test client, as somebody types it."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Web
from here import ROOT
from lab import PATIENCE
from labwaiter.model.caller import SHELL
from labwaiter.store.web_side import deployment

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(web: Web, tmp_path: Path) -> Typed:
    """Type something; the port of the lab's web side comes first."""

    def type_in(*words: str, port: int = web.port) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "TEST_CLIENT_AT": web.url,
            "TEST_CLIENT_LAST": str(tmp_path / "last.json"),
        }
        command = [sys.executable, str(ROOT / "test_client" / "client.py"), str(port), *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)

    return type_in


def test_start_then_status_tell_the_tutorial_s_story(typed: Typed, web: Web) -> None:
    started = typed("--service", "Unruly", "start", "word=hundred-but-running")
    assert started.returncode == 0, started.stderr
    head, _, reply = started.stdout.partition("Starting service\n")
    assert head == (
        f"Using port {web.port}\nwsdl URL is http://127.0.0.1:{web.port}/sintef/docker_services/unruly/Unruly?wsdl\n"
    )
    assert re.fullmatch(r'\(reply\)\{\n   status_base64 = "[\w+/=]+"\n   result = "UNSET"\n \}\n', reply)
    job = next(iter(web.lab.jobs.list(SHELL))).request.service_id
    web.lab.running(job)
    (web.lab.folder(job) / "go").touch()
    web.lab.ended(job)
    done = typed("status", "--service", "Unruly")
    assert done.stdout.endswith(
        'Calling getServiceStatus:\n(reply){\n   status_base64 = "COMPLETED"\n   result = "late"\n }\n'
    )


def test_what_was_started_last_is_asked_for_whatever_its_service(typed: Typed) -> None:
    for name, value, of in (("Echo", "text=hello", "one"), ("Unruly", "word=hundred-but-running", "other")):
        assert typed("--service", name, "--id", of, "start", value).returncode == 0
    assert "/unruly/Unruly?wsdl\n" in typed("status").stdout
    assert "/echo/Echo?wsdl\n" in typed("status", "--id", "one").stdout
    aborted = typed("abort")
    assert "/unruly/Unruly?wsdl\n" in aborted.stdout and "it is gone" in aborted.stdout
    assert "/waiter/Waiter?wsdl\n" in typed("start").stdout  # a new one is a Waiter, unless it is named


@pytest.mark.parametrize("ours", [True, False])
def test_a_call_that_names_no_port_reaches_this_deployment_and_no_other(web: Web, tmp_path: Path, ours: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"} | {
        "TEST_CLIENT_AT": web.url,
        "TEST_CLIENT_DEPLOYMENT": deployment(web.lab.jobs.settings.jobs_folder) if ours else "another one's",
        "TEST_CLIENT_LAST": str(tmp_path / "last.json"),
    }
    command = [sys.executable, str(ROOT / "test_client" / "client.py")]
    words = ["--service", "Echo", "start", "text=hello"]
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == (0 if ours else 3), done.stderr
    if not ours:
        assert f"Nothing of this lab runs: another deployment answers at {web.url}." in done.stderr
        assert f"./run.sh {web.port} …" in done.stderr
        assert not list(web.lab.jobs.list(SHELL))
        command.append(str(web.port))  # who names it means it
        assert (
            subprocess.run([*command, *words], env=environment, capture_output=True, timeout=PATIENCE).returncode == 0
        )
    assert len(list(web.lab.jobs.list(SHELL))) == 1


def test_watch_polls_to_the_end_saves_the_page_and_gives_the_outputs(typed: Typed, tmp_path: Path) -> None:
    watched = typed("watch", "--service", "Steps", "--every", "0.1", "count=10", "step=0.1")
    assert watched.returncode == 0, watched.stderr
    assert "COMPLETED" in watched.stdout and "result = counted" in watched.stdout
    assert re.search(r"\d+ %  at \d", watched.stdout)
    assert "<html" in (tmp_path / "status.html").read_text()
    assert watched.stdout.index("The page, anew at each poll: status.html") < watched.stdout.index("COMPLETED")
    assert "The last page: status.html" in watched.stdout  # where it runs may be a container: it knows no other path
    again = typed("watch", "--service", "Steps", "--every", "0.1")
    assert again.returncode == 0 and "result = counted" in again.stdout


def test_the_page_can_be_looked_at_while_it_runs(typed: Typed, web: Web, tmp_path: Path) -> None:
    started = typed("--service", "Unruly", "start", "word=hundred-but-running")
    assert started.returncode == 0, started.stderr
    (job,) = (record.request.service_id for record in web.lab.jobs.list(SHELL))
    web.lab.running(job)
    saved = typed("status", "--service", "Unruly", "--page", "now.html")
    assert saved.returncode == 0 and saved.stdout.endswith("The page: now.html\n")
    assert "<html" in (tmp_path / "now.html").read_text()
    refused = typed("status", "--service", "Unruly", "--page", "no/such/now.html")
    assert refused.returncode == 1 and "can't be saved as no/such/now.html: No such file" in refused.stderr
    (web.lab.folder(job) / "go").touch()
    web.lab.ended(job)
    done = typed("status", "--service", "Unruly", "--page", "now.html")
    assert done.returncode == 0 and done.stdout.endswith("COMPLETED, which comes without a page\n")


def test_a_page_that_can_t_be_saved_is_told_once_and_it_watches_on(typed: Typed) -> None:
    page = ("--page", "no/such/folder/page.html")
    watched = typed("watch", "--service", "Steps", "--every", "0.1", *page, "count=5", "step=0.1")
    assert watched.returncode == 0 and "result = counted" in watched.stdout
    assert watched.stderr.count("can't be saved as no/such/folder/page.html: No such file or directory.") == 1
    assert "The last page" not in watched.stdout and "Traceback" not in watched.stderr


def test_messages_and_aborts(typed: Typed, web: Web) -> None:
    assert typed("start", "--service", "Talk", "--id", "mine").returncode == 0
    web.lab.running("mine")
    assert "you said hello" in typed("notify", "hello", "--service", "Talk").stdout
    assert "true" in typed("abort", "--service", "Talk").stdout
    assert "status_base64" in typed("status", "--service", "Talk").stdout  # the page that says so comes first
    web.lab.told_long_ago("mine")
    watched = typed("watch", "--service", "Talk")
    assert watched.returncode == 1 and "JobAborted" in watched.stderr


def test_a_failed_execution_ends_with_status_1_and_its_sentence(typed: Typed, web: Web) -> None:
    typed("start", "--service", "Raises", "--id", "bad", "how=sentence")
    web.lab.ended("bad")
    typed("status", "--service", "Raises")
    web.lab.told_long_ago("bad")
    done = typed("watch", "--service", "Raises")
    assert done.returncode == 1
    assert "JobFailed: The oven's door is open." in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["dance"], 2, "no command “dance”"),
        ([], 2, "What shall be done?"),
        (["notify"], 2, "one message"),
        (["status", "extra"], 2, "status takes no “extra”"),
        (["start", "--service", "Steps", "steps=3"], 2, "no input “steps”; it has: count, step"),
        (["start", "--service", "Steps", "three"], 2, "name=value"),
        (["status", "--service", "Steps"], 2, "Nothing was started from here yet"),
        (["start", "--service", "Steps", "count=three"], 1, "InvalidParameter: The input count"),
        (["status", "--service", "Steps", "--id", "nobody's"], 1, "UnknownServiceID"),
        (["start", "--service", "Nothing"], 3, "HTTP 404"),
        (["start", "--service", "Broken"], 3, "needs the module a_module_that_nobody_has"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(typed: Typed, words: list[str], status: int, sentence: str) -> None:
    done = typed(*words)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_there_is_status_3(typed: Typed) -> None:
    done = typed("start", port=1)
    assert done.returncode == 3
    assert "can't be reached" in done.stderr and "Does the service run there?" in done.stderr


def test_the_wsdl_can_be_read(typed: Typed) -> None:
    assert "startSteps" in typed("wsdl", "--service", "Steps").stdout


def test_an_argument_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    for words in ((b"notify", b"m\xfcsli"), (b"start", b"name=m\xfcsli"), (b"--id", b"m\xfcsli", b"status")):
        command = [sys.executable.encode(), bytes(ROOT / "test_client" / "client.py"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert "m\\udcfcsli” is no text in UTF-8: write it so." in done.stderr


def test_a_proxy_that_answers_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer() -> None:
            while True:
                try:
                    line, _ = proxy.accept()
                except OSError:
                    return
                with line:
                    line.recv(65536)
                    line.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")

        threading.Thread(target=answer, daemon=True).start()
        port = proxy.getsockname()[1]
        environment = os.environ | {"http_proxy": f"http://ada:secret@127.0.0.1:{port}", "no_proxy": ""}
        command = [
            sys.executable,
            str(ROOT / "test_client" / "client.py"),
            "wsdl",
            "--url",
            "http://far.example/x?wsdl",
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3 and "secret" not in done.stderr
    assert f"http://far.example/x?wsdl answers through the proxy 127.0.0.1:{port} with HTTP 502: nope" in done.stderr

"""start, stop, serve: a deployment with real supervisors, web sides and jobs."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from callers import envelope
from here import ROOT
from lab import PATIENCE, eventually
from labwaiter.deployment import web_processes
from labwaiter.deployment.address import resolved
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import Settings, load
from labwaiter.store import supervisor_client
from labwaiter.system.process import Identity, identify, kill, lives
from labwaiter.testing.ports import free_port
from labwaiter.verbs import Jobs


def settings_of(shell) -> Settings:
    return load(shell.environ)


def wsdl(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/count/Count?wsdl", timeout=PATIENCE) as answer:
        return answer.read()


def refused(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def running_job(shell, service_id: str = "long") -> tuple[subprocess.Popen[str], Identity]:
    """A job that runs, and its runner's identity."""
    run = shell.process("run", "Count", "seconds=60", "--id", service_id)
    assert "Started" in shell.said_first(run)
    jobs = Jobs(settings_of(shell))
    while True:  # its state is written by another process: wait for it, half a second a look
        record = jobs.wait(service_id, 0.5, SHELL)
        assert record.active, record.why
        if record.runner is not None:
            return run, record.runner


def started(shell, *words: str) -> dict:
    done = shell.call("start", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_start_serves_the_wsdl_and_says_where_everything_is(shell, port):
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0, done.stderr
    assert f"http://127.0.0.1:{port}/lab/count/Count?wsdl" in done.stdout
    assert str(shell.jobs) in done.stdout and "labwaiter 0." in done.stdout
    assert "Every sessionToken is accepted" in done.stdout
    assert b"startCount" in wsdl(port)
    assert f"http://127.0.0.1:{port}/lab/count/Count" in shell("services").stdout
    assert settings_of(shell).files_folder.is_dir()  # to put files for inputs into


def test_a_second_start_replaces_the_web_side_and_leaves_running_jobs_alone(shell, port):
    started(shell, "--port", str(port))
    before = web_processes.find(settings_of(shell))
    run, runner = running_job(shell)
    started(shell, "--port", str(port))
    after = web_processes.find(settings_of(shell))
    assert not {who.pid for who in before} & {who.pid for who in after} and after
    assert wsdl(port)
    assert lives(runner) and Jobs(settings_of(shell)).record("long", SHELL).state is State.RUNNING
    assert shell("jobs", "abort", "long").exit_code == 0
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 1


def test_a_second_start_s_settings_are_the_supervisor_s_too(shell, port):
    shell.environ["LAB"] = str(shell.folder / "first.toml")
    started(shell, "--port", str(port))
    run, runner = running_job(shell)
    other = shell.folder / "other"
    other.mkdir()
    (shell.folder / "files").mkdir()
    (shell.folder / "files" / "given.txt").write_text("in the new folder")
    (shell.folder / "second.toml").write_text(
        '[instruments.relays]\ndriver = "labwaiter.instruments.drivers:RelayBoard"\nport = "sim://relays"\n'
    )
    (other / "read.py").write_text(
        "import os\nfrom pathlib import Path\nfrom labwaiter import Job, Outputs, service\n"
        "from labwaiter.instruments.drivers import RelayBoard\n"
        "class Told(Outputs):\n    text: str\n"
        "@service('Read', namespace='http://lab.example/read/')\n"
        "def startRead(job: Job, file: Path, relays: RelayBoard) -> Told:\n    return Told(text=file.read_text())\n"
    )
    (shell.folder / "env").write_text("CONTEXT_ROOT=/lab\nWAITER_LOG_FOLDER=jobs\nSERVICES=other\nWEB_CONCURRENCY=1\n")
    shell.environ |= {"LAB": str(shell.folder / "second.toml"), "FILES_FOLDER": "files", "JOBS_MODE": "755"}
    assert list(started(shell, "--port", str(port))["wsdl"]) == ["Read"]
    done = shell.call("run", "Read", "file=given.txt", "relays=relays")
    assert done.returncode == 0 and "in the new folder" in done.stdout, done.stderr
    assert shell.jobs.stat().st_mode & 0o777 == 0o755
    assert lives(runner) and Jobs(settings_of(shell)).record("long", SHELL).state is State.RUNNING
    assert shell("jobs", "abort", "long").exit_code == 0
    run.communicate(timeout=PATIENCE)
    first = supervisor_client.alive(settings_of(shell))
    os.kill(first, signal.SIGKILL)  # the next one begins as this one went on
    eventually(lambda: (now := supervisor_client.alive(settings_of(shell))) and now != first)
    assert shell.call("run", "Read", "file=given.txt", "relays=relays").returncode == 0


ALONE = """
ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && hostname bench
printf '127.0.0.1 localhost\\n127.0.1.1 bench.lab.example bench\\n' > hosts && mount --bind hosts /etc/hosts || exit 9
labwaiter() { "$PYTHON" -m labwaiter "$@"; }
labwaiter start && labwaiter health || exit 1
http_proxy=http://127.0.0.1:9 labwaiter lint "http://bench.lab.example:$PORT/lab/Count?wsdl" || exit 2
until grep -q last jobs/.labwaiter/web; do :; done  # a worker has called itself
labwaiter stop
"""


def test_a_host_without_ipv6_listens_to_all_and_calls_itself_by_any_of_its_names(shell, port):
    apart = ["unshare", "-n", "-m", "-u"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    environ = shell.environ | {"HOST": "::", "PORT": str(port), "PYTHON": sys.executable, "TOKENS": "none"}
    done = subprocess.run(
        [*apart, "sh", "-c", ALONE], env=environ, cwd=shell.folder, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"runs at http://127.0.0.1:{port}/lab/" in done.stdout and "Nothing is wrong with it." in done.stdout


def test_a_service_file_that_ends_whoever_imports_it_keeps_nothing_from_starting(shell, port):
    left = shell.folder / "left"
    shell.write(
        "grow.py",
        "import os, subprocess\nprint('no display', flush=True)\n"
        f"child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        f"open({str(left)!r}, 'a').write(f'{{child.pid}}\\n')\nos.abort()\n"
        "@service('Grow', namespace='x:y')\ndef startGrow(job): pass\n",
    )
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0, done.stderr
    assert "Grow is not offered: grow.py ended the process that imported it (SIGABRT)" in done.stdout
    assert b"startCount" in wsdl(port) and "no display\n" not in done.stdout
    health = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/health", timeout=PATIENCE).read())
    assert (health["services"], health["unavailable"]) == (["Count"], ["Grow"])
    assert "SIGABRT" in shell.json("services")["Grow"]["broken"]
    checked = shell.call("check", str(shell.folder / "services" / "grow.py"))
    assert checked.returncode == 1 and "(SIGABRT)" in checked.stderr
    assert shell.call("run", "Count", "seconds=0").returncode == 0
    pids = [int(pid) for pid in left.read_text().split()]
    assert len(pids) == 2  # the start's, for all of the deployment, and the check's
    assert not [pid for pid in pids if identify(pid)]


def test_a_mistake_in_lab_toml_is_said_by_all_who_say_how_it_is(shell, port):
    shell.write(
        "use.py",
        "from labwaiter import Job, service\nfrom labwaiter.instruments.drivers import SourceMeter\n"
        "@service('Use', namespace='http://lab.example/use/')\n"
        "def startUse(job: Job, meter: SourceMeter) -> None: pass\n",
    )
    (shell.folder / "lab.toml").write_text('[instruments.smu]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\n')
    listed = shell("instruments", "list")
    assert listed.exit_code == 2
    sentence = listed.stderr.removeprefix("Error: ").strip()
    assert sentence == 'lab.toml, line 1: smu: it needs port = "…".'
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0 and sentence in done.stderr and "WSDL of Count" in done.stdout
    assert started(shell, "--port", str(port))["lab"] == sentence
    for words in (("health",), ("services",), ("check", str(shell.folder / "services" / "use.py"))):
        told = shell(*words)
        assert told.exit_code == 0 and sentence in told.stderr and "works" not in told.output, words
    assert sentence in shell("run", "Use", "meter=smu").stderr
    uses_none = shell("check", str(shell.folder / "services" / "count.py"))
    assert uses_none.exit_code == 0 and sentence in uses_none.stderr
    page = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/health", timeout=PATIENCE).read())
    assert (page["status"], page["lab"]) == ("ok", "lab.toml has a mistake")
    call = urllib.request.Request(
        f"http://127.0.0.1:{port}/lab/Use",
        envelope("startUse", ns="http://lab.example/use/", serviceID="one", sessionToken="t", meter="smu"),
        {"Content-Type": "text/xml"},
    )
    with pytest.raises(urllib.error.HTTPError) as fault:
        urllib.request.urlopen(call, timeout=PATIENCE)
    assert (
        b"lab.toml has a mistake" in fault.value.read()
        and sentence in web_processes.log_file(settings_of(shell)).read_text()
    )
    (shell.folder / "lab.toml").write_text("")
    told = shell("health")
    assert "works" in told.stdout and not told.stderr


def test_the_web_side_can_move_to_another_port(shell, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        second = other.getsockname()[1]
    started(shell, "--port", str(port))
    started(shell, "--port", str(second))
    assert refused(port) and wsdl(second)


def test_a_start_without_a_port_stays_where_it_runs_and_one_that_moves_says_so(shell, port):
    started(shell, "--port", str(port))
    assert started(shell)["port"] == port
    other = free_port()
    shell.environ["PORT"] = str(other)
    done = shell.call("start")
    assert f"runs at http://127.0.0.1:{other}/lab/ (until now at port {port})\n" in done.stdout
    del shell.environ["PORT"]
    for who in web_processes.find(settings_of(shell)):
        kill(who)
    assert started(shell)["port"] == other


def test_whoever_asks_how_it_is_is_told_of_this_deployment_and_no_other(shell, port, tmp_path_factory):
    other = type(shell)(tmp_path_factory.mktemp("other"), dict(shell.environ))
    shutil.copytree(shell.folder, other.folder, dirs_exist_ok=True)
    other.environ["LABWAITER_ENV"] = str(other.folder / "env")
    started(other, "--port", str(port))
    try:
        assert "works at" in other("health").stdout
        (shell.folder / "env").write_text((shell.folder / "env").read_text() + f"PORT={port}\n")
        told = shell("health")
        assert told.exit_code == 3
        assert (
            f"No web side of this deployment runs: another one answers at http://127.0.0.1:{port}/lab/." in told.stderr
        )
        second = str(free_port())
        started(shell, "--port", second)
        count = str(shell.folder / "services" / "count.py")
        for words in (("health",), ("services",), ("check", count), ("settings",)):
            assert f"http://127.0.0.1:{second}/lab" in shell(*words).stdout, words
    finally:
        other.call("stop")


@pytest.mark.parametrize(
    ("published", "public", "shown"),
    [
        ("127.0.0.1:8091", "", "http://127.0.0.1:8091/lab/count/Count"),
        ("", "", "http://<host>:<port>/lab/count/Count"),  # `docker run` tells a container nothing of its ports
        ("", "https://lab.example", "https://lab.example/lab/count/Count"),
    ],
)
def test_a_container_tells_the_address_that_leads_to_it(shell, published, public, shown):
    shell.environ |= {"LABWAITER_PUBLISHED": published, "PUBLIC_URL": public, "PORT": "80"}
    assert shown in shell("services").stdout
    assert f"{shown}?wsdl" in shell("check", str(shell.folder / "services" / "count.py")).stdout


def test_a_port_that_another_deployment_has_is_told_as_that(shell, port):
    started(shell, "--port", str(port))
    shell.environ["WAITER_LOG_FOLDER"] = str(shell.folder / "other")
    done = shell.call("start", "--port", str(port))
    shell.environ["WAITER_LOG_FOLDER"] = str(shell.jobs)
    assert done.returncode == 1
    assert f"Port {port} is taken by another deployment of labwaiter, with another jobs folder" in done.stderr


def test_a_port_that_somebody_else_has_is_told_before_anything_is_replaced(shell, port):
    started(shell, "--port", str(port))
    before = web_processes.find(settings_of(shell))
    supervisor = supervisor_client.alive(settings_of(shell))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        done = shell.call("start", "--port", str(taken))
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        f"Error: Port {taken} is taken by another program: end it, or choose another port."
    ]
    assert web_processes.find(settings_of(shell)) == before and wsdl(port)
    assert supervisor_client.alive(settings_of(shell)) == supervisor


@pytest.mark.parametrize("host", ["localhost", "[::1]", "::1", socket.gethostname(), "0.0.0.0", "::"])
def test_a_name_is_listened_on_and_told_as_its_address(shell, port, host):
    try:
        number = resolved(dataclasses.replace(settings_of(shell), host=host)).host
        with socket.create_server((number, 0), family=socket.AF_INET6 if ":" in number else socket.AF_INET):
            pass
    except (Misconfigured, OSError):
        pytest.skip("this machine has no such address")
    shell.environ |= {"HOST": host, "TOKENS": "none"}
    told = started(shell, "--port", str(port))
    at = told["wsdl"]["Count"]
    assert "localhost" not in at
    with urllib.request.urlopen(at, timeout=PATIENCE) as answer:
        assert b"startCount" in answer.read()
    assert at.partition("/count/")[0] in shell("health").stdout


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "no-such-host.invalid",
        "127.0.0.1:8080",
        "http://127.0.0.1",
        "fe80::1%lo",
        "300.1.1.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_what_no_address_is_is_one_sentence_and_an_end(shell, port, host):
    shell.environ |= {"HOST": host, "PORT": str(port)}
    for words in ("start", "serve", "up"):
        done = shell.call(words)
        assert (done.returncode, done.stdout) in ((2, ""), (3, "")), words
        said = done.stderr.splitlines()[1:]
        assert said[0].startswith(f"Error: HOST={host} ") and len(said) == 1


def test_where_others_could_call_nothing_starts_until_somebody_has_said_who_may(shell, port):
    for reach in ({"HOST": "0.0.0.0"}, {"PUBLIC_URL": "https://lab.example"}):
        shell.environ |= {"HOST": "127.0.0.1", "PUBLIC_URL": "", "PORT": str(port)} | reach
        for words in ("start", "serve", "up"):
            done = shell.call(words)
            assert (done.returncode, done.stdout) == (2, ""), words
            assert done.stderr.splitlines()[1].startswith("Error: Other machines may call this deployment"), done.stderr
            assert len(done.stderr.splitlines()) == 2 and "labwaiter tokens add" in done.stderr
    shell.environ |= {"TOKENS": "manager", "AUTH_WSDL": ""}
    assert "needs AUTH_WSDL" in shell.call("start").stderr


def test_an_account_that_jobs_can_t_run_as_is_told_before_anything_is_begun(shell):
    shell.environ["JOB_USER"] = "nobody-of-this-name"
    said = shell("start")
    assert said.exit_code == 2
    assert said.stderr.splitlines()[1].startswith("Error: JOB_USER is no account that jobs can run as. ")
    assert "nobody-of-this-name" in said.output and not shell.jobs.exists()


def test_another_program_at_the_same_port_of_localhost_is_not_called(shell, port):
    try:
        other = socket.create_server(("::1", port), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no ::1")
    shell.write("waiter.py", (ROOT / "app" / "services" / "waiter.py").read_text())
    shutil.copy(ROOT / "app" / "wait_a_while.py", shell.folder)
    shutil.copytree(ROOT / "test_client", shell.folder / "test_client")
    with other:
        done = shell.call("start", "--try", "--port", str(port))
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert "It has completed." in done.stderr, done.stderr
    assert f"runs at http://127.0.0.1:{port}/lab/" in done.stdout


def test_up_does_not_try_for_ever_what_cannot_begin(shell, port, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "spyne.py").write_text("raise ImportError('spyne has been taken away')")
    shell.environ["PYTHONPATH"] += os.pathsep + str(broken)
    done = shell.call("up", "--port", str(port))
    assert done.returncode == 1 and "spyne has been taken away" in done.stdout + done.stderr
    assert "the web side ended 5 times as soon as it had begun; above is why." in done.stderr
    assert supervisor_client.alive(settings_of(shell)) is None and not web_processes.find(settings_of(shell))


def test_an_address_of_another_machine_is_told(shell, port):
    shell.environ["TOKENS"] = "none"
    done = shell.call("start", "--port", str(port), "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "192.0.2.1 is no address of this machine" in done.stderr


def test_a_web_side_that_does_not_start_leaves_the_old_one_and_says_why(shell, port, tmp_path):
    started(shell, "--port", str(port))
    before = web_processes.find(settings_of(shell))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "spyne.py").write_text("raise ImportError('spyne has been taken away')")
    shell.environ["PYTHONPATH"] += os.pathsep + str(broken)
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 1
    assert "What ran before runs on" in done.stderr and "spyne has been taken away" in done.stderr
    assert web_processes.find(settings_of(shell)) == before and wsdl(port)


def test_workers_whose_main_process_was_killed_are_found_and_ended(shell, port):
    started(shell, "--port", str(port))
    there = web_processes.find(settings_of(shell))
    parents = {who.pid for who in there} & {parent_of(who.pid) for who in there}
    for who in there:
        if who.pid in parents:
            kill(who)
    orphans = [who for who in web_processes.find(settings_of(shell)) if who.pid not in parents]
    assert orphans
    started(shell, "--port", str(port))
    assert not any(lives(who) for who in orphans) and wsdl(port)


def test_stop_settles_running_jobs_and_leaves_nothing_behind(shell, port):
    started(shell, "--port", str(port))
    run, runner = running_job(shell)
    done = shell.call("stop")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "labwaiter has stopped; every job is settled.\n"
    out, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1 and "deployment was stopped" in out
    assert refused(port) and not lives(runner)
    assert web_processes.find(settings_of(shell)) == [] and supervisor_client.alive(settings_of(shell)) is None
    assert shell.call("stop").stdout == "Nothing was running.\n"


def test_after_a_stop_run_says_what_to_do_first(shell):
    assert shell("run", "Count", "seconds=0").exit_code == 0
    assert shell("stop").exit_code == 0
    refused_run = shell("run", "Count", "seconds=0")
    assert refused_run.exit_code == 3 and "labwaiter start" in refused_run.output


def test_after_a_stop_start_takes_jobs_again(shell, port):
    started(shell, "--port", str(port))
    shell.call("stop")
    started(shell, "--port", str(port))
    assert shell("run", "Count", "seconds=0").exit_code == 0


def test_serve_runs_in_the_foreground_and_brings_a_supervisor(shell, port):
    with shell.process("serve", "--port", str(port), start_new_session=True) as serving:
        eventually(lambda: serving.poll() is not None or not refused(port))
        assert wsdl(port)
        assert supervisor_client.alive(settings_of(shell))
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=PATIENCE)
    assert refused(port)
    assert supervisor_client.alive(settings_of(shell)), "jobs do not depend on the web side"


def test_supervise_runs_in_the_foreground(shell):
    with shell.process("supervise") as supervising:
        assert f"pid {supervising.pid}" in shell.said_first(supervising)
        assert shell("run", "Count", "seconds=0").exit_code == 0
        supervising.send_signal(signal.SIGTERM)
        supervising.communicate(timeout=PATIENCE)
    assert identify(supervising.pid) is None


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

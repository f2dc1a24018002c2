"""labwaiter labs …: a pretended student, and what an administrator sees and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from benchlab import Plugged, leases
from lab import PATIENCE, Lab, eventually
from labwaiter.verbs.sessions import Sessions
from remotelab import SYSTEM, disposed, let_in, wish


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", *words]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


def data(lab: Lab, *words: str) -> Any:
    return json.loads(shell(lab, *words, "--json").stdout)


def test_a_pretended_student_comes_and_is_ended(here: Lab, bench: Plugged) -> None:
    assert shell(here, "labs", "test", "diode").stdout == "diode is open.\n"
    told = data(here, "labs", "session", "new", "diode", "--user", "ada", "--minutes", "2", "--client", '{"level": 2}')
    assert told["state"] == "running" and 110 < told["timeLeft"] <= 120
    assert told["address"].endswith(f"/diode/weblab/callback/{told['session']}")
    assert Sessions(here.settings).look(told["session"]).session.about.client_data == {"level": 2}
    [listed] = data(here, "labs", "session", "status")
    assert listed["serviceID"] == told["serviceID"] and "session" not in listed
    [inside] = data(here, "labs", "list")[0]["inside"]
    assert listed["about"]["username"] == "ada" and inside["serviceID"] == listed["serviceID"]
    ended = shell(here, "labs", "session", "end", told["serviceID"])
    assert (ended.returncode, ended.stdout) == (0, "The session was ended by the lab's staff. All is put away.\n")
    assert shell(here, "labs", "session", "status").stdout == "Nobody is in a lab.\n"
    assert data(here, "labs", "session", "status", told["session"])["state"] == "ended"
    assert disposed(bench) == ["ada 0"] and leases(here).of("smu") is None


def test_one_who_stays_leaves_at_ctrl_c(here: Lab, bench: Plugged) -> None:
    command = [sys.executable, "-m", "labwaiter", "labs", "session", "new", "diode", "--stay", "--json"]
    with subprocess.Popen(command, env=here.environment, stdout=subprocess.PIPE, text=True) as student:
        assert student.stdout is not None
        told = json.loads(student.stdout.readline())
        assert Sessions(here.settings).status(told["session"], SYSTEM).state == "running"
        os.kill(student.pid, signal.SIGINT)
        over = json.loads(student.stdout.readline())
    assert student.returncode == 0 and over["state"] == "ended" and over["why"] == "You have left the lab."
    bench_is_safe = bench.simulators["smu"].is_safe()
    assert bench_is_safe and leases(here).of("smu") is None


def test_what_can_not_be_is_a_sentence_and_an_exit_status(here: Lab, bench: Plugged) -> None:
    unknown = shell(here, "labs", "test", "nowhere")
    assert unknown.returncode == 2
    assert unknown.stderr.endswith("There is no remote lab nowhere; there are: diode, either.\n")
    session = let_in(here)
    taken = shell(here, "labs", "session", "new", "diode", "--wait", "0.1")
    assert taken.returncode == 1 and "The lab diode is taken: smu is in a session (Ada, diode) since" in taken.stderr
    Sessions(here.settings).leave(session.session_id)
    assert Sessions(here.settings).gone(session.session_id, PATIENCE)
    wish(bench, "start", "raise")
    failed = shell(here, "labs", "session", "new", "diode")
    assert failed.returncode == 1 and "on_start failed (ValueError: the clamps are open)." in failed.stderr
    assert shell(here, "labs", "session", "end", "nobody").returncode == 2
    (here.settings.labs / "odd.py").write_text("from labwaiter import Lab\nlab = Lab(['smoo'])\n")
    closed = shell(here, "labs", "test", "odd")
    assert closed.returncode == 3 and closed.stdout.startswith("lab.toml has no instrument smoo; there are: smu,")
    checked = shell(here, "check", str(here.settings.labs / "odd.py"))
    assert checked.returncode == 1 and checked.stderr.startswith("odd.py: lab.toml has no instrument smoo")
    assert all("Traceback" not in one.stderr for one in (unknown, taken, failed, closed, checked))


def test_operators_see_who_is_in(here: Lab) -> None:
    session = let_in(here)
    words = shell(here, "instruments", "list").stdout
    assert "in a session (Ada, diode) since" in words
    told = shell(here, "jobs", "list").stdout
    assert session.service_id in told and session.session_id not in told
    eventually(lambda: Sessions(here.settings).look(session.session_id).instruments)

"""`labwaiter export systemd`, and start and stop through it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fleetlab import FleetLab
from here import ROOT
from lab import eventually, gone
from labwaiter import shipped
from labwaiter.deployment import units
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.verbs import Jobs
from operators import Operator


@pytest.fixture
def clone(tmp_path: Path) -> dict[str, str]:
    """The settings of a lab whose jobs are elsewhere."""
    (tmp_path / "app").mkdir()
    (tmp_path / "lab.toml").write_text("[machines.bench]\n")
    (tmp_path / "env").write_text("WAITER_LOG_FOLDER=/srv/lab/jobs\nFILES_FOLDER=/srv/lab/files\n")
    return {
        **os.environ,
        "LABWAITER_DEPLOYMENT": str(tmp_path),
        "PYTHONPATH": str(ROOT / "app"),
        "COLUMNS": "200",
    }


def many(**more: str) -> dict[str, str]:
    return {"REDIS_URL": "redis://127.0.0.1:1/0", "REDIS_SECRET": "sixteen letters and more", **more}


def written(folder: Path) -> list[str]:
    return sorted(file.name.removeprefix("labwaiter").strip("-.").removesuffix(".service") for file in folder.iterdir())


def test_each_machine_gets_the_units_that_it_needs(clone: dict[str, str], tmp_path: Path) -> None:
    operator = Operator(clone)

    def units(name: str, **more: str) -> list[str]:
        assert operator("export", "systemd", str(tmp_path / name), **more).returncode == 0
        return written(tmp_path / name)

    assert units("alone") == ["supervisor", "target", "web"]
    assert units("bench", **many(MACHINE="bench")) == ["supervisor", "target", "worker"]
    assert units("face", **many(MACHINE="server")) == ["target", "web"]
    (tmp_path / "schedule.toml").write_text("")
    assert units("timed", **many(MACHINE="server")) == ["scheduler", "target", "web"]
    wants = (tmp_path / "timed" / "labwaiter.target").read_text()
    assert "Wants=labwaiter-web.service labwaiter-scheduler.service" in wants


def test_the_units_are_this_clone_s_and_systemd_takes_them(clone: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    folder = tmp_path / "units"
    all_of_them = [word for part in units.PARTS for word in ("--unit", part)]
    done = Operator(clone)("export", "systemd", str(folder), "--user", "ada", *all_of_them)
    assert done.returncode == 0 and "systemctl daemon-reload && systemctl enable --now labwaiter.target" in done.stdout
    program, command = tmp_path / "labwaiter", f"{sys.prefix}/bin/labwaiter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for file in folder.glob("*.service"):
        text = file.read_text()
        assert f"ExecStart={command} " in text and "/opt/" not in text
        assert "User=ada" in text and "ReadWritePaths=/srv/lab/jobs /srv/lab/files" in text
        assert f"Environment=LABWAITER_DEPLOYMENT={tmp_path} SUPERVISOR=elsewhere" in text
        file.write_text(text.replace(command, str(program)))
    found = [str(file) for file in folder.iterdir()]
    checked = subprocess.run(["systemd-analyze", "verify", *found], capture_output=True, text=True)
    # releases before 254 pass over what they don't know
    told = [line for line in checked.stderr.splitlines() if "DelegateSubgroup" not in line]
    assert checked.returncode == 0 and not told, checked.stderr


def test_stopping_one_unit_takes_no_job_with_it() -> None:
    text = {part: shipped.text(f"systemd/labwaiter-{part}.service") for part in units.PARTS}
    # jobs are the supervisor's children: no other unit's cgroup holds them, and its own is not killed as a whole
    assert all("SUPERVISOR=elsewhere" in one for one in text.values())
    assert "KillMode=process" in text["supervisor"] and "KillMode=process" in text["worker"]
    assert "Before=labwaiter-supervisor.service" in text["worker"]  # stopped together, it tells the jobs' ends
    assert not any("Requires=" in one or "BindsTo=" in one for one in text.values())


def test_a_clone_where_people_live_may_be_seen_by_its_own_units(clone: dict[str, str]) -> None:
    settings = load(clone | {"WAITER_LOG_FOLDER": "/home/ada/jobs"})
    text = shipped.text("systemd/labwaiter-web.service")
    assert "ProtectHome=no" in units.unit(text, settings, "ada", ("web",))
    with pytest.raises(Exception, match="folders without blanks"):
        units.unit(text, load(clone | {"WAITER_LOG_FOLDER": "/srv/my jobs"}), "ada", ("web",))


def test_two_labs_of_a_machine_have_units_of_their_own(
    clone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = tmp_path / "etc"
    monkeypatch.setattr(units, "INSTALLED", systemd)
    one = load(clone)
    (tmp_path / "second" / "app").mkdir(parents=True)
    (tmp_path / "second" / "env").write_text("")
    other = load({"LABWAITER_DEPLOYMENT": str(tmp_path / "second")})
    assert units.installed(one) == {}
    units.write(one, systemd, "ada")
    assert units.installed(one) == dict.fromkeys(
        ("labwaiter-supervisor.service", "labwaiter-web.service"), "labwaiter.target"
    )
    assert units.installed(other) == {}
    with pytest.raises(Misconfigured, match="systemd has labwaiter-supervisor.service already, of another lab: say"):
        units.write(other, tmp_path / "out", "ada")
    assert not (tmp_path / "out").exists()
    units.write(other, systemd, "ada", name="labwaiter-second")
    assert set(units.installed(other).values()) == {"labwaiter-second.target"} and len(units.installed(other)) == 2
    assert len(units.installed(one)) == 2
    units.write(one, systemd, "ada")  # its own, anew
    written_by_04 = (systemd / "labwaiter-web.service").read_text().replace(f"LABWAITER_DEPLOYMENT={tmp_path} ", "")
    (systemd / "labwaiter-web.service").write_text(written_by_04)
    (systemd / "gone.service").symlink_to(tmp_path / "nowhere")
    assert len(units.installed(one)) == 2


def test_where_systemd_does_not_run_start_and_stop_say_so(clone: dict[str, str], tmp_path: Path) -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs this machine")
    for verb in ("start", "stop"):
        done = Operator(clone)(verb, "--systemd")
        assert done.returncode == 1
        said = f"Error: systemd does not run this machine: call labwaiter {verb} without --systemd."
        assert done.stderr.splitlines() == [f"Lab: {tmp_path}", said]
    wrong = Operator(clone)("export", "systemd", "--user", "ada; rm")
    assert wrong.returncode == 2 and "--user is a user's name" in wrong.stderr


def test_a_worker_that_systemd_kills_takes_no_job_with_it_and_tells_its_end_later(fleet: FleetLab) -> None:
    """As the units have it: the supervisor elsewhere; SIGTERM, and SIGKILL when the drain takes too long."""
    fleet.machine.environment["SUPERVISOR"] = "elsewhere"
    fleet.supervise()
    fleet.start("Talk", "a talk")
    runner = fleet.running("a talk")
    worker = fleet.machine.process
    assert worker is not None
    worker.terminate()
    eventually(lambda: fleet.redis.client.hget("lab:machine:one", "state") == b"drains")
    fleet.start("Echo", "an order", text="x")
    worker.kill()
    worker.wait()
    assert not gone(runner) and fleet.record("a talk").runner is not None
    here = Jobs(fleet.settings)  # the machine itself, without Redis
    assert here.notify(None, "a talk", "bye", SHELL, wait=20)
    assert here.wait("a talk", 60, SHELL).state is State.COMPLETED
    assert fleet.record("a talk").active
    fleet.machine.start()
    assert eventually(lambda: fleet.record("a talk").state is State.COMPLETED)
    assert fleet.ended("an order").state is State.COMPLETED

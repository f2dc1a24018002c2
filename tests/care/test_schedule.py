"""`labwaiter schedule`: what starts at its time, what is skipped, and what an operator sees of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleetlab import FleetLab
from lab import PATIENCE, Lab, eventually
from labwaiter.catalogue import catalogue
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.schedule.schedule import Schedule, load
from labwaiter.schedule.scheduler import Scheduled
from operators import Operator

START = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(lab: Lab) -> dict[str, str]:
    """A face's, with a schedule.toml of the test's own."""
    return getattr(lab, "face_environment", lab.environment) | {"SCHEDULE": str(lab.root.parent / "schedule.toml")}


@pytest.fixture
def schedule(lab: Lab, environment: dict[str, str]) -> Iterator[START]:
    """Write schedule.toml and start a scheduler."""
    made: list[subprocess.Popen[str]] = []

    def start(text: str) -> subprocess.Popen[str]:
        Path(environment["SCHEDULE"]).write_text(text)
        command = [sys.executable, "-m", "labwaiter", "schedule"]
        made.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return made[-1]

    yield start
    for one in made:
        one.kill()
        one.communicate()


def runs(lab: Lab) -> list[str]:
    return [r.request.service_id for r in lab.jobs.list(SHELL) if r.request.user == "schedule"]


def test_two_schedulers_start_each_time_s_execution_once(lab: Lab, schedule: START, environment: Any) -> None:
    text = '[schedules.echo]\nservice = "echo"\nevery = "2 s"\ninputs = { text = "tick" }\n'
    both = [schedule(text), schedule(text)]
    eventually(lambda: len(runs(lab)) >= 3, 60)
    for one in both:
        one.send_signal(signal.SIGTERM)
    logs = [one.communicate(timeout=PATIENCE)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0] and not any("Traceback" in log for log in logs)
    found = runs(lab)
    assert len(set(found)) == len(found) and all(name.startswith("schedule-echo-20") for name in found)
    seconds = [int(datetime.fromisoformat(name.removeprefix("schedule-echo-")).timestamp()) for name in found]
    assert all(one % 2 == 0 for one in seconds)
    assert lab.ended(found[0]).outputs["text"] == "tick"  # type: ignore[index]
    (row,) = Operator(environment).json("schedule", "--list")
    assert row["last"]["serviceID"] == found[-1] and row["next"] > row["last"]["created"] and row["skipped"] == 0
    assert f"{found[0]} is started" in "".join(logs)


def test_a_run_that_would_overlap_its_predecessor_is_skipped_and_said_so(
    lab: Lab, schedule: START, environment: Any
) -> None:
    one = schedule('[schedules.long-one]\nservice = "Talk"\nevery = "1 s"\n')
    first = eventually(lambda: runs(lab), 60)[0]
    operator = Operator(environment)
    eventually(lambda: operator.json("schedule", "--list")[0]["skipped"] >= 2, 60)
    assert "skipped" in operator("schedule", "--list").stdout and runs(lab) == [first]
    (row,) = operator.json("schedule", "--list")
    assert row["why"] == f"{first} had not ended" and row["last"]["state"] in ("running", "queued")
    assert eventually(lambda: lab.jobs.abort(None, first, SHELL))
    eventually(lambda: len(runs(lab)) == 2, 60)
    one.terminate()
    log = one.communicate(timeout=PATIENCE)[1]
    assert f"is skipped: {first} had not ended" in log
    for name in runs(lab):
        assert eventually(lambda name=name: lab.jobs.abort(None, name, SHELL))  # type: ignore[misc]
    assert lab.record(first).state is State.ABORTED


def test_a_redis_that_was_away_is_waited_for(fleet: FleetLab, tmp_path: Path) -> None:
    fleet.supervise()
    file, log = tmp_path / "schedule.toml", tmp_path / "schedule.log"
    file.write_text('[schedules.echo]\nservice = "Echo"\nevery = "1 s"\ninputs = { text = "tick" }\n')
    command = [sys.executable, "-m", "labwaiter", "schedule"]
    with open(log, "wb") as out:
        one = subprocess.Popen(command, env=fleet.face_environment | {"SCHEDULE": str(file)}, stderr=out)
    try:
        eventually(lambda: runs(fleet), 60)
        fleet.redis.kill()
        eventually(lambda: "was not started: " in log.read_text(), 60)
        fleet.redis.start()
        eventually(lambda: "is started" in log.read_text().partition("was not started: ")[2], 60)
        one.terminate()
        assert one.wait(PATIENCE) == 0 and "Traceback" not in log.read_text()
    finally:
        one.kill()
        one.wait()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[schedules.a\n", "schedule.toml is no TOML"),
        ("[machines.a]\n", "write [schedules.NAME], not “machines”"),
        ('\n[schedules.a]\nservice = "Echo"\n', "schedule.toml, line 2: a: say either every"),
        ('[schedules.a]\nservice = "Echo"\nevery = "soon"\n', "every is a time like"),
        ('[schedules.a]\nservice = "Echo"\nevery = "99999999999999999999 d"\n', "from one second to ten years"),
        ('[schedules.a]\nservice = "Echo"\ncron = "61 * * * *"\n', "cron has five fields"),
        ('[schedules.a]\nservice = "Echo"\ncron = "@reboot"\n', "cron has five fields"),
        ('[schedules.a]\nservice = "Echo"\ncron = "0 0 31 2 *"\n', "cron has five fields"),
        ('[schedules.a]\nservice = "Echo"\ncron = "R 2 * * *"\n', "cron has five fields"),
        ('[schedules.a]\nservice = "Echo"\ncron = "0 r(1-5) * * *"\n', "cron has five fields"),
        ('[schedules.a]\nservice = "Ehco"\nevery = "1 h"\n', "There is no service “Ehco”"),
        ('[schedules.a]\nservice = "Echo"\nevery = "1 h"\n', "text is missing"),
        ('[schedules.a]\nservice = "Bare"\nevery = "1 h"\nat = 3\n', "“at” is not known"),
        ('[schedules.a]\nservice = "Bare"\nevery = "1 h"\ninputs = 3\n', "inputs is a table"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_its_line(
    text: str, sentence: str, services: Path, tmp_path: Path
) -> None:
    file = tmp_path / "schedule.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        load(file, catalogue.load(services))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_file_it_says_which_one_it_wants(environment: dict[str, str]) -> None:
    done = Operator(environment)("schedule")
    assert done.returncode == 2 and "There is no schedule.toml: SCHEDULE names the file" in done.stderr


def test_times_are_the_same_for_every_scheduler_and_none_is_made_up_for() -> None:
    hourly = Scheduled(Schedule("a", "Echo", every=3600))
    assert hourly.next.timestamp() % 3600 == 0 and not hourly.should_run()
    daily = Scheduled(Schedule("b", "Echo", cron="30 6 * * *"))
    local = daily.next.astimezone()
    assert (local.hour, local.minute) == (6, 30) and daily.next > datetime.now(UTC)
    missed = Scheduled(Schedule("c", "Echo", every=60))
    missed.next_enqueue_time = missed.next - timedelta(hours=5)  # Redis was away, or the machine slept
    assert missed.should_run()
    tick = missed.due()
    assert datetime.now(UTC) - timedelta(seconds=120) < tick <= datetime.now(UTC)
    assert missed.due() == tick  # until it was started
    missed.set_enqueue_time(tick)
    assert not missed.should_run() or datetime.now(UTC) >= tick + timedelta(seconds=60)

"""What happens is an event, once; and it is sent on, once, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged, energised, leases, let_go
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.layout import Layout
from labwaiter.model.caller import SHELL, Caller, Identity, Role
from labwaiter.model.record import Owner, State
from labwaiter.store import events as module
from labwaiter.store.events import Event, Events, Kind
from labwaiter.system.process import NO_MARK, marked
from labwaiter.verbs.instruments import Instruments
from labwaiter.verbs.monitoring import Monitoring

Make = Callable[..., Lab]


def told(lab: Lab, kind: Kind, most: int = 50) -> list[Event]:
    return [event for event in Events(lab.settings.layout).newest(most) if event.kind is kind]


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", *words]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


# -- what is one -----------------------------------------------------------------------------------


def test_a_limit_that_is_passed_is_one_event_whatever_is_restarted(monitored: Make, bench: Plugged) -> None:
    lines = "monitor_every_s = 1\nlimits = { hotend = { high = 15 }, bed = { low = -10, high = 300 } }"
    lab = monitored(printer=lines)
    (event,) = eventually(lambda: told(lab, Kind.LIMIT))
    assert event.instrument == "printer" and event.text.endswith(", over its limit of 15 °C.")
    assert event.about["reading"] == "hotend" and event.about["limit"] == 15 and event.about["value"] > 15
    reader = leases(lab).readers.of("printer")
    assert reader is not None and reader.process is not None
    stat_ = Path(f"/proc/{reader.process.pid}/stat").read_text()
    os.kill(int(stat_.rpartition(")")[2].split()[1]), signal.SIGKILL)  # the monitor
    wait_gone(reader.process.pid)
    monitoring, now = Monitoring(lab.settings), time.time()
    eventually(lambda: any(one.at > now + 1 for one in monitoring.last(SHELL)["printer"]))
    assert told(lab, Kind.LIMIT) == [event]
    said = shell(lab, "events")
    assert f"limit   {event.text}" in said.stdout, said
    assert json.loads(shell(lab, "events", "--json").stdout)[0]["id"] == event.id
    assert "hotend" in (shown := shell(lab, "instruments", "readings").stdout) and "over its limit" in shown
    rows = shell(lab, "instruments", "history", "printer", "--csv", "--since", "10min").stdout.splitlines()
    assert rows[0].startswith("time,unix time / s,hotend / °C") and len(rows) > 1
    history = json.loads(shell(lab, "instruments", "history", "printer", "--json").stdout)
    assert {one["reading"] for one in history["readings"]} >= {"hotend", "bed"}
    assert "hotend" in shell(lab, "instruments", "history", "printer", "--since", "1h").stdout
    wrong = shell(lab, "instruments", "history", "printer", "--since", "soon")
    assert wrong.returncode == 2 and "“soon” is no time: write 90min" in wrong.stderr
    assert shell(lab, "instruments", "history", "nothing").returncode == 2
    wrong = shell(lab, "instruments", "history", "printer", "--since", "2199-01-01")
    assert "Nothing is known of the time from 2199-01-01 00:00:00 on: that is still to come." in wrong.stderr
    # once it is back, that is an event, too: who was told of the one would wait for the other
    bench.simulators["printer"].hotend.temperature = 0.0
    (back,) = eventually(lambda: told(lab, Kind.BACK))
    assert back.instrument == "printer" and back.text.endswith(", back within its limit of 15 °C.")
    assert back.about["limit"] == 15 and back.about["side"] == "high" and back.about["value"] < 15
    assert told(lab, Kind.LIMIT)[-1] == event


def test_executions_that_fail_or_wait_long_and_instruments_that_become_unsafe(monitored: Make, bench: Plugged) -> None:
    lab = monitored({"LONG_WAIT": "1"})
    lab.start("Uses", "one", device="smu", how="fail")
    energised(lab, "one")
    lab.start("Uses", "two", device="smu")
    waits = eventually(lambda: next((each for each in told(lab, Kind.WAITS) if each.service_id == "two"), None))
    assert waits is not None and waits.text.startswith("The execution two of Uses has been waiting for ")
    let_go(lab, "one")
    assert lab.ended("one").state is State.FAILED
    (failed,) = told(lab, Kind.FAILED)
    assert failed.text == "The execution one of Uses failed: The door is open." and failed.service == "Uses"
    energised(lab, "two")
    bench.simulators["smu"].moods.add("silent")
    let_go(lab, "two")
    lab.ended("two")
    (unsafe,) = eventually(lambda: told(lab, Kind.UNSAFE))
    assert unsafe.instrument == "smu" and unsafe.text.startswith("smu is UNSAFE: ") and unsafe.service_id == "two"
    bench.simulators["smu"].moods.clear()
    assert Instruments(lab.settings).make_safe(["smu"], SHELL)[0].safe


def test_an_event_of_others_executions_is_told_to_operators_alone(tmp_path: Path, monitored: Make) -> None:
    lab = monitored()
    events = Events(lab.settings.layout)
    events.add(Event(Kind.FAILED, "Theirs failed.", service_id="theirs", owner=Owner("", "optics", "ada")))
    events.add(Event(Kind.FAILED, "Others' failed.", service_id="others", owner=Owner("", "chemistry", "bob")))
    events.add(Event(Kind.UNSAFE, "smu is UNSAFE.", "smu"))
    monitoring = Monitoring(lab.settings)

    def seen(role: Role) -> list[str]:
        return [event.text for event in monitoring.events(Caller(Identity("ada", "optics", role)))]

    assert seen(Role.USER) == ["smu is UNSAFE.", "Theirs failed."]
    assert seen(Role.OPERATOR) == ["smu is UNSAFE.", "Others' failed.", "Theirs failed."]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "jobs" / ".labwaiter").mkdir(parents=True)
    return Layout(tmp_path / "jobs")


def test_none_is_lost_where_files_are_rotated_and_none_is_told_twice(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 2000)
    events = Events(layout)
    events.add(Event(Kind.UNSAFE, "the first", "smu"))
    found, place = events.since(None)
    assert found == []
    for number in range(30):
        events.add(Event(Kind.UNSAFE, f"number {number}", "smu", id=f"id-{number}"))
        events.add(Event(Kind.UNSAFE, "again", "smu", id="id-0"))
    assert len(list(layout.events.iterdir())) > 3
    found, behind = events.since(place)
    assert [event.id for event in found if event.id != "id-0"] == [f"id-{number}" for number in range(1, 30)]
    assert events.since(behind) == ([], behind)
    assert len(events.newest(100)) <= 31 and len({event.id for event in events.newest(100)}) == len(events.newest(100))
    with open(layout.events / module.FILE, "ab") as file:
        file.write(b'{"kind": "limit", "text": "cut o')
    assert events.since(behind) == ([], behind)


# -- sent on ---------------------------------------------------------------------------------------


class Address:
    """A web address that takes events: its answers in turn, the last one again and again."""

    def __init__(self, *answers: int) -> None:
        self.taken: list[dict[str, Any]] = []
        self.tries: list[tuple[str, int]] = []
        self.hold, self.came = threading.Event(), threading.Event()
        self.hold.set()
        outer, codes = self, list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                code = codes.pop(0) if len(codes) > 1 else codes[0]
                assert self.headers["Idempotency-Key"] == event["id"]
                outer.tries.append((event["id"], code))
                if code == 200:
                    outer.taken.append(event)
                outer.came.set()
                outer.hold.wait(PATIENCE)
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=s3cret"

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def make_address() -> Iterator[Callable[..., Address]]:
    made: list[Address] = []

    def make(*answers: int) -> Address:
        made.append(Address(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def delivery(lab: Lab) -> int:
    """The pid of what sends events on."""

    def look() -> int | None:
        for process in marked(NO_MARK):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                if b"labwaiter.monitor.delivery" in words and os.fsencode(lab.settings.jobs_folder) in environment:
                    return process.pid
        return None

    return eventually(look)


def outbox(lab: Lab, way: str = "url") -> Path:
    """Where events wait to be sent, once what happens from now on is sent."""
    folder = lab.settings.layout.events / way
    eventually((folder / "place.json").exists)
    return folder


def test_an_address_that_fails_at_first_gets_it_once(monitored: Make, make_address: Callable[..., Address]) -> None:
    address = make_address(500, 503, 200)
    lab = monitored({"EVENTS_URL": address.url})
    folder, events = outbox(lab), Events(lab.settings.layout)
    events.add(Event(Kind.UNSAFE, "smu is UNSAFE: it was silent.", "smu"))
    eventually(lambda: address.taken)
    events.add(Event(Kind.LIMIT, "the second", "smu"))
    eventually(lambda: len(address.taken) == 2)
    assert [event["text"] for event in address.taken] == ["smu is UNSAFE: it was silent.", "the second"]
    assert [code for _, code in address.tries] == [500, 503, 200, 200]
    eventually(lambda: sorted(path.name for path in folder.iterdir()) == ["lock", "place.json"])
    log = (lab.root.parent / f"{lab.root.name}.supervisor.log").read_text()
    assert "it answers 500; it is tried again" in log and "s3cret" not in log


def test_what_is_to_be_sent_survives_that_everything_is_killed(
    monitored: Make, make_address: Callable[..., Address], tmp_path: Path
) -> None:
    address, env = make_address(500, 200), tmp_path / "env"
    env.write_text(f"EVENTS_URL={address.url}\n")  # a secret: no process hands it to the next one
    lab = monitored({"LABWAITER_ENV": str(env)})
    folder, one = outbox(lab), Event(Kind.UNSAFE, "smu is UNSAFE.", "smu")
    Events(lab.settings.layout).add(one)
    waits = folder / f"{one.id}.json"
    eventually(lambda: waits.exists() and json.loads(waits.read_text())["tries"] == 1)
    for pid in (lab.supervisor, delivery(lab)):
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    eventually(lambda: address.taken)
    assert [event["id"] for event in address.taken] == [one.id]


def test_one_that_may_have_been_taken_is_not_sent_again(monitored: Make, make_address: Callable[..., Address]) -> None:
    address = make_address(200)
    lab = monitored({"EVENTS_URL": address.url})
    outbox(lab)
    address.hold.clear()
    events = Events(lab.settings.layout)
    events.add(Event(Kind.UNSAFE, "the first", "smu"))
    assert address.came.wait(PATIENCE)
    pid = delivery(lab)
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    address.hold.set()
    assert delivery(lab) != pid
    events.add(Event(Kind.UNSAFE, "the second", "smu"))
    eventually(lambda: any(event["text"] == "the second" for event in address.taken))
    assert [event["text"] for event in address.taken] == ["the first", "the second"]


def test_a_program_gets_it_without_a_shell_and_what_fails_is_told(monitored: Make, tmp_path: Path) -> None:
    program, out = tmp_path / "tell it; now", tmp_path / "out"
    program.write_text(
        f"#!/bin/sh\ncat >> '{out}.part'\nif [ ! -e '{out}.failed' ]; then touch '{out}.failed';"
        f" echo 'no paper' >&2; exit 3; fi\nenv > '{out}.env'\nmv '{out}.part' '{out}'\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    lab = monitored({"EVENTS_COMMAND": str(program), "REDIS_SECRET": "sixteen letters and more"})
    outbox(lab, "command")
    Events(lab.settings.layout).add(Event(Kind.UNSAFE, "smu is UNSAFE; $(touch /tmp/x)", "smu"))
    eventually(out.exists)
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first == second and first["text"] == "smu is UNSAFE; $(touch /tmp/x)"
    assert "sixteen letters" not in Path(f"{out}.env").read_text()
    log = (lab.root.parent / f"{lab.root.name}.supervisor.log").read_text()
    assert "it ended with 3: no paper; it is tried again in 2 s" in log

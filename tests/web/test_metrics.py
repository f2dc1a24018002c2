"""What is told to whom watches a deployment: /metrics for Prometheus, /ready for whom would start something."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callers import Caller, Reply, warm
from here import ROOT
from lab import Lab, eventually
from labwaiter.errors import Misconfigured
from labwaiter.settings import load
from labwaiter.store import figures
from labwaiter.store.leases import Held, Lease, Leases
from labwaiter.web.metrics import TABLE

pytestmark = pytest.mark.folder_way
Labels = tuple[tuple[str, str], ...]
LAB_TOML = """
[instruments.heater]
driver = "labwaiter.instruments.drivers.relays:RelayBoard"
port = "/dev/no such device"
[instruments.smu]
driver = "labwaiter.instruments.drivers.smu:SMU"
port = "sim://smu"
"""


def read(reply: Reply) -> dict[str, dict[Labels, float]]:
    """The samples of a scrape, by name and labels."""
    assert reply.status == "200 OK", reply.body
    samples: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def scraped(caller: Caller) -> Callable[..., float]:
    """A look at one sample of a scrape made now; 0 without it."""
    samples = read(caller("/metrics"))

    def value(name: str, **labels: str) -> float:
        return samples.get(f"labwaiter_{name}", {}).get(tuple(sorted(labels.items())), 0.0)

    return value


def told(lab: Lab) -> dict[str, Any]:
    """What the supervisor tells now."""
    return figures.read(lab.settings.layout.supervisor_figures)


def test_who_runs_ends_and_waits_is_counted_by_service_end_and_reason(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    caller = Caller(lab)
    lab.supervise()
    lab.start("Echo", "done", text="x")
    lab.ended("done")
    lab.start("Unruly", "runs", word="sleep")
    lab.running("runs")
    lab.start("Echo", "waits", text="x")
    eventually(lambda: told(lab).get("queued") == {"place": 1} and told(lab).get("running") == {"Unruly": 1})
    value = scraped(caller)
    assert value("executions_ended_total", service="Echo", end="completed") == 1
    assert value("executions_ended_total", service="Echo", end="failed") == 0
    assert value("executions_running", service="Unruly") == 1 and value("executions_running", service="Echo") == 0
    assert value("executions_queued", reason="place") == 1 and value("executions_queued", reason="person") == 0
    assert 0 < value("queue_oldest_seconds") < 200
    assert value("executions_begun_total", service="Unruly") == 1
    assert value("queue_seconds_count") == 2 and value("supervised") == 1
    assert value("supervisor_lag_seconds_count") > 0
    assert caller.call("Unruly", "abortService", serviceID="runs")["success"] == "true"
    eventually(lambda: "aborted" in told(lab)["counted"]["ended"].get("Unruly", {}))
    value = scraped(caller)
    assert value("executions_ended_total", service="Unruly", end="aborted") == 1
    assert value("stop_seconds_count", reason="abort") == 1 and value("stop_seconds_count", reason="limit") == 0
    assert value("call_seconds_count", call="abort") == 1


def test_a_supervisor_counts_on_from_what_the_one_before_it_counted(lab: Lab) -> None:
    caller = Caller(lab)
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    eventually(lambda: told(lab).get("counted", {}).get("ended") == {"Echo": {"completed": 1}})
    os.kill(lab.supervisor, signal.SIGKILL)
    lab.supervisors[0].wait()
    value = scraped(caller)
    assert value("supervised") == 0 and value("executions_ended_total", service="Echo", end="completed") == 1
    assert "labwaiter_executions_running" not in read(caller("/metrics"))  # nobody knows it now
    lab.supervise()
    os.kill(lab.supervisor, signal.SIGHUP)  # begins anew with the code that is there
    lab.start("Echo", "two", text="x")
    lab.ended("two")
    eventually(lambda: told(lab)["counted"]["ended"] == {"Echo": {"completed": 2}})
    assert scraped(caller)("supervised") == 1


def test_polls_of_both_ways_starts_and_faults_are_counted(lab: Lab) -> None:
    caller = warm(Caller(lab))
    before = scraped(caller)
    caller.call("Echo", "startEcho", serviceID="one", text="x")
    lab.ended("one")
    for _ in range(5):
        caller.call("Echo", "getServiceStatus", serviceID="one")
    caller.call("Echo", "getServiceStatus", serviceID="nobody's")
    caller.call("Echo", "startEcho", serviceID=" ")
    caller("/Echo", b"<no envelope>")
    caller("/Echo", query="wsdl")
    value = scraped(caller)

    def new(name: str, **labels: str) -> float:
        return value(name, **labels) - before(name, **labels)

    assert new("call_seconds_count", call="start") == 1
    assert new("call_seconds_count", call="status") == new("call_seconds_bucket", call="status", le="+Inf") == 5
    assert 0 < new("call_seconds_sum", call="status") < 5
    assert new("faults_total", code="UnknownServiceID", reason="UnknownServiceID") == 1
    assert new("faults_total", code="MissingParameter", reason="MissingParameter") == 1
    assert new("faults_total", code="InvalidParameter", reason="InvalidParameter") == 1


def test_our_own_mistakes_are_told_from_all_else_that_is_unavailable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(lab)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(caller.application._jobs, "notify", broken)
    caller.call("Echo", "notifyService", serviceID="one", message="m")
    assert scraped(caller)("faults_total", code="Unavailable", reason="Incident") == 1


def test_no_label_holds_what_a_caller_wrote(lab: Lab) -> None:
    caller = Caller(lab)
    lines = caller("/metrics").body.count(b"\n")
    for number in range(40):
        caller.call("Echo", f"startSecret{number}", serviceID=f"secret{number}")
        caller.call("Echo", "getServiceStatus", serviceID=f"secret{number}", sessionToken=f"secret{number}")
        caller(f"/secret{number}/Secret{number}", b"<secret/>")
    reply = caller("/metrics", HTTP_USER_AGENT="secret")
    assert b"ecret" not in reply.body and reply.body.count(b"\n") == lines


def test_each_instrument_has_one_state(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    (tmp_path / "lab.toml").write_text(LAB_TOML)
    lab = make_lab(LAB=str(tmp_path / "lab.toml"))
    caller = Caller(lab)
    lab.supervise()
    value = scraped(caller)
    assert value("instrument_state", instrument="heater", state="missing") == 1
    assert value("instrument_state", instrument="smu", state="free") == 1
    leases = Leases(lab.root)
    leases.write(Lease("heater", Held.UNSAFE, why="It is hot."))
    leases.write(Lease("sold", Held.RESERVED, why="ada", until=4e9))  # no longer in lab.toml
    value = scraped(caller)
    assert value("instrument_state", instrument="heater", state="unsafe") == 1
    assert value("instrument_state", instrument="heater", state="missing") == 0
    assert value("instrument_state", instrument="sold", state="reserved") == 1
    (tmp_path / "lab.toml").write_text("[")
    value = scraped(caller)
    assert value("instrument_state", instrument="heater", state="unsafe") == 1
    assert b"hot" not in caller("/metrics").body


def test_a_deployment_that_nobody_has_used_yet_is_told_of_whole(make_lab: Callable[..., Lab]) -> None:
    value = scraped(Caller(make_lab()))
    assert value("supervised") == 0 and value("disk_size_bytes") > 0
    assert all(value("part_readable", part=part) for part in ("supervisor", "calls", "instruments", "disk"))


def test_what_can_not_be_read_is_left_out_and_told(lab: Lab) -> None:
    caller = Caller(lab)
    lab.settings.layout.supervisor_figures.unlink(missing_ok=True)
    lab.settings.layout.web_figures.mkdir()
    value = scraped(caller)
    assert value("part_readable", part="calls") == 0 and value("part_readable", part="disk") == 1
    assert value("supervised") == 1 and value("disk_size_bytes") >= value("disk_free_bytes") > 0
    lab.settings.layout.web_figures.rmdir()
    caller.call("Echo", "getServiceStatus", serviceID="nobody's")
    value = scraped(caller)
    assert value("part_readable", part="calls") == 1
    assert value("faults_total", code="UnknownServiceID", reason="UnknownServiceID") == 1


ELSEWHERE = "192.0.2.7"


@pytest.mark.parametrize(
    ("setting", "address", "more", "may"),
    [
        (None, "127.0.0.1", {}, True),
        (None, "127.8.9.10", {}, True),
        (None, "::1", {}, True),
        (None, "::ffff:127.0.0.1", {}, True),
        (None, "", {}, True),  # a socket of the file system
        (None, ELSEWHERE, {}, False),
        (None, "no address", {}, False),
        (None, "127.0.0.1", {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
        (None, "127.0.0.1", {"HTTP_FORWARDED": "for=127.0.0.1"}, False),
        ("192.0.2.0/24", ELSEWHERE, {}, True),
        ("192.0.2.0/24", ELSEWHERE, {"HTTP_X_FORWARDED_FOR": ELSEWHERE}, False),
        ("192.0.2.0/24", "127.0.0.1", {}, False),
        ("", "127.0.0.1", {}, False),
    ],
)
def test_metrics_are_told_to_those_that_a_setting_names(
    make_lab: Callable[..., Lab], setting: str | None, address: str, more: dict[str, str], may: bool
) -> None:
    caller = Caller(make_lab(**({} if setting is None else {"METRICS": setting})))
    reply = caller("/metrics", REMOTE_ADDR=address, **more)
    assert reply.status == ("200 OK" if may else "403 FORBIDDEN")
    assert may or reply.body.startswith(b"The metrics are told to the addresses that METRICS names")
    assert caller("/ready", REMOTE_ADDR=address, **more).status[:3] in ("200", "503")


def test_a_setting_that_names_no_addresses_is_refused_by_its_name() -> None:
    with pytest.raises(Misconfigured, match="METRICS must be addresses or networks"):
        load({"METRICS": "everybody", "LABWAITER_ENV": os.devnull})


def test_prometheus_gets_the_format_that_it_asks_for(caller: Caller) -> None:
    assert caller("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    reply = caller("/metrics", HTTP_ACCEPT="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text") and reply.body.endswith(b"# EOF\n")


def test_the_table_in_the_documents_is_that_of_the_code() -> None:
    told = (ROOT / "docs" / "operating.md").read_text().partition("| metric |")[2].partition("\n\n")[0]
    rows = [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in told.splitlines()[2:]]
    kinds = {"counter": "counter", "gauge": "", "histogram": "histogram"}
    assert rows == [
        (f"`{name}`", kinds[metric.kind], ", ".join(metric.labels), metric.unit, metric.meaning)
        for name, metric in TABLE.items()
    ]


def test_what_is_scraped_is_in_the_table(lab: Lab) -> None:
    samples = read(Caller(lab)("/metrics"))
    families = {re.sub("_(bucket|count|sum)$", "", name) if name not in TABLE else name for name in samples}
    assert families <= set(TABLE)


# -- /ready ---------------------------------------------------------------------------------------


def ready(caller: Caller) -> tuple[str, dict[str, Any]]:
    reply = caller("/ready")
    return reply.status[:3], json.loads(reply.body)


def test_ready_says_whether_a_start_would_begin_now(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    caller = Caller(lab)
    assert ready(caller) == ("503", {**ready(caller)[1], "status": "no supervisor"})
    lab.supervise()
    assert ready(caller)[0] == "200" and ready(caller)[1]["status"] == "ok"
    lab.start("Unruly", "one", word="sleep")
    lab.running("one")
    eventually(lambda: ready(caller) == ("503", {**ready(caller)[1], "status": "1 of 1 executions are running"}))
    assert caller("/health").status == "200 OK" and caller("/alive").status == "204 No Content"
    assert caller.call("Unruly", "abortService", serviceID="one")["success"] == "true"
    eventually(lambda: ready(caller)[0] == "200")


def test_a_missing_instrument_makes_nobody_unready(tmp_path: Path, make_lab: Callable[..., Lab]) -> None:
    (tmp_path / "lab.toml").write_text(LAB_TOML)
    lab = make_lab(LAB=str(tmp_path / "lab.toml"))
    caller = Caller(lab)
    lab.supervise()
    status, report = ready(caller)
    assert status == "200" and report["instruments"] == {"heater": "missing", "smu": "free"}
    (tmp_path / "lab.toml").write_text("[")
    status, report = ready(caller)
    assert status == "200" and report["lab"] == "lab.toml has a mistake"


def test_a_supervisor_that_hangs_is_not_ready(lab: Lab) -> None:
    caller = Caller(lab)
    eventually(lambda: "at" in told(lab))
    os.kill(lab.supervisor, signal.SIGSTOP)
    try:
        content = told(lab)
        figures.write(lab.settings.layout.supervisor_figures, {**content, "at": max(0.0, content["at"] - 40)})
        status, report = ready(caller)
        assert status == "503" and report["status"].startswith("the supervisor has done nothing for 4")
        assert scraped(caller)("supervisor_age_seconds") > 30
    finally:
        os.kill(lab.supervisor, signal.SIGCONT)

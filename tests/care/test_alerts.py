"""What labwaiter export prometheus writes, as Prometheus' own tool reads it, and what a deployment tells."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from callers import Caller
from lab import Lab
from labwaiter import shipped
from labwaiter.web.metrics import TABLE

FOLDER = shipped.FOLDER / "prometheus"


def promtool(*words: str, given: bytes = b"") -> str:
    """What it prints, where it finds nothing wrong; where it isn't there the test is left out."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on this machine (Debian: prometheus)")
    done = subprocess.run(["promtool", *words], cwd=FOLDER, input=given, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout + done.stderr).decode()


def test_the_configuration_and_the_alerts_are_what_prometheus_reads() -> None:
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")


def test_each_alert_comes_when_it_is_to_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")
    cases = (FOLDER / "alerts.test.yml").read_text()
    for alert in re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text()):
        assert f'alertname="{alert}"' in cases or f"alertname: {alert}\n" in cases, f"{alert} has no case"


def test_alerts_and_cases_name_metrics_that_there_are() -> None:
    for file in ("alerts.yml", "alerts.test.yml"):
        named = set(re.findall(r"\blabwaiter_\w+", (FOLDER / file).read_text()))
        assert named <= set(TABLE), f"{file} names {named - set(TABLE)}"


@pytest.mark.folder_way
def test_a_real_scrape_is_without_fault(lab: Lab) -> None:
    caller = Caller(lab)
    lab.start("Echo", "one", text="x")
    lab.ended("one")
    caller.call("Echo", "getServiceStatus", serviceID="one")
    assert promtool("check", "metrics", given=caller("/metrics").body) == ""

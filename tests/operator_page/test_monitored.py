"""What monitored instruments said, on the operator's page: their cards, an hour, a day, a month, and the events."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from callers import Web
from lab import Lab, eventually
from labwaiter.store.history import History

MONITORED = """
[instruments.meter]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "sim://smu"
monitor_every_s = 1

[instruments.printer]
driver = "labwaiter.instruments.drivers:MarlinPrinter"
port = "sim://marlin?speed=20"
monitor_every_s = 1

[instruments.printer.limits]
hotend = { high = 15 }
"""


@pytest.fixture(scope="session")
def watched(make_standing: Callable[..., tuple[Lab, Web]]) -> tuple[Lab, Web]:
    """A deployment whose instruments are monitored."""
    lab, web = make_standing(TOKENS="")
    lab.settings.lab.write_text(MONITORED)
    history = History(lab.settings.layout)
    eventually(lambda: {"meter", "printer"} <= history.last().keys())
    eventually(lambda: len(history.series("printer", 0, 1e11, 10_000)[1]) > 1)
    return lab, web


def test_a_card_tells_what_its_instrument_said_and_what_passed_a_limit(
    watched: tuple[Lab, Web], open_screen: Callable[..., Any]
) -> None:
    screen = open_screen(watched[1])
    screen.go("operator/lab")
    screen.see("hotend", "#i-printer .said")
    screen.see("over its limit", "#i-printer .beyond")
    screen.see("free", "#i-printer")
    screen.page.wait_for_selector("#i-printer svg.trend")
    screen.go()
    screen.see("printer: hotend is 2", ".event")
    screen.go("operator/events")
    screen.see("over its limit of 15 °C", ".event")
    assert screen.wrong == []


def test_its_own_page_draws_an_hour_a_day_a_month_and_gives_a_table(
    watched: tuple[Lab, Web], open_screen: Callable[..., Any]
) -> None:
    screen = open_screen(watched[1])
    screen.go("operator/instrument?name=printer")
    screen.page.wait_for_selector("#plot canvas")
    for words in ("Day", "Month", "Hour"):
        screen.page.get_by_role("link", name=words, exact=True).click()
        screen.page.wait_for_selector("#plot canvas")
        assert screen.page.locator(".spans [aria-current]").inner_text() == words
    with screen.page.expect_download() as download:
        screen.page.get_by_role("link", name="CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert rows[0].startswith("time,unix time / s,hotend / °C") and len(rows) > 2
    assert screen.wrong == []


def test_programs_are_told_the_same(watched: tuple[Lab, Web]) -> None:
    def get(path: str) -> Any:
        with urllib.request.urlopen(f"{watched[1].url}/api/v1/{path}") as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    def json_of(path: str) -> Any:
        return json.loads(get(path)[1])

    (printer,) = (one for one in json_of("readings")["instruments"] if one["name"] == "printer")
    (hotend,) = (one for one in printer["readings"] if one["reading"] == "hotend")
    assert hotend["unit"] == "°C" and 20 < hotend["value"] < 25 and hotend["beyond"] == "high"
    told = json_of("instruments/printer/history")
    assert told["step"] > 0 and all(len(point) == 4 for series in told["readings"] for point in series["points"])
    kind, text = get("instruments/printer/history.csv")
    assert kind.startswith("text/csv") and "hotend / °C" in text.splitlines()[0]
    events = [event for event in json_of("events")["events"] if event["instrument"] == "printer"]
    assert len(events) == 1 and events[0]["about"]["reading"] == "hotend", events

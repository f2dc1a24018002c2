"""What a web side with several workers has counted goes on, whatever becomes of its workers."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from callers import Web, envelope
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.deployment import web_processes
from labwaiter.settings import load
from labwaiter.store import figures

pytestmark = pytest.mark.folder_way


def scrape(web: Web) -> dict[tuple[str, str], float]:
    """Every counter of a scrape, by its name and labels; each comes over a connection of its own, so to any worker."""
    with urllib.request.urlopen(f"{web.url}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    counters = [sample for family in families if family.type != "gauge" for sample in family.samples]
    return {(sample.name, str(sorted(sample.labels.items()))): sample.value for sample in counters}


def workers(web: Web) -> list[int]:
    found = web_processes.find(load(web.lab.face_environment))
    return [who.pid for who in found if who.pid != web.process.pid]


def test_counters_never_go_back_while_workers_are_killed_and_replaced(lab: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(lab, workers=4)
    lab.start("Unruly", "one", word="sleep")
    lab.running("one")
    poll = envelope("getServiceStatus", serviceID="one", sessionToken="t")
    unknown = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
    before: dict[tuple[str, str], float] = {}
    answered = 0

    def ask() -> None:
        nonlocal before, answered
        for body, words in ((poll, "getServiceStatusResponse"), (unknown, "UnknownServiceID")):
            answer = web("/Unruly", body)
            assert words.encode() in answer.body
            answered += 1
        now = scrape(web)
        back = {key: (value, now.get(key)) for key, value in before.items() if now.get(key, 0.0) < value}
        assert not back
        before = now

    def told() -> bool:
        """Whether all that was answered is in the file: within a second."""
        return sum(counted(figures.read(lab.settings.layout.web_figures))) == answered

    def kill_one() -> None:
        victim = workers(web)[0]
        os.kill(victim, signal.SIGKILL)
        wait_gone(victim)
        ask_through_the_gap(ask)
        eventually(lambda: len(w := workers(web)) == 4 and victim not in w)

    eventually(lambda: len(workers(web)) == 4)
    for _ in range(3):
        for _ in range(8):
            ask()
        eventually(told)
        kill_one()
    eventually(told)
    web.process.terminate()
    web.process.wait(PATIENCE)
    web = make_web(lab, workers=2)
    ask()
    eventually(told)


def ask_through_the_gap(ask: Callable[[], None]) -> None:
    """A connection that the killed worker had not taken up is closed: its caller asks again."""

    def tried() -> bool:
        try:
            ask()
        except OSError:
            return False
        return True

    eventually(tried)


def counted(content: figures.Figures) -> list[int]:
    """Polls, and calls that got a fault."""
    polls = content.get("calls", {}).get("status", {}).get("under", {})
    return [*polls.values(), *(number for reasons in content.get("faults", {}).values() for number in reasons.values())]

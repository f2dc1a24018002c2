"""What an execution's instruments said of themselves, and that they were made safe, is remembered."""

from __future__ import annotations

import pytest

from benchlab import DRIVERS, Plugged, energised, leases, let_go
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.store.audit import Audit
from labwaiter.store.timeline import made_by
from labwaiter.verbs.instruments import Instruments

SAID = {"smu": "SMU,", "relays": "RELAY8", "printer": "FIRMWARE_NAME:Marlin", "analyser": "SBA-5"}


@pytest.mark.parametrize("name", DRIVERS)
def test_an_execution_says_by_which_instrument_it_was_made(using: Lab, name: str) -> None:
    using.start("Uses", "uses", device=name, how="done")
    energised(using, "uses")
    let_go(using, "uses")
    using.ended("uses")
    eventually(lambda: leases(using).of(name) is None)
    told = using.jobs.timeline("uses", SHELL)
    (instrument,) = made_by(told)["instruments"]
    assert instrument["instrument"] == name
    assert SAID[name] in instrument["identity"], instrument
    safe = next(h for h in told if h.event == "made safe")
    assert (safe.about["instrument"], safe.about["why"]) == (name, "made safe and read back")
    by_guard = [act for act in Audit(using.settings.layout).entries() if act["face"] == "guard"]
    assert [(act["event"], act["instrument"], act["safe"], act["job"]) for act in by_guard] == [
        ("made safe", name, True, "uses")
    ]


def test_who_reserved_released_and_made_safe_stands_in_the_audit(using: Lab, bench: Plugged) -> None:
    verbs = Instruments(using.settings)
    verbs.reserve("smu", 60, SHELL)
    verbs.release("smu", SHELL)
    (result,) = verbs.make_safe(["relays"], SHELL)
    assert result.safe
    acts = list(Audit(using.settings.layout).entries())
    assert [(act["event"], act["instrument"], act["face"]) for act in acts] == [
        ("reserve", "smu", "shell"),
        ("release", "smu", "shell"),
        ("make safe", "relays", "shell"),
        ("made safe", "relays", "shell"),
    ]
    assert acts[1]["was"].startswith("reserved by shell until ")
    assert acts[3]["safe"] is True


def test_an_instrument_is_made_safe_though_the_audit_cannot_be_written(using: Lab, bench: Plugged) -> None:
    using.settings.layout.audit.touch()
    (result,) = Instruments(using.settings).make_safe(["relays"], SHELL)
    assert result.safe

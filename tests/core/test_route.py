"""Which machine gets an execution, as a table."""

from __future__ import annotations

import pytest

from labwaiter.errors import Misconfigured, ServiceError, Unavailable, UnknownInstrument
from labwaiter.fleet.route import machine_for
from labwaiter.lab.lab import InstrumentEntry, Lab, LabMachine
from labwaiter.model.record import Request

LAB = Lab(
    {
        "smu": InstrumentEntry("smu", "lab:Smu", "/dev/a", machine="bench1"),
        "relays": InstrumentEntry("relays", "lab:Relays", "/dev/b", machine="bench1"),
        "printer": InstrumentEntry("printer", "lab:Printer", "/dev/c", machine="bench2"),
    },
    {
        "bench1": LabMachine("bench1"),
        "bench2": LabMachine("bench2", ("Printer", "Waiter")),
        "bench3": LabMachine("bench3", ()),
    },
)


@pytest.mark.parametrize(
    "service, instruments, machine",
    [
        ("Sweep", ("smu",), "bench1"),
        ("Sweep", ("smu", "relays"), "bench1"),
        ("Printer", ("printer",), "bench2"),
        ("Slicer", (), "bench1"),  # the only one that offers it
    ],
)
def test_the_machine_that_has_its_instruments_or_offers_its_service(
    service: str, instruments: tuple[str, ...], machine: str
) -> None:
    assert machine_for(LAB, "one", Request("one", service, {}, instruments=instruments)) == machine


@pytest.mark.parametrize(
    "name, machine", [("a", "bench1"), ("b", "bench1"), ("c", "bench1"), ("d", "bench2"), ("e", "bench1")]
)
def test_of_several_it_is_always_the_same_one(name: str, machine: str) -> None:
    request = Request(name, "Waiter", {})
    assert machine_for(LAB, name, request) == machine
    turned = Lab(LAB.entries, dict(reversed(LAB.machines.items())))
    assert machine_for(turned, name, request) == machine


@pytest.mark.parametrize(
    "lab, service, instruments, error, words",
    [
        (Lab({}), "Waiter", (), Misconfigured, "names no machine"),
        (LAB, "Sweep", ("smu", "printer"), UnknownInstrument, r"on several machines \(bench1, bench2\)"),
        (LAB, "Sweep", ("printer",), Unavailable, "not offered by the machine bench2, which has its instrument,"),
        (Lab({}, {"bench3": LabMachine("bench3", ())}), "Waiter", (), Unavailable, "not offered by any machine"),
    ],
)
def test_where_none_can_have_it_it_is_said(
    lab: Lab, service: str, instruments: tuple[str, ...], error: type[ServiceError], words: str
) -> None:
    with pytest.raises(error, match=words):
        machine_for(lab, "one", Request("one", service, {}, instruments=instruments))

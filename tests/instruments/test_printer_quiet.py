"""A printer that is busy, quiet or paused is waited for, and is stopped whatever it is at: as stock Marlin takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import PATIENCE, eventually
from labwaiter.instruments import InstrumentError, Silent
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.simulators import Marlin
from labwaiter.instruments.simulators.host import Host


class Hasty(MarlinPrinter):
    """Does not wait long."""

    timeout, busy_timeout, boot_seconds = 0.2, 0.6, 1.5


class Stop(BaseException):
    pass


KINDS = pytest.mark.parametrize("sim", ["stock", "emergency parser", "old"], indirect=True)


@pytest.fixture
def sim(request: pytest.FixtureRequest, host: Host, port: Path) -> Marlin:
    kind = getattr(request, "param", "stock")
    simulator = Marlin(seed=1)
    simulator.emergency_parser = kind == "emergency parser"
    simulator.ok_after_resend = kind == "old"
    host.plug(port, simulator)
    return simulator


class Printing:
    """A print in a thread: it can be stopped in whatever it waits for, as a job is."""

    def __init__(self, port: Path) -> None:
        self.stopping, self.ended = threading.Event(), threading.Event()
        self.why: BaseException | None = None
        self.thread: threading.Thread | None = None
        self.printer = Hasty(str(port), name="printer", check=self.check)

    def check(self) -> None:
        if self.stopping.is_set():
            raise Stop

    def send(self, *commands: str) -> None:
        def work() -> None:
            try:
                self.printer.stream(commands)
            except BaseException as error:
                self.why = error
            self.ended.set()

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        assert self.ended.wait(PATIENCE)
        assert isinstance(self.why, Stop)
        self.printer.close()


@pytest.fixture
def printing(sim: Marlin, port: Path) -> Iterator[Printing]:
    one = Printing(port)
    yield one
    one.stopping.set()
    if one.thread is not None:
        one.thread.join(PATIENCE)
    one.printer.close()


BLOCKS = {
    "a dwell": ["G4 S40"],
    "heating": ["M109 S250"],
    "a long move": ["G1 X100 F60", "M400"],
    "its panel": ["M0"],
    "moves that are planned": [f"G1 X{10 * (n % 9)} F60" for n in range(30)],
}


@pytest.mark.parametrize("what", list(BLOCKS))
@pytest.mark.parametrize(("quiet", "asked"), [(False, False), (True, False), (True, True)])
def test_whatever_it_is_at_its_heaters_are_off_soon_after_a_stop(
    sim: Marlin, printing: Printing, port: Path, what: str, quiet: bool, asked: bool
) -> None:
    sim.keepalive = 0.0 if quiet else 0.1
    printing.printer.stream(["M155 S0", "M140 S60", "M104 S200"])
    printing.printer.__dict__["_busy_until"] = 0.0
    printing.send(*BLOCKS[what])
    waits = {"a dwell": "dwell", "heating": "hotend", "its panel": "user", "a long move": "moves"}.get(what, "room")
    eventually(lambda: sim._waiting == waits)
    if asked:  # so long that a quiet one has been asked whether it lives, and may have answers to give
        begun = sim.clock
        eventually(lambda: sim.clock > begun + 1.5)
    assert not printing.ended.is_set()
    printing.stop()
    began = sim.clock
    try:  # the guard comes from outside, and knows nothing of what went before
        rescuer = Hasty(str(port), name="printer", rescue=True)
        rescuer.make_safe()
        assert rescuer.confirmed_safe()
        rescuer.close()
    except InstrumentError as error:
        assert "it was sent the emergency stop" in error.message, error.message
        assert what not in ("heating", "its panel")
        eventually(lambda: sim.killed)
    assert sim.hotend.target == sim.bed.target == 0
    assert sim.clock - began < 12


@KINDS
def test_a_stop_in_a_dwell_needs_no_end_of_the_dwell(sim: Marlin, printing: Printing, port: Path) -> None:
    printing.printer.stream(["M104 S200"])
    printing.send("G4 S1000")
    eventually(lambda: sim._waiting == "dwell")
    printing.stop()
    with pytest.raises(Silent, match="it was sent the emergency stop, M112: it must be reset now"):
        Hasty(str(port), name="printer", rescue=True)
    eventually(lambda: sim.killed)
    assert sim.hotend.target == 0


def test_one_whose_time_is_over_before_it_listens_gets_the_emergency_stop(
    sim: Marlin, printing: Printing, port: Path
) -> None:
    """safe_seconds may be shorter than the driver's patience."""
    printing.printer.stream(["M104 S200"])
    printing.send("G4 S1000")
    eventually(lambda: sim._waiting == "dwell")
    printing.stop()
    began = sim.clock

    def check() -> None:
        if sim.clock > began + 0.5:
            raise Stop

    with pytest.raises(Stop):
        MarlinPrinter(str(port), name="printer", rescue=True, check=check)
    eventually(lambda: sim.killed)
    assert sim.hotend.target == 0


QUIET = {
    "a dwell": ("G4 S2", 2.0),
    "a dwell in ms": ("G4 P2000", 2.0),
    "homing": ("G28", 2.0),
}


@KINDS
@pytest.mark.parametrize("reports", [0, 1], ids=["no temperatures", "temperatures"])
@pytest.mark.parametrize("what", list(QUIET))
def test_a_quiet_printer_is_waited_for(sim: Marlin, printing: Printing, what: str, reports: int) -> None:
    command, seconds = QUIET[what]
    printing.printer.stream([f"M155 S{reports}", "M113 S0"])
    began = sim.clock
    printing.printer.stream([command, "G1 X7 F6000"])
    assert sim.clock - began >= seconds
    assert sim.position["X"] == 7 and not sim.killed


def test_somebody_at_its_panel_has_all_the_time(sim: Marlin, printing: Printing) -> None:
    printing.printer.stream(["M113 S0"])
    printing.send("M0 take the part", "G1 X7 F6000")
    eventually(lambda: sim._waiting == "user")
    began = sim.clock
    eventually(lambda: sim.clock > began + 2)
    assert not printing.ended.is_set()
    sim.press()
    assert printing.ended.wait(PATIENCE) and printing.why is None
    assert sim.position["X"] == 7


def test_a_move_whose_length_is_known_is_waited_for(sim: Marlin, printing: Printing) -> None:
    printing.printer.stream(["M113 S0", "M155 S0"])
    for _ in range(20):
        printing.printer.send("G91")
        printing.printer.send("G1 X1 F150", seconds=0.4)
    printing.printer.send("M400")
    assert sim.position["X"] == 20 and not sim._moves


@pytest.mark.parametrize("command", ["M109 S23", "M190 S23", "G4 P1", "G28", "M400"])
def test_what_is_done_is_waited_for_no_longer(sim: Marlin, printing: Printing, command: str) -> None:
    printing.printer.stream(["M113 S0", "M155 S0"])
    printing.printer.send(command, seconds=600)  # by an estimate
    sim.moods.add("silent")
    printing.send("G1 X1")
    assert printing.ended.wait(PATIENCE) and isinstance(printing.why, Silent)


def test_one_that_says_nothing_at_all_any_more_is_told(sim: Marlin, printing: Printing) -> None:
    sim.moods.add("silent")
    with pytest.raises(Silent, match="printer did not say ok to G1 X1 within"):
        printing.printer.send("G1 X1")

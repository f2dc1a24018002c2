"""What goes wrong on a printer's line: the right lines arrive, each once and in order, or a sentence says why not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import eventually
from labwaiter.instruments import InstrumentError, Lost, Silent, WrongDevice
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.simulators import Marlin, Relays, Sba5
from labwaiter.instruments.simulators.host import Host

HEIGHTS = [0.2, 0.4, 0.6, 0.8, 1.0]


class Hasty(MarlinPrinter):
    """Does not wait long."""

    timeout, busy_timeout, boot_seconds = 0.4, 1.5, 2.0


@pytest.fixture
def sim(host: Host, port: Path) -> Marlin:
    simulator = Marlin(seed=1, speed=50)
    simulator.obeyed = []  # type: ignore[attr-defined]
    really = simulator._obey

    def obey(command: str) -> None:
        simulator.obeyed.append(command)  # type: ignore[attr-defined]
        really(command)

    simulator._obey = obey  # type: ignore[method-assign]
    host.plug(port, simulator)
    return simulator


@pytest.fixture
def printer(sim: Marlin, port: Path) -> Iterator[Hasty]:
    one = Hasty(str(port), name="printer")
    yield one
    one.close()


def drawn(sim: Marlin) -> list[str]:
    return [one for one in sim.obeyed if one.startswith("G1")]  # type: ignore[attr-defined]


def lines() -> list[str]:
    return [f"G1 Z{height} F6000" for height in HEIGHTS]


FAULTS: dict[str, Callable[[Marlin], None]] = {
    "nothing": lambda sim: None,
    "an ok is lost": lambda sim: setattr(sim, "lost_ok", 1),
    "two oks are lost": lambda sim: setattr(sim, "lost_ok", 2),
    "a line is lost": lambda sim: setattr(sim, "lost_lines", 1),
    "two lines are lost": lambda sim: setattr(sim, "lost_lines", 2),
    "a letter is wrong": lambda sim: setattr(sim, "corrupt", 1),
    "three letters are wrong": lambda sim: setattr(sim, "corrupt", 3),
    "ok tells line and room": lambda sim: sim.moods.add("advanced"),
    "temperatures come by themselves": lambda sim: setattr(sim, "_report", 0.5),
}


@pytest.mark.parametrize("ok_after_resend", [True, False], ids=["old Marlin", "new Marlin"])
@pytest.mark.parametrize("when", ["first", "last"])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_line_is_drawn_once_and_in_order(
    sim: Marlin, printer: Hasty, fault: str, when: str, ok_after_resend: bool
) -> None:
    sim.ok_after_resend = ok_after_resend
    before, after = (lines()[:0], lines()) if when == "first" else (lines()[:-1], lines()[-1:])
    printer.stream(before)
    FAULTS[fault](sim)
    printer.stream(after)
    assert drawn(sim) == lines()
    printer.stream(lines())  # and nothing is left over that would count for these
    assert drawn(sim) == lines() * 2


def test_a_late_ok_does_not_count_for_the_next_line(sim: Marlin, printer: Hasty) -> None:
    sim.moods.add("late")
    sim.lateness = 0.6 * sim.speed
    printer.send("G1 X1 F6000")
    sim.moods = {"silent"}
    with pytest.raises(Silent, match="did not say ok to G1 X2"):  # an ok that was left over would count here
        printer.send("G1 X2")


def test_a_line_that_is_always_disturbed_ends_with_a_sentence(sim: Marlin, printer: Hasty) -> None:
    sim.corrupt = 1000
    with pytest.raises(InstrumentError, match=r"asks for line 1 \(G1 X5\) again and again: the line is disturbed"):
        printer.send("G1 X5")


@pytest.mark.parametrize("after", [1, 2, 3, 10, 60], ids="{} lines".format)
@pytest.mark.parametrize("banner", ["start", "echo:start", "\xf8\x80start", "echo: External Reset", "PowerUp", ""])
def test_a_printer_that_restarts_in_the_middle_is_noticed(sim: Marlin, printer: Hasty, banner: str, after: int) -> None:
    printer.send("M104 S200")
    printer.stream((lines() * 20)[: after - 1])
    before = drawn(sim)
    sim.restart(banner)
    with pytest.raises(Lost, match="printer.*(restarted|fell from 200 °C to 0|was it reset)"):
        printer.stream(lines())
    assert drawn(sim) == before  # nothing of it was drawn again, or further
    printer.make_safe()
    assert printer.confirmed_safe() and sim.is_safe()


def test_heaters_that_are_switched_off_at_the_panel_end_the_work(sim: Marlin, printer: Hasty) -> None:
    printer.stream(["M155 S1", "M140 S60", "M104 S200", "M104 S190", "M140 S0"])
    sim.hotend.target = 0.0
    with pytest.raises(Lost, match="the target of its hotend fell from 190 °C to 0"):
        printer.stream(lines() * 100)


def test_a_restart_that_said_nothing_is_noticed_by_its_line_number(sim: Marlin, printer: Hasty) -> None:
    printer.stream(lines() * 20)
    sim._last_line = 0
    with pytest.raises(Lost, match=r"counts its lines from 0 instead of 101: was it reset\?"):
        printer.send("G1 X1")


def test_a_printer_that_halts_tells_why(sim: Marlin, printer: Hasty) -> None:
    sim.say("Error:Heating failed, system stopped! Heater_ID: 0")
    with pytest.raises(InstrumentError, match="printer reports an error: Heating failed, system stopped"):
        printer.send("G1 X1")


def test_comments_and_echoes_are_no_ok(sim: Marlin, printer: Hasty) -> None:
    for text in ("//action:notification okay", "echo:ok so far", "wait", "okay", "// ok"):
        sim.say(text)
    printer.stream(lines())
    assert drawn(sim) == lines()


def test_heating_takes_its_time_and_an_abort_ends_that(sim: Marlin, port: Path) -> None:
    class Stop(BaseException):
        pass

    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stop

    printer = Hasty(str(port), check=check)
    sim.moods.add("busy")  # echo:busy for ever: a job's limit or stall ends this, or an abort
    waiting = threading.Thread(target=lambda: (eventually(lambda: sim._waiting), stop.set()))
    waiting.start()
    with pytest.raises(Stop):
        printer.send("M109 S200")
    waiting.join()


def test_one_that_heats_is_made_safe_at_once(sim: Marlin, printer: Hasty, port: Path) -> None:
    sim.speed = 0.1  # it will not be hot today
    printer.line.write(b"M109 S250\n")
    eventually(lambda: sim._waiting == "hotend")
    printer.close()
    again = MarlinPrinter(str(port), name="printer", rescue=True)
    again.make_safe()
    assert again.is_safe() and sim.is_safe()
    assert [what for _, what in sim.happened][-2:] == ["bed to 0 °C", "motors off"]


def test_one_that_moves_is_made_safe_at_once(sim: Marlin, printer: Hasty) -> None:
    sim.speed = 0.1
    printer.send("M104 S200")
    for x in range(10):
        printer.send(f"G1 X{10 * x} F60")
    printer.make_safe()
    assert printer.is_safe() and sim.is_safe()


@pytest.mark.parametrize("mood", ["hung", "silent"])
def test_one_that_does_not_listen_gets_the_emergency_stop_and_is_not_called_safe(
    sim: Marlin, printer: Hasty, mood: str
) -> None:
    printer.send("M104 S200")
    printer.line.write(b"G28\n")
    sim.moods.add(mood)
    eventually(lambda: sim._waiting)
    with pytest.raises(Silent, match="printer did not listen for 2 s .* so it was sent the emergency stop, M112"):
        printer.make_safe()
    eventually(lambda: sim.killed)
    assert sim.is_safe()
    with pytest.raises(InstrumentError):
        printer.is_safe()


def test_a_heater_that_stays_on_is_not_called_safe(sim: Marlin, printer: Hasty) -> None:
    printer.make_safe()
    sim.bed.target = 60.0
    assert printer.is_safe() is False


@pytest.mark.parametrize("kind", [Relays, Sba5])
def test_another_device_is_no_printer(host: Host, port: Path, kind: type) -> None:
    host.plug(port, kind(seed=1))
    with pytest.raises(WrongDevice, match="printer: expected a printer with Marlin"):
        Hasty(str(port), name="printer")


def test_opening_may_reset_the_board(host: Host, port: Path) -> None:
    sim = Marlin(seed=1)
    sim.moods.add("silent")
    host.plug(port, sim)

    def boot() -> None:
        eventually(lambda: sim.clock > 0.5)
        sim.moods.clear()
        sim.restart()

    booting = threading.Thread(target=boot)
    booting.start()
    printer = Hasty(str(port), name="printer")
    booting.join()
    assert "Marlin" in printer.identify()


def test_an_unplugged_printer_is_lost_and_its_work_does_not_go_on(host: Host, sim: Marlin, printer: Hasty) -> None:
    printer.send("G1 X1")
    host.unplug(Path(printer.line.url))
    host.plug(Path(printer.line.url), sim)
    with pytest.raises(Lost, match="printer was lost: its line has gone"):
        printer.send("G1 X2")
    assert drawn(sim) == ["G1 X1"]

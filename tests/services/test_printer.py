"""Printer streams G-code to a printer behind a pty; what is believed is the simulated machine's own record."""

from __future__ import annotations

import base64
import os
import shutil
import signal

import pytest

from benchlab import Plugged
from callers import Caller, envelope
from lab import Lab, eventually
from labwaiter.instruments.simulators import Marlin
from labwaiter.record import State
from labwaiter.settings import ROOT

NS = "http://labwaiter.example/printer/"
WARM = "M140 S60\nM104 S200\nG28\nM190 S60\nM109 S200\nG90\nM82\nG92 E0\n"
pytestmark = pytest.mark.timeout(90)


def square(layers: int, feed: int = 3000) -> str:
    """A square of 20 mm, so many layers high."""
    text, e = WARM, 0.0
    for layer in range(1, layers + 1):
        text += f"G1 Z{0.3 * layer:.2f} F{feed}\n"
        for x, y in ((20, 0), (20, 20), (0, 20), (0, 0)):
            e += 1.0
            text += f"G1 X{100 + x} Y{100 + y} E{e:.2f}\n"
    return text + "M106 S255\nM104 S0\nM140 S0\nM84\n"


def put(lab: Lab, text: str | bytes, name: str = "part.gcode") -> str:
    file = lab.settings.files_folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def machine(bench: Plugged) -> Marlin:
    found = bench.simulators["printer"]
    assert isinstance(found, Marlin)
    return found


def off(printer: Marlin) -> bool:
    return printer.is_safe() and printer.fan == 0


def stage(lab: Lab, word: str) -> str:
    """What the page says goes on, once this word is in it."""
    return eventually(lambda: (s := lab.status_progress("one").stage) and word in s and s)


def test_every_layer_is_drawn_and_afterwards_all_is_off(shop: Lab, bench: Plugged) -> None:
    shop.start("Printer", "one", gcode=put(shop, square(12)))
    record = shop.ended("one")
    assert record.outputs == {"lines": 72, "layers": 12, "filament": 48.0}, record.why
    printer = machine(bench)
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 13)]
    assert printer.extruded == pytest.approx(48) and off(printer)
    told = [what for _, what in printer.happened]
    assert (
        told.index("hotend to 200 °C") < told.index("layer at 0.3 mm") < len(told) - told[::-1].index("hotend to 0 °C")
    )
    folder = shop.folder("one") / "data"
    assert (
        folder.joinpath("record.csv")
        .read_text()
        .startswith("time / s,hotend / °C,hotendTarget / °C,bed / °C,bedTarget / °C\n")
    )
    assert folder.joinpath("plot.png").read_bytes().startswith(b"\x89PNG")
    assert "M105" not in folder.joinpath("printer.line.txt").read_text().partition("M155")[2].partition("M104 S0")[0]


def test_what_is_asked_by_message_is_done_and_answered_while_it_heats(shop: Lab, bench: Plugged) -> None:
    printer = machine(bench)
    printer.hotend.power = 0.0  # it will never get there
    shop.start("Printer", "one", gcode=put(shop, WARM.replace("M190 S60\n", "") + "G1 X10 E1\n"))
    assert "of 200 °C" in stage(shop, "heating the hotend")
    service = shop.services["Printer"]
    assert "PAUSE, RESUME and STOP" in shop.jobs.notify(service, "one", "sing")
    assert shop.jobs.notify(service, "one", "pause").startswith("pausing")
    stage(shop, "paused")
    assert shop.jobs.notify(service, "one", "RESUME") == "going on"
    stage(shop, "heating")
    assert shop.jobs.notify(service, "one", " stop ") == "stopping"
    record = shop.ended("one")
    assert record.state is State.FAILED and record.why == "The print was stopped by a message."
    assert off(printer) and printer.layers == []


def test_a_pause_lifts_the_nozzle_and_keeps_it_warm_and_a_resume_finishes_the_part(shop: Lab, bench: Plugged) -> None:
    printer = machine(bench)
    shop.start("Printer", "one", gcode=put(shop, square(40, feed=600)))
    stage(shop, "layer ")
    service = shop.services["Printer"]
    shop.jobs.notify(service, "one", "PAUSE")
    stage(shop, "paused")
    drawn = list(printer.layers)
    eventually(lambda: printer.position["Z"] >= drawn[-1] + 10)
    assert printer.hotend.target == 200 and printer.bed.target == 60
    shop.jobs.notify(service, "one", "RESUME")
    record = shop.ended("one")
    assert record.state is State.COMPLETED, record.why
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 41)] and off(printer)
    assert printer.extruded == pytest.approx(160)


@pytest.mark.parametrize("while_", ["heating", "a long move", "a pause"])
def test_an_abort_is_done_at_once_whatever_the_printer_waits_for(shop: Lab, bench: Plugged, while_: str) -> None:
    printer = machine(bench)
    text = square(40, feed=600)
    if while_ == "heating":
        printer.hotend.power = 0.0
    elif while_ == "a long move":
        text = WARM + "G1 X200 Y200 E1 F1\nM400\n"
    shop.start("Printer", "one", gcode=put(shop, text))
    stage(shop, "heating the hotend" if while_ == "heating" else "printing, layer ")
    service = shop.services["Printer"]
    if while_ == "a pause":
        shop.jobs.notify(service, "one", "PAUSE")
        stage(shop, "paused")
    assert shop.jobs.abort(service, "one", wait=20) is True
    assert shop.record("one").state is State.ABORTED and off(printer)


ALONE = pytest.mark.folder_way  # of many machines, an execution has a copy of its own


@pytest.mark.parametrize(
    "ending",
    ["killed", pytest.param("a file that is cut off", marks=ALONE), pytest.param("a file that changes", marks=ALONE)],
)
def test_other_endings_leave_it_off_too(shop: Lab, bench: Plugged, ending: str) -> None:
    printer = machine(bench)
    shop.start("Printer", "one", gcode=put(shop, square(700, feed=3000)))
    stage(shop, "layer ")
    if ending == "killed":
        os.kill(shop.running("one"), signal.SIGKILL)
    else:  # somebody writes into the file while it is printed
        with open(shop.settings.files_folder / "part.gcode", "r+b") as file:
            file.truncate(10_000)
            if ending == "a file that changes":
                file.seek(10_000)
                file.write(b"\nM999\n")
    record = shop.ended("one")
    assert record.state is State.FAILED and off(printer)
    words = {
        "killed": "SIGKILL",
        "a file that is cut off": "was cut off while",
        "a file that changes": "was changed while",
    }
    assert words[ending] in record.why


REFUSED = [
    ("G28\nG1 X10 E1\nM109 S300\n", "line 3, “M109 S300”: the hotend takes 0 to 275 °C"),
    (b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe" * 99, "it is malformed"),
    ("; nothing\n\n", "there is no command in it"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[why[:30] for _, why in REFUSED])
def test_a_file_with_a_bad_line_is_refused_as_a_whole(shop: Lab, bench: Plugged, text: str | bytes, why: str) -> None:
    shop.start("Printer", "one", gcode=put(shop, text))
    record = shop.ended("one")
    assert record.state is State.FAILED and why in record.why and "Nothing of it was sent" in record.why
    told = [what for _, what in machine(bench).happened]
    assert "homed" not in told and not [what for what in told if "°C" in what and not what.endswith(" 0 °C")]


def test_the_machine_s_own_limits_stand_in_lab_toml(shop: Lab, bench: Plugged) -> None:
    bench.write(printer="options = { machine = { x = [-10, 100], hotend_max = 240 } }")
    shop.start("Printer", "one", gcode=put(shop, "G28\nG1 X-5\nG1 X101\n"))
    assert "line 3, “G1 X101”: it moves to X 101 mm, and the machine has -10 to 100 mm" in shop.ended("one").why
    bench.write(printer="options = { machine = { width = 100 } }")
    shop.start("Printer", "two", gcode="part.gcode")
    assert "lab.toml's machine has bed_max, feed_max, hotend_max, x, y, z" in shop.ended("two").why


def test_a_caller_s_mistakes_are_told_before_anything_moves(shop: Lab, bench: Plugged) -> None:
    caller = Caller(shop)
    put(shop, square(1))
    shutil.copy(ROOT / "examples" / "bracket.stl", shop.settings.files_folder)

    def start(**texts: str) -> tuple[str, str]:
        reply = caller("/Printer", envelope("startPrint", ns=NS, serviceID="one", sessionToken="t", **texts))
        return reply["errorCode"], reply["description"]

    assert start(printer="printer") == ("MissingParameter", "The input gcode is missing: give it a value.")
    assert start(gcode="none.gcode")[0] == "InvalidParameter"
    assert start(gcode="bracket.stl") == (
        "InvalidParameter",
        "The input gcode must be the name of a .gcode or .gco or .g file, not “bracket.stl”.",
    )
    code, words = start(gcode="part.gcode", printer="tea maker")
    assert code == "UnknownInstrument" and "those that fit: printer" in words
    code, words = start(gcode="part.gcode", printer="smu")
    assert code == "UnknownInstrument" and "of another kind" in words
    assert list(shop.jobs.list()) == [] and machine(bench).happened == []


def test_the_page_tells_temperatures_layers_and_lines(shop: Lab, bench: Plugged) -> None:
    shop.start("Printer", "one", gcode=put(shop, square(700, feed=600)))
    assert "of 700, line" in stage(shop, "layer ")
    caller, poll = Caller(shop), envelope("getServiceStatus", ns=NS, serviceID="one", sessionToken="t")

    def plotted() -> str:
        page = base64.b64decode(caller("/Printer", poll)["status_base64"]).decode()
        return page if "data:image/png;base64," in page else ""

    page = eventually(plotted)
    for word in ("printing, layer ", "hotendTarget", "°C", "record.csv"):
        assert word in page
    assert shop.jobs.abort(shop.services["Printer"], "one", wait=20) is True

"""Printer streams G-code to a printer behind a pty; what is believed is the simulated machine's own record."""

from __future__ import annotations

import base64
import os
import shutil
import signal

import pytest

from benchlab import Plugged
from callers import Caller, envelope
from here import ROOT
from lab import Lab, eventually
from labwaiter.instruments.simulators import Marlin
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

NS = "http://labwaiter.example/printer/"
WARM = "M140 S60\nM104 S200\nG28\nM190 S60\nM109 S200\nG90\nM82\nG92 E0\n"


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
    assert "PAUSE, RESUME and STOP" in shop.jobs.notify(service, "one", "sing", SHELL)
    assert shop.jobs.notify(service, "one", "pause", SHELL).startswith("pausing")
    stage(shop, "paused")
    assert shop.jobs.notify(service, "one", "RESUME", SHELL) == "going on"
    stage(shop, "heating")
    assert shop.jobs.notify(service, "one", " stop ", SHELL) == "stopping"
    record = shop.ended("one")
    assert record.state is State.FAILED and record.why == "The print was stopped by a message."
    assert off(printer) and printer.layers == []


def test_a_pause_lifts_the_nozzle_and_keeps_it_warm_and_a_resume_finishes_the_part(shop: Lab, bench: Plugged) -> None:
    printer = machine(bench)
    shop.start("Printer", "one", gcode=put(shop, square(40, feed=600)))
    stage(shop, "layer ")
    service = shop.services["Printer"]
    shop.jobs.notify(service, "one", "PAUSE", SHELL)
    stage(shop, "paused")
    drawn = list(printer.layers)
    eventually(lambda: printer.position["Z"] >= drawn[-1] + 10)
    assert printer.hotend.target == 200 and printer.bed.target == 60
    shop.jobs.notify(service, "one", "RESUME", SHELL)
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
        shop.jobs.notify(service, "one", "PAUSE", SHELL)
        stage(shop, "paused")
    assert shop.jobs.abort(service, "one", SHELL, wait=20) is True
    assert shop.record("one").state is State.ABORTED and off(printer)


# -- the printer's own words --------------------------------------------------------------------


def test_a_pause_at_the_printer_pauses_and_says_so(shop: Lab, bench: Plugged) -> None:
    printer = machine(bench)
    shop.start("Printer", "one", gcode=put(shop, square(40, feed=600)))
    stage(shop, "layer ")
    printer.say("//action:pause")
    stage(shop, "paused: at the printer, line ")
    printer.say("//action:resume")
    record = shop.ended("one")
    assert record.state is State.COMPLETED, record.why
    assert printer.extruded == pytest.approx(160) and off(printer)


def test_a_print_that_is_cancelled_at_the_printer_is_failed(shop: Lab, bench: Plugged) -> None:
    shop.start("Printer", "one", gcode=put(shop, square(40, feed=600)))
    stage(shop, "layer ")
    machine(bench).say("//action:cancel")
    record = shop.ended("one")
    assert (record.state, record.why) == (State.FAILED, "The print was ended: it was cancelled at the printer.")
    assert off(machine(bench))


RUNOUT = [
    "out_of_filament T0",
    "filament_runout T0",
    "pause filament_runout 0",
    "paused filament_runout 0",
    "pause: filament_runout",
]


@pytest.mark.parametrize(
    ("setting", "words"), [*(("hold", words) for words in RUNOUT), ("end", RUNOUT[0]), ("end", RUNOUT[3])]
)
def test_filament_that_has_run_out_holds_or_ends_it(shop: Lab, bench: Plugged, setting: str, words: str) -> None:
    printer = machine(bench)
    bench.write(printer=f'options = {{ on_runout = "{setting}" }}')
    shop.start("Printer", "one", gcode=put(shop, square(40, feed=600)))
    stage(shop, "layer ")
    printer.say(f"//action:{words}")
    if setting == "hold":
        stage(shop, "paused: its filament has run out, line")
        shop.jobs.notify(shop.services["Printer"], "one", "RESUME", SHELL)
    record = shop.ended("one")
    assert record.state is (State.COMPLETED if setting == "hold" else State.FAILED)
    assert setting == "hold" or record.why == "The print was ended: its filament has run out."
    assert off(printer)


def test_cold_extrusion_fails_the_print(shop: Lab, bench: Plugged) -> None:
    shop.start("Printer", "one", gcode=put(shop, "G28\nG1 Z0.3 F3000\n" + "G91\nG1 X1 E1\n" * 20))
    record = shop.ended("one")
    assert record.state is State.FAILED and "its hotend is too cold: echo: cold extrusion prevented" in record.why
    assert off(machine(bench))


def test_what_the_firmware_does_not_know_is_on_the_page(shop: Lab, bench: Plugged) -> None:
    shop.start("Printer", "one", gcode=put(shop, WARM + "M900 K0.1\n" + "G4 S20\nM400\nG4 S20\nM400\nG4 S20\n"))
    assert 'the printer says “Unknown command: "M900 K0.1"”' in stage(shop, "the printer says")
    assert shop.ended("one").state is State.COMPLETED
    assert 'The printer says: Unknown command: "M900 K0.1"' in (shop.folder("one") / "log.txt").read_text()


def test_a_kill_leaves_it_off_too(shop: Lab, bench: Plugged) -> None:
    printer = machine(bench)
    shop.start("Printer", "one", gcode=put(shop, square(700, feed=3000)))
    stage(shop, "layer ")
    os.kill(shop.running("one"), signal.SIGKILL)
    record = shop.ended("one")
    assert record.state is State.FAILED and "SIGKILL" in record.why and off(printer)


@pytest.mark.parametrize("change", ["it is cut off", "it is written anew", "a bad line comes into it", "it is removed"])
@pytest.mark.parametrize("padding", [0, 300_000], ids=["short", "longer than any buffer"])
def test_what_was_judged_is_printed_whatever_becomes_of_the_file(
    shop: Lab, bench: Plugged, change: str, padding: int
) -> None:
    printer = machine(bench)
    text = square(40, feed=3000)
    half = text.index("G1 Z6.00")
    put(shop, text[:half] + f";{'-' * 98}\n" * (padding // 100) + text[half:])
    shop.start("Printer", "one", gcode="part.gcode")
    stage(shop, "layer ")
    with open(shop.settings.files_folder / "part.gcode", "r+b") as file:  # at its place, as copy programs do
        if change == "it is removed":
            os.unlink(file.name)
        else:
            file.truncate(500)
            file.seek(500)
            file.write({"it is cut off": b"", "it is written anew": text.encode()}.get(change, b"\nM500\n"))
    record = shop.ended("one")
    assert record.outputs == {"lines": 212, "layers": 40, "filament": 160.0}, record.why
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 41)] and off(printer)
    assert printer.extruded == pytest.approx(160)


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
    why = shop.ended("two").why
    assert "lab.toml's machine has bed_max, chamber_max, commands, feed_max, hotend_max, x, y, z" in why


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
    assert list(shop.jobs.list(SHELL)) == [] and machine(bench).happened == []


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
    assert shop.jobs.abort(shop.services["Printer"], "one", SHELL, wait=20) is True

"""Printer streams G-code to a printer behind a pty; what is believed is the simulated machine's own record."""

from __future__ import annotations

import os

import pytest

from here import ROOT
from labwaiter.errors import InvalidParameter, MissingParameter, UnknownInstrument
from labwaiter.instruments.simulators import Marlin
from labwaiter.testing import Execution, Lab

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


@pytest.fixture
def printer(lab: Lab) -> Marlin:
    found = lab.simulators["marlin"]
    assert isinstance(found, Marlin)
    found.speed = 50
    return found


def start(lab: Lab, text: str | bytes) -> Execution:
    """Print a file."""
    (lab.files / "part.gcode").write_bytes(text if isinstance(text, bytes) else text.encode())
    return lab.start("Printer", gcode="part.gcode")


def off(printer: Marlin) -> bool:
    return printer.is_safe() and printer.fan == 0


def test_every_layer_is_drawn_and_afterwards_all_is_off(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(12)).join()
    assert one.outputs == {"lines": 72, "layers": 12, "filament": 48.0}, one.error
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 13)]
    assert printer.extruded == pytest.approx(48) and off(printer)
    told = [what for _, what in printer.happened]
    assert (
        told.index("hotend to 200 °C") < told.index("layer at 0.3 mm") < len(told) - told[::-1].index("hotend to 0 °C")
    )
    assert list(one.rows[0]) == ["time / s", "hotend / °C", "hotendTarget / °C", "bed / °C", "bedTarget / °C"]
    assert one.files["plot.png"].read_bytes().startswith(b"\x89PNG")
    assert "M105" not in one.files["marlin.line.txt"].read_text().partition("M155")[2].partition("M104 S0")[0]


def test_what_is_asked_by_message_is_done_and_answered_while_it_heats(lab: Lab, printer: Marlin) -> None:
    printer.hotend.power = 0.0  # it will never get there
    one = start(lab, WARM.replace("M190 S60\n", "") + "G1 X10 E1\n")
    assert "of 200 °C" in one.wait_for("heating the hotend")
    assert "PAUSE, RESUME and STOP" in one.notify("sing")
    assert one.notify("pause").startswith("pausing")
    one.wait_for("paused")
    assert one.notify("RESUME") == "going on"
    one.wait_for("heating")
    assert one.notify(" stop ") == "stopping"
    one.join()
    assert one.failed and one.error == "The print was stopped by a message."
    assert off(printer) and printer.layers == []


def test_a_pause_lifts_the_nozzle_and_keeps_it_warm_and_a_resume_finishes_the_part(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(40, feed=600))
    one.wait_for("layer ")
    one.notify("PAUSE")
    one.wait_for("paused")
    drawn = list(printer.layers)
    lab.until(lambda: printer.position["Z"] >= drawn[-1] + 10)
    assert printer.hotend.target == 200 and printer.bed.target == 60
    one.notify("RESUME")
    one.join()
    assert one.completed, one.error
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 41)] and off(printer)
    assert printer.extruded == pytest.approx(160)


@pytest.mark.parametrize("while_", ["heating", "a long move", "a pause"])
def test_an_abort_is_done_at_once_whatever_the_printer_waits_for(lab: Lab, printer: Marlin, while_: str) -> None:
    text = square(40, feed=600)
    if while_ == "heating":
        printer.hotend.power = 0.0
    elif while_ == "a long move":
        text = WARM + "G1 X200 Y200 E1 F1\nM400\n"
    one = start(lab, text)
    one.wait_for("heating the hotend" if while_ == "heating" else "printing, layer ")
    if while_ == "a pause":
        one.notify("PAUSE")
        one.wait_for("paused")
    assert one.abort() is True
    assert one.aborted and off(printer)


# -- the printer's own words --------------------------------------------------------------------


def test_a_pause_at_the_printer_pauses_and_says_so(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(40, feed=600))
    one.wait_for("layer ")
    printer.say("//action:pause")
    one.wait_for("paused: at the printer, line ")
    printer.say("//action:resume")
    one.join()
    assert one.completed, one.error
    assert printer.extruded == pytest.approx(160) and off(printer)


def test_a_print_that_is_cancelled_at_the_printer_is_failed(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(40, feed=600))
    one.wait_for("layer ")
    printer.say("//action:cancel")
    one.join()
    assert one.failed and one.error == "The print was ended: it was cancelled at the printer."
    assert off(printer)


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
def test_filament_that_has_run_out_holds_or_ends_it(lab: Lab, printer: Marlin, setting: str, words: str) -> None:
    lab.configure("marlin", options={"on_runout": setting})
    one = start(lab, square(40, feed=600))
    one.wait_for("layer ")
    printer.say(f"//action:{words}")
    if setting == "hold":
        one.wait_for("paused: its filament has run out, line")
        one.notify("RESUME")
    one.join()
    assert one.completed if setting == "hold" else one.failed
    assert setting == "hold" or one.error == "The print was ended: its filament has run out."
    assert off(printer)


def test_cold_extrusion_fails_the_print(lab: Lab, printer: Marlin) -> None:
    one = start(lab, "G28\nG1 Z0.3 F3000\n" + "G91\nG1 X1 E1\n" * 20).join()
    assert one.failed and "its hotend is too cold: echo: cold extrusion prevented" in one.error
    assert off(printer)


def test_what_the_firmware_does_not_know_is_on_the_page(lab: Lab, printer: Marlin) -> None:
    one = start(lab, WARM + "M900 K0.1\n" + "G4 S20\nM400\nG4 S20\nM400\nG4 S20\n")
    assert 'the printer says “Unknown command: "M900 K0.1"”' in one.wait_for("the printer says")
    assert one.join().completed
    assert 'The printer says: Unknown command: "M900 K0.1"' in one.log


def test_a_kill_leaves_it_off_too(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(700, feed=3000))
    one.wait_for("layer ")
    one.kill()
    one.join()
    assert one.failed and "SIGKILL" in one.error and off(printer)


@pytest.mark.parametrize("change", ["it is cut off", "it is written anew", "a bad line comes into it", "it is removed"])
@pytest.mark.parametrize("padding", [0, 300_000], ids=["short", "longer than any buffer"])
def test_what_was_judged_is_printed_whatever_becomes_of_the_file(
    lab: Lab, printer: Marlin, change: str, padding: int
) -> None:
    text = square(40, feed=3000)
    half = text.index("G1 Z6.00")
    one = start(lab, text[:half] + f";{'-' * 98}\n" * (padding // 100) + text[half:])
    one.wait_for("layer ")
    with open(lab.files / "part.gcode", "r+b") as file:  # at its place, as copy programs do
        if change == "it is removed":
            os.unlink(file.name)
        else:
            file.truncate(500)
            file.seek(500)
            file.write({"it is cut off": b"", "it is written anew": text.encode()}.get(change, b"\nM500\n"))
    one.join()
    assert one.outputs == {"lines": 212, "layers": 40, "filament": 160.0}, one.error
    assert printer.layers == [pytest.approx(0.3 * n) for n in range(1, 41)] and off(printer)
    assert printer.extruded == pytest.approx(160)


REFUSED = [
    ("G28\nG1 X10 E1\nM109 S300\n", "line 3, “M109 S300”: the hotend takes 0 to 275 °C"),
    (b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe" * 99, "it is malformed"),
    ("; nothing\n\n", "there is no command in it"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[why[:30] for _, why in REFUSED])
def test_a_file_with_a_bad_line_is_refused_as_a_whole(lab: Lab, printer: Marlin, text: str | bytes, why: str) -> None:
    one = start(lab, text).join()
    assert one.failed and why in one.error and "Nothing of it was sent" in one.error
    told = [what for _, what in printer.happened]
    assert "homed" not in told and not [what for what in told if "°C" in what and not what.endswith(" 0 °C")]


def test_the_machine_s_own_limits_stand_in_lab_toml(lab: Lab, printer: Marlin) -> None:
    lab.configure("marlin", options={"machine": {"x": [-10, 100], "hotend_max": 240}})
    one = start(lab, "G28\nG1 X-5\nG1 X101\n").join()
    assert "line 3, “G1 X101”: it moves to X 101 mm, and the machine has -10 to 100 mm" in one.error
    lab.configure("marlin", options={"machine": {"width": 100}})
    two = lab.run("Printer", gcode="part.gcode")
    assert "lab.toml's machine has bed_max, chamber_max, commands, feed_max, hotend_max, x, y, z" in two.error


def test_a_caller_s_mistakes_are_told_before_anything_moves(lab: Lab, printer: Marlin) -> None:
    (lab.files / "part.gcode").write_text(square(1))
    with pytest.raises(MissingParameter, match="The input gcode is missing: give it a value."):
        lab.start("Printer", printer="marlin")
    with pytest.raises(InvalidParameter):
        lab.start("Printer", gcode="none.gcode")
    with pytest.raises(InvalidParameter, match="must be the name of a .gcode or .gco or .g file, not “bracket.stl”."):
        lab.start("Printer", gcode=ROOT / "examples" / "bracket.stl")
    with pytest.raises(UnknownInstrument, match="those that fit: marlin"):
        lab.start("Printer", gcode="part.gcode", printer="tea maker")
    with pytest.raises(UnknownInstrument, match="of another kind"):
        lab.start("Printer", gcode="part.gcode", printer="sourcemeter")
    assert lab.executions() == [] and printer.happened == []


def test_the_page_tells_temperatures_layers_and_lines(lab: Lab, printer: Marlin) -> None:
    one = start(lab, square(700, feed=600))
    assert "of 700, line" in one.wait_for("layer ")
    page = one.wait_for(lambda: "data:image/png;base64," in (page := one.page()) and page)
    for word in ("printing, layer ", "hotendTarget", "°C", "record.csv"):
        assert word in page
    assert one.abort() is True

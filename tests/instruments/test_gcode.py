"""G-code is judged line by line, as the firmware will take it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from labwaiter.instruments import InstrumentError
from labwaiter.instruments.gcode import BadLine, GCode, Machine

TAKEN = [
    ("G28\r\nG1 X1 Y2\r\n", ["G28", "G1 X1 Y2"]),  # as Windows writes it
    ("g1 x1.5 y.5 f3000 ; to the left", ["G1 X1.5 Y.5 F3000"]),
    ("G1X10Y20E.5", ["G1 X10 Y20 E.5"]),
    ("G01 X5", ["G1 X5"]),
    ("G1 X5 (not Y6) Z1", ["G1 X5 Z1"]),
    ("N3 G1 X5*102\nN4G28*55", ["G1 X5", "G28"]),  # a file that was made to be sent as it is
    ("N1 M110\nM110 N0\nM155 S1\nG28", ["G28"]),  # who sends the lines numbers them
    ("M117 Größe: 5 * (a) ; say", ["M117 Gr????e: 5 ? (a)"]),
    ("\ufeffG28", ["G28"]),
    ("G28 X Y", ["G28 X Y"]),
    ("G92 E0\nM82\nM107\nM104 S200 ; set\nG21\nM84     ; off", None),
    ("G28\nG91\nG1 X5\nG1 X-5\nG90\nG1 X0", None),
    ("G92 X100\nG1 X300", None),  # 200 mm from where it stood
    ("G28\nG1 X10 Y10\nG2 X20 Y10 I5 J0", None),
]


@pytest.mark.parametrize(("text", "commands"), TAKEN, ids=[repr(text)[:30] for text, _ in TAKEN])
def test_what_people_and_slicers_write_is_taken(tmp_path: Path, text: str, commands: list[str] | None) -> None:
    file = tmp_path / "part.gcode"
    file.write_text(text, newline="")
    found = [step.command for step in GCode(file, Machine())]
    assert commands is None or found == commands


REFUSED = [
    ("G28\nG1 X10\nG5 X1", "line 3, “G5 X1”: its command is not known here"),
    ("M500", "its command is not known"),  # writes its memory
    ("M0", "its command is not known"),  # waits for a button
    ("T1", "its command is not known"),
    ("X10 Y10", "its command is not known"),
    ("G1.5 X1", "its command is not known"),
    ("G1 X", "its X has no number"),
    ("G1 X1..5", "it is malformed"),
    ("G1 X1 X2", "a letter twice"),
    ("G1 X1 G1 Y1", "it has two commands"),
    ("G1 Xnan", "it is malformed"),
    ("G1 (X1", "it is malformed"),
    ("G1 (the (first) edge", "it is malformed"),
    ("G1 A5", "a move here has no A"),
    ("G2 X10 R5", "write arcs with I and J"),
    ("G2 X10", "an arc needs its centre"),
    ("%", "it is malformed"),
    ("G28\n\0\0\1", "line 2, “���”: it is malformed: no text"),
    ("G20", "it switches to inches"),
    ("M109 S276", "the hotend takes 0 to 275 °C"),
    ("M190 R121", "the bed takes 0 to 120 °C"),
    ("M104 S-1", "the hotend takes 0 to 275 °C"),
    ("M106 S256", "a fan's speed is from 0 to 255"),
    ("G1 X1 F30001", "the machine moves at up to 30000 mm/min"),
    ("G1 X1 F0", "the machine moves at up to"),
    ("G28\nG1 X221", "it moves to X 221 mm, and the machine has 0 to 220 mm"),
    ("G28\nG1 Z-0.1", "it moves to Z -0.1 mm"),
    ("G91\nG1 X200\nG1 X200", "line 3, “G1 X200”: it moves to X 400 mm"),
    ("G28\nG92 X-100\nG1 X130", "it moves to X 230 mm"),
    ("G28\nG1 X210 Y100\nG3 X210 Y140 I0 J20", "it moves to X 230 mm"),  # only its belly is outside
    ("N1 G1 X5*1", "its checksum is wrong"),
    ("", "there is no command in it"),
    ("; only words\n(and these)", "there is no command in it"),
    ("G1 X" + "1" * 100, "longer than the 90 characters"),
    ("G28" + " " * 70_000, "line 1, “G28" + " " * 57 + "”: it is longer than 65536 bytes"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[why[:40] + repr(text)[:12] for text, why in REFUSED])
def test_what_would_do_harm_or_makes_no_sense_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "part.gcode"
    file.write_text(text)
    with pytest.raises(BadLine) as refused:
        list(GCode(file, Machine()))
    assert why in str(refused.value)


def test_time_layers_and_filament_are_those_of_the_moves(tmp_path: Path) -> None:
    file = tmp_path / "part.gcode"
    file.write_text("G28\nM109 S72\nG1 Z.3 F600\nG1 X60 E6 F3600\nG1 Z.6\nG91\nM83\nG1 X-60 E4\nG1 E-2 F120\nG4 P500\n")
    reader = GCode(file, Machine())
    assert [round(step.seconds, 3) for step in reader] == [10, 20, 0.03, 1, 0.005, 0, 0, 1, 1, 0.5]
    assert (reader.layer, reader.filament) == (2, 8)
    assert (reader.relative, reader.relative_e, reader.feed) == (True, True, 120)


def test_a_file_of_any_length_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.gcode"
    with open(file, "w") as out:
        out.write("G28\n")
        for n in range(20_000):
            out.write(f"G1 X{n % 200}.125 Y{n % 190}.5 E{n / 100:.5f}\n")
    tracemalloc.start()
    reader = GCode(file, Machine())
    assert sum(1 for _ in reader) == 20_001
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


@pytest.mark.parametrize("said", [{"x": 5}, {"x": [1, 2, 3]}, {"depth": 5}, {"hotend_max": "hot"}, {"bed_max": [1, 2]}])
def test_a_wrong_machine_in_lab_toml_is_a_sentence(said: dict[str, object]) -> None:
    with pytest.raises(InstrumentError, match="marlin: lab.toml's machine has bed_max, feed_max"):
        Machine.of("marlin", said)

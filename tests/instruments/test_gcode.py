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


# what the start and end codes of PrusaSlicer 2.5's profiles say, beyond moves and heaters
SLICERS = [
    ("PrusaResearch", 'M862.3 P "MK3S"\nM862.1 P0.4\nM115 U3.11.0\nM201 X1000\nM204 S1250 T1250\nM203 E100\nM92 E140'),
    ("PrusaResearch", "G28 W\nG80\nM221 S95\nM900 K0.05\nM403 E0 F0\nM907 E538\nM73 P0 R15\nM702 C\nM601\nM600"),
    ("Anycubic", "G21\nM117 Homing X/Y ...\nM300 S440 P200\nM106 S80\nG28 X0 Y0\nG11\nM601\nM204 S500"),
    ("Artillery", "M200 D0\nM220 S100\nM420 S1 Z10\nM150 P0\nM85 S0\nG4 S10\nM106 S0\nM900 K0"),
    ("BIBO", "T0\nM105\nM420 S1\nM104 S200 T0\nM109 S200 T1"),
    ("Creality", "M25 is SD's\n".replace("M25 is SD's", "G29") + "M84 X Y E\nM104 S0"),
    ("Elegoo", "M420 S1\nG29\nM84 X Y Z E"),
    ("FLSun", "M117 Nozzle preheat\nM200 D0\nM300 S40 P10\nM221 S100\nM18\nG3 X62 Y108 I31 J54 E10 F200"),
    ("INAT", "M0 Insert the plate\nM400\nM600\nG29"),
    ("LulzBot", "M73 P0\nM75\nM420 S0\nM109 R180\nM425 Z\nM77\nM204 S300"),
    ("TriLAB", "M117 Purge\nM141 S0\nM220 S100\nG3 X45 Y77 I22 J38 E10 F200"),
    ("Ultimaker, Snapmaker, gCreate", "M82\nM83\nG21\nG92 E0\nG92\nM107"),
    (
        "others",
        'M118 E1 hi\nM413 S0\nM486 S0\nM486 Acube (1)\nM486 S-1\nG17\nM0\nM1 look\nM862.6 P"Input shaper"\nM16 Prusa',
    ),
]


@pytest.mark.parametrize(("vendor", "text"), SLICERS, ids=[vendor for vendor, _ in SLICERS])
def test_what_the_vendors_start_codes_say_is_taken(tmp_path: Path, vendor: str, text: str) -> None:
    file = tmp_path / "part.gcode"
    file.write_text("G28\n" + text.replace("G3", "G1 Y1\nG3"))
    assert list(GCode(file, Machine(x=(-150.0, 300.0), y=(-150.0, 300.0))))


def test_texts_are_sent_as_they_are_and_hosts_are_told_nothing(tmp_path: Path) -> None:
    file = tmp_path / "part.gcode"
    file.write_text(
        'M862.3 P "MK3S" ; why\nm0 Take it, *please*\nM118 A1 cancel\nM118\n@BEDLEVEL\nM113 S0\nM486 Acube (1)'
    )
    commands = [step.command for step in GCode(file, Machine())]
    assert commands == ['M862.3 P "MK3S"', "M0 Take it, ?please?", "M486 Acube (1)"]


def test_what_only_this_firmware_knows_is_listed_in_lab_toml(tmp_path: Path) -> None:
    machine = Machine.of("delta", {"commands": ["G33", "start_print", "T1"], "chamber_max": 60})
    file = tmp_path / "part.gcode"
    file.write_text("G33 P2 ; probe\nSTART_PRINT BED=60\nT1\nM141 S50\nG28")
    assert [step.command for step in GCode(file, machine)] == ["G33 P2", "START_PRINT BED=60", "T1", "M141 S50", "G28"]


REFUSED = [
    ("G28\nG1 X10\nG5 X1", "line 3, “G5 X1”: its command is not known here"),
    ("M500", "its command is not known"),  # writes its memory
    ("G33", "its command is not known here; lab.toml's machine can list it among its commands"),
    ("M302 P1", "its command is not known"),  # lifts a guard
    ("M211 S0", "its command is not known"),
    ("START_PRINT BED_TEMP=60", "it is malformed"),  # Klipper's
    ("M141 S50", "the chamber takes 0 to 0 °C"),
    ("M92 X100", "only the extruder's steps may be changed"),
    *(
        (tool, "it changes the tool, which nobody follows here")
        for tool in ("T1", "T12", "T-1", "T?", "Tx", "Tc", "T1 S1")
    ),
    ("G28\nG1 X100\nG92\nG1 X230", "it moves to X 230 mm"),  # a bare G92 zeroes nothing
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
    ("A " * 40 + "!", "it is malformed"),
    ("G1 " + "X111" * 40 + "!", "it is malformed"),
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "said",
    [
        {"x": 5},
        {"x": [1, 2, 3]},
        {"depth": 5},
        {"hotend_max": "hot"},
        {"bed_max": [1, 2]},
        {"commands": "G33"},
        {"commands": [33]},
    ],
)
def test_a_wrong_machine_in_lab_toml_is_a_sentence(said: dict[str, object]) -> None:
    with pytest.raises(InstrumentError, match="marlin: lab.toml's machine has bed_max, chamber_max"):
        Machine.of("marlin", said)


@pytest.mark.parametrize(
    ("command", "why"),
    [(known, "is known here") for known in ("M104", "m109", "G1", "G01", "G91", "G92", "M110", "G20", "M106")]
    + [(stop, "is not for a file") for stop in ("M112", "M108", "M410", "M999")]
    + [(none, "is no command's name") for none in ("M34 ", "G34 X5", "hello world", "", "8")],
)
def test_what_is_judged_here_stays_judged_whatever_lab_toml_lists(command: str, why: str) -> None:
    with pytest.raises(InstrumentError, match="marlin: lab.toml's machine ") as refused:
        Machine.of("marlin", {"commands": ["G34", command]})
    assert why in str(refused.value) or not command

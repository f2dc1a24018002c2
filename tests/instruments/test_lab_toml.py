"""lab.toml: a mistake is one sentence with its line; an input is judged by what stands there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.errors import Misconfigured, MissingParameter, UnknownInstrument
from labwaiter.lab import labfile
from labwaiter.model.parameter import Parameter

SMU = '[instruments.smu]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'
METER = Parameter("meter", "instrument", drivers=("labwaiter.instruments.drivers.smu:SourceMeter",), mandatory=False)

WRONG = [
    ("[instruments.smu\n", "line 1"),
    ("[devices.smu]\n", "“devices” is not known"),
    ("instruments = 3\n", "write [instruments.NAME]"),
    (SMU.replace("[instruments.smu]", '[instruments."smü"]'), "a name is letters, digits"),
    (SMU.replace("[instruments.smu]", '[instruments."../smu"]'), "a name is letters, digits"),
    ('[instruments.smu]\nport = "x"\n', 'line 1: smu: it needs driver = "…"'),
    (SMU.replace(":SourceMeter", ""), "line 2: smu: a driver is module:callable"),
    (SMU + "speed = 3\n", "line 4: smu: “speed” is not known"),
    (SMU + "unpolled = 5\n", 'line 4: smu: unpolled is "continue", or a number of seconds, 60 at least'),
    (SMU + 'dtr = "off"\n', "line 4: smu: dtr is true or false"),
    (SMU.replace("sim://smu", "sim://smuu"), "line 3: smu: there is no simulator “smuu”; there are: smu, marlin"),
    (SMU.replace("sim://smu", "sim://smu?sped=2"), "line 3: smu: sim://smu has no option “sped”; there are: part"),
    (SMU.replace("sim://smu", "sim://smu?speed=fast"), "speed of sim://smu is a number from 0.01 to 1000, not “fast”"),
    (SMU.replace("sim://smu", "sim://sba5?fan=smu.1"), "line 3: smu: there is no simulated relay board smu"),
    (SMU + "settle = -1\n", "line 4: smu: settle is a number of seconds from 0 to 300"),
    (SMU + 'greeting = "("\n', "line 4: smu: greeting is a pattern for the line that it says"),
    (SMU + 'power = "relays"\n', "line 4: smu: power is a relay board and a relay's number"),
    (SMU + 'power = "relays.2"\n', "line 4: smu: there is no relay board relays"),
    (SMU + "safe_seconds = 0\n", "line 4: smu: safe_seconds is a number of seconds from 1 to 600"),
    (
        SMU.replace("labwaiter.instruments.drivers", "pymeasure.instruments"),
        "line 2: smu: it must say how it is made safe",
    ),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[w[1][-30:] for w in WRONG])
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "lab.toml").write_text(text)
    with pytest.raises(Misconfigured) as caught:
        labfile.load(tmp_path / "lab.toml")
    assert words in str(caught.value) and "lab.toml" in str(caught.value)


def test_the_one_that_fits_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(SMU)
    whole = labfile.load(tmp_path / "lab.toml")
    assert whole.choose([METER], {"meter": None, "volts": 3}) == {"meter": "smu", "volts": 3}
    with pytest.raises(UnknownInstrument, match="names no instrument of this lab: “oven”; those that fit: smu"):
        whole.choose([METER], {"meter": "oven"})
    (tmp_path / "lab.toml").write_text(SMU + SMU.replace("smu]", "second]"))
    with pytest.raises(MissingParameter, match="those that fit: smu, second"):
        labfile.load(tmp_path / "lab.toml").choose([METER], {"meter": None})


def test_another_kind_and_one_twice_are_refused(tmp_path: Path) -> None:
    board = SMU.replace("smu]", "board]").replace("SourceMeter", "RelayBoard")
    (tmp_path / "lab.toml").write_text(SMU + board)
    whole = labfile.load(tmp_path / "lab.toml")
    with pytest.raises(UnknownInstrument, match="board is of another kind than meter needs"):
        whole.choose([METER], {"meter": "board"})
    other = Parameter("other", "instrument", drivers=METER.drivers, mandatory=False)
    with pytest.raises(UnknownInstrument, match="smu is named twice"):
        whole.choose([METER, other], {"meter": "smu", "other": "smu"})


def test_the_lab_that_comes_with_it_is_right() -> None:
    assert set(labfile.load(ROOT / "lab.toml").entries)


def test_a_watched_file_is_read_again_when_it_has_changed_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lab.toml"
    watched = labfile.WatchedLab(file)
    assert watched.load().machines == {} and watched.now() is not None
    for name in ("north", "south", "other"):  # each as long as the one before, within one step of the file's clock
        file.write_text(f"[machines.{name}]\n")
        assert list(watched.load().machines) == [name]
    file.write_text("[machines.other]\nport = 1\n")
    assert watched.now() is None
    with pytest.raises(Misconfigured, match=r"lab.toml, line 2"):
        watched.load()
    file.write_text("[machines.one]\n")
    later = time.time() + 10
    monkeypatch.setattr(time, "time", lambda: later)
    first = watched.load()
    reads: list[Path] = []
    monkeypatch.setattr(labfile, "load", reads.append)
    assert watched.load() is first and not reads

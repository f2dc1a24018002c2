"""docs/services.md, word by word."""

import tomllib
from collections.abc import Callable
from pathlib import Path

from blocks import of

from benchlab import plugged
from here import ROOT
from lab import Lab
from labwaiter.catalogue import catalogue
from labwaiter.instruments.gcode import Machine

PAGE = (ROOT / "docs" / "services.md").read_text()


def test_the_page_s_own_service_blinks_and_leaves_the_relay_off(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    services = tmp_path / "own"
    services.mkdir()
    (services / "blink.py").write_text(of("docs/services.md", "python", "Blink")[0].text)
    with plugged(tmp_path / "bench") as bench:
        lab = make_lab(services_folder=services, LAB=str(bench.toml))
        lab.supervise()
        lab.start("Blink", "one", relay="2")
        record = lab.ended("one")
        assert record.outputs == {"times": 5}, record.why
        told = [what for _, what in bench.simulators["relays"].happened]
        assert told and told == ["relay 2 on", "relay 2 off"] * (len(told) // 2)
        assert bench.simulators["relays"].is_safe()
        assert (lab.folder("one") / "data" / "record.csv").read_text().startswith("time / s,on\n")


def test_the_machine_on_the_page_is_one() -> None:
    (block,) = of("docs/services.md", "toml", "machine")
    said = tomllib.loads(block.text)["instruments"]["prusa"]["options"]["machine"]
    assert Machine.of("prusa", said).y == (-4, 210)


def test_every_output_of_the_three_services_is_on_the_page() -> None:
    offered = catalogue.load(ROOT / "app" / "services").services
    for name in ("Sweep", "Printer", "Ventilation"):
        for output in offered[name].outputs:
            assert f"`{output.name}`" in PAGE, f"{name}: {output.name}"

"""SOAP toolkits go through the contract for real; docs/toolkits.md says what all of them did."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Web
from cases import CASES
from here import ROOT
from kits import KITS, NotHere
from lab import Lab
from matrix import SHIPPED, SIGNS, tried

PAGE = (ROOT / "docs" / "toolkits.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["suds", "zeep", "zeep-lax", "jaxws", "gsoap", "php", "node", "perl", "mono"])
def test_a_toolkit_goes_through_every_case(
    make_lab: Callable[..., Lab], make_web: Callable[..., Web], name: str
) -> None:
    lab = make_lab(services_folder=ROOT / "toolkits" / "services")
    lab.supervise()
    try:
        verdicts = tried(KITS[name], make_web(lab).wsdl("Toolkit"))
    except NotHere as why:
        pytest.skip(str(why))
    assert {case: v.words for case, v in verdicts.items() if v.mark == "WRONG"} == {}
    assert len(verdicts) == len(CASES) + 1


def test_the_page_shows_every_case_and_every_toolkit_and_nothing_wrong() -> None:
    assert SIGNS["WRONG"] not in PAGE.split("| toolkit |")[0].split("| case |")[1]
    for case in (*CASES, SHIPPED):
        assert f"| {case} |" in PAGE
    for kit in KITS.values():
        assert kit.name in PAGE and f"{kit.name} was not tried" not in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("command", [["wsimport", "-quiet", "-d", "."], ["wsdl2h", "-o", "made.h"], ["wsdl"]])
def test_an_output_named_like_an_input_is_no_hurdle(web: Web, tmp_path: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run([*command, web.wsdl("Echo")], cwd=tmp_path, check=True, capture_output=True)
    assert list(tmp_path.glob("made.h")) or list(tmp_path.glob("*.cs")) or list(tmp_path.rglob("StartEcho.class"))

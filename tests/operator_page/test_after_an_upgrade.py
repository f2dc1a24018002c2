"""A page that is left open over an upgrade, and names that would turn what stands behind them round."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest

import labwaiter
from callers import Web
from here import ROOT
from lab import PATIENCE, Lab, eventually
from labwaiter.model.caller import SHELL

pytestmark = pytest.mark.slow


def test_a_page_left_open_over_an_upgrade_loads_itself_anew(
    open_screen: Any, make_standing: Any, tmp_path: Any
) -> None:
    lab, web = make_standing(TOKENS="")
    screen = open_screen(web)
    page = screen.go("operator/executions")
    screen.see(f"labwaiter {labwaiter.__version__}", "footer")
    page.wait_for_timeout(1000)  # it has asked once, and knows the release
    page.evaluate("window.isOld = true")
    web.process.terminate()
    web.process.wait(PATIENCE)
    page.wait_for_selector("#lost:not([hidden])")
    shutil.copytree(ROOT / "app" / "labwaiter", tmp_path / "labwaiter", ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "labwaiter" / "__init__.py"
    package.write_text(package.read_text().replace(f'"{labwaiter.__version__}"', '"99.0.0"'))
    words = [sys.executable, "-m", "labwaiter", "serve", "--port", str(web.port), "--workers", "1"]
    with open(web.log, "ab") as log:
        environment = lab.environment | {"PYTHONPATH": str(tmp_path)}
        web.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    eventually(web.answers, every=0.05)
    screen.see("labwaiter 99.0.0", "footer")
    assert page.evaluate("window.isOld") is None
    assert page.locator("#lost").is_hidden()


def test_a_name_turns_nothing_round_but_itself(screen: Any, standing: tuple[Lab, Web]) -> None:
    name = f"order \u202e{os.urandom(3).hex()}\0\x1b[31m"
    standing[0].start("Talker", name, words="\u202eturned")
    for path in ("operator/executions", f"operator/execution?id={quote(name)}", ""):
        page = screen.go(path)
        screen.see("order")
        around = page.evaluate(
            """() => {
              const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), open = [];
              while (walk.nextNode()) {
                if (!walk.currentNode.data.includes('\\u202e')) continue;
                const style = getComputedStyle(walk.currentNode.parentElement);
                if (!style.unicodeBidi.startsWith('isolate') && style.display.startsWith('inline'))
                  open.push(walk.currentNode.parentElement.outerHTML);
              }
              return open;
            }"""
        )
        assert around == [], path
    assert screen.wrong == []
    standing[0].jobs.abort(None, name, SHELL)

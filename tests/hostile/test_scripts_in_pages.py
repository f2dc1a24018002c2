"""Script in every text that reaches a page, in a real browser: none of it runs.

A program's own status.html is its own: workflow managers show it, and its script may run there (docs/security.md).
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from lxml import html

from callers import Caller, Web
from lab import SAMPLES, Lab, eventually
from labwaiter.model.record import Holder, Record, Request, State, View
from labwaiter.model.service import Service
from labwaiter.page import render
from samples.hostile import NASTY, SCRIPT

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is here")]


def dumped(address: str, profile: Path) -> str:
    """What a browser makes of a page, once its scripts have run."""
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += [f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom", address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    return done.stdout


def shown(address: str, profile: Path) -> html.HtmlElement:
    """As `dumped`, read."""
    return html.document_fromstring(dumped(address, profile))


def has_run(address: str, profile: Path) -> bool:
    """Whether a script of NASTY has."""
    page = shown(address, profile)
    return page.get("ran") is not None or "javascript:" in str(page.xpath("//@href"))


@pytest.fixture(scope="module")
def pages(standing: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """State → the address of the status page of an execution to which all that anybody says is NASTY."""
    caller, folder = Caller(standing), tmp_path_factory.mktemp("pages")
    found = {}

    def keep(state: str) -> None:
        reply = caller.call("Nasty", "getServiceStatus", serviceID=f"{NASTY} {state}")
        page = base64.b64decode(reply["status_base64"])
        assert b"&lt;script&gt;" in page, page
        (folder / f"{state}.html").write_bytes(page)
        found[state] = (folder / f"{state}.html").as_uri()

    for state, ends in (("running", "well"), ("failed", "badly"), ("aborted", "well")):
        name = f"{NASTY} {state}"
        caller.call("Nasty", "startNasty", serviceID=name, sessionToken=NASTY, text=NASTY, ends=ends)
        said = caller.call("Nasty", "notifyService", serviceID=name, message=NASTY)["response"]
        assert said == NASTY or said.isdigit()  # it may take more than a second here
        eventually(lambda name=name: NASTY in standing.status_progress(name).replies.values())
        if state == "failed":
            caller.call("Nasty", "notifyService", serviceID=name, message="go")
            standing.ended(name)
        if state == "aborted":
            caller.call("Nasty", "abortService", serviceID=name)
        keep(state)
    return found


def test_a_browser_runs_what_is_not_escaped(tmp_path: Path) -> None:
    """So the tests below can fail."""
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><html><body><p>{NASTY}</p></body></html>")
    assert shown((tmp_path / "page.html").as_uri(), tmp_path / "profile").get("ran") == "1"


@pytest.mark.parametrize("state", ["running", "failed", "aborted"])
def test_no_text_of_an_execution_runs_on_its_page(pages: dict[str, str], tmp_path: Path, state: str) -> None:
    assert not has_run(pages[state], tmp_path / "profile")


def test_no_text_of_a_service_a_file_or_an_address_runs_on_our_pages(
    pages: dict[str, str], standing: Lab, served: Web, tmp_path: Path
) -> None:
    files = served.url + standing.jobs.artifacts.link(standing.record(f"{NASTY} running").name)
    for address in (
        f"{served.url}/",
        files,
        f"{served.url}/{quote(f'<script>{SCRIPT}</script>')}",
        f"{served.url}/files/{quote(NASTY)}/x",
        f"{served.url}/nasty/Nasty?wsdl",
    ):
        assert not has_run(address, tmp_path / "profile"), address


def test_what_a_job_made_runs_in_no_browser(standing: Lab, served: Web, pages: dict[str, str], tmp_path: Path) -> None:
    """Pictures are shown in the window, with a policy that forbids their scripts; pages are downloaded."""
    name = standing.record(f"{NASTY} running").name
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{SCRIPT}"><script>{SCRIPT}</script></svg>'
    (standing.root / name / "data" / "picture.svg").write_text(picture)
    (tmp_path / "picture.svg").write_text(picture)
    here, there = (tmp_path / "picture.svg").as_uri(), standing.jobs.artifacts.link(name) + "picture.svg"
    assert "ran=" in dumped(here, tmp_path / "profile")  # where nothing forbids it
    assert "ran=" not in dumped(served.url + there, tmp_path / "profile")


def test_instruments_their_holders_and_notes_run_nothing(tmp_path: Path) -> None:
    request = Request(NASTY, "Nasty", {"text": NASTY}, None, NASTY, 1.8e9, instruments=(NASTY,), project=NASTY)
    more: dict[str, Any] = {"hardware": (NASTY,), "note": NASTY, "ahead": NASTY, "place": 1}
    view = View(Record("one", request, State.QUEUED), 1.8e9, holders=(Holder(NASTY, 1.8e9),), **more)
    service = Service("Nasty", "urn:x", "startNasty", (), (), NASTY, SAMPLES / "hostile.py")
    (tmp_path / "page.html").write_text(render(view, service))
    assert not has_run((tmp_path / "page.html").as_uri(), tmp_path / "profile")

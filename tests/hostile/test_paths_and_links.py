"""Names that are to lead elsewhere, and links that a job or a stranger has put where our files should be.

Links and names below `/files/` stand in tests/web/test_files.py, too.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from callers import Caller, envelope
from contract import errors_in
from lab import Lab, eventually
from labwaiter.errors import ServiceError
from labwaiter.model.caller import SHELL
from labwaiter.store.files import touch
from labwaiter.store.names import folder_name
from labwaiter.verbs.instruments import Instruments

TRICKS = [
    "..",
    ".",
    "../x",
    "../../../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "./a",
    "a/",
    "a//b",
    "\\..\\..\\x",
    "%2e%2e%2fx",
    "%2e%2e/x",
    "..%00/x",
    "%252e%252e%252fx",
    "\uff0e\uff0e/x",
    "..\u2215x",
    ".labwaiter",
    ".labwaiter/active/x",
    "~root",
    "~",
    "-rf",
    "--help",
    "$(touch x)",
    "`touch x`",
    "a;touch x",
    "a|b",
    "a*",
    "con",
    "a" * 1000,
    "\u6f22" * 300,
    "data",
    "request.json",
    "a\nb",
    "a\tb",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_serviceID_is_a_name_and_no_path(caller: Caller, trick: str) -> None:
    lab = caller.lab
    before = set(os.listdir(lab.root.parent))
    ours = set(os.listdir(lab.root))
    reply = caller("/Echo", envelope("startEcho", serviceID=trick, sessionToken="t", text="x"))
    assert reply.status == "200 OK" and errors_in(reply) == ""
    lab.ended(trick)
    (made,) = set(os.listdir(lab.root)) - ours
    assert made == folder_name(trick) and (lab.root / made / "request.json").is_file()
    assert set(os.listdir(lab.root.parent)) == before
    assert caller.call("Echo", "getServiceStatus", serviceID=trick)["text"] == "x"


@pytest.mark.parametrize("trick", [t for t in TRICKS if len(t) < 300])
def test_a_file_s_name_leads_to_no_file_outside(caller: Caller, trick: str) -> None:
    for name in (trick, f"x/{trick}", f"{trick}/passwd", f"x/../{trick}"):
        assert caller.lab.jobs.artifacts.find(name) is None, name


def test_each_path_of_the_web_side_leads_to_our_pages_alone(caller: Caller) -> None:
    for trick in TRICKS:
        for path in (
            f"/{trick}",
            f"/files/{trick}",
            f"/files/{trick}/x/y",
            f"/files/x/{trick}/y",
            f"/files/x/y/{trick}",
        ):
            reply = caller(path.encode().decode("latin-1"))
            assert reply.status[:3] in ("404", "308", "200") and b"root:" not in reply.body, path
            assert reply.status != "200 OK" or b"The services of this deployment" in reply.body


@pytest.mark.parametrize("trick", ["../lab", "..", "/dev/null", "/dev/tty", "a/b", "smu\n", "", "-h", "%2e%2e"])
def test_an_instrument_is_one_of_lab_toml_and_no_path(standing: Lab, trick: str) -> None:
    verbs = Instruments(standing.settings)
    for verb in (
        lambda: verbs.reserve(trick, 60, SHELL),
        lambda: verbs.release(trick, SHELL),
        lambda: verbs.make_safe([trick], SHELL),
        lambda: verbs.check([trick], SHELL),
    ):
        with pytest.raises(ServiceError) as refused:
            verb()
        assert refused.value.code == "UnknownInstrument"
    assert not (standing.settings.layout.folder / "leases").exists() or not os.listdir(
        standing.settings.layout.folder / "leases"
    )


# -- links ----------------------------------------------------------------------------------------------


@pytest.fixture
def running(caller: Caller, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of an execution of Unruly that runs."""
    name = request.node.name
    caller.call("Unruly", "startUnruly", serviceID=name, word="sleep")
    caller.lab.file(name, "status.txt")
    yield caller.lab.folder(name)
    caller.call("Unruly", "abortService", serviceID=name)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A file that is none of a job's."""
    file = tmp_path / "elsewhere.txt"
    file.write_text("58\nroot-of-all-secrets\n")
    file.chmod(0o640)
    os.utime(file, (1e9, 1e9))
    return file


def untouched(file: Path) -> bool:
    status = file.stat()
    whole = file.read_text(), stat.S_IMODE(status.st_mode), status.st_mtime
    return whole == ("58\nroot-of-all-secrets\n", 0o640, 1e9)


READ = ["status.txt", "status.html", "result.txt", "log.txt", "notifications.txt", "progress.json"]


@pytest.mark.parametrize("file", READ)
def test_a_link_in_the_place_of_what_a_job_writes_is_not_followed(
    caller: Caller, running: Path, elsewhere: Path, file: str
) -> None:
    (running / file).unlink(missing_ok=True)
    (running / file).symlink_to(elsewhere)
    service_id = caller.lab.store.request(running.name).service_id
    for _ in range(3):
        reply = caller.call("Unruly", "getServiceStatus", serviceID=service_id)
        assert reply.status == "200 OK" and b"root-of-all" not in base64.b64decode(reply["status_base64"])
    caller.call("Unruly", "notifyService", serviceID=service_id, message="m")
    assert untouched(elsewhere)


@pytest.mark.parametrize("mark", ["polled", "told", "abort"])
def test_a_link_in_the_place_of_a_mark_is_not_followed(
    caller: Caller, running: Path, elsewhere: Path, mark: str
) -> None:
    (running / mark).unlink(missing_ok=True)
    (running / mark).symlink_to(elsewhere)
    caller.lab.jobs.records._polled.clear()  # type: ignore[attr-defined]  # else it is set once a second
    service_id = caller.lab.store.request(running.name).service_id
    caller.call("Unruly", "getServiceStatus", serviceID=service_id)
    caller.call("Unruly", "abortService", serviceID=service_id)
    caller.call("Unruly", "getServiceStatus", serviceID=service_id)
    assert untouched(elsewhere)
    nothing = elsewhere.parent / "nothing"
    (running / mark).unlink(missing_ok=True)
    (running / mark).symlink_to(nothing)
    caller.lab.store.polled(running.name)
    with pytest.raises(OSError):
        touch(running / mark)
    assert not nothing.exists()


def test_a_link_in_the_place_of_data_shows_nobody_else_s_files(caller: Caller, running: Path, elsewhere: Path) -> None:
    os.rename(running / "data", running / "data-before")
    (running / "data").symlink_to(elsewhere.parent)
    artifacts, name = caller.lab.jobs.artifacts, running.name
    assert artifacts.listing(name) == () and artifacts.made(name, elsewhere.name) is None
    assert artifacts.find(f"{name}/{elsewhere.name}") is None
    (elsewhere.parent / "p.png").write_bytes(b"secret picture")
    assert caller.lab.store.picture(name, "p.png") is None
    reply = caller(artifacts.link(name).replace("%25", "%") + elsewhere.name)
    assert reply.status == "404 NOT FOUND"


def test_a_link_among_the_jobs_is_none_of_them(caller: Caller, tmp_path: Path) -> None:
    lab, outside = caller.lab, tmp_path / "outside"
    (outside / "data").mkdir(parents=True)
    (outside / "precious.txt").write_text("kept")
    (lab.root / "planted").symlink_to(outside)
    try:
        assert "planted" not in [*lab.store.names()]
        reply = caller.call("Echo", "getServiceStatus", serviceID="planted")
        assert reply["errorCode"] == "UnknownServiceID"
        assert caller.call("Echo", "startEcho", serviceID="planted", text="x")["errorCode"] == "Unavailable"
        assert lab.jobs.artifacts.listing("planted") == ()
        assert sorted(entry.name for entry in outside.iterdir()) == ["data", "precious.txt"]
    finally:
        (lab.root / "planted").unlink()


def test_what_is_planted_among_our_own_entries_stops_nobody(caller: Caller, tmp_path: Path) -> None:
    lab, target = caller.lab, tmp_path / "target"
    target.write_text("kept")
    planted = [
        lab.settings.layout.active / name for name in ("planted-link", "planted folder", "..%2Fx", "x" * 200, "a\nb")
    ]
    planted[0].symlink_to(target)
    planted[1].mkdir()
    for path in planted[2:]:
        path.touch()
    (lab.settings.layout.new / "link").symlink_to(tmp_path)
    try:
        caller.call("Echo", "startEcho", serviceID="in spite of it", text="x")
        lab.ended("in spite of it")
        assert target.read_text() == "kept" and tmp_path.is_dir()
        assert lab.jobs.list(SHELL)
    finally:
        for path in (*planted, lab.settings.layout.new / "link"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def test_a_removal_follows_no_link(caller: Caller, tmp_path: Path) -> None:
    lab, outside = caller.lab, tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("kept")
    caller.call("Echo", "startEcho", serviceID="to go", text="x")
    lab.ended("to go")
    folder = lab.folder("to go")
    (folder / "data" / "link").symlink_to(outside)
    (folder / "link").symlink_to(outside)
    (folder / "data-link").symlink_to(outside / "precious.txt")
    eventually(lambda: not lab.store.is_active(folder.name))
    lab.jobs.remove("to go", SHELL)
    assert os.listdir(folder) == ["tombstone.json"] and (outside / "precious.txt").read_text() == "kept"

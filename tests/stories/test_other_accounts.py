"""A job as another account than the supervisor's, which is root: what it may, and that what it leaves leads nowhere."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from callers import Caller, envelope
from lab import SAMPLES, Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.parameter import Parameter
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.runner.account import NotPossible, account_named
from labwaiter.runner.confinement import confinement_of
from labwaiter.store.files import open_of, open_ours
from labwaiter.system.process import APP

pytestmark = [pytest.mark.folder_way, pytest.mark.skipif(os.geteuid() != 0, reason="only root runs jobs as others")]
NOBODY = pwd.getpwnam("nobody")
SECRET = b"what only root may read"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every account may go through."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def is_kept_out() -> bool:
    return any(account_named("nobody").may_reach(folder) for folder in (APP, os.path.dirname(os.__file__)))


@pytest.fixture
def make(place: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []
    if is_kept_out():
        pytest.skip("Python, or this tree, lies where other accounts may not go")
    (place / "own").mkdir(mode=0o755)
    shutil.copy(SAMPLES / "confined.py", place / "own")

    def lab(**settings: str) -> Lab:
        made.append(Lab(place / "jobs", place / "own", **{"JOBS_MODE": "711", **settings}))
        made[-1].supervise()
        return made[-1]

    yield lab
    for one in made:
        one.close()


@pytest.fixture
def secret(place: Path) -> Path:
    """A file of root's, in a folder of root's."""
    folder = place / "roots"
    folder.mkdir(mode=0o700)
    (folder / "secret.png").write_bytes(SECRET)
    (folder / "secret.png").chmod(0o600)
    return folder / "secret.png"


@pytest.mark.parametrize("what", ["script", "command"])
def test_a_program_that_is_the_whole_work_is_its_account_s(make: Callable[..., Lab], what: str) -> None:
    lab = make()
    lab.start("Other", "one", what=what)
    record = lab.ended("one")
    assert record.outputs == {"result": str(NOBODY.pw_uid)}, record.why
    assert record.confined["user"] == "nobody" and record.confined["memory"] == 300_000_000
    told = [happening.event for happening in lab.jobs.timeline("one", SHELL)]
    assert told[0] == "queued" and {"began", "program"} < {*told} and told[-1] == "ended"


def test_all_of_a_job_is_its_account_s_and_we_read_it(make: Callable[..., Lab]) -> None:
    lab = make()
    Caller(lab)("/Other", envelope("startOther", serviceID="one", sessionToken="a token", what="who"))
    record = lab.ended("one")
    uid = NOBODY.pw_uid
    assert record.outputs == {"result": f"{uid} {uid} {os.getgrouplist('nobody', NOBODY.pw_gid)}"}, record.why
    view = lab.jobs.view("one", SHELL)
    assert view.log.split() == ["nobody", str(lab.folder("one") / "data"), NOBODY.pw_dir, "a", "token"]
    assert view.progress.values == {"value": 1} and ("made.txt", 23) in view.files
    path = lab.jobs.file("one", "made.txt", SHELL)
    assert path is not None
    with os.fdopen(lab.jobs.artifacts.open(path)) as file:
        assert file.read() == "made by another account"
    assert lab.jobs.artifacts.find("one/made.txt") == path
    assert not (lab.folder("one") / "session_token").exists()
    lab.jobs.remove("one", SHELL)
    assert [entry.name for entry in lab.folder("one").iterdir()] == ["tombstone.json"]


def test_it_replaces_nothing_of_ours(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.start("Other", "one", what="replaces")
    assert lab.ended("one").outputs == {"result": "[]"}


def test_its_links_lead_us_nowhere(make: Callable[..., Lab], secret: Path) -> None:
    lab = make()
    before = secret.stat()
    lab.start("Other", "one", what=f"{secret} {secret.parent}")
    record = lab.ended("one")
    assert record.state is State.FAILED and SECRET.decode() not in record.why
    folder = lab.folder("one")
    assert all((folder / name).is_symlink() for name in ("data", "told", "polled", "status.html", "log.txt"))
    assert lab.status_progress("one").picture is not None
    caller = Caller(lab)
    for operation, texts in (("getServiceStatus", {}), ("notifyService", {"message": "m"}), ("abortService", {})):
        assert SECRET not in caller("/Other", envelope(operation, serviceID="one", sessionToken="t", **texts)).body
    view = lab.jobs.view("one", SHELL)
    assert view.picture is None and view.files == () and SECRET.decode() not in view.log
    assert "secret" not in render(view, lab.services["Other"]).replace(str(secret), "")
    for name in ("secret.png", "../roots/secret.png"):
        assert lab.jobs.file("one", name, SHELL) is None
        assert lab.jobs.artifacts.find(f"one/{name}") is None
    link = lab.jobs.artifacts.link("one")
    assert caller(f"{link}secret.png").status.startswith("404")
    lab.jobs.records.polled(record)
    lab.jobs.remove("one", SHELL)
    after = secret.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    assert secret.read_bytes() == SECRET


def test_only_its_own_files_are_opened_whatever_comes_into_their_place(place: Path, secret: Path) -> None:
    own = place / "own.txt"
    own.write_text("own")
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    (place / "link").symlink_to(secret)
    (place / "to-own").symlink_to(own)
    os.mkfifo(place / "pipe")
    os.chown(place / "pipe", NOBODY.pw_uid, NOBODY.pw_gid)
    for name in ("own.txt", "to-own"):
        os.close(open_of(place / name, NOBODY.pw_uid))
    for name in ("link", "pipe", "roots"):  # and none of them hangs
        with pytest.raises(PermissionError):
            open_of(place / name, NOBODY.pw_uid)
    with pytest.raises(OSError):
        open_ours(place / "link", os.O_WRONLY)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"JOB_USER": "nobody-of-this-name"}, "this machine has no such account"),
        ({"JOB_USER": "root"}, "that is root, who may do everything"),
        ({"JOB_USER": "nobody", "JOBS_MODE": "700"}, "needs JOBS_MODE=711"),
    ],
)
def test_an_account_that_can_t_be_had_is_refused_in_a_sentence(
    make: Callable[..., Lab], settings: dict[str, str], words: str
) -> None:
    lab = make(**settings)
    lab.start("Plain", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED and words in record.why
    assert str(lab.root) not in record.why


def test_instruments_are_for_the_supervisor_s_own_account(make: Callable[..., Lab]) -> None:
    lab = make(JOB_USER="nobody")
    held = replace(lab.services["Plain"], inputs=(Parameter("smu", "instrument"),))
    with pytest.raises(NotPossible, match="has instruments"):
        confinement_of(lab.settings, held, "0" * 64, None)
    assert "user" not in confinement_of(lab.settings, replace(held, user=""), "0" * 64, None).confined
    assert confinement_of(lab.settings, lab.services["Plain"], "0" * 64, None).confined["user"] == "nobody"


def test_where_the_supervisor_is_not_root_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPossible, match="needs a supervisor that is root, and this one is user 1000"):
        account_named("nobody")


def test_an_aborted_job_of_another_account_is_gone(make: Callable[..., Lab]) -> None:
    lab = make(JOB_USER="nobody")
    lab.start("Forks", "one")
    lab.when("one", lambda: lab.status_progress("one").stage)
    assert lab.jobs.abort(lab.services["Forks"], "one", SHELL)
    assert lab.ended("one").state is State.ABORTED
    eventually(lambda: not lab.left_of("one"))

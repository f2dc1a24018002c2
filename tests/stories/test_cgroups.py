"""A job's control group, where the supervisor was put into one named `supervisor`, as systemd does it for our unit."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import SAMPLES, Lab, eventually, wait_gone
from labwaiter.model.record import State
from labwaiter.system import cgroup

pytestmark = pytest.mark.folder_way


def tree() -> Path | None:
    """This process' own part of the tree of cgroups, version 2."""
    with contextlib.suppress(OSError):
        own = cgroup.own_folder()
        return Path(own) if own else None
    return None


@pytest.fixture(scope="module")
def delegated() -> Iterator[Path]:
    """A part of the tree as systemd gives one away: its folder."""
    own = tree()
    if own is None:
        pytest.skip("no cgroups of version 2 here")
    base = own / f"lwtest-{os.getpid()}"
    try:
        (base / "supervisor").mkdir(parents=True)
    except OSError:
        pytest.skip("the cgroups of this machine are not ours to make")
    try:
        yield base
    finally:
        for folder in cgroup.beneath(str(base)):
            eventually(lambda folder=folder: gone(folder), 10)


def gone(folder: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rmdir(folder)
        except OSError:
            return False
    return True


@contextlib.contextmanager
def within(group: Path) -> Iterator[None]:
    """What is started here is in that group."""
    before = tree()
    assert before is not None
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))


@pytest.fixture
def lab(tmp_path: Path, delegated: Path) -> Iterator[Lab]:
    (tmp_path / "own").mkdir()
    shutil.copy(SAMPLES / "confined.py", tmp_path / "own")
    one = Lab(tmp_path / "jobs", tmp_path / "own")
    with within(delegated / "supervisor"):
        one.supervise()
        eventually(lambda: one.fork_server)
    yield one
    one.close()


def groups(delegated: Path) -> list[Path]:
    return [path for path in delegated.iterdir() if path.name.startswith("job-")]


def test_each_job_has_one_which_is_gone_with_it(lab: Lab, delegated: Path) -> None:
    lab.start("Confined", "one", what="tell", how="script")
    record = lab.ended("one")
    assert record.state is State.COMPLETED and record.confined["cgroup"] is True
    assert groups(delegated) == []


def test_all_of_a_job_is_in_it_and_is_killed_as_one(lab: Lab, delegated: Path) -> None:
    lab.start("Forks", "one")
    lab.when("one", lambda: lab.status_progress("one").stage)
    (group,) = groups(delegated)
    # the runner, its function, and what has left the session, the group and the mark
    left = eventually(lambda: len(pids := (group / "cgroup.procs").read_text().split()) >= 5 and pids)
    os.kill(lab.running("one"), 9)
    assert lab.ended("one").state is State.FAILED
    for pid in left:
        wait_gone(int(pid))
    assert groups(delegated) == []


def test_what_is_bounded_in_it_is_what_its_tree_gives_away(delegated: Path) -> None:
    with within(delegated / "supervisor"):
        found = cgroup.found()
    assert found is not None
    group, held = found.make("0" * 64, 100_000_000, 0.5, 20)
    try:
        files = {
            "memory": ("memory.max", "99999744"),
            "cpus": ("cpu.max", "50000 100000"),
            "processes": ("pids.max", "20"),
        }
        for bound, (file, text) in files.items():
            path = Path(group.path, file)
            assert path.exists() == (bound in held)
            assert bound not in held or path.read_text().strip() == text
    finally:
        group.remove()


def test_where_the_supervisor_is_in_no_such_group_jobs_have_none(delegated: Path) -> None:
    other = delegated / "other"
    other.mkdir()
    with within(other):
        assert cgroup.found() is None
    assert sorted(path.name for path in delegated.iterdir() if path.is_dir()) == ["other", "supervisor"]


def test_what_forks_without_an_end_is_killed_too(delegated: Path) -> None:
    with within(delegated / "supervisor"):
        found = cgroup.found()
    assert found is not None
    group, _ = found.make("1" * 64, None, None, None)
    pid = os.fork()
    if pid == 0:
        group.enter()
        while True:  # the child forks and leaves, its child forks and leaves
            if os.fork():
                os._exit(0)
            time.sleep(0.001)
    os.waitpid(pid, 0)
    assert group.kill()
    group.remove()
    assert not os.path.exists(group.path)

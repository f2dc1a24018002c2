"""What the kernel tells of folders: whoever looks after a change is told of it, and of nothing that wasn't."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labwaiter.system import changes as changes_module
from labwaiter.system.changes import TOLD_MAX, Changes, Counts


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "data").mkdir(parents=True)
    (folder / "status.txt").write_text("1")
    (folder / "log.txt").write_text("one\n")
    return folder


@pytest.fixture
def changes() -> Changes:
    made = Changes()
    if made._fd < 0:
        pytest.skip("this user has no more inotify instances: fs.inotify.max_user_instances")
    return made


def watched(changes: Changes, job: Path) -> Counts:
    counts = changes.watch(os.fsencode(job), b"data", b"status.txt")
    assert counts is not None
    return counts


def test_what_nobody_touches_is_told_as_unchanged(changes: Changes, job: Path) -> None:
    counts = watched(changes, job)
    (job / "log.txt").read_text()
    os.listdir(job)
    (job.parent / "beside").write_text("x")
    changes.look()
    assert (counts.others, counts.apart) == (0, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda job: (job / "log.txt").write_text("two\n"),
        lambda job: (job / "state.json").write_text("{}"),
        lambda job: (job / "log.txt").rename(job / "log.2"),
        lambda job: (job / "log.txt").unlink(),
        lambda job: (job / "log.txt").chmod(0o600),
        lambda job: (job / "data" / "curve.csv").write_text("1"),
        lambda job: (job / "data").rmdir(),
        lambda job: (job / "status.txt").unlink(),
        lambda job: os.replace(job / "log.txt", job / "status.txt"),
        lambda job: job.rename(job.with_name("moved")),
        lambda job: shutil.rmtree(job),
    ],
)
def test_each_change_is_told_at_once(changes: Changes, job: Path, change: Callable[[Path], object]) -> None:
    counts = watched(changes, job)
    change(job)
    changes.look()
    assert counts.others != 0


def test_the_content_of_one_file_is_told_apart(changes: Changes, job: Path) -> None:
    counts = watched(changes, job)
    with open(job / "status.txt", "r+") as status:
        status.write("2")
    changes.look()
    assert (counts.others, counts.apart) == (0, 1)
    (job / "data" / "status.txt").write_text("another one of that name")
    changes.look()
    assert counts.others > 0


def test_a_file_that_is_renamed_to_that_name_changes_both(changes: Changes, job: Path) -> None:
    counts = watched(changes, job)
    os.replace(job / "log.txt", job / "status.txt")
    changes.look()
    assert counts.others > 0 and counts.apart > 0


def test_a_folder_that_is_gone_is_told_nothing_of_until_it_is_watched_again(changes: Changes, job: Path) -> None:
    counts = watched(changes, job)
    shutil.rmtree(job)
    changes.look()
    assert counts.is_lost and counts.others != counts.others
    (job / "data").mkdir(parents=True)
    again = watched(changes, job)
    assert again is not counts and not again.is_lost
    (job / "new").write_text("")
    changes.look()
    assert again.others > 0


def test_the_same_folder_is_watched_once(changes: Changes, job: Path) -> None:
    assert watched(changes, job) is watched(changes, job)


def test_very_many_changes_are_told_as_everything(changes: Changes, job: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    quiet, loud = watched(changes, other), watched(changes, job)
    for number in range(TOLD_MAX // 16):
        (job / f"{number % 7}").touch()
    changes.look()
    assert loud.others > 0 and quiet.others == 1 and quiet.apart == 1
    changes.look()
    assert quiet.others == 1  # nothing was left to be told


def test_of_too_many_folders_the_longest_watched_is_lost(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "WATCHED_MAX", 2)
    changes = Changes()
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    first, second, third = (watched(changes, folder) for folder in folders)
    assert first.is_lost and not second.is_lost and not third.is_lost
    (folders[0] / "x").write_text("")
    (folders[2] / "x").write_text("")
    changes.look()
    assert second.others == 0 and third.others > 0


def test_a_link_in_the_place_of_a_folder_is_not_watched(changes: Changes, job: Path) -> None:
    link = job.with_name("link")
    link.symlink_to(job)
    assert changes.watch(os.fsencode(link), b"data", b"status.txt") is None


def test_where_there_are_no_more_watches_nothing_is_promised(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = Changes()
    os.close(changes._fd)
    changes._fd = -1
    assert changes.watch(os.fsencode(job), b"data", b"status.txt") is None
    changes.look()


def test_a_fork_takes_nothing_from_its_parent(changes: Changes, job: Path) -> None:
    counts = watched(changes, job)
    (job / "log.txt").write_text("two\n")
    child = os.fork()
    if child == 0:
        changes.look()
        os._exit(0 if counts.is_lost and changes.watch(os.fsencode(job), b"data", b"status.txt") is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    changes.look()
    assert counts.others > 0 and not counts.is_lost

"""Other users of the machine read no job and hold up no service, unless the jobs folder was given to them."""

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.store import supervisor_client
from labwaiter.store.leases import Held, Lease, Leases

SOMEBODY = 54321  # a user id that is nobody's here


def everything(folder: Path) -> dict[str, int]:
    """Path → mode of the folder and all that is in it, but for what a job's own program makes."""
    return {
        str(path.relative_to(folder.parent)): stat.S_IMODE(path.lstat().st_mode)
        for path in [folder, *folder.rglob("*")]
        if not path.is_symlink() and "matplotlib" not in path.parts and path.suffix != ".html"
    }


def used(lab: Lab) -> None:
    """Have all kinds of files made."""
    lab.start("Talk", "talks")
    lab.running("talks")
    lab.jobs.notify(lab.services["Talk"], "talks", "how are you?", SHELL)
    lab.start("Echo", "done", text="a secret")
    lab.ended("done")
    assert lab.jobs.abort(lab.services["Talk"], "talks", SHELL)
    lab.status("Echo", "done")
    lab.jobs.remove("done", SHELL)
    leases = Leases(lab.settings.jobs_folder)
    assert leases.take("talks", ["smu"])
    leases.write(Lease("smu", Held.UNSAFE, "talks"))
    leases.free("smu")


@pytest.mark.folder_way
def test_nobody_else_has_any_right_in_the_jobs_folder(make_lab: Callable[..., Lab]) -> None:
    before = os.umask(0o022)
    try:
        lab = make_lab()
        lab.supervise()
        used(lab)
    finally:
        os.umask(before)
    open_to_others = {path: oct(mode) for path, mode in everything(lab.root).items() if mode & 0o077}
    assert open_to_others == {}


@pytest.mark.folder_way
@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes the right to become one")
def test_another_user_reads_nothing_and_locks_nothing(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = make_lab()
    lab.supervise()
    used(lab)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder != Path("/"):
            os.chmod(folder, folder.stat().st_mode | 0o055)
    tried = 0
    for path in [lab.root, *lab.root.rglob("*")]:
        with pytest.raises(PermissionError):
            _open_as(SOMEBODY, path)
        tried += 1
    assert tried > 20


def _open_as(user: int, path: Path) -> None:
    """Open a file as another user may, or raise what that raises."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except PermissionError:
            os.write(write, b"refused")
        except OSError:
            pass
        finally:
            os._exit(0)
    os.close(write)
    said = os.read(read, 100)
    os.close(read)
    os.waitpid(pid, 0)
    if said == b"refused":
        raise PermissionError(str(path))


@pytest.mark.folder_way
def test_a_setting_gives_the_jobs_to_a_group_and_the_locks_with_them_or_to_all_without(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    before = os.umask(0o077)  # the setting counts, not who happens to start it
    try:
        for mode, folders, files, ours in (("750", 0o750, 0o640, 0o750), ("755", 0o755, 0o644, 0o750)):
            lab = make_lab(root=tmp_path / mode, JOBS_MODE=mode)
            lab.supervise()
            lab.start("Echo", "one", text="x")
            lab.ended("one")
            modes = everything(lab.root)
            assert modes[mode] == folders and modes[f"{mode}/one"] == folders and modes[f"{mode}/one/data"] == folders
            assert modes[f"{mode}/one/request.json"] == files and modes[f"{mode}/one/end.json"] == files
            assert modes[f"{mode}/.labwaiter"] == ours
            assert modes[f"{mode}/.labwaiter/supervisor.lock"] == 0o640  # others never
    finally:
        os.umask(before)


@pytest.mark.folder_way
def test_a_folder_of_an_older_release_is_closed_at_the_next_start(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.root.mkdir()
    (lab.root / ".labwaiter").mkdir()
    (lab.root / ".labwaiter" / "supervisor.lock").touch()
    for path in (lab.root, lab.root / ".labwaiter"):
        os.chmod(path, 0o755)
    supervisor_client.ensure(lab.settings)
    modes = everything(lab.root)
    assert modes["jobs"] == modes["jobs/.labwaiter"] == 0o700 and modes["jobs/.labwaiter/supervisor.lock"] == 0o600
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED


def test_a_mode_that_is_none_is_refused() -> None:
    for odd in ("7", "077", "rwx", "7000", "790", "777", "0752", "703"):
        with pytest.raises(Misconfigured, match="JOBS_MODE"):
            load({"JOBS_MODE": odd, "LABWAITER_ENV": os.devnull})

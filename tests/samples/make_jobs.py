"""Make the sample of a release's jobs folder: run by hand with that release's own code, in a worktree of it.

    PYTHONPATH=OLD/app python tests/samples/make_jobs.py OLD/tests/samples tests/samples/jobs-0.4.0

It speaks to the release by its shell alone. What the sample holds is what the tests of upgrades look for
(tests/stories/test_upgrade.py): executions that completed, failed, were aborted, removed, that wait, and one that runs
while its machine stops.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEPT = ("active", "links.key", "leases")  # of what lies beside the jobs


def main(samples: Path, into: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "services").mkdir()
        for file in ("services.py", "results.py"):
            if (samples / file).exists():
                shutil.copy(samples / file, folder / "services" / file)
        (folder / "env").write_text("WAITER_LOG_FOLDER=jobs\nSERVICES=services\nMAX_RUNNING=1\nLAB=no.toml\n")
        make(folder)
        jobs = folder / "jobs"
        for entry in (jobs / ".labwaiter").iterdir():
            if entry.name not in KEPT:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(jobs, into)


def make(folder: Path) -> None:
    """Have the executions in the folder's jobs/."""
    environ = {**os.environ, "LABWAITER_ENV": str(folder / "env")}
    jobs = folder / "jobs"

    def begin(*words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "labwaiter", *words]
        return subprocess.Popen(command, env=environ, cwd=folder, text=True, stdout=-1, stderr=-1, process_group=0)

    def call(*words: str) -> None:
        with begin(*words) as called:
            print(*words, "→", *called.communicate())

    call("run", "Echo", "--id", "completed é", "text=done <&>", "number=5")
    call("run", "Family", "--id", "with a file")
    call("run", "Missing", "--id", "failed")
    call("run", "Echo", "--id", "removed", "text=gone")
    call("jobs", "remove", "removed")
    with begin("run", "Talk", "--id", "aborted"):
        wait(lambda: "listening" in read(jobs / "aborted" / "progress.json"))
        call("jobs", "abort", "aborted")
    running = begin("run", "Talk", "--id", "interrupted")
    wait(lambda: "listening" in read(jobs / "interrupted" / "progress.json"))
    waiting = begin("run", "Echo", "--id", "queued", "text=still here")
    wait(lambda: (jobs / "queued" / "state.json").exists() or (jobs / ".labwaiter" / "active" / "queued").exists())
    for caller in (running, waiting):  # as a machine that stops: nobody is told anything
        os.kill(caller.pid, signal.SIGKILL)
    for _ in range(2):
        for environ_file in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"WAITER_LOG_FOLDER={jobs}".encode() in environ_file.read_bytes().split(b"\0"):
                    os.kill(int(environ_file.parent.name), signal.SIGKILL)
            except OSError:
                continue


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait(look: "object") -> None:
    until = time.monotonic() + 30
    while not look():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())

"""Services whose jobs are confined, and what they do to find it out."""

import os
import resource
import subprocess
import sys
from typing import Literal

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://samples.example/"
LIMITS = {"cpu_seconds": 2, "memory": 300_000_000, "open_files": 100, "file_size": 1_000_000}
DO = {
    "tell": "import os,resource as r,sys; umask = os.umask(0); open(sys.argv[1], 'w').write(str([oct(umask),"
    " *(r.getrlimit(getattr(r, 'RLIMIT_' + n))[0] for n in ('CPU', 'DATA', 'NOFILE', 'FSIZE'))]))",
    "spin": "while True: pass",
    "hog": "bytearray(1_000_000_000)",
    "large": "open('large', 'wb').write(bytes(2_000_000))",
    "open": "kept = [open('/dev/null') for _ in range(200)]",
}


class Result(Outputs):
    result: str


@service("Confined", namespace=NS, **LIMITS)
def startConfined(
    job: Job,
    what: Literal["tell", "spin", "hog", "large", "open"],
    how: Literal["function", "script", "command", "run"],
) -> Result:
    """Hit a limit, or tell them, in one of the ways in which work is done."""
    if how == "function":
        sys.argv[1:] = [str(job.result_file)]
        exec(DO[what], {})
        return Result(result=job.result_file.read_text())
    if how == "script":
        job.write("script.py", DO[what])
        return Script(job.data / "script.py", job.result_file)
    command = Command(sys.executable, "-c", DO[what], job.result_file)
    if how == "command":
        return command
    job.run(command)
    return Result(result=job.result_file.read_text())


@service("Dumped", namespace=NS, file_size=1_000_000)
def startDumped(job: Job) -> Result:
    """A program that heeds no error, and so is ended by the signal."""
    return Command("dd", "if=/dev/zero", "of=large", "bs=2000000", "count=1")


@service("Plain", namespace=NS)
def startPlain(job: Job) -> Result:
    """What a job has that nobody limits."""
    with open("made", "w"):
        pass
    soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return Result(result=f"{os.stat('made').st_mode & 0o777:o} {soft == resource.RLIM_INFINITY}")


@service("Variables", namespace=NS)
def startVariables(job: Job) -> Result:
    """The names of its program's environment."""
    return Command("sh", "-c", 'env | cut -d= -f1 | sort | tr "\\n" " " > "$1"', "sh", job.result_file)


@service("Missing", namespace=NS, memory=300_000_000)
def startMissing(job: Job, what: str) -> Result:
    """A program that can't be started."""
    return Command(what)


@service("Calling", namespace=NS, session_token=True, grace=0.5)
def startCalling(job: Job, how: Literal["function", "program", "argument", "waits"]) -> Result:
    """Call the platform: the token's length and last letter, as whoever has it sees it."""
    if how == "program":
        job.run(Command("sh", "-c", 'tail -c 1 "$1"; stat -c " %a" "$1"', "sh", job.session_token_file))
    if how == "argument":
        job.run(Command("echo", f"token={job.session_token}"))
    if how == "waits":
        job.progress(0.5, "has it")
        job.sleep(600)
    return Result(result=f"{len(job.session_token)} {job.session_token[-1]}")


@service("Nosy", namespace=NS)
def startNosy(job: Job) -> Result:
    """Ask for a token that it is not given."""
    return Result(result=job.session_token)


@service("Other", namespace=NS, user="nobody", memory=300_000_000, session_token=True)
def startOther(job: Job, what: str) -> Result:
    """Be another account, and leave links to where it may not go."""
    if what == "who":
        job.run(Command("sh", "-c", "id -un; pwd; echo $HOME; cat $0", job.session_token_file))
        job.write("made.txt", "made by another account")
        job.record(value=1)
        job.progress(0.5, "half")
        for message in job.messages():
            job.reply(message, f"heard {message}")
        return Result(result=f"{os.getuid()} {os.geteuid()} {os.getgroups()}")
    if what == "script":
        job.write("who.py", "import os, sys; open(sys.argv[1], 'w').write(str(os.getuid()))")
        return Script(job.data / "who.py", job.result_file)
    if what == "command":
        return Command("sh", "-c", 'id -u > "$0"', job.result_file)
    if what == "replaces":  # what is ours in its folder
        told = []
        for name in ("state.json", "request.json", "notifications.txt"):
            for change in ("rm -f", "mv -f -t ..", "truncate -s 0"):
                if subprocess.run(f"{change} {name}", shell=True, cwd=job.folder, check=False).returncode == 0:
                    told.append(f"{change} {name}")
        return Result(result=str(told))
    secret, folder = what.split(" ")
    os.symlink(secret, job.data / "secret.png")
    job.picture("secret.png")
    for mark in ("told", "polled", "status.txt", "status.html"):
        os.symlink(secret, job.folder / mark)
    if os.path.exists(job.folder / "log.txt"):
        os.rename(job.folder / "log.txt", job.folder / "kept.txt")
        os.symlink(secret, job.folder / "log.txt")
    os.symlink(secret, job.folder / "result.txt")
    job.sleep(0.3)  # the picture is told
    os.rename(job.data, job.folder / "elsewhere")
    os.symlink(folder, job.data)
    os.kill(os.getppid(), 9)  # no runner writes its end
    return Result(result="never")


@service("Forks", namespace=NS, grace=0.5)
def startForks(job: Job) -> Result:
    """Leave processes behind that nobody's mark or group finds."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execve("/bin/sleep", ["sleep", "600"], {})
            os._exit(0)
    job.progress(0.5, "left some")
    job.sleep(600)
    return Result(result="never")

"""What the process that jobs are forked from has in memory, and what it must not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from labwaiter.system.process import APP

SERVICE = """
from labwaiter import Job, Outputs, service


class Told(Outputs):
    result: str


@service("Telling", namespace="urn:telling")
def startTelling(job: Job) -> Told:
    return Told(result={word!r})
"""
IMPORT_TWICE = """
import os, sys
from pathlib import Path
from labwaiter import Job, service_files  # as the fork server does: what service files import is there

file = Path(sys.argv[1])
service_files.keep(file)
exec(sys.argv[2])
sys.dont_write_bytecode = True
for _ in range(2):
    if (pid := os.fork()) == 0:
        print(service_files.import_file(file)["Telling"].function(None).result, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": APP}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=True
    )


def test_nothing_is_in_it_that_has_something_done_in_each_fork() -> None:
    ours = """
import ctypes, sys
pythons_own = set(sys.modules)  # ctypes' of 3.14 has sysconfig, and so threading
import labwaiter.supervisor.fork_server
print(*sorted({"threading", "logging", "subprocess", "random"} & (set(sys.modules) - pythons_own)))
"""
    assert _python("-c", ours).stdout.split() == []


def test_a_service_s_file_is_compiled_before_the_fork_and_its_bytes_decide(tmp_path: Path) -> None:
    file = tmp_path / "telling.py"
    file.write_text(SERVICE.format(word="first"))
    asked = "import builtins\nbuiltins.compile = None"  # nobody needs it any more
    assert _python("-c", IMPORT_TWICE, str(file), asked).stdout.split() == ["first"] * 2


def test_a_file_that_changed_without_a_trace_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "telling.py"
    file.write_text(SERVICE.format(word="first"))
    changed = f"""
before = os.stat(file)
file.write_text({SERVICE.format(word="other")!r})
os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
assert os.stat(file).st_size == before.st_size
"""
    assert _python("-c", IMPORT_TWICE, str(file), changed).stdout.split() == ["other"] * 2


def test_a_file_that_python_warns_of_warns_in_each_job(tmp_path: Path) -> None:
    file = tmp_path / "telling.py"
    file.write_text(SERVICE.format(word="first") + "\nassert (1, 'always true')\n")
    ran = _python("-c", IMPORT_TWICE, str(file), "")
    assert ran.stdout.split() == ["first"] * 2 and ran.stderr.count("SyntaxWarning") == 2, ran.stderr

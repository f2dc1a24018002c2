"""A service file that holds no state stays imported where jobs are forked, and no job can tell; any other doesn't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from here import ROOT
from labwaiter.service_files import _KEPT_MAX
from labwaiter.system.process import APP

SERVICE = '''"""A file."""

import math
import os.path
import time as clock
from pathlib import Path
from typing import Annotated, Literal

from labwaiter import Job, JobFailed, Outputs, Range, Unit, hours, service
'''
START = '''

class Told(Outputs):
    """What it told."""

    result: Annotated[float, Unit("V")]


@service("Telling", namespace="urn:telling", limit=hours(1))
def startTelling(job: Job, volts: Annotated[float, Range(-1, 1, "V")] = 0.5) -> Told:
    """Tell."""
    return work(job)


def work(job):
    raise RuntimeError("it has worked")
'''

# what may stand at the top of a file that stays warm
HARMLESS = {
    "nothing more": "",
    "constants": "A, B = 1, 2\n".replace(
        "A, B = 1, 2", "A = 1\nB = -2.5e3\nC = 24 * 60 / 7\nD = None\nE = b'x'\nF = ..."
    ),
    "a constant with a type": "LIMIT: float = 3.0\nLATER: int\n",
    "tables": "TABLE = {'steel': 1.88e-5, 'glass': (1, [2, {3}])}\nSTEEL = TABLE['steel']\n",
    "a name twice": "A = 1\nA = 2\n",
    "names of others": "PI = math.pi\nSEP = os.path.sep\nTICK = clock.monotonic\nONE = math\n",
    "types": (
        "Volts = Annotated[float, Range(-1, 1, 'V')] | None\nRow = list[tuple[int, ...]]\nWord = Literal['a', 'b']\n"
    ),
    "paths": (
        "HERE = Path(__file__).parent\nTOOL = HERE / 'tools' / 'x'\nNAME = str(TOOL.with_suffix('.py'))\n"
        "UP = Path(__file__).parents[1]\n"
    ),
    "sets": "SEEN = frozenset({'a', 'b'})\nORDER = tuple(['a', 'b'])\n",
    "functions": (
        "def f(a, *b, c=[], d: 'X' = None, **e) -> int:\n    import threading\n    return open('x')\n"
        "async def g(): ...\nh = lambda a=1: a\n"
    ),
    "a class": (
        "class Plate:\n    '''A plate.'''\n    cells = 31\n    size: int = cells * 2\n    seen = []\n"
        "    def __init__(self): self.open = open('x')\n    @property\n    def area(self): return 1\n"
        "    @staticmethod\n    def of(x): return x\n    def __init_subclass__(cls): print('never')\n"
    ),
    "an exception": "class Broken(ValueError):\n    pass\nclass TooHot(JobFailed):\n    code = 3\n",
    "the future": "from __future__ import annotations\n",
}
# what may not: it could differ from process to process, hang, or be seen by others
HARMFUL = {
    "a file": "F = open('/dev/null')\n",
    "a thread": "import threading\nthreading.Thread(target=print).start()\n",
    "a module that is not there already": "import statistics\n",
    "a module of the user's": "import beside\n",
    "a module relative": "from . import beside\n",
    "a module in a function's default": "def f(a=__import__('os').getpid()): pass\n",
    "a star": "from math import *\n",
    "what labwaiter imports when it is asked for": "from labwaiter import Client\n",
    "what is inside labwaiter": "from labwaiter import runner\nX = runner.main\n",
    "its pid": "import os\nPID = os.getpid()\n",
    "the time": "import time\nBEGAN = time.time()\n",
    "the environment": "import os\nHOME = os.environ['PATH']\n",
    "a stream": "from sys import stdout\n",
    "a stream by its module": "import sys\nOUT = sys.stdout\n",
    "the filters of warnings": "from warnings import filters\n",
    "the process before": "import __main__\n",
    "Python's own names": "import builtins\nbuiltins.open = None\n",
    "a print": "print('here')\n",
    "a decorator of others": "import functools\n@functools.cache\ndef f(): pass\n",
    "a decorator of its own": "def d(f): return f\n@d\ndef f(): pass\n",
    "a name of ours that is somebody else's": "def Range(*a): print('here')\nX = Range(1)\n",
    "a builtin that is somebody else's": "def frozenset(*a): print('here')\nX = frozenset(1)\n",
    "a condition": "if True:\n    A = 1\n",
    "a condition on types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import x\n",
    "its own start": "if __name__ == '__main__':\n    pass\n",
    "a try": "try:\n    import math\nexcept ImportError:\n    math = None\n",
    "a loop": "for i in range(3): pass\n",
    "a while": "while False: pass\n",
    "a with": "import contextlib\nwith contextlib.suppress(OSError): pass\n",
    "an assertion": "assert True\n",
    "a deletion": "A = 1\ndel A\n",
    "an addition": "A = 1\nA += 1\n",
    "names in a row": "A = B = []\n",
    "an attribute of another": "import math\nmath.pi = 3\n",
    "an item of another": "import os\nos.environ['A'] = '1'\n",
    "a comprehension": "A = [i for i in (1, 2)]\n",
    "a walrus": "A = (B := 1)\n",
    "a condition in a value": "A = 1 if True else 2\n",
    "a text with values": "A = 1\nB = f'{A}'\n",
    "a power, which may take hours": "A = 9 ** 9 ** 9\n",
    "a text many times": "A = 'x' * 10**9\n",
    "a list many times": "A = [1] * 1000000000\n",
    "a list for hours": "from labwaiter import hours\nA = hours([1])\n",
    "a shift": "A = 1 << 1\n",
    "a metaclass": "class A(metaclass=type): pass\n",
    "a keyword of a class": "class A(b=1): pass\n",
    "a base of its own": "class A: pass\nclass B(A): pass\n",
    "a base of others": "from enum import Enum\nclass A(Enum):\n    X = 1\n",
    "a class with a decorator": "from dataclasses import dataclass\n@dataclass\nclass A: pass\n",
    "a class that does something": "class A:\n    print('here')\n",
    "an object of a class": "class A: pass\nX = A()\n",
    "a class of its own with an item": "class A:\n    def __class_getitem__(cls, k): print('here')\nX = A[int]\n",
    "a class attribute": "class A:\n    x = 1\nX = A.x\n",
    "__getattr__": "def __getattr__(name): raise AttributeError(name)\n",
    "__dir__": "def __dir__(): return []\n",
    "__path__": "__path__ = []\n",
    "a method": "A = ','.join(['a'])\n",
    "a path that is looked at": "from pathlib import Path\nA = Path(__file__).resolve()\n",
    "where it works": "from pathlib import Path\nA = Path.cwd()\n",
    "a random number": "import random\nA = random.random()\n",
    "a pattern": "import re\nA = re.compile('a')\n",
    "a call in a type": "def f(a: print('here') = 1): pass\n",
    "a call in a subscript": "A = {}[print('here')]\n",
    "a subscript of others": "import os\nA = os.environ['PATH']\n",
    "a class by type()": "A = type('A', (), {})\n",
    "an await": "async def f(): pass\nA = f()\n",
}
NEW = {  # what older Pythons have no words for
    "a generic function": "def f[T](a: T): pass\n",
    "a generic class": "class A[T]: pass\n",
    "an alias": "type A = int\n",
}
if sys.version_info >= (3, 12):
    HARMFUL |= NEW

TOML = """
[service]
name = "Telling"
namespace = "urn:telling"

[inputs.seconds]
type = "int"
default = 3

[command]
line = ["sleep", "{seconds}"]
"""
PREPARED = """
import gc, json, os, sys, traceback, warnings
from pathlib import Path
import labwaiter.supervisor.fork_server
from labwaiter import service_files
from labwaiter.runner import leaving, main

service_files.put_ours_last()
main.make_ready()
gc.collect()
gc.freeze()
gc.disable()
sys.dont_write_bytecode = True


def fork(work):
    pid = os.fork()
    if pid == 0:
        gc.enable()
        work()
        leaving.leave(0)
    assert os.waitpid(pid, 0)[1] == 0


def is_kept(file):
    service_files.keep(file)
    kept = service_files._kept.get(str(file))
    return kept is not None and kept.module is not None
"""
LOOK = """
def around():
    return {
        "modules": list(sys.modules),
        "path": sys.path[:],
        "environment": dict(os.environ),
        "descriptors": os.listdir("/proc/self/fd"),
        "filters": repr(warnings.filters),
        "ours": sorted(vars(service_files)),
        "places": service_files.__path__[:],
    }

def shown(value):
    import re
    return re.sub("0x[0-9a-f]+", "0x", repr(value))

def look():
    import pickle
    before = around()
    declared = service_files.import_file(file)
    module = sys.modules["labwaiter.service_files.telling"]
    found = {"before": before, "after": around()}
    found["names"] = {n: shown(v) for n, v in vars(module).items() if n != "__builtins__"}
    found["order"] = list(vars(module))
    found["builtins"] = module.__builtins__ is vars(sys.modules["builtins"])
    found["spec"] = [shown(module.__spec__), module.__spec__.origin, type(module.__loader__).__name__]
    found["inside"] = {n: sorted(vars(v)) for n, v in vars(module).items() if isinstance(v, type)}
    found["declared"] = {n: shown(d.described()) for n, d in declared.items()}
    found["pickled"] = pickle.dumps([declared["Telling"].function, module.Told, module.Told(result=1.0)]).hex()
    found["is"] = service_files.telling is module
    try:
        declared["Telling"].function(None)
    except RuntimeError:
        found["traceback"] = traceback.format_exc()
    print(json.dumps(found), flush=True)

assert is_kept(file), "it is not kept"
trace = around()
assert "labwaiter.service_files.telling" not in trace["modules"] and "telling" not in trace["ours"]
fork(look)
service_files._kept.clear()
fork(look)
"""


def _run(code: str, file: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": APP, **more}
    words = [sys.executable, "-c", f"{PREPARED}\nfile = Path(sys.argv[1])\n{code}", str(file)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, cwd=file.parent)


def _file(folder: Path, top: str) -> Path:
    file = folder / "telling.py"
    file.write_text(top + SERVICE + START if top.startswith("from __future__") else SERVICE + top + START)
    (folder / "beside.py").write_text("print('beside')\n")
    return file


@pytest.mark.parametrize("top", HARMLESS.values(), ids=HARMLESS)
def test_a_job_can_not_tell_that_its_file_was_warm(tmp_path: Path, top: str) -> None:
    ran = _run(LOOK, _file(tmp_path, top))
    assert (ran.returncode, ran.stderr) == (0, "")
    warm, cold = (json.loads(line) for line in ran.stdout.splitlines())
    assert warm == cold
    assert 'telling.py", line' in warm["traceback"]


def test_a_file_that_may_hold_state_is_imported_by_each_job(tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    for name, top in HARMFUL.items():
        folder = tmp_path / str(len(told))
        folder.mkdir()
        told[name] = str(_file(folder, top))
    code = "for name, file in json.loads(sys.stdin.read()).items():\n    if is_kept(Path(file)): print('kept:', name)"
    environment = {**os.environ, "PYTHONPATH": APP}
    words = [sys.executable, "-c", f"{PREPARED}\n{code}"]
    ran = subprocess.run(
        words, env=environment, input=json.dumps(told), capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_what_can_not_be_imported_is_left_to_the_job(tmp_path: Path) -> None:
    for top in ("A = 1 / 0\n", "A = {}['x']\n", "A = {[]: 1}\n", "A = B\n", "A = int[1] | 2\n"):
        file = _file(tmp_path, top)
        ran = _run("print(is_kept(file), 'labwaiter.service_files.telling' in sys.modules)", file)
        assert (ran.stdout.split(), ran.stderr) == (["False", "False"], ""), top


def test_a_file_that_declares_nothing_or_is_too_large_is_left_to_the_job(tmp_path: Path) -> None:
    file = tmp_path / "telling.py"
    file.write_text("A = 1\n")
    assert _run("print(is_kept(file))", file).stdout.split() == ["False"]
    file.write_text(SERVICE + START + "#" * _KEPT_MAX)
    assert _run("print(is_kept(file))", file).stdout.split() == ["False"]


def test_what_one_job_puts_into_it_no_other_sees(tmp_path: Path) -> None:
    file = _file(tmp_path, "TABLE = {}\n")
    code = """
def work():
    service_files.import_file(file)
    table = service_files.telling.TABLE
    print(len(table), flush=True)
    table["x"] = 1
is_kept(file)
fork(work)
fork(work)
"""
    assert _run(code, file).stdout.split() == ["0", "0"]


@pytest.mark.parametrize(
    "where",
    [
        "global OUT\n    OUT = out",
        "TABLE['x'] = out",
        "startTelling.out = out",
        "Told.out = out",
        "default(out)",
        "Holder.held.append(out)",
        "OUT.append(lambda: startTelling)\n    OUT.append(out)",
    ],
)
def test_what_a_job_leaves_open_in_it_is_written_as_it_ends(tmp_path: Path, where: str) -> None:
    held = "OUT = []\nTABLE = {}\nclass Holder:\n    held = []\ndef default(one, seen=[]): seen.append(one)\n"
    file = _file(tmp_path, held)
    file.write_text(
        file.read_text().replace(
            "    raise RuntimeError",
            f"    out = open('out', 'w')\n    out.write('all')\n    {where}\n    return\n    raise RuntimeError",
        )
    )
    code = "assert is_kept(file)\nfork(lambda: service_files.import_file(file)['Telling'].function(None))"
    ran = _run(code, file)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "out").read_text() == "all"


def test_a_file_that_has_changed_is_taken_as_it_is(tmp_path: Path) -> None:
    file = _file(tmp_path, "A = 'one'\n")
    code = """
def told():
    service_files.import_file(file)
    print(service_files.telling.A, flush=True)
is_kept(file)
fork(told)
file.write_text(file.read_text().replace("'one'", "'two'"))
fork(told)  # it has changed since it was looked at
is_kept(file)
fork(told)
file.write_text(file.read_text().replace("'two'", "str(3)").replace("str(3)", "str(bytes(3))"))
print(is_kept(file))
fork(told)
"""
    assert _run(code, file).stdout.split() == ["one", "two", "two", "False", r"b'\x00\x00\x00'"]


def test_a_file_without_python_stays_warm_as_the_python_that_it_stands_for(tmp_path: Path) -> None:
    file = tmp_path / "telling.toml"
    file.write_text(TOML)
    code = """
def told():
    declared = service_files.import_file(file)["Telling"]
    code = declared.function.__code__
    print(declared.described(), code.co_filename, code.co_firstlineno, service_files.telling.__file__, flush=True)
print(is_kept(file))
fork(told)
service_files._kept.clear()
fork(told)
file.write_text("name = 1")  # Python, too
print(is_kept(file))
"""
    kept, warm, cold, spoilt = _run(code, file).stdout.splitlines()
    assert (kept, spoilt) == ("True", "False")
    assert warm == cold and "seconds" in warm


def test_the_services_that_come_with_us_that_compute_or_wrap_stay_warm() -> None:
    files = [str(ROOT / "app" / "services" / f"{name}.py") for name in ("waiter", "heatplate", "slicer")]
    code = f"print([is_kept(Path(f)) for f in {files!r}])"
    assert _run(code, Path(files[0])).stdout.split() == ["[True,", "True,", "True]"]

"""What forks share of the process that they come from: fewer of its pages are copied, and nothing else differs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from labwaiter.system.process import APP
from labwaiter.system.shared_pages import can_be_immortal

immortal = pytest.mark.skipif(not can_be_immortal(), reason="this Python counts all references")
PREPARED = """
import gc, os, sys
from labwaiter.system import shared_pages

def own():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))  # kB

def in_a_fork(work):
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        gc.disable()
        before = own()
        work()
        os.write(writing, str(own() - before).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    return int(os.read(reading, 100))
"""


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": APP}
    words = [sys.executable, "-c", PREPARED + code]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip()


@immortal
def test_a_fork_that_looks_at_everything_copies_next_to_nothing() -> None:
    code = """
things = [[str(i), (i, i + 1)] for i in range(200_000, 240_000)]  # some 8 MB

def look():
    for one, (two, three) in things:
        four = one, two, three

before = in_a_fork(look)
shared_pages.keep_shared()
print(before > 4_000, in_a_fork(look) < 500, (before, in_a_fork(look)))
"""
    assert run(code).startswith("True True"), run(code)


@immortal
def test_what_is_immortal_can_be_used_changed_and_replaced() -> None:
    code = """
import json, weakref
class Thing:
    pass
held = {"a": [1], "thing": Thing()}
shared_pages.keep_shared()
assert sys.getrefcount(held) == sys.getrefcount(None)
held["a"].append(Thing())
went = []
weakref.finalize(held["a"][-1], went.append, "new")
weakref.finalize(held["thing"], went.append, "old").atexit = False
held["a"].pop()
del held["thing"]
gc.collect()
assert went == ["new"], went  # what came later is let go of as ever
json.loads("{}")
del sys.modules["json"]
import json
assert json.loads('{"b": 2}') == {"b": 2}
assert sys.intern("".join(["some text that ", "nobody has"])) is sys.intern("some text that nobody has")
print("well")
"""
    assert run(code) == "well"


def test_what_is_made_after_it_lies_side_by_side() -> None:
    code = """
def pages():
    new = [bytes(70 + i % 3) for i in range(300)]  # blocks of 112 bytes
    return len({id(one) // 4096 for one in new})

holes = [bytes(70) for _ in range(40_000)]
del holes[::20]
if len(sys.argv) == 1:
    scattered = pages()
    shared_pages.keep_shared()
    print(scattered > 100, pages() < 20, (scattered, pages()))
"""
    assert run(code).startswith("True True"), run(code)


@immortal
def test_code_is_immortal_alone_and_with_all_that_is_in_it() -> None:
    code = """
code = compile("def f(a='a text of its own'):\\n    return lambda: 'another of its own'\\nx = []", "file", "exec")
shared_pages.make_code_immortal(code)
space = {}
exec(code, space)
never = sys.getrefcount(None)
inner = space["f"].__code__
assert {sys.getrefcount(one) for one in (code, inner, inner.co_consts[1], code.co_consts)} == {never}
assert never not in (sys.getrefcount(space["f"]), sys.getrefcount(space["x"]), sys.getrefcount(space))
print("well")
"""
    assert run(code) == "well"


def test_a_python_whose_counts_are_not_known_is_left_alone() -> None:
    code = """
import collections
known = sys.version_info
for version in ((3, 11, 0), (3, 14, 0), (3, 15, 0)):
    sys.version_info = version
    assert not shared_pages.can_be_immortal()
    thing = []
    shared_pages.keep_shared()
    assert sys.getrefcount(thing) == 2
sys.version_info = known
print("well")
"""
    assert run(code) == "well"

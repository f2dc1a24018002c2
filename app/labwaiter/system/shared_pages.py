"""What a process does before it forks, so that its forks copy fewer of its pages: each that is written to is copied.

- Whoever looks at an object counts a reference to it, in the object itself. What is there before the fork is never let
  go of, so nobody needs the count. Python 3.12 and later know such objects, immortal ones (PEP 683: None is one), but
  have no way to make one. They are told apart by their count alone, and so one is made by giving an object None's.
- What is made after the fork is put where there is room, between what was made before. So that is filled up first, and
  the new lies side by side.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

_c = ctypes.CDLL(None)
_POOL, _POOL_HEAD = 16 * 1024, 48  # bytes
_HEAD = sys.getsizeof(b"")  # bytes of a text of bytes besides these
_STEP, _SMALLEST, _LARGEST = 16, 48, 512  # bytes of a block
_ENOUGH = 4  # blocks in a row
_MOST = 2_000_000  # bytes that are filled up of each size
# what one that runs holds comes and goes
_RUNNING = (FrameType, GeneratorType, CoroutineType)


def keep_shared() -> None:
    """Have all that is in this process stay, for its forks to share. No collection looks at it any more."""
    gc.collect()
    if hasattr(_c, "malloc_trim"):  # glibc's
        _c.malloc_trim(0)
    _fill_up()
    if can_be_immortal():
        _make_immortal(gc.get_objects())
    gc.freeze()


def make_code_immortal(code: CodeType) -> None:
    """This code and what is in it, texts and numbers: nothing of it changes, or refers to what does."""
    if can_be_immortal():
        _make_immortal([code])


def can_be_immortal() -> bool:
    """Whether objects of this Python can, and count their references where we think: tried with one of 16 bytes."""
    if not (3, 12) <= sys.version_info < (3, 14) or sys.byteorder != "little" or hasattr(sys, "gettotalrefcount"):
        return False  # later ones count in other ways, and debugging ones make sure that nobody does this
    probe = object()
    if _count(probe).value != sys.getrefcount(probe) - 1:
        return False
    _count(probe).value = _count(None).value
    return sys.getrefcount(probe) == sys.getrefcount(None)


def _count(thing: object) -> ctypes.c_uint32:
    """Its count of references, or the lower half of that: the upper one is 0 without four thousand million of them."""
    return ctypes.c_uint32.from_address(id(thing))


def _make_immortal(things: list[Any]) -> None:
    never = _count(None).value
    at = ctypes.c_uint32.from_address
    while things:
        thing = things.pop()
        count = at(id(thing))
        if count.value == never or thing is things or isinstance(thing, _RUNNING):
            continue
        if isinstance(thing, CodeType):  # the collector knows nothing of what these hold
            things += (thing.co_consts, thing.co_names, thing.co_varnames, thing.co_cellvars, thing.co_freevars)
            things += (thing.co_filename, thing.co_name, thing.co_qualname, thing.co_linetable, thing.co_exceptiontable)
        things += gc.get_referents(thing)
        count.value = never
        del thing


def _fill_up() -> None:
    """Fill the pools of Python's allocator that have room; what was made for that stays.

    Source: CPython, Objects/obmalloc.c. A pool, which has blocks of one size (16, 32, … 512 bytes), is begun when all
    others of that size are full; then blocks come one behind the other from its first one on.
    """
    stay = ctypes.pythonapi.Py_IncRef
    for size in range(_SMALLEST, _LARGEST + 1, _STEP):
        blocks: list[bytes] = []
        begun = 0  # of how many blocks in a row this may be the beginning of a pool
        while begun < _ENOUGH and len(blocks) < _MOST // size:
            block = bytes(size - _HEAD)
            follows = begun and id(block) == id(blocks[-1]) + size
            begun = begun + 1 if follows else int(id(block) % _POOL == _POOL_HEAD)
            blocks.append(block)
        del blocks[len(blocks) - begun :]
        for block in blocks:
            stay(ctypes.py_object(block))

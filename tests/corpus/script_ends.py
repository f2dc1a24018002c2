"""Scripts by the ways in which they end."""

import re

from traits import Trait

LEAVE = """
    import sys
    print("before", flush=True)
    open(sys.argv[1], "w").write("left")
"""


def without_depth(printed: bytes) -> bytes:
    """A recursion begins some frames deeper or less deep: how many lines are left out is not the script's."""
    return re.sub(rb"repeated \d+ more times", b"repeated N more times", printed)


def without_addresses(printed: bytes) -> bytes:
    """An object's address differs from process to process."""
    return re.sub(rb"0x[0-9a-f]+", b"0xN", printed)


def without_complaint_of_3_12(printed: bytes) -> bytes:
    """Python 3.12 and 3.13.0 forget to clear the error of an exit status that C's long can't hold: whoever comes next tells it."""
    return re.split(rb"OverflowError: |Exception ignored on threading shutdown", printed)[0]


def without_crash_report(printed: bytes) -> bytes:
    """Where a job's process crashes, its log may tell in which line: python tells that with -X faulthandler only."""
    return re.sub(rb"Fatal Python error: .*", b"", printed, flags=re.S)


TRAITS = [
    Trait("exit_0", LEAVE + "    sys.exit(0)\n"),
    Trait("exit_none", LEAVE + "    sys.exit(None)\n"),
    Trait("exit_3", LEAVE + "    sys.exit(3)\n"),
    Trait("exit_text", LEAVE + "    sys.exit('the nozzle is blocked')\n"),
    Trait("exit_minus_1", LEAVE + "    sys.exit(-1)\n"),
    Trait("exit_256", LEAVE + "    sys.exit(256)\n"),
    Trait("exit_257", LEAVE + "    sys.exit(257)\n"),
    Trait("exit_true", LEAVE + "    sys.exit(True)\n"),
    Trait("exit_2_5", LEAVE + "    sys.exit(2.5)\n"),
    Trait("exit_tuple", LEAVE + "    sys.exit((1, 2))\n"),
    Trait("exit_beyond_32_bits", LEAVE + "    sys.exit(2**32 + 3)\n"),
    Trait("exit_beyond_64_bits", LEAVE + "    sys.exit(2**70)\n", tidy=without_complaint_of_3_12),
    Trait("exit_of_site", LEAVE + "    exit(4)\n"),
    Trait("exit_143", LEAVE + "    sys.exit(143)\n"),
    Trait("end_of_file", LEAVE, within=True),
    Trait("empty_file", ""),
    Trait("result_missing", "import sys\nprint('nothing goes into', bool(sys.argv[1]))\n"),
    Trait("_exit_0", LEAVE + "    import os\n    os._exit(0)\n"),
    Trait("_exit_7", LEAVE + "    import os\n    os._exit(7)\n"),
    Trait(
        "_exit_loses_what_was_not_flushed",
        """
        import os, sys
        open(sys.argv[1], "w").write("left")
        out = open("half.txt", "w")
        out.write("never written")
        os._exit(0)
        """,
    ),
    *(
        Trait(f"kill_self_{name}", LEAVE + f"    import os, signal\n    os.kill(os.getpid(), signal.{name})\n")
        for name in ("SIGTERM", "SIGKILL", "SIGINT", "SIGUSR1", "SIGHUP", "SIGALRM")
    ),
    Trait(
        "kill_self_SIGSEGV",
        LEAVE + "    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
        tidy=without_crash_report,
    ),
    Trait("abort", LEAVE + "    import os\n    os.abort()\n", tidy=without_crash_report),
    Trait("alarm", LEAVE + "    import signal\n    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    signal.pause()\n"),
    Trait(
        "SIGTERM_handler_writes_part",
        """
        import os, signal, sys

        def part(number, frame):
            open(sys.argv[1], "w").write("a part")
            sys.exit(0)

        signal.signal(signal.SIGTERM, part)
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    ),
    Trait(
        "SIGTERM_handler_exits_143",
        """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    ),
    Trait(
        "SIGTERM_ignored",
        """
        import os, signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGTERM)
        open(sys.argv[1], "w").write("went on")
        """,
    ),
    Trait(
        "SIGINT_caught",
        """
        import os, signal, sys
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except KeyboardInterrupt:
            open(sys.argv[1], "w").write("interrupted")
        """,
    ),
    Trait("KeyboardInterrupt_raised", "raise KeyboardInterrupt\n"),
    # -- exceptions
    Trait(
        "exception",
        """
        def f(x):
            return 1 / x

        f(0)
        """,
    ),
    Trait(
        "exception_chained",
        """
        try:
            {}["key"]
        except KeyError as error:
            raise RuntimeError("no key") from error
        """,
    ),
    Trait("exception_group", "raise ExceptionGroup('several', [ValueError(1), TypeError('two')])\n"),
    Trait("exception_with_notes", "e = ValueError('v')\ne.add_note('look here')\nraise e\n"),
    Trait(
        "exception_of_own_class",
        """
        class Blocked(Exception):
            pass

        raise Blocked("the nozzle")
        """,
    ),
    Trait("exception_without_str", "class E(Exception):\n    def __str__(self): raise ValueError\n\nraise E\n"),
    Trait("exception_at_import", "import worse\n", beside={"worse.py": "print('half', flush=True)\n1 / 0\n"}),
    Trait("module_missing", "import a_module_that_nobody_has\n"),
    Trait("syntax_error", "print('never')\nif True print('x')\n"),
    Trait("indentation_error", "print('never')\n  print('x')\n"),
    Trait("syntax_error_at_import", "import worse\n", beside={"worse.py": "x = = 1\n"}),
    Trait("nul_in_source", b"print('before')\n\x00\n"),
    Trait("source_in_latin_1", "# -*- coding: latin-1 -*-\nprint(len('é'))\n".encode("latin-1")),
    Trait("source_with_bom", b"\xef\xbb\xbfprint('bom')\n"),
    Trait("source_not_utf_8", b"print('\xe9')\n"),
    Trait("source_with_crlf", b"print('''a\r\nb''')\r\nprint('c')\r\n"),
    Trait("source_without_line_end", b"print('last')"),
    Trait("recursion", "def f(): f()\n\nf()\n", tidy=without_depth),
    Trait(
        "recursion_caught",
        """
        import sys
        def f(n):
            return f(n + 1)
        try:
            f(0)
        except RecursionError as error:
            open(sys.argv[1], "w").write(str(error))
        """,
        within=True,
    ),
    Trait(
        "excepthook",
        """
        import sys
        sys.excepthook = lambda kind, error, trace: print("hook:", kind.__name__, error)
        raise ValueError("v")
        """,
    ),
    Trait(
        "excepthook_that_raises",
        """
        import sys
        def hook(*what):
            raise TypeError("in the hook")
        sys.excepthook = hook
        raise ValueError("v")
        """,
    ),
    Trait(
        "excepthook_writes_result",
        """
        import sys
        sys.excepthook = lambda kind, error, trace: open(sys.argv[1], "w").write(str(error))
        raise ValueError("v")
        """,
    ),
    Trait(
        "unraisable",
        """
        class C:
            def __del__(self):
                raise ValueError("in __del__")
        C()
        print("after", flush=True)
        """,
        tidy=without_addresses,
    ),
    Trait(
        "unraisablehook",
        """
        import sys
        sys.unraisablehook = lambda what: print("hook:", what.exc_value)
        class C:
            def __del__(self):
                raise ValueError("in __del__")
        C()
        """,
    ),
    Trait("memory_error", "b'x' * (1 << 62)\n"),
    # -- the interpreter's own end
    Trait(
        "result_in_atexit",
        """
        import atexit, sys
        atexit.register(lambda: open(sys.argv[1], "w").write("at exit"))
        print("work")
        """,
    ),
    Trait(
        "atexit_in_order",
        """
        import atexit
        def last():
            print("last")
            atexit.register(print, "registered at exit")
        atexit.register(last)
        atexit.register(print, "second")
        atexit.register(print, "first")
        """,
    ),
    Trait(
        "atexit_raises",
        """
        import atexit
        def worse():
            raise ValueError("at exit")
        atexit.register(print, "after it", flush=True)
        atexit.register(worse)
        """,
        tidy=without_addresses,
    ),
    Trait(
        "atexit_exits",
        "import atexit, sys\ndef leave(): sys.exit(5)\natexit.register(leave)\nprint('work', flush=True)\n",
        tidy=without_addresses,
    ),
    Trait("atexit__exits", "import atexit, os\natexit.register(os._exit, 6)\nprint('work', flush=True)\n"),
    Trait("atexit_after_exit_3", "import atexit, sys\natexit.register(print, 'at exit')\nsys.exit(3)\n"),
    Trait("atexit_after_exception", "import atexit\natexit.register(print, 'at exit')\n1 / 0\n"),
    Trait("atexit_unregistered", "import atexit\natexit.register(print, 'never')\natexit.unregister(print)\n"),
    Trait("atexit_cleared", "import atexit\natexit.register(print, 'never')\natexit._clear()\n"),
    Trait(
        "file_left_open",
        """
        import sys
        out = open(sys.argv[1], "w")
        out.write("not flushed by hand")
        """,
    ),
    Trait(
        "file_left_open_in_a_cycle",
        """
        import sys
        class Holder: pass
        a = Holder()
        a.me = a
        a.out = open(sys.argv[1], "w")
        a.out.write("in a cycle")
        """,
    ),
    Trait(
        "finalize",
        """
        import sys, weakref
        class C: pass
        c = C()
        weakref.finalize(c, lambda name: open(name, "w").write("finalized"), sys.argv[1])
        """,
    ),
    Trait(
        "finalize_not_at_exit",
        """
        import weakref
        class C: pass
        c = C()
        weakref.finalize(c, print, "never").atexit = False
        """,
    ),
    Trait(
        "del_at_exit",
        """
        class C:
            def __init__(self, name): self.name = name
            def __del__(self): print("gone:", self.name)
        a = C("a")
        b = C("b")
        print("end")
        """,
    ),
    Trait(
        "del_in_a_cycle_at_exit",
        """
        class C:
            def __del__(self): print("gone", self.me is self)
        c = C()
        c.me = c
        """,
    ),
    Trait(
        "generator_unfinished",
        """
        def steps():
            try:
                yield 1
                yield 2
            finally:
                print("closed")
        g = steps()
        print(next(g))
        """,
    ),
    Trait(
        "generator_unfinished_after_exit_3",
        """
        import sys
        def steps():
            try:
                yield 1
            finally:
                print("closed")
        g = steps()
        next(g)
        sys.exit(3)
        """,
    ),
    Trait(
        "context_left_open",
        """
        import contextlib
        @contextlib.contextmanager
        def opened():
            try:
                yield
            finally:
                print("left")
        c = opened()
        c.__enter__()
        """,
    ),
    Trait(
        "tempfile_at_exit",
        """
        import os, sys, tempfile
        folder = tempfile.TemporaryDirectory(dir=".", prefix="tmp")
        file = tempfile.NamedTemporaryFile(dir=".", prefix="tmp")
        open(os.path.join(folder.name, "x"), "w").write("x")
        open(sys.argv[1], "w").write(str(sum(name.startswith("tmp") for name in os.listdir("."))))
        """,
        tidy=lambda printed: re.sub(rb"tmp\w{8}", b"tmpN", printed),  # a name drawn at random, in a ResourceWarning
    ),
    Trait(
        "logging_flushed_at_exit",
        """
        import logging, logging.handlers, sys
        kept = logging.handlers.MemoryHandler(1000, target=logging.FileHandler(sys.argv[1]))
        logging.getLogger().addHandler(kept)
        logging.warning("kept back")
        """,
    ),
    Trait("stdout_lost_at_exit", "import os\nos.close(1)\nprint('into nothing', end='')\n"),
    Trait(
        "stdout_pipe_broken_at_exit",
        """
        import os
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)
        os.close(reading)
        print("into nothing", end="")
        """,
    ),
    Trait(
        "exit_while_a_module_is_imported",
        "import leaves\nprint('never')\n",
        beside={"leaves.py": "import sys\nprint('leaving')\nsys.exit(9)\n"},
    ),
    Trait(
        "try_finally_on_exit",
        """
        import sys
        try:
            sys.exit(2)
        finally:
            print("finally")
        """,
    ),
    Trait("exit_caught", LEAVE + "    try:\n        sys.exit(2)\n    except SystemExit as e:\n        print(e.code)\n"),
]

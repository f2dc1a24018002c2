"""Scripts by what they find: themselves, their arguments, a clean interpreter."""

import re

from traits import Trait

RESULT = """
    import sys
    def result(*what): open(sys.argv[1], "w").write(" ".join(map(str, what)))
"""


def code(lines: str) -> str:
    """Lines behind those that make `result`."""
    return RESULT + lines


TRAITS = [
    Trait("name_is_main", code("    result(__name__)\n")),
    Trait("file", code("    result(__file__, sys.argv[0])\n")),
    Trait("main_file", code("    import __main__\n    result(__main__.__file__, __main__.__name__)\n")),
    Trait("main_is_globals", code("    result(sys.modules['__main__'].__dict__ is globals())\n")),
    Trait("globals", "import sys\nopen(sys.argv[1], 'w').write(repr(sorted(globals())))\n"),
    Trait(
        "dunders",
        """
        '''What the script says of itself.'''
        import sys
        what = __spec__, __package__, __doc__, type(__loader__).__name__, type(__builtins__).__name__
        open(sys.argv[1], "w").write(repr(what) + repr(globals().get("__cached__")))
        """,
    ),
    Trait("loader_gives_source", code("    result(len(__loader__.get_data(__file__)))\n")),
    Trait("outermost_frame", code("    result(sys._getframe().f_code.co_name)\n")),
    Trait(
        "stack",
        code("    import inspect, traceback\n    result(inspect.stack()[0].function, traceback.format_stack()[-1])\n"),
    ),
    Trait("getsource", code("    import inspect\n    result(inspect.getsource(result))\n")),
    Trait("argv", code("    result(sys.argv[2:])\n"), arguments=("a", "b c", "")),
    Trait(
        "argv_odd",
        code("    result(ascii(sys.argv[2:]))\n"),
        arguments=("", " ", "a\nb", "'\"", "$HOME", "*", "-c", "--", "-", "漢", "\\", "\t", "a;b", "x" * 5000),
    ),
    Trait("argv_bytes", code("    result(ascii(sys.argv[2:]))\n"), arguments=("caf\udce9", "\udcff\udcfe")),
    Trait(
        "argparse",
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--count", type=int)
        parser.parse_args()
        """,
        arguments=("--count", "three"),
    ),
    Trait("argparse_help", "import argparse\nargparse.ArgumentParser().parse_args(['--help'])\n"),
    Trait("orig_argv", code("    result(sys.orig_argv[1:])\n"), arguments=("a",)),
    Trait("executable", code("    result(sys.executable, sys.prefix, sys.base_prefix)\n")),
    Trait("flags", code("    result(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode)\n")),
    Trait("sys_path_0", code("    result(sys.path[0])\n")),
    Trait("sys_path", code("    result(sys.path)\n")),
    Trait("cwd", code("    import os\n    result(os.getcwd(), os.path.abspath('x'))\n"), within=True),
    Trait("folder", code("    import os\n    result(os.getcwd())\n    open('x', 'w')\n"), folder="case/deep"),
    Trait(
        "modules",
        """
        import sys
        # labwaiter itself is there, of which docs/programs.md tells; what it is made with is not
        ours = ("spyne", "flask", "lxml", "matplotlib", "numpy", "__mp_main__")
        open(sys.argv[1], "w").write(repr(sorted(name for name in sys.modules if name.startswith(ours))))
        """,
    ),
    Trait(
        "own_module_twice",
        """
        import sys
        print("run as", __name__)
        if __name__ == "__main__":
            import script
            import script
            open(sys.argv[1], "w").write(str(script.__dict__ is globals()))
        """,
    ),
    Trait(
        "runpy_of_itself",
        """
        import runpy, sys
        print("run as", __name__)
        if __name__ == "__main__":
            runpy.run_path(__file__, run_name="again")
            open(sys.argv[1], "w").write(__name__)
        """,
    ),
    Trait(
        "pickle_of_own_class",
        """
        import pickle, sys
        class Reading:
            def __init__(self, value): self.value = value
        kept = pickle.dumps(Reading(21.5), protocol=2)
        open("reading.pickle", "wb").write(kept)
        open(sys.argv[1], "w").write(f"{pickle.loads(kept).value} {Reading.__module__} {Reading!r}")
        """,
    ),
    Trait(
        "dataclass_fields_types",
        """
        import dataclasses, sys
        @dataclasses.dataclass
        class Point:
            x: int
            y: "float"
        open(sys.argv[1], "w").write(repr([f.type for f in dataclasses.fields(Point)]))
        """,
        within=True,
    ),
    Trait(
        "annotations",
        """
        import sys, typing
        def f(a: int, b: list[str]) -> None: pass
        open(sys.argv[1], "w").write(f"{f.__annotations__} {typing.get_type_hints(f)}")
        """,
        within=True,
    ),
    Trait(
        "future_annotations",
        """
        from __future__ import annotations
        import sys
        def f(a: int, b: nobody) -> None: pass
        open(sys.argv[1], "w").write(repr(f.__annotations__))
        """,
    ),
    Trait(
        "annotation_that_is_wrong",
        "import sys\ndef f(a: nobody): pass\nopen(sys.argv[1], 'w').write(str(f.__annotations__))\n",
    ),
    Trait(
        "singledispatch_local",
        """
        import functools, sys
        def work():
            class Local: pass
            @functools.singledispatch
            def name(what): return "anything"
            @name.register
            def _(what: Local): return "a local"
            return name(Local())
        open(sys.argv[1], "w").write(work())
        """,
        within=True,
    ),
    Trait(
        "namedtuple_and_enum",
        """
        import enum, pickle, sys, typing
        class Colour(enum.Enum): RED = 1
        class Pair(typing.NamedTuple):
            a: int
            b: Colour
        p = pickle.loads(pickle.dumps(Pair(1, Colour.RED)))
        open(sys.argv[1], "w").write(repr(p) + repr(Pair.__annotations__))
        """,
    ),
    Trait(
        "exec_and_eval", code("    ns = {}\n    exec('def f(a: int): pass', ns)\n    result(ns['f'].__annotations__)\n")
    ),
    Trait("compile_flags", code("    result(compile('1', 'x', 'eval').co_flags)\n")),
    Trait("debug_and_docstrings", code("    def f():\n        'doc'\n    result(__debug__, f.__doc__)\n"), within=True),
    # -- a clean interpreter
    Trait(
        "threads",
        code(
            "    import threading as t\n"
            "    result([x.name for x in t.enumerate()], t.current_thread() is t.main_thread(),"
            " t.get_native_id() == __import__('os').getpid())\n"
        ),
    ),
    Trait(
        "thread_names", code("    import threading as t\n    result(t.Thread().name, t.Thread(target=result).name)\n")
    ),
    Trait(
        "gc_state",
        code("    import gc\n    result(gc.isenabled(), gc.get_threshold(), gc.garbage, gc.get_debug())\n"),
    ),
    Trait(
        "interpreter_limits",
        code("    result(sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile())\n"),
    ),
    Trait(
        "hooks",
        code(
            "    result(sys.excepthook is sys.__excepthook__, len(sys.path_hooks), [str(type(m)) for m in sys.meta_path])\n"
        ),
    ),
    Trait("faulthandler", code("    import faulthandler\n    result(faulthandler.is_enabled())\n")),
    Trait(
        "signal_dispositions",
        code(
            "    import signal\n"
            "    result([(s.name, str(signal.getsignal(s))) for s in sorted(signal.valid_signals())"
            " if isinstance(s, signal.Signals)])\n"
        ),
        tidy=lambda printed: re.sub(rb"0x[0-9a-f]+", b"0xN", printed),
    ),
    Trait("signal_mask", code("    import signal\n    result(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n")),
    Trait(
        "wakeup_fd",
        code("    import signal\n    result(signal.set_wakeup_fd(-1), signal.getitimer(signal.ITIMER_REAL))\n"),
    ),
    Trait(
        "resource_limits",
        code(
            "    import resource as r\n    result([r.getrlimit(getattr(r, n)) for n in dir(r) if n.startswith('RLIMIT')])\n"
        ),
        within=True,
    ),
    Trait(
        "scheduling",
        code("    import os\n    result(os.nice(0), os.sched_getaffinity(0), os.sched_getscheduler(0))\n"),
        within=True,
    ),
    Trait("umask", code("    import os\n    result(os.umask(0o77))\n    open('private', 'w')\n")),
    Trait(
        "uid_and_groups",
        code("    import os\n    result(os.getuid(), os.getgid(), sorted(os.getgroups()))\n"),
        within=True,
    ),
    Trait(
        "descriptors",
        code(
            "    import os\n    result(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1], os.open('x', os.O_CREAT))\n"
        ),
    ),
    Trait("no_children_yet", "import os\nos.wait()\n"),
    Trait("no_controlling_terminal", "open('/dev/tty')\n"),
    Trait(
        "environ",
        """
        import os, sys
        # labwaiter's own, of which docs/programs.md tells
        ours = ("LABWAITER_", "MPLCONFIGDIR", "LAB")
        found = {n: v for n, v in os.environ.items() if not n.startswith(ours[:1]) and n not in ours}
        open(sys.argv[1], "w").write(repr(sorted(found.items())))
        """,
        environment={"SPICE": "salt", "EMPTY": "", "ODD": "a\nb=c", "ÜBER": "ß"},
    ),
    Trait(
        "environ_of_a_child",
        """
        import subprocess, sys
        open(sys.argv[1], "w").write(subprocess.run(["printenv", "SPICE"], capture_output=True, text=True).stdout)
        """,
        environment={"SPICE": "pepper"},
    ),
    Trait(
        "logging_is_untouched",
        code("    import logging as l\n    result(l.getLogger().handlers, l.getLogger().level, l.lastResort)\n"),
    ),
    Trait("logging_last_resort", "import logging\nlogging.info('never')\nlogging.warning('to stderr')\n"),
    Trait(
        "warnings",
        """
        import sys, warnings
        warnings.warn("worn out", stacklevel=1)
        warnings.warn("old", DeprecationWarning)
        warnings.warn("pending", PendingDeprecationWarning)
        for _ in range(3): warnings.warn("once")
        open(sys.argv[1], "w").write(str(len(warnings.filters)))
        """,
    ),
    Trait("resource_warning_is_silent", "import os\nopen('x', 'w')\nos.stat('x')\n"),
    Trait("decimal_context", code("    import decimal\n    result(decimal.getcontext())\n"), within=True),
    Trait("socket_timeout", code("    import socket\n    result(socket.getdefaulttimeout())\n"), within=True),
    Trait(
        "locale",
        code(
            "    import locale as l\n    result(l.setlocale(l.LC_ALL), l.getpreferredencoding(), l.localeconv()['decimal_point'])\n"
        ),
    ),
    Trait(
        "encodings",
        code(
            "    import os\n    result(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.flags.utf8_mode)\n"
        ),
    ),
    Trait(
        "stdout_encoding",
        code(
            "    result(*((s.encoding, s.errors, s.newlines, s.name) for s in (sys.stdin, sys.stdout, sys.stderr)))\n"
        ),
    ),
    Trait(
        "stdout_is_the_real_one",
        code(
            "    result(sys.stdout is sys.__stdout__, type(sys.stdout).__name__, sys.stdout.isatty(), sys.stdout.fileno())\n"
        ),
    ),
    Trait(
        "stderr_is_the_real_one",
        code("    result(sys.stderr is sys.__stderr__, sys.stderr.fileno(), sys.stderr.line_buffering)\n"),
    ),
    Trait(
        "time_zone",
        code("    import time\n    result(time.tzname, time.localtime(0))\n"),
        environment={"TZ": "Asia/Tokyo"},
    ),
    Trait(
        "hash_seed", code("    result(hash('text'), list({'a', 'b', 'c', 'd'}))\n"), environment={"PYTHONHASHSEED": "7"}
    ),
    Trait(
        "hash_seed_0",
        code("    result(hash(b'bytes'), sys.flags.hash_randomization)\n"),
        environment={"PYTHONHASHSEED": "0"},
    ),
    Trait(
        "optimize",
        code("    assert False\n    result(sys.flags.optimize, __debug__)\n"),
        environment={"PYTHONOPTIMIZE": "1"},
    ),
    Trait("io_encoding", "print('caf\\xe9')\n", environment={"PYTHONIOENCODING": "latin-1"}),
    Trait("utf8_mode", code("    result(sys.flags.utf8_mode)\n"), environment={"PYTHONUTF8": "1"}),
    Trait(
        "locale_c",
        code("    print('\\xe9')\n    result(sys.flags.utf8_mode, sys.stdout.errors)\n"),
        environment={"LC_ALL": "C"},
    ),
    Trait(
        "locale_c_not_coerced",
        code("    print(ascii(sys.argv[2]))\n    result(sys.getfilesystemencoding(), sys.stdout.encoding)\n"),
        arguments=("é",),
        environment={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ),
    Trait(
        "locale_en_us_or_none", code("    result(sys.stdout.encoding)\n"), environment={"LC_ALL": "en_US.ISO-8859-1"}
    ),
    Trait("python_warnings", "import warnings\nwarnings.warn('worn')\n", environment={"PYTHONWARNINGS": "error"}),
    Trait("python_unbuffered", code("    result(sys.stdout.write_through)\n"), environment={"PYTHONUNBUFFERED": "1"}),
    Trait(
        "python_faulthandler",
        code("    import faulthandler\n    result(faulthandler.is_enabled())\n"),
        environment={"PYTHONFAULTHANDLER": "1"},
    ),
    Trait("python_safe_path", code("    result(sys.path, sys.flags.safe_path)\n"), environment={"PYTHONSAFEPATH": "1"}),
    Trait("python_path", code("    result(sys.path)\n"), environment={"PYTHONPATH": "/nowhere/at/all:/nor/there"}),
    Trait("python_no_user_site", code("    result(sys.flags.no_user_site)\n"), environment={"PYTHONNOUSERSITE": "1"}),
    Trait("python_dev_mode", code("    result(sys.flags.dev_mode)\n"), environment={"PYTHONDEVMODE": "1"}),
    Trait(
        "python_int_digits",
        code("    result(sys.get_int_max_str_digits())\n"),
        environment={"PYTHONINTMAXSTRDIGITS": "999"},
    ),
    Trait("python_breakpoint", "breakpoint()\nprint('past it')\n", environment={"PYTHONBREAKPOINT": "0"}),
    Trait("python_inspect", "print('no prompt')\n", environment={"PYTHONINSPECT": "1"}),
    Trait(
        "python_pycache_prefix",
        code("    result(sys.pycache_prefix)\n"),
        environment={"PYTHONPYCACHEPREFIX": "/nowhere"},
    ),
    Trait(
        "library_path",
        code("    import os\n    result(os.environ['LD_LIBRARY_PATH'])\n"),
        environment={"LD_LIBRARY_PATH": "/nowhere"},
    ),
    Trait(
        "home",
        code("    import os, pathlib\n    result(pathlib.Path.home(), os.path.expanduser('~'))\n"),
        environment={"HOME": "/nowhere"},
    ),
    Trait("tmpdir", code("    import tempfile\n    result(tempfile.gettempdir())\n"), environment={"TMPDIR": "/"}),
    Trait(
        "columns", code("    import shutil\n    result(shutil.get_terminal_size())\n"), environment={"COLUMNS": "132"}
    ),
    Trait(
        "path",
        code("    import shutil\n    result(shutil.which('sh'), shutil.which('env'))\n"),
        environment={"PATH": "/nowhere"},
    ),
    # -- neighbours
    Trait(
        "config_beside",
        code("    import config\n    result(config.NAME, config.__file__)\n"),
        beside={"config.py": "NAME = 'mine'\n"},
    ),
    Trait(
        "package_beside",
        code("    from shapes.round import area\n    import shapes\n    result(area(2), shapes.__path__)\n"),
        beside={
            "shapes/__init__.py": "",
            "shapes/round.py": "from . import consts\ndef area(r): return consts.PI * r\n",
            "shapes/consts.py": "PI = 3\n",
        },
    ),
    *(
        Trait(
            f"{name}_beside",
            code(f"    import {name}\n    result({name}.__file__, getattr({name}, 'MINE', None))\n"),
            beside={f"{name}.py": "MINE = True\n"},
        )
        # the standard library's own names, more or less likely to be warm already; ours; a library's
        for name in (
            "calendar",
            "queue",
            "json",
            "secrets",
            "platform",
            "statistics",
            "labwaiter",
            "numpy",
            "service",
            "runner",
        )
    ),
    Trait(
        "os_beside",
        code("    import os\n    result(os.__name__, hasattr(os, 'MINE'))\n"),
        beside={"os.py": "MINE = True\n"},
    ),
    Trait(
        "random_beside",
        code("    import tempfile\n    result('came')\n"),
        beside={"random.py": "raise ImportError('mine')\n"},
    ),
    Trait(
        "logging_beside",
        code("    import logging\n    logging.warning('mine')\n"),
        beside={"logging/__init__.py": "def warning(text): print('my', text)\n"},
    ),
    Trait(
        "from_elsewhere",
        code(
            "    import os\n    sys.path.insert(0, os.path.dirname(__file__) + '/lib')\n    import deep\n    result(deep.WHERE)\n"
        ),
        beside={"lib/deep.py": "WHERE = __name__\n"},
    ),
    Trait(
        "reload",
        code(
            "    import importlib, config\n    config.NAME = 'changed'\n    importlib.reload(config)\n    result(config.NAME)\n"
        ),
        beside={"config.py": "NAME = 'mine'\n"},
    ),
    Trait(
        "data_beside",
        code("    import pathlib\n    result(pathlib.Path(__file__).with_name('x.csv').read_text())\n"),
        beside={"x.csv": "1,2\n"},
    ),
    Trait(
        "resources_beside",
        code("    import importlib.resources as r\n    result((r.files('kit') / 'x.csv').read_text())\n"),
        beside={"kit/__init__.py": "", "kit/x.csv": "1,2\n"},
    ),
]

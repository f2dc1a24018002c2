"""Scripts by what they change: in the interpreter, in the process, under our feet."""

from traits import Trait


def changing(lines: str, name: str, **more: object) -> Trait:
    """A script that changes something of the interpreter's, then leaves a result all the same."""
    return Trait(
        name, f"import builtins, os, sys\n_open = open\n{lines}\n_open(sys.argv[1], 'w').write('done')\n", **more
    )  # type: ignore[arg-type]


TRAITS = [
    changing("def worse(*a, **k): raise OSError('patched')\nbuiltins.open = worse", "patched_open"),
    changing("import io\nio.open = builtins.open = os.open = None", "patched_every_open"),
    changing("import json\njson.dumps = json.loads = json.dump = None", "patched_json"),
    changing("import time\ntime.time = time.monotonic = time.sleep = lambda *a: 0", "patched_time"),
    changing("builtins.print = lambda *a, **k: None\nprint('never')", "patched_print"),
    changing("os.write = os.read = os.close = os.rename = os.fsync = None", "patched_os"),
    changing("os._exit = os.kill = os.waitpid = os.getpid = None", "patched_os_exit"),
    changing("sys.exit = None\nbuiltins.SystemExit = ValueError", "patched_exit"),
    changing("import threading\nthreading.Thread.start = threading.Thread.join = None", "patched_threads"),
    changing("import signal\nsignal.signal = None", "patched_signal"),
    changing("import subprocess\nsubprocess.Popen = None", "patched_subprocess"),
    changing("builtins.len = builtins.isinstance = builtins.str = None", "patched_builtins"),
    changing("import pathlib\npathlib.Path.write_text = pathlib.Path.exists = None", "patched_pathlib"),
    changing("os.environ = {}", "environ_replaced"),
    changing("os.environ.clear()", "environ_cleared", within=True),
    changing("os.environ['PATH'] = ''\nos.environ['HOME'] = 'x'\ndel os.environ['LANG']", "environ_changed"),
    changing("sys.path.clear()", "sys_path_cleared"),
    changing("sys.path[:] = ['/nowhere']\nsys.meta_path.clear()", "imports_forbidden"),
    changing("argv = sys.argv\nsys.modules.clear()\nimport sys\nsys.argv = argv", "modules_cleared"),
    changing("del sys.modules['os']\nimport os", "os_imported_anew"),
    changing("import gc\ngc.disable()", "gc_disabled", within=True),
    changing("import gc\ngc.freeze()\nprint(gc.get_freeze_count() > 0)", "gc_frozen", within=True),
    changing("import gc\ngc.set_debug(gc.DEBUG_STATS)\ngc.set_debug(0)\ngc.set_threshold(1)", "gc_often"),
    changing("sys.setrecursionlimit(150)", "recursion_limit"),
    changing("sys.settrace(lambda f, e, a: None)", "settrace"),
    changing(
        "lines = []\ndef t(f, e, a):\n    lines.append(e)\n    return t\nsys.settrace(t)\nlen(lines)\nsys.settrace(None)",
        "settrace_and_back",
    ),
    changing("sys.setprofile(lambda f, e, a: None)", "setprofile"),
    changing("import threading\nthreading.settrace(lambda f, e, a: None)", "threading_settrace"),
    changing("sys.setswitchinterval(10)", "switch_interval"),
    changing("sys.set_int_max_str_digits(640)", "int_max_str_digits"),
    changing("import warnings\nwarnings.simplefilter('error')", "warnings_are_errors"),
    changing(
        "import decimal\ndecimal.getcontext().prec = 2\nprint(decimal.Decimal(1) / 3)", "decimal_precision", within=True
    ),
    changing("import socket\nsocket.setdefaulttimeout(0.001)", "socket_timeout_set", within=True),
    changing("import locale\nprint(locale.setlocale(locale.LC_ALL, 'C'))", "locale_set"),
    changing("import random\nrandom.seed(1)\nprint(random.random())", "random_seeded", within=True),
    changing("import uuid\nprint(uuid.uuid5(uuid.NAMESPACE_DNS, 'x'))", "uuid5", within=True),
    changing("os.umask(0o777)\nos.umask(0o022)", "umask_changed", within=True),
    changing(
        "os.umask(0o077)\n_open('private.txt', 'w')\nprint(oct(os.stat('private.txt').st_mode))", "umask_of_files"
    ),
    changing("os.chdir('/')\nprint(os.getcwd())", "chdir"),
    changing("os.mkdir('x')\nos.chdir('x')\nos.rmdir('../x')", "chdir_into_a_folder_that_has_gone"),
    changing("print(os.nice(5))", "nice"),
    changing(
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint(len(os.sched_getaffinity(0)))",
        "affinity",
        within=True,
    ),
    changing("import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (4, 4))", "no_more_files"),
    changing(
        "import resource as r\nr.setrlimit(r.RLIMIT_FSIZE, (100, 100))\ntry: _open('big', 'wb', 0).write(b'x' * 1000)\nexcept OSError as e: print(e)\nprint(os.path.getsize('big'))",
        "file_size_limited",
    ),
    changing(
        "import resource as r\nr.setrlimit(r.RLIMIT_FSIZE, (0, r.RLIM_INFINITY))\nsys.exit(3)", "no_byte_in_any_file"
    ),
    changing("import resource as r\nr.setrlimit(r.RLIMIT_CORE, (0, 0))", "no_core"),
    changing(
        "import resource as r\nr.setrlimit(r.RLIMIT_AS, (1 << 29, 1 << 29))\ntry: bytearray(1 << 30)\nexcept MemoryError: print('no memory')",
        "memory_limited",
    ),
    changing("import resource as r\nr.setrlimit(r.RLIMIT_NPROC, (0, 0))", "no_more_processes"),
    changing(
        "import signal\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)",
        "signals_ignored",
    ),
    changing("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())", "signals_blocked"),
    changing("import signal\nsignal.set_wakeup_fd(-1)\nsignal.alarm(600)", "alarm_pending"),
    changing(
        "def hook(event, args):\n    if event in ('os.exec', 'os.fork', 'os.kill'): raise RuntimeError(event)\nsys.addaudithook(hook)",
        "audit_hook",
    ),
    changing("import atexit\natexit.register = None", "patched_atexit"),
    changing("import logging\nlogging.disable()\nlogging.shutdown()\nlogging.error('never')", "logging_shut_down"),
    changing(
        "import logging\nlogging.raiseExceptions = False\nlogging.getLogger().handlers.clear()", "logging_changed"
    ),
    changing("sys.dont_write_bytecode = True\nsys.displayhook = sys.excepthook = None", "hooks_are_none"),
    changing("sys.stdout.reconfigure(line_buffering=False)\nsys.stdout.write('kept until the end')", "stdout_buffered"),
    changing("import tempfile\ntempfile.tempdir = '/nowhere'", "tempdir_changed"),
    changing(
        "import time\nos.environ['TZ'] = 'Asia/Tokyo'\ntime.tzset()\nprint(time.strftime('%H', time.localtime(0)))",
        "time_zone_changed",
        within=True,
    ),
    changing("import ctypes\nlibc = ctypes.CDLL(None)\nprint(libc.getpid() == os.getpid())", "ctypes"),
    changing("import ctypes\nsys.stdout.flush()\nctypes.CDLL(None).exit(5)", "exit_of_c"),
    changing("import ctypes\nctypes.CDLL(None)._exit(5)", "_exit_of_c"),
    changing("import ctypes\nctypes.CDLL(None).puts(b'by printf')\nctypes.CDLL(None).fflush(None)", "stdio_of_c"),
    changing("import ctypes\nctypes.CDLL(None).puts(b'kept in its buffer')", "stdio_of_c_unflushed"),
    changing("import shutil\nshutil.rmtree('.', ignore_errors=True)", "working_folder_emptied"),
    changing("os.symlink('/etc/hostname', 'link')\nos.mkfifo('fifo')\nos.mkdir('empty')", "odd_files"),
    changing("_open(b'caf\\xe9.txt', 'w').write('x')\n_open('a\\nb', 'w').write('y')", "odd_file_names"),
    # -- other libraries
    changing(
        "import numpy\nnumpy.random.seed(1)\nprint(numpy.random.rand(3), numpy.linalg.det(numpy.eye(50)))",
        "numpy",
        needs="numpy",
        within=True,
    ),
    changing(
        "import numpy\nnumpy.seterr(all='raise')\nnumpy.set_printoptions(precision=2)\nnumpy.save('x.npy', numpy.arange(3))",
        "numpy_changed",
        needs="numpy",
        within=True,
    ),
    changing("import numpy\nprint(numpy.array([1.0]) / 0, flush=True)", "numpy_warns", needs="numpy"),
    changing(
        "import numpy as np\na = np.ones((300, 300))\nprint((a @ a)[0, 0])",
        "numpy_with_threads",
        needs="numpy",
        within=True,
    ),
    changing(
        "import numpy as np, threading\na = np.ones((300, 300))\n(a @ a)\n"
        "pid = os.fork()\nif pid == 0: os._exit(int((a @ a)[0, 0]) == 300)\nprint(os.waitpid(pid, 0)[1] >> 8)",
        "numpy_then_fork",
        needs="numpy",
        within=True,
    ),
    changing(
        "import matplotlib.pyplot as plt\nprint(plt.get_backend())\nplt.plot([1, 2])\nplt.savefig('x.svg')\n"
        "print(os.path.getsize('x.svg') > 1000)\nos.unlink('x.svg')",
        "matplotlib",
        needs="matplotlib",
        environment={"MPLBACKEND": "agg"},
    ),
    changing("from faker import Faker\nFaker.seed(1)\nprint(Faker().name())", "faker", needs="faker", within=True),
    changing(
        "import lxml.etree as e\nprint(e.tostring(e.fromstring('<a><b/></a>')))", "lxml", needs="lxml", within=True
    ),
    changing(
        "import ssl, hashlib, zlib, bz2, lzma\nprint(hashlib.sha256(b'x').hexdigest())", "libraries_of_c", within=True
    ),
    changing(
        "import shelve\nwith shelve.open('kept') as s: s['a'] = 1\nfor n in list(os.listdir()): os.unlink(n)",
        "shelve",
        within=True,
    ),
    changing(
        "import zipfile\nwith zipfile.ZipFile('x.zip', 'w') as z: z.writestr(zipfile.ZipInfo('a'), 'b')",
        "zip",
        within=True,
    ),
    changing("import tkinter", "tkinter_or_none"),
    changing("import readline, curses", "readline"),
    changing(
        "import doctest\ndef f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\nprint(doctest.testmod())",
        "doctest",
    ),
    changing(
        "import io, unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertTrue(True)\nr = unittest.TextTestRunner(io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(T))\nprint(r)",
        "unittest",
    ),
    changing("import cProfile\ncProfile.run('1 + 1', 'profile.out')\nos.unlink('profile.out')", "profile"),
    changing("import tracemalloc\ntracemalloc.start()\nprint(tracemalloc.is_tracing())", "tracemalloc"),
    changing(
        "import contextvars\nv = contextvars.ContextVar('v', default=1)\nprint(v.get(), len(contextvars.copy_context()))",
        "contextvars",
    ),
    changing("import typing\nT = typing.TypeVar('T')\nprint(T.__module__)", "typevar_module"),
    changing("import code\ncode.InteractiveConsole().push('print(6 * 7)')", "console"),
]

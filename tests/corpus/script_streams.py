"""Scripts by what they do with descriptors, streams and terminals."""

from traits import Trait


def own_frames(printed: bytes) -> bytes:
    """Beneath a script's frames are ours, of which docs/programs.md tells; its own come first here."""
    return b"".join(printed.splitlines(keepends=True)[:3])


TRAITS = [
    Trait("stdin_is_empty", "import sys\nopen(sys.argv[1], 'w').write(repr(sys.stdin.read()))\n", within=True),
    Trait("stdin_is_a_device", "import os, sys\nopen(sys.argv[1], 'w').write(os.readlink('/proc/self/fd/0'))\n"),
    Trait("input", "input('how many? ')\n"),
    Trait("print_many_lines", "for i in range(20_000): print('line', i)\n", within=True),
    Trait("print_two_megabytes", "print('x' * 2_000_000)\n", within=True),
    Trait("print_without_line_end", "print('no end', end='')\n", within=True),
    Trait("carriage_returns", "for i in range(5): print(f'\\r{i} %', end='', flush=True)\n", within=True),
    Trait("bytes_that_are_no_text", "import sys\nsys.stdout.buffer.write(bytes(range(256)))\n"),
    Trait("surrogate_printed", "print('caf\\udce9')\n"),
    Trait("umlauts_printed", "print('漢 ü €')\n", within=True),
    Trait("stderr", "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr)\n", within=True),
    Trait("os_write", "import os\nprint('first', flush=True)\nos.write(1, b'second\\n')\nos.write(2, b'third\\n')\n"),
    Trait(
        "dup2_of_stdout",
        """
        import os, sys
        log = open("own.log", "w")
        os.dup2(log.fileno(), 1)
        print("into my own log", flush=True)
        os.system("echo from a child")
        open(sys.argv[1], "w").write("done")
        """,
    ),
    Trait(
        "dup2_of_both",
        """
        import os, sys
        log = os.open("own.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        print("out", flush=True)
        print("err", file=sys.stderr)
        """,
    ),
    Trait(
        "dup2_and_back",
        """
        import os
        kept = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        print("never seen", flush=True)
        os.dup2(kept, 1)
        print("seen", flush=True)
        """,
    ),
    Trait("stdout_closed", "import sys\nprint('last')\nsys.stdout.close()\nopen(sys.argv[1], 'w').write('done')\n"),
    Trait("stdout_closed_then_print", "import sys\nsys.stdout.close()\nprint('x')\n"),
    Trait("both_closed", "import sys\nsys.stdout.close()\nsys.stderr.close()\nopen(sys.argv[1], 'w').write('done')\n"),
    Trait(
        "descriptors_1_and_2_closed", "import os, sys\nos.close(1)\nos.close(2)\nopen(sys.argv[1], 'w').write('done')\n"
    ),
    Trait(
        "file_on_the_descriptor_of_stdout",
        """
        import os, sys
        os.close(1)
        out = open("takes_1.txt", "w")  # the lowest that is free
        print("into the file", file=out)
        open(sys.argv[1], "w").write(str(out.fileno()))
        """,
    ),
    Trait(
        "filetype_dash_closed",
        """
        import argparse, sys, warnings
        warnings.simplefilter("ignore")
        parser = argparse.ArgumentParser()
        parser.add_argument("out", type=argparse.FileType("w"))
        with parser.parse_args(["-"]).out as out:
            out.write("to stdout\\n")
        open(sys.argv[1], "w").write("done")
        """,
    ),
    Trait(
        "closerange",
        "import os, sys\nos.closerange(3, 5000)\nopen(sys.argv[1], 'w').write('done')\nprint('still here')\n",
    ),
    Trait("closerange_of_all", "import os, sys\nos.closerange(0, 5000)\nopen(sys.argv[1], 'w').write('done')\n"),
    Trait("stdout_is_none", "import sys\nsys.stdout = None\nprint('nowhere')\nopen(sys.argv[1], 'w').write('done')\n"),
    Trait(
        "stdout_replaced",
        "import io, sys\nsys.stdout = io.StringIO()\nprint('kept')\nopen(sys.argv[1], 'w').write(sys.stdout.getvalue())\n",
    ),
    Trait("stdout_is_a_file", "import sys\nsys.stdout = open('own.log', 'w')\nprint('kept')\n"),
    Trait("stdout_deleted", "import sys\ndel sys.stdout\nopen(sys.argv[1], 'w').write('done')\n"),
    Trait(
        "stdout_detached",
        "import sys\nraw = sys.stdout.detach()\nraw.write(b'raw\\n')\nraw.flush()\nsys.stdout = None\n",
    ),
    Trait("stdout_reconfigured", "import sys\nsys.stdout.reconfigure(encoding='latin-1')\nprint('\\xe9')\n"),
    Trait("stdout_reopened_by_number", "with open(1, 'w', closefd=False) as out: out.write('by its number\\n')\n"),
    Trait("dev_stdout", "with open('/dev/stdout', 'w') as out: out.write('by its device\\n')\n"),
    Trait(
        "redirected",
        "import contextlib\nwith open('own.log', 'w') as f, contextlib.redirect_stdout(f): print('x')\nprint('y')\n",
        within=True,
    ),
    Trait(
        "basicConfig_to_file",
        """
        import logging, sys
        logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(levelname)s %(message)s")
        logging.info("into the file")
        """,
        within=True,
    ),
    Trait(
        "basicConfig_to_stderr",
        "import logging\nlogging.basicConfig(level=logging.DEBUG)\nlogging.debug('to stderr')\n",
        within=True,
    ),
    Trait(
        "basicConfig_to_stdout",
        "import logging, sys\nlogging.basicConfig(stream=sys.stdout)\nlogging.error('to stdout')\n",
        within=True,
    ),
    Trait(
        "dictConfig",
        "import logging.config\nlogging.config.dictConfig({'version': 1, 'root': {'level': 'INFO'}})\nlogging.info('x')\n",
    ),
    Trait(
        "faulthandler_traceback",
        """
        import faulthandler
        def deep(): faulthandler.dump_traceback(all_threads=False)
        deep()
        """,
        tidy=own_frames,
    ),
    Trait(
        "faulthandler_to_file",
        "import faulthandler, sys\nfaulthandler.enable(open('crash.txt', 'w'))\nprint(faulthandler.is_enabled())\n",
    ),
    Trait("devnull_reading", "import sys\nfor line in sys.stdin: print(line)\nprint('at once')\n", within=True),
    Trait("pipe_in_itself", "import os\nr, w = os.pipe()\nos.write(w, b'x')\nprint(os.read(r, 1))\n", within=True),
    Trait("nonblocking_stdout", "import os\nos.set_blocking(1, False)\nprint('short')\n"),
    Trait("isatty", "import os\nprint([os.isatty(n) for n in (0, 1, 2)])\n", within=True),
    Trait("terminal_size", "import os\nos.get_terminal_size()\n"),
    Trait("getpass", "import getpass\nprint(getpass.getuser())\n"),
    Trait("pty_spawn", "import pty\nprint(pty.spawn(['echo', 'in a terminal'], stdin_read=lambda fd: b''))\n"),
    Trait(
        "pty_fork",
        """
        import os, pty, sys
        pid, fd = pty.fork()
        if pid == 0:
            os.execvp("sh", ["sh", "-c", "test -t 1 && echo a terminal"])
        said = os.read(fd, 100).decode().strip()
        os.waitpid(pid, 0)
        open(sys.argv[1], "w").write(said)
        """,
        within=True,
    ),
    Trait(
        "pexpect",
        """
        import pexpect, sys
        child = pexpect.spawn("sh", ["-c", "echo ready; read x; echo got $x"], encoding="utf-8")
        child.expect("ready")
        child.sendline("21.5")
        child.expect("got 21.5")
        child.expect(pexpect.EOF)
        child.close()
        open(sys.argv[1], "w").write(str(child.exitstatus))
        """,
        needs="pexpect",
        within=True,
    ),
    Trait(
        "temporary_files",
        "import tempfile\nwith tempfile.TemporaryFile('w+') as f:\n    f.write('x')\n    f.seek(0)\n    print(f.read())\n",
        within=True,
    ),
    Trait("mmap", "import mmap\nm = mmap.mmap(-1, 4096)\nm[:3] = b'abc'\nprint(m[:3])\n", within=True),
    Trait(
        "sqlite",
        """
        import sqlite3, sys
        db = sqlite3.connect("readings.db")
        db.execute("create table r (t real)")
        db.execute("insert into r values (21.5)")
        db.commit()
        open(sys.argv[1], "w").write(str(db.execute("select t from r").fetchall()))
        db.close()
        """,
        within=True,
    ),
    Trait(
        "many_files_open",
        """
        import sys
        kept = [open(f"{i}.txt", "w") for i in range(200)]
        for i, out in enumerate(kept): out.write(str(i))
        open(sys.argv[1], "w").write(str(len(kept)))
        """,
    ),
]

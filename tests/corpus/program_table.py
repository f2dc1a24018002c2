"""Programs of the corpus: what is compared with subprocess.run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A program, as subprocess.run and as Command are given it.

    Attributes:
        command: its words; RESULT stands for the result's file and TOOLS for the folder of `FILES`.
        environment: variables besides the deployment's; TOOLS likewise. Numbers are given to Command as such.
        folder: where it works, in the folder of its run.
        tidy: makes what it printed comparable.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, Any] = field(default_factory=dict)
    folder: str = "."
    tidy: Callable[[bytes], bytes] = bytes

    @property
    def leaves_result(self) -> bool:
        """Whether its service has an output."""
        return any("RESULT" in word for word in self.command)


# small programs in the folder TOOLS: name → content and mode
FILES = {
    "first/tool": ("#!/bin/sh\necho the first tool, $# arguments\n", 0o755),
    "second/tool": ("#!/bin/sh\necho the second tool\n", 0o755),
    "not-executable/tool": ("#!/bin/sh\necho never\n", 0o644),
    "calls": ("#!/bin/sh\nexec tool a b\n", 0o755),
    "plain-text": ("no program at all\n", 0o755),
    "no-permission": ("#!/bin/sh\n", 0o644),
    "no-interpreter": ("#!/an/interpreter/that/nobody/has\n", 0o755),
}


def sh(name: str, line: str, *words: str, **more: Any) -> Case:
    """A line for the shell."""
    return Case(name, ("sh", "-c", line, "sh", *words), **more)


def python(name: str, code: str, *words: str, **more: Any) -> Case:
    """A line of Python, in a program of its own."""
    return Case(name, (sys.executable, "-c", code, *words), **more)


ODD = ("", " ", "a\nb", "'\"", "$HOME", "*", "-n", "--", "漢", "caf\udce9", "\\", "\t", "a;b", "`id`", "x" * 100_000)
ENVIRON = """
import os
ours = ("LABWAITER_", "MPLCONFIGDIR", "LAB")  # as docs/programs.md tells
print(sorted(i for i in os.environ.items() if not i[0].startswith(ours[0]) and i[0] not in ours))
"""
# 32 and 33 are the C library's own: whether these are ignored is its matter
SIGNALS_OF_ITS_OWN = """
for line in open("/proc/self/status"):
    name, _, mask = line.partition(":")
    if name in ("ShdPnd", "SigBlk", "SigIgn", "SigCgt"):
        print(name, hex(int(mask, 16) & 0x7FFFFFFF))
"""
SIGNALS = ("HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "PIPE", "ALRM", "TERM")

CASES = [
    # -- statuses
    *(sh(f"exit_{status}", f"exit {status}") for status in (0, 1, 2, 3, 126, 127, 128, 137, 143, 255, 256)),
    *(sh(f"signal_{name}", f"ulimit -c 0; echo before; kill -{name} $$; sleep 600") for name in SIGNALS),
    Case("true", ("true",)),
    Case("false", ("false",)),
    sh("exit_3_of_a_child", "sh -c 'exit 3'; exit $?"),
    sh("signal_of_a_child", "sh -c 'kill -TERM $$'; exit $?"),
    sh("exec_keeps_its_pid", "exec sh -c 'kill -9 $$'"),
    # -- results
    sh("result", 'echo 21.5 > "$1"', "RESULT"),
    sh("result_and_exit_3", 'echo 21.5 > "$1"; exit 3', "RESULT"),
    sh("result_missing", 'echo "$1" > /dev/null', "RESULT"),
    sh("result_by_a_child", 'sh -c \'echo late > "$0"\' "$1" & wait', "RESULT"),
    sh("result_empty", ': > "$1"', "RESULT"),
    # -- arguments
    Case("arguments_odd", ("printf", "%s\\n", *ODD)),
    python("arguments_of_python", "import sys; print(ascii(sys.argv[1:]))", *ODD),
    Case("arguments_none", ("echo",)),
    python("name_of_itself", "import sys; print(sys.orig_argv[0], sys.executable)"),
    sh("name_of_a_shell", "echo $0 $*", "a", "b c"),
    # -- environment
    python("environment", ENVIRON, environment={"SPICE": "salt", "EMPTY": "", "ODD": "a\nb=c"}),
    Case("environment_printed", ("printenv", "SPICE"), environment={"SPICE": "pepper"}),
    Case("environment_in_utf_8", ("printenv", "SPICE"), environment={"SPICE": "Kümmel 漢"}),
    Case("environment_of_a_number", ("printenv", "THREADS"), environment={"THREADS": 4}),
    Case("environment_of_a_fraction", ("printenv", "SHARE"), environment={"SHARE": 0.25}),
    Case("path_is_searched", ("tool", "a"), environment={"PATH": "TOOLS/first"}),
    Case("path_in_its_order", ("tool",), environment={"PATH": "/nowhere:TOOLS/second:TOOLS/first"}),
    Case("path_past_what_is_no_program", ("tool",), environment={"PATH": "TOOLS/not-executable:TOOLS/first"}),
    Case("path_for_its_children", ("TOOLS/calls",), environment={"PATH": "TOOLS/first:/bin:/usr/bin"}),
    Case("path_before_its_own", ("sh", "-c", "tool; id -u"), environment={"PATH": "TOOLS/second:/bin:/usr/bin"}),
    Case("path_of_python", (sys.executable, "-c", "import os; os.system('tool')"), environment={"PATH": "TOOLS/first"}),
    sh("home", "echo $HOME; cd; pwd", environment={"HOME": "/"}),
    sh("time_zone", "date -d @0 +%H", environment={"TZ": "JST-9"}),
    python("hash_seed", "print(hash('x'))", environment={"PYTHONHASHSEED": "7"}),
    # -- where it works
    sh("folder", "pwd; echo made > here.txt", folder="case"),
    sh("folder_deep", "pwd; mkdir -p sub; echo made > sub/here.txt", folder="case/of/mine"),
    sh("files", "mkdir a; echo x > a/b; ln -s a c; mkfifo d; : > empty"),
    sh("umask_of_files", "umask; umask 077; echo x > private; stat -c %a private"),
    # -- streams
    Case("stdin_is_empty", ("cat",)),
    sh("stdin_is_a_device", "readlink /proc/self/fd/0"),
    sh("both_streams", "echo out; echo err >&2; echo out again"),
    sh("stdout_closed", 'exec >&-; sleep 0.05; echo done > "$1"', "RESULT"),
    sh("both_closed", 'exec >&- 2>&-; sleep 0.05; echo done > "$1"', "RESULT"),
    sh("closed_then_exit_3", "echo before; exec >&- 2>&-; sleep 0.05; exit 3"),
    sh("stdout_closed_then_echo", "exec >&-; echo into nothing"),
    sh("stdout_into_a_file", "exec > own.log 2>&1; echo kept; sh -c 'echo kept, too'"),
    sh("output_without_line_end", "printf 'no end'"),
    sh("output_in_bytes", "printf '\\377\\376\\000\\001'"),
    sh("output_with_carriage_returns", "printf '1 %%\\r2 %%\\r'"),
    sh("output_huge", "yes 'a line of some length' | head -n 150000"),
    sh("output_huge_in_one_line", "head -c 3000000 /dev/zero | tr '\\0' x"),
    sh("output_huge_on_both", "yes | head -n 100000; yes | head -n 100000 >&2"),
    sh("output_of_a_child", "sh -c 'echo child' & wait; echo parent"),
    sh("pipe_broken", "yes | head -n 1"),
    python("not_a_terminal", "import os; print([os.isatty(n) for n in (0, 1, 2)])"),
    sh("no_controlling_terminal", "echo x > /dev/tty"),
    # -- its process
    sh("descriptors", "ls /proc/self/fd"),
    python("signals", SIGNALS_OF_ITS_OWN),
    sh("limits", "ulimit -a"),
    sh("scheduling", "nice; taskset -p $$ | sed 's/.*: //'"),
    sh("user", "id"),
    python("group_is_its_own", "import os; print(os.getpgrp() == os.getpid())"),
    python("no_children", "import os\ntry: os.wait()\nexcept ChildProcessError: print('none')"),
    sh("kill_0", "echo before; kill 0; sleep 600"),
    sh("kill_0_with_children", "sleep 600 & sleep 600 & echo before; kill 0; wait"),
    sh("kill_0_KILL", "echo before; kill -9 0; sleep 600"),
    sh("kill_0_at_exit", 'trap "kill 0" EXIT; echo work'),
    sh("kill_0_at_exit_3", 'trap "kill 0" EXIT; echo work; exit 3'),
    sh("kill_0_for_children_at_exit", 'trap "trap - TERM; kill 0" EXIT; sleep 600 & echo work'),
    sh("kill_0_survived", 'trap "" TERM; sleep 0.01 & kill 0; wait; echo survived > "$1"', "RESULT"),
    sh("kill_0_caught", "trap \"echo a part > '$1'; exit 0\" TERM; kill 0; sleep 600", "RESULT"),
    sh("kill_own_group_by_its_number", "echo before; kill -TERM -$$; sleep 600"),
    sh("kill_a_group_of_its_own", "setsid sh -c 'kill 0'; echo $?"),
    python(
        "child_in_a_group_of_its_own",
        "import os, subprocess as s\n"
        "p = s.Popen(['sleep', '600'], process_group=0)\nos.killpg(p.pid, 15)\nprint(p.wait())",
    ),
    sh("trap_TERM", "trap \"echo a part > '$1'; exit 0\" TERM; kill $$; sleep 600", "RESULT"),
    sh("trap_EXIT", 'trap "echo left" EXIT; exit 4'),
    python(
        "new_session", "import os; print(os.fork() and (os.wait()[1], 'parent') or os.setsid() or 'child', flush=True)"
    ),
    python("faulthandler", "import faulthandler; faulthandler._sigsegv()", tidy=lambda printed: b""),
]

"""The shell's face: it translates words into verbs and answers into lines, and decides nothing.

    commands.py  which commands there are; the module of one is imported when that is called
    terminal.py  how values look there
    completing.py  what a shell can complete

Every command that prints something has --json.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The command `labwaiter`. Ctrl-C ends it without a traceback, also while it is still being imported."""
    try:
        from .commands import main as called
    except KeyboardInterrupt:
        sys.stderr.write("\nAborted!\n")  # as click says it afterwards
        sys.exit(1)
    called(complete_var="_LABWAITER_COMPLETE")  # also where it is called by python -m

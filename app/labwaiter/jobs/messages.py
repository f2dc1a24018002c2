"""notifications.txt: the messages to a job, one a line, as programs of the tutorial's kind read them.

XML can carry no vertical tab and no form feed, so a message's own line breaks are kept as these two.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InvalidParameter
from .files import read_bounded

FILE = "notifications.txt"
LONGEST = 20_000  # characters of one message
LARGEST = 1_000_000  # bytes of the file

_OUT = str.maketrans({"\n": "\v", "\r": "\f", "\v": " ", "\f": " "})
_BACK = str.maketrans({"\v": "\n", "\f": "\r"})


def append(folder: Path, message: str) -> int:
    """Add one message in one write.

    Returns:
        Its number, from 1.

    Raises:
        InvalidParameter: it is too long, or the job has had too many.
    """
    if len(message) > LONGEST:
        raise InvalidParameter(f"The message has {len(message)} characters; at most {LONGEST} are accepted.")
    line = message.translate(_OUT).encode("utf-8", "replace") + b"\n"
    fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        if os.fstat(fd).st_size + len(line) > LARGEST:
            raise InvalidParameter("This execution has had too many messages; it takes no more.")
        os.write(fd, line)
        until = os.lseek(fd, 0, os.SEEK_CUR)  # the end of our own line, whoever wrote after us
        return os.pread(fd, until, 0).count(b"\n")
    finally:
        os.close(fd)


def read(folder: str | Path) -> list[str]:
    """All messages so far, oldest first, with the line breaks that they were sent with."""
    text = (read_bounded(f"{folder}/{FILE}", LARGEST) or b"").decode("utf-8", "replace")
    return [line.translate(_BACK) for line in text.split("\n")[:-1]]

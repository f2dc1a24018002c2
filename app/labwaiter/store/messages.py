"""notifications.txt: the messages to a job, one a line, as programs of the tutorial's kind read them.

XML can carry no vertical tab and no form feed, so a message's own line breaks are kept as these two.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InvalidParameter
from ..model.contract import MESSAGE_MAX
from ..model.span import size
from .files import open_ours, read_bounded

FILE = "notifications.txt"
LARGEST = 10_000_000  # bytes of the file that are read: MESSAGES_LIMIT is not more

_OUT = str.maketrans({"\n": "\v", "\r": "\f", "\v": " ", "\f": " "})
_BACK = str.maketrans({"\v": "\n", "\f": "\r"})


def judge(message: str) -> None:
    """Raises InvalidParameter for a message that is too long, whatever became of the job that it is for."""
    if len(message) > MESSAGE_MAX:
        raise InvalidParameter(f"The message has {len(message)} characters; at most {MESSAGE_MAX} are accepted.")


def append(folder: Path, message: str, most: int = 1_000_000) -> int:
    """Add one message in one write.

    Args:
        most: bytes of the file.

    Returns:
        Its number, from 1.

    Raises:
        InvalidParameter: it is too long, or the job has had too many.
    """
    judge(message)
    line = message.translate(_OUT).encode("utf-8", "replace") + b"\n"
    fd = open_ours(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_size + len(line) > most:
            raise InvalidParameter(
                f"This execution has had too many messages: {size(most)} of them are kept, and it takes no more."
            )
        os.write(fd, line)
        until = os.lseek(fd, 0, os.SEEK_CUR)  # the end of our own line, whoever wrote after us
        return os.pread(fd, until, 0).count(b"\n")
    finally:
        os.close(fd)


def last(folder: str | Path, most: int) -> tuple[tuple[str, ...], int]:
    """The last messages, oldest first, at most `most` of them, and how many there are. Cheap: polls ask it."""
    content = read_bounded(f"{folder}/{FILE}", LARGEST) or b""
    content = content[: content.rfind(b"\n") + 1]  # what is being written now is no message yet
    lines = content.rsplit(b"\n", most + 1)[-most - 1 : -1]  # only these are decoded
    return tuple(line.decode("utf-8", "replace").translate(_BACK) for line in lines), content.count(b"\n")


def read(folder: str | Path) -> list[str]:
    """All messages so far, oldest first, with the line breaks that they were sent with."""
    text = (read_bounded(f"{folder}/{FILE}", LARGEST) or b"").decode("utf-8", "replace")
    return [line.translate(_BACK) for line in text.split("\n")[:-1]]

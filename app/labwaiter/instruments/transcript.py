r"""What was said on a line, as text that is read back byte for byte: a driver's transcript, and a dialogue made of it.

    > *IDN?\n                   sent to the instrument
    < ACME,T100,1\r\n           received from it
    x OVP ALARM\r\n             received, and thrown away
    -- opened /dev/ttyS0        what became of the line
    # …                         a remark

In a transcript each line begins with its Unix time, in a dialogue it needn't. Bytes are written as in Python: ``\n``,
``\r``, ``\t``, ``\\`` and ``\x02``; letters of UTF-8 that can be seen stay as they are.
"""

from __future__ import annotations

import re

Exchange = tuple[bytes | None, bytes | None]  # what is sent (None: it speaks by itself), and what is answered
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}
_BYTES = {written[1]: byte for byte, written in _NAMED.items()}
_LINE = re.compile(r"(?:\d+\.\d+ )?(>|<|x|--|#)(?: (.*))?", re.DOTALL)


class Unreadable(ValueError):
    """A file is no transcript and no dialogue; the message says in which line, and why."""


def written(data: bytes) -> str:
    """Bytes as a transcript has them, in one line."""
    text = "".join(_letter(letter) for letter in data.decode("utf-8", "surrogateescape"))
    return text[:-1] + r"\x20" if text.endswith(" ") else text  # editors take blanks off a line's end


def _letter(letter: str) -> str:
    if letter in _NAMED:
        return _NAMED[letter]
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def read(text: str) -> bytes:
    """The bytes of a text that `written` gave. Raises ValueError: what is wrong with it."""

    def byte(found: re.Match[str]) -> str:
        if found[1]:
            number = int(found[1], 16)
            return chr(number) if number < 0x80 else chr(0xDC00 + number)  # as surrogateescape has it
        if found[2] not in _BYTES:
            raise ValueError(f"\\{found[2]} is no byte: there are \\n, \\r, \\t, \\\\ and \\x00 to \\xff")
        return _BYTES[found[2]]

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.?))", byte, text).encode("utf-8", "surrogateescape")


def dialogue(content: bytes, name: str) -> list[Exchange]:
    """What was sent and answered, of a transcript or a dialogue, up to where the line was lost.

    Args:
        content: of a file, `name` its name.

    Raises:
        Unreadable: a line of it is none.
    """
    exchanges: list[Exchange] = []
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        if not (line := line.removesuffix("\r")).strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise Unreadable(f"{name}, line {number}: a line begins with >, <, x, -- or #, not “{line[:60]}”.")
        mark, rest = found[1], found[2] or ""
        try:
            if mark == ">":
                exchanges.append((read(rest), b""))
            elif mark == "<":
                sent, before = exchanges.pop() if exchanges else (None, b"")
                exchanges.append((sent, (before or b"") + read(rest)))
        except ValueError as error:
            raise Unreadable(f"{name}, line {number}: {error}.") from None
        if mark == "--" and rest.startswith("lost"):
            break
    return exchanges


def lines(exchanges: list[Exchange]) -> list[str]:
    """A dialogue's lines."""
    told = []
    for sent, answered in exchanges:
        told += [f"> {written(sent)}"] if sent else []
        told += [f"< {written(part)}" for part in (answered or b"").splitlines(keepends=True)]
    return told

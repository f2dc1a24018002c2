"""What a program has left, as a value of its outputs: `Results(mean=json_value("out.json", "mean"))`.

Files are relative to the folder where the function works, the job's data/. What isn't there fails the job, with a
sentence that names it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ..errors import JobFailed
from ..model.values import text_of as text_of  # as they write a value into one of its arguments

LARGEST = 10_000_000  # bytes of a file that is read for a value


def text_in(file: str | os.PathLike[str]) -> str:
    """The text in a file, without blanks around it.

    Raises:
        JobFailed: it isn't there, or holds no text in UTF-8.
    """
    name = Path(file).name
    try:
        with open(file, "rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise JobFailed(f"The program left no file {name}.") from None
    except OSError as error:
        raise JobFailed(f"The file {name} can't be read ({error.strerror}).") from error
    if len(content) > LARGEST:
        raise JobFailed(f"The file {name} has more than {LARGEST // 1_000_000} MB: too much for a value.")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise JobFailed(f"The file {name} is no text in UTF-8 (byte {error.start}).") from None


def json_value(file: str | os.PathLike[str], key: str) -> Any:
    """A value of a JSON file.

    Args:
        key: of its object; with points for one in another: "fit.slope". A whole number is a place in a list.

    Raises:
        JobFailed: the file isn't there, or is no JSON, or has no such value.
    """
    name = Path(file).name
    try:
        value = json.loads(text_in(file))
    except (ValueError, RecursionError) as error:
        raise JobFailed(f"The file {name} is no JSON: {error}.") from None
    for part in key.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise JobFailed(f"The file {name} has no value {key}.") from None
    if value is None or isinstance(value, (dict, list)):
        raise JobFailed(f"The value {key} of the file {name} is neither a number nor a text.")
    return value


def last_line(printed: str) -> str:
    """The last line with words in it. Raises JobFailed: there is none."""
    for line in reversed(printed.splitlines()):
        if line.strip():
            return line.strip()
    raise JobFailed("The program printed nothing; its last line was to be the result.")


def printed_value(printed: str, pattern: str) -> str:
    """What a pattern's group fits in what a program printed: the last time that it does.

    Raises:
        JobFailed: it fits nowhere.
    """
    fits = [fit[1] for fit in re.finditer(pattern, printed, re.MULTILINE) if fit[1] is not None]
    if not fits:
        raise JobFailed(f"The program printed nothing that fits the pattern {pattern}.")
    return fits[-1]

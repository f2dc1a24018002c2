"""How a program's end becomes the job's: the contract's table, in one place."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..errors import ServiceError
from ..model.parameter import TEXT_MAX, Parameter
from ..model.record import End, State
from ..model.sentences import N_
from ..store.artifacts import name_of

if TYPE_CHECKING:
    from .program import Ran

HandOn = Callable[[str | Path], str | None]  # a file of the job's → its name for others, None if it isn't there


class NotWritten(Exception):
    """A file is empty, as one is that could not be written: the message is why nothing can be now."""


Stamp = tuple[int, int, int]  # a file as it was at a time: modified (ns), size (bytes), inode
RESULT_MAX = 4 * TEXT_MAX  # bytes of result.txt: as many characters, UTF-8
_OWN_MAX = 200  # characters of a program's own last line
_TICK = 10_000_000  # ns: file systems count the time of a change in steps of at most that
# what a text begins with that says its encoding itself; the longer ones first: one begins as another does
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
_NOTHING: Mapping[str, Any] = {}
_TOO_LARGE = "a file would have become larger than it may ({:,} bytes)."
_TOO_MUCH = "it needed more memory than it may ({:,} bytes)."
# what programs say of it last: Python's, C++'s, the system's
_NO_MEMORY = re.compile(r"\bMemoryError\b|\bbad_alloc\b|Cannot allocate memory|[Oo]ut of memory")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")  # of a terminal: ECMA-48
_PLACE = re.compile(r"(?:(?<![\w/.+~@-])|(?<=file://))(?:/[\w.+~@-]+)+/([\w.+~@-]+)")


def failed(why: str) -> End:
    """The job has failed, with the sentence for its user."""
    return End(State.FAILED, why, ended=time.time())


def aborted(why: str = N_("The execution was aborted.")) -> End:
    """The job has stopped because it was asked to."""
    return End(State.ABORTED, why, ended=time.time())


def completed(outputs: dict[str, Any]) -> End:
    """The work is done."""
    return End(State.COMPLETED, outputs=outputs, ended=time.time())


def refusal(
    status: int,
    success: Collection[int] = (0,),
    program: str = "",
    printed: str = "",
    confined: Mapping[str, Any] = _NOTHING,
) -> str | None:
    """Why a program that ended so has failed; None if it hasn't.

    Args:
        status: its exit status, negative for a signal, as subprocess has it.
        success: the statuses that mean success; -15 and 143 are one, since a shell tells a signal n as 128+n.
        program: its name or path. "": it is just "the program".
        printed: the last of what it printed: its own last line is told, too.
        confined: by what it was confined, as `StoredState.confined` has it: a limit that it hit is told.
    """
    as_shell = 128 - status if status < 0 or status > 128 else status
    if status in success or as_shell in success:
        return None
    subject = _subject(program)
    if why := _hit(subject, as_shell, _last_line(printed), confined):
        return why
    own, what = _last_line(printed), signal_name(-status) if status < 0 else status
    return N_(
        f"{subject} {'was ended by the signal' if status < 0 else 'ended with the exit status'} {what}"
        f"{f': {own}' if own else '.'}"
    )


def _hit(subject: str, as_shell: int, line: str, confined: Mapping[str, Any]) -> str | None:
    """The sentence for a limit that a program hit, as its end or its last line tells; None where neither does.

    Args:
        as_shell: its exit status, 128+n for a signal n.
    """
    if as_shell == 128 + signal.SIGXCPU and "cpu_seconds" in confined:
        return N_(f"{subject} used more CPU time than it may ({confined['cpu_seconds']:,} s) and was ended.")
    if "file_size" in confined and (as_shell == 128 + signal.SIGXFSZ or os.strerror(errno.EFBIG) in line):
        return N_(f"{subject} failed: {_TOO_LARGE.format(confined['file_size'])}")
    if "memory" in confined and _NO_MEMORY.search(line):
        return N_(f"{subject} failed: {_TOO_MUCH.format(confined['memory'])}")
    return None


def of_memory(confined: Mapping[str, Any]) -> End:
    """The end of a job of which the kernel has ended something, since all together used more memory than they may."""
    return failed(
        f"The execution needed more memory than it may, all its processes together ({confined['memory']:,} bytes), and"
        " was ended."
    )


def stamp(file: Path) -> Stamp | None:
    """A file as it is before a program begins, so that `of_program` knows what that wrote; None if it isn't there."""
    status = _stamp(file)
    if status is not None and 0 <= time.time_ns() - status[0] < _TICK:
        time.sleep(_TICK / 1e9)  # a change within the same step of the clock would look like none
    return status


def _stamp(file: Path) -> Stamp | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def of_run(ran: Ran, outputs: Iterable[Parameter], hand_on: HandOn, confined: Mapping[str, Any] = _NOTHING) -> End:
    """The end of a program that this job ran."""
    program = ran.program
    return of_program(
        ran.status,
        Path(program.result),
        outputs,
        hand_on,
        program.success,
        worked_in=Path(program.folder),
        before=ran.before,
        program=program.name,
        printed=ran.printed,
        confined=confined,
    )


def of_program(
    status: int,
    result_file: Path,
    outputs: Iterable[Parameter],
    hand_on: HandOn,
    success: Collection[int] = (0,),
    *,
    worked_in: Path | None = None,
    before: Stamp | None = None,
    program: str = "",
    printed: str = "",
    confined: Mapping[str, Any] = _NOTHING,
) -> End:
    """The end of a wrapped program.

    Args:
        status: its exit status, negative for a signal, as subprocess has it.
        result_file: where it left its result: the text of its one output, or a JSON object of several.
        hand_on: gives the name of a file for others; relative paths are in data/.
        success: the statuses that mean success, as `refusal` takes them.
        worked_in: the folder that it worked in: paths in its result are relative to that; None: to data/.
        before: the `stamp` of `result_file` before it began: a file that is still the same is not its result.
        program, printed: its name and the last of what it printed, for whoever reads why it failed.
        confined: as `refusal` takes it.
    """
    if why := refusal(status, success, program, printed, confined):
        return failed(why)
    outputs = tuple(outputs)
    if not outputs:
        return completed({})
    subject = _subject(program)
    if before is not None and _stamp(result_file) == before:
        return failed(f"{subject} ended without a result: {result_file.name} is of an earlier step.")
    try:
        content = _content(result_file)
    except FileNotFoundError:
        content = None
    except OSError as error:
        return failed(f"The program's result can't be read: {error.strerror}.")
    except ValueError as error:
        return failed(f"The program's result {error}")
    if not content and (why := _no_room(result_file.parent)):
        return failed(f"{subject} ended without a result: its disk can't be written ({why}).")
    if content is None:
        return failed(f"{subject} ended without a result.")
    try:
        text = _decoded(content, is_name=len(outputs) == 1 and outputs[0].kind == "file")
    except ValueError as error:
        return failed(f"The program's result {error} Have it write UTF-8.")

    def hand_on_from_there(file: str | Path) -> str | None:
        return hand_on(worked_in / file) if worked_in else hand_on(file)

    return of_values(_read_result(text, outputs), outputs, hand_on_from_there)


def _content(file: Path) -> bytes:
    """Raises OSError, FileNotFoundError; ValueError with the rest of a sentence for what is no result."""
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place holds nobody up
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no file.")
        content = os.pread(fd, min(status.st_size, RESULT_MAX + 1), 0)
    finally:
        os.close(fd)
    if len(content) > RESULT_MAX:
        raise ValueError("is too long to be handed on as a text; hand it on as a file.")
    return content


def _decoded(content: bytes, is_name: bool) -> str:
    """The text of a result: in the encoding that it begins with, else UTF-8.

    Args:
        is_name: it names a file, so any bytes will do.

    Raises:
        ValueError: it is none; the message goes on "The result …".
    """
    mark, encoding = next(((m, name) for m, name in _MARKS if content.startswith(m)), (b"", "UTF-8"))
    name = encoding.removesuffix("-LE").removesuffix("-BE")
    if not mark and b"\0" in content:  # UTF-16 without its mark, or no text at all
        raise ValueError("is not UTF-8 text: it holds a NUL byte.")
    try:
        text = content[len(mark) :].decode(encoding, "surrogateescape" if is_name and not mark else "strict")
    except UnicodeDecodeError as error:
        at = len(mark) + error.start
        raise ValueError(f"is not {name} text: its byte {at + 1} is 0x{content[at]:02X}.") from None
    if "\0" in text:
        raise ValueError(f"is not {name} text: it holds a NUL byte.")
    return text


# bytes: less, and a disk was full a moment ago, perhaps: what we keep for ends (1 MB, 4 kB a job) is given up meanwhile
NEARLY_FULL = 2_000_000


def _no_room(folder: Path) -> str:
    """Why nothing can be written into `folder`, or could a moment ago, in the system's words; "" if something can."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(folder)
        if disk.f_bavail * disk.f_frsize < NEARLY_FULL:
            return os.strerror(errno.ENOSPC)
    probe = folder / f".room.{os.getpid()}"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, bytes(4096)) < 4096:
                return os.strerror(errno.ENOSPC)
        finally:
            os.close(fd)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _NO_ROOM else ""
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)
    return ""


def _read_result(text: str, outputs: tuple[Parameter, ...]) -> Any:
    if len(outputs) == 1:
        return {outputs[0].name: text.rstrip("\r\n")}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def of_values(values: Any, outputs: Iterable[Parameter], hand_on: HandOn) -> End:
    """The end of work that gave `values`: completed, if each output is there and of its type."""
    outputs_given = {}
    if not isinstance(values, dict):
        return failed("The program's result is no JSON object with its outputs.")
    for output in outputs:
        if values.get(output.name) is None:
            return failed(f"The work ended without its output {output.name}.")
        # outputs carry no limits, and an empty text is one
        lenient = dataclasses.replace(
            output, mandatory=output.kind != "text", low=None, high=None, endings=(), default=""
        )
        try:
            outputs_given[output.name] = value = lenient.accept(values[output.name])
        except ServiceError as error:
            return failed("The result is refused. " + error.message.replace("The input", "Its output"))
        if output.kind == "file":
            name = None
            try:
                name = hand_on(value)
            except NotWritten as why:
                return failed(f"The file of the output {output.name} is empty: its disk can't be written ({why}).")
            except ValueError:  # no name of a file at all: it holds a NUL
                pass
            if name is None:
                return failed(
                    f"The file that the output {output.name} names is not in the folder data/ of the job, or hidden"
                    " there by a dot."
                )
            outputs_given[output.name] = name
    return completed(outputs_given)


def hand_on(jobs: Path, job: str, file: str | Path) -> str | None:
    """A `HandOn` of a job's files. Raises NotWritten for an empty one on a disk that takes nothing."""
    name = name_of(jobs, job, file)
    if name is None:
        return None
    path = jobs / job / "data" / file
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0 and (why := _no_room(path.parent)):
            raise NotWritten(why)
    return name


def of_exception(error: BaseException, confined: Mapping[str, Any] = _NOTHING) -> End:
    """The end of work that raised: its own words, without the places of this machine."""
    if isinstance(error, MemoryError) and "memory" in confined:
        return failed(f"The work failed: {_TOO_MUCH.format(confined['memory'])}")
    if isinstance(error, OSError) and error.errno == errno.EFBIG and "file_size" in confined:
        return failed(f"The work failed: {_TOO_LARGE.format(confined['file_size'])}")
    if isinstance(error, OSError) and error.errno == errno.EMFILE and "open_files" in confined:
        return failed(f"The work failed: it has as many files open as it may ({confined['open_files']:,}).")
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = _without_places(" ".join(text.split()))[:500]
    kind = type(error).__name__
    return failed(f"The work failed: {text} ({kind})." if text else f"The work failed ({kind}).")


def signal_name(number: int) -> str:
    """SIGSEGV (11)."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return str(number)


def _subject(program: str) -> str:
    return PurePath(program).name or N_("The program")


def _last_line(printed: str) -> str:
    """The last line with words in it, as the end of a sentence; "" without one."""
    lines = re.split(r"[\r\n\b]+", _SEQUENCE.sub("", printed[-50 * _OWN_MAX :]))
    line = next((line for line in reversed(lines) if any(c.isalnum() for c in line)), "")
    line = "".join(c if c.isprintable() else " " for c in line)  # a lone surrogate isn't, either
    line = _without_places(" ".join(line.split())).rstrip(":")
    if len(line) > _OWN_MAX:
        return line[:_OWN_MAX] + "…"
    return line if line.endswith((".", "!", "?", "…")) or not line else line + "."


def _without_places(text: str) -> str:
    """Absolute paths cut to their last names: the places of this machine are nobody's business."""
    return _PLACE.sub(r"\1", text)

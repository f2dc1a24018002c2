"""How a program's end becomes the job's: the contract's table, in one place."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from ..errors import ServiceError
from ..parameter import TEXT_MAX, Parameter
from ..record import End, State

HandOn = Callable[[str | Path], str | None]  # a file of the job's → its name for others, None if it isn't there
RESULT_MAX = 4 * TEXT_MAX  # bytes of result.txt: as many characters, UTF-8


def failed(why: str) -> End:
    """The job has failed, with the sentence for its user."""
    return End(State.FAILED, why, ended=time.time())


def aborted(why: str = "The execution was aborted.") -> End:
    """The job has stopped because it was asked to."""
    return End(State.ABORTED, why, ended=time.time())


def completed(outputs: dict[str, Any]) -> End:
    """The work is done."""
    return End(State.COMPLETED, outputs=outputs, ended=time.time())


def refusal(status: int, success: Collection[int] = (0,)) -> str | None:
    """Why a program that ended so has failed; None if it hasn't.

    Args:
        status: its exit status, negative for a signal, as subprocess has it.
    """
    if status < 0:
        return f"The program was ended by the signal {signal_name(-status)}."
    return None if status in success else f"The program ended with the exit status {status}."


def of_program(
    status: int, result_file: Path, outputs: Iterable[Parameter], hand_on: HandOn, success: Collection[int] = (0,)
) -> End:
    """The end of a wrapped program.

    Args:
        status: its exit status, negative for a signal, as subprocess has it.
        result_file: where it left its result: the text of its one output, or a JSON object of several.
    """
    if why := refusal(status, success):
        return failed(why)
    outputs = tuple(outputs)
    if not outputs:
        return completed({})
    try:
        with open(result_file, "rb") as file:
            text = file.read(RESULT_MAX + 1)
    except FileNotFoundError:
        return failed("The program ended without a result.")
    except OSError as error:
        return failed(f"The program's result can't be read: {error.strerror}.")
    if len(text) > RESULT_MAX:
        return failed("The program's result is too long to be handed on as a text; hand it on as a file.")
    return of_values(_read_result(text.decode("utf-8", "replace"), outputs), outputs, hand_on)


def _read_result(text: str, outputs: tuple[Parameter, ...]) -> Any:
    if len(outputs) == 1:
        return {outputs[0].name: text.rstrip("\r\n")}
    try:
        return json.loads(text)
    except ValueError:
        return None


def of_values(values: Any, outputs: Iterable[Parameter], hand_on: HandOn) -> End:
    """The end of work that gave `values`: completed, if each output is there and of its type."""
    found = {}
    if not isinstance(values, dict):
        return failed("The program's result is no JSON object with its outputs.")
    for output in outputs:
        if output.name not in values:
            return failed(f"The work ended without its output {output.name}.")
        # outputs carry no limits, and an empty text is one
        lenient = dataclasses.replace(
            output, mandatory=output.kind != "text", low=None, high=None, endings=(), default=""
        )
        try:
            found[output.name] = value = lenient.accept(values[output.name])
        except ServiceError as error:
            return failed("The result is refused. " + error.message.replace("The input", "Its output"))
        if output.kind == "file":
            name = hand_on(value)
            if name is None:
                return failed(f"The file that the output {output.name} names is not in the folder data/ of the job.")
            found[output.name] = name
    return completed(found)


def of_exception(error: BaseException) -> End:
    """The end of work that raised: its own words, without the places of this machine."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = re.sub(r"(?:/[\w.+~@-]+)+/([\w.+~@-]+)", r"\1", " ".join(said.split()))[:500]
    kind = type(error).__name__
    return failed(f"The work failed: {said} ({kind})." if said else f"The work failed ({kind}).")


def signal_name(number: int) -> str:
    """SIGSEGV (11)."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return str(number)

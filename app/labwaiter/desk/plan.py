"""A workflow as its file says it (TOML), checked as far as that can be done before anything is started.

every = 6                                   # seconds between two polls

[[step]]
name = "slice"                              # else the service's own name
wsdl = "http://127.0.0.1:8080/sintef/docker_services/slicer/Slicer?wsdl"
inputs.model = "bracket.stl"

[[step]]
wsdl = "…/printer/Printer?wsdl"
inputs.gcode = "{slice.gcode}"              # an output of an earlier step

[outputs]
printed = "{Printer.result}"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Misconfigured
from ..model import contract
from ..model.parameter import text_of
from ..settings import read_text
from . import lint
from .wsdl import Field, Unreachable, Unreadable, WsdlDescription, read

EVERY = 6.0  # s, as workflow managers poll
_REFERENCE = re.compile(r"\{([A-Za-z_][\w-]*)\.([A-Za-z_][\w-]*)\}")
_HALF = re.compile(r"\{([A-Za-z_][\w-]*)\}")
_WHOLE = ("a whole number", r"[+-]?\d+")
_NUMBER = ("a number", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-?INF|NaN")
_KINDS = {  # what the types are in words, and how XML Schema writes their values
    **dict.fromkeys(("int", "integer", "long", "short"), _WHOLE),
    **dict.fromkeys(("double", "float"), _NUMBER),
    "boolean": ("true or false", "true|false|1|0"),
}
_OURS = ("serviceID", "sessionToken")
_KEYS = {"every", "step", "outputs", "token"}
_STEP_KEYS = {"name", "wsdl", "inputs"}


@dataclass(frozen=True)
class WorkflowStep:
    """A service to run, with its inputs."""

    name: str
    wsdl: str
    inputs: dict[str, str]  # with references to earlier outputs
    described: WsdlDescription
    start: str  # the start operation; a synchronous service's only one
    polled: bool  # whether it is asynchronous


@dataclass(frozen=True)
class Plan:
    """A whole workflow."""

    file: Path
    steps: tuple[WorkflowStep, ...]
    outputs: dict[str, str]
    every: float  # s between two polls


def load(file: Path) -> Plan:
    """The workflow in a file.

    Raises:
        Misconfigured: a mistake in it, in a sentence.
        Unreachable, Unreadable: a WSDL that it names.
    """
    try:
        content = tomllib.loads(read_text(file))
    except FileNotFoundError as error:
        raise Misconfigured(f"{file} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file.name} is no TOML: {error}.") from error
    _known(content, _KEYS, file.name)
    if "token" in content:
        raise Misconfigured(f"{file.name}: a token doesn't belong into a file; give it in $SESSION_TOKEN.")
    every = content.get("every", EVERY)
    if not isinstance(every, (int, float)) or isinstance(every, bool) or not 0.1 <= every <= 3600:
        raise Misconfigured(f"{file.name}: every must be a number of seconds from 0.1 to 3600.")
    step_tables = content.get("step")
    if not isinstance(step_tables, list) or not step_tables or not all(isinstance(step, dict) for step in step_tables):
        raise Misconfigured(f'{file.name} has no step: write [[step]], and below it wsdl = "http://…?wsdl".')
    steps: list[WorkflowStep] = []
    for number, step in enumerate(step_tables, 1):
        steps.append(_step(step, f"{file.name}, step {number}", steps))
    outputs = content.get("outputs", {})
    if not isinstance(outputs, dict):
        raise Misconfigured(f'{file.name}: write [outputs], and below it name = "{{step.output}}".')
    wired = {name: _text(value, f"{file.name}, output {name}") for name, value in outputs.items()}
    for name, text in wired.items():
        _check_references(text, steps, f"{file.name}, output {name}")
    return Plan(file, tuple(steps), wired, float(every))


def _step(content: dict[str, Any], place: str, before: list[WorkflowStep]) -> WorkflowStep:
    _known(content, _STEP_KEYS, place)
    if not isinstance(content.get("wsdl"), str):
        raise Misconfigured(f'{place} names no service: write wsdl = "http://…?wsdl".')
    description = read(content["wsdl"])
    start = lint.start_of(description)
    if start is None:
        raise Unreadable(f"{place}: {content['wsdl']} has no operation to start.")
    name = content.get("name", description.service)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        raise Misconfigured(f"{place}: its name must be letters, digits, _ and -, and begin with a letter.")
    if any(name == step.name for step in before):
        raise Misconfigured(f"{place}: there is a step named {name} already; give this one a name of its own.")
    inputs = content.get("inputs", {})
    if not isinstance(inputs, dict):
        raise Misconfigured(f"{place}: write inputs.name = value.")
    wired = {key: _text(value, f"{place}, input {key}") for key, value in inputs.items()}
    _check_inputs(wired, description, start, place)
    for key, text in wired.items():
        _check_references(text, before, f"{place}, input {key}")
    return WorkflowStep(name, content["wsdl"], wired, description, start, contract.STATUS in description.operations)


def _check_inputs(wired: dict[str, str], description: WsdlDescription, start: str, place: str) -> None:
    fields = description.operations[start].input.fields or ()
    known = [f.name for f in fields if f.name not in _OURS]
    for name in wired:
        if name not in known:
            raise Misconfigured(f"{place}: {start} has no input {name}; its inputs are: {', '.join(known) or 'none'}.")
    for field in fields:
        if field.mandatory and field.name not in wired and field.name not in _OURS:
            raise Misconfigured(f"{place}: the input {field.name} of {start} is missing; write inputs.{field.name} = …")
        text = wired.get(field.name)
        if text is not None and not _REFERENCE.search(text) and (expected := _unlike(text, field)):
            raise Misconfigured(f"{place}: the input {field.name} of {start} must be {expected}, not “{text}”.")


def _unlike(text: str, field: Field) -> str:
    """What a text would have to be for an input; "" where it is that."""
    if field.choices:
        return "" if text in field.choices else f"one of {', '.join(field.choices)}"
    kind, pattern = _KINDS.get(field.type, ("", ""))
    return "" if not kind or re.fullmatch(pattern, text.strip()) else kind


def _check_references(text: str, steps: list[WorkflowStep], place: str) -> None:
    for half in _HALF.findall(text):
        if any(half == step.name for step in steps):
            raise Misconfigured(f"{place}: {{{half}}} names a step; write {{{half}.…}} with the output that is meant.")
    for name, output in references(text):
        step = next((s for s in steps if s.name == name), None)
        if step is None:
            known = ", ".join(s.name for s in steps) or "none"
            raise Misconfigured(f"{place}: there is no earlier step {name}; there are: {known}.")
        outputs = [
            f.name for f in step.described.operations[step.start].output.fields or () if f.name != "status_base64"
        ]
        if output not in outputs:
            raise Misconfigured(
                f"{place}: {name} has no output {output}; its outputs are: {', '.join(outputs) or 'none'}."
            )


def references(text: str) -> Iterator[tuple[str, str]]:
    """The outputs that a text refers to, as step and output."""
    for match in _REFERENCE.finditer(text):
        yield match[1], match[2]


def filled(text: str, outputs: dict[str, dict[str, str]]) -> str:
    """The text with the outputs that it refers to."""
    return _REFERENCE.sub(lambda match: outputs[match[1]][match[2]], text)


def _text(value: Any, place: str) -> str:
    if isinstance(value, (str, int, float)):
        return text_of(value)
    raise Misconfigured(f"{place} must be a text, a number, true or false.")


def _known(content: dict[str, Any], keys: set[str], place: str) -> None:
    for key in content:
        if key not in keys:
            shown = ", ".join(sorted(keys - {"token"}))
            raise Misconfigured(f"{place}: “{key}” is not known here; there are: {shown}.")


__all__ = ["Plan", "WorkflowStep", "Unreachable", "Unreadable", "filled", "load", "references"]

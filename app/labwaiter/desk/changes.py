"""What changed of a service's WSDL for those who have registered it, in words.

Workflows and clients that were made by the WSDL of before call what is served now. Whatever they say that no longer
fits is an error, what goes on and means something else is a warning, and what only came is told as fine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..model.contract import EXTRA_PARAMETERS, RESERVED, STATUS
from .findings import LEVELS, Finding, error, fine, warning
from .lint import start_of
from .wsdl import Field, WsdlDescription, WsdlMessage, WsdlOperation

_BACK = (
    "Callers that have registered it no longer fit: take that back, or offer it as another service beside this one."
    " Once all are registered anew, `labwaiter check --keep` keeps it as it is now."
)
_APPEND = f"Append it instead: clients that toolkits generate go by the order. {_BACK}"
_DEFAULT = f"Give it a default. {_BACK}"
_MEANING = "Their calls go on as they are: see to it that they still mean what they should."
_LOW, _HIGH = ("minInclusive", "minLength"), ("maxInclusive", "maxLength")


def changes(before: WsdlDescription, now: WsdlDescription) -> list[Finding]:
    """What changed, the gravest first; [] where callers can see no difference but other words."""
    found = dict.fromkeys(_changes(before, now))
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _changes(before: WsdlDescription, now: WsdlDescription) -> Iterator[Finding]:
    if before.service != now.service:
        yield error(f"The service is called {now.service}, and was {before.service}.", _BACK)
    if before.namespace != now.namespace:
        yield error(f"Its namespace is {now.namespace}, and was {before.namespace}.", _BACK)
    was, is_now = start_of(before), start_of(now)
    names = dict(zip(before.operations, before.operations, strict=True))
    if was and is_now and was != is_now and is_now not in before.operations and was not in now.operations:
        yield error(f"The start operation is {is_now}, and was {was}.", _BACK)
        names[was] = is_now
    for name, new_name in names.items():
        if new_name not in now.operations:
            yield error(f"The operation {name} is gone.", _BACK)
            continue
        of_start = name == STATUS and was is not None and is_now is not None
        told = (
            of_start
            and _answers(before, STATUS) == _answers(before, was)
            and (_answers(now, STATUS) == _answers(now, is_now))
        )
        yield from _of_operation(before.operations[name], now.operations[new_name], outputs_are_told=told)
    for name in now.operations:
        if name not in names.values():
            yield fine(f"The operation {name} is new.")


def _answers(description: WsdlDescription, operation: str | None) -> tuple[Field, ...] | None:
    return description.operations[operation].output.fields if operation in description.operations else None


def _of_operation(before: WsdlOperation, now: WsdlOperation, outputs_are_told: bool) -> Iterator[Finding]:
    name = now.name
    if (before.style, before.use) != (now.style, now.use):
        yield error(f"{name} is {now.style}/{now.use}, and was {before.style}/{before.use}.", _BACK)
    yield from _of_message("input", before, now, before.input, now.input)
    if not outputs_are_told:
        yield from _of_message("output", before, now, before.output, now.output)
    if before.faults != now.faults:
        told = f"{name} declares {_of_faults(now)}, and declared {_of_faults(before)}."
        yield error(told, _BACK) if before.faults else fine(told)
    if before.unwrapped != now.unwrapped:
        how = "with a parameter for each input" if now.unwrapped else "with its request as a whole"
        yield fine(f"Java's wsimport, run anew, makes {name} {how}; what it made before goes on.")


def _of_faults(operation: WsdlOperation) -> str:
    return " and ".join(f"a fault of {', '.join(fields)}" for fields in operation.faults) or "no fault"


def _of_message(
    direction: str, operation: WsdlOperation, now_operation: WsdlOperation, before: WsdlMessage, now: WsdlMessage
) -> Iterator[Finding]:
    name = now_operation.name
    if before.fields is None or now.fields is None:
        if (before.fields is None) != (now.fields is None) or before.why != now.why:
            yield error(f"The {direction} of {name} is written in another form.", _BACK)
        return
    renamed = operation.name != name  # and its element with it
    if (before.element, before.part) != (now.element, now.part) and not renamed:
        yield error(
            f"The {direction} of {name} is the element {now.element} in the part {now.part}, and was"
            f" {before.element} in {before.part}.",
            _BACK,
        )
    yield from _of_fields(direction, name, before.fields, now.fields)


def _of_fields(direction: str, operation: str, before: Sequence[Field], now: Sequence[Field]) -> Iterator[Finding]:
    old, new = {field.name: field for field in before}, {field.name: field for field in now}
    replacing = set()  # those that stand where one of before is gone
    for place, field in enumerate(before):
        if field.name in new:
            continue
        other = now[place] if place < len(now) and now[place].name not in old else None
        instead = ""
        if other is not None:
            replacing.add(other.name)
            same = "of the same type, " if other.type == field.type else ""
            instead = f"; {other.name}, {same}stands in its place"
        yield error(f"The {direction} {field.name} of {operation} is gone{instead}.", _BACK)
    for place, field in enumerate(now):
        if field.name in old or field.name in replacing:
            continue
        follows = [f.name for f in now[place + 1 :] if f.name in old and f.name != EXTRA_PARAMETERS.name]
        if follows:
            yield error(f"The {direction} {field.name} of {operation} was put in before {follows[0]}.", _APPEND)
        if direction == "input" and field.mandatory:
            yield error(f"The input {field.name} of {operation} is new, and must be given by every caller.", _DEFAULT)
        elif not follows:
            yield fine(f"The {direction} {field.name} of {operation} was appended.")
    common = [name for name in new if name in old]
    now_order = [name for name in common if name not in RESERVED]
    order = [name for name in old if name in now_order]
    if order != now_order:
        yield error(
            f"The {direction}s of {operation} stand in the order {', '.join(now_order)}, and did in"
            f" {', '.join(order)}.",
            _BACK,
        )
    for name in common:
        yield from _of_field(f"The {direction} {name}", old[name], new[name], direction == "input")


def _of_field(subject: str, before: Field, now: Field, is_input: bool) -> Iterator[Finding]:
    if before.type != now.type:
        yield error(f"{subject} is {_type(now)}, and was {_type(before)}.", _BACK)
        return  # its limits and defaults are others' then
    if before.many != now.many:
        yield error(f"{subject} {'may be' if now.many else 'is no longer'} given several times.", _BACK)
    if before.mandatory and not now.mandatory:
        told = f"{subject} may be left out."
        yield fine(told) if is_input else error(told, _BACK)
    elif now.mandatory and not before.mandatory:
        told = f"{subject} can no longer be left out."
        yield error(told, _DEFAULT) if is_input else fine(told)
    yield from _of_choices(subject, before.choices, now.choices, is_input)
    if is_input:
        yield from _of_limits(subject, before.limits, now.limits)
    if now.name not in RESERVED:
        yield from _of_words(subject, before.words, now.words)


def _type(field: Field) -> str:
    return f"xs:{field.type}" if field.type else "a structure"


def _of_choices(subject: str, before: tuple[str, ...], now: tuple[str, ...], is_input: bool) -> Iterator[Finding]:
    gone = [choice for choice in before if choice not in now]
    new = [choice for choice in now if choice not in before]
    if before and not now:
        told = f"{subject} may be any text, and was one of {', '.join(before)}."
        yield fine(told) if is_input else warning(told, _MEANING)
    elif now and not before:
        told = f"{subject} is one of {', '.join(now)}, and was any text."
        yield error(told, _BACK) if is_input else fine(told)
    else:
        if gone:
            told = f"{subject} can no longer be {_either(gone)}."
            yield error(told, _BACK) if is_input else fine(told)
        if new:
            told = f"{subject} may be {_either(new)}, too."
            yield fine(told) if is_input else warning(told, "Clients that toolkits generated may not take that.")


def _either(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _of_limits(subject: str, before: dict[str, str], now: dict[str, str]) -> Iterator[Finding]:
    """Of numbers and lengths: a narrower one refuses what was taken."""
    for facets, words, sign in ((_LOW, "at least", 1), (_HIGH, "at most", -1)):
        for facet in facets:
            was, is_now = before.get(facet), now.get(facet)
            if was == is_now:
                continue
            if is_now is None:
                yield fine(f"{subject} need no longer be {words} {was}.")
                continue
            told = f"{subject} must be {words} {is_now}{f', and was {words} {was}' if was is not None else ''}."
            narrower = was is None or (_number(is_now) - _number(was)) * sign > 0
            yield error(told, _BACK) if narrower else fine(told)
    others = [facet for facet in {**before, **now} if facet not in _LOW + _HIGH and before.get(facet) != now.get(facet)]
    for facet in others:
        yield warning(f"{subject} has another {facet}.", _MEANING)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _of_words(subject: str, before: str, now: str) -> Iterator[Finding]:
    """What stands in the documentation alone: default and unit, as `soap.wsdl` writes them."""
    (rest, default), (now_rest, now_default) = _default(before), _default(now)
    if default is not None and now_default is not None and default != now_default:
        yield warning(f"{subject} is {now_default} where it is left out, and was {default}.", _MEANING)
    unit, now_unit = _unit(rest), _unit(now_rest)
    if unit and now_unit and unit != now_unit:
        yield warning(f"{subject} is in {now_unit}, and was in {unit}.", _MEANING)


def _default(words: str) -> tuple[str, str | None]:
    rest, found, default = words.rpartition("default ")
    return (rest.rstrip("; "), default) if found and (not rest or rest.endswith("; ")) else (words, None)


def _unit(words: str) -> str:
    match = re.fullmatch(r"(?:in|.*\d) (\S.*)", words)
    return match[1] if match else ""

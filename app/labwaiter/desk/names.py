"""What is said of a service's names: some toolkit can't say them, or writes them otherwise.

Which names are refused was tried with the toolkits of docs/toolkits.md (tests/toolkits/test_names.py).
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..model import contract
from ..model.naming import JAVA, alike, languages
from ..model.service import Service
from .findings import Finding, error, warning

# what a toolkit fails on, as tried: name → toolkit
_MACROS = ("EOF", "WEOF", "BUFSIZ", "NAN", "unix", "linux", *errno.errorcode.values())  # of C's headers and compilers
_REFUSED_FIELDS = {"await": "Mono (C#)", **dict.fromkeys(_MACROS, "gSOAP (C++)")}
_REFUSED_OPERATIONS = dict.fromkeys(("then", "toString", "constructor", "hasOwnProperty"), "node soap")
_REFUSED_SERVICES: dict[str, str] = {}


FAULT = "ServiceFault"  # the message of every fault of ours


def of_service(
    name: str,
    operations: Mapping[str, tuple[Collection[str], Collection[str]]],
    nillable: Collection[tuple[str, str]] = (),
) -> Iterator[Finding]:
    """What is wrong with the names of a service.

    Args:
        name: the service's.
        operations: operation → the names of its inputs and of its outputs.
        nillable: operation and name of each input that may be left out and may be nil.
    """
    if name in _REFUSED_SERVICES:
        yield error(f"The service's name {name} is refused by {_REFUSED_SERVICES[name]}.", "Choose another name.")
    else:
        yield from _reserved(name, f"The service's name {name}")
    for operation, (inputs, outputs) in operations.items():
        yield from _of_operation(name, operation)
        for direction, fields in (("input", inputs), ("output", outputs)):
            yield from _twins(fields, f"The {direction}s")
            for field in fields:
                if field in _REFUSED_FIELDS:
                    yield error(
                        f"The {direction} {field} of {operation} is refused by {_REFUSED_FIELDS[field]}.",
                        "Choose another name.",
                    )
                else:
                    yield from _reserved(field, f"The {direction} {field}")
    answers = [f"{operation}Response" for operation in operations]
    yield from _twins([FAULT, *operations, *answers], "The messages")
    made = {alike(message): message for message in (FAULT, *operations, *answers)}
    for operation, field in nillable:
        if message := made.get(alike(operation + field)):
            yield error(
                f"The input {field} of {operation} is refused by JAX-WS RI (Java), as long as it may be left out.",
                f"Choose another name: it makes one method of {operation} with {field} and of the message {message}.",
            )


def of_offered(service: Service, known: Iterable[Service]) -> list[Finding]:
    """What is wrong with the names of a service of ours. What would be refused, but callers know, is only told.

    Args:
        known: the service as callers may know it, from executions that were started with it.
    """
    problems = list(dict.fromkeys(_of_signature(service)))
    refused = {problem for problem in problems if problem.level == "error"}
    for signature in known if refused else ():
        refused -= set(_of_signature(signature))
        if not refused:
            break
    served = "Executions were started with it, so callers know it: it goes on being served."
    return [
        warning(problem.what, served) if problem.level == "error" and problem not in refused else problem
        for problem in problems
    ]


def _of_signature(service: Service) -> Iterator[Finding]:
    return of_service(service.name, contract.names_of(service.operations), contract.nillable(service.operations))


def _of_operation(service: str, operation: str) -> Iterator[Finding]:
    if operation == service:
        yield error(
            f"The operation {operation} is named as its service.",
            f"Name it start{service}: node's client has the service itself under that name.",
        )
    elif operation in _REFUSED_OPERATIONS:
        yield error(
            f"The operation's name {operation} is refused by {_REFUSED_OPERATIONS[operation]}.", "Choose another name."
        )
    elif operation in JAVA:
        yield error(f"The operation's name {operation} is refused by JAX-WS RI (Java).", "Choose another name.")
    else:
        yield from _reserved(operation, f"The operation's name {operation}")


def _reserved(name: str, subject: str) -> Iterator[Finding]:
    if reserving := languages(name):
        yield warning(
            f"{subject} is a reserved word of {', '.join(reserving)}.",
            "Choose another name, if callers don't know it yet: toolkits there write it otherwise.",
        )


def _twins(names: Collection[str], subject: str) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in names:
        if twin := first.get(alike(name)):
            difference = "are the same" if twin == name else "differ only in case or _"
            yield error(
                f"{subject} {twin} and {name} {difference}.",
                "Name one of them otherwise: Java's wsimport makes one of both, and refuses the WSDL.",
            )
        first.setdefault(alike(name), name)

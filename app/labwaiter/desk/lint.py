"""Will a workflow editor take this service? The contract's rules, over any WSDL.

The contract of asynchronous services is the one of CAxMan, CloudFlow and SemWES; the rest is what
their editors and the usual toolkits (JAX-WS, gSOAP, zeep, node) stumble over.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from .. import proxy
from ..model import contract
from ..model.contract import ABORT, NOTIFY, STATUS
from ..model.naming import JAVA, alike
from . import names
from .fetch import SECONDS, why
from .findings import Finding, error, warning
from .wsdl import Field, WsdlDescription, WsdlOperation

_INPUTS = {operation.name: operation.names()[0] for operation in contract.OF_EVERY_SERVICE}
KNOWN = ("string", "int", "integer", "long", "short", "double", "float", "decimal", "boolean")
PLAIN = ("string", "int", "double", "boolean")


def start_of(description: WsdlDescription) -> str | None:
    """The name of its start operation; None where there is none."""
    candidates = [n for n in description.operations if n not in (STATUS, ABORT, NOTIFY)]
    named = [n for n in candidates if any(f.name == "serviceID" for f in description.operations[n].input.fields or ())]
    return next(iter(named or candidates), None)


def lint(description: WsdlDescription) -> list[Finding]:
    """All that is wrong with a service, the gravest first."""
    findings = [*_frame(description), *_address(description)]
    for operation in description.operations.values():
        findings += _form(operation)
    findings += _contract(description)
    findings += of_names(description)
    return sorted(dict.fromkeys(findings), key=lambda f: f.level != "error")


def of_names(description: WsdlDescription) -> list[Finding]:
    """What is wrong with the names of a service."""
    messages = {
        name: (
            [field.name for field in operation.input.fields or ()],
            [field.name for field in operation.output.fields or ()],
        )
        for name, operation in description.operations.items()
    }
    nillable = [
        (name, field.name)
        for name, operation in description.operations.items()
        for field in operation.input.fields or ()
        if field.nillable and not field.mandatory
    ]
    return list(dict.fromkeys(names.of_service(description.service, messages, nillable)))


def _frame(d: WsdlDescription) -> Iterator[Finding]:
    if ":" not in d.namespace:
        yield error(
            f"The target namespace “{d.namespace}” is no absolute address.",
            "Give the service one like http://your.company/service/.",
        )
    for sentence in d.unresolved:
        yield error(sentence, "Put it where it is said to be, or write all of it into one document.")
    if d.services == 0:
        yield error(
            "It has no service, so it says no address.", "Give it a service with a port for SOAP 1.1, and its address."
        )
    elif not d.addresses and d.soap12_ports:
        yield error("It speaks SOAP 1.2 only.", "Give it a port for SOAP 1.1, which workflow managers speak.")
    elif not d.addresses:
        yield error("It has no port for SOAP.", "Give it one for SOAP 1.1, which workflow managers speak.")
    if d.services > 1 or len(d.addresses) > 1:
        of_them = f", of which {', '.join(d.ports)} have different operations" if len(d.ports) > 1 else ""
        which = f"that of {d.ports[0]} is looked at here" if d.ports else "the first is looked at here"
        yield warning(
            f"It has {d.services} service{'s' * (d.services > 1)} with {len(d.addresses)} ports for SOAP 1.1{of_them};"
            f" {which}.",
            "Give each service a WSDL of its own, with one port: editors take the first.",
        )
    if d.soap12_ports and d.addresses:
        yield warning(
            "It has a port for SOAP 1.2, too.", "Leave it out: some toolkits choose it, and the portal doesn't."
        )
    elif d.soap12_named and d.addresses:
        yield warning(
            "It declares the name space of SOAP 1.2 without using it.",
            "Leave the declaration out: gSOAP speaks SOAP 1.2 where it sees it.",
        )


def _address(d: WsdlDescription) -> Iterator[Finding]:
    if not d.addresses:
        return
    stated, fetched = urlsplit(d.addresses[0]), urlsplit(d.url)
    if stated.scheme not in ("http", "https"):
        yield error(
            f"Its address “{d.addresses[0]}” is none that can be called.", "Have it begin with http:// or https://."
        )
        return
    if fetched.scheme in ("http", "https") and _place(stated) != _place(fetched):
        yield error(
            f"It says that it is at {d.addresses[0]}, but was fetched from {d.url}.",
            "Have it say the public address (in labwaiter: PUBLIC_URL, or TRUSTED_PROXIES and X-Forwarded-Host);"
            " workflow managers call what it says.",
        )
    if reason := unreachable(d.addresses[0]):
        yield error(
            f"Its address {d.addresses[0]} can't be reached{proxy.mention(d.addresses[0])}: {reason}.",
            "Start the service, or correct its address.",
        )


def _place(address: SplitResult) -> tuple[str, str | None, int | None, str]:
    """What of an address must agree; it may write the usual port or leave it out."""
    try:
        port = address.port
    except ValueError:
        port = -1
    usual = {"http": 80, "https": 443}.get(address.scheme)
    return address.scheme, address.hostname, port or usual, address.path.removesuffix(".wsdl").rstrip("/")


def unreachable(address: str) -> str | None:
    """Why nobody answers at an address; None where somebody does, whatever the answer."""
    try:
        with proxy.open_url(urllib.request.Request(address, method="HEAD"), SECONDS):
            return None
    except urllib.error.HTTPError as answer:
        if answer.code in (502, 504):
            proxy_name = proxy.mention(address).removeprefix(" through ") or "the proxy in front of it"
            return f"{proxy_name} finds nobody (HTTP {answer.code})"
        return "nothing is there (HTTP 404)" if answer.code == 404 else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return why(error)


def _form(operation: WsdlOperation) -> Iterator[Finding]:
    name = operation.name
    if operation.style != "document" or operation.use != "literal":
        yield error(f"{name} is {operation.style}/{operation.use}.", "Make it document/literal wrapped.")
        return
    for message, direction in ((operation.input, "input"), (operation.output, "output")):
        if message.fields is None:
            yield error(
                f"The {direction} of {name} isn't document/literal wrapped: {message.why}.",
                "Give its message one part that names one element with a sequence of its own.",
            )
        elif message.part != "parameters":
            yield warning(
                f"The part of the {direction} of {name} is named “{message.part}”.",
                "Name it parameters: some toolkits only then unwrap it.",
            )
        for field in message.fields or ():
            yield from _field(field, direction, name)
    if operation.input.fields is not None and operation.input.element != name:
        yield warning(
            f"The element of {name} is named {operation.input.element}.", f"Name it {name}, as wrapped style asks."
        )
    if operation.headers:
        yield warning(
            f"{name} asks for the SOAP header {' and '.join(operation.headers)}.",
            "Make it an input of the call: workflow managers send no headers.",
        )
    if not operation.faults:
        yield warning(
            f"{name} declares no fault.",
            "Declare one (in labwaiter: ServiceFault), so that Java, .NET and C++ raise a typed exception.",
        )
    elif not any({"errorCode", "description"} <= set(names) for names in operation.faults):
        yield warning(
            f"No fault of {name} has errorCode and description.",
            "Declare one with both, as text: they are what workflow managers show of it.",
        )
    if operation.unwrapped:
        yield from _java_s_parameters(operation)


def _java_s_parameters(operation: WsdlOperation) -> Iterator[Finding]:
    """wsimport makes parameters of a wrapped operation's inputs and outputs, all in one list."""
    inputs = {alike(f.name): f for f in operation.input.fields or ()}
    for direction, fields in (("input", operation.input.fields), ("output", operation.output.fields)):
        for field in fields or ():
            if field.name in JAVA:
                yield error(
                    f"The {direction} {field.name} of {operation.name} is a word of Java's, and its wsimport refuses"
                    " it.",
                    "Choose another name, or write <jaxws:enableWrapperStyle>false</…> to the operation's portType.",
                )
            twin = inputs.get(alike(field.name)) if direction == "output" else None
            if twin is None or (twin.name, twin.type, twin.nillable, twin.mandatory) == (
                field.name,
                field.type,
                field.nillable,
                field.mandatory,
            ):
                continue
            named = f"named {field.name}" if twin.name == field.name else f"named {twin.name} and {field.name}"
            yield error(
                f"{operation.name} has an input and an output {named} that differ.",
                "Name the output otherwise: Java's wsimport takes both for one parameter and refuses them.",
            )


def _field(field: Field, direction: str, operation: str) -> Iterator[Finding]:
    subject = f"The {direction} {field.name} of {operation}"
    if field.many:
        yield error(f"{subject} may come many times.", "Make it a text: workflow editors know no lists.")
    if field.type not in KNOWN:
        kind = f"xs:{field.type}" if field.type else "a structure"
        yield error(
            f"{subject} is {kind}.", "Use xs:string, xs:int, xs:double or xs:boolean: workflow editors know no other."
        )
    elif field.type not in PLAIN:
        is_integer = field.type in ("integer", "long", "short")
        better = "xs:int (in Spyne: Integer32)" if is_integer else "xs:double"
        yield warning(f"{subject} is xs:{field.type}.", f"Use {better}: Java makes an awkward class of the other.")
    if direction == "input" and field.mandatory and field.nillable:
        yield warning(
            f"{subject} must come, but may be nil.",
            "Let it be mandatory and not nillable, or minOccurs 0 and nillable.",
        )


def _contract(d: WsdlDescription) -> Iterator[Finding]:
    start = start_of(d)
    if STATUS not in d.operations:
        if start is None:
            if not d.unresolved:  # where something is missing, nobody knows
                yield error("It has no operation.", "Give it a start operation and getServiceStatus.")
        else:
            yield warning(
                f"It has no {STATUS}, so it is a synchronous service: {', '.join(d.operations)}.",
                "That is right for what takes less than a few seconds; else make it asynchronous.",
            )
        return
    if start is None:
        yield error("It has no start operation.", "Give it one, with serviceID and sessionToken as its first inputs.")
        return
    more = [n for n in d.operations if n not in (start, STATUS, ABORT, NOTIFY)]
    if more:
        yield warning(f"Besides {start} it has {', '.join(more)}.", "Give each start operation a service of its own.")
    started, polled = d.operations[start], d.operations[STATUS]
    yield from _begins(started, _INPUTS[STATUS])
    yield from _begins(polled, _INPUTS[STATUS], only=True)
    inputs = [f.name for f in started.input.fields or ()]
    if "extraParameters" in inputs:
        extra = next(f for f in started.input.fields or () if f.name == "extraParameters")
        if inputs[-1] != "extraParameters" or extra.mandatory:
            yield warning(
                f"extraParameters of {start} isn't its last, optional input.", "Put it last, with minOccurs 0."
            )
    outputs = [(f.name, f.type) for f in started.output.fields or ()]
    readable = started.output.fields is not None and polled.output.fields is not None
    if readable and outputs != [(f.name, f.type) for f in polled.output.fields or ()]:
        yield error(
            f"The outputs of {start} and {STATUS} differ.",
            f"Give both the same, in the same order: {', '.join(n for n, _ in outputs) or 'status_base64, …'}.",
        )
    if started.output.fields is None:
        pass
    elif not outputs or outputs[0][0] != "status_base64":
        yield error(f"The first output of {start} isn't status_base64.", "Put it first: the portal shows it.")
    elif outputs[0][1] != "string":
        yield error(f"status_base64 is xs:{outputs[0][1]}.", "Make it xs:string: it also says COMPLETED and UNCHANGED.")
    if ABORT not in d.operations:
        yield warning(
            f"It has no {ABORT}.", "Add it, with serviceID and sessionToken, and success (boolean) as its output."
        )
    else:
        yield from _begins(d.operations[ABORT], _INPUTS[ABORT], only=True)
        yield from _gives(d.operations[ABORT], "success", "boolean")
    if NOTIFY not in d.operations:
        yield warning(
            f"It has no {NOTIFY}.", "Add it, with sessionToken, serviceID and message, and response as its output."
        )
    else:
        yield from _begins(d.operations[NOTIFY], _INPUTS[NOTIFY], only=True)
        yield from _gives(d.operations[NOTIFY], "response", "string")


def _begins(operation: WsdlOperation, names: tuple[str, ...], only: bool = False) -> Iterator[Finding]:
    if operation.input.fields is None:
        return  # told already
    fields = {f.name: f for f in operation.input.fields or ()}
    expected = ", ".join(names)
    missing = [n for n in names if n not in fields]
    if missing:
        yield error(f"{operation.name} has no input {' and '.join(missing)}.", f"Its inputs begin with {expected}.")
    elif list(fields)[: len(names)] != list(names) or (only and len(fields) > len(names)):
        extra = "are" if only else "begin with"
        yield warning(f"The inputs of {operation.name} are {', '.join(fields)}.", f"The contract's {extra} {expected}.")
    for name in names:
        field = fields.get(name)
        if field is not None and (not field.mandatory or field.nillable):
            yield warning(
                f"{name} of {operation.name} isn't mandatory.",
                "Give it minOccurs 1, and don't let it be nil (in Spyne: Unicode(min_occurs=1, nillable=False)).",
            )
        if field is not None and field.type != "string":
            yield error(f"{name} of {operation.name} is xs:{field.type}.", "Make it xs:string.")


def _gives(operation: WsdlOperation, name: str, kind: str) -> Iterator[Finding]:
    if operation.output.fields is None:
        return
    if [(f.name, f.type) for f in operation.output.fields or ()] != [(name, kind)]:
        yield warning(
            f"{operation.name} doesn't give {name} ({kind}) alone.", f"Make {name}, xs:{kind}, its one output."
        )

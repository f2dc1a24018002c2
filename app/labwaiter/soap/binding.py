"""Spyne: the service's classes for its WSDL, and the form of its answers.

What a call holds was read and judged at the door (Spyne takes ``1_0`` and ``٣`` for integers), and no call is parsed a
second time: Spyne writes each operation's answer once, with signs where its texts stand, and what is answered goes
between the pieces (tests/soap/test_answers_form.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spyne.application import Application
from spyne.context import MethodContext
from spyne.decorator import srpc
from spyne.model.primitive import Boolean, Double, Integer32, Unicode
from spyne.protocol.soap import Soap11
from spyne.server._base import ServerBase
from spyne.service import ServiceBase

from ..model.contract import STATUS_PAGE, Operation
from ..model.parameter import Parameter
from ..model.service import Service
from .faults import carried, escaped

_TYPES = {
    "text": Unicode,
    "file": Unicode,
    "instrument": Unicode,
    "int": Integer32,
    "float": Double,
    "boolean": Boolean,
}
_SIGN = "labwaiter-text-{}-here"


class Loopless(ServerBase):  # type: ignore[misc]
    """A Spyne server without a wire: we are its wire."""

    transport = "http://schemas.xmlsoap.org/soap/http"


class Answers:
    """The answers of a service's operations."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server = Loopless(application(service, typed=False))
        self._pieces = {name: self._cut(operation) for name, operation in service.operations.items()}

    def envelope(self, operation: str, texts: Sequence[str]) -> bytes:
        """The answer of an operation whose outputs have these texts."""
        first, *others = self._pieces[operation]
        outputs = self._service.operations[operation].outputs
        parts = [first]
        for output, text, piece in zip(outputs, texts, others, strict=True):
            parts += [(text if output is STATUS_PAGE else escaped(text)).encode(), piece]  # the page is long
        return b"".join(parts)

    def written(self, operation: str, texts: Sequence[str]) -> bytes:
        """The same, written by Spyne."""
        context = MethodContext(self._server, MethodContext.SERVER)
        context.method_request_string = f"{{{self._service.namespace}}}{operation}"
        (context,) = self._server.app.in_protocol.generate_method_contexts(context)
        context.out_object = [carried(text) for text in texts]
        self._server.get_out_string(context)
        return b"".join(context.out_string)

    def _cut(self, operation: Operation) -> list[bytes]:
        signs = [_SIGN.format(number) for number in range(len(operation.outputs))]
        rest, pieces = self.written(operation.name, signs), []
        for sign in signs:
            piece, _, rest = rest.partition(sign.encode())
            pieces.append(piece)
        return [*pieces, rest]


def application(service: Service, typed: bool) -> Application:
    """The Spyne application of a service.

    Args:
        typed: with real types, for its WSDL; else every value is a text, as for its answers.
    """
    methods = {name: _method(operation, service, typed) for name, operation in service.operations.items()}
    spoken = type(service.name, (ServiceBase,), methods)
    return Application(
        [spoken],
        tns=service.namespace,
        name=service.name,
        in_protocol=Soap11(parse_xsi_type=False),
        out_protocol=Soap11(),
    )


def _method(operation: Operation, service: Service, typed: bool) -> Any:
    inputs, outputs = operation.names()
    if typed:
        types, returns = [_typed(p) for p in operation.inputs], [_output(p) for p in operation.outputs]
    else:
        types, returns = [Unicode] * len(inputs), [Unicode(min_occurs=1)] * len(outputs)

    def method(*values: str) -> Any:
        raise NotImplementedError  # nothing is carried out by Spyne

    method.__name__ = operation.name
    method.__doc__ = operation.words
    return srpc(
        *types,
        _args=list(inputs),
        _returns=returns if len(returns) > 1 else returns[0],
        **({"_out_variable_names": list(outputs)} if len(outputs) > 1 else {"_out_variable_name": outputs[0]}),
    )(method)


def _typed(parameter: Parameter) -> Any:
    """An input as the WSDL shows it, limits and all."""
    facets: dict[str, Any] = {"min_occurs": 1, "nillable": False}
    if not parameter.mandatory:
        facets = {"min_occurs": 0, "nillable": True}
    if parameter.choices:
        facets["values"] = list(parameter.choices)
    elif parameter.kind == "text":
        facets |= _given(min_len=parameter.low or None, max_len=parameter.high)
    elif parameter.kind in ("int", "float"):
        facets |= _given(ge=_facet(parameter, parameter.low), le=_facet(parameter, parameter.high))
    return _TYPES[parameter.kind].customize(**facets)


def _output(parameter: Parameter) -> Any:
    """An output as the WSDL shows it: its type, without limits."""
    facets: dict[str, Any] = {"min_occurs": 1, "nillable": False}
    if parameter.choices:
        facets["values"] = list(parameter.choices)
    return _TYPES[parameter.kind].customize(**facets)


def _facet(parameter: Parameter, value: float | None) -> float | int | None:
    if value is None or math.isinf(value):
        return None
    return int(value) if parameter.kind == "int" else value


def _given(**facets: Any) -> dict[str, Any]:
    return {name: value for name, value in facets.items() if value is not None}

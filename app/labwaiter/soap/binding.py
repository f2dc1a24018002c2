"""Spyne: the service's classes, the carrying out of a call, and the form of its answer.

For carrying out, every input and output is a text to Spyne: what a value may be is judged by
`parameter`, for Spyne takes ``1_0`` and ``٣`` for integers. For the WSDL the types are real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lxml import etree
from spyne.application import Application
from spyne.context import MethodContext
from spyne.decorator import srpc
from spyne.model.fault import Fault
from spyne.model.primitive import Boolean, Double, Integer32, Unicode
from spyne.protocol.soap import Soap11
from spyne.server._base import ServerBase
from spyne.service import ServiceBase

from ..errors import ServiceError
from ..parameter import Parameter
from ..service import Service
from .faults import SOAP_11, carried
from .operations import ABORT, NOTIFY, signatures

_TYPES = {
    "text": Unicode,
    "file": Unicode,
    "instrument": Unicode,
    "int": Integer32,
    "float": Double,
    "boolean": Boolean,
}
CarryOut = Callable[[str, dict[str, str | None]], list[str]]  # operation, its texts → outputs' texts
_XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


class Raised(Fault):  # type: ignore[misc]
    """One of our errors on its way through Spyne."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(f"{error.side}.{error.code}", error.message)
        self.error = error


class Loopless(ServerBase):  # type: ignore[misc]
    """A Spyne server without a wire: we are its wire."""

    transport = "http://schemas.xmlsoap.org/soap/http"


class Binding:
    """One service as Spyne carries it out."""

    def __init__(self, service: Service, carry_out: CarryOut) -> None:
        self.service = service
        self._server = Loopless(application(service, carry_out))

    def answer(self, operation: str, texts: dict[str, str | None]) -> bytes:
        """Carry a call out and write its answer's envelope.

        Raises:
            ServiceError: what the caller is told instead.
        """
        context = MethodContext(self._server, MethodContext.SERVER)
        context.in_string = [self._envelope(operation, texts)]
        context = self._server.generate_contexts(context)[0]
        if context.in_error is None:
            self._server.get_in_object(context)
        if context.in_error is None:
            self._server.get_out_object(context)
        error = context.in_error or context.out_error
        if isinstance(error, Raised):
            raise error.error
        if error is not None:
            raise RuntimeError(f"Spyne: {error}")  # nothing that a caller could have done passes the door
        self._server.get_out_string(context)
        return b"".join(context.out_string)

    def _envelope(self, operation: str, texts: dict[str, str | None]) -> bytes:
        """The call as the door understood it, in the plainest form there is."""
        tns = self.service.namespace
        envelope = etree.Element(f"{{{SOAP_11}}}Envelope", nsmap={"s": SOAP_11, "t": tns})
        call = etree.SubElement(etree.SubElement(envelope, f"{{{SOAP_11}}}Body"), f"{{{tns}}}{operation}")
        for name, text in texts.items():
            child = etree.SubElement(call, f"{{{tns}}}{name}")
            if text is None:
                child.set(_XSI_NIL, "true")
            else:
                child.text = carried(text)
        written: bytes = etree.tostring(envelope, encoding="UTF-8")
        return written


def application(service: Service, carry_out: CarryOut | None) -> Application:
    """The Spyne application of a service: typed, for its WSDL, or of texts, for carrying out.

    Args:
        carry_out: who carries calls out; None for the WSDL's.
    """
    methods = {
        name: _method(name, inputs, outputs, service, carry_out)
        for name, (inputs, outputs) in signatures(service).items()
    }
    spoken = type(service.name, (ServiceBase,), methods)
    return Application(
        [spoken],
        tns=service.namespace,
        name=service.name,
        in_protocol=Soap11(parse_xsi_type=False),
        out_protocol=Soap11(),
    )


def _method(
    name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], service: Service, carry_out: CarryOut | None
) -> Any:
    if carry_out is None:
        known = {p.name: p for p in service.inputs}
        results = {p.name: p for p in service.outputs}
        types = [_typed(known.get(i, Parameter(i, "text", mandatory=i != "extraParameters"))) for i in inputs]
        returns = [
            Boolean(min_occurs=1, nillable=False) if name == ABORT else _output(results.get(o, Parameter(o, "text")))
            for o in outputs
        ]
    else:
        types, returns = [Unicode] * len(inputs), [Unicode(min_occurs=1)] * len(outputs)

    def method(*values: str | None) -> Any:
        assert carry_out is not None
        try:
            texts = carry_out(name, dict(zip(inputs, values, strict=True)))
        except ServiceError as error:
            raise Raised(error) from error
        answer = [carried(text) for text in texts]
        return answer if len(answer) > 1 else answer[0]

    method.__name__ = name
    method.__doc__ = _doc(name, service)
    return srpc(
        *types,
        _args=list(inputs),
        _returns=returns if len(returns) > 1 else returns[0],
        **({"_out_variable_names": list(outputs)} if len(outputs) > 1 else {"_out_variable_name": outputs[0]}),
    )(method)


def _doc(operation: str, service: Service) -> str:
    return {
        service.operation: service.doc or f"Start an execution of {service.name}.",
        ABORT: "Stop an execution: true once it is gone, false if it will be; then ask again.",
        NOTIFY: "Send a message to an execution: its reply, or the message's number.",
    }.get(operation, "The status page of an execution in base64, UNCHANGED, or COMPLETED with the outputs.")


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
    return int(value) if value is not None and parameter.kind == "int" else value


def _given(**facets: Any) -> dict[str, Any]:
    return {name: value for name, value in facets.items() if value is not None}

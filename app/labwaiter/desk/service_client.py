"""Calling one service by its WSDL, as a workflow manager does, by suds."""

from __future__ import annotations

from typing import Any

import suds
import suds.transport

from .. import proxy, suds_client
from ..model.parameter import text_of
from .fetch import why

SECONDS = 30.0  # a workflow manager gives up between 10 and 30 s
_NO_USE = (suds.TypeNotFound, suds.MethodNotFound, suds.PortNotFound, suds.ServiceNotFound, suds.BuildError)


class CallRefused(Exception):
    """The service answered with a fault; the message is its code and sentence."""


class Away(Exception):
    """The service doesn't answer now; the message says why. It may, in a while."""


class ServiceClient:
    """A service, called by what its WSDL says."""

    def __init__(self, wsdl: str) -> None:
        try:
            client = suds_client.connected(wsdl, SECONDS)
        except Exception as error:
            raise _judged(error, wsdl) from error
        self._service = client.service
        ports = [port for definition in client.sd for port in definition.ports]
        self._address = str(ports[0][0].location or wsdl) if ports else wsdl

    def call(self, operation: str, inputs: dict[str, str]) -> dict[str, str]:
        """The outputs of an operation by name, as texts. Raises CallRefused or Away."""
        try:
            result = getattr(self._service, operation)(**inputs)
        except Exception as error:
            raise _judged(error, self._address) from error
        if isinstance(result, suds.sudsobject.Object):
            return {name: _text(value) for name, value in suds.sudsobject.asdict(result).items()}
        return {"": _text(result)}  # of one output suds gives the value alone


def _judged(error: Exception, address: str) -> CallRefused | Away:
    """What an exception of suds means that a call to this address ended with.

    It has no tree of them: a status other than 500 is a plain Exception((502, "Bad Gateway")), and
    what the XML parser or http.client raise comes through as it is.
    """
    if isinstance(error, suds.WebFault):
        detail = getattr(getattr(error.fault, "detail", None), "ServiceFault", None)
        code = getattr(detail, "errorCode", None) or str(error.fault.faultcode).rpartition(":")[2]
        return CallRefused(f"{code}: {getattr(detail, 'description', None) or error.fault.faultstring}")
    if isinstance(error, _NO_USE):
        return CallRefused(f"its WSDL can't be used: {error}")
    if isinstance(error, suds.transport.TransportError):
        return Away(f"HTTP {error.httpcode}{proxy.mention(address)}")
    if isinstance(error, OSError):
        return Away(f"{why(error)}{proxy.mention(address)}")
    if error.args and isinstance(error.args[0], tuple):
        return Away(f"HTTP {error.args[0][0]}{proxy.mention(address)}")
    return Away(f"its answer is no SOAP ({type(error).__name__})")


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)

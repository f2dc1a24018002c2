"""Calling one service by its WSDL, as a workflow manager does, by suds."""

from __future__ import annotations

import logging
from typing import Any

import suds
import suds.client
import suds.transport

from .fetch import why
from .wsdl import lexical

SECONDS = 30.0  # a workflow manager gives up between 10 and 30 s
_NO_USE = (suds.TypeNotFound, suds.MethodNotFound, suds.PortNotFound, suds.ServiceNotFound, suds.BuildError)


class Refused(Exception):
    """The service answered with a fault; the message is its code and sentence."""


class Away(Exception):
    """The service doesn't answer now; the message says why. It may, in a while."""


class Caller:
    """One service."""

    def __init__(self, wsdl: str) -> None:
        logging.getLogger("suds").setLevel(logging.CRITICAL + 1)
        try:
            self._service = suds.client.Client(wsdl, cache=None, timeout=SECONDS).service
        except Exception as error:
            raise _judged(error) from error

    def call(self, operation: str, inputs: dict[str, str]) -> dict[str, str]:
        """The outputs of an operation by name, as texts. Raises Refused or Away."""
        try:
            found = getattr(self._service, operation)(**inputs)
        except Exception as error:
            raise _judged(error) from error
        if isinstance(found, suds.sudsobject.Object):
            return {name: _text(value) for name, value in suds.sudsobject.asdict(found).items()}
        return {"": _text(found)}  # of one output suds gives the value alone


def _judged(error: Exception) -> Refused | Away:
    """What an exception of suds means.

    It has no tree of them: a status other than 500 is a plain Exception((502, "Bad Gateway")), and
    what the XML parser or http.client raise comes through as it is.
    """
    if isinstance(error, suds.WebFault):
        detail = getattr(getattr(error.fault, "detail", None), "ServiceFault", None)
        code = getattr(detail, "errorCode", None) or str(error.fault.faultcode).rpartition(":")[2]
        return Refused(f"{code}: {getattr(detail, 'description', None) or error.fault.faultstring}")
    if isinstance(error, _NO_USE):
        return Refused(f"its WSDL can't be used: {error}")
    if isinstance(error, suds.transport.TransportError):
        return Away(f"HTTP {error.httpcode}")
    if isinstance(error, OSError):
        return Away(why(error))
    if error.args and isinstance(error.args[0], tuple):
        return Away(f"HTTP {error.args[0][0]}")
    return Away(f"its answer is no SOAP ({type(error).__name__})")


def _text(value: Any) -> str:
    return "" if value is None else lexical(value)

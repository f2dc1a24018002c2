"""Calling one service by its WSDL, as a workflow manager does, by suds."""

from __future__ import annotations

import logging
import urllib.error
from typing import Any

import suds
import suds.client
import suds.transport

SECONDS = 30.0  # a workflow manager gives up between 10 and 30 s


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
        except suds.transport.TransportError as error:
            raise Away(f"{wsdl} answers with HTTP {error.httpcode}") from error
        except OSError as error:
            raise Away(f"{wsdl} can't be reached: {_words(error)}") from error

    def call(self, operation: str, inputs: dict[str, str]) -> dict[str, str]:
        """The outputs of an operation by name, as texts. Raises Refused or Away."""
        try:
            found = getattr(self._service, operation)(**inputs)
        except suds.WebFault as error:
            detail = getattr(getattr(error.fault, "detail", None), "ServiceFault", None)
            code = getattr(detail, "errorCode", None) or str(error.fault.faultcode).rpartition(":")[2]
            raise Refused(f"{code}: {getattr(detail, 'description', None) or error.fault.faultstring}") from error
        except suds.transport.TransportError as error:
            raise Away(f"HTTP {error.httpcode}") from error
        except OSError as error:
            raise Away(_words(error)) from error
        if isinstance(found, suds.sudsobject.Object):
            return {name: _text(value) for name, value in suds.sudsobject.asdict(found).items()}
        return {"": _text(found)}  # of one output suds gives the value alone


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _words(error: OSError) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(getattr(reason, "strerror", None) or reason)

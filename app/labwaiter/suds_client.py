"""A suds client of a SOAP service: through the environment's proxies, without suds' cache and log."""

from __future__ import annotations

import logging
from typing import Any

import suds.client
import suds.transport.http

from . import proxy


class Transport(suds.transport.http.HttpTransport):  # type: ignore[misc]
    """suds' own, through those proxies: by itself it knows none."""

    def u2handlers(self) -> list[Any]:
        """The handlers of the opener that suds makes."""
        return [proxy.Proxies()]


def connected(wsdl: str, seconds: float) -> Any:
    """A suds.client.Client of what a WSDL describes, for one thread at a time. Raises what suds raises, of all kinds.

    Args:
        seconds: that each wait for the network may take.
    """
    logging.getLogger("suds").setLevel(logging.CRITICAL + 1)  # it logs whole envelopes, and so tokens
    # suds' own cache would be a file in /tmp, by pickle
    return suds.client.Client(wsdl, cache=None, timeout=seconds, transport=Transport(timeout=seconds))

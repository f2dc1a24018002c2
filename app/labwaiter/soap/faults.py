"""The fault's envelope: one declared element in <detail>, so that callers can raise a typed exception.

SOAP 1.1, section 4.4. The same bytes for every operation and from every part of this face.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import errors
from ..errors import Incident, InvalidParameter, ServiceError

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
XML_TYPE = "text/xml; charset=utf-8"
FAULT = "ServiceFault"
MUST_UNDERSTAND = "MustUnderstand"  # the faultcode
# what XML 1.0 can't carry, in any spelling (section 2.2)
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: str  # "200 OK"
    body: bytes
    kind: str = XML_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    operation: str = ""  # that was carried out: `contract.Operation.method`
    fault: tuple[str, str] | None = None  # that it is: code and reason

    def http_headers(self) -> list[tuple[str, str]]:
        """All of them, as WSGI takes them."""
        return [("Content-Type", self.kind), ("Content-Length", str(len(self.body))), *self.headers]


def of_poll(body: bytes) -> Answer:
    """The answer to a poll that was carried out."""
    return Answer("200 OK", body, operation="status")


class Refused(Exception):
    """A request that gets no operation: the fault, and its own faultcode where SOAP asks for one."""

    def __init__(self, error: ServiceError, faultcode: str = "") -> None:
        super().__init__(error.message)
        self.error, self.faultcode = error, faultcode


def refused(message: str, faultcode: str = "") -> Refused:
    """A request that can't be understood."""
    return Refused(InvalidParameter(message), faultcode)


def carried(text: str) -> str:
    """`text` without what XML can't carry: each such character becomes U+FFFD."""
    return _NO_XML.sub("\ufffd", text)


def escaped(text: str) -> str:
    """`text` as the content of an element, as lxml writes it."""
    text = carried(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def fault(error: ServiceError, namespace: str, faultcode: str = "") -> Answer:
    """The answer that says what was wrong.

    HTTP's status is 500 for every fault (SOAP 1.1, section 6.2; WS-I BP 1.1, R1126): of an answer with another one
    toolkits don't read the body.

    Args:
        namespace: the target namespace of the service: the declared fault is an element of it.
        faultcode: instead of Client.<code> or Server.<code>.
    """
    code, why = error.code, escaped(error.message)
    detail = (
        f'<detail><tns:{FAULT} xmlns:tns="{escaped(namespace)}"><tns:errorCode>{code}</tns:errorCode>'
        f"<tns:description>{why}</tns:description></tns:{FAULT}></detail>"
    )
    if faultcode == MUST_UNDERSTAND:  # an error of a header entry: section 4.4 forbids a detail
        detail = ""
    text = (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        f'<soap11env:Envelope xmlns:soap11env="{SOAP_11}"><soap11env:Body><soap11env:Fault>'
        f"<faultcode>soap11env:{faultcode or f'{error.side}.{code}'}</faultcode>"
        f"<faultstring>{why}</faultstring>{detail}"
        "</soap11env:Fault></soap11env:Body></soap11env:Envelope>"
    )
    return Answer("500 Internal Server Error", text.encode(), fault=(code, error.reason))


def internal(incident: str) -> Incident:
    """What a caller hears of our own mistakes."""
    return Incident(errors.internal(incident))

"""What every answer of the SOAP face must be, whatever was sent: for tests that send what nobody foresaw."""

from __future__ import annotations

import re

from lxml import etree

from callers import NS, SOAP_11, Reply
from here import ROOT

CODES = {
    "Client": {
        "MissingParameter",
        "InvalidParameter",
        "UnknownServiceID",
        "ServiceIDInUse",
        "TokenValidationFailed",
        "NotPermitted",
        "UnknownInstrument",
    },
    "Server": {"TooManyJobs", "JobFailed", "JobAborted", "Unavailable"},
}
OUTPUTS = {
    "startEcho": ["status_base64", "text", "number", "fraction", "flag", "colour"],
    "getServiceStatus": ["status_base64", "text", "number", "fraction", "flag", "colour"],
    "abortService": ["success"],
    "notifyService": ["response"],
}
# Python's own words, and places of this machine
_NOT_TOLD = re.compile(rb"Traceback|Error\(|object at 0x|\.py\b|lxml|XMLSyntax|" + re.escape(str(ROOT).encode()))


def errors_in(reply: Reply) -> str:
    """What of an answer of Echo is outside of the contract; "" where nothing is."""
    status = int(reply.status.split()[0])
    if found := _NOT_TOLD.search(reply.body):
        return f"it tells {found[0]!r}"
    if b"an error of its own" in reply.body:
        return "it met an error of its own"
    if status in (400, 404, 405):  # HTTP's own: what was called is no service, or not so
        return "" if reply.headers["Content-Type"].startswith("text/plain") else "it is no plain text"
    if status not in (200, 500) or reply.headers["Content-Type"] != "text/xml; charset=utf-8":
        return "its status or type is another"
    if int(reply.headers["Content-Length"]) != len(reply.body):
        return "its length is another"
    root = etree.fromstring(reply.body, etree.XMLParser(resolve_entities=False, huge_tree=True))
    (inside,) = root.find(f"{{{SOAP_11}}}Body")
    if status == 200:
        name = etree.QName(inside).localname.removesuffix("Response")
        outputs = [etree.QName(output).localname for output in inside]
        return "" if outputs == OUTPUTS.get(name) else f"{name} has the outputs {outputs}"
    return _wrong_in_fault(inside)


def _wrong_in_fault(inside: etree._Element) -> str:
    faultcode = inside.findtext("faultcode") or ""
    side, _, code = faultcode.removeprefix("soap11env:").partition(".")
    if inside.tag != f"{{{SOAP_11}}}Fault" or not (inside.findtext("faultstring") or "").strip():
        return "it is no fault, or says nothing"
    if side == "MustUnderstand":  # SOAP 1.1, section 4.4: no detail
        return "" if inside.find("detail") is None else "it has a detail"
    told = inside.findtext(f"detail/{{{NS}}}ServiceFault/{{{NS}}}errorCode")
    if side == "VersionMismatch":
        return "" if told == "InvalidParameter" else f"it has the code {told}"
    return "" if code in CODES.get(side, ()) and told == code else f"{faultcode} tells {told}"

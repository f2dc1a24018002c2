"""What every POST passes first: bytes become one operation with its texts, or a fault that says why not.

Behind this door a request is well-formed, small, without a DTD, in UTF-8, an envelope of SOAP 1.1
with one operation of this service, whose inputs are known, single and plain text. XML's and SOAP's
many other spellings are dealt with here, once.
"""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass
from typing import Any

from lxml import etree

from ..parameter import shown
from .faults import SOAP_11, Refused, refused

LARGEST = 2 * 1024 * 1024  # bytes of a request
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
_XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_MUST = f"{{{SOAP_11}}}mustUnderstand"
_ACTOR, _NEXT = f"{{{SOAP_11}}}actor", "http://schemas.xmlsoap.org/soap/actor/next"
_DECLARED = re.compile(r"^\ufeff?<\?xml[^>]*\?>")
_NO_CHARSETS = (
    "idna",
    "punycode",
    "unicode-escape",
    "raw-unicode-escape",
    "undefined",
)  # Python's own; some take minutes
_PARSER = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


@dataclass(frozen=True)
class Call:
    """One operation of a service, as a caller wants it."""

    operation: str
    texts: dict[str, str | None]  # what was given; None for nil


def read_body(environ: dict[str, Any]) -> bytes:
    """The request's body, decoded, within the limit.

    Raises:
        Refused: it is too large, or encoded in a way that isn't read here.
    """
    kind = environ.get("CONTENT_TYPE", "").lower()
    if kind.startswith("multipart/"):
        raise refused(
            "Attachments (multipart requests) are not read here: send the envelope alone, as text/xml.",
            status="415 Unsupported Media Type",
        )
    too_large = refused(
        f"The request is larger than {LARGEST} bytes: hand large data on as files.", status="413 Content Too Large"
    )
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdigit() and int(length) > LARGEST:
        raise too_large
    body: bytes = environ["wsgi.input"].read(int(length) if length.isdigit() else LARGEST + 1)
    coding = environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if coding in ("gzip", "x-gzip"):
        try:
            unpack = zlib.decompressobj(wbits=31)
            body = unpack.decompress(body, LARGEST + 1)
        except zlib.error:
            raise refused("The request's gzip encoding is damaged.") from None
    elif coding not in ("identity", ""):
        raise refused(
            f"The content encoding {shown(coding)} is not read here: use gzip or none.",
            status="415 Unsupported Media Type",
        )
    if len(body) > LARGEST:
        raise too_large
    return _as_declared(body, kind)


def _as_declared(body: bytes, kind: str) -> bytes:
    """UTF-8, whatever charset the HTTP header names: it wins over the document's own word (RFC 7303)."""
    found = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", kind)
    if found is None or found[1] in ("utf-8", "utf8", "us-ascii", "utf-16", "utf-16le", "utf-16be"):
        return body  # the parser tells these apart by their first bytes
    unknown = refused(f"The charset {shown(found[1])} is not known: send UTF-8.")
    try:
        charset = codecs.lookup(found[1]).name
        if charset in _NO_CHARSETS:
            raise unknown
        text = body.decode(charset)  # refuses what makes no text, unpacks nothing: zlib and bz2 are codecs, too
        return _DECLARED.sub("", text).encode()
    except UnicodeError:
        raise refused(f"The request is no text in the charset {shown(found[1])} that it names.") from None
    except (LookupError, ValueError):
        raise unknown from None


def parse(body: bytes, namespace: str, operations: dict[str, tuple[str, ...]]) -> Call:
    """The operation that an envelope asks for.

    Args:
        operations: operation → the names of its inputs.

    Raises:
        Refused: the sentence says what is wrong with it.
    """
    envelope = _envelope(body)
    parts: dict[str, Any] = {"Header": None, "Body": None}
    for child in envelope:
        name = etree.QName(child)
        if name.namespace == SOAP_11 and name.localname in parts:
            parts[name.localname] = child
    _headers(parts["Header"])
    inside = list(parts["Body"]) if parts["Body"] is not None else []
    if len(inside) != 1:
        raise refused("The SOAP body must hold one operation.")
    wanted = etree.QName(inside[0])
    inputs = operations.get(wanted.localname)
    if inputs is None or wanted.namespace != namespace:
        raise refused(
            f"There is no operation {shown(wanted.localname)} in the namespace {shown(wanted.namespace or '', 80)};"
            f" there are {', '.join(operations)} in {shown(namespace, 200)}."
        )
    return Call(wanted.localname, _texts(inside[0], wanted.localname, inputs))


def _envelope(body: bytes) -> Any:
    if not body.strip():
        raise refused("The request has no body: POST a SOAP 1.1 envelope.")
    try:
        root = etree.fromstring(body, etree.XMLParser(**_PARSER))
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise refused(f"The request is no well-formed XML{where}.") from None
    if root.getroottree().docinfo.internalDTD is not None or root.getroottree().docinfo.doctype:
        raise refused("The request has a document type declaration (DOCTYPE): SOAP allows none.")
    name = etree.QName(root)
    if name.localname != "Envelope" or name.namespace != SOAP_11:
        if name.localname == "Envelope":
            version = "SOAP 1.2" if name.namespace == SOAP_12 else "an unknown SOAP version"
            raise refused(f"The envelope is {version}: this service speaks SOAP 1.1.", faultcode="VersionMismatch")
        raise refused("The request is no SOAP 1.1 envelope.")
    return root


def _headers(header: Any) -> None:
    """None of SOAP's headers is known here: one that must be understood is refused (section 4.2.3)."""
    for entry in () if header is None else header:
        if entry.get(_MUST) in ("1", "true") and entry.get(_ACTOR, "") in ("", _NEXT):  # others' are others' business
            name = etree.QName(entry).localname
            raise refused(f"The SOAP header {shown(name)} must be understood, and is not.", faultcode="MustUnderstand")


def _texts(element: Any, operation: str, inputs: tuple[str, ...]) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for child in element:
        if not isinstance(child.tag, str):
            raise refused("The request refers to an entity: write its text instead.")
        name = etree.QName(child).localname
        if name not in inputs:
            raise refused(f"{operation} has no input {shown(name)}; its inputs are: {', '.join(inputs)}.")
        if name in texts:
            raise refused(f"The input {name} is there twice.")
        if len(child):
            raise refused(f"The input {name} must be a plain text, not XML.")
        if child.get(_XSI_NIL, "").strip() in ("1", "true"):
            texts[name] = None
        else:
            texts[name] = child.text or ""
    return texts


__all__ = ["Call", "Refused", "parse", "read_body"]

"""What every POST passes first: bytes become one operation with its texts, or a fault that says why not.

Behind this door a request is well-formed, small, without a DTD, in UTF-8, an envelope of SOAP 1.1
with one operation of this service, whose inputs are known, single and plain text. XML's and SOAP's
many other spellings are dealt with here, once.
"""

from __future__ import annotations

import codecs
import re
import zlib
from base64 import b64decode
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from functools import lru_cache
from itertools import islice, pairwise
from quopri import decodestring
from typing import Any

from lxml import etree

from ..model.parameter import shown
from .faults import MUST_UNDERSTAND, SOAP_11, Refused, refused

LARGEST = 2 * 1024 * 1024  # bytes of a request, where nothing else is set (MAX_BODY)
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
_XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_MUST = f"{{{SOAP_11}}}mustUnderstand"
_ACTOR, _NEXT = f"{{{SOAP_11}}}actor", "http://schemas.xmlsoap.org/soap/actor/next"
_INCLUDE = "{http://www.w3.org/2004/08/xop/include}Include"
_DECLARED = re.compile(r"^\ufeff?<\?xml\s[^>]*\?>")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PARSED = ("utf-8", "utf8", "us-ascii", "ascii")
_UTF_16 = ("utf-16", "utf-16le", "utf-16be", "utf16", "unicode")
# RFC 9110, section 5.6.6: ; name=token or ; name="quoted", blanks around = for those who write them
_PARAMETER = re.compile(r";\s*([^\s;=\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]*))")
GZIP_PIECE = 4096  # bytes that are unpacked at a time: a body may have many members
PARTS_MAX = 1000  # of a multipart request that are looked at
_SPLIT = re.compile(rb"\r?\n\r?\n")
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


def read_body(environ: dict[str, Any], most: int = LARGEST) -> bytes:
    """The request's body, unpacked, within the limit.

    Args:
        most: bytes, packed and unpacked.

    Raises:
        Refused: it is too large, cut short, or packed in a way that isn't read here.
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    body: bytes = environ["wsgi.input"].read(int(length) if length.isdecimal() else most + 1)
    if length.isdecimal() and len(body) < int(length):
        raise refused(f"The request is cut short: {len(body)} bytes of {length} have come.")
    if not body and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        raise refused("The request has no body, or its chunks are damaged: POST a SOAP 1.1 envelope.")
    codings = f"{environ.get('HTTP_CONTENT_ENCODING', '')},{environ.get('HTTP_TRANSFER_ENCODING', '')}".lower().split(
        ","
    )
    for coding in reversed(codings):  # the last one that was applied is the first to be undone
        if coding.strip() == "chunked":
            continue  # the web server has
        if coding.strip() in ("gzip", "x-gzip"):
            body = _unpacked(body, most)
        elif coding.strip() not in ("identity", ""):
            raise refused(f"The encoding {shown(coding.strip())} is not read here: use gzip or none.")
    if len(body) > most:
        raise _too_large(most)
    return body


def _too_large(most: int) -> Refused:
    return refused(f"The request is larger than {most} bytes: hand large data on as files.")


def envelope_in(body: bytes, content_type: str) -> bytes:
    """The envelope that a body holds, in UTF-8.

    Raises:
        Refused: it is written in a way that isn't read here.
    """
    kind, parameters = media_type(content_type)
    if kind.startswith("multipart/"):
        body, parameters = _root_part(body, kind, parameters)
    return _in_utf_8(body, parameters.get("charset", ""))


def _unpacked(body: bytes, most: int) -> bytes:
    """gzip's content, all of its members (RFC 1952, section 2.2); a byte more than `most` at most."""
    content, at = bytearray(), 0
    while at < len(body) and len(content) <= most:
        begun = at
        member = zlib.decompressobj(wbits=31)  # gzip's own head and end, which zlib judges to the last flag
        while at < len(body) and not member.eof and len(content) <= most:
            piece = body[at : at + GZIP_PIECE]
            try:
                content += member.decompress(piece, most + 1 - len(content))
            except zlib.error:
                raise refused("The request's gzip encoding is damaged.") from None
            at += len(piece) - len(member.unused_data)
        if not member.eof and len(content) <= most:
            is_one = body[begun : begun + 2] in (b"\x1f\x8b", b"\x1f")
            raise refused(f"The request's gzip encoding is {'cut short' if is_one else 'damaged'}.")
        while at < len(body) and body[at] == 0:  # gzip(1) passes over such padding
            at += 1
    return bytes(content)


@lru_cache(256)
def media_type(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Type in lower case and its parameters (RFC 9110, section 8.3.1): names lower, values as written.

    >>> media_type('Text/XML; CharSet="utf-8"')
    ('text/xml', {'charset': 'utf-8'})
    """
    kind, _, rest = header.partition(";")
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(";" + rest):
        quoted = found[2]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else found[3]
        parameters.setdefault(found[1].lower(), value)
    return kind.strip().lower(), parameters


def _root_part(body: bytes, kind: str, parameters: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """The envelope of a multipart/related request, and the parameters of its type (RFC 2387; XOP, section 3).

    Clients that have attachments or MTOM switched on send every call so. What lies beside the root is not looked at:
    an input that refers to it is refused where inputs are read.
    """
    boundary = parameters.get("boundary", "")
    if kind != "multipart/related" or not boundary:
        raise refused(
            "Of multipart requests only multipart/related is read here: send the envelope alone, as text/xml."
        )
    line = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary.encode("latin-1", "replace")) + rb"(--)?[ \t]*(?=\r?\n|$)")
    cuts = list(islice(line.finditer(body), PARTS_MAX + 1))
    wanted = parameters.get("start", "").strip("<> ")
    for this, following in pairwise(cuts):
        if this[1]:
            break
        head, *content = _SPLIT.split(body[this.end() : following.start()], maxsplit=1)
        headers = BytesHeaderParser().parsebytes(head.lstrip(b"\r\n"))
        if not content or wanted and headers.get("Content-ID", "").strip().strip("<> ") != wanted:
            continue
        how = headers.get("Content-Transfer-Encoding", "binary").strip().lower()
        try:
            if how == "base64":
                content = [b64decode(content[0])]
            elif how == "quoted-printable":
                content = [decodestring(content[0])]
        except ValueError:
            raise refused("The root part of the multipart request is damaged.") from None
        return content[0], media_type(headers.get("Content-Type", ""))[1]
    raise refused("The multipart request has no root part: send the envelope alone, as text/xml.")


def _in_utf_8(body: bytes, charset: str) -> bytes:
    """The document without its own word about its encoding, where something else decides that.

    RFC 7303, section 3: a byte order mark wins over HTTP's charset, and that wins over the document's declaration.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            body, charset = body[len(mark) :], name
            break
    else:
        charset = charset.strip("' ").lower()
        if charset in _UTF_16:  # without a mark nobody writes what RFC 2781 says: the first character, <, tells
            charset = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(body[:2], "utf-8")
        if not charset or (charset in _PARSED and not body.startswith(b"<?xml")):
            return body  # as the document says
    try:
        codec = "utf-8" if charset in _PARSED else codecs.lookup(charset).name
        if codec in _NO_CHARSETS:
            raise LookupError(codec)
        text = body.decode(codec)  # refuses what makes no text, unpacks nothing: zlib and bz2 are codecs, too
        return _DECLARED.sub("", text).encode()
    except UnicodeError:
        raise refused(f"The request is no well-formed XML: it is no text in the charset {shown(charset)}.") from None
    except (LookupError, ValueError):
        raise refused(f"The charset {shown(charset)} is not known: send UTF-8.") from None


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
            if parts[name.localname] is not None:
                raise refused(f"The envelope has two {name.localname} elements.")
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
    return Call(wanted.localname, _texts(inside[0], wanted.localname, namespace, inputs))


def spoken_namespace(body: bytes) -> str:
    """The namespace of the operation that an envelope asks for, whatever it is; "" where that can't be told."""
    try:
        inside = _envelope(body).find(f"{{{SOAP_11}}}Body/*")
    except Refused:
        return ""
    return "" if inside is None else etree.QName(inside).namespace or ""


def service_id_in(body: bytes) -> str:
    """The serviceID that a call names, whatever the operation; "" where it names none."""
    try:
        envelope = _envelope(body)
    except Refused:
        return ""
    for element in envelope.iter("{*}serviceID"):
        return str(element.text or "")
    return ""


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
            raise refused(f"The envelope is {version}: this service speaks SOAP 1.1.", "VersionMismatch")
        raise refused("The request is no SOAP 1.1 envelope.")
    return root


def _headers(header: Any) -> None:
    """None of SOAP's headers is known here: one that must be understood is refused (section 4.2.3)."""
    for entry in () if header is None else header:
        if entry.get(_MUST, "").strip() in ("1", "true") and entry.get(_ACTOR, "").strip() in (
            "",
            _NEXT,
        ):  # others' are others' business
            name = etree.QName(entry).localname
            raise refused(f"The SOAP header {shown(name)} must be understood, and is not.", MUST_UNDERSTAND)


def _texts(element: Any, operation: str, namespace: str, inputs: tuple[str, ...]) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for child in element:
        if not isinstance(child.tag, str):
            raise refused("The request refers to an entity: write its text instead.")
        called = etree.QName(child)
        name = called.localname
        if called.namespace not in (None, namespace):  # without one is wrong, too, but what some toolkits send
            raise refused(
                f"{operation} has no input {shown(name)} in the namespace {shown(called.namespace, 80)};"
                f" its inputs are: {', '.join(inputs)}."
            )
        if name not in inputs:
            raise refused(f"{operation} has no input {shown(name)}; its inputs are: {', '.join(inputs)}.")
        if name in texts:
            raise refused(f"The input {name} is there twice.")
        if child.get("href") is not None or (len(child) and child[0].tag == _INCLUDE):
            raise refused(f"The input {name} refers to an attachment or another element: write its text instead.")
        if len(child):
            raise refused(f"The input {name} must be a plain text, not XML.")
        if child.get(_XSI_NIL, "").strip() in ("1", "true"):
            texts[name] = None
        else:
            texts[name] = child.text or ""
    return texts


__all__ = ["Call", "Refused", "envelope_in", "media_type", "parse", "read_body", "spoken_namespace"]

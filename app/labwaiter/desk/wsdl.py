"""Any WSDL 1.1 as data, however it is split into files. It judges nothing: see `lint`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree

from .fetch import Unreachable, Unreadable, fetch

WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
SOAP_11 = "http://schemas.xmlsoap.org/wsdl/soap/"
SOAP_12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
XSD = "http://www.w3.org/2001/XMLSchema"
XS = f"{{{XSD}}}"
_WRAPPER = "{http://java.sun.com/xml/ns/jaxws}enableWrapperStyle"
MOST = 30  # documents of one WSDL


@dataclass(frozen=True)
class Field:
    """One input or output."""

    name: str
    type: str  # the local name of the XML Schema type that it comes down to, "" for a structure
    mandatory: bool = True
    nillable: bool = False
    many: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """What goes one way."""

    fields: tuple[Field, ...] | None  # None: it is not document/literal wrapped
    element: str = ""  # the wrapper's local name
    part: str = ""
    parts: int = 0


@dataclass(frozen=True)
class Operation:
    """One operation with its messages."""

    name: str
    input: Message
    output: Message
    faults: tuple[tuple[str, ...], ...]  # for each declared one the names of its fields
    style: str  # "document" or "rpc"
    use: str  # "literal" or "encoded"
    unwrapped: bool = True  # whether Java's wsimport is let make parameters of the elements (JAX-WS 2.3, section 8.7.2)


@dataclass(frozen=True)
class Description:
    """A whole WSDL."""

    url: str
    namespace: str
    service: str
    operations: dict[str, Operation]
    addresses: tuple[str, ...]  # of its SOAP 1.1 ports
    services: int
    soap12_ports: int
    soap12_named: bool  # the name space of SOAP 1.2 is declared


def lexical(value: object) -> str:
    """A value as XML Schema writes it: true, INF, 3, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    return str(value)


def read(url: str) -> Description:
    """The WSDL at an address, with what it imports. Raises Unreachable or Unreadable."""
    documents: dict[str, Any] = {}
    found = _gather(url, documents)
    return _Reader(found, list(documents.values())).description()


def _gather(url: str, into: dict[str, Any]) -> str:
    """Fetch a document and what it imports: where it was found."""
    if url in into or len(into) >= MOST:
        return url
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        text, at = fetch(url)
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"{url} is no XML: {error.msg}.") from error
    if root.getroottree().docinfo.doctype:
        raise Unreadable(f"{url} has a DOCTYPE, which workflow editors refuse; leave it out.")
    if not into and root.tag != f"{WSDL}definitions":
        raise Unreadable(f"{url} is no WSDL 1.1: its root is {etree.QName(root).localname}, not definitions.")
    into[url] = root
    for tag, attribute in (
        (f"{WSDL}import", "location"),
        (f"{XS}import", "schemaLocation"),
        (f"{XS}include", "schemaLocation"),
    ):
        for found in root.iter(tag):
            if where := found.get(attribute):
                named = urljoin(at, where)
                if urlsplit(named).scheme == "file" != urlsplit(at).scheme:
                    raise Unreadable(f"{url} imports {named}, a file of whoever reads it; give that an address.")
                _gather(named, into)
    return at


class _Reader:
    """Finds its way through the documents of one WSDL by qualified names."""

    def __init__(self, url: str, roots: list[Any]) -> None:
        self.url, self.roots = url, roots
        self.main = roots[0]
        self.schemas = [schema for root in roots for schema in root.iter(f"{XS}schema")]

    def description(self) -> Description:
        services = [s for root in self.roots for s in root.iter(f"{WSDL}service")]
        ports = [p for service in services for p in service.iter(f"{WSDL}port")]
        spoken = [p for p in ports if p.find(f"{{{SOAP_11}}}address") is not None]
        operations: dict[str, Operation] = {}
        for port in spoken[:1]:
            binding = self._find("binding", port, port.get("binding"))
            if binding is not None:
                operations = {o.name: o for o in self._operations(binding)}
        return Description(
            url=self.url,
            namespace=self.main.get("targetNamespace") or "",
            service=services[0].get("name", "") if services else "",
            operations=operations,
            addresses=tuple(p.find(f"{{{SOAP_11}}}address").get("location", "") for p in spoken),
            services=len(services),
            soap12_ports=sum(p.find(f"{{{SOAP_12}}}address") is not None for p in ports),
            soap12_named=any(
                SOAP_12 in e.nsmap.values() for e in self.main.iter(f"{WSDL}definitions", f"{WSDL}binding")
            ),
        )

    def _operations(self, binding: Any) -> list[Operation]:
        port_type = self._find("portType", binding, binding.get("type"))
        soap = binding.find(f"{{{SOAP_11}}}binding")
        whole_style = soap.get("style", "document") if soap is not None else "document"
        found = []
        for bound in binding.findall(f"{WSDL}operation"):
            name = bound.get("name", "")
            kinds = (
                [] if port_type is None else [o for o in port_type.findall(f"{WSDL}operation") if o.get("name") == name]
            )
            if not kinds:
                continue
            how = bound.find(f"{{{SOAP_11}}}operation")
            style = how.get("style", whole_style) if how is not None else whole_style
            uses = {body.get("use", "literal") for body in bound.iter(f"{{{SOAP_11}}}body")}
            faults = []
            for fault in kinds[0].findall(f"{WSDL}fault"):
                message = self._message(fault)
                faults.append(tuple(f.name for f in message.fields or ()))
            found.append(
                Operation(
                    name=name,
                    input=self._message(kinds[0].find(f"{WSDL}input")),
                    output=self._message(kinds[0].find(f"{WSDL}output")),
                    faults=tuple(faults),
                    style=style,
                    use="encoded" if "encoded" in uses else "literal",
                    unwrapped=not any((e.text or "").strip() == "false" for e in kinds[0].iter(_WRAPPER)),
                )
            )
        return found

    def _message(self, way: Any) -> Message:
        message = None if way is None else self._find("message", way, way.get("message"))
        if message is None:
            return Message(None)
        parts = message.findall(f"{WSDL}part")
        if len(parts) != 1 or not parts[0].get("element"):
            return Message(None, parts=len(parts), part=parts[0].get("name", "") if parts else "")
        element = self._schema("element", parts[0], parts[0].get("element"))
        if element is None:
            return Message(None, parts=1, part=parts[0].get("name", ""))
        return Message(self._fields(element), element.get("name", ""), parts[0].get("name", ""), 1)

    def _fields(self, element: Any) -> tuple[Field, ...] | None:
        kind = element.find(f"{XS}complexType")
        if kind is None and element.get("type"):
            kind = self._schema("complexType", element, element.get("type"))
        if kind is None:
            return None
        sequence = kind.find(f"{XS}sequence")
        if sequence is None:
            return () if len([c for c in kind if c.tag != f"{XS}annotation"]) == 0 else None
        return tuple(self._field(child) for child in sequence.findall(f"{XS}element"))

    def _field(self, element: Any) -> Field:
        reference = self._schema("element", element, element.get("ref")) if element.get("ref") else element
        reference = element if reference is None else reference
        kind, choices = self._type(reference)
        return Field(
            name=reference.get("name", ""),
            type=kind,
            mandatory=element.get("minOccurs", "1") != "0",
            nillable=reference.get("nillable", "false") in ("true", "1"),
            many=element.get("maxOccurs", "1") not in ("0", "1"),
            choices=choices,
        )

    def _type(self, element: Any) -> tuple[str, tuple[str, ...]]:
        """The built-in type that an element comes down to, and its enumeration."""
        simple, choices = element.find(f"{XS}simpleType"), ()
        named = element.get("type")
        for _ in range(10):
            if simple is None and named:
                space, local = self._name(element, named)
                if space == XSD:
                    return local, choices
                simple = self._schema("simpleType", element, named)
            restriction = None if simple is None else simple.find(f"{XS}restriction")
            if restriction is None:
                return "", choices
            values: tuple[str, ...] = tuple(e.get("value", "") for e in restriction.findall(f"{XS}enumeration"))
            choices = values or choices  # type: ignore[assignment]
            element, named, simple = restriction, restriction.get("base"), None
        return "", choices

    def _name(self, where: Any, name: str) -> tuple[str, str]:
        prefix, colon, local = name.rpartition(":")
        return where.nsmap.get(prefix if colon else None) or "", local

    def _find(self, kind: str, where: Any, name: str | None) -> Any:
        if not name:
            return None
        space, local = self._name(where, name)
        for root in self.roots:
            if root.tag == f"{WSDL}definitions" and root.get("targetNamespace", "") == space:
                for found in root.findall(f"{WSDL}{kind}"):
                    if found.get("name") == local:
                        return found
        return None

    def _schema(self, kind: str, where: Any, name: str | None) -> Any:
        if not name:
            return None
        space, local = self._name(where, name)
        for schema in self.schemas:
            if schema.get("targetNamespace", "") == space:
                for found in schema.findall(f"{XS}{kind}"):
                    if found.get("name") == local:
                        return found
        return None


__all__ = ["Description", "Field", "Message", "Operation", "Unreachable", "Unreadable", "lexical", "read"]

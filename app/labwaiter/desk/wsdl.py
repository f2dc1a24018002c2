"""Any WSDL 1.1 as data, however it is split into files. It judges nothing: see `lint`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree

from .fetch import LARGEST, Document, Unreachable, Unreadable, fetch

WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
SOAP_11 = "http://schemas.xmlsoap.org/wsdl/soap/"
SOAP_12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
XSD = "http://www.w3.org/2001/XMLSchema"
XS = f"{{{XSD}}}"
_WRAPPER = "{http://java.sun.com/xml/ns/jaxws}enableWrapperStyle"
MOST = 30  # documents of one WSDL
_PARSER: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
_KNOWN_SPACES = (  # that nobody has to bring a schema for
    XSD,
    "http://www.w3.org/XML/1998/namespace",
    "http://schemas.xmlsoap.org/soap/encoding/",
    "http://schemas.xmlsoap.org/wsdl/",
)


@dataclass(frozen=True)
class Field:
    """An input or output of an operation."""

    name: str
    type: str  # the local name of the XML Schema type that it comes down to, "" for a structure
    mandatory: bool = True
    nillable: bool = False
    many: bool = False
    choices: tuple[str, ...] = ()
    limits: dict[str, str] = field(default_factory=dict, compare=False)  # of its values: facet → value
    words: str = field(default="", compare=False)  # its documentation


@dataclass(frozen=True)
class WsdlMessage:
    """The message of an operation in one direction."""

    fields: tuple[Field, ...] | None  # None: it is not document/literal wrapped
    element: str = ""  # the wrapper's local name
    part: str = ""
    why: str = ""  # it is not wrapped, in half a sentence


@dataclass(frozen=True)
class WsdlOperation:
    """One operation with its messages."""

    name: str
    input: WsdlMessage
    output: WsdlMessage
    faults: tuple[tuple[str, ...], ...]  # for each declared one the names of its fields
    style: str  # "document" or "rpc"
    use: str  # "literal" or "encoded"
    unwrapped: bool = True  # whether Java's wsimport is let make parameters of the elements (JAX-WS 2.3, section 8.7.2)
    headers: tuple[str, ...] = ()  # of SOAP, that its input asks for


@dataclass(frozen=True)
class WsdlDescription:
    """All that a WSDL says of the service that workflow managers would call."""

    url: str
    namespace: str
    service: str
    operations: dict[str, WsdlOperation]
    addresses: tuple[str, ...]  # of its SOAP 1.1 ports, that whose operations are told first
    services: int
    soap12_ports: int
    soap12_named: bool  # the name space of SOAP 1.2 is declared
    ports: tuple[str, ...] = ()  # the names of its SOAP 1.1 ports that lead to different operations
    bindings: int = 0  # for SOAP, of any version
    unresolved: tuple[str, ...] = ()  # a sentence for each thing that it imports, and that is not there


def read(url: str) -> WsdlDescription:
    """The WSDL at an address, with what it imports. Raises Unreachable or Unreadable."""
    documents: dict[str, Any] = {}
    unresolved: list[str] = []
    location = _gather(url, documents, unresolved)
    return _Reader(location, list(documents.values()), unresolved).description()


def read_file(file: Path) -> WsdlDescription:
    """The WSDL in a file. Raises OSError, Unreadable."""
    text = file.read_bytes()
    if len(text) > LARGEST:
        raise Unreadable(f"{file.name} is larger than {LARGEST} bytes.")
    return of_text(text, file.name)


def of_text(text: bytes, name: str) -> WsdlDescription:
    """A WSDL that is one document; it is called by this name where something is wrong with it. Raises Unreadable."""
    try:
        root = _parsed(Document(text, name))
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"{name} is no XML: {error.msg}.") from error
    _judge(root, name, is_first=True)
    return _Reader(name, [root], []).description()


def _judge(root: Any, name: str, is_first: bool) -> None:
    """Whether a document may be part of a WSDL, and be its first. Raises Unreadable."""
    if root.getroottree().docinfo.doctype:
        raise Unreadable(f"{name} has a DOCTYPE, which workflow editors refuse; leave it out.")
    if is_first and root.tag != f"{WSDL}definitions":
        raise Unreadable(f"{name} is no WSDL 1.1: its root is {etree.QName(root).localname}, not definitions.")


def _gather(url: str, into: dict[str, Any], unresolved: list[str]) -> str:
    """Fetch a document and what it imports: where it was found. What an import can't get is told in `unresolved`."""
    if url in into:
        return url
    if len(into) >= MOST:
        raise Unreadable(f"It is split into more than {MOST} documents.")
    try:
        document = fetch(url)
        root = _parsed(document)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"{url} is no XML: {error.msg}.") from error
    _judge(root, url, is_first=not into)
    into[url] = root
    at = document.url
    for tag, attribute in (
        (f"{WSDL}import", "location"),
        (f"{XS}import", "schemaLocation"),
        (f"{XS}include", "schemaLocation"),
    ):
        for element in root.iter(tag):
            if reference := element.get(attribute):
                imported = urljoin(at, reference)
                if urlsplit(imported).scheme == "file" != urlsplit(at).scheme:
                    raise Unreadable(f"{url} imports {imported}, a file of whoever reads it; give that an address.")
                try:
                    _gather(imported, into, unresolved)
                except (Unreachable, Unreadable) as error:
                    into.setdefault(imported, etree.Element("none"))  # asked for once
                    unresolved.append(f"{url} imports what can't be had: {error}")
    return at


def _parsed(document: Document) -> Any:
    try:
        return etree.fromstring(document.text, etree.XMLParser(encoding=document.charset or None, **_PARSER))
    except LookupError:  # no charset that anybody knows
        return etree.fromstring(document.text, etree.XMLParser(**_PARSER))


class _Reader:
    """Finds its way through the documents of one WSDL by qualified names."""

    def __init__(self, url: str, roots: list[Any], unresolved: list[str]) -> None:
        self.url, self.roots = url, roots
        self.main = roots[0]
        self.schemas = [schema for root in roots for schema in root.iter(f"{XS}schema")]
        self.unresolved = unresolved

    def description(self) -> WsdlDescription:
        services = [s for root in self.roots for s in root.iter(f"{WSDL}service")]
        ports = [p for service in services for p in service.iter(f"{WSDL}port")]
        spoken = [p for p in ports if p.find(f"{{{SOAP_11}}}address") is not None]
        in_12 = [p for p in ports if p.find(f"{{{SOAP_12}}}address") is not None]
        bindings = [b for root in self.roots for b in root.iter(f"{WSDL}binding")]
        bindings = [b for b in bindings if any(b.find(f"{{{soap}}}binding") is not None for soap in (SOAP_11, SOAP_12))]
        # what is looked at: the port that workflow managers would call; without one, what comes next to it
        looked_at = [(p, self._find("binding", p, p.get("binding"))) for p in spoken or in_12]
        looked_at = [(p, b) for p, b in looked_at if b is not None] or [(None, b) for b in bindings]
        looked_at.sort(key=lambda pair: not self._is_polled(pair[1]))
        operations: dict[str, WsdlOperation] = {}
        if looked_at:
            port, binding = looked_at[0]
            operations = {o.name: o for o in self._operations(binding)}
            spoken.sort(key=lambda p: p is not port)
        different: dict[str, str] = {}  # port type → the first port that leads to it
        for port, binding in looked_at:
            if port is not None:
                different.setdefault(binding.get("type", ""), port.get("name", ""))
        return WsdlDescription(
            url=self.url,
            namespace=self.main.get("targetNamespace") or "",
            service=services[0].get("name", "") if services else "",
            operations=operations,
            addresses=tuple(p.find(f"{{{SOAP_11}}}address").get("location", "") for p in spoken),
            services=len(services),
            soap12_ports=len(in_12),
            soap12_named=any(
                SOAP_12 in e.nsmap.values() for e in self.main.iter(f"{WSDL}definitions", f"{WSDL}binding")
            ),
            ports=tuple(different.values()) if spoken else (),
            bindings=len(bindings),
            unresolved=(*self.unresolved, *self._without_a_schema(), *self._without_a_port_type(bindings)),
        )

    def _is_polled(self, binding: Any) -> bool:
        return any(o.get("name") == "getServiceStatus" for o in binding.findall(f"{WSDL}operation"))

    def _without_a_port_type(self, bindings: list[Any]) -> list[str]:
        """A sentence for each binding of operations that are described nowhere."""
        return [
            f"The type {b.get('type', '')} of the binding {b.get('name', '')} is defined nowhere."
            for b in bindings
            if self._find("portType", b, b.get("type")) is None and not self.unresolved
        ]

    def _without_a_schema(self) -> list[str]:
        """A sentence for each namespace that a schema imports without saying from where, and that is not here."""
        namespaces = {schema.get("targetNamespace", "") for schema in self.schemas}
        lost = []
        for schema in self.schemas:
            for imported in schema.findall(f"{XS}import"):
                space = imported.get("namespace", "")
                if not imported.get("schemaLocation") and space not in (*namespaces, *_KNOWN_SPACES):
                    lost.append(f"A schema imports the namespace {space}, but says of no document where that is.")
        return list(dict.fromkeys(lost))

    def _operations(self, binding: Any) -> list[WsdlOperation]:
        port_type = self._find("portType", binding, binding.get("type"))
        version = SOAP_11 if binding.find(f"{{{SOAP_11}}}binding") is not None else SOAP_12
        soap = binding.find(f"{{{version}}}binding")
        whole_style = soap.get("style", "document") if soap is not None else "document"
        operations = []
        for bound in binding.findall(f"{WSDL}operation"):
            name = bound.get("name", "")
            kinds = (
                [] if port_type is None else [o for o in port_type.findall(f"{WSDL}operation") if o.get("name") == name]
            )
            if not kinds:
                continue
            bound_operation = bound.find(f"{{{version}}}operation")
            style = bound_operation.get("style", whole_style) if bound_operation is not None else whole_style
            uses = {body.get("use", "literal") for body in bound.iter(f"{{{version}}}body")}
            faults = []
            for fault in kinds[0].findall(f"{WSDL}fault"):
                message = self._message(fault, None)
                faults.append(tuple(f.name for f in message.fields or ()))
            directions = {direction: bound.find(f"{WSDL}{direction}") for direction in ("input", "output")}
            header_elements = () if directions["input"] is None else directions["input"].iter(f"{{{version}}}header")
            operations.append(
                WsdlOperation(
                    name=name,
                    input=self._message(kinds[0].find(f"{WSDL}input"), directions["input"]),
                    output=self._message(kinds[0].find(f"{WSDL}output"), directions["output"]),
                    faults=tuple(faults),
                    style=style,
                    use="encoded" if "encoded" in uses else "literal",
                    unwrapped=not any((e.text or "").strip() == "false" for e in kinds[0].iter(_WRAPPER)),
                    headers=tuple(dict.fromkeys(header.get("part", "") for header in header_elements)),
                )
            )
        return operations

    def _message(self, direction: Any, bound: Any) -> WsdlMessage:
        """A message of an operation.

        Args:
            bound: the same way in the binding, which may put some of its parts into SOAP headers.
        """
        if direction is None:
            return WsdlMessage(None, why="there is none, as in one-way calls")
        message = self._find("message", direction, direction.get("message"))
        if message is None:
            return WsdlMessage(None, why=f"its message {direction.get('message')} is defined nowhere")
        parts = self._of_the_body(message.findall(f"{WSDL}part"), bound)
        names = ", ".join(part.get("name", "") for part in parts)
        if len(parts) != 1:
            return WsdlMessage(None, why=f"its message has {len(parts)} parts{f' ({names})' if parts else ''}")
        if not parts[0].get("element"):
            return WsdlMessage(
                None, part=names, why=f"its part {names} names a type instead of an element, as RPC does"
            )
        named = parts[0].get("element")
        element = self._schema("element", parts[0], named)
        if element is None:
            return WsdlMessage(None, part=names, why=f"its element {named} is defined nowhere")
        fields = self._fields(element)
        if fields is not None:
            return WsdlMessage(fields, element.get("name", ""), names)
        kind = self._type(element)[0]
        problem = f"is xs:{kind} itself, as JAX-WS writes parameterStyle BARE" if kind else "is no plain sequence"
        return WsdlMessage(None, element.get("name", ""), names, f"its element {element.get('name', '')} {problem}")

    def _of_the_body(self, parts: list[Any], bound: Any) -> list[Any]:
        """The parts of a message that go into SOAP's body (WSDL 1.1, sections 3.5 and 3.7)."""
        if bound is None:
            return parts
        bodies = [b for soap in (SOAP_11, SOAP_12) for b in bound.iter(f"{{{soap}}}body") if b.get("parts") is not None]
        if bodies:
            return [part for part in parts if part.get("name") in bodies[0].get("parts").split()]
        headers = [h.get("part") for soap in (SOAP_11, SOAP_12) for h in bound.iter(f"{{{soap}}}header")]
        return [part for part in parts if part.get("name") not in headers] or parts

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
        kind, choices, limits = self._type(reference)
        told = element.find(f"{XS}annotation/{XS}documentation")
        return Field(
            name=reference.get("name", ""),
            type=kind,
            mandatory=element.get("minOccurs", "1") != "0",
            nillable=reference.get("nillable", "false") in ("true", "1"),
            many=element.get("maxOccurs", "1") not in ("0", "1"),
            choices=choices,
            limits=limits,
            words="" if told is None else " ".join("".join(told.itertext()).split()),
        )

    def _type(self, element: Any) -> tuple[str, tuple[str, ...], dict[str, str]]:
        """The built-in type that an element comes down to, its enumeration, and the limits of its values."""
        simple, named = element.find(f"{XS}simpleType"), element.get("type")
        choices: tuple[str, ...] = ()
        limits: dict[str, str] = {}
        for _ in range(10):
            if simple is None and named:
                space, local = self._name(element, named)
                if space == XSD:
                    return local, choices, limits
                simple = self._schema("simpleType", element, named)
            restriction = None if simple is None else simple.find(f"{XS}restriction")
            if restriction is None:
                break
            choices = tuple(e.get("value", "") for e in restriction.findall(f"{XS}enumeration")) or choices
            facets = [f for f in restriction if isinstance(f.tag, str) and f.get("value") is not None]
            own = {etree.QName(f).localname: f.get("value") for f in facets if f.tag != f"{XS}enumeration"}
            limits = own | limits  # the narrower ones are met first
            element, named, simple = restriction, restriction.get("base"), None
        return "", choices, limits

    def _name(self, element: Any, name: str) -> tuple[str, str]:
        prefix, colon, local = name.rpartition(":")
        return element.nsmap.get(prefix if colon else None) or "", local

    def _find(self, kind: str, context: Any, name: str | None) -> Any:
        if not name:
            return None
        space, local = self._name(context, name)
        for root in self.roots:
            if root.tag == f"{WSDL}definitions" and root.get("targetNamespace", "") == space:
                for candidate in root.findall(f"{WSDL}{kind}"):
                    if candidate.get("name") == local:
                        return candidate
        return None

    def _schema(self, kind: str, context: Any, name: str | None) -> Any:
        if not name:
            return None
        space, local = self._name(context, name)
        for schema in self.schemas:
            if schema.get("targetNamespace", "") == space:
                for candidate in schema.findall(f"{XS}{kind}"):
                    if candidate.get("name") == local:
                        return candidate
        return None


__all__ = [
    "WsdlDescription",
    "Field",
    "WsdlMessage",
    "WsdlOperation",
    "Unreachable",
    "Unreadable",
    "of_text",
    "read",
    "read_file",
]

"""The WSDL of a service: Spyne's, made what the contract and the toolkits ask for.

WSDL 1.1 with SOAP 1.1 binding, document/literal wrapped; WS-I Basic Profile 1.1 for the rest.
"""

from __future__ import annotations

from typing import Any

from lxml import etree
from spyne.interface.wsdl import Wsdl11

from ..model.contract import LONGEST
from ..model.naming import whole_in_java
from ..model.parameter import TEXT_MAX, Parameter, text_of
from ..model.service import Service
from .binding import Loopless, application
from .faults import FAULT, escaped

WSDL = "http://schemas.xmlsoap.org/wsdl/"
SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
XSD = "http://www.w3.org/2001/XMLSchema"
_ADDRESS = "http://address.of.this.service.invalid/"
JAXWS = "http://java.sun.com/xml/ns/jaxws"
_DROPPED = ("http://schemas.xmlsoap.org/wsdl/soap12/", "http://www.w3.org/2003/05/soap-envelope")


def template(service: Service) -> bytes:
    """The WSDL with a placeholder for its address."""
    spoken = application(service, typed=True)
    Loopless(spoken)  # gives the application its transport
    document = Wsdl11(spoken.interface)
    document.build_interface_document(_ADDRESS)
    root = etree.fromstring(document.get_interface_document(), etree.XMLParser(remove_blank_text=True))
    _declare_fault(root)
    _document(root, service)
    _keep_java_s_names_apart(root, service)
    _sort(root, service)
    for part in root.iter(f"{{{WSDL}}}part"):
        part.set("name", "parameters" if not part.get("element", "").endswith(f":{FAULT}") else FAULT)
    for operation in root.iter(f"{{{WSDL}}}operation"):
        operation.attrib.pop("parameterOrder", None)  # for RPC style; here it names no part
    root.append(root.find(f"{{{WSDL}}}service"))  # last, as the standard draws it
    root = _without_unused_namespaces(root)
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return written


def at(template: bytes, address: str) -> bytes:
    """The WSDL of the service at an address."""
    return template.replace(_ADDRESS.encode(), escaped(address).replace('"', "&quot;").encode())


def _without_unused_namespaces(root: Any) -> Any:
    etree.cleanup_namespaces(root, keep_ns_prefixes=["tns", "xs", "soap11" if "soap11" in root.nsmap else "tns"])
    unused = [p for p, uri in root.nsmap.items() if uri in _DROPPED]
    if unused:  # a prefix that is there makes some toolkits look for SOAP 1.2
        etree.cleanup_namespaces(root, keep_ns_prefixes=[p for p in root.nsmap if p and p not in unused])
    return root


def _sort(root: Any, service: Service) -> None:
    """The types in one order: Spyne's changes from process to process, and editors compare WSDLs."""
    operations = [name + end for name in service.operations for end in ("", "Response")] + [FAULT]
    kinds = ["simpleType", "complexType", "element"]

    def place(entry: Any) -> tuple[int, int, str]:
        name = entry.get("name")
        return kinds.index(etree.QName(entry).localname), operations.index(name) if name in operations else -1, name

    for schema in root.iter(f"{{{XSD}}}schema"):
        schema[:] = sorted(schema, key=place)


def _declare_fault(root: Any) -> None:
    """ServiceFault: its element, its message, and its place in every operation."""
    tns = root.get("targetNamespace")
    prefix = next(p for p, uri in root.nsmap.items() if uri == tns)
    schema = next(s for s in root.iter(f"{{{XSD}}}schema") if s.get("targetNamespace") == tns)
    kind = etree.SubElement(schema, f"{{{XSD}}}complexType", name=FAULT)
    sequence = etree.SubElement(kind, f"{{{XSD}}}sequence")
    xs = next(p for p, uri in root.nsmap.items() if uri == XSD)
    for name in ("errorCode", "description"):
        etree.SubElement(sequence, f"{{{XSD}}}element", name=name, type=f"{xs}:string")
    etree.SubElement(schema, f"{{{XSD}}}element", name=FAULT, type=f"{prefix}:{FAULT}")
    message = etree.Element(f"{{{WSDL}}}message", name=FAULT)
    etree.SubElement(message, f"{{{WSDL}}}part", name=FAULT, element=f"{prefix}:{FAULT}")
    root.findall(f"{{{WSDL}}}message")[-1].addnext(message)
    for operation in root.findall(f"{{{WSDL}}}portType/{{{WSDL}}}operation"):
        etree.SubElement(operation, f"{{{WSDL}}}fault", name=FAULT, message=f"{prefix}:{FAULT}")
    for operation in root.findall(f"{{{WSDL}}}binding/{{{WSDL}}}operation"):
        fault = etree.SubElement(operation, f"{{{WSDL}}}fault", name=FAULT)
        etree.SubElement(fault, f"{{{SOAP}}}fault", name=FAULT, use="literal")


def _keep_java_s_names_apart(root: Any, service: Service) -> None:
    """Tell wsimport to hand on an operation's request and answer whole, where it would refuse their children's names.

    It makes parameters of them: none may be a word of Java, and of an input and an output of one name it makes one, and
    refuses the WSDL where the types differ (an optional input is a JAXBElement, an output is not). Other toolkits pass
    over the hint.
    """
    for name, own in service.operations.items():
        if whole_in_java(*own.names()):
            operation = root.find(f"{{{WSDL}}}portType/{{{WSDL}}}operation[@name='{name}']")
            bindings = etree.Element(f"{{{JAXWS}}}bindings", nsmap={"jaxws": JAXWS})
            etree.SubElement(bindings, f"{{{JAXWS}}}enableWrapperStyle").text = "false"
            operation.find(f"{{{WSDL}}}input").addprevious(bindings)


def _document(root: Any, service: Service) -> None:
    """Units, limits and defaults in words, where workflow editors show them."""
    for name, operation in service.operations.items():
        own = service.inputs if name == service.operation else ()
        words = {p.name: _words(p, True) if p in own else _longest(p) for p in operation.inputs}
        _annotate(root, name, words)
    made = {p.name: _words(p, False) for p in service.outputs}
    _annotate(root, f"{service.operation}Response", made)


def _longest(parameter: Parameter) -> str:
    """Of an input that every service has."""
    return f"at most {LONGEST.get(parameter.name, TEXT_MAX)} characters"


def _annotate(root: Any, kind: str, words: dict[str, str]) -> None:
    """Put words to the elements of a message, by their names."""
    for name, text in words.items():
        path = f".//{{{XSD}}}complexType[@name='{kind}']//{{{XSD}}}element[@name='{name}']"
        for element in root.iterfind(path) if text else ():
            annotation = etree.Element(f"{{{XSD}}}annotation")
            etree.SubElement(annotation, f"{{{XSD}}}documentation").text = text
            element.insert(0, annotation)


def _words(parameter: Parameter, is_input: bool) -> str:
    words = []
    if parameter.kind == "file":
        made = "<serviceID>/<file>, that an execution made"
        words.append(
            f"{parameter.limits} in the files folder, or {made}" if is_input else f"the name of a file: {made}"
        )
    elif parameter.kind == "instrument":
        words.append("the name of an instrument of this lab; may be left out where exactly one fits")
    elif is_input and parameter.limits:
        words.append(parameter.limits)
    elif is_input and parameter.kind == "text":
        words.append(f"at most {TEXT_MAX} characters")
    elif parameter.unit:
        words.append(f"in {parameter.unit}")
    if is_input and not parameter.mandatory and parameter.default is not None:
        words.append(f"default {text_of(parameter.default)}")
    return "; ".join(words)

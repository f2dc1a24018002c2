"""The WSDL of a service: Spyne's, made what the contract and the toolkits ask for.

WSDL 1.1 with SOAP 1.1 binding, document/literal wrapped; WS-I Basic Profile 1.1 for the rest.
"""

from __future__ import annotations

from typing import Any

from lxml import etree
from spyne.interface.wsdl import Wsdl11

from ..parameter import Parameter, text_of
from ..service import Service
from .binding import Loopless, application
from .faults import FAULT, escaped
from .operations import signatures

WSDL = "http://schemas.xmlsoap.org/wsdl/"
SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
XSD = "http://www.w3.org/2001/XMLSchema"
_ADDRESS = "http://address.of.this.service.invalid/"
JAXWS = "http://java.sun.com/xml/ns/jaxws"
_DROPPED = ("http://schemas.xmlsoap.org/wsdl/soap12/", "http://www.w3.org/2003/05/soap-envelope")


def template(service: Service) -> bytes:
    """The WSDL with a placeholder for its address."""
    spoken = application(service, None)
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
    operations = [name + end for name in signatures(service) for end in ("", "Response")] + [FAULT]
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
    """Tell wsimport to hand on the start's request and answer whole, where both have a child of one name.

    It would make two parameters of one name and type, and refuse the WSDL where the types differ
    (an optional input is a JAXBElement, an output is not). Other toolkits pass over the hint.
    """
    if {p.name for p in service.inputs} & {p.name for p in service.outputs}:
        operation = root.find(f"{{{WSDL}}}portType/{{{WSDL}}}operation[@name='{service.operation}']")
        bindings = etree.Element(f"{{{JAXWS}}}bindings", nsmap={"jaxws": JAXWS})
        etree.SubElement(bindings, f"{{{JAXWS}}}enableWrapperStyle").text = "false"
        operation.find(f"{{{WSDL}}}input").addprevious(bindings)


def _document(root: Any, service: Service) -> None:
    """Units, limits and defaults in words, where workflow editors show them."""
    said = {service.operation: service.inputs, f"{service.operation}Response": service.outputs}
    for name, parameters in said.items():
        for parameter in parameters:
            path = f".//{{{XSD}}}complexType[@name='{name}']//{{{XSD}}}element[@name='{parameter.name}']"
            for element in root.iterfind(path):
                if text := _words(parameter, name == service.operation):
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
    elif parameter.unit:
        words.append(f"in {parameter.unit}")
    if is_input and not parameter.mandatory and parameter.default is not None:
        words.append(f"default {text_of(parameter.default)}")
    return "; ".join(words)

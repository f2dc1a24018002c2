"""The WSDL: what editors register and toolkits generate code from.

Parameters are only ever appended. What callers have registered is kept in app/services/*.wsdl; to renew these after
such a change: `labwaiter check --keep`.
"""

import pytest
from lxml import etree

from callers import Caller
from here import ROOT
from labwaiter.catalogue import catalogue
from labwaiter.soap import wsdl

W = "{http://schemas.xmlsoap.org/wsdl/}"
X = "{http://www.w3.org/2001/XMLSchema}"
OFFERED = catalogue.load(ROOT / "app" / "services").services


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_the_wsdl_of_each_service_is_the_one_that_was_registered(name: str) -> None:
    kept = ROOT / "app" / "services" / f"{name}.wsdl"
    assert wsdl.template(OFFERED[name]).decode() == kept.read_text(), f"callers have registered {kept.name}"


def test_types_limits_and_defaults_are_those_of_the_signature(caller: Caller) -> None:
    root = etree.fromstring(caller("/Echo", query="wsdl").body)
    start = {e.get("name"): e for e in root.iterfind(f".//{X}complexType[@name='startEcho']//{X}element")}
    assert list(start) == [
        "serviceID",
        "sessionToken",
        "text",
        "number",
        "fraction",
        "flag",
        "colour",
        "extraParameters",
    ]
    for name in ("serviceID", "sessionToken", "text"):
        assert start[name].get("minOccurs", "1") == "1" and start[name].get("nillable", "false") == "false"
    for name in ("number", "fraction", "flag", "colour", "extraParameters"):
        assert (start[name].get("minOccurs"), start[name].get("nillable")) == ("0", "true")
    number = root.find(f".//{X}simpleType[@name='{start['number'].get('type').split(':')[1]}']")
    assert number[0].get("base") == "xs:int"
    assert [f.get("value") for f in number[0]] == ["-5", "1000"]
    assert "default 7" in "".join(start["number"].itertext())


def test_status_has_exactly_the_outputs_of_start(caller: Caller) -> None:
    root = etree.fromstring(caller("/Echo", query="wsdl").body)
    start, status = (
        [(e.get("name"), e.get("minOccurs")) for e in root.iterfind(f".//{X}complexType[@name='{name}']//{X}element")]
        for name in ("startEchoResponse", "getServiceStatusResponse")
    )
    assert start == status
    assert start[0][0] == "status_base64"


def test_every_operation_declares_the_fault_and_every_message_one_part(caller: Caller) -> None:
    root = etree.fromstring(caller("/Echo", query="wsdl").body)
    for where in ("portType", "binding"):
        operations = root.findall(f"{W}{where}/{W}operation")
        assert len(operations) == 4
        assert all(o.find(f"{W}fault").get("name") == "ServiceFault" for o in operations)
    for message in root.findall(f"{W}message"):
        assert len(message) == 1
        if message.get("name") != "ServiceFault":
            assert message[0].get("name") == "parameters"
    assert b"soap12" not in etree.tostring(root) and b"2003/05" not in etree.tostring(root)


def test_the_address_is_the_public_one_if_it_is_set_and_never_an_earlier_caller_s(make_lab: object) -> None:
    lab = make_lab()  # type: ignore[operator]
    here = Caller(lab)
    assert b'location="http://first.example' in here("/Echo", query="wsdl", HTTP_HOST="first.example").body
    assert b'location="http://second.example:81/' in here("/Echo", query="wsdl", HTTP_HOST="second.example:81").body
    there = Caller(make_lab(PUBLIC_URL="https://lab.example/"))  # type: ignore[operator]
    assert b'location="https://lab.example/sintef' in there("/Echo", query="wsdl").body


def test_an_output_named_like_an_input_gets_java_s_hint(caller: Caller) -> None:
    """Without it wsimport refuses the whole WSDL: such names become two Java parameters with one name."""
    hint = "{http://java.sun.com/xml/ns/jaxws}enableWrapperStyle"
    root = etree.fromstring(caller("/Echo", query="wsdl").body)
    operations = root.findall(f"{W}portType/{W}operation")
    assert [o.get("name") for o in operations if o.find(f".//{hint}") is not None] == ["startEcho"]
    assert [etree.QName(child).localname for child in operations[0]][:2] == ["documentation", "bindings"]
    assert b"jaxws" not in caller("/Talk", query="wsdl").body

"""`labwaiter lint`: what an engineer is told of a WSDL before it is registered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Web
from here import ROOT
from labwaiter.catalogue import catalogue
from labwaiter.desk.lint import lint
from labwaiter.desk.wsdl import read
from labwaiter.soap import wsdl as ours

NS = "http://x.example/"


def labwaiter(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "lint", *words]
    return subprocess.run(command, env={"PYTHONPATH": str(ROOT / "app"), "PATH": ""}, capture_output=True, text=True)


def test_nothing_is_wrong_with_our_own_services(web: Web) -> None:
    for name in ("Echo", "Talk"):
        for address in (web.wsdl(name), f"{web.url}/{name}.wsdl"):
            done = labwaiter(address)
            assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("Nothing is wrong with it.\n")
    assert "startEcho(serviceID, sessionToken, text, [number]" in labwaiter(web.wsdl("Echo")).stdout


def test_one_that_says_another_address_than_it_has_is_told_so(web: Web) -> None:
    done = labwaiter(web.wsdl("Echo").replace("127.0.0.1", "localhost"))
    assert done.returncode == 0  # it follows its caller
    there = labwaiter(web.wsdl("Echo").replace("/echo/", "/nobody/"))
    assert there.returncode == 3 and "HTTP 404" in there.stderr


def test_nobody_there_and_no_wsdl_there_are_told_apart(web: Web, tmp_path: Path) -> None:
    assert labwaiter("http://127.0.0.1:9/Waiter?wsdl").returncode == 3
    assert "begins with http" in labwaiter("ftp://x.example/").stderr
    done = labwaiter(f"{web.url}/health")
    assert done.returncode == 1 and "is no XML" in done.stdout
    page = tmp_path / "page.xml"
    page.write_text("<html/>")
    assert "is no WSDL 1.1: its root is html" in labwaiter(str(page)).stdout
    page.write_text('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>')
    assert "DOCTYPE" in labwaiter(str(page)).stdout


@pytest.fixture(scope="module")
def waiter() -> str:
    """Waiter's WSDL without its documentation, at an address where nobody is."""
    service = catalogue.load(ROOT / "app" / "services").services["Waiter"]
    text = ours.at(ours.template(service), "http://127.0.0.1:9/Waiter").decode()
    return re.sub(r">\s*<xs:annotation>.*?</xs:annotation>\s*</xs:element>", "/>", text, flags=re.S)


MISTAKES: list[tuple[str, list[tuple[str, str]], str, str]] = [
    ("error", [("http://waiter.sintef.no/", "waiter")], "no absolute address", "Give the service one"),
    ("error", [('style="document"', 'style="rpc"')], "startWaiter is rpc/literal", "document/literal wrapped"),
    ("error", [('use="literal"', 'use="encoded"')], "document/encoded", "document/literal"),
    ("warning", [('part name="parameters" element="tns:startWaiter"', 'part name="x" element="tns:startWaiter"')],
     "named “x”", "Name it parameters"),
    ("error", [('name="status_base64" type="xs:string"', 'name="status_base64" type="xs:base64Binary"')],
     "status_base64 is xs:base64Binary", "xs:string"),
    ("error", [('name="status_base64"', 'name="status"')], "first output of startWaiter isn't status_base64", "first"),
    ("error", [('base="xs:int"', 'base="xs:dateTime"')], "is xs:dateTime", "workflow editors know no other"),
    ("warning", [('base="xs:int"', 'base="xs:integer"')], "is xs:integer", "Use xs:int"),
    ("error", [('<xs:element name="sessionToken" type="xs:string"/>', "")], "has no input sessionToken", "begin with"),
    ("warning", [('<xs:element name="serviceID" type="xs:string"/>',
                  '<xs:element name="serviceID" type="xs:string" minOccurs="0"/>')], "isn't mandatory", "minOccurs 1"),
    ("warning", [('name="notifyService"', 'name="tellService"')], "It has no notifyService", "Add it"),
    ("warning", [('name="abortService"', 'name="killService"')], "It has no abortService", "Add it"),
    ("warning", [('<wsdl:fault name="ServiceFault" message="tns:ServiceFault"/>', "")], "declares no fault", "typed"),
    ("warning", [("<wsdl:definitions ",
                  '<wsdl:definitions xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" ')], "SOAP 1.2", "gSOAP"),
    ("error", [('<xs:element name="result" type="xs:string"/>',
                '<xs:element name="result" type="xs:string" maxOccurs="unbounded"/>')], "many times", "no lists"),
    ("error", [('<xs:element name="result" type="xs:string"/>',
                '<xs:element name="secondsToWait" type="xs:string"/>')], "named secondsToWait that differ", "wsimport"),
    ("error", [("http://127.0.0.1:9/Waiter", "mailto:x")], "none that can be called", "http://"),
    ("warning", [('name="getServiceStatus"', 'name="status"')], "so it is a synchronous service", "asynchronous"),
]  # fmt: skip


@pytest.mark.parametrize(("level", "changes", "what", "mend"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_each_mistake_is_told_with_its_cure(
    waiter: str, tmp_path: Path, level: str, changes: list[tuple[str, str]], what: str, mend: str
) -> None:
    text = waiter
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "w.wsdl"
    file.write_text(text)
    found = [f for f in lint(read(file.as_uri())) if what in f.what]
    assert found and found[0].level == level and mend in found[0].mend, lint(read(file.as_uri()))


def test_outputs_that_start_and_status_don_t_share_are_an_error(waiter: str, tmp_path: Path) -> None:
    before, name, after = waiter.partition('complexType name="getServiceStatusResponse"')
    file = tmp_path / "w.wsdl"
    file.write_text(before + name + after.replace('<xs:element name="result" type="xs:string"/>', "", 1))
    assert any("The outputs of startWaiter and getServiceStatus differ" in f.what for f in lint(read(file.as_uri())))


def test_a_wsdl_in_several_files_is_read_whole(waiter: str, tmp_path: Path) -> None:
    """As WCF writes them: the schema in a file of its own."""
    begin, end = waiter.index("<xs:schema"), waiter.index("</xs:schema>") + len("</xs:schema>")
    schema = waiter[begin:end].replace(
        "<xs:schema", '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="http://waiter.sintef.no/"', 1
    )
    (tmp_path / "types.xsd").write_text(schema)
    link = '<xs:schema><xs:import namespace="http://waiter.sintef.no/" schemaLocation="types.xsd"/></xs:schema>'
    (tmp_path / "w.wsdl").write_text(waiter[:begin] + link + waiter[end:])
    described = read((tmp_path / "w.wsdl").as_uri())
    assert [f.name for f in described.operations["startWaiter"].output.fields or ()] == ["status_base64", "result"]
    assert [f.what for f in lint(described) if "can't be reached" not in f.what] == []


def test_the_tutorial_s_own_design_gets_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bench/reference is the tutorial's Spyne service; its WSDL is Spyne's own."""
    from spyne.interface.wsdl import Wsdl11

    for name in ("WAITER_LOG_FOLDER", "PROGRAM"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.syspath_prepend(ROOT / "bench" / "reference")
    import service as reference

    document = Wsdl11(reference.application.app.interface)
    document.build_interface_document("http://127.0.0.1:9/waiter/Waiter")
    (tmp_path / "w.wsdl").write_bytes(document.get_interface_document())
    said = "\n".join(f.what for f in lint(read((tmp_path / "w.wsdl").as_uri())))
    assert "declares no fault" in said and "SOAP 1.2" in said and "isn't mandatory" in said


def test_other_programs_get_json(make_web: Callable[..., Web], web: Web) -> None:
    told = json.loads(labwaiter("--json", web.wsdl("Echo")).stdout)
    assert told == {"service": "Echo", "findings": []}

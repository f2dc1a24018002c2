"""The contract, as a caller meets it, in raw envelopes."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from callers import NS, SOAP_11, Caller, envelope
from here import ROOT
from lab import PATIENCE, Lab, eventually
from labwaiter.model.caller import SHELL

NASTY = "é 漢字 😀 <&>\"'\nsecond line"


def page(reply: object) -> str:
    return base64.b64decode(reply["status_base64"]).decode()  # type: ignore[index]


def test_start_poll_completed_and_completed_again(caller: Caller) -> None:
    first = caller.call("Echo", "startEcho", serviceID="one", text=NASTY, number="3")
    assert first.status == "200 OK"
    assert "<html" in page(first)
    assert (first["text"], first["number"], first["flag"], first["colour"]) == ("UNSET", "0", "false", "red")
    caller.lab.ended("one")
    answers = [caller.call("Echo", "getServiceStatus", serviceID="one") for _ in range(3)]
    assert len({a.body for a in answers}) == 1
    assert answers[0]["status_base64"] == "COMPLETED"
    assert (answers[0]["text"], answers[0]["number"], answers[0]["fraction"]) == (NASTY, "3", "0.5")
    assert b">COMPLETED</" in answers[0].body


def test_answers_stand_in_the_wsdl_s_order_and_are_valid_by_its_schema(caller: Caller) -> None:
    wsdl = etree.fromstring(caller("/Echo", query="wsdl").body)
    within = wsdl.find(".//{http://www.w3.org/2001/XMLSchema}schema")
    schema = etree.XMLSchema(etree.fromstring(etree.tostring(within)))
    caller.call("Echo", "startEcho", serviceID="one", text="x")
    replies = [
        caller.call("Echo", "startEcho", serviceID="one", text="x"),
        caller.call("Echo", "getServiceStatus", serviceID="one"),
        caller.call("Echo", "abortService", serviceID="one"),
        caller.call("Echo", "notifyService", serviceID="one", message="x"),
        caller.call("Echo", "getServiceStatus", serviceID="nobody's"),
    ]
    for reply in replies:
        body = etree.fromstring(reply.body).find(f"{{{SOAP_11}}}Body")
        inside = body.find(".//detail/*") if body.find(f"{{{SOAP_11}}}Fault") is not None else body[0]
        schema.assertValid(etree.fromstring(etree.tostring(inside)))


def test_inputs_are_taken_in_any_order_with_comments_and_cdata(caller: Caller) -> None:
    inside = (
        "<t:number>5</t:number><!-- a remark --><t:text><![CDATA[<b>]]> &amp; mo<!-- x -->re</t:text>"
        "<t:sessionToken>t</t:sessionToken><t:serviceID>one</t:serviceID>"
    )
    assert caller("/Echo", envelope("startEcho", inside)).status == "200 OK"
    caller.lab.ended("one")
    done = caller.call("Echo", "getServiceStatus", serviceID="one")
    assert (done["text"], done["number"]) == ("<b> & more", "5")


@pytest.mark.parametrize(
    "optional", ["", '<t:number xsi:nil="true" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/>']
)
def test_an_optional_input_left_out_or_nil_has_its_default(caller: Caller, optional: str) -> None:
    inside = f"<t:serviceID>one</t:serviceID><t:sessionToken>t</t:sessionToken><t:text>x</t:text>{optional}"
    caller("/Echo", envelope("startEcho", inside))
    caller.lab.ended("one")
    assert caller.call("Echo", "getServiceStatus", serviceID="one")["number"] == "7"


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ({"serviceID": "", "text": "x"}, "MissingParameter"),
        ({"serviceID": "  ", "text": "x"}, "MissingParameter"),
        ({"serviceID": "a", "text": "x", "sessionToken": " "}, "MissingParameter"),
        ({"serviceID": "a"}, "MissingParameter"),
        ({"serviceID": "a", "text": "x", "number": "1_0"}, "InvalidParameter"),
        ({"serviceID": "a", "text": "x", "number": "٣"}, "InvalidParameter"),
        ({"serviceID": "a", "text": "x", "number": "9" * 30}, "InvalidParameter"),
        ({"serviceID": "a", "text": "x", "number": ""}, "InvalidParameter"),
        ({"serviceID": "a", "text": "x", "volume": "1"}, "InvalidParameter"),
    ],
)
def test_a_wrong_call_gets_the_typed_fault(caller: Caller, texts: dict[str, str], code: str) -> None:
    reply = caller.call("Echo", "startEcho", **texts)
    assert reply.status.startswith("500")
    assert reply["faultcode"] == f"soap11env:Client.{code}"
    assert reply["errorCode"] == code
    assert reply["description"] == reply["faultstring"]
    assert "Traceback" not in reply["description"] and "/" not in reply["description"]
    assert not list(caller.lab.store.names())


@pytest.mark.parametrize("operation", ["getServiceStatus", "abortService", "notifyService"])
def test_an_unknown_service_id_is_the_caller_s_mistake(caller: Caller, operation: str) -> None:
    more = {"message": "m"} if operation == "notifyService" else {}
    reply = caller.call("Echo", operation, serviceID="nobody's", **more)
    assert (reply["errorCode"], reply["faultcode"]) == ("UnknownServiceID", "soap11env:Client.UnknownServiceID")


def test_a_failed_job_shows_its_page_then_its_fault(caller: Caller) -> None:
    caller.call("Raises", "startRaises", serviceID="one", how="sentence")
    caller.lab.ended("one")
    assert "door is open" in page(caller.call("Raises", "getServiceStatus", serviceID="one"))
    caller.lab.told_long_ago("one")
    reply = caller.call("Raises", "getServiceStatus", serviceID="one")
    assert (reply["errorCode"], reply["faultcode"]) == ("JobFailed", "soap11env:Server.JobFailed")
    assert "door is open" in reply["description"]


def test_messages_and_aborts_pass_through(caller: Caller) -> None:
    caller.call("Talk", "startTalk", serviceID="one")
    caller.lab.running("one")
    assert caller.call("Talk", "notifyService", serviceID="one", message=NASTY)["response"] == f"you said {NASTY}"
    assert caller.call("Talk", "abortService", serviceID="one")["success"] == "true"
    assert caller.call("Talk", "abortService", serviceID="one")["success"] == "true"


def test_what_xml_cannot_carry_never_reaches_a_caller(caller: Caller) -> None:
    caller.call("Unruly", "startUnruly", serviceID="one", word="sleep")
    caller.lab.file("one", "status.txt")
    (caller.lab.folder("one") / "status.html").write_bytes(b"a \x00 page \xff")
    assert "page" in page(caller.call("Unruly", "getServiceStatus", serviceID="one"))
    caller.call("Binary", "startBinary", serviceID="two")
    caller.lab.ended("two")
    assert caller.call("Binary", "getServiceStatus", serviceID="two")["result"] == "a\ufffdb\ufffdc"


def test_a_service_that_asks_for_it_answers_unchanged_to_the_one_who_saw_that_page(caller: Caller) -> None:
    caller.call("Quiet", "startQuiet", serviceID="one")
    caller.lab.running("one")
    eventually(lambda: caller.call("Quiet", "getServiceStatus", serviceID="one")["status_base64"] == "UNCHANGED")
    other = caller.call("Quiet", "getServiceStatus", serviceID="one", sessionToken="somebody else")
    assert "<html" in page(other)
    caller.lab.jobs.notify(None, "one", "a message changes the page", SHELL, wait=0)
    assert "<html" in page(caller.call("Quiet", "getServiceStatus", serviceID="one"))


def test_a_service_whose_file_does_not_import_says_so_at_its_own_address(caller: Caller) -> None:
    reply = caller.call("Broken", "startBroken", serviceID="a")
    assert (reply.status[:3], reply["errorCode"]) == ("500", "Unavailable")  # toolkits read no other status's fault
    assert "needs the module a_module_that_nobody_has" in reply["description"]
    assert f'<tns:ServiceFault xmlns:tns="{NS}">'.encode() in reply.body
    described = caller("/broken/Broken", query="wsdl")
    assert (described.status[:3], described.headers["Content-Type"]) == ("503", "text/plain; charset=utf-8")
    assert "needs the module a_module_that_nobody_has" in described.body.decode()
    assert caller("/echo/Echo", query="wsdl").status == "200 OK"


@pytest.mark.folder_way
def test_our_own_error_is_told_without_python_s_words_and_found_in_the_log(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caller.call("Echo", "startEcho", serviceID="one", text="x")
    caller.lab.ended("one")
    (caller.lab.folder("one") / "request.json").write_text("{damaged")
    reply = caller.call("Echo", "getServiceStatus", serviceID="one", sessionToken="a secret token")
    assert (reply["errorCode"], reply["faultcode"]) == ("Unavailable", "soap11env:Server.Unavailable")
    assert "damaged" in reply["description"] and "JSON" not in reply["description"]
    assert "a secret token" not in caplog.text


def test_no_token_is_ever_kept(caller: Caller) -> None:
    caller.call("Echo", "startEcho", serviceID="one", text="x", sessionToken="a-secret-token")
    caller.lab.ended("one")
    caller.call("Echo", "getServiceStatus", serviceID="one", sessionToken="a-secret-token")
    kept = [p for p in caller.lab.root.parent.rglob("*") if p.is_file() and b"a-secret-token" in p.read_bytes()]
    assert kept == []


def test_extra_parameters_are_the_job_s_to_read_and_no_part_of_its_identity(caller: Caller) -> None:
    assert caller.call("Steps", "startSteps", serviceID="one", extraParameters="a=1").status == "200 OK"
    assert caller.call("Steps", "startSteps", serviceID="one", extraParameters="a=2").status == "200 OK"
    assert caller.call("Steps", "startSteps", serviceID="one", count="4")["errorCode"] == "ServiceIDInUse"
    assert NS == "http://samples.example/"


def test_a_service_without_inputs_and_outputs_of_its_own_completes_too(caller: Caller) -> None:
    assert "<html" in page(caller.call("Bare", "startBare", serviceID="one"))
    caller.lab.ended("one")
    done = caller.call("Bare", "getServiceStatus", serviceID="one")
    assert done["status_base64"] == "COMPLETED"
    assert done.body.count(b"</tns:") == 2  # the response and its one output


def test_a_service_file_that_hangs_keeps_nobody_else_from_serving(
    services: Path, make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    from labwaiter.catalogue import catalogue

    monkeypatch.setattr(catalogue, "IMPORT_SECONDS", 2.0)
    (services / "hangs.py").write_text(
        "import time\nwhile True:\n    try:\n        time.sleep(1000)\n    except Exception:\n        pass\n"
    )
    caller = Caller(make_lab())
    reply = caller.call("Hangs", "startHangs", serviceID="a")
    assert reply["errorCode"] == "Unavailable" and "took more than 2 s to import" in reply["description"]
    assert caller("/echo/Echo", query="wsdl").status == "200 OK"


def test_an_alarm_of_the_script_that_loads_services_comes_all_the_same(services: Path) -> None:
    script = f"""
import pathlib, signal, sys
from labwaiter.catalogue import catalogue
signal.signal(signal.SIGALRM, lambda *_: sys.exit(7))
signal.setitimer(signal.ITIMER_REAL, 0.5)
catalogue.load(pathlib.Path({str(services)!r}))
signal.pause()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=PATIENCE).returncode == 7


@pytest.mark.parametrize("token", [None, "", " "])
@pytest.mark.parametrize("operation", ["startEcho", "getServiceStatus", "abortService", "notifyService"])
def test_no_operation_is_carried_out_without_a_token(caller: Caller, operation: str, token: str | None) -> None:
    caller.lab.start("Echo", "one", text="x")
    caller.lab.ended("one")
    texts = {"serviceID": "one", "text": "x", "message": "hello"}
    inputs = caller.lab.services["Echo"].operations[operation].names()[0]
    given = {name: texts[name] for name in inputs if name in texts}
    given |= {} if token is None else {"sessionToken": token}
    for _ in range(3):  # once a poll's form is known, too
        assert "status_base64" in caller.call("Echo", "getServiceStatus", serviceID="one").body.decode()
        reply = caller("/Echo", envelope(operation, **given))
        assert reply["errorCode"] == "MissingParameter" and "sessionToken" in reply["description"]

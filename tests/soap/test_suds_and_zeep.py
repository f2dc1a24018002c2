"""suds and zeep (strict) go through the whole contract over HTTP."""

import base64
from typing import Any

import pytest
import suds.client
import zeep
import zeep.exceptions

from callers import Web
from lab import eventually

NASTY = "é 漢字 😀 <&>\"'\nsecond line"


class Suds:
    """suds-community."""

    Fault = suds.WebFault

    def __init__(self, url: str) -> None:
        self.client = suds.client.Client(url, cache=None)

    def call(self, operation: str, **inputs: Any) -> Any:
        return getattr(self.client.service, operation)(**inputs)

    def code(self, fault: Any) -> str:
        return str(fault.fault.detail.ServiceFault.errorCode)


class Zeep:
    """zeep in its strict mode."""

    Fault = zeep.exceptions.Fault

    def __init__(self, url: str) -> None:
        self.client = zeep.Client(url, settings=zeep.Settings(strict=True))

    def call(self, operation: str, **inputs: Any) -> Any:
        return self.client.service[operation](**inputs)

    def code(self, fault: Any) -> str:
        detail = self.client.wsdl.types.deserialize(fault.detail[0])
        return str(detail.errorCode)


@pytest.mark.parametrize("toolkit", [Suds, Zeep])
def test_a_toolkit_goes_through_the_whole_contract(web: Web, toolkit: Any) -> None:
    echo, talk = toolkit(web.wsdl("Echo")), toolkit(web.wsdl("Talk"))
    who = {"serviceID": "one", "sessionToken": "t"}
    first = echo.call("startEcho", **who, text=NASTY, flag=True, colour="red")
    assert "<html" in base64.b64decode(first.status_base64).decode()
    assert (first.text, first.number, first.flag) == ("UNSET", 0, False)
    done = eventually(lambda: (r := echo.call("getServiceStatus", **who)).status_base64 == "COMPLETED" and r)
    assert (done.text, done.number, done.fraction, done.flag, done.colour) == (NASTY, 7, 0.5, True, "red")
    assert echo.call("abortService", **who) is True

    talk.call("startTalk", **who | {"serviceID": "two"})
    web.lab.running("two")
    said = talk.call("notifyService", sessionToken="t", serviceID="two", message=NASTY)
    assert said == f"you said {NASTY}"
    assert talk.call("abortService", **who | {"serviceID": "two"}) is True

    for operation, inputs, code in (
        ("getServiceStatus", {"serviceID": "nobody's", "sessionToken": "t"}, "UnknownServiceID"),
        ("startEcho", who | {"text": "other"}, "ServiceIDInUse"),
        ("startEcho", {"serviceID": "three", "sessionToken": "t", "text": "x", "number": 5000}, "InvalidParameter"),
        ("startEcho", {"serviceID": "three", "sessionToken": "t", "text": " "}, "MissingParameter"),
    ):
        with pytest.raises(toolkit.Fault) as caught:
            echo.call(operation, **inputs)
        assert echo.code(caught.value) == code

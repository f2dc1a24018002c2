"""suds-community and zeep: python_client.py suds|zeep|zeep-lax WSDL."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote, unquote

OPERATIONS = {"start": "startToolkit", "status": "getServiceStatus", "abort": "abortService", "notify": "notifyService"}


class Suds:
    def __init__(self, wsdl: str) -> None:
        import suds
        import suds.client

        self.nil, self.Fault, self.Refused = suds.null(), suds.WebFault, suds.TypeNotFound
        self._service = suds.client.Client(wsdl, cache=None).service

    def call(self, operation: str, given: dict[str, Any]) -> Any:
        return getattr(self._service, operation)(**given)

    def detail(self, fault: Any) -> Any:
        return fault.fault.detail.ServiceFault


class Zeep:
    def __init__(self, wsdl: str, strict: bool = True) -> None:
        import zeep
        import zeep.exceptions
        import zeep.xsd

        self.nil, self.Fault = zeep.xsd.Nil, zeep.exceptions.Fault
        self.Refused = (zeep.exceptions.ValidationError, TypeError, ValueError)
        self._client = zeep.Client(wsdl, settings=zeep.Settings(strict=strict))

    def call(self, operation: str, given: dict[str, Any]) -> Any:
        return self._client.service[operation](**given)

    def detail(self, fault: Any) -> Any:
        return self._client.wsdl.types.deserialize(fault.detail[0])


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(kind: str, wsdl: str) -> None:
    client: Any = Suds(wsdl) if kind == "suds" else Zeep(wsdl, strict=kind == "zeep")
    print("ready", flush=True)
    for line in sys.stdin:
        operation, *words = line.rstrip("\n").split("\t")
        given: dict[str, Any] = {}
        for word in words:
            name, equals, value = word.partition("=")
            given[name.rstrip("!")] = unquote(value) if equals else client.nil
        if "hold" in given:
            given["hold"] = given["hold"] == "true"
        try:
            found = client.call(OPERATIONS[operation], given)
            if operation in ("abort", "notify"):
                said = f"ok\t{'success' if operation == 'abort' else 'response'}={quote(text(found))}"
            else:
                names = ("status_base64", "echo", "number", "ratio", "held")
                said = "\t".join(["ok", *(f"{n}={quote(text(getattr(found, n)))}" for n in names)])
        except client.Fault as fault:
            detail = client.detail(fault)
            said = f"fault\ttyped\t{quote(str(detail.errorCode))}\t{quote(str(detail.description))}"
        except client.Refused as error:
            said = f"refused\t{quote(str(error))}"
        except Exception as error:
            said = f"error\t{quote(repr(error))}"
        print(said, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""Any service's status and start, each asked so that it refuses.

any.py suds|zeep|zeep-lax WSDL START INPUTS-AS-JSON
"""

from __future__ import annotations

import json
import sys

from python_client import Suds, Zeep

kind, wsdl, start, inputs = sys.argv[1:]


class Any(Suds if kind == "suds" else Zeep):  # type: ignore[misc]
    """One of both."""


client = Any(wsdl) if kind == "suds" else Any(wsdl, strict=kind == "zeep")
for operation, given in (
    ("getServiceStatus", {"serviceID": "nobody's", "sessionToken": "t"}),
    (start, {"serviceID": " ", "sessionToken": "t", **json.loads(inputs)}),
):
    try:
        client.call(operation, given)
    except client.Fault as fault:
        print(client.detail(fault).errorCode)

"""The folder's name for a serviceID: opaque text of the workflow manager's becomes one safe file name."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from ..errors import InvalidParameter, MissingParameter
from ..model.contract import SERVICE_ID_MAX

LONGEST = 180  # bytes: room below NAME_MAX (255) for whatever a program appends to it


def folder_name(service_id: str) -> str:
    """One name per serviceID, and no two serviceIDs with one name.

    Letters, digits, ``_ - .`` stay; all else is percent-encoded as UTF-8, and so are a leading dot
    and ``~``, which marks the names that were too long: a readable prefix, ``~``, SHA-256.

    Raises:
        MissingParameter: it is empty or blank.
        InvalidParameter: it is over 1000 characters.
    """
    if not service_id.strip():
        raise MissingParameter("The input serviceID is missing or blank: give this execution a name of its own.")
    if len(service_id) > SERVICE_ID_MAX:
        raise InvalidParameter(
            f"The serviceID has {len(service_id)} characters; at most {SERVICE_ID_MAX} are accepted."
        )
    raw = service_id.encode("utf-8", "surrogatepass")
    name = quote(raw, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 65]}~{hashlib.sha256(raw).hexdigest()}"
    return name

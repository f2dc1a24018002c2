"""Which execution was started last at each address, so that `status` needs no id."""

from __future__ import annotations

import json
import os
from pathlib import Path

KEPT = Path(os.environ.get("TEST_CLIENT_LAST", ""))  # a lab's test_client/client.py names one; else nothing is kept
MOST = 50  # addresses


def _read() -> dict[str, str]:
    try:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def last_id(url: str) -> str | None:
    """The serviceID last started at a WSDL's address."""
    return _read().get(url)


def started_at(base: str, service_id: str | None) -> str | None:
    """The WSDL's address at which an execution was started last, of those below `base`; None where nothing was.

    Args:
        service_id: of this one; None: of any.
    """
    known = _read().items()
    return next((u for u, i in reversed(known) if u.startswith(f"{base}/") and service_id in (None, i)), None)


def remember(url: str, service_id: str) -> None:
    """Remember it. Where nothing can be written, nothing is remembered."""
    if not KEPT.name:
        return
    known = _read()
    known.pop(url, None)
    known[url] = service_id
    beside = KEPT.with_name(f"{KEPT.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(dict(list(known.items())[-MOST:])), encoding="utf-8")
        beside.replace(KEPT)
    except OSError:
        beside.unlink(missing_ok=True)

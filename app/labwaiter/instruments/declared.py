"""What drivers declare, for whoever may not import one: `python -m labwaiter.instruments.declared NAME …`.

Tells an object of JSON: of each instrument of lab.toml its `panel`, or `why` its driver tells none.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .. import settings
from ..errors import Misconfigured
from ..lab import labfile
from ..lab.lab import resolve
from .panel import declared_by


def main() -> None:
    """Tell of those that are named; of one that lab.toml doesn't have, nothing."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a driver that prints is not taken for us
    current = settings.load()
    sys.path.append(str(current.services))  # drivers of this lab's own lie beside its services
    entries = labfile.load(current.lab).entries
    told: dict[str, Any] = {}
    for name in sys.argv[1:]:
        if name in entries:
            try:
                told[name] = {"panel": declared_by(resolve(entries[name].driver), entries[name]).as_data()}
            except Misconfigured as error:
                told[name] = {"why": str(error)}
            except Exception as error:  # its import may do anything
                told[name] = {"why": f"its driver can't be had: {type(error).__name__}: {str(error)[:200]}"}
    print(json.dumps(told), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

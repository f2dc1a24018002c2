"""What drivers declare, for whoever may not import one: `python -m labwaiter.instruments.declared NAME …`.

Tells an object of JSON: by instruments of lab.toml `panels`, or what is `wrong` with a driver; and `stamps` of the
modules beside the services that were imported for that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .. import settings
from ..catalogue.importing import RACY_NS, stamp
from ..errors import Misconfigured
from ..lab import labfile
from ..lab.lab import resolve
from .panel import declared_by


def main() -> None:
    """Tell of those that are named; of one that lab.toml doesn't have, nothing."""
    began = time.time_ns()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a driver that prints is not taken for us
    current = settings.load()
    sys.path.append(str(current.services))  # drivers of this lab's own lie beside its services
    entries = labfile.load(current.lab).entries
    panels: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in sys.argv[1:]:
        if name in entries:
            try:
                panels[name] = declared_by(resolve(entries[name].driver), entries[name]).as_data()
            except Misconfigured as error:
                wrong[name] = str(error)
            except (Exception, SystemExit) as error:  # its import may do anything
                wrong[name] = f"its driver can't be had: {type(error).__name__}: {str(error)[:200]}"
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    own = [file for file in files if isinstance(file, str) and Path(file).is_relative_to(current.services)]
    seen = {file: stamp(file) for file in own}
    # one that was written meanwhile may have been read before that: it is looked at again
    stamps = {file: at if at[0] < began - RACY_NS else [0, 0] for file, at in seen.items()}
    told = {"panels": panels, "wrong": wrong, "stamps": stamps}
    print(json.dumps(told), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

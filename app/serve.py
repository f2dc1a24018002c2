"""granian, as the web side runs it: `python -m serve` takes granian's own options.

Its workers are forked from this process, which has granian alone, so that they share its memory. That is what granian
does by itself before Python 3.14; from there on Python's default is forkserver, and granian starts each worker as a
new interpreter instead.
"""

import importlib.util
import multiprocessing
import os
from pathlib import Path

from granian import log
from granian.cli import entrypoint

if __name__ == "__main__":
    # by its path: a worker that is started later imports this package as it is then, whole
    spec = importlib.util.spec_from_file_location("logs", Path(__file__).with_name("labwaiter") / "system" / "logs.py")
    logs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(logs)
    out = logs.Out(Path(os.environ.get("LABWAITER_WEB", ""), ".labwaiter", "web.log"))
    # what granian says of itself, its workers, too, stands in the log as all else does
    log.LOGGING_CONFIG["handlers"]["console"] = {
        "()": logs.handler,
        "who": "granian",
        "form": os.environ.get("LOG_FORMAT", logs.TEXT),
        "out": out,
    }
    multiprocessing.set_start_method("fork")
    entrypoint()

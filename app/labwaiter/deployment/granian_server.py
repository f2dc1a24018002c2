"""granian, as the web side runs it: a program, called by its path, that takes granian's own options.

Its workers are forked from this process, which has granian alone, so that they share its memory. That is what granian
does by itself before Python 3.14; from there on Python's default is forkserver, and granian starts each worker as a
new interpreter instead.
"""

import importlib.util
import multiprocessing
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from granian import log
from granian.cli import entrypoint


def alone(file: str) -> ModuleType:
    """A module of this package that needs no other, by its path: a worker that is started later imports the package
    as it is then, whole."""
    path = Path(__file__).parents[1] / file
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    logs, layout = alone("system/logs.py"), alone("layout.py")
    out = logs.Out(layout.Layout(os.environ.get("LABWAITER_WEB", "")).web_log)
    # what granian says of itself, its workers, too, stands in the log as all else does
    handlers: Any = log.LOGGING_CONFIG["handlers"]
    handlers["console"] = {
        "()": logs.handler,
        "who": "granian",
        "form": os.environ.get("LOG_FORMAT", logs.TEXT),
        "out": out,
    }
    multiprocessing.set_start_method("fork")
    entrypoint()  # type: ignore[no-untyped-call]

"""Entry of the supervisor's process."""

from __future__ import annotations

import logging
import sys

from ..settings import Settings, load
from .hearth import Taken
from .loop import serve


def main(settings: Settings | None = None) -> None:
    """Serve until stopped; exit 0 also where another supervisor serves the folder already."""
    logging.basicConfig(
        format="%(asctime)s supervisor[%(process)d] %(levelname)s %(message)s",
        level=logging.INFO,
        stream=sys.stderr,
    )
    lock = int(sys.argv[2]) if sys.argv[1:2] == ["--lock"] else None
    try:
        serve(settings or load(), lock)
    except Taken as taken:
        print(taken, file=sys.stderr)

"""A runner that is exec'd: `python -m labwaiter.runner NAME RELEASE-FD SERVICE-FILE`, by the nursery alone."""

import sys
from pathlib import Path

from .. import catalogue
from ..service import Service
from ..settings import load
from .main import make_ready, order, run


def main() -> None:
    """Import the service in this process, whatever threads that starts, and be its job's runner."""
    name, release, file = sys.argv[1:4]
    settings = load()

    work = order(settings, name)

    def service() -> Service:
        return next(s for s in catalogue.load_file(Path(file)) if s.name == work.request.service)

    make_ready()
    run(work, int(release), service)


if __name__ == "__main__":
    main()

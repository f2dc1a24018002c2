"""A runner that is exec'd: `python -m labwaiter.runner NAME RELEASE-FD SERVICE-FILE`, by the nursery alone."""

import sys
from pathlib import Path

from .. import catalogue
from ..jobs.folder import Folder
from ..service import Service
from ..settings import load
from .main import run


def main() -> None:
    """Import the service in this process, whatever threads that starts, and be its job's runner."""
    name, release, file = sys.argv[1:4]
    settings = load()

    def service() -> Service:
        request = Folder(settings.jobs_folder).request(name)
        assert request is not None
        return next(s for s in catalogue.load_file(Path(file)) if s.name == request.service)

    run(settings, name, int(release), service)


if __name__ == "__main__":
    main()

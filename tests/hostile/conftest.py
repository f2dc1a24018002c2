"""One deployment for all of these tests: what one of them sends harms no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from callers import Caller, Web, warm
from lab import SAMPLES, Lab


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with its supervisor, that stands for as long as these tests take."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "services").mkdir()
    for file in ("services.py", "hostile.py"):
        shutil.copy(SAMPLES / file, folder / "services" / file)
    shutil.copy(SAMPLES / "unruly.py", folder / "services" / "_unruly.py")
    lab = Lab(folder / "jobs", folder / "services")
    lab.supervise()
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def caller(standing: Lab) -> Caller:
    """Its SOAP face, whose lane knows polls as `envelope` writes them; `.ci/run` has these tests without one, too."""
    return warm(Caller(standing))


@pytest.fixture(scope="session")
def served(standing: Lab) -> Iterator[Web]:
    """The same over HTTP."""
    web = Web(standing)
    yield web
    web.close()

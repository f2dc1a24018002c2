"""The laboratories of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callers import Caller, Web
from fleetlab import way
from lab import SAMPLES, Lab

# one worker has them all, in their order: they share images, a story's deployment, addresses of this machine
TOGETHER = (
    "tests/containers/",
    "tests/scripts/test_scripts.py",
    "tests/fleet/test_drills.py",
    *(
        f"tests/corpus/test_{name}.py"
        for name in ("draws", "forks_with_an_instrument", "services_apart", "stops_decide")
    ),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means here: the tests mostly wait."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test goes to whoever is free, but for those of TOGETHER."""
    from xdist.scheduler import LoadScopeScheduling

    # not pytest-xdist's own marks for that: with pytest 9.2 they have no effect
    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((kept for kept in TOGETHER if nodeid.startswith(kept)), nodeid)

    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if way() is not Lab:
        for item in items:
            if item.get_closest_marker("folder_way"):
                item.add_marker(pytest.mark.skip(reason="about one machine alone"))


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """A services folder with the samples."""
    folder = tmp_path / "services"
    folder.mkdir()
    for file in ("services.py", "broken.py"):
        shutil.copy(SAMPLES / file, folder / file)
    shutil.copy(SAMPLES / "unruly.py", folder / "_unruly.py")
    shutil.copy(SAMPLES / "unruly.py", folder.parent / "unruly.py")
    return folder


@pytest.fixture
def lab(tmp_path: Path, services: Path) -> Iterator[Lab]:
    """A lab with its supervisor running."""
    one = way()(tmp_path / "jobs", services)
    one.supervise()
    yield one
    one.close()


@pytest.fixture
def make_lab(tmp_path: Path, services: Path) -> Iterator[Callable[..., Lab]]:
    """A lab with settings of the test's own; its supervisor is the test's to start."""
    made: list[Lab] = []

    def make(root: Path | None = None, services_folder: Path | None = None, **settings: str) -> Lab:
        made.append(way()(root or tmp_path / "jobs", services_folder or services, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def caller(lab: Lab) -> Caller:
    """The SOAP face of the lab, called in this process."""
    return Caller(lab)


@pytest.fixture
def web(lab: Lab) -> Iterator[Web]:
    """The lab served over HTTP."""
    one = Web(lab)
    yield one
    one.close()


@pytest.fixture
def make_web() -> Iterator[Callable[..., Web]]:
    """Serve a lab with a number of workers."""
    made: list[Web] = []

    def make(lab: Lab, workers: int = 1) -> Web:
        made.append(Web(lab, workers))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("a small disk takes the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)

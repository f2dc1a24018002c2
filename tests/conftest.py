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
from chromium import browser, open_screen  # noqa: F401 - fixtures: here alone, for a process has one Playwright
from fleetlab import way
from lab import SAMPLES, Lab

# one worker has them all, in their order: they share images, a site, a story's deployment, addresses of this machine
TOGETHER = (
    "tests/containers/",
    "tests/docs/test_site.py",
    "tests/scripts/",
    "tests/fleet/test_drills.py",
    *(
        f"tests/corpus/test_{name}.py"
        for name in ("draws", "forks_with_an_instrument", "services_apart", "stops_decide")
    ),
)

# what nobody is made to wait for who has changed a line: it is marked slow, and `./test.sh` alone leaves it out
SLOW = (
    # other programs: container engines, toolkits, Redis with its machines, a copy of the repository with a .venv
    "tests/containers/",
    "tests/fleet/",
    "tests/scripts/",
    "tests/toolkits/",
    # many of a kind, of which the quick tests have some
    "tests/client/",
    "tests/corpus/",
    "tests/services/",
    "tests/care/test_machines_and_orders.py",
    "tests/care/test_redis_is_checked.py",
    "tests/care/test_redis_says_why.py",
    "tests/care/test_who_may_do_what.py",
    "tests/cli/test_deployment.py",
    "tests/cli/test_two_labs.py",
    "tests/cli/test_environment.py",
    "tests/cli/test_locales.py",
    "tests/desk/test_bad_services.py",
    "tests/desk/test_strangers.py",
    "tests/desk/test_workflow.py",
    "tests/soap/test_answers_form.py",
    "tests/soap/test_both_ways.py",
    "tests/soap/test_suds_and_zeep.py",
    "tests/web/test_api_document.py",
    "tests/instruments/test_abandoned.py",
    "tests/instruments/test_commands.py",
    "tests/instruments/test_devices.py",
    "tests/instruments/test_endings.py",
    "tests/instruments/test_foreign.py",
    "tests/instruments/test_hanging_lines.py",
    "tests/instruments/test_leases.py",
    "tests/instruments/test_lost.py",
    "tests/instruments/test_printer_quiet.py",
    "tests/instruments/test_simulated_lab.py",
    # what goes wrong with disks, processes and people, one by one
    "tests/stories/test_anything_may_die.py",
    "tests/stories/test_counted_by_many_workers.py",
    "tests/stories/test_empty_files.py",
    "tests/stories/test_ends_that_cannot_be_read.py",
    "tests/stories/test_habits.py",
    "tests/stories/test_one_bad_apple.py",
    "tests/stories/test_other_users.py",
    "tests/stories/test_recording.py",
    "tests/stories/test_records_that_cannot_be_read.py",
    "tests/stories/test_service_files_change.py",
    "tests/stories/test_the_web_side_comes_back.py",
    "tests/stories/test_the_web_side_may_die.py",
    "tests/stories/test_want.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", dest="every_test", help="the slow ones, too")


def pytest_configure(config: pytest.Config) -> None:
    """Whoever names tests, by a path, -k, -m or as those that failed last, gets what is named."""
    option = config.option
    if hasattr(config, "workerinput"):  # a process of pytest-xdist's: it is told
        option.every_test = config.workerinput["every_test"]
        return
    named = config.args_source is config.ArgsSource.ARGS or option.markexpr or option.keyword
    named = named or config.getoption("lf", False)  # without pytest's cache there is no such option
    option.every_test = bool(option.every_test or named)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist's what the command line meant: it knows only paths."""
    node.workerinput["every_test"] = node.config.option.every_test


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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are left out whole need not be imported by each of the processes."""
    place = os.path.relpath(collection_path, config.rootpath)
    whole = place in SLOW or f"{place}/" in SLOW
    return True if whole and not config.option.every_test else None


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    if not config.option.every_test:
        left_out = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=left_out)
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

"""What an installed labwaiter brings to pytest: the fixtures `lab` and `wire` (docs/testing.md).

It lies outside of the package because pytest imports it in each of its runs, whoever's they are: the package, which is
a hundred modules, is imported when a fixture is asked for, and not before (docs/decisions/0031).
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labwaiter.testing import Lab, Wires

_WIRES = pytest.StashKey["Wires"]()
_PASSED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Tests in a lab's folder import its own drivers as its jobs do: they lie beside its services."""
    for folder in (config.rootpath, *config.rootpath.parents):
        if (folder / "env").is_file() and (folder / "app").is_dir():
            from labwaiter.errors import Misconfigured
            from labwaiter.settings import load

            try:
                sys.path.append(str(load(env_file=folder / "env").services))
            except Misconfigured:
                pass  # the fixture says what is wrong, to the tests that need it
            return


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A deployment of the lab's folder that this test lies in, with simulated instruments: a labwaiter.testing.Lab.

    It is ended, and every job settled, when the test is over, however it went.
    """
    from labwaiter.errors import Misconfigured
    from labwaiter.testing import Lab

    try:
        one = Lab.around(request.path.parent, tmp_path / "lab")
    except Misconfigured as error:
        told = pytest.fail.Exception(str(error), pytrace=False)
        raise told from None  # the sentence is all that there is to say
    with one:
        yield one
        left = one.running_in_words()
    if left and request.node.stash.get(_PASSED, False):  # one that failed could not end them
        request.node.warn(pytest.PytestWarning(left))


@pytest.fixture
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wires]:
    """Gives the port of a device that knows a written dialogue: wire([(b"VOLT?\\n", b"1.25\\n"), …]).

    The test fails with the line where a driver went another way, and with what of the dialogue was not said.
    """
    from labwaiter.testing import Wires

    wires = request.node.stash[_WIRES] = Wires(tmp_path, request.path.parent)
    try:
        yield wires
    finally:
        wires.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Say what a dialogue has to say of how the test went."""
    wires = item.stash.get(_WIRES, None)
    try:
        result = yield
    except Exception as error:
        if wires is not None and (told := wires.check()):
            error.add_note(told)  # it is what the driver has met, on a line that was silent from there on
        raise
    if wires is not None and (told := wires.check()):
        pytest.fail(told, pytrace=False)
    item.stash[_PASSED] = True
    return result

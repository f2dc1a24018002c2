"""The operator's page as an operator has it: a deployment with simulated instruments, and Chromium before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from the_bench import LAB, services

from callers import Web
from chromium import Screen
from lab import Lab


@pytest.fixture(scope="session")
def make_standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[Lab, Web]]]:
    """A deployment with two instruments, and its web side."""
    made: list[tuple[Lab, Web]] = []

    def make(**settings: str) -> tuple[Lab, Web]:
        folder = tmp_path_factory.mktemp("operator")
        (folder / "lab.toml").write_text(LAB)
        lab = Lab(folder / "jobs", services(folder / "services"), LAB=str(folder / "lab.toml"), **settings)
        lab.supervise()
        made.append((lab, Web(lab)))
        return made[-1]

    yield make
    for lab, web in made:
        web.close()
        lab.close()


@pytest.fixture(scope="session")
def standing(make_standing: Callable[..., tuple[Lab, Web]]) -> tuple[Lab, Web]:
    """One where no token is asked for."""
    return make_standing(TOKENS="")


@pytest.fixture
def screen(open_screen: Callable[..., Screen], standing: tuple[Lab, Web]) -> Screen:
    """A window before the deployment that asks for no token. Nothing on its page may be refused by the browser."""
    return open_screen(standing[1])

"""One deployment for all of the corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from script_all import TRAITS
from ways import Corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """The scripts in place, and a deployment that runs them."""
    before = dict(os.environ)
    one = Corpus(tmp_path_factory.mktemp("corpus"))
    one.lay(TRAITS)
    one.start()
    yield one
    one.lab.close()
    os.environ.clear()
    os.environ.update(before)

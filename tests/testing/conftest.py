"""Labs of those who test with labwaiter.testing."""

from __future__ import annotations

from pathlib import Path

import pytest

from _labwaiter_pytestplugin import lab as lab  # instead of the engine's own of tests/conftest.py
from labfolder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "mylab")

"""Spyne 2.14.0 (2022) on Python 3.12 and later: imported before any of Spyne.

Its bundled six finds its `six.moves` by a protocol that Python 3.12 removed, and it imports `cgi`,
which Python 3.13 removed, for a function that only its own WSGI server calls, which we don't use.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import sys
import types
from typing import Any

_MOVES = "spyne.util.six."


class _SixMoves:
    """Finds what the bundled six offers, by the protocol of today."""

    def _importer(self, name: str) -> Any:
        for finder in sys.meta_path:
            if type(finder).__name__ == "_SixMetaPathImporter" and name in getattr(finder, "known_modules", ()):
                return finder
        return None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.startswith(_MOVES) and self._importer(name) is not None:
            return importlib.util.spec_from_loader(name, self)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module: types.ModuleType = self._importer(spec.name).load_module(spec.name)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """It's there already."""


if sys.version_info >= (3, 12):
    sys.meta_path.append(_SixMoves())  # type: ignore[arg-type]
if sys.version_info >= (3, 13):
    sys.modules.setdefault("cgi", types.ModuleType("cgi"))

# it logs what callers send when it can't read it, session tokens included
logging.getLogger("spyne").setLevel(logging.CRITICAL + 1)

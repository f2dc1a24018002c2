"""The services as they are offered, tried with what labwaiter brings to whoever writes one."""

from __future__ import annotations

# instead of the engine's own `lab` of tests/conftest.py
from _labwaiter_pytestplugin import lab as lab

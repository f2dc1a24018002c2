"""What orders lean on of RQ is there, and of the version that was read."""

from __future__ import annotations

import inspect

import pytest
import rq

from here import ROOT
from labwaiter.fleet.rq_orders import CALLED, LEANS_ON_RQ, OVERRIDDEN, StartOrder, Taker


def test_the_pinned_rq_is_the_one_whose_source_was_read() -> None:
    assert rq.VERSION == LEANS_ON_RQ
    assert f"\nrq=={LEANS_ON_RQ} " in (ROOT / "requirements.txt").read_text()


@pytest.mark.parametrize("kind", OVERRIDDEN)
def test_what_is_overridden_is_there_and_takes_the_same(kind: type) -> None:
    (ours,) = [one for one in (StartOrder, Taker) if issubclass(one, kind)]
    for name in OVERRIDDEN[kind]:
        assert name in vars(ours), name
        theirs = inspect.signature(getattr(kind, name)).parameters
        assert list(inspect.signature(getattr(ours, name)).parameters) == list(theirs), name
    own = {name for name in vars(ours) if callable(getattr(kind, name, None)) and not name.startswith("__")}
    assert own - {"job_class", "death_penalty_class"} == set(OVERRIDDEN[kind])


@pytest.mark.parametrize("kind", CALLED)
def test_what_is_called_is_there(kind: type) -> None:
    assert all(hasattr(kind, name) for name in CALLED[kind])

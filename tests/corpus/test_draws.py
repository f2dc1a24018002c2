"""Two hundred jobs of one service draw two hundred different numbers, from whatever they draw them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from ways import HERE

from lab import Lab
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

JOBS = 200  # of which one in five comes when the one before it has ended, the others all at once
SCRIPTS = 40  # that import numpy: each takes as long to come up as numpy does
Draw = Callable[..., dict[str, list[str]]]


@pytest.fixture(scope="module", params=[1, 2], ids=["one CPU", "two CPUs"])
def draw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Draw]:
    """Runs the jobs of a service, once: what each of its generators gave in each of them."""
    root = tmp_path_factory.mktemp("dice")
    shutil.copytree(HERE / "samples" / "dice", root / "services")
    if importlib.util.find_spec("faker") is None:
        (root / "services" / "faker_draws.py").unlink()
    # numpy without threads of its own is what a warm process may hold
    lab = Lab(root / "jobs", root / "services", MAX_RUNNING="12", OPENBLAS_NUM_THREADS="1")
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cpus)[: request.param]))
    try:
        lab.supervise()
    finally:
        os.sched_setaffinity(0, cpus)
    drawn: dict[str, dict[str, list[str]]] = {}

    def once(service: str, jobs: int = JOBS) -> dict[str, list[str]]:
        if service not in drawn:
            drawn[service] = drawn_in(lab, service, jobs)
        return drawn[service]

    yield once
    lab.close()


def drawn_in(lab: Lab, service: str, jobs: int) -> dict[str, list[str]]:
    names = [f"{service} {number}" for number in range(jobs)]
    later = jobs // 5
    for name in names[later:]:
        lab.start(service, name)
    drawn = [drawn_by(lab, name) for name in names[later:]]
    for name in names[:later]:
        lab.start(service, name)
        drawn.append(drawn_by(lab, name))
    return {kind: [json.dumps(one[kind]) for one in drawn] for kind in drawn[0]}


def drawn_by(lab: Lab, service_id: str) -> dict[str, object]:
    record = lab.jobs.wait(service_id, 100, SHELL)
    assert record.state is State.COMPLETED and record.outputs is not None, record.why
    return dict(json.loads(str(record.outputs["drawn"])))


def test_a_script_that_is_run_twice_in_a_job_draws_anew(draw: Draw) -> None:
    assert set(draw("ScriptDrawsTwice", 10)["the same"]) == {"[]"}


def assert_all_differ(drawn: dict[str, list[str]], place: str, jobs: int = JOBS) -> None:
    kinds = [kind for kind in drawn if kind.startswith(place)]
    assert kinds
    for kind in kinds:
        assert len(drawn[kind]) == jobs
        assert len(set(drawn[kind])) == jobs, f"{kind}: only {len(set(drawn[kind]))} differ"


@pytest.mark.parametrize("place", ["top", "class", "function"])
def test_the_standard_library_draws_anew_in_each_job(draw: Draw, place: str) -> None:
    assert_all_differ(draw("Draws"), place)


def test_the_standard_library_draws_anew_in_each_script(draw: Draw) -> None:
    assert_all_differ(draw("ScriptDraws"), "script")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["top", "class", "function"])
def test_numpy_draws_anew_in_each_job(draw: Draw, place: str) -> None:
    pytest.importorskip("numpy")
    assert_all_differ(draw("NumpyDraws"), place)


@pytest.mark.slow
def test_numpy_draws_anew_in_each_script(draw: Draw) -> None:
    pytest.importorskip("numpy")
    assert_all_differ(draw("NumpyScriptDraws", SCRIPTS), "script", SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["top", "class", "function"])
def test_faker_draws_anew_in_each_job(draw: Draw, place: str) -> None:
    pytest.importorskip("faker")
    assert_all_differ(draw("FakerDraws"), place)

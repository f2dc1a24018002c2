"""The OpenAPI document of the JSON face: valid, and true of what is answered, whatever is asked.

schemathesis draws requests from the document and judges the answers by it. The same ones in each run;
`HYPOTHESIS_PROFILE=long ./test.sh tests/web/test_api_document.py` draws sixty times as many, other ones each time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as of_openapi

from api_client import Api
from callers import Web
from lab import SAMPLES, Lab

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TIMES = 500 if LONG else 8
JUDGED = [
    checks.not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
]
LAB_TOML = '[instruments.smu]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A deployment with executions, an instrument and a schedule."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "services").mkdir()
    (folder / "services" / "services.py").write_bytes((SAMPLES / "services.py").read_bytes())
    (folder / "lab.toml").write_text(LAB_TOML)
    (folder / "schedule.toml").write_text('[schedules.air]\nservice = "Steps"\nevery = "1 h"\n')
    lab = Lab(
        folder / "jobs", folder / "services", LAB=str(folder / "lab.toml"), SCHEDULE=str(folder / "schedule.toml")
    )
    lab.supervise()
    one = Web(lab)
    lab.start("Steps", "ended", count=1)
    lab.start("Steps", "removed", count=1)
    lab.start("Talk", "runs")
    (lab.folder("ended") / "data").mkdir(exist_ok=True)
    (lab.folder("ended") / "data" / "result.txt").write_text("42")
    lab.ended("ended"), lab.ended("removed")
    yield one
    one.close()
    lab.close()


def test_the_document_is_valid_and_says_how_to_call(web: Web) -> None:
    document = Api(web, "").get("/openapi.json").data
    schemathesis.openapi.from_dict(document).validate()
    assert document["components"]["securitySchemes"]["sessionToken"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                assert operation["summary"] and "default" in operation["responses"], (method, path)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as it says", "otherwise"])
def test_what_is_answered_is_what_it_says(web: Web, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{web.url}/api/v1/openapi.json")
    asked: dict[str, set[int]] = {}
    operations = [found.ok() for found in schema.get_all_operations()]  # a reference that leads nowhere has none
    for operation in operations:

        @settings(
            max_examples=TIMES,
            derandomize=not LONG,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            _have_it_mean_something(case)
            has_worked = min(asked.get(case.operation.label, {500})) < 300
            if "/direct-control" in case.operation.path and mode is GenerationMode.POSITIVE and not has_worked:
                _have_it_in_hand(Api(web, ""), case)
            response = case.call(headers={"Authorization": "Bearer t"})
            asked.setdefault(case.operation.label, set()).add(response.status_code)
            case.validate_response(response, checks=JUDGED)

        with contextlib.suppress(Unsatisfiable):  # what asks for nothing can't be asked otherwise
            ask()
    if mode is GenerationMode.POSITIVE:
        barely = {label for label, statuses in asked.items() if not any(status < 300 for status in statuses)}
        assert not barely, asked
        assert len(asked) == len(operations)


def _have_it_mean_something(case: Any) -> None:
    """Names that there are, in the place of half of those that were drawn; and no long waits."""
    path, method = case.operation.path, case.method
    known = {"file": "result.txt", "name": "ended", "control_name": "volts", "action": "output"}
    if "/instruments/" in path or "/services/" in path:
        known["name"] = "smu" if "/instruments/" in path else "Steps"
    elif path.endswith("/messages") or method == "DELETE":
        known["name"] = "runs" if method == "POST" else "removed"
    for name, value in list((case.path_parameters or {}).items()):
        if len(str(value)) % 2 or len(str(value)) < 3:
            case.path_parameters[name] = known[name]
    if isinstance(case.query, dict) and isinstance(case.query.get("wait"), int | float):
        case.query["wait"] = min(case.query["wait"], 0.1)
    if isinstance(case.body, dict) and path.endswith("/executions"):
        case.body |= {"service": "Steps", "inputs": {"count": 1}}
    if isinstance(case.body, dict) and isinstance(case.body.get("names"), list):
        case.body["names"] = ["smu"]
    if isinstance(case.body, dict) and path.endswith("/clear-queue"):
        case.body.pop("machines", None)
    if isinstance(case.body, dict) and case.path_parameters.get("control_name") == "volts":
        case.body["value"] = 1.5
    if isinstance(case.body, dict) and case.path_parameters.get("action") == "output":
        case.body["inputs"] = {"on": False}


def _have_it_in_hand(api: Api, case: Any) -> None:
    """It is in hand where something is to be done with it, and in nobody's where it is to be taken."""
    api("DELETE", "/instruments/smu/out-of-service")
    is_taken = api.get("/instruments/smu/direct-control").status == 200
    if case.method == "PUT" and case.operation.path.endswith("/direct-control"):
        if is_taken:
            api("DELETE", "/instruments/smu/direct-control")
    elif not is_taken:
        api("PUT", "/instruments/smu/direct-control", {})

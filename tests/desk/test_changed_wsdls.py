"""What changed of a service's WSDL is told in the words of whoever has registered it."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from lab import SAMPLES
from labwaiter import Job, Outputs, Range, Unit
from labwaiter.desk.changes import changes
from labwaiter.desk.wsdl import WsdlDescription, of_text, read_file
from labwaiter.model.service import read_signature
from labwaiter.soap import wsdl

NS = "http://lab.example/grower/"
KEPT = Path(__file__).parents[2] / "app" / "services"
Height = Annotated[float, Range(1, 500, "mm")]


class Grown(Outputs):
    result: str
    mass: Annotated[float, Unit("mg")]


def seen(function: Callable[..., Any], name: str = "Grower", namespace: str = NS) -> WsdlDescription:
    """The WSDL of a service, as a workflow editor reads it."""
    return of_text(wsdl.template(read_signature(function, name=name, namespace=namespace)), name)


def grower(**annotations: Any) -> Callable[..., Any]:
    """A service with these inputs: name=annotation, or name=(annotation, default)."""
    outputs = annotations.pop("outputs", Grown)

    def startGrower(job: Job) -> None: ...

    parameters = [inspect.Parameter("job", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Job)]
    for name, told in annotations.items():
        kind, *default = told if isinstance(told, tuple) else (told,)
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=kind,
                default=default[0] if default else inspect.Parameter.empty,
            )
        )
    startGrower.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    startGrower.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": outputs}
    return startGrower


def outputs(**annotations: Any) -> type[Outputs]:
    return type("Made", (Outputs,), {"__annotations__": annotations, "__module__": __name__})


BEFORE = {"height": (Height, 50.0), "colour": (Literal["red", "green"], "red"), "name": (str, "x")}
SWAPPED = dict([*list(BEFORE.items())[1:], list(BEFORE.items())[0]])
IN_BETWEEN = {"height": BEFORE["height"], "speed": (int, 3), "colour": BEFORE["colour"], "name": BEFORE["name"]}


@pytest.mark.parametrize(
    ("now", "level", "sentence"),
    [
        (BEFORE | {"speed": (int, 3)}, "fine", "The input speed of startGrower was appended."),
        (IN_BETWEEN, "error", "The input speed of startGrower was put in before colour."),
        (
            {"speed": int, **BEFORE},
            "error",
            "The input speed of startGrower is new, and must be given by every caller.",
        ),
        ({k: v for k, v in BEFORE.items() if k != "colour"}, "error", "The input colour of startGrower is gone"),
        (
            {"width" if k == "height" else k: v for k, v in BEFORE.items()},
            "error",
            "The input height of startGrower is gone; width, of the same type, stands in its place.",
        ),
        (
            SWAPPED,
            "error",
            "The inputs of startGrower stand in the order colour, name, height, and did in height, colour, name.",
        ),
        (BEFORE | {"height": (int, 50)}, "error", "The input height is xs:int, and was xs:double."),
        ({"height": Height} | {k: v for k, v in BEFORE.items() if k != "height"}, "error", "height can no longer be"),
        (BEFORE | {"height": (Annotated[float, Range(1, 100, "mm")], 50.0)}, "error", "must be at most 100, and was"),
        (BEFORE | {"height": (Annotated[float, Range(0, 900, "mm")], 50.0)}, "fine", "must be at least 0, and was"),
        (BEFORE | {"height": (Annotated[float, Range(1, 500, "cm")], 50.0)}, "warning", "is in cm, and was in mm."),
        (
            BEFORE | {"height": (Height, 60.0)},
            "warning",
            "The input height is 60.0 where it is left out, and was 50.0.",
        ),
        (BEFORE | {"colour": (Literal["red"], "red")}, "error", "The input colour can no longer be green."),
        (BEFORE | {"colour": (Literal["red", "green", "blue"], "red")}, "fine", "The input colour may be blue, too."),
        (BEFORE | {"colour": (str, "red")}, "fine", "The input colour may be any text, and was one of red, green."),
        (BEFORE | {"name": (Literal["x", "y"], "x")}, "error", "The input name is one of x, y, and was any text."),
        (
            BEFORE | {"outputs": outputs(result=str, mass=float, length=float)},
            "fine",
            "The output length of startGrower was appended.",
        ),
        (
            BEFORE | {"outputs": outputs(result=str, length=float, mass=float)},
            "error",
            "The output length of startGrower was put in before mass.",
        ),
        (BEFORE | {"outputs": outputs(result=str)}, "error", "The output mass of startGrower is gone."),
        (BEFORE | {"outputs": outputs(result=str, mass=int)}, "error", "The output mass is xs:int, and was xs:double."),
    ],
)
def test_a_change_is_told_with_what_it_is_to_callers(now: dict[str, Any], level: str, sentence: str) -> None:
    found = changes(seen(grower(**BEFORE)), seen(grower(**now)))
    assert [finding.level for finding in found if sentence in finding.what] == [level], found
    assert found[0].level == level, found  # and nothing graver is said of it
    assert all(finding.mend for finding in found if finding.level != "fine")


def test_what_start_and_status_share_is_told_once() -> None:
    found = changes(seen(grower(**BEFORE)), seen(grower(**BEFORE, outputs=outputs(result=str))))
    assert len(found) == 1


def test_the_same_service_has_not_changed() -> None:
    assert changes(seen(grower(**BEFORE)), seen(grower(**BEFORE))) == []


def test_another_name_namespace_or_operation_is_told() -> None:
    def startGrow(job: Job) -> None: ...

    before = seen(grower())
    told = [f.what for f in changes(before, seen(grower(), namespace="http://other.example/"))]
    assert told == [f"Its namespace is http://other.example/, and was {NS}."]
    told = [f.what for f in changes(before, seen(grower(), name="Growing"))]
    assert "The service is called Growing, and was Grower." in told
    told = [f.what for f in changes(seen(grower(outputs=None)), seen(startGrow))]
    assert told == ["The start operation is startGrow, and was startGrower."]


def test_what_became_of_our_own_services_since_0_4_0_is_told_and_no_more() -> None:
    """Its documentation has other words now, which no caller feels."""
    now = {name: of_text((KEPT / f"{name}.wsdl").read_bytes(), name) for name in ("Waiter", "Ventilation")}
    before = {name: read_file(SAMPLES / "wsdl-0.4.0" / f"{name}.wsdl") for name in now}
    assert changes(before["Waiter"], now["Waiter"]) == []
    assert [(finding.level, finding.what) for finding in changes(before["Ventilation"], now["Ventilation"])][:1] == [
        (
            "error",
            "The output final of startVentilation is gone; finalConcentration, of the same type, stands in its place.",
        )
    ]

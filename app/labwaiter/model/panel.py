"""What an instrument can be asked, set to and told, as data: what its driver declares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import InvalidParameter
from .parameter import Parameter, shown
from .service import parameter_of


class What(StrEnum):
    """What can be done with an item of a panel."""

    READING = "reading"  # it is read
    CONTROL = "control"  # it is read, and set to a value within its limits
    ACTION = "action"  # it is done, with inputs or without


@dataclass(frozen=True)
class Item:
    """One reading, control or action."""

    name: str
    what: What
    doc: str = ""  # in words, for people
    unit: str = ""  # of what is read
    inputs: tuple[Parameter, ...] = ()  # of a control its value alone, under its own name

    def accept(self, instrument: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values as the driver will get them. Raises InvalidParameter, MissingParameter: a sentence says why."""
        if strange := [name for name in values if name not in {p.name for p in self.inputs}]:
            names = ", ".join(p.name for p in self.inputs) or "none"
            raise InvalidParameter(
                f"{instrument}: {self.name} takes nothing that is called {shown(strange[0])}; it takes: {names}."
            )
        accepted = {}
        for parameter in self.inputs:
            of = "" if parameter.name == self.name else f"{self.name}: "
            subject = f"{instrument}: {of}{parameter.name}"
            accepted[parameter.name] = parameter.accept(values.get(parameter.name), subject)
        return accepted


@dataclass(frozen=True)
class Panel:
    """All that an instrument's driver declares, in its order."""

    items: tuple[Item, ...] = ()

    def find(self, instrument: str, name: str, *kinds: What) -> Item:
        """One of them, by its name. Raises InvalidParameter: there is none of that kind."""
        for item in self.items:
            if item.name == name and item.what in kinds:
                return item
        known = ", ".join(item.name for item in self.items if item.what in kinds) or "none"
        raise InvalidParameter(f"{instrument} has no {kinds[0]} {shown(name)}; there are: {known}.")

    def of(self, *kinds: What) -> tuple[Item, ...]:
        """Those of these kinds."""
        return tuple(item for item in self.items if item.what in kinds)

    def as_data(self) -> list[dict[str, Any]]:
        """What JSON can hold of it, for `panel_of`."""
        return [vars(item) | {"inputs": [vars(p) for p in item.inputs]} for item in self.items]


def panel_of(data: list[dict[str, Any]]) -> Panel:
    """The panel that `as_data` wrote down. Raises KeyError, TypeError, ValueError: it is none."""
    items = []
    for item in data:
        inputs = tuple(parameter_of(p) for p in item["inputs"])
        items.append(Item(item["name"], What(item["what"]), item["doc"], item["unit"], inputs))
    return Panel(tuple(items))

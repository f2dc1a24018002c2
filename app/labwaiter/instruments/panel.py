"""What a driver declares for whoever has its instrument in hand: read off its class, or off lab.toml's `panel`."""

from __future__ import annotations

import inspect
import typing
from dataclasses import replace
from typing import Annotated, Any

from ..errors import Misconfigured
from ..lab.lab import InstrumentEntry
from ..model.panel import Item, Panel, What
from ..model.parameter import Parameter
from ..model.service import describe, read_input
from .instrument import Instrument
from .quantity import Quantity, Reading

_KINDS: dict[Any, str] = {float: "float", int: "int", bool: "boolean"}


def panel_of(device: Any, entry: InstrumentEntry) -> Panel:
    """The panel of an open instrument.

    Of a driver of ours: its `reading`s and `control`s; its properties that return a `Reading`, or something that is
    `Annotated`, which are controls where they can be set; its methods that are marked by `@action`. Of another
    library's, what lab.toml lists.

    Raises:
        Misconfigured: an annotation can't be read.
    """
    panel = declared_by(type(device), entry)
    limits = device.limits() if isinstance(device, Instrument) else {}
    return Panel(tuple(_limited(item, limits[item.name]) if item.name in limits else item for item in panel.items))


def declared_by(driver: Any, entry: InstrumentEntry) -> Panel:
    """The panel of an instrument that isn't open: without the limits that only its device can tell.

    Raises Misconfigured as `panel_of`.
    """
    if not isinstance(driver, type) or not issubclass(driver, Instrument):
        return _listed(entry)
    members: dict[str, Any] = {}
    for base in reversed(driver.__mro__):
        members |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    found = [_item(driver, name, value) for name, value in members.items()]
    return Panel(tuple(item for item in found if item is not None))


def _item(driver: type, name: str, member: Any) -> Item | None:
    where = f"{driver.__name__}.{name}"
    if isinstance(member, Quantity):
        value = Parameter(name, _KINDS.get(member.kind, "text"), low=member.low, high=member.high, unit=member.unit)
        doc = (member.__doc__ or "").removesuffix(".")
        if member.put is None:
            return Item(name, What.READING, doc, member.unit)
        return Item(name, What.CONTROL, doc, member.unit, (value,))
    if isinstance(member, property) and member.fget is not None:
        given = _hints(where, member.fget).get("return")
        if given is not Reading and typing.get_origin(given) is not Annotated:
            return None
        unit = "" if given is Reading else describe(where, name, given).unit
        doc = _first_sentence(member.fget)
        if member.fset is None:
            return Item(name, What.READING, doc, unit)
        value_name = list(inspect.signature(member.fset).parameters)[1]
        value = replace(describe(where, name, _hints(where, member.fset)[value_name]), name=name)
        return Item(name, What.CONTROL, doc, unit or value.unit, (value,))
    if getattr(member, "__labwaiter_action__", False):
        hints = _hints(where, member)
        taken = list(inspect.signature(member).parameters.values())[1:]
        return Item(name, What.ACTION, _first_sentence(member), "", tuple(read_input(where, p, hints) for p in taken))
    return None


def _hints(where: str, function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Misconfigured(f"{where} has an annotation that can't be read: {error}.") from error


def _first_sentence(function: Any) -> str:
    """Its first sentence; the next ones are for whoever calls it in Python."""
    return (inspect.getdoc(function) or "").partition("\n")[0].partition(". ")[0].removesuffix(".")


def _limited(item: Item, limits: tuple[float | None, float | None]) -> Item:
    low, high = limits
    return replace(item, inputs=tuple(replace(value, low=low, high=high) for value in item.inputs))


def _listed(entry: InstrumentEntry) -> Panel:
    """lab.toml's list, for a driver that declares nothing."""
    panel = entry.panel
    items = [Item(name, What.READING, "", unit) for name, unit in panel.get("readings", {}).items()]
    for name, about in panel.get("controls", {}).items():
        value = Parameter(name, "float", low=about.get("low"), high=about.get("high"), unit=about.get("unit", ""))
        items.append(Item(name, What.CONTROL, "", value.unit, (value,)))
    items += [Item(name, What.ACTION) for name in panel.get("actions", [])]
    return Panel(tuple(items))

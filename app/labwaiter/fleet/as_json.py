"""The verbs' values ⇄ JSON, by the types that they declare: what a face and an instruments' machine tell each other.

Unknown fields are passed over and missing ones have their defaults, so that machines of several releases understand
each other. What is of another type than is declared is no value: nothing off the wire is trusted to be what it seems.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

_PLAIN: dict[Any, tuple[Any, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    types.NoneType: (types.NoneType,),
}


def dumped(value: Any) -> str:
    """A value as JSON: data classes, enums, tuples, sets and what JSON has."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


hints = cache(get_type_hints)


def read(kind: Any, data: Any) -> Any:
    """What `dumped` made of a value of that type, after json.loads. Raises ValueError, TypeError: it is none."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        for one in args:
            try:
                return read(one, data)
            except (ValueError, TypeError, KeyError):
                continue
        raise ValueError(f"no {kind} is {data!r:.50}")
    if origin in (tuple, frozenset):
        if not isinstance(data, list):
            raise ValueError(f"no list is {data!r:.50}")
        if origin is frozenset or args[1:] == (...,):
            return origin(read(args[0], one) for one in data)
        return tuple(read(one, part) for one, part in zip(args, data, strict=True))
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            raise ValueError(f"no object is {data!r:.50}")
        return {read(args[0], key): read(args[1], value) for key, value in data.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(data, dict):
            raise ValueError(f"no object is {data!r:.50}")
        known = hints(kind)
        fields = [field.name for field in dataclasses.fields(kind) if field.name in data]
        return kind(**{name: read(known[name], data[name]) for name in fields})
    if issubclass(kind, Enum):
        return kind(data)
    if type(data) not in _PLAIN[kind] or (isinstance(data, float) and not math.isfinite(data)):
        raise ValueError(f"no {kind.__name__} is {data!r:.50}")
    return data

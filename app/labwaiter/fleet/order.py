"""A start on its way to its machine: a signed text, made once, that only its machine takes.

How such texts queue is RQ's (`rq_orders`); the function that their hashes name to RQ's tools stands here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..model.record import Request
from ..store import codec
from ..store.names import folder_name
from .signing import Seals

FUNCTION = "labwaiter.fleet.order.carry_out"  # lies in Redis: it may not be renamed
PURPOSE = "order"


def carry_out(sealed: str) -> None:
    """What an order's hash names. RQ's own worker would import it: it has nothing to give the order to."""
    raise RuntimeError("Orders of labwaiter are taken by `labwaiter worker`, not by RQ's own workers.")


def order_id(name: str) -> str:
    """The id of an execution's order: RQ knows letters, digits, _ and - only."""
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class Order:
    """A start of an execution, as Redis gets it."""

    name: str  # of the execution
    machine: str
    service: str
    created: float  # Unix time, s
    request: bytes  # request.json
    sealed: str  # that, and the files that come with it, signed for the machine

    @classmethod
    def make(
        cls, seals: Seals, name: str, machine: str, request: Request, text: bytes, files: Mapping[str, str]
    ) -> Order:
        """An order.

        Args:
            text: the request as `codec.dump` has made it: it is not made again.
            files: of the files that it is given, where in Redis each lies, by name.
        """
        # the text of the request is spliced in as it is: it may have 2 MB
        content = (
            f'{{"machine":{json.dumps(machine)},"request":{text.decode().strip()},'
            f'"files":{json.dumps(dict(files), separators=(",", ":"))}}}'
        )
        return cls(name, machine, request.service, request.created, text, seals.seal(PURPOSE, content))


@dataclass(frozen=True)
class OpenedOrder:
    """An order as its machine reads it."""

    name: str
    request: Request
    files: dict[str, str]  # name → where in Redis its content lies


def open_order(seals: Seals, machine: str, id_: str, sealed: object) -> OpenedOrder:
    """What an order says. Raises ValueError for what isn't one of this lab's for this machine, under its id."""
    content = seals.unseal(PURPOSE, sealed) if isinstance(sealed, str) else None
    if content is None or content.get("machine") != machine:
        raise ValueError("This order was not signed by this lab for this machine: it is refused.")
    request = codec.request_of(content["request"])
    name = folder_name(request.service_id)
    if order_id(name) != id_:
        raise ValueError("This order's id is not its execution's: it is refused.")
    return OpenedOrder(name, request, dict(content["files"]))

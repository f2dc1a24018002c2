"""Which machine gets an execution: the one that has its instruments, else one by a rule that always says the same."""

from __future__ import annotations

import hashlib

from ..errors import Misconfigured, Unavailable, UnknownInstrument
from ..lab.lab import Lab
from ..model.record import Request


def machine_for(lab: Lab, name: str, request: Request) -> str:
    """The machine of an execution.

    Without instruments it is the highest of a hash over name and machine (rendezvous hashing, Thaler and
    Ravishankar 1998): the same for ever as long as lab.toml names the same machines, so that nothing that is
    forgotten in between can make one execution run on two.

    Raises:
        UnknownInstrument: its instruments are on more than one machine.
        Unavailable: no machine offers its service.
        Misconfigured: lab.toml names no machine.
    """
    if not lab.machines:
        raise Misconfigured("REDIS_URL is set, but lab.toml names no machine: write a table [machines.NAME] for each.")
    homes = {lab.entries[instrument].machine for instrument in request.instruments}
    if len(homes) > 1:
        raise UnknownInstrument(
            f"The instruments {', '.join(request.instruments)} are on several machines ({', '.join(sorted(homes))});"
            " an execution needs all of its instruments on one."
        )
    offering = [m.name for m in lab.machines.values() if m.services is None or request.service in m.services]
    candidates = [machine for machine in offering if not homes or machine in homes]
    if not candidates:
        where = f"the machine {homes.pop()}, which has its instrument," if homes else "any machine of lab.toml"
        raise Unavailable(f"The service {request.service} is not offered by {where}; tell the administrator.")
    return max(candidates, key=lambda machine: hashlib.sha256(f"{name}\0{machine}".encode()).digest())

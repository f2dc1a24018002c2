"""The addresses of what a laboratory is otherwise: who calls, its services, schedules and machines."""

from __future__ import annotations

from typing import Any

from flask import Response, g

from .. import __version__
from ..authentication import authenticator
from ..catalogue.catalogue import Broken, Catalogue, WatchedCatalogue
from ..errors import InvalidParameter, Unavailable
from ..lab import labfile
from ..model.parameter import Parameter
from ..model.service import Service
from ..settings import Settings
from ..verbs import Jobs
from ..verbs.permission import Action, permit, usually
from . import schemas
from .addresses import Addresses
from .answers import answered, tag

ADDRESSES = ("me", "services", "executions", "instruments", "readings", "events", "schedules", "machines")


def blueprint(settings: Settings, offered: WatchedCatalogue, jobs: Jobs) -> Addresses:
    """They over the verbs."""
    at = Addresses("lab", __name__, description="Who calls, services, schedules and machines.")

    @at.get("")
    @at.response(200, schemas.Index)
    def index() -> Response:
        """Say what there is."""
        links = {name: f"{g.root}/api/v1/{name}" for name in (*ADDRESSES, "openapi.json")}
        return answered({"version": __version__, "links": links})

    @at.get("/me")
    @at.response(200, schemas.Me)
    def me() -> Response:
        """Say who calls, and what that somebody may."""
        who = g.caller.identity
        data = {
            "user": who.user,
            "project": who.project,
            "role": str(who.role),
            "authority": who.authority,
            "tokens": authenticator.words(settings),
            "may": [str(action) for action in usually(who)],
        }
        return answered(data, etag=tag(data))

    @at.get("/services")
    @at.response(200, schemas.Services)
    def services() -> Response:
        """List the services with their signatures."""
        catalogue = offered.now()
        names = sorted({*catalogue.services, *catalogue.broken})
        data = {"services": [_service(catalogue, name) for name in names]}
        return answered(data, etag=tag(data))

    @at.get("/services/<string:name>")
    @at.response(200, schemas.Service)
    def service(name: str) -> Response:
        """Tell of one."""
        catalogue = offered.now(name)
        found = catalogue.find(name)
        if found is None:
            names = ", ".join(sorted(catalogue.services)) or "none"
            return g.problems.of(  # type: ignore[no-any-return]
                InvalidParameter(f"There is no such service; there are: {names}."), 404, "No such service"
            )
        data = _service(catalogue, found.name)
        return answered(data, etag=tag(data))

    @at.get("/schedules")
    @at.response(200, schemas.Schedules)
    def schedules() -> Response:
        """Tell how each schedule stands; none where nothing is scheduled."""
        permit(g.caller, Action.LIST_SCHEDULES)
        rows: list[dict[str, Any]] = []
        if settings.schedule.exists():  # RQ, which knows the times, is imported for that alone
            from ..fleet.redis_faults import FAULTS, of
            from ..schedule import scheduler
            from ..schedule.schedule import load

            try:
                standing = scheduler.standing(settings, jobs, load(settings.schedule, offered.whole()), g.caller)
            except FAULTS as error:
                raise Unavailable(f"Nothing is known of the last runs. {of(error).mend}") from error
            rows = [row.as_data() for row in standing]
        return answered({"schedules": rows}, etag=tag({"schedules": rows}))

    @at.get("/machines")
    @at.response(200, schemas.Machines)
    def machines() -> Response:
        """Tell how each machine of the lab is; none where there is no Redis between machines."""
        permit(g.caller, Action.LIST_MACHINES)
        rows: list[dict[str, Any]] = []
        if settings.redis_url:
            from ..fleet import machines as fleet_machines
            from ..fleet.heartbeat import lab_digest
            from ..fleet.lab_redis import LabRedis
            from ..fleet.redis_faults import FAULTS, of

            try:
                states = fleet_machines.states(LabRedis(settings), labfile.load(settings.lab), lab_digest(settings.lab))
            except FAULTS as error:
                raise Unavailable(of(error).mend) from error
            rows = [state.as_data() for state in states]
        return answered({"machines": rows}, etag=tag({"machines": rows}))

    return at


def _service(catalogue: Catalogue, name: str) -> dict[str, Any]:
    found = catalogue.find(name)
    service: Service | None = found.last if isinstance(found, Broken) else found
    return {
        "name": name,
        "available": not isinstance(found, Broken),
        "why": found.reason if isinstance(found, Broken) else "",
        "doc": service.doc if service else "",
        "operation": service.operation if service else "",
        "namespace": service.namespace if service else "",
        "wsdl": f"{g.root}/{name.lower()}/{name}?wsdl",
        "inputs": [_parameter(p) for p in service.inputs] if service else [],
        "outputs": [_parameter(p) for p in service.outputs] if service else [],
        "limit": service.limit if service else None,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    lists = ("choices", "endings", "drivers")
    return vars(parameter) | {name: list(getattr(parameter, name)) for name in lists} | {"limits": parameter.limits}

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
from ..model.record import State
from ..model.service import Service
from ..settings import Settings
from ..verbs import Jobs
from ..verbs.acts import Acts
from ..verbs.as_data import of_messages
from ..verbs.permission import Action, may, permit, usually
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

    @at.post("/clear-queue")
    @at.arguments(schemas.Queues)
    @at.response(200, schemas.Withdrawn)
    def clear_queue(asked: dict[str, Any]) -> Response:
        """Abort what has not begun, of what the caller may abort: all that waits, or on many machines their orders."""
        caller, names = g.caller, asked["machines"] or ()
        if not settings.redis_url:
            if names:
                raise InvalidParameter("This lab has one machine, and no name for it: leave out `machines`.")
            waiting = [
                record.request.service_id
                for record in jobs.list(caller)
                if record.state is State.QUEUED and may(caller, Action.ABORT, record.request)
            ]
            return answered({"withdrawn": jobs.abort_queued(waiting, caller)})
        from ..fleet import machines as fleet_machines
        from ..fleet.redis_faults import FAULTS, away
        from ..fleet.redis_store import RedisStore

        assert isinstance(jobs.records, RedisStore)
        store = jobs.records.store
        try:
            known = [machine.name for machine in fleet_machines.states(store, labfile.load(settings.lab))]
            orders = fleet_machines.waiting(store, fleet_machines.of_names(known, names))
            return answered({"withdrawn": fleet_machines.withdraw(jobs.records, orders, caller, Acts(settings))})
        except FAULTS as error:
            raise away(error) from error

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
        "messages": of_messages(service),
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    lists = ("choices", "endings", "drivers")
    return vars(parameter) | {name: list(getattr(parameter, name)) for name in lists} | {"limits": parameter.limits}

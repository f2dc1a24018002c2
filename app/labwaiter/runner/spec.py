"""What a runner is to do, as a value that is made before it is forked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..model.record import Request
from ..model.service import Service, service_of
from ..settings import Settings
from ..store.folder import Folder
from ..system.process import mark_of


@dataclass(frozen=True)
class RunnerSpec:
    """One job, for its runner: what that needn't make itself stays shared memory."""

    settings: Settings
    store: Folder
    name: str
    folder: str
    mark: str
    request: Request
    service: Service | None  # as the execution was started with it; None: by a release before 0.5


def spec_of(settings: Settings, name: str) -> RunnerSpec:
    """The runner's spec for a job. Raises what `Folder.request` raises."""
    store = Folder(settings.jobs_folder)
    request = store.request(name)
    if request is None:
        raise ValueError(f"{name} has no request")
    mark = mark_of(settings.jobs_folder, name)
    service = service_of(request.signature) if request.signature else None
    return RunnerSpec(settings, store, name, os.fspath(store.path(name)), mark, request, service)

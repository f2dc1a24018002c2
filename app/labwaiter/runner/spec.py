"""What a runner is to do, as a value that is made before it is forked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..model.lab_task import NAME as LAB_TASK
from ..model.record import Request
from ..model.service import Service, service_of
from ..settings import Settings
from ..store.folder import Folder
from ..system.cgroup import Groups
from ..system.process import mark_of
from .confinement import Confinement, confinement_of


@dataclass(frozen=True)
class RunnerSpec:
    """One job, for its runner: what that needn't make itself stays shared memory."""

    settings: Settings
    store: Folder
    name: str
    folder: str
    mark: str
    request: Request
    # as the execution was started with it, and where that is here: another machine's services folder, which the start
    # saw, may be another. None: by a release before 0.5
    service: Service | None
    file: Path | None
    confinement: Confinement
    # versions, and the hash of that file as the process that forks the runner has read it: for the timeline
    made_by: dict[str, Any] = field(default_factory=dict)


def spec_of(settings: Settings, name: str, groups: Groups | None = None) -> RunnerSpec:
    """The runner's spec for a job.

    Args:
        groups: where the job's control group is made.

    Raises:
        NotPossible: it can't be run as it is to be.
        OSError, ValueError, TypeError, KeyError: as `Folder.request`.
    """
    store = Folder(settings.jobs_folder)
    request = store.request(name)
    if request is None:
        raise ValueError(f"{name} has no request")
    mark = mark_of(settings.jobs_folder, name)
    service = service_of(request.signature) if request.signature else None
    named = request.signature.get("file")
    # direct control is written in no file of a service
    is_file = named and request.service != DIRECT_CONTROL
    folder = settings.labs if request.service in (LAB_SESSION, LAB_TASK) else settings.services
    file = folder / Path(str(named)).name if is_file else None
    confinement = confinement_of(settings, service, mark, groups)
    return RunnerSpec(settings, store, name, os.fspath(store.path(name)), mark, request, service, file, confinement)

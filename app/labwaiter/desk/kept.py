"""The WSDLs of a lab's services as they were kept by `labwaiter check --keep`: what callers have registered.

Each lies beside its service's file as NAME.wsdl, with a placeholder for the address: it is the same wherever it is
made. One that was saved from a running deployment does, too: addresses are not compared.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..model.service import Service
from ..store.files import write_whole
from . import changes
from .findings import Finding, error
from .wsdl import Unreadable, of_text, read_file

ENDING = ".wsdl"
UNREADABLE = "The kept WSDL can't be read"


def file_of(name: str, folder: Path) -> Path:
    """Where the WSDL of a service of this name is kept."""
    return folder / f"{name}{ENDING}"


def made(service: Service) -> bytes:
    """The WSDL of a service as it would be kept now."""
    from ..soap import wsdl  # and Spyne with it, which takes a third of a second

    return wsdl.template(service)


def keep(service: Service, folder: Path) -> bool:
    """Keep the WSDL of a service as it is now: whether it was another before. Raises OSError."""
    file, text = file_of(service.name, folder), made(service)
    if file.is_file() and file.read_bytes() == text:
        return False
    write_whole(file, text)
    return True


def compare(service: Service, folder: Path) -> list[Finding] | None:
    """What changed of a service's WSDL since it was kept; None where none is."""
    file = file_of(service.name, folder)
    try:
        before = read_file(file)
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        mend = f"Have the right one there again, or keep it anew: labwaiter check --keep {service.file.name}"
        return [error(f"{UNREADABLE}: {why}", mend)]
    return changes.changes(before, of_text(made(service), service.name))


def is_unreadable(found: list[Finding] | None) -> bool:
    """Whether what `compare` found is that the kept one can't be read."""
    return any(finding.what.startswith(UNREADABLE) for finding in found or ())


def without_service(folder: Path, known: Collection[str]) -> list[Finding]:
    """What is to be said of WSDLs that are kept of services which no file declares any more.

    Args:
        known: the names of the services that files of the folder declare, or seem to.
    """
    kept = sorted(file.stem for file in folder.glob(f"*{ENDING}") if file.is_file())
    return [
        error(
            f"{name} is no longer there, and {name}{ENDING} was kept of it: callers have registered it.",
            "Have its service file there again; once nobody calls it any more, remove the kept WSDL.",
        )
        for name in kept
        if name not in known
    ]

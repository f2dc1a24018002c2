"""Where a deployment's web side listens, and how it is called from here and from elsewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import urllib.request
from ipaddress import ip_address

from ..authentication import authenticator
from ..errors import Misconfigured
from ..settings import Settings, called_here

PUBLISHED = "LABWAITER_PUBLISHED"  # of a container: the host:port that leads to its own port; "" where nobody has said


def resolved(settings: Settings) -> Settings:
    """The settings with the number of the address that HOST names; of several an IPv4 one.

    Raises:
        Misconfigured: it names none, or one that can't be listened on; or nobody has said who may call there.
        TimeoutError: whoever knows names can't be asked now.
    """
    host = settings.host.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    entries = []
    try:
        if re.fullmatch(r"[\w.:-]+", host):  # some resolvers take * for this machine; granian knows no zones
            entries = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TimeoutError(f"HOST={host} is a name that nobody can be asked for now: {error.strerror}.") from error
    except (OSError, UnicodeError):
        pass
    numbers = [str(address[0]) for *_, address in sorted(entries, key=lambda entry: entry[0] != socket.AF_INET)]
    if not numbers or ip_address(numbers[0]).is_multicast or numbers[0] == "255.255.255.255":
        raise Misconfigured(
            f"HOST={settings.host} names no address that can be listened on: 127.0.0.1 is this machine alone, 0.0.0.0"
            " every network card."
        )
    settings = dataclasses.replace(settings, host=numbers[0])
    authenticator.judge(settings)
    return settings


def address(settings: Settings, service: str = "") -> str:
    """A service's address, or this deployment's, as whoever reads it calls it: of a container, the published port."""
    published = os.environ.get(PUBLISHED)
    if published is None:
        return own_address(settings, service)
    return _below(settings.public_url or f"http://{published or '<host>:<port>'}", settings, service)


def own_address(settings: Settings, service: str = "") -> str:
    """The same, as this machine or container calls it: by an address that is listened on."""
    host = called_here(settings.host)
    return _below(f"http://{f'[{host}]' if ':' in host else host}:{settings.port}", settings, service)


def link_address(settings: Settings) -> str:
    """What the links begin with of an execution that nobody called over the web; it must be an address."""
    if settings.public_url:
        return settings.public_url + settings.context_root
    return (address(settings) if os.environ.get(PUBLISHED) else own_address(settings)).rstrip("/")


def _below(start: str, settings: Settings, service: str) -> str:
    root = start + settings.context_root
    return f"{root}/{service.lower()}/{service}" if service else root + "/"


def get(url: str):  # type: ignore[no-untyped-def]
    """The answer of our own web side, as urllib has it. Raises OSError."""
    # a proxy that the environment names has no business with this machine's own port
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)

"""Proxies: which one an address is fetched through, by one rule for all that calls out.

What the environment names is used (http_proxy, https_proxy, and no_proxy for what is called directly, as curl and
urllib read them), and never for this machine itself: a proxy would call itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from .settings import address_in
from .system.network import is_own


def of(url: str) -> str:
    """The proxy for an address, as the environment writes it; "" where it is called directly."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or is_this_machine(parts.hostname or ""):
        return ""
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    return "" if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]) else proxy


def is_this_machine(host: str) -> bool:
    """Whether a host is this very machine by its name or an address, in any spelling.

    Names are looked up only where they begin as this machine's does: far ones are the proxy's to look up.
    """
    host = host.lower().rstrip(".").strip("[]").partition("%")[0]
    name = socket.gethostname().lower()
    if host in ("localhost", name, name.partition(".")[0]) or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    if host.startswith(f"{name.partition('.')[0]}."):
        with contextlib.suppress(OSError, UnicodeError):
            return any(
                is_this_machine(str(entry[4][0])) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            )
        return False
    try:
        address = address_in(host)
    except ValueError:
        return False
    return address is not None and is_own(address)


def mention(url: str) -> str:
    """ " through the proxy … (http_proxy)" where an address is called through one, without its password; else ""."""
    proxy = of(url)
    if not proxy:
        return ""
    scheme = urlsplit(url).scheme
    names = [name for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()) if os.environ.get(name)]
    return f" through the proxy {proxy.rpartition('@')[2]} that {names[0] if names else scheme + '_proxy'} names"


class Proxies(urllib.request.ProxyHandler):
    """That rule as a handler of urllib: for redirections, too."""

    def __init__(self) -> None:
        super().__init__({"http": "", "https": ""})

    def proxy_open(self, req: Any, proxy: str, type: str) -> Any:
        """Send a request to its proxy; None lets it go directly."""
        chosen = of(req.full_url)
        kind = chosen.partition("://")[0] if "://" in chosen else "http"
        if kind not in ("http", "https"):
            raise urllib.error.URLError(
                f"a proxy of the kind {kind} is not spoken with, only one that begins with http"
            )
        return super().proxy_open(req, chosen, type) if chosen else None


def open_url(request: str | urllib.request.Request, seconds: float) -> Any:
    """As urllib's urlopen, by this rule."""
    return urllib.request.build_opener(Proxies()).open(request, timeout=seconds)

"""The address under which callers reach this deployment: what WSDLs and links must say.

PUBLIC_URL decides; else what a trusted proxy says this caller called (X-Forwarded-Proto, -Host,
-Prefix, as nginx, Traefik and Apache are told to send them); else what the caller's own request
says. No request's address is told to another caller. Where none of these tells an address that
a caller can call, there is none: then `root` is "".
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from .settings import HOST, Settings, address_in, is_everywhere

# RFC 9110, section 7.2, as names and addresses are written in the field: no user, no zone, no percent-encoding
_HOST = re.compile(rf"(?P<host>{HOST})(:(?P<port>[0-9]{{0,5}}))?")
# what `root` and `bad_host` look at, of a request
ASKED = (
    "HTTP_HOST",
    "SERVER_PROTOCOL",
    "wsgi.url_scheme",
    "REMOTE_ADDR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PREFIX",
    "SERVER_NAME",
    "SERVER_PORT",
)
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)
_SLASHES = re.compile("//+")
_PREFIX = re.compile(r"(/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)+/?")


def path_of(environ: dict[str, Any], settings: Settings) -> str:
    """The path that was called below the context root; a proxy may keep that in front or strip it.

    "/waiter/Waiter", or "" for the context root itself. Several slashes are one: proxies put such together.
    """
    path = _SLASHES.sub("/", environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).rstrip("/")
    root = settings.context_root
    return path[len(root) :] if path == root or path.startswith(root + "/") else path


def bad_host(environ: dict[str, Any]) -> str:
    """What is wrong with a request's Host, in a sentence: RFC 9112, section 3.2, wants a 400 then. "" if nothing is."""
    host = environ.get("HTTP_HOST", "")
    if not host and environ.get("SERVER_PROTOCOL", "HTTP/1.0") in ("HTTP/1.0", "HTTP/1"):
        return ""
    if host and (_usable(host) or _zoned(host) or _everywhere(host)):
        return ""
    wrong = "has several Hosts" if "," in host else "has a Host that is none"
    if not host:  # the web server tells both alike
        wrong = "has no Host, or one in other letters than ASCII"
    return f"The request {wrong}: name the host that is called in one Host header."


ROOT = "labwaiter.root"  # in environ: what `root` gave before the path was cut for a face


def root(environ: dict[str, Any], settings: Settings) -> str:
    """Scheme, host and context root as this very caller reaches them, without a slash at the end.

    "" where nobody says how the caller reaches them: no Host, or one with a zone that only the caller's machine knows,
    and a server that listens to every address.
    """
    known: str | None = environ.get(ROOT)
    if known is not None:
        return known
    if settings.public_url:
        return settings.public_url + settings.context_root
    scheme = environ.get("wsgi.url_scheme", "http")
    host = _usable(environ.get("HTTP_HOST", ""))
    prefix = settings.context_root
    if is_trusted(environ.get("REMOTE_ADDR", ""), settings):
        forwarded = _first(environ, "HTTP_X_FORWARDED_PROTO").lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
        host = _usable(_first(environ, "HTTP_X_FORWARDED_HOST")) or host
        forwarded = _SLASHES.sub("/", _first(environ, "HTTP_X_FORWARDED_PREFIX"))
        if _PREFIX.fullmatch(forwarded):
            path = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
            kept = path.startswith(prefix + "/") if prefix else False
            forwarded = forwarded.rstrip("/")
            # a proxy that keeps the path may name the context root itself
            prefix = forwarded + (prefix if kept and not forwarded.endswith(prefix) else "")
    host = host or _listened_on(environ)
    return f"{scheme}://{host}{prefix}" if host else ""


@lru_cache(256)  # each call has one, mostly the same
def _usable(host: str) -> str:
    """A Host as an address can have it: without a colon that no port follows; "" for what is none."""
    parts = _HOST.fullmatch(host)
    if parts is None or not 0 < int(parts["port"] or 80) <= 65535:
        return ""
    try:
        address = address_in(parts["host"])
    except ValueError:
        return ""
    if address is not None and address.is_unspecified:
        return ""
    return f"{parts['host']}:{parts['port']}" if parts["port"] else parts["host"]


def _everywhere(host: str) -> bool:
    """Whether it is 0.0.0.0 or [::], by which some call their own machine: served, but told to nobody."""
    parts = _HOST.fullmatch(host)
    return parts is not None and is_everywhere(parts["host"])


def _zoned(host: str) -> bool:
    """Whether it is an address of one link, with the zone by which the caller's own machine names that (RFC 6874)."""
    return re.fullmatch(r"\[[0-9A-Fa-f:.]+%[A-Za-z0-9._%~-]+\](:[0-9]{0,5})?", host) is not None


def _listened_on(environ: dict[str, Any]) -> str:
    """The address that the server listens on, as a URL has it; "" where that is every address, or of one link."""
    name, port = environ["SERVER_NAME"], environ["SERVER_PORT"]
    try:
        address = ip_address(name)
    except ValueError:
        return _usable(f"{name}:{port}")
    if address.is_unspecified or "%" in name:
        return ""
    return f"[{name}]:{port}" if address.version == 6 else f"{name}:{port}"


def is_from_elsewhere(environ: dict[str, Any]) -> bool:
    """Whether a request came from another machine, or a proxy says that it has handed it on.

    By the headers of RFC 7239, and by those that proxies sent before it.
    """
    return not _is_loopback(environ.get("REMOTE_ADDR", "")) or any(name in environ for name in FORWARDED)


def names_this_machine(environ: dict[str, Any], settings: Settings) -> bool:
    """Whether a request's Host is a name of this machine for itself, or none: by no other name does one reach loopback,
    unless a stranger's name server says so (DNS rebinding)."""
    parts = _HOST.fullmatch(environ.get("HTTP_HOST", "") or "localhost")
    if parts is None:
        return False
    name = parts["host"].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name == settings.host.rstrip(".").lower():
        return True
    try:
        address = address_in(parts["host"])
    except ValueError:
        return False
    return address is not None and address.is_loopback


def is_of_another_site(environ: dict[str, Any], settings: Settings) -> bool:
    """Whether a browser says (Origin, RFC 6454) that a page of another site than this deployment makes it call."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    here = root(environ, settings)
    return not here or origin.lower() != "/".join(here.split("/", 3)[:3]).lower()


@lru_cache(256)
def _is_loopback(address: str) -> bool:
    """Whether an address is this machine itself; "" is: then nobody called over a network."""
    caller = _caller(address)
    return not address or (caller is not None and caller.is_loopback)


def may_read_metrics(environ: dict[str, Any], settings: Settings) -> bool:
    """Whether a request for the metrics came from one of METRICS by itself: for whom a proxy calls, it alone says.

    An address that is "" is this machine's, as in `is_from_elsewhere`.
    """
    if any(name in environ for name in FORWARDED):
        return False
    return _is_among(environ.get("REMOTE_ADDR", "") or "127.0.0.1", settings.metrics)


def _is_among(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an address lies in one of these networks; what is none does in none."""
    caller = _caller(address)
    return caller is not None and any(caller in network for network in networks)


def _first(environ: dict[str, Any], name: str) -> str:
    """The first of a header's values: what the outermost proxy saw."""
    value: str = environ.get(name, "")
    return value.partition(",")[0].strip()


def is_trusted(address: str, settings: Settings) -> bool:
    """Whether it is a proxy whose word is believed here."""
    return _is_among(address, settings.trusted_proxies)


@lru_cache(256)
def _caller(address: str) -> IPv4Address | IPv6Address | None:
    """The address of who called; None where it is none."""
    try:
        caller = ip_address(address)
    except ValueError:
        return None
    if isinstance(caller, IPv6Address) and caller.ipv4_mapped:  # as a server that listens to :: sees callers over IPv4
        return caller.ipv4_mapped
    return caller

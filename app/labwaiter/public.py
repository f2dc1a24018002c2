"""The address under which callers reach this deployment: what WSDLs and links must say.

PUBLIC_URL decides; else what a trusted proxy says this caller called (X-Forwarded-Proto, -Host,
-Prefix, as nginx, Traefik and Apache are told to send them); else what the caller's own request
says. Nothing is remembered from one request to the next.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

from .settings import Settings

HERE: ContextVar[str] = ContextVar("HERE", default="")  # `root` of the call that is being answered
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")


def path_of(environ: dict[str, Any], settings: Settings) -> str:
    """The path that was called below the context root; a proxy may keep that in front or strip it.

    "/waiter/Waiter", or "" for the context root itself.
    """
    path: str = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).rstrip("/")
    root = settings.context_root
    return path[len(root) :] if path == root or path.startswith(root + "/") else path


def root(environ: dict[str, Any], settings: Settings) -> str:
    """Scheme, host and context root as this very caller reaches them, without a slash at the end."""
    if settings.public_url:
        return settings.public_url + settings.context_root
    scheme = environ.get("wsgi.url_scheme", "http")
    host = environ.get("HTTP_HOST", "")
    prefix = settings.context_root
    if _trusted(environ.get("REMOTE_ADDR", ""), settings):
        forwarded = _first(environ, "HTTP_X_FORWARDED_PROTO").lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
        forwarded = _first(environ, "HTTP_X_FORWARDED_HOST")
        host = forwarded if _HOST.fullmatch(forwarded) else host
        forwarded = _first(environ, "HTTP_X_FORWARDED_PREFIX")
        if _PREFIX.fullmatch(forwarded):
            kept = environ.get("PATH_INFO", "").startswith(prefix + "/") if prefix else False
            prefix = forwarded.rstrip("/") + (prefix if kept else "")
    if not _HOST.fullmatch(host):
        host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{scheme}://{host}{prefix}"


def _first(environ: dict[str, Any], name: str) -> str:
    """The first of a header's values: what the outermost proxy saw."""
    value: str = environ.get(name, "")
    return value.partition(",")[0].strip()


def _trusted(address: str, settings: Settings) -> bool:
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    return any(caller in network for network in settings.trusted_proxies)

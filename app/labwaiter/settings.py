"""Every setting in one table, `Settings`: a line each, with its name, default, reader and words for users.

A setting is an environment variable. What the environment doesn't say is read from the file
`env` (the same that `docker --env-file` takes: NAME=value lines and # comments), and what that
doesn't say has the default below. The README and the file env have the words, too; a test compares.

The file env lies in the folder of a lab, beside its `app/`: which one is meant is said here, too (`file_of`).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .errors import Misconfigured
from .layout import FORM, Layout

_PART = re.compile(r"[A-Za-z0-9._~-]+")  # of a path: RFC 3986's unreserved letters, which need quoting nowhere
_REDIS = ("redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "unix://")
HOST = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]"  # a name or an address, as a URL has it
T = TypeVar("T")
# what a job's processes may be limited to, each from and to: less, and no Python begins
CPU_SECONDS = (1, 1_000_000_000)
MEMORY = (64_000_000, 1_000_000_000_000_000)  # bytes
OPEN_FILES = (64, 1_000_000)
PROCESSES = (1, 4_000_000)
FILE_SIZE = (1_000_000, 1_000_000_000_000_000)  # bytes
CPUS = (0.01, 10_000)
ENV, APP = "env", "app"  # by these a folder is known to be a lab's: a regular file, and a folder
ACCOUNT = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"  # the name of one: useradd(8)
FOLDER_NAMED = "LABWAITER_DEPLOYMENT"  # in the environment: the folder of the lab that is meant
FILE_NAMED = "LABWAITER_ENV"  # likewise: its file env, wherever that lies


class Newer(Misconfigured):
    """A newer labwaiter has used the jobs folder, in a form that this one doesn't know."""


# -- addresses --------------------------------------------------------------------------------


def is_everywhere(host: str) -> bool:
    """Whether a host is the address that a server listens to for all of its own: it is none to be called by others."""
    with contextlib.suppress(ValueError):
        address = address_in(host)
        return address is not None and address.is_unspecified
    return False


def address_in(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any spelling that callers' libraries take ([::1], 127.1, 0x7f.1); None for a name.

    Raises:
        ValueError: it is written as an address, in brackets or with a number as its last part, and is none.
    """
    if ":" in host or host.startswith("["):
        six = IPv6Address(host.strip("[]"))
        return six.ipv4_mapped or six
    text = host.rstrip(".")
    if not re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", text.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError as error:
        raise ValueError(f"{host} is no address") from error


def called_here(host: str) -> str:
    """The address by which this machine itself calls a server that listens to `host`."""
    if not is_everywhere(host):
        return host
    if ":" in host:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
            return "::1"
    return "127.0.0.1"  # where IPv6 is switched off, such a server has IPv4 all the same


# -- readers: each makes a setting's value of its name, its text and the folder that paths are relative to. All raise
# Misconfigured: the text can't be; the message names the setting. -----------------------------------------------------


def _text(name: str, text: str, base: Path) -> str:
    return text


def _path(name: str, text: str, base: Path) -> Path:
    return (base / text).absolute()


def _program(name: str, text: str, base: Path) -> Path | None:
    return _path(name, text, base) if text.strip() else None


def _number(low: float, high: float, unit: str = "", times: float = 1.0) -> Callable[[str, str, Path], float]:
    def read(name: str, text: str, base: Path) -> float:
        try:
            number = float(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            limits = f"from {low:.15g} to {high:.15g}{unit and ' '}{unit}"
            raise Misconfigured(f"{name} must be a number {limits}, not “{text}”.")
        return number * times

    return read


def _whole(low: float, high: float, unit: str = "") -> Callable[[str, str, Path], int]:
    number = _number(low, high, unit)
    return lambda name, text, base: int(number(name, text, base))


def _limit(read: Callable[[str, str, Path], T]) -> Callable[[str, str, Path], T | None]:
    return lambda name, text, base: read(name, text, base) if text.strip() else None


def _or_never(read: Callable[[str, str, Path], float]) -> Callable[[str, str, Path], float | None]:
    return lambda name, text, base: None if text.strip() == "-1" else read(name, text, base)


def _name(name: str, text: str, base: Path) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise Misconfigured(f"{name} must be letters, digits, dots, _ and -, at most 64, not “{text}”.")
    return text


def _account(name: str, text: str, base: Path) -> str:
    if text and not re.fullmatch(ACCOUNT, text):
        raise Misconfigured(f"{name} must be the name of an account of this machine, not “{text}”.")
    return text


def _machine(name: str, text: str, base: Path) -> str:
    return _name(name, text.strip() or socket.gethostname().partition(".")[0], base)


def _elsewhere(name: str, text: str, base: Path) -> bool:
    if text not in ("here", "elsewhere"):
        raise Misconfigured(f"{name} must be here or elsewhere, not “{text}”.")
    return text == "elsewhere"


def _on(name: str, text: str, base: Path) -> bool:
    if text not in ("on", "off"):
        raise Misconfigured(f"{name} must be on or off, not “{text}”.")
    return text == "on"


def _choice(*words: str) -> Callable[[str, str, Path], str]:
    def read(name: str, text: str, base: Path) -> str:
        if text and text not in words:
            raise Misconfigured(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, not “{text}”.")
        return text

    return read


def _words(name: str, text: str, base: Path) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _urls(name: str, text: str, base: Path) -> tuple[str, ...]:
    urls = _words(name, text, base)
    for url in urls:
        _url(name, url, base)
    return urls


def _url(name: str, text: str, base: Path) -> str:
    try:
        parts = urlsplit(text)
        usable = not text or (parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc)
    except ValueError:
        usable = False
    if not usable:
        raise Misconfigured(f"{name} must be an address that begins with http:// or https://, without a password.")
    return text


def _origins(name: str, text: str, base: Path) -> tuple[str, ...]:
    origins = tuple(entry.rstrip("/").lower() for entry in _words(name, text, base))
    for origin in origins:
        if not re.fullmatch(rf"https?://(?:{HOST})(?::[0-9]{{1,5}})?", origin):
            raise Misconfigured(f"{name} must be scheme and host, like https://portal.example, not “{origin[:60]}”.")
    return origins


def _user(name: str, text: str, base: Path) -> str:
    if ":" in text or not text.isprintable():
        raise Misconfigured(f"{name} may hold no colon: HTTP Basic has one behind the name.")
    return text


def _path_if_any(name: str, text: str, base: Path) -> Path | None:
    return _path(name, text, base) if text.strip() else None


def _redis_url(name: str, text: str, base: Path) -> str:
    if text and not text.startswith(_REDIS):  # it may hold a password
        raise Misconfigured(f"{name} must begin with {', '.join(_REDIS[:-1])} or {_REDIS[-1]}.")
    return text


def _mode(name: str, text: str, base: Path) -> int:
    if not re.fullmatch("0?7[0-7][0-7]", text):
        raise Misconfigured(f"{name} must be a mode like 700, 750 or 755, not “{text}”.")
    if int(text, 8) & 0o002:
        raise Misconfigured(
            f"{name} {text} would let every user of this machine change what executions are: take 755"
            " to let everybody read, or 770 for a group."
        )
    return int(text, 8)


def _networks(name: str, text: str, base: Path) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(_network(name, entry.strip()) for entry in text.split(",") if entry.strip())


def _network(name: str, written: str) -> IPv4Network | IPv6Network:
    """An entry of such a setting. Raises Misconfigured."""
    try:
        network = ip_network(written, strict=False)
    except ValueError as error:
        raise Misconfigured(f"{name} must be addresses or networks like 10.0.0.0/8, not “{written[:60]}”.") from error
    if "/" in written and network.network_address != ip_address(written.partition("/")[0]):
        raise Misconfigured(f"{name}: write {network} for the network, not “{written}”, or the address alone.")
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:  # IPv4 as a server that listens to :: sees it
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _plain_path(path: str) -> str | None:
    """A path with one slash before each part and none at its end; None where it holds what a plain one doesn't."""
    parts = [part for part in path.split("/") if part]
    return None if any(not _PART.fullmatch(p) or p in (".", "..") for p in parts) else "".join(f"/{p}" for p in parts)


def _context_root(name: str, text: str, base: Path) -> str:
    written = text.strip()
    if "://" in written:
        raise Misconfigured(
            f"CONTEXT_ROOT is a path alone, like /mycompany/myvm, not “{written}”: scheme and host stand in PUBLIC_URL."
        )
    root = _plain_path(written)
    if root is None:
        raise Misconfigured(
            f"CONTEXT_ROOT must be a plain path like /mycompany/myvm, of ASCII letters, digits, - . _ and ~,"
            f" without . and .. as parts: not “{written}”."
        )
    return root


def _public_url(name: str, text: str, base: Path) -> str:
    written = text.strip()
    if not written:
        return ""

    def wrong(why: str) -> Misconfigured:
        return Misconfigured(
            f"PUBLIC_URL must be scheme and host, like https://lab.example: {why}, as in “{without_password}”."
        )

    without_password = re.sub(r"//[^/@]*@", "//…@", written)  # what stands there may be a password
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise wrong("the address can't be read") from error
    if parts.scheme not in ("http", "https") or "//" not in written:
        raise Misconfigured(f"PUBLIC_URL must begin with http:// or https://, not “{without_password}”.")
    if any(c.isspace() for c in written):
        raise wrong("no blank may be in it")
    if "?" in written or "#" in written:
        raise wrong("no query and no # may follow")
    if "@" in parts.netloc:
        raise wrong("no user and no password may be in it")
    host = parts.netloc.removesuffix(":") if port is None else parts.netloc.rpartition(":")[0]
    if port == 0:
        raise wrong("nobody can be called at port 0")
    try:
        address = address_in(host)
    except ValueError:
        raise wrong("the host is written as an address, and is none") from None
    if address is not None and address.is_unspecified:
        raise wrong("callers can't be told the address that listens everywhere")
    if not re.fullmatch(HOST, host):
        raise wrong("the host is none that callers can be told (a name with other letters is written xn--…)")
    path = _plain_path(parts.path)
    if path is None:
        raise wrong("its path may hold ASCII letters, digits, - . _ and ~, and no . and .. as parts")
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


# -- the table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One setting, as a user sees it."""

    name: str  # the variable's
    default: str  # as text
    read: Callable[[str, str, Path], Any]
    help: str  # a line for the user
    may_be_empty: bool  # an empty text means something; else it is as if it weren't set
    secret: bool

    @property
    def is_path(self) -> bool:
        """Whether it is one, relative to the file env."""
        return self.read in (_path, _path_if_any, _program)


def setting(
    name: str,
    default: str,
    read: Callable[[str, str, Path], Any],
    help: str,
    may_be_empty: bool = False,
    secret: bool = False,
) -> Any:
    """A field of `Settings`."""
    words = Setting(name, default, read, help, may_be_empty, secret)
    return field(metadata={"setting": words}, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of this deployment, typed and judged. Paths are absolute."""

    env_file: Path = field(compare=False)  # the file env in force, which need not be there
    # "" or "/a/b": a leading and no trailing slash
    context_root: str = setting(
        "CONTEXT_ROOT",
        "/sintef/docker_services",
        _context_root,
        "path in front of every address of this deployment",
        may_be_empty=True,
    )
    jobs_folder: Path = setting(
        "WAITER_LOG_FOLDER", "waiter_logs", _path, "folder of the jobs, on a local disk; relative to the file env"
    )
    files_folder: Path = setting(
        "FILES_FOLDER", "waiter_files", _path, "folder of the files that inputs may name; relative to the file env"
    )
    lab: Path = setting("LAB", "lab.toml", _path, "file that lists the instruments; relative to the file env")
    schedule: Path = setting(
        "SCHEDULE", "schedule.toml", _path, "file that says what starts at which times; relative to the file env"
    )
    services: Path = setting("SERVICES", "app/services", _path, "folder of the service files; relative to the file env")
    host: str = setting(
        "HOST", "127.0.0.1", _text, "address, or a name of it, to listen on; 0.0.0.0 for every network card"
    )
    port: int = setting("PORT", "8080", _whole(1, 65535), "port to listen on")
    # "" or "https://host[:port][/path]", no trailing slash; the context root comes after it
    public_url: str = setting(
        "PUBLIC_URL",
        "",
        _public_url,
        "scheme and host as callers see them, e.g. https://lab.example; empty: as the caller called",
        may_be_empty=True,
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        "TRUSTED_PROXIES",
        "127.0.0.1,::1",
        _networks,
        "addresses or networks of the proxies whose X-Forwarded-Proto, -Host and -Prefix are believed",
        may_be_empty=True,
    )
    # "": nobody has chosen, so everybody may call, from this machine alone
    tokens: str = setting(
        "TOKENS",
        "",
        _choice("none", "file", "manager"),
        "whose sessionTokens are good: file, manager, or none: everybody's; empty: everybody's on this machine alone",
    )
    tokens_file: Path = setting(
        "TOKENS_FILE",
        "tokens.json",
        _path,
        "file of the tokens for TOKENS=file (labwaiter tokens); relative to the file env",
    )
    auth_wsdl: str = setting(
        "AUTH_WSDL", "", _url, "address of the authentication manager's WSDL, for TOKENS=manager", may_be_empty=True
    )
    auth_allowed: tuple[str, ...] = setting(
        "AUTH_ALLOWED",
        "",
        _urls,
        "addresses of further managers' WSDLs that a start may name by auth=… in extraParameters",
        may_be_empty=True,
    )
    auth_operators: tuple[str, ...] = setting(
        "AUTH_OPERATORS",
        "",
        _words,
        "roles, as the manager calls them, whose bearers are operators here: any execution, any instrument",
        may_be_empty=True,
    )
    auth_seconds: float = setting(
        "AUTH_SECONDS", "60", _number(1, 3600, "seconds"), "seconds for which the manager's yes to a token is kept"
    )
    auth_grace: float = setting(
        "AUTH_GRACE",
        "900",
        _number(0, 86400, "seconds"),
        "seconds for which that yes still counts while the manager doesn't answer",
    )
    owner: str = setting(
        "OWNER",
        "project",
        _choice("project", "user"),
        "who may poll, abort and notify an execution: everybody of its project, or its user alone",
    )
    guests: bool = setting(
        "GUESTS",
        "off",
        _on,
        "on: who comes to the operator's page without a token may look at all there is, and do nothing; off: or not",
    )
    # of the calling system, not of its students; "": none is let in
    weblab_username: str = setting(
        "WEBLAB_USERNAME",
        "",
        _user,
        "name by which remote-laboratory systems log in to this lab server; empty: none is let in (docs/labs.md)",
        may_be_empty=True,
    )
    weblab_password: str = setting(
        "WEBLAB_PASSWORD", "", _text, "its password; empty: none is let in", may_be_empty=True, secret=True
    )
    weblab_unauthorized_link: str = setting(
        "WEBLAB_UNAUTHORIZED_LINK",
        "",
        _url,
        "address to which who comes to a lab's page without a session is led; empty: a page says it",
        may_be_empty=True,
    )
    weblab_unauthorized_template: Path | None = setting(
        "WEBLAB_UNAUTHORIZED_TEMPLATE",
        "",
        _path_if_any,
        "file of that page, a Jinja template; relative to the file env; empty: ours",
        may_be_empty=True,
    )
    weblab_frames: tuple[str, ...] = setting(
        "WEBLAB_FRAMES",
        "",
        _origins,
        "scheme and host of pages that may show a lab's page in a frame, over https; empty: none",
        may_be_empty=True,
    )
    weblab_blueprints: bool = setting(
        "WEBLAB_BLUEPRINTS",
        "off",
        _on,
        "on: a lab's own Flask blueprint may be its page, and runs in the web workers; off: it is not imported",
    )
    page_language: str = setting(
        "PAGE_LANGUAGE",
        "en",
        _choice("en", "de", "es", "ru"),
        "language of the pages where nobody asks for another: en, de, es or ru",
    )
    metrics: tuple[IPv4Network | IPv6Network, ...] = setting(
        "METRICS",
        "127.0.0.0/8,::1",
        _networks,
        "addresses or networks that may read the metrics, though not through a proxy; empty: nobody",
        may_be_empty=True,
    )
    web_concurrency: int = setting("WEB_CONCURRENCY", "2", _whole(1, 64), "web worker processes")
    poll_lane: bool = setting(
        "POLL_LANE", "on", _on, "on: polls of a known form are answered by their bytes; off: every poll is read anew"
    )
    max_running: int = setting(
        "MAX_RUNNING", "100", _whole(1, 10_000), "jobs that run at a time; more wait in the queue"
    )
    max_queued: int = setting(
        "MAX_QUEUED", "1000", _whole(0, 1_000_000), "jobs that may wait; a start beyond is refused with TooManyJobs"
    )
    max_running_per_project: int | None = setting(
        "MAX_RUNNING_PER_PROJECT",
        "",
        _limit(_whole(1, 10_000)),
        "jobs of one project that run at a time; empty: MAX_RUNNING",
        may_be_empty=True,
    )
    max_running_per_user: int | None = setting(
        "MAX_RUNNING_PER_USER",
        "",
        _limit(_whole(1, 10_000)),
        "jobs of one user that run at a time; empty: MAX_RUNNING",
        may_be_empty=True,
    )
    max_queued_per_project: int | None = setting(
        "MAX_QUEUED_PER_PROJECT",
        "",
        _limit(_whole(0, 1_000_000)),
        "jobs of one project that may wait besides; empty: half of MAX_QUEUED",
        may_be_empty=True,
    )
    max_queued_per_user: int | None = setting(
        "MAX_QUEUED_PER_USER",
        "",
        _limit(_whole(0, 1_000_000)),
        "jobs of one user that may wait besides; empty: a quarter of MAX_QUEUED",
        may_be_empty=True,
    )
    starts_per_minute: int | None = setting(
        "STARTS_PER_MINUTE",
        "600",
        _limit(_whole(1, 100_000)),
        "executions that one user may start in a minute; empty: any number",
        may_be_empty=True,
    )
    # somebody else starts it, and starts it again
    supervisor_elsewhere: bool = setting(
        "SUPERVISOR",
        "here",
        _elsewhere,
        "here: started where there is none; elsewhere: another container or systemd starts it",
    )
    stop_seconds: float = setting(
        "STOP_SECONDS",
        "10",
        _number(2, 86400, "seconds"),
        "seconds in which `labwaiter up` stops: the container's stop time-out; instruments: safe_seconds and 6 more",
    )
    keep_seconds: float = setting(
        "KEEP_DAYS",
        "30",
        _number(0, 36500, "days", times=86400),
        "days an ended job's folder is kept; then only a small tombstone stays",
    )
    redis_url: str = setting(
        "REDIS_URL",
        "",
        _redis_url,
        "Redis between many machines, e.g. rediss://user:password@host:6379/0 (docs/machines.md); empty: no others",
        may_be_empty=True,
        secret=True,
    )
    redis_prefix: str = setting(
        "REDIS_PREFIX", "labwaiter", _name, "what the keys of this lab begin with, where several labs share one Redis"
    )
    redis_secret: str = setting(
        "REDIS_SECRET",
        "",
        _text,
        "at least 16 characters that all machines of this lab know and sign orders with",
        secret=True,
    )
    machine: str = setting("MACHINE", "", _machine, "the name of this machine in lab.toml; empty: its host name")
    jobs_mode: int = setting(
        "JOBS_MODE",
        "700",
        _mode,
        "who may read the jobs folder, as chmod has it: 700 its owner alone, 750 a group, too, 755 everybody",
    )
    log_limit: int = setting(
        "LOG_LIMIT",
        "10000000",
        _whole(10_000, 10_000_000_000, "bytes"),
        "bytes of a job's log.txt; beyond, its middle is left out",
    )
    messages_limit: int = setting(
        "MESSAGES_LIMIT",
        "1000000",
        _whole(1000, 10_000_000, "bytes"),
        "bytes of the messages to one job; beyond, they are refused",
    )
    max_body: int = setting(
        "MAX_BODY",
        "2097152",
        _whole(10_000, 10_000_000, "bytes"),
        "bytes of a request, unpacked; a larger one is refused",
    )
    job_folder_limit: int | None = setting(
        "JOB_FOLDER_LIMIT",
        "10000000000",
        _limit(_whole(1_000_000, 1e15, "bytes")),
        "bytes on the disk of a job's folder; one that grows beyond is stopped and fails; empty: any number",
        may_be_empty=True,
    )
    jobs_folder_limit: int | None = setting(
        "JOBS_FOLDER_LIMIT",
        "",
        _limit(_whole(5_000_000, 1e15, "bytes")),
        "bytes of all jobs' folders; beyond, starts are refused, and what grows most is stopped; empty: any number",
        may_be_empty=True,
    )
    disk_reserve: int = setting(
        "DISK_RESERVE",
        "100000000",
        _whole(0, 1e15, "bytes"),
        "bytes that must be free on the jobs' disk for a start, or a twentieth of it where that is less",
    )
    # what a job may use where its service doesn't say so itself; None: as much as this deployment may
    job_cpu_seconds: int | None = setting(
        "JOB_CPU_SECONDS",
        "",
        _limit(_whole(*CPU_SECONDS, "seconds")),
        "seconds of CPU time that each process of a job may use; a service's own cpu_seconds= wins; empty: no limit",
        may_be_empty=True,
    )
    job_memory: int | None = setting(
        "JOB_MEMORY",
        "",
        _limit(_whole(*MEMORY, "bytes")),
        "bytes of memory that each process of a job may use, and in a cgroup all together; memory= wins",
        may_be_empty=True,
    )
    job_open_files: int | None = setting(
        "JOB_OPEN_FILES",
        "",
        _limit(_whole(*OPEN_FILES)),
        "files that each process of a job may have open; open_files= wins",
        may_be_empty=True,
    )
    job_processes: int | None = setting(
        "JOB_PROCESSES",
        "",
        _limit(_whole(*PROCESSES)),
        "processes and threads that a job may have: docs/security.md says of whom they are counted; processes= wins",
        may_be_empty=True,
    )
    job_file_size: int | None = setting(
        "JOB_FILE_SIZE",
        "",
        _limit(_whole(*FILE_SIZE, "bytes")),
        "bytes that each file of a job may have; file_size= wins",
        may_be_empty=True,
    )
    job_cpus: float | None = setting(
        "JOB_CPUS",
        "",
        _limit(_number(*CPUS)),
        "processors that a job may keep busy, where jobs have cgroups of their own; cpus= wins",
        may_be_empty=True,
    )
    job_user: str = setting(
        "JOB_USER",
        "",
        _account,
        "account that jobs run as, where the supervisor is root; user= wins; empty: the supervisor's own",
        may_be_empty=True,
    )
    # remote labs; these names are weblablib's, so that what is known of one lab server holds of this one
    session_timeout: float | None = setting(
        "WEBLAB_TIMEOUT",
        "15",
        _or_never(_number(2, 86400, "seconds")),
        "seconds without a sign of life of its student after which a session is ended; -1: never",
    )
    session_poll: float = setting(
        "WEBLAB_POLL_INTERVAL",
        "5",
        _number(1, 3600, "seconds"),
        "seconds after which a remote-laboratory system is to ask for a session's status again",
    )
    session_kept: float = setting(
        "WEBLAB_EXPIRED_USERS_TIMEOUT",
        "3600",
        _number(0, 31_536_000, "seconds"),
        "seconds for which a session that has ended is told of, and its files can be taken home",
    )
    session_wait: float = setting(
        "WEBLAB_START_WAIT",
        "20",
        _number(0, 600, "seconds"),
        "seconds for which a new session waits for its instruments; then its caller is told who has them",
    )
    history_seconds: float = setting(
        "HISTORY_DAYS",
        "400",
        _number(1, 36500, "days", times=86400),
        "days that the readings of monitored instruments are kept, older ones as means of a minute, then of an hour",
    )
    long_wait: float | None = setting(
        "LONG_WAIT",
        "3600",
        _limit(_number(1, 31_536_000, "seconds")),
        "seconds in the queue after which an execution that still waits is an event; empty: never",
        may_be_empty=True,
    )
    events_url: str = setting(
        "EVENTS_URL",
        "",
        _url,
        "address that is called with each event, JSON by POST (docs/monitoring.md); empty: none",
        may_be_empty=True,
        secret=True,
    )
    events_command: Path | None = setting(
        "EVENTS_COMMAND",
        "",
        _program,
        "program that is called with each event, JSON on its standard input; relative to the file env; empty: none",
        may_be_empty=True,
    )
    log_format: str = setting(
        "LOG_FORMAT",
        "text",
        _choice("text", "json"),
        "how labwaiter's own logs are written: text, or json: an object a line",
    )

    @property
    def folder(self) -> Path:
        """The folder of the file env, which paths in it are relative to: the lab's own."""
        return self.env_file.parent

    @property
    def labs(self) -> Path:
        """The folder of the remote labs' files: it lies beside the services folder."""
        return self.services.parent / "labs"

    @property
    def naming(self) -> dict[str, str]:
        """The variable of the environment by which other processes of ours mean this deployment, too."""
        if self.env_file.name == ENV and not _why_no_lab(self.folder):
            return {FOLDER_NAMED: str(self.folder)}
        return {FILE_NAMED: str(self.env_file)}

    @property
    def judges_tokens(self) -> bool:
        """Whether somebody says whose a token is: else every one is good."""
        return self.tokens in ("file", "manager")

    @cached_property
    def layout(self) -> Layout:
        """Where this deployment's own files are."""
        return Layout(self.jobs_folder)


def called_only_here(settings: Settings) -> bool:
    """Whether, by its settings, a deployment can be called from its own machine alone."""
    try:
        address = address_in(settings.host)
    except ValueError:
        return False
    name = settings.host.rstrip(".").lower()
    is_loopback = address.is_loopback if address is not None else name == "localhost" or name.endswith(".localhost")
    return is_loopback and not settings.public_url


_FIELDS: dict[str, Setting] = {f.name: f.metadata["setting"] for f in fields(Settings) if f.metadata}
TABLE = tuple(_FIELDS.values())
SECRETS = tuple(setting.name for setting in TABLE if setting.secret)
# what one process of a deployment may keep for another: a secret stays in the file env, or with whoever calls
NAMINGS = frozenset({FOLDER_NAMED, FILE_NAMED})
HANDED_ON = NAMINGS | {setting.name for setting in TABLE} - {*SECRETS}


# -- the file env, and the environment ----------------------------------------------------------


def read_text(path: Path) -> str:
    """A file that somebody wrote for us, without the mark that Windows' editors begin UTF-8 with.

    Raises:
        FileNotFoundError: there is none.
        Misconfigured: it can't be read, or is no text in UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")  # its line ends are as it has them
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path.name} must be a text in UTF-8.") from error
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error.strerror}.") from error


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines; {} where there is no such file.

    What `docker --env-file`, a shell and we would read differently is refused: the file means the same to all.

    Raises:
        Misconfigured: a line that is none, or the name of no setting.
    """
    texts = {}
    for line, outcome in _read_lines(path):
        if isinstance(outcome, ValueError):
            raise Misconfigured(f"{path.name}, line {line}: {outcome}.") from outcome
        texts[outcome[0].name] = outcome[1]
    return texts


def _read_lines(path: Path) -> Iterator[tuple[int, tuple[Setting, str] | ValueError]]:
    """Each line that is none of a comment: its number, and its setting with the text, or what is wrong with it."""
    try:
        lines = re.split(r"\r?\n", read_text(path))  # as those do: no other character ends a line
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        name, equals, value = line.lstrip().partition("=")
        if not line.strip() or name.startswith("#"):
            continue
        try:  # what stands there may be a password, so it isn't shown
            setting = _setting_named(name, bool(equals))
            text = _plain_value(setting, value)
            # the same folder in every locale: the file is in UTF-8, and so are its names
            yield number, (setting, os.fsdecode(text.encode()) if setting.is_path else text)
        except ValueError as error:
            yield number, error


def _setting_named(name: str, has_value: bool) -> Setting:
    """The setting that a line names. Raises ValueError: what is wrong with it."""
    name = "".join(c if c.isprintable() else "�" for c in name)
    words = name.split()
    settings = {setting.name: setting for setting in TABLE}
    if not has_value or not words:
        raise ValueError(f"write NAME=value, not “{name.strip()[:60]}”" if name.strip() else "write NAME=value")
    if len(words) == 2 and words[0] in ("export", "set", "ENV"):
        raise ValueError(f"write {words[1]}=…, without {words[0]}")
    if name.strip() not in settings:
        from difflib import get_close_matches  # which nobody else needs

        likely = get_close_matches(name.strip().upper().replace("-", "_"), settings, 1)
        raise ValueError(f"{name.strip()[:60]} is no setting" + (f"; perhaps {likely[0]} is meant" if likely else ""))
    if name != name.strip():
        raise ValueError(f"write {words[0]}=…, without blanks around the =")
    return settings[name]


def _plain_value(setting: Setting, value: str) -> str:
    """A setting's value, if it can be meant as it stands. Raises ValueError: what is wrong with it."""
    name = setting.name
    if value != value.lstrip():
        raise ValueError(f"write {name}=…, without blanks around the =")
    value = value.rstrip()
    if value[:1] in ("'", '"'):
        raise ValueError(f"write {name}=…, without quotes")
    if re.search(r"\s#", value):
        raise ValueError(f"write {name}=… alone; a comment needs a line of its own")
    if any(ord(c) < 32 for c in value):
        raise ValueError(f"in {name} stands a control character")
    if setting.is_path and ("$" in value or value.startswith("~")):
        raise ValueError(f"write the whole path in {name}: $ and ~ stand for nothing here")
    return value


# -- which lab is meant --------------------------------------------------------------------------


def find_folder(start: Path) -> Path | None:
    """The lab's folder that `start` is, or lies in: the nearest; None where it lies in none."""
    return next((folder for folder in (start, *start.parents) if not _why_no_lab(folder)), None)


def _why_no_lab(folder: Path) -> str:
    """What a folder lacks to be a lab's, in half a sentence; "" for one that is."""
    if not os.path.isdir(folder):
        return "it is no folder" if os.path.lexists(folder) else "there is no such folder"
    if not os.path.isfile(folder / ENV):  # an environment of Python's may be a folder of that name
        return f"it has no file {ENV}"
    return "" if os.path.isdir(folder / APP) else f"it has no folder {APP}"


def file_of(environ: dict[str, str]) -> Path:
    """The file env in force: the one that is named, or that of the lab that the working folder lies in.

    Raises:
        Misconfigured: what is named isn't there or is no lab's, or two are named; or nothing is, here is none either.
    """
    named, file = environ.get(FOLDER_NAMED), environ.get(FILE_NAMED)
    if file and not os.path.exists(file):  # without it limits and tokens would be forgotten
        raise Misconfigured(f"{FILE_NAMED} names the file {file}, which is not there: correct it, or make the file.")
    file_named = _in_its_folder(Path(file)) if file else None
    if named:
        folder = Path(named).resolve()
        if why := _why_no_lab(folder):
            lies_in = find_folder(folder)
            hint = f"; the lab is {lies_in}" if lies_in else ""
            raise Misconfigured(f"{folder} is no lab: {why}{hint}.")
        if file_named and file_named.parent != folder:
            raise Misconfigured(
                f"Two labs are named: {folder} (--deployment or {FOLDER_NAMED}) and {file_named} ({FILE_NAMED})."
                " Take away the one that isn't meant."
            )
        return file_named or folder / ENV
    if file_named:
        return file_named
    here = _working_folder()
    found = find_folder(here)
    if found is None:
        raise Misconfigured(
            f"{here} lies in no lab: no folder from it upwards has a file {ENV} and a folder {APP}. Go into one,"
            f" name it (labwaiter --deployment FOLDER …, or {FOLDER_NAMED}), or make one: labwaiter init FOLDER."
        )
    return found / ENV


def _in_its_folder(file: Path) -> Path:
    """A file's path with its folder's real one: where the file itself is a link, its folder is the link's."""
    return file.absolute().parent.resolve() / file.name


def _working_folder() -> Path:
    """Raises Misconfigured: it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise Misconfigured("The working folder is not there any more: go into another one.") from error


def given(environ: dict[str, str], env_file: Path) -> dict[str, str]:
    """What the environment, or else the file env, says of each setting; without those of which neither says anything.

    Raises:
        Misconfigured: a line of the file that is none.
    """
    return _given(environ, read_env_file(env_file))


def _given(*sources: dict[str, str]) -> dict[str, str]:
    """What the first of these sources that says anything of a setting says of it."""
    values = {}
    for setting in TABLE:
        texts = [source[setting.name] for source in sources if setting.name in source]
        text = next((text for text in texts if text or setting.may_be_empty), None)
        if text is not None:
            values[setting.name] = text
    return values


def load(environ: dict[str, str] | None = None, env_file: Path | None = None, port: int | None = None) -> Settings:
    """The settings in force.

    Args:
        environ: the process's environment unless given.
        env_file: that of the lab that is meant (`file_of`) unless given; then nothing but the settings is judged.
        port: where PORT is not set: instead of its default.

    Raises:
        Misconfigured: no lab is meant, or one that a newer labwaiter has used; or a value that can't be: the message
            names the setting.
    """
    environ = dict(os.environ) if environ is None else environ
    is_judged_alone = env_file is not None
    env_file = _in_its_folder(env_file) if env_file else file_of(environ)
    texts = {setting.name: setting.default for setting in TABLE} | ({"PORT": str(port)} if port else {})
    texts |= given(environ, env_file)
    values = {field: s.read(s.name, texts[s.name], env_file.parent) for field, s in _FIELDS.items()}
    settings = _judged(Settings(env_file=env_file, **values))
    if not is_judged_alone:
        judge_form(settings.layout)
    return settings


def judge_form(layout: Layout) -> None:
    """Whether a jobs folder is of a form that this labwaiter knows. Raises Newer."""
    if layout.form_here > FORM:
        raise Newer(
            f"A newer labwaiter than this one has used {layout.folder.parent}: use that one, or name another folder in"
            " WAITER_LOG_FOLDER."
        )


def _judged(settings: Settings) -> Settings:
    """Settings that must fit each other. Raises Misconfigured."""
    if settings.redis_url and len(settings.redis_secret) < 16:
        raise Misconfigured(
            "REDIS_URL needs REDIS_SECRET, too: at least 16 characters, the same on all machines of this lab"
            " (openssl rand -hex 16 makes some)."
        )
    if urlsplit(settings.public_url).path.endswith(settings.context_root):  # that comes after it by itself
        settings = replace(settings, public_url=settings.public_url.removesuffix(settings.context_root))
    return settings


def found(environ: dict[str, str], env_file: Path) -> tuple[Settings, list[str]]:
    """As `load`, but with the default for each setting that can't be, and all mistakes, a sentence each."""
    mistakes: list[str] = []
    written: dict[str, str] = {}
    for line, outcome in _read_lines(env_file):
        if isinstance(outcome, ValueError):
            mistakes.append(f"{env_file.name}, line {line}: {outcome}.")
        else:
            written[outcome[0].name] = outcome[1]
    env_file, texts, values = _in_its_folder(env_file), _given(environ, written), {}
    for name, s in _FIELDS.items():
        try:
            values[name] = s.read(s.name, texts.get(s.name, s.default), env_file.parent)
        except Misconfigured as error:
            mistakes.append(str(error))
            values[name] = s.read(s.name, s.default, env_file.parent)
    settings = Settings(env_file=env_file, **values)
    try:
        settings = _judged(settings)
    except Misconfigured as error:
        mistakes.append(str(error))
    return settings, mistakes

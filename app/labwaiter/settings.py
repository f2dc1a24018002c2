"""Every setting in one table: name, default, one line of help. Help texts and docs come from it.

A setting is an environment variable. What the environment doesn't say is read from the file
`env` (the same that `docker --env-file` takes: NAME=value lines and # comments), and what that
doesn't say has the default below.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from .errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]  # the clone, or / in the image


@dataclass(frozen=True)
class Setting:
    """One setting: the variable's name, its default as text, and a line for the user."""

    name: str
    default: str
    help: str


TABLE = (
    Setting("CONTEXT_ROOT", "/sintef/docker_services", "path in front of every address of this deployment"),
    Setting("WAITER_LOG_FOLDER", "waiter_logs", "folder of the jobs, on a local disk; relative to the file env"),
    Setting("FILES_FOLDER", "waiter_files", "folder of the files that inputs may name; relative to the file env"),
    Setting("LAB", "lab.toml", "file that lists the instruments; relative to the file env"),
    Setting("SCHEDULE", "schedule.toml", "file that says what starts at which times; relative to the file env"),
    Setting("SERVICES", "app/services", "folder of the service files; relative to the file env"),
    Setting("HOST", "127.0.0.1", "address to listen on; 0.0.0.0 for every network card"),
    Setting("PORT", "8080", "port to listen on"),
    Setting(
        "PUBLIC_URL",
        "",
        "scheme and host as callers see them, e.g. https://lab.example; empty: as the caller called",
    ),
    Setting(
        "TRUSTED_PROXIES",
        "127.0.0.1,::1",
        "addresses or networks of the proxies whose X-Forwarded-Proto, -Host and -Prefix are believed",
    ),
    Setting("WEB_CONCURRENCY", "2", "web worker processes"),
    Setting("MAX_RUNNING", "100", "jobs that run at a time; more wait in the queue"),
    Setting("MAX_QUEUED", "1000", "jobs that may wait; a start beyond is refused with TooManyJobs"),
    Setting(
        "SUPERVISOR", "here", "here: started where there is none; elsewhere: another container or systemd starts it"
    ),
    Setting(
        "STOP_SECONDS",
        "10",
        "seconds in which `labwaiter up` stops: the container's stop time-out; instruments: safe_seconds and 6 more",
    ),
    Setting("KEEP_DAYS", "30", "days an ended job's folder is kept; then only a small tombstone stays"),
    Setting(
        "REDIS_URL",
        "",
        "Redis between many machines, e.g. rediss://user:password@host:6379/0; empty: this machine alone",
    ),
    Setting("REDIS_PREFIX", "labwaiter", "what the keys of this lab begin with, where several labs share one Redis"),
    Setting("REDIS_SECRET", "", "at least 16 characters that all machines of this lab know and sign orders with"),
    Setting("MACHINE", "", "the name of this machine in lab.toml; empty: its host name"),
    Setting("LOG_LIMIT", "10000000", "bytes of a job's log.txt; beyond, its middle is left out"),
)


@dataclass(frozen=True)
class Settings:
    """The settings of this deployment, typed and checked."""

    context_root: str  # "" or "/a/b": a leading and no trailing slash
    jobs_folder: Path  # absolute
    files_folder: Path  # absolute
    lab: Path  # absolute
    schedule: Path  # absolute
    services: Path  # absolute
    host: str
    port: int
    public_url: str  # "" or "https://host[:port]", no trailing slash
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    web_concurrency: int
    max_running: int
    max_queued: int
    supervisor_elsewhere: bool  # somebody else starts it, and starts it again
    stop_seconds: float
    keep_seconds: float
    log_limit: int  # bytes
    redis_url: str = ""  # "" without other machines
    redis_prefix: str = "labwaiter"
    redis_secret: str = field(default="", repr=False)
    machine: str = ""  # this one's name


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines as `docker --env-file` reads them; {} where there is no such file.

    Raises:
        Misconfigured: a line that is neither a comment nor NAME=value.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise Misconfigured(f"{path.name}, line {number}: write NAME=value, not “{line.strip()[:60]}”.")
        found[name.strip()] = value.strip()
    return found


def load(environ: dict[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """The settings in force.

    Args:
        environ: the process's environment unless given.
        env_file: `LABWAITER_ENV`, or the file env of this clone, unless given.

    Raises:
        Misconfigured: a value that can't be; the message names the setting.
    """
    environ = dict(os.environ) if environ is None else environ
    env_file = env_file or Path(environ.get("LABWAITER_ENV") or ROOT / "env")
    defaults = {s.name: s.default for s in TABLE}
    written = read_env_file(env_file)
    value = {name: environ.get(name) or written.get(name) or default for name, default in defaults.items()}
    for empty in ("CONTEXT_ROOT", "PUBLIC_URL", "TRUSTED_PROXIES", "REDIS_URL"):  # empty means something here
        value[empty] = environ.get(empty, written.get(empty, defaults[empty]))
    base = env_file.resolve().parent

    def number(name: str, low: float, high: float) -> float:
        try:
            got = float(value[name])
        except ValueError:
            got = low - 1
        if not low <= got <= high:
            raise Misconfigured(f"{name} must be a number from {low:g} to {high:g}, not “{value[name]}”.")
        return got

    root = "/" + value["CONTEXT_ROOT"].strip().strip("/")
    if any(c in root for c in " ?#%\"'<>"):
        raise Misconfigured(f"CONTEXT_ROOT must be a plain path like /mycompany/myvm, not “{root}”.")
    public = value["PUBLIC_URL"].strip().rstrip("/")
    if public and not public.startswith(("http://", "https://")):
        raise Misconfigured(f"PUBLIC_URL must begin with http:// or https://, not “{public}”.")
    if value["SUPERVISOR"] not in ("here", "elsewhere"):
        raise Misconfigured(f"SUPERVISOR must be here or elsewhere, not “{value['SUPERVISOR']}”.")
    try:
        proxies = tuple(ip_network(one.strip()) for one in value["TRUSTED_PROXIES"].split(",") if one.strip())
    except ValueError as error:
        raise Misconfigured(f"TRUSTED_PROXIES must be addresses or networks like 10.0.0.0/8: {error}.") from error
    machine = value["MACHINE"].strip() or socket.gethostname().partition(".")[0]
    for name, text in (("REDIS_PREFIX", value["REDIS_PREFIX"]), ("MACHINE", machine)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
            raise Misconfigured(f"{name} must be letters, digits, dots, _ and -, at most 64, not “{text}”.")
    if value["REDIS_URL"] and not value["REDIS_URL"].startswith(("redis://", "rediss://", "unix://")):
        raise Misconfigured("REDIS_URL must begin with redis://, rediss:// or unix://.")  # it may hold a password
    if value["REDIS_URL"] and len(value["REDIS_SECRET"]) < 16:
        raise Misconfigured(
            "REDIS_URL needs REDIS_SECRET, too: at least 16 characters, the same on all machines of this lab"
            " (openssl rand -hex 16 makes some)."
        )
    return Settings(
        context_root="" if root == "/" else root,
        jobs_folder=(base / value["WAITER_LOG_FOLDER"]).absolute(),
        files_folder=(base / value["FILES_FOLDER"]).absolute(),
        lab=(base / value["LAB"]).absolute(),
        schedule=(base / value["SCHEDULE"]).absolute(),
        services=(base / value["SERVICES"]).absolute(),
        host=value["HOST"],
        port=int(number("PORT", 1, 65535)),
        public_url=public,
        trusted_proxies=proxies,
        web_concurrency=int(number("WEB_CONCURRENCY", 1, 64)),
        max_running=int(number("MAX_RUNNING", 1, 10_000)),
        max_queued=int(number("MAX_QUEUED", 0, 1_000_000)),
        supervisor_elsewhere=value["SUPERVISOR"] == "elsewhere",
        stop_seconds=number("STOP_SECONDS", 2, 86400),
        keep_seconds=number("KEEP_DAYS", 0, 36500) * 86400,
        log_limit=int(number("LOG_LIMIT", 10_000, 10_000_000_000)),
        redis_url=value["REDIS_URL"],
        redis_prefix=value["REDIS_PREFIX"],
        redis_secret=value["REDIS_SECRET"],
        machine=machine,
    )

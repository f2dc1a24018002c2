"""Every setting in one table: name, default, one line of help. Help texts and docs come from it.

A setting is an environment variable. What the environment doesn't say is read from the file
`env` (the same that `docker --env-file` takes: NAME=value lines and # comments), and what that
doesn't say has the default below.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from .errors import Misconfigured

_PART = re.compile(r"[A-Za-z0-9._~-]+")  # of a path: RFC 3986's unreserved letters, which need quoting nowhere
_REDIS = ("redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "unix://")
HOST = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]"  # a name or an address, as a URL has it
EMPTY_MEANS_SOMETHING = ("CONTEXT_ROOT", "PUBLIC_URL", "TRUSTED_PROXIES", "REDIS_URL")
PATHS = ("WAITER_LOG_FOLDER", "FILES_FOLDER", "LAB", "SCHEDULE", "SERVICES")
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
    Setting("HOST", "127.0.0.1", "address, or a name of it, to listen on; 0.0.0.0 for every network card"),
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
        "Redis between many machines, e.g. rediss://user:password@host:6379/0 (docs/machines.md); empty: no others",
    ),
    Setting("REDIS_PREFIX", "labwaiter", "what the keys of this lab begin with, where several labs share one Redis"),
    Setting("REDIS_SECRET", "", "at least 16 characters that all machines of this lab know and sign orders with"),
    Setting("MACHINE", "", "the name of this machine in lab.toml; empty: its host name"),
    Setting(
        "JOBS_MODE",
        "700",
        "who may read the jobs folder, as chmod has it: 700 its owner alone, 750 a group, too, 755 everybody",
    ),
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
    jobs_mode: int = 0o700  # of the jobs folder
    redis_url: str = ""  # "" without other machines
    redis_prefix: str = "labwaiter"
    redis_secret: str = field(default="", repr=False)
    machine: str = ""  # this one's name


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
    try:
        lines = re.split(r"\r?\n", read_text(path))  # as those do: no other character ends a line
    except FileNotFoundError:
        return {}
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.lstrip().partition("=")
        if not line.strip() or name.startswith("#"):
            continue
        try:  # what stands there may be a password, so it isn't shown
            found[_setting(name, bool(equals))] = value = _plain_value(name.strip(), value)
            if name.strip() in PATHS:  # the same folder in every locale: the file is in UTF-8, and so are its names
                found[name.strip()] = os.fsdecode(value.encode())
        except ValueError as error:
            raise Misconfigured(f"{path.name}, line {number}: {error}.") from error
    return found


def _setting(name: str, has_value: bool) -> str:
    """The name of a setting as a line has it. Raises ValueError: what is wrong with it."""
    name = "".join(c if c.isprintable() else "�" for c in name)
    words = name.split()
    known = [one.name for one in TABLE]
    if not has_value or not words:
        raise ValueError(f"write NAME=value, not “{name.strip()[:60]}”" if name.strip() else "write NAME=value")
    if len(words) == 2 and words[0] in ("export", "set", "ENV"):
        raise ValueError(f"write {words[1]}=…, without {words[0]}")
    if name.strip() not in known:
        from difflib import get_close_matches  # which nobody else needs

        likely = get_close_matches(name.strip().upper().replace("-", "_"), known, 1)
        raise ValueError(f"{name.strip()[:60]} is no setting" + (f"; perhaps {likely[0]} is meant" if likely else ""))
    if name != name.strip():
        raise ValueError(f"write {words[0]}=…, without blanks around the =")
    return name


def _plain_value(name: str, value: str) -> str:
    """A setting's value, if it can be meant as it stands. Raises ValueError: what is wrong with it."""
    if value != value.lstrip():
        raise ValueError(f"write {name}=…, without blanks around the =")
    value = value.rstrip()
    if value[:1] in ("'", '"'):
        raise ValueError(f"write {name}=…, without quotes")
    if re.search(r"\s#", value):
        raise ValueError(f"write {name}=… alone; a comment needs a line of its own")
    if any(ord(c) < 32 for c in value):
        raise ValueError(f"in {name} stands a control character")
    if name in PATHS and ("$" in value or value.startswith("~")):
        raise ValueError(f"write the whole path in {name}: $ and ~ stand for nothing here")
    return value


def _plain_path(path: str) -> str | None:
    """A path with one slash before each part and none at its end; None where it holds what a plain one doesn't."""
    parts = [part for part in path.split("/") if part]
    return None if any(not _PART.fullmatch(p) or p in (".", "..") for p in parts) else "".join(f"/{p}" for p in parts)


def _context_root(written: str) -> str:
    """CONTEXT_ROOT, judged. Raises Misconfigured."""
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


def _public_url(written: str, root: str) -> str:
    """PUBLIC_URL, judged, without the context root that comes after it. Raises Misconfigured."""
    if not written:
        return ""

    def wrong(why: str) -> Misconfigured:
        return Misconfigured(f"PUBLIC_URL must be scheme and host, like https://lab.example: {why}, as in “{shown}”.")

    shown = re.sub(r"//[^/@]*@", "//…@", written)  # what stands there may be a password
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise wrong("the address can't be read") from error
    if parts.scheme not in ("http", "https") or "//" not in written:
        raise Misconfigured(f"PUBLIC_URL must begin with http:// or https://, not “{shown}”.")
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
    if root and (path == root or path.endswith(root)):  # CONTEXT_ROOT comes after it by itself
        path = path.removesuffix(root)
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


def _network(written: str) -> IPv4Network | IPv6Network:
    """An entry of TRUSTED_PROXIES. Raises Misconfigured."""
    try:
        network = ip_network(written, strict=False)
    except ValueError as error:
        raise Misconfigured(
            f"TRUSTED_PROXIES must be addresses or networks like 10.0.0.0/8, not “{written[:60]}”."
        ) from error
    if "/" in written and network.network_address != ip_address(written.partition("/")[0]):
        raise Misconfigured(f"TRUSTED_PROXIES: write {network} for the network, not “{written}”, or the address alone.")
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:  # IPv4 as a server that listens to :: sees it
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def file_of(environ: dict[str, str]) -> Path:
    """The file env in force."""
    return Path(environ.get("LABWAITER_ENV") or ROOT / "env")


def given(environ: dict[str, str], env_file: Path) -> dict[str, str]:
    """What the environment, or else the file env, says of each setting; without those of which neither says anything.

    Raises:
        Misconfigured: a line of the file that is none.
    """
    sources = (environ, read_env_file(env_file))
    found = {}
    for setting in TABLE:
        values = [one[setting.name] for one in sources if setting.name in one]
        value = next((one for one in values if one or setting.name in EMPTY_MEANS_SOMETHING), None)
        if value is not None:
            found[setting.name] = value
    return found


def load(environ: dict[str, str] | None = None, env_file: Path | None = None, port: int | None = None) -> Settings:
    """The settings in force.

    Args:
        environ: the process's environment unless given.
        env_file: `LABWAITER_ENV`, or the file env of this clone, unless given.
        port: where PORT is not set: instead of its default.

    Raises:
        Misconfigured: a value that can't be; the message names the setting.
    """
    environ = dict(os.environ) if environ is None else environ
    env_file = env_file or file_of(environ)
    defaults = {s.name: s.default for s in TABLE} | ({"PORT": str(port)} if port else {})
    value = defaults | given(environ, env_file)
    base = env_file.resolve().parent

    def number(name: str, low: float, high: float, unit: str = "") -> float:
        try:
            got = float(value[name])
        except ValueError:
            got = low - 1
        if not low <= got <= high:
            limits = f"from {low:.15g} to {high:.15g}{unit and ' '}{unit}"
            raise Misconfigured(f"{name} must be a number {limits}, not “{value[name]}”.")
        return got

    root = _context_root(value["CONTEXT_ROOT"].strip())
    public = _public_url(value["PUBLIC_URL"].strip(), root)
    if value["SUPERVISOR"] not in ("here", "elsewhere"):
        raise Misconfigured(f"SUPERVISOR must be here or elsewhere, not “{value['SUPERVISOR']}”.")
    proxies = tuple(_network(one.strip()) for one in value["TRUSTED_PROXIES"].split(",") if one.strip())
    machine = value["MACHINE"].strip() or socket.gethostname().partition(".")[0]
    for name, text in (("REDIS_PREFIX", value["REDIS_PREFIX"]), ("MACHINE", machine)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
            raise Misconfigured(f"{name} must be letters, digits, dots, _ and -, at most 64, not “{text}”.")
    if value["REDIS_URL"] and not value["REDIS_URL"].startswith(_REDIS):  # it may hold a password
        raise Misconfigured(f"REDIS_URL must begin with {', '.join(_REDIS[:-1])} or {_REDIS[-1]}.")
    if value["REDIS_URL"] and len(value["REDIS_SECRET"]) < 16:
        raise Misconfigured(
            "REDIS_URL needs REDIS_SECRET, too: at least 16 characters, the same on all machines of this lab"
            " (openssl rand -hex 16 makes some)."
        )
    if not re.fullmatch("0?7[0-7][0-7]", value["JOBS_MODE"]):
        raise Misconfigured(f"JOBS_MODE must be a mode like 700, 750 or 755, not “{value['JOBS_MODE']}”.")
    if int(value["JOBS_MODE"], 8) & 0o002:
        raise Misconfigured(
            f"JOBS_MODE {value['JOBS_MODE']} would let every user of this machine change what executions are: take 755"
            " to let everybody read, or 770 for a group."
        )
    return Settings(
        context_root=root,
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
        stop_seconds=number("STOP_SECONDS", 2, 86400, "seconds"),
        keep_seconds=number("KEEP_DAYS", 0, 36500, "days") * 86400,
        log_limit=int(number("LOG_LIMIT", 10_000, 10_000_000_000, "bytes")),
        jobs_mode=int(value["JOBS_MODE"], 8),
        redis_url=value["REDIS_URL"],
        redis_prefix=value["REDIS_PREFIX"],
        redis_secret=value["REDIS_SECRET"],
        machine=machine,
    )

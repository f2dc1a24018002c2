"""A deployment that the machine itself keeps running: its systemd units written, started and stopped.

Sources: systemd.unit(5), systemctl(1), sd_booted(3).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .. import shipped
from ..errors import Misconfigured
from ..lab import labfile
from ..settings import Settings
from .errors import DeploymentError

NAME = "labwaiter"  # what the units' names begin with, where a machine has one lab
PARTS = ("supervisor", "web", "worker", "scheduler")
INSTALLED = Path("/etc/systemd/system")
WAIT = {"start": 60, "stop": 300}  # s; systemd itself starts what fails for ever
_WRITTEN_FOR = "/opt/labwaiter"  # the lab's folder in the units that are shipped
_COMMAND = f"{_WRITTEN_FOR}/.venv/bin/labwaiter"  # likewise
_HOMES = ("/home/", "/root/", "/run/user/")


def write(settings: Settings, folder: Path, user: str, parts: tuple[str, ...] = (), name: str = NAME) -> list[str]:
    """Write one unit for each part, so that stopping or restarting one touches no other, and a target for all.

    Args:
        user: whom everything runs as.
        parts: of PARTS; none: what this machine needs.
        name: what their names begin with.

    Returns:
        The names of the files.

    Raises:
        Misconfigured: systemd can't be told of a folder of this deployment, or has such units of another lab.
    """
    parts = parts or needed(settings)
    ours = [f"{NAME}.target", *(f"{NAME}-{part}.service" for part in parts)]
    texts = {_named(file, name): unit(shipped.text(f"systemd/{file}"), settings, user, parts, name) for file in ours}
    services = {file for file in texts if file.endswith(".service")}
    if others := [file for file in services - installed(settings).keys() if (INSTALLED / file).is_file()]:
        raise Misconfigured(
            f"systemd has {min(others)} already, of another lab: say --name NAME, another one for each lab."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_bytes(os.fsencode(text))  # paths are bytes
    return [*texts]


def needed(settings: Settings) -> tuple[str, ...]:
    """What this machine needs: of many, one with instruments has a worker, and another one a web side."""
    parts = ["supervisor", "web"]
    if settings.redis_url:
        whole = labfile.load(settings.lab)
        parts = ["supervisor", "worker"] if settings.machine in whole.machines else ["web"]
    return (*parts, *(["scheduler"] if settings.schedule.is_file() else []))


def unit(template: str, settings: Settings, user: str, parts: tuple[str, ...], name: str = NAME) -> str:
    """A unit that is shipped, for this lab."""
    command = _command()
    folders = (settings.jobs_folder, settings.files_folder)
    for path in (settings.env_file, command, *folders):
        if re.search(r"[\s%\"'\\$]", str(path)):
            raise Misconfigured(f"systemd can't be told of {path}: use folders without blanks, quotes, % and $.")
    text = re.sub(r"^ReadWritePaths=/opt/.*$", f"ReadWritePaths={folders[0]} {folders[1]}", template, flags=re.M)
    text = re.sub(r"^User=.*$", f"User={user}", text, flags=re.M)
    wanted = " ".join(f"labwaiter-{part}.service" for part in parts)
    text = re.sub(r"^Wants=labwaiter-.*$", f"Wants={wanted}", text, flags=re.M)
    if "supervisor" not in parts:
        text = text.replace(" labwaiter-supervisor.service", "")
    text = text.replace(_COMMAND, str(command)).replace(_WRITTEN_FOR, str(settings.folder))
    paths = [f"{path}/" for path in (settings.folder, command, *folders)]
    if any(path.startswith(_HOMES) for path in paths):
        text = text.replace("ProtectHome=yes", "ProtectHome=no")
    if any(path.startswith(("/tmp/", "/var/tmp/")) for path in paths):
        text = text.replace("PrivateTmp=yes", "PrivateTmp=no")
    text = text.replace("Environment=", f"Environment={_naming(settings)} ")
    return _named(text, name)


def _named(text: str, name: str) -> str:
    """A text with the units' names as they are where they begin with `name`."""
    return re.sub(rf"\b{NAME}(?=\.target\b|-(?:{'|'.join(PARTS)})\.service\b)", name, text)


def _naming(settings: Settings) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.naming.items())


def _command() -> Path:
    """The command `labwaiter` of the environment that this process runs in."""
    return Path(sys.prefix, "bin", "labwaiter")


def installed(settings: Settings) -> dict[str, str]:
    """The services that systemd has of this lab: their names, and the target that each is part of."""
    ours = {_naming(settings), f"WorkingDirectory={settings.folder}\n"}  # the latter alone in those of 0.4.0
    found = {}
    for file in sorted(INSTALLED.glob("*.service")):
        try:
            text = os.fsdecode(file.read_bytes())
        except OSError:  # a link to nowhere: a unit that was masked or removed
            continue
        target = re.search(r"^PartOf=(\S+\.target)$", text, re.M)
        if target and any(f"{one.rstrip()}{end}" in text for one in ours for end in (" ", "\n")):
            found[file.name] = target[1]
    return found


def control(settings: Settings, verb: str) -> str:
    """Have systemd `start` or `stop` all units of this lab.

    Returns:
        Their target.

    Raises:
        DeploymentError: it doesn't run this machine, has no units of this lab, or didn't do it.
    """
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise DeploymentError(f"systemd does not run this machine: call labwaiter {verb} without --systemd.")
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise DeploymentError("There is no systemctl on the PATH.")
    units = installed(settings)
    if not units:
        raise DeploymentError(f"{INSTALLED} has no units of this lab: labwaiter export systemd writes them.")
    target = next(iter(units.values()))
    # a target that is stopped is not waited for by its units
    command = [systemctl, verb, target, *(units if verb == "stop" else [])]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT[verb], check=False
        )
    except subprocess.TimeoutExpired as error:
        why = f"journalctl -u '{target.removesuffix('.target')}-*' tells why; systemd goes on trying"
        raise DeploymentError(f"{target} did not {verb} within {WAIT[verb]} s: {why}.") from error
    if result.returncode:
        reason = " ".join(result.stderr.expandtabs().splitlines()[-3:])
        raise DeploymentError(f"systemd did not {verb} {target}: {reason}")
    return target

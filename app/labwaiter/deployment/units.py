"""A deployment that the machine itself keeps running: its systemd units written, started and stopped.

Sources: systemd.unit(5), systemctl(1), sd_booted(3).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import Misconfigured
from ..lab import labfile
from ..settings import ROOT, Settings
from .errors import DeploymentError

TARGET = "labwaiter.target"
PARTS = ("supervisor", "web", "worker", "scheduler")
INSTALLED = Path("/etc/systemd/system")
WAIT = {"start": 60, "stop": 300}  # s; systemd itself starts what fails for ever
_WRITTEN_FOR = "/opt/labwaiter"  # the clone in the units of deploy/systemd
_HOMES = ("/home/", "/root/", "/run/user/")


def write(settings: Settings, folder: Path, user: str, parts: tuple[str, ...] = ()) -> list[str]:
    """Write one unit for each part, so that stopping or restarting one touches no other, and a target for all.

    Args:
        user: whom everything runs as.
        parts: of PARTS; none: what this machine needs.

    Returns:
        The names of the files.

    Raises:
        Misconfigured: there are no templates here, or systemd can't be told of a folder of this deployment.
    """
    templates = ROOT / "deploy" / "systemd"
    if not templates.is_dir():
        raise Misconfigured("The folder deploy/systemd isn't here: call this from a clone, not from a container.")
    parts = parts or needed(settings)
    names = [TARGET, *(f"labwaiter-{part}.service" for part in parts)]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = unit((templates / name).read_text(), settings, user, parts)
        (folder / name).write_bytes(os.fsencode(text))  # paths are bytes
    return names


def needed(settings: Settings) -> tuple[str, ...]:
    """What this machine needs: of many, one with instruments has a worker, and another one a web side."""
    parts = ["supervisor", "web"]
    if settings.redis_url:
        whole = labfile.load(settings.lab)
        parts = ["supervisor", "worker"] if settings.machine in whole.machines else ["web"]
    return (*parts, *(["scheduler"] if settings.schedule.is_file() else []))


def unit(template: str, settings: Settings, user: str, parts: tuple[str, ...]) -> str:
    """A unit of deploy/systemd, for this clone."""
    folders = (settings.jobs_folder, settings.files_folder)
    for path in (ROOT, *folders):
        if re.search(r"[\s%\"'\\$]", str(path)):
            raise Misconfigured(f"systemd can't be told of {path}: use folders without blanks, quotes, % and $.")
    text = re.sub(r"^ReadWritePaths=/opt/.*$", f"ReadWritePaths={folders[0]} {folders[1]}", template, flags=re.M)
    text = re.sub(r"^User=.*$", f"User={user}", text, flags=re.M)
    wanted = " ".join(f"labwaiter-{part}.service" for part in parts)
    text = re.sub(r"^Wants=labwaiter-.*$", f"Wants={wanted}", text, flags=re.M)
    if "supervisor" not in parts:
        text = text.replace(" labwaiter-supervisor.service", "")
    text = text.replace(_WRITTEN_FOR, str(ROOT))
    paths = [f"{path}/" for path in (ROOT, *folders)]
    if any(path.startswith(_HOMES) for path in paths):
        text = text.replace("ProtectHome=yes", "ProtectHome=no")
    if any(path.startswith(("/tmp/", "/var/tmp/")) for path in paths):
        text = text.replace("PrivateTmp=yes", "PrivateTmp=no")
    if file := os.environ.get("LABWAITER_ENV"):
        text = text.replace("Environment=", f"Environment=LABWAITER_ENV={Path(file).absolute()} ")
    return text


def control(verb: str) -> None:
    """Have systemd `start` or `stop` all units of this machine.

    Raises:
        DeploymentError: it doesn't run this machine, or didn't do it.
    """
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise DeploymentError(f"systemd does not run this machine: call labwaiter {verb} without --systemd.")
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise DeploymentError("There is no systemctl on the PATH.")
    # a target that is stopped is not waited for by its units
    command = [systemctl, verb, TARGET, *(["labwaiter-*.service"] if verb == "stop" else [])]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT[verb], check=False
        )
    except subprocess.TimeoutExpired as error:
        why = "journalctl -u 'labwaiter-*' tells why; systemd goes on trying"
        raise DeploymentError(f"{TARGET} did not {verb} within {WAIT[verb]} s: {why}.") from error
    if result.returncode:
        reason = " ".join(result.stderr.expandtabs().splitlines()[-3:])
        hint = "" if (INSTALLED / TARGET).exists() else " The units are written by labwaiter export systemd."
        raise DeploymentError(f"systemd did not {verb} {TARGET}: {reason}{hint}")

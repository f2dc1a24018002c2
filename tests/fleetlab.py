"""A lab of many machines for tests: a redis-server of its own, and a Lab whose verbs go through it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis

from lab import Lab, eventually
from labwaiter.fleet import open_jobs
from labwaiter.settings import ROOT, load

SECRET = "sixteen letters and more"
REDIS = shutil.which("redis-server")


def free_port() -> int:
    """A port of the loopback address that nobody has now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class RedisServer:
    """A real redis-server on a port of its own, with nothing on the disk unless asked for."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        assert REDIS is not None
        self.port = free_port()
        self.folder = folder
        self._options = ["--save", "", "--appendonly", "no", *options]
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        if password:
            self._options += ["--requirepass", password]
        self.client: Any = redis.Redis.from_url(self.url, socket_timeout=5)
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *self._options]
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)  # type: ignore[arg-type]
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def pause(self) -> None:
        """It answers no more, as if the way to it were cut."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(20)
        self.client.close()


class Machine:
    """One machine with a worker: its own jobs folder and environment."""

    def __init__(self, lab: Lab, name: str, url: str, toml: Path) -> None:
        self.lab, self.name = lab, name
        self.environment = lab.environment | fleet_environment(url, name, toml)
        self.log = lab.root.parent / f"{name}.worker.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start its worker."""
        with open(self.log, "ab") as log:
            command = [sys.executable, "-m", "labwaiter", "worker", *options]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        return self.process

    def stop(self) -> None:
        """End it, and what it does, at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                self.process.wait(60)


def fleet_environment(url: str, machine: str, toml: Path, prefix: str = "lab") -> dict[str, str]:
    """The settings of a machine of a lab of many."""
    return {
        "REDIS_URL": url,
        "REDIS_PREFIX": prefix,
        "REDIS_SECRET": SECRET,
        "MACHINE": machine,
        "LAB": str(toml),
        "PYTHONPATH": str(ROOT / "app"),
    }


class FleetLab(Lab):
    """A lab on this machine whose faces know its jobs through Redis alone: one suite, both ways."""

    def __init__(self, root: Path, services: Path, **more: str) -> None:
        super().__init__(root, services, **more)
        self.folder_of_redis = Path(tempfile.mkdtemp(prefix="labwaiter-redis-"))
        self.redis = RedisServer(self.folder_of_redis)
        toml = root.parent / f"{root.name}.lab.toml"
        given = Path(self.environment.get("LAB", "")).read_text() if "LAB" in more else ""
        toml.write_text(given.replace("\nport =", '\nmachine = "one"\nport =') + "\n[machines.one]\n")
        self.machine = Machine(self, "one", self.redis.url, toml)
        face = self.environment | fleet_environment(self.redis.url, "face", toml)
        face["WAITER_LOG_FOLDER"] = str(root.parent / f"{root.name}.face")
        self.face_environment = face
        self.jobs = open_jobs(load(face))

    def supervise(self) -> subprocess.Popen[bytes]:
        started = super().supervise()
        if self.machine.process is None or self.machine.process.poll() is not None:
            self.machine.start()
            eventually(lambda: self.redis.client.hget("lab:machine:one", "seen"))
        return started

    def close(self) -> None:
        self.machine.stop()
        super().close()
        self.redis.close()
        shutil.rmtree(self.folder_of_redis, ignore_errors=True)


def way() -> type[Lab]:
    """The lab that the suite runs on: LABWAITER_WAY=redis makes it the one of many machines."""
    return FleetLab if os.environ.get("LABWAITER_WAY") == "redis" else Lab

"""A lab of many machines for tests: a redis-server of its own, and a Lab whose verbs go through it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from here import ROOT
from lab import Lab, eventually
from labwaiter.errors import ServiceError
from labwaiter.fleet import open_jobs
from labwaiter.fleet.route import machine_for
from labwaiter.fleet.signing import Seals
from labwaiter.lab import labfile
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Record, Request, View
from labwaiter.settings import load
from labwaiter.store.local_store import LocalStore
from labwaiter.store.names import folder_name
from labwaiter.testing.ports import free_port
from labwaiter.verbs import Jobs, Status

SECRET = "sixteen letters and more"
os.environ["RQ_KEY_PREFIX"] = "lab:rq"  # before anybody imports rq: this process serves one lab
REDIS = shutil.which("redis-server")


class RedisServer:
    """A real redis-server on a port of its own, with nothing on the disk unless asked for."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str = "",
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> None:
        """
        Args:
            before: what goes before a command, to have it run on another host.
        """
        assert REDIS is not None
        self.port, self.host = free_port(), host
        self.folder, self._before = folder, before
        self._options = ["--save", "", "--appendonly", "no", "--protected-mode", "no", *options]
        self.url = f"redis://{f':{password}@' if password else ''}{host}:{self.port}/0"
        if password:
            self._options += ["--requirepass", password]
        self.client: Any = redis.Redis.from_url(self.url, socket_timeout=5)
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *self._before,
            REDIS,
            "--port",
            str(self.port),
            "--bind",
            self.host,
            "--dir",
            str(self.folder),
            *self._options,
        ]
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
        if self.process.poll() is None:
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

    def __init__(self, lab: Lab, name: str, url: str, toml: Path, before: Sequence[str] = ()) -> None:
        """
        Args:
            before: what goes before a command, to have it run on another host.
        """
        self.lab, self.name, self._before = lab, name, before
        self.environment = lab.environment | fleet_environment(url, name, toml)
        self.log = toml.parent / f"{name}.worker.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start its worker."""
        with open(self.log, "ab") as log:
            command = [*self._before, sys.executable, "-m", "labwaiter", "worker", *options]
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


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, if need be at once."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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


def sizeless(view: View) -> View:
    """Without what differs from look to look: the sizes of files (the record of a line grows), how long it has run."""
    return replace(view, ran=None, files=tuple((name, 0) for name, _ in view.files))


class FleetLab(Lab):
    """A lab on this machine whose faces know its jobs through Redis alone: one suite, both ways."""

    def __init__(self, root: Path, services: Path, **more: str) -> None:
        super().__init__(root, services, **more)
        self.aside = Path(tempfile.mkdtemp(prefix="labwaiter-redis-"))
        self.redis = RedisServer(self.aside / "redis")
        toml = self.aside / "lab.toml"
        given = Path(self.environment.get("LAB", "")).read_text() if "LAB" in more else ""
        toml.write_text(given.replace("\nport =", '\nmachine = "one"\nport =') + "\n[machines.one]\n")
        self.machine = Machine(self, "one", self.redis.url, toml)
        face = self.environment | fleet_environment(self.redis.url, "face", toml)
        face["WAITER_LOG_FOLDER"] = str(self.aside / "face")
        self.face_environment = face
        self.jobs = open_jobs(load(face))
        self.local = LocalStore(self.settings)

    def told_long_ago(self, service_id: str, seconds: float = 21) -> None:
        self.redis.client.hincrbyfloat(f"lab:job:{folder_name(service_id)}", "told", -seconds)

    def caught_up(self, service_id: str) -> None:
        """Until Redis tells of it what its machine does: a face's look is some tenths of a second late."""
        name = folder_name(service_id)

        def same() -> bool:
            try:
                local = replace(self.local.view(self.local.record(name), None), timeline=self.local.timeline(name))
            except ServiceError:
                return True
            there = self.jobs.records.find(name)
            if there is None or there.published is None:
                return False
            told = replace(there.published, picture=there.picture, own_page=there.page, now=local.now)
            return sizeless(told) == sizeless(local)

        if self.machine.process is not None and self.machine.process.poll() is None:
            eventually(same, every=0.02)

    def status(self, service: str, service_id: str) -> Status:
        self.caught_up(service_id)
        return super().status(service, service_id)

    def record(self, service_id: str) -> Record:
        self.caught_up(service_id)
        return super().record(service_id)

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
        shutil.rmtree(self.aside, ignore_errors=True)


def way() -> type[Lab]:
    """The lab that the suite runs on: LABWAITER_WAY=redis makes it the one of many machines."""
    return FleetLab if os.environ.get("LABWAITER_WAY") == "redis" else Lab


class Fleet:
    """Several machines, each with a worker and a supervisor of its own, one Redis, and faces."""

    def __init__(
        self,
        folder: Path,
        services: Path,
        names: tuple[str, ...],
        toml: str,
        settings: dict[str, str],
        server: Any = None,
    ) -> None:
        """
        Args:
            server: the Redis, or several with sentinels, that it is given; None: one of its own.
        """
        self.folder, self.services_folder, self.settings = folder, services, settings
        folder.mkdir(parents=True)
        self.redis = server or RedisServer(folder / "redis")
        self.toml = folder / "lab.toml"
        self.toml.write_text(
            toml + "".join(f"\n[machines.{name}]\n" for name in names if f"machines.{name}" not in toml)
        )
        self.labs = {name: Lab(folder / name / "jobs", services, **settings) for name in names}
        self.machines = {name: Machine(lab, name, self.redis.url, self.toml) for name, lab in self.labs.items()}
        self.services = next(iter(self.labs.values())).services
        self.jobs = self.face("face")

    def face(self, name: str) -> Jobs:
        """The verbs as a web machine of this name has them."""
        lab = Lab(self.folder / name / "jobs", self.services_folder, **self.settings)
        return open_jobs(load(lab.environment | fleet_environment(self.redis.url, name, self.toml)))

    def start(self) -> None:
        """Start all workers; returns when Redis knows them."""
        for machine in self.machines.values():
            machine.start()
        for name in self.machines:
            eventually(lambda name=name: self.redis.client.hget(f"lab:machine:{name}", "seen"))

    def home_of(self, service_id: str) -> str:
        """The machine that an execution was ordered from."""
        return str(self.redis.client.hget(f"lab:job:{folder_name(service_id)}", "machine").decode())

    def id_for(self, machine: str, service: str = "Echo", prefix: str = "job") -> str:
        """A serviceID whose execution goes to this machine."""
        known = labfile.load(self.toml)
        for number in range(1000):
            name = f"{prefix}{number}"
            if machine_for(known, folder_name(name), Request(name, service, {})) == machine:
                return name
        raise AssertionError(f"nothing goes to {machine}")

    def state(self, service_id: str) -> str:
        """As the face tells it."""
        return str(self.jobs.record(service_id, SHELL).state)

    def close(self) -> None:
        """End it all."""
        self.redis.go_on()
        for machine in self.machines.values():
            machine.stop()
        for lab in self.labs.values():
            lab.close()
        self.redis.close()


def captured(do: Callable[[], object]) -> list[bytes]:
    """The calls that `do` sends, exactly as they lie in Redis."""
    caught: list[bytes] = []
    real = Seals.seal

    def seal(seals: Seals, purpose: str, text: str) -> str:
        sealed = real(seals, purpose, text)
        if purpose.startswith("errand"):
            caught.append(sealed.encode())
        return sealed

    Seals.seal = seal  # type: ignore[method-assign]
    try:
        do()
    finally:
        Seals.seal = real  # type: ignore[method-assign]
    return caught

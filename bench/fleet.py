"""What fleet_measure.py starts: a Redis, a lab with it between face and worker, crowds of idle workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "app")]

import redis  # noqa: E402

from servers import BENCH, ROOT, Labwaiter, free_port  # noqa: E402

BEFORE = "8cb3d8e4e2e127ae5eb3a0d5e4df67224093ca31"  # the last commit of 0.4.0
MACHINES = [f"m{number}" for number in range(101)]  # the first has the services
SECRET = "known to the bench alone"


class RedisServer:
    """A redis-server with nothing on the disk, and what it has done so far."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise SystemExit("bench/run --fleet needs redis-server; Debian: apt install redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        quiet = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen([program, *quiet], stdout=subprocess.DEVNULL)
        self.client: Any = redis.Redis.from_url(self.url)
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def spent(self) -> dict[str, float]:
        """Commands, bytes, CPU seconds so far; clients and memory now."""
        said = self.client.info("all")
        return {
            "at": time.monotonic(),
            "commands": said["total_commands_processed"],
            "bytes": said["total_net_input_bytes"] + said["total_net_output_bytes"],
            "cpu": said["used_cpu_user"] + said["used_cpu_sys"],
            "clients": said["connected_clients"] - 1,
            "memory": said["used_memory"],
        }

    def per_second(self, seconds: float) -> dict[str, float]:
        """What it does in a second, looked at for so long."""
        before = self.spent()
        time.sleep(seconds)
        after = self.spent()
        taken = after["at"] - before["at"]
        rates = {name: (after[name] - before[name]) / taken for name in ("commands", "bytes", "cpu")}
        rates["commands"] -= 1 / taken  # our own look
        return rates | {name: after[name] for name in ("clients", "memory")}

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(20)


class Fleet(Labwaiter):
    """The same deployment with Redis between: the first machine does the work, the face has a folder of its own."""

    name = "over Redis"

    def launch(self) -> list[subprocess.Popen[bytes]]:
        self.redis = RedisServer()
        self.face = Path(tempfile.mkdtemp(prefix="bench-face-"))
        self.toml = self.face / "lab.toml"
        self.toml.write_text(lab_toml())
        machine = machine_environment(self.redis.url, self.toml, MACHINES[0])
        supervisor = self.run(sys.executable, "-m", "labwaiter.supervisor", **self.environment() | machine)
        web = self.serve(**self.asking())
        worker = self.run(sys.executable, "-m", "labwaiter", "worker", **self.environment() | machine)
        wait_for(lambda: self.redis.client.hget(f"bench:machine:{MACHINES[0]}", "seen"))
        return [supervisor, web, worker]

    def asking(self) -> dict[str, str]:
        lab = machine_environment(self.redis.url, self.toml, "face")
        return super().asking() | lab | {"WAITER_LOG_FOLDER": str(self.face)}

    def close(self) -> None:
        super().close()
        self.redis.close()
        shutil.rmtree(self.face, ignore_errors=True)


class FleetBefore(Fleet):
    """The same of 0.4.0."""

    name = "0.4.0 over Redis"

    def launch(self) -> list[subprocess.Popen[bytes]]:
        self.code = Path(tempfile.mkdtemp(prefix="bench-before-"))
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE, "app", "bench"], stdout=-1, check=True)
        subprocess.run(["tar", "-x", "-C", str(self.code)], input=packed.stdout, check=True)
        return super().launch()

    @staticmethod
    def is_there() -> bool:
        """Whether this clone has it."""
        found = subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", BEFORE + "^{commit}"], stderr=-3, check=False)
        return found.returncode == 0

    def environment(self) -> dict[str, str]:
        its = {"PYTHONPATH": str(self.code / "app"), "SERVICES": str(self.code / "bench" / "services")}
        return super().environment() | its

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.code, ignore_errors=True)


def wait_for(look: Callable[[], Any], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not look():
        if time.monotonic() > until:
            raise SystemExit("what the bench has started does not answer")
        time.sleep(0.01)


def lab_toml() -> str:
    """All services are on the first machine."""
    return f"[machines.{MACHINES[0]}]\n" + "".join(f"[machines.{name}]\nservices = []\n" for name in MACHINES[1:])


def machine_environment(url: str, toml: Path, name: str) -> dict[str, str]:
    lab = {"REDIS_URL": url, "REDIS_PREFIX": "bench", "REDIS_SECRET": SECRET, "LAB": str(toml), "MACHINE": name}
    return lab | {"RQ_KEY_PREFIX": "bench:rq"}


class Crowd:
    """So many idle workers on a Redis of their own."""

    def __init__(self, count: int, real: bool) -> None:
        self.redis = RedisServer()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-crowd-"))
        toml = self.folder / "lab.toml"
        toml.write_text(lab_toml())
        self.empty = self.redis.spent()
        self.processes: list[subprocess.Popen[bytes]] = []
        common = {"PYTHONPATH": str(ROOT / "app"), "SERVICES": str(BENCH / "services"), "LABWAITER_ENV": os.devnull}
        for name in MACHINES[:count] if real else MACHINES[:1]:
            how = os.environ | common | machine_environment(self.redis.url, toml, name)
            how["WAITER_LOG_FOLDER"] = str(self.folder / name)
            commands = (["labwaiter.supervisor"], ["labwaiter", "worker"]) if real else ()
            for command in commands or ([],):
                said = [sys.executable, "-m", *command] if command else [sys.executable, __file__, str(count)]
                quiet = subprocess.DEVNULL
                self.processes.append(subprocess.Popen(said, env=how, stdout=quiet, stderr=quiet))
        wait_for(lambda: self.redis.client.scard("bench:machines") >= count, 120)
        time.sleep(3)

    def cost(self, seconds: float) -> dict[str, float]:
        spent = self.redis.per_second(seconds)
        return spent | {"memory": spent["memory"] - self.empty["memory"]}

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            process.wait(60)
        self.redis.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def as_threads(count: int) -> None:
    """The threads of so many workers, idle: all that they ask of Redis, but no supervisor."""
    import threading
    from dataclasses import replace

    from labwaiter.fleet import name_keys
    from labwaiter.settings import load

    settings = load(os.environ)
    name_keys(settings)
    from labwaiter.fleet.worker import Worker

    for name in MACHINES[:count]:
        worker = Worker(replace(settings, machine=name, jobs_folder=settings.jobs_folder / name))
        worker.publisher.start()
        worker.rpc_server.start()
        threading.Thread(target=worker._take_orders, args=(False,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    as_threads(int(sys.argv[1]))

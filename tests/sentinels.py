"""Three Redis, one of them the master, and the three sentinels that say which: for the tests and the drills."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.sentinel import Sentinel

from fleetlab import REDIS, RedisServer
from lab import eventually
from labwaiter.testing.ports import free_port

NAME, PASSWORD, URL_PASSWORD = "lab", "sesa,me", "sesa%2Cme"


class Sentinels:
    """Three of each, on one host or on a host each."""

    def __init__(
        self,
        folder: Path,
        hosts: Sequence[str] = ("127.0.0.1",) * 3,
        name: str = "",
        before: Sequence[Sequence[str]] = ((), (), ()),
    ) -> None:
        """
        Args:
            hosts: their addresses.
            name: where all are on one host, and known to each other and to callers by its name alone.
            before: what goes before a command that is to run on each host.
        """
        assert REDIS is not None
        self.folder, self.hosts, self.before, self.name = folder, hosts, before, name
        self.ports = [free_port() for _ in hosts]
        self.servers: list[RedisServer] = []
        announced = ("--replica-announce-ip", name) if name else ()
        follow = (
            *announced,
            "--masterauth",
            PASSWORD,
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        )
        for number, host in enumerate(hosts):
            first = self.servers[0] if self.servers else None
            whom = ("--replicaof", f"{first.host} {first.port}") if first else ()
            self.servers.append(
                RedisServer(
                    folder / f"redis{number}", *follow, *whom, password=PASSWORD, host=host, before=before[number]
                )
            )
        self.processes = [self._watch(number) for number in range(len(hosts))]
        at = [f"{name or host}:{port}" for host, port in zip(hosts, self.ports, strict=True)]
        self.url = f"redis+sentinel://:{URL_PASSWORD}@{','.join(at)}/{NAME}/0"
        sentinel = Sentinel(
            list(zip(hosts, self.ports, strict=True)),
            sentinel_kwargs={"socket_timeout": 0.5},
            force_master_ip=hosts[0] if name else None,
        )
        self.sentinel = sentinel
        self.client: Any = sentinel.master_for(NAME, password=PASSWORD, socket_timeout=2)
        eventually(lambda: self._follow(2))
        eventually(lambda: self._know_each_other())

    def _watch(self, number: int) -> subprocess.Popen[bytes]:
        first, file = self.servers[0], self.folder / f"sentinel{number}.conf"
        file.write_text(
            f"port {self.ports[number]}\nbind {self.hosts[number]}\nprotected-mode no\ndir {self.folder}\n"
            + ("sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n" if self.name else "")
            + f"sentinel monitor {NAME} {self.name or first.host} {first.port} 2\n"
            f'sentinel auth-pass {NAME} "{PASSWORD}"\n'
            f"sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 3000\n"
        )
        with open(self.folder / f"sentinel{number}.log", "ab") as log:
            command = [*self.before[number], str(REDIS), str(file), "--sentinel"]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _follow(self, count: int) -> bool:
        try:
            said = self.master.client.info("replication")
            return sum(said.get(f"slave{n}", {}).get("state") == "online" for n in range(9)) >= count
        except redis.RedisError:
            return False

    def _know_each_other(self) -> bool:
        return all(
            one.sentinel_masters()[NAME]["num-other-sentinels"] == 2 and one.sentinel_masters()[NAME]["num-slaves"] == 2
            for one in self.sentinel.sentinels
        )

    @property
    def master(self) -> RedisServer:
        """The one that is the master now, as the sentinels have it. Raises redis.RedisError."""
        address = self.sentinel.discover_master(NAME)
        return next(one for one in self.servers if (one.host, one.port) == address)

    @property
    def replicas(self) -> list[RedisServer]:
        """The others."""
        master = self.master
        return [one for one in self.servers if one is not master]

    def whole(self) -> None:
        """Wait until two replicas follow the master."""
        eventually(lambda: self._follow(2), 60)

    def fail_over(self, how: str) -> Callable[[], None]:
        """Have another one become the master; returns when the sentinels say so. What it gives puts the old one back.

        Args:
            how: "asked" (sentinel failover), "killed", or "hung" (it lives, and answers nobody).
        """
        old = self.master
        if how == "asked":
            eventually(lambda: self._asked())
        elif how == "killed":
            old.kill()
        else:
            old.pause()

        def moved() -> bool:
            try:
                return self.master is not old
            except redis.RedisError:
                return False

        eventually(moved, 60)
        return {"asked": lambda: None, "killed": old.start, "hung": old.go_on}[how]

    def _asked(self) -> bool:
        try:
            return bool(self.sentinel.sentinels[0].sentinel_failover(NAME))
        except redis.RedisError:
            time.sleep(0.2)  # it still has to do with the last one
            return False

    def go_on(self) -> None:
        """All answer again."""
        for one in self.servers:
            one.go_on()

    def close(self) -> None:
        """End it all."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)
        self.client.close()
        for one in self.servers:
            one.close()

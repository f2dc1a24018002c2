"""Hosts of the tests' own, in network namespaces on this machine, and the cables between them (ip-netns(8))."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

IP = shutil.which("ip")


def may() -> bool:
    """Whether namespaces can be made here."""
    if IP is None or os.geteuid() != 0:
        return False
    name = f"lw{os.getpid()}t"
    if subprocess.run([IP, "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    return subprocess.run([IP, "netns", "del", name], capture_output=True, check=False).returncode == 0


class Network:
    """A switch, this machine on it at 10.213.N.1, and hosts.

    The switch is in a namespace of its own, too: what this machine filters (as Docker has it) is not between the hosts.
    """

    def __init__(self) -> None:
        self._tag = f"lw{os.getpid() % 100_000}"
        self._net = f"10.213.{os.getpid() % 250}"
        self.hosts: dict[str, int] = {}
        self._switch = f"{self._tag}switch"
        self._ip("netns", "add", self._switch)
        self._ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        self._ip("-n", self._switch, "link", "set", "bridge", "up")
        self._ip("link", "add", self._tag, "type", "veth", "peer", "name", "uplink", "netns", self._switch)
        self._ip("-n", self._switch, "link", "set", "uplink", "master", "bridge", "up")
        self._ip("addr", "add", f"{self._net}.1/24", "dev", self._tag)
        self._ip("link", "set", self._tag, "up")
        self.local = f"{self._net}.1"

    def _ip(self, *words: str) -> None:
        assert IP is not None
        done = subprocess.run([IP, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    def add(self, name: str) -> str:
        """A host with its cable: its address."""
        number = self.hosts[name] = len(self.hosts) + 10
        space, port = f"{self._tag}{name}", f"port{number}"
        self._ip("netns", "add", space)
        self._ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        address = f"{self._net}.{number}"
        for words in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            self._ip("-n", space, *words.split())
        return address

    def hosts_file(self, name: str, **addresses: str) -> None:
        """What that host's /etc/hosts has besides localhost: name (its dots written __) → address.

        ip-netns(8) puts the file in place where a command begins; what is written later is seen, too.
        """
        folder = Path("/etc/netns") / f"{self._tag}{name}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{address} {host.replace('__', '.')}\n" for host, address in addresses.items()]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))

    def inside(self, name: str) -> list[str]:
        """What goes before a command that runs on that host."""
        assert IP is not None
        return [IP, "netns", "exec", f"{self._tag}{name}"]

    def cut(self, name: str) -> None:
        """Pull its cable."""
        self._ip("-n", self._switch, "link", "set", f"port{self.hosts[name]}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        self._ip("-n", self._switch, "link", "set", f"port{self.hosts[name]}", "up")

    def close(self) -> None:
        """Take it all down."""
        assert IP is not None
        for name in (*self.hosts, "switch"):
            shutil.rmtree(Path("/etc/netns") / f"{self._tag}{name}", ignore_errors=True)
            subprocess.run([IP, "netns", "del", f"{self._tag}{name}"], capture_output=True, check=False)
        subprocess.run([IP, "link", "del", self._tag], capture_output=True, check=False)

"""Hosts of the tests' own, in network namespaces on this machine, and the cables between them (ip-netns(8))."""

from __future__ import annotations

import os
import shutil
import subprocess

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
    """A bridge at 10.213.N.1, and hosts behind it."""

    def __init__(self) -> None:
        self._tag = f"lw{os.getpid() % 100_000}"
        self._net = f"10.213.{os.getpid() % 250}"
        self.hosts: dict[str, int] = {}
        self._ip("link", "add", self._tag, "type", "bridge")
        self._ip("addr", "add", f"{self._net}.1/24", "dev", self._tag)
        self._ip("link", "set", self._tag, "up")
        self.here = f"{self._net}.1"

    def _ip(self, *words: str) -> None:
        assert IP is not None
        done = subprocess.run([IP, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)

    def add(self, name: str) -> str:
        """A host with its cable: its address."""
        number = self.hosts[name] = len(self.hosts) + 10
        space, ours = f"{self._tag}{name}", f"{self._tag}v{number}"
        self._ip("netns", "add", space)
        self._ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("link", "set", ours, "master", self._tag, "up")
        address = f"{self._net}.{number}"
        for words in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            self._ip("-n", space, *words.split())
        return address

    def inside(self, name: str) -> list[str]:
        """What goes before a command that runs on that host."""
        assert IP is not None
        return [IP, "netns", "exec", f"{self._tag}{name}"]

    def cut(self, name: str) -> None:
        """Pull its cable."""
        self._ip("link", "set", f"{self._tag}v{self.hosts[name]}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        self._ip("link", "set", f"{self._tag}v{self.hosts[name]}", "up")

    def close(self) -> None:
        """Take it all down."""
        assert IP is not None
        for name in self.hosts:
            subprocess.run([IP, "netns", "del", f"{self._tag}{name}"], capture_output=True, check=False)
        subprocess.run([IP, "link", "del", self._tag], capture_output=True, check=False)

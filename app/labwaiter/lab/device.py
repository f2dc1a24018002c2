"""Which real device a port is, under whatever name: so that it has one holder. Standard library only."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ..system.network import is_own

SYS = Path("/sys")
WRAPPERS = ("spy://", "alt://", "sim://")  # pyserial's, and ours around a path
THIS_MACHINE = "this machine"


class Part(NamedTuple):
    """A piece of hardware that a port stands for: what its holder holds."""

    name: str  # one text for one thing, however it is spelt
    shared: bool = False  # others may have parts of it, too: of a USB adapter with several ports, the adapter


def parts(port: str, resolve: bool = False) -> frozenset[Part]:
    """What of the hardware a port stands for; nothing for a simulator that is another one at each opening.

    Args:
        port: as lab.toml has it: a path, a URL of pyserial's, or a VISA resource.
        resolve: have hosts' names resolved by the system, which may take seconds. Without it two names of one host
            count as two, but for those of this machine.
    """
    text = port
    while text.startswith(WRAPPERS):
        if text.startswith("sim://") and not text.startswith("sim:///"):
            return frozenset()
        text = text.partition("://")[2]
    text = text.partition("?")[0]
    if text.startswith("loop://"):
        return frozenset()
    if visa := re.fullmatch(r"(ASRL|TCPIP|USB|GPIB)(\d*)(/[^:]*)?((?:::[^:]*)*)", text, re.IGNORECASE):
        return _visa(visa[1].upper(), visa[2] or "0", visa[3], visa[4].split("::")[1:], resolve)
    if "://" in text:
        try:
            url = urlsplit(text)
            if url.hostname and url.port is not None:  # raw or RFC 2217: a terminal server's port is one line
                return _network(url.hostname, str(url.port), resolve)
        except ValueError:
            pass
        return frozenset({Part(text.lower().rstrip("/"))})
    return _path(text)


def conflict(device: frozenset[Part], other: frozenset[Part]) -> bool:
    """Whether two ports can't be held by two at once."""
    return any(a.name == b.name and not (a.shared and b.shared) for a in device for b in other)


def _path(path: str) -> frozenset[Part]:
    with contextlib.suppress(OSError):
        number = os.stat(path).st_rdev
        if number:
            device = f"{os.major(number)}:{os.minor(number)}"
            return frozenset({Part(f"device {device}"), *_usb(SYS / "dev" / "char" / device)})
    return frozenset({Part(os.path.realpath(path))})


def _usb(node: Path) -> set[Part]:
    """The USB device to which a device node belongs: the node is a part of it, or all of it."""
    real = node.resolve()
    for place in (real, *real.parents):
        with contextlib.suppress(OSError):
            bus, number = ((place / name).read_text().strip() for name in ("busnum", "devnum"))
            return {Part(f"usb {bus}-{number}", shared=place != real)}
    return set()


def _network(host: str, port: str, resolve: bool) -> frozenset[Part]:
    addresses = {host.lower().rstrip(".")}
    if resolve:
        with contextlib.suppress(OSError, UnicodeError):
            addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return frozenset(Part(f"{_host(address)} {port.lower()}") for address in addresses)


def _host(address: str) -> str:
    # Of this machine's names fewer are known as such than by proxy.py, which also has some looked up: which ports
    # are one device must be judged at once, and by every process alike.
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return THIS_MACHINE if address in ("localhost", socket.gethostname().lower()) else address
    if is_own(ip):
        return THIS_MACHINE
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def _visa(kind: str, board: str, path: str | None, words: list[str], resolve: bool) -> frozenset[Part]:
    if kind == "ASRL" and path:
        return _path(path)
    if kind == "TCPIP" and words:
        ports = [word for word in words[1:] if word.upper() not in ("INSTR", "SOCKET")]
        port = ports[0] if ports else "inst0"
        return _network(words[0], str(int(port)) if port.isdigit() else port, resolve)
    if kind == "USB" and len(words) >= 3:
        wanted = tuple(f"{_number(word):04x}" for word in words[:2]), words[2]
        for place in (SYS / "bus" / "usb" / "devices").glob("*"):
            with contextlib.suppress(OSError):
                vendor, product, serial = (
                    (place / name).read_text().strip() for name in ("idVendor", "idProduct", "serial")
                )
                if ((vendor, product), serial) == wanted:
                    return frozenset(_usb(place))
    plain = [str(_number(word)) if word.isdigit() else word.lower() for word in words if word.upper() != "INSTR"]
    return frozenset({Part(" ".join([kind.lower(), str(int(board)), *plain]))})


def _number(text: str) -> int:
    with contextlib.suppress(ValueError):
        return int(text, 0)
    return int(text) if text.isdigit() else -1

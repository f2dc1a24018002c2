"""Which addresses are this machine's."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address


def is_own(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, in any of its forms, is one of this machine's. Nothing is sent, no name is looked up."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:  # the latter is called as the former
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))  # chooses the address to send from, which is the same for an own one only
        return str(probe.getsockname()[0]) == str(address)
    return False

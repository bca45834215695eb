"""Which addresses a step may call: everything but link-local ones and the metadata services of clouds,

which hand their machine's own credentials to whoever asks.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket

from portcall.errors import ToolError

_HOSTS = frozenset({"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
_NETWORKS = ("169.254.0.0/16", "100.100.100.200/32", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128")


async def resolve(host: str, port: int, *, allow_metadata: bool = False) -> list[str]:
    """The addresses of a host, each one allowed.

    Raises `ToolError`: `connection` when there are none, `config` when one is not allowed.
    """
    if not allow_metadata and host.rstrip(".").lower() in _HOSTS:
        raise _refused(host)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ToolError(
            f"The host {host} is not known; check its name, or the machine's DNS.",
            kind="connection",
            retryable=True,
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_metadata and any(map(forbidden, addresses)):
        raise _refused(host)
    return addresses


def forbidden(address: str) -> bool:
    """Whether it is link-local or a metadata service, in whatever notation IPv6 wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = wrapped or ip
    return any(ip in network for network in _forbidden() if network.version == ip.version)


@functools.cache
def _forbidden() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, _NETWORKS))


def _refused(host: str) -> ToolError:
    return ToolError(
        f"The host {host} leads to a link-local or cloud metadata address, which steps may not call.",
        kind="config",
    )

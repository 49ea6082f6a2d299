"""Sockets for untrusted addresses: they connect to public addresses only, and end at a deadline.

Which names are allowed is decided in ``resources/http.py``, which imports this module when it is first needed. Public
addresses are those that IANA's registries of special-purpose addresses (of 2026) do not list:
https://www.iana.org/assignments/iana-ipv4-special-registry and https://www.iana.org/assignments/iana-ipv6-special-registry.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import httpcore2

from threadjuice_dagster.domain.pictures.images import PictureRefused


def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a name. Raises ``PictureRefused`` if any of its addresses is not public."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(str(error)) from error
    addresses = list(dict.fromkeys(str(entry[4][0]).split("%")[0] for entry in entries))
    if not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        next_step = "Choose another picture; only origins in IMAGE_ALLOWED_ORIGINS may be private."
        raise PictureRefused(f"{host} resolves to an address that is not public.", next_step)
    return addresses


class _Deadline:
    """A moment of ``time.monotonic()`` after which no call may wait."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def left(self, timeout: float | None) -> float:
        """Return the seconds that a call with this timeout may take. Raises ``ReadTimeout`` after the deadline."""
        remaining = self.moment - time.monotonic()
        if remaining <= 0:
            raise httpcore2.ReadTimeout("out of time")
        return remaining if timeout is None else min(timeout, remaining)


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every read and write ends at the deadline, however slowly the other side sends."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self.inner = inner
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.deadline.left(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self.inner.start_tls(ssl_context, server_hostname, self.deadline.left(timeout))
        return _TimedStream(inner, self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class CheckedBackend(httpcore2.SyncBackend):
    """Connects only where every address of the name is public, unless ``private_ok``.

    The name is resolved once, and the checked address is the one connected to: a second look-up could answer
    differently. Host header and TLS name stay those of the requested address.
    """

    def __init__(self, private_ok: bool, deadline: float) -> None:
        self.private_ok = private_ok
        self.deadline = _Deadline(deadline)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first of the name's addresses that answers."""
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for address in [host] if self.private_ok else public_addresses(host, port):
            wait = self.deadline.left(timeout)
            try:
                stream = super().connect_tcp(address, port, wait, local_address, socket_options)
                return _TimedStream(stream, self.deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


NOT_PUBLIC = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private use",
    "100.64.0.0/10": "shared by customers of a carrier; Alibaba Cloud answers about itself at 100.100.100.200",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "Azure answers about itself here",
    "169.254.0.0/16": "link-local; most clouds answer about themselves at 169.254.169.254",
    "172.16.0.0/12": "private use",
    "192.0.0.0/24": "protocol assignments; Oracle Cloud answers about itself at 192.0.0.192",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relays, deprecated",
    "192.168.0.0/16": "private use",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, and broadcast",
    "2001::/23": "protocol assignments, Teredo and ORCHID among them",
    "2001:db8::/32": "documentation",
    "3fff::/20": "documentation",
}
"""Networks that are not public, and why. Of IPv6 only those within ``GLOBAL`` are listed."""

GLOBAL = IPv6Network("2000::/3")
"""The part of IPv6 that public servers get. Loopback, private, link-local and multicast addresses lie outside."""

_WRAPPED = {IPv6Network("::ffff:0:0/96"): 0, IPv6Network("64:ff9b::/96"): 0, IPv6Network("2002::/16"): 80}
"""Networks whose addresses contain an IPv4 address (mapped, NAT64, 6to4), and how many bits follow it."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""The third quarter of an ISATAP address, whose last quarter is an IPv4 address."""

_NETWORKS = [ip_network(network) for network in NOT_PUBLIC]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is public. One that contains an IPv4 address is judged by that."""
    if isinstance(address, IPv6Address):
        return _is_public_6(address)
    return not any(address in network for network in _NETWORKS if isinstance(network, IPv4Network))


def _is_public_6(address: IPv6Address) -> bool:
    number = int(address)
    if number >> 32 & 0xFFFFFFFF in _ISATAP and not is_public(IPv4Address(number & 0xFFFFFFFF)):
        return False
    for network, bits in _WRAPPED.items():
        if address in network:
            return is_public(IPv4Address(number >> bits & 0xFFFFFFFF))
    reserved = any(address in network for network in _NETWORKS if isinstance(network, IPv6Network))
    return address in GLOBAL and not reserved

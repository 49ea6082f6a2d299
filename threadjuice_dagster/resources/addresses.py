"""Which internet addresses are somebody's public server, and which lead into a network of our own.

Globally reachable is what IANA's registries of special-purpose addresses (of 2026) leave over:
https://www.iana.org/assignments/iana-ipv4-special-registry and https://www.iana.org/assignments/iana-ipv6-special-registry.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

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
"""Networks that are not public, and why; of IPv6 only those within ``GLOBAL``."""

GLOBAL = IPv6Network("2000::/3")
"""All of IPv6 that is given to public servers. Loopback, private, link-local and multicast addresses lie outside."""

_WRAPPED = {IPv6Network("::ffff:0:0/96"): 0, IPv6Network("64:ff9b::/96"): 0, IPv6Network("2002::/16"): 80}
"""Networks whose addresses lead to an IPv4 address inside: mapped, NAT64, 6to4; and how many bits follow it."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""The third quarter of an address, in any network, whose last quarter is an IPv4 address."""

_NETWORKS = [ip_network(network) for network in NOT_PUBLIC]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is globally reachable; one that leads to an IPv4 address inside counts as that."""
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

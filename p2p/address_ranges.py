"""Ranges of addresses: what one operator can cheaply have many addresses of counts as one.

An IPv4 range is a /16, an IPv6 range a /32: about what one provider gets.  An IPv6 address is counted by its /64, which
is what one household gets.  Names are ranges of their own: only configuration holds names, never what a peer claims.
"""

import ipaddress
from functools import lru_cache

IPV4_RANGE_BITS = 16
IPV6_RANGE_BITS = 32
IPV6_HOST_BITS = 64
CACHED_MAX = 4_096

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(host: str) -> Address | None:
    """Return the IP address that a text is, an IPv4 address inside IPv6 as IPv4; None for names and anything else."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


@lru_cache(CACHED_MAX)
def range_of(host: str) -> str:
    """Return the range of an address as text, such as "203.0.0.0/16"; a name is its own range."""
    address = read_address(host)
    if address is None:
        return host.lower()
    bits = IPV4_RANGE_BITS if address.version == 4 else IPV6_RANGE_BITS
    return _network(address, bits)


@lru_cache(CACHED_MAX)
def host_of(host: str) -> str:
    """Return what counts as one address: an IPv4 address itself, the /64 of an IPv6 address, a name itself."""
    address = read_address(host)
    if address is None:
        return host.lower()
    return str(address) if address.version == 4 else _network(address, IPV6_HOST_BITS)


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own."""
    address = read_address(host)
    return address is not None and address.is_loopback


def is_public(host: str) -> bool:
    """Tell whether everybody may dial an address: no loopback, private, link-local, multicast or unspecified one."""
    address = read_address(host)
    return address is not None and address.is_global and not address.is_multicast


def _network(address: Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))

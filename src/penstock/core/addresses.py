"""Whose request it is when all that is known is where it came from.

Only proxies that are trusted may say for whom they ask: anybody else could make up one for each request.
"""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_PREFIX = 64
"""What one customer is given; whoever has it has more addresses than can be counted."""


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks such as 10.0.0.0/8. Raises ValueError naming the wrong one."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def origin(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address a request came from: the last in the chain of proxies that is no trusted proxy itself.

    ``forwarded`` are the values of X-Forwarded-For, in order. What a trusted proxy passed on and is no
    address counts as that proxy's own.
    """
    here = peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and _is_trusted(here, trusted):
        before = _address(hops.pop())
        if before is None:
            break
        here = str(before)
    return here


def counted(address: str) -> str:
    """Under which name an address is counted: its network, of IPv6."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

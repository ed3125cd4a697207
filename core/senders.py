"""Where a request really comes from, and who may send alerts. Pure.

Only a proxy that is trusted may say for whom it speaks. `X-Forwarded-For` is read from its end,
where the nearest proxy wrote: what stands before the first address that is no trusted proxy was
written by whoever sent the request, and means nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

# As published in TradingView's help, "How to configure webhook alerts" (43000529348).
TRADINGVIEW: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
TRADINGVIEW_WORD: Final = "tradingview"
UNKNOWN: Final = "unknown"
# One household or server is given a whole /64 of these.
_IPV6_SOURCE_BITS: Final = 64
_HOPS_READ: Final = 20  # of X-Forwarded-For; nobody has more proxies, and headers are long


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who a request comes from."""

    address: Address | None  # None: it cannot be told
    is_by_proxy: bool  # the connection is a trusted proxy's

    @property
    def key(self) -> str:
        """Return what requests of the same source have in common."""
        if self.address is None:
            return UNKNOWN
        if isinstance(self.address, IPv6Address):
            return str(ip_network((self.address, _IPV6_SOURCE_BITS), strict=False))
        return str(self.address)


def parse_networks(text: str) -> Networks:
    """Return addresses and networks of a comma-separated list; `tradingview` is its four.

    Raises:
        ValueError: it names the item that is neither.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    networks: dict[IPv4Network | IPv6Network, None] = {}
    for item in items:
        for name in TRADINGVIEW if item.lower() == TRADINGVIEW_WORD else (item,):
            try:
                networks[ip_network(name)] = None
            except ValueError as error:
                raise ValueError(f"{item}: {error}") from None
    return tuple(networks)


def source_of(peer: str | None, forwarded_for: Sequence[str], *, trusted: Networks) -> Source:
    """Return who sent a request.

    Args:
        peer: the other end of the connection.
        forwarded_for: every `X-Forwarded-For` header, in order.
        trusted: the proxies that may say for whom they speak.
    """
    address = read_address(peer or "")
    if not is_among(address, trusted):
        return Source(address=address, is_by_proxy=False)
    hops = [hop for header in forwarded_for for hop in header.split(",")]
    for hop in reversed(hops[-_HOPS_READ:]):
        address = read_address(hop)
        if not is_among(address, trusted):
            break
    return Source(address=address, is_by_proxy=True)


def read_address(text: str) -> Address | None:
    """Return the address in `text`, with or without a port; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_among(address: Address | None, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Return whether the address belongs to one of the networks."""
    return address is not None and any(address in network for network in networks)

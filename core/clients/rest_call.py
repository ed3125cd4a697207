"""One request to the exchange as data, and what carries it there."""

from dataclasses import dataclass, field
from typing import Protocol

RECEIVE_WINDOW_MS = 5_000  # the exchange refuses what arrives later than this after its timestamp
LATEST_START_MS = 2_000  # an order request is not started later than this after its timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `timestamp_ms` belongs to order requests: the moment of their intent."""

    method: str  # get, post, put, delete
    path: str  # without /fapi/v1/
    version: int = 1
    parameters: dict[str, str] = field(default_factory=dict)
    is_signed: bool = True
    weight: int = 1
    is_order: bool = False  # counts against the account's order limits
    is_urgent: bool = False  # may use the part of the limits that is kept for protecting, closing
    timestamp_ms: int | None = None

    @property
    def changes(self) -> bool:
        """Return whether it may change something on the exchange."""
        return self.method != "get"


class RestTransport(Protocol):
    """Carries one call to the exchange and its answer back."""

    def now_ms(self) -> int:
        """Return the exchange's clock."""
        ...

    async def sync_clock(self) -> None:
        """Measure the exchange's clock against ours. Raises ExchangeError."""
        ...

    async def send(self, call: Call) -> bytes:
        """Return the body of a success. Raises ExchangeError, by what the caller does next."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...

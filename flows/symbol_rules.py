"""What the exchange lists, stored in `binance_symbol`: by the monitor, and by scheduled work.

Filters, brackets and status of all perpetuals come in two answers; an account's fees cost a call
for each symbol, so only those of the symbols that one trades are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core.clients.alert_store import AlertStore
from core.clients.binance import BinanceGateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What came of reading the exchange's whole list."""

    count: int
    unlisted: tuple[str, ...]  # of the symbols asked about: not there (any more)
    unknown: tuple[str, ...]  # of those: never seen there either


async def store_listed(
    gateway: BinanceGateway, store: AlertStore, symbols: Sequence[str]
) -> Listed:
    """Store the rules of all that is listed, and what became of `symbols`.

    Where one of them was never listed, nothing is stored: it is a name that somebody mistyped.
    """
    at_ms = gateway.now_ms()
    listed = await gateway.all_rules(None)
    unlisted = set(symbols) - {rules.symbol for rules in listed}
    unknown = unlisted - {rules.symbol for rules in await store.all_rules()} if unlisted else set()
    if not unknown:
        await store.save_rules(listed, read_at_ms=at_ms, with_fees=False, is_whole_list=True)
    return Listed(
        count=len(listed), unlisted=tuple(sorted(unlisted)), unknown=tuple(sorted(unknown))
    )


async def store_own(gateway: BinanceGateway, store: AlertStore, symbol: str) -> None:
    """Store the rules of one symbol, the account's fees among them."""
    at_ms = gateway.now_ms()
    await store.save_rules([await gateway.rules(symbol)], read_at_ms=at_ms)

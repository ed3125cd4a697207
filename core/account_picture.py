"""What the exchange lists at one moment, positions and open orders; and what of it is nobody's."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from core.domain.cycle import OrderReported, PositionChecked, parse_client_order_id
from core.errors import ExchangeUnavailable
from core.money import shown
from core.ports import Clock, OrderGateway


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPicture:
    """Positions and open orders as the exchange lists them at one moment, by symbol."""

    asked_at_ms: int
    positions: Mapping[str, PositionChecked]
    orders: Mapping[str, tuple[OrderReported, ...]]

    def position(self, symbol: str) -> PositionChecked:
        """Return both sides of the symbol. Raises ExchangeUnavailable: missing is never flat."""
        position = self.positions.get(symbol)
        if position is None:
            raise ExchangeUnavailable(f"{symbol} is missing in the list of positions")
        return position


async def read_account(gateway: OrderGateway, clock: Clock) -> AccountPicture:
    """Return the picture of the whole account, for any number of symbols at the price of one."""
    asked_at = clock.now_ms()
    positions = await gateway.all_positions()
    orders: dict[str, tuple[OrderReported, ...]] = {}
    for symbol, report in await gateway.open_orders(None):
        orders[symbol] = (*orders.get(symbol, ()), report)
    return AccountPicture(asked_at_ms=asked_at, positions=positions, orders=orders)


async def read_symbol(gateway: OrderGateway, clock: Clock, symbol: str) -> AccountPicture:
    """Return the picture of one symbol."""
    asked_at = clock.now_ms()
    position = await gateway.positions(symbol)
    reports = await gateway.open_orders(symbol)
    return AccountPicture(
        asked_at_ms=asked_at,
        positions={symbol: position},
        orders={symbol: tuple(report for _, report in reports)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """What is on a symbol without a cycle: nobody here opened it, or no cycle knows it any more."""

    long: Decimal
    short: Decimal
    our_orders: tuple[str, ...]  # client ids that only we give

    def __str__(self) -> str:
        """Return it as a person reads it."""
        names = ", ".join(self.our_orders[:5]) + (", …" if len(self.our_orders) > 5 else "")
        orders = f", open orders with our names: {names}" if names else ""
        return f"LONG {shown(self.long)}, SHORT {shown(self.short)}{orders}"


def unclaimed(picture: AccountPicture, symbol: str) -> Unclaimed | None:
    """Return what is on a symbol of which no cycle is known; None: nothing that matters."""
    position = picture.position(symbol)
    names = [report.client_order_id for report in picture.orders.get(symbol, ())]
    ours = tuple(sorted(name for name in names if parse_client_order_id(name) is not None))
    found = Unclaimed(long=position.long.quantity, short=position.short.quantity, our_orders=ours)
    return found if found.long or found.short or ours else None

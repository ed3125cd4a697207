"""What the exchange says of one symbol, read by REST and given back as facts about a cycle.

Nothing here decides or remembers: what follows from a fact is the strategy's, when to ask again is
`core.inquiries`' and the periodic check's. Every method raises ExchangeError where the exchange
does not answer; then nothing was concluded.
"""

from collections.abc import Sequence
from typing import assert_never

from core.account_picture import AccountPicture, read_symbol
from core.domain.asks import (
    FindOrder,
    Question,
    ReadBalance,
    ReadFills,
    ReadMark,
    ReadOpenOrders,
    ReadPosition,
    ReadRules,
)
from core.domain.cycle import (
    AssetPriced,
    BalanceRead,
    Cycle,
    Fact,
    FillsRead,
    MarkRead,
    OrderMissing,
    OrderReported,
    OrderState,
    PositionChecked,
    PositionSide,
    Role,
    RulesRead,
)
from core.ports import Clock, FundingRecord, OrderGateway

# The exchange takes a request whose timestamp is this far ahead of its clock, so an entry may fill
# before the time at which, by our clock, it was accepted.
CLOCKS_MAY_DIFFER_MS = 1_000
_WELL_BEFORE_MS = 60_000  # far more than clocks differ


def fills_since_ms(cycle: Cycle) -> int:
    """Return from when on the exchange's list may hold executions of the cycle."""
    return cycle.accepted_at_ms - CLOCKS_MAY_DIFFER_MS


class SymbolReads:
    """The reads that a desk makes."""

    def __init__(self, symbol: str, gateway: OrderGateway, clock: Clock) -> None:
        self._symbol = symbol
        self._gateway = gateway
        self._clock = clock

    async def answer(self, question: Question, cycle: Cycle) -> tuple[Fact, ...]:
        """Return what the exchange answers to one question of the cycle's."""
        gateway, symbol = self._gateway, self._symbol
        match question:
            case FindOrder(client_order_id=name):
                order = cycle.order(name)
                return () if order is None else await self._find(cycle, order)
            case ReadFills():
                return (await self._fills(cycle),)
            case ReadPosition():
                return (await gateway.positions(symbol),)
            case ReadOpenOrders():
                return tuple(report for _, report in await gateway.open_orders(symbol))
            case ReadBalance():
                balance = await gateway.balance(cycle.rules.quote_asset)
                return (BalanceRead(at_ms=self._now(), available=balance.available),)
            case ReadMark():
                return (MarkRead(at_ms=self._now(), price=await gateway.mark_price(symbol)),)
            case ReadRules():
                return (RulesRead(at_ms=self._now(), rules=await gateway.rules(symbol)),)
            case _:
                assert_never(question)

    async def picture(self) -> AccountPicture:
        """Return the symbol's positions and open orders."""
        return await read_symbol(self._gateway, self._clock, self._symbol)

    async def compare(
        self, cycle: Cycle, picture: AccountPicture, *, is_first: bool
    ) -> tuple[Fact, ...]:
        """Return what the exchange lists, and what became of that which it lists no more.

        Where it `is_first` after the cycle was loaded, the saved state may be older than what the
        exchange did: then orders and fills since then are read, too, whatever they became.
        """
        found: list[Fact] = [*await self._read_since(cycle)] if is_first else []
        reports = picture.orders.get(self._symbol, ())
        found += reports
        for order in _unlisted(cycle, reports, picture.asked_at_ms):
            found += await self._find(cycle, order)
        if is_first or _differs(cycle, picture.position(self._symbol)):
            found.append(await self._fills(cycle))
        return tuple(found)

    async def asset_price(self, cycle: Cycle, asset: str) -> AssetPriced:
        """Return the price of an asset in which commissions of the cycle were paid."""
        price = await self._gateway.mark_price(f"{asset}{cycle.rules.quote_asset}")
        return AssetPriced(at_ms=self._now(), asset=asset, price=price)

    async def funding(self, since_ms: int) -> tuple[FundingRecord, ...]:
        """Return the symbol's funding payments since a time, oldest first."""
        return await self._gateway.funding(self._symbol, since_ms=since_ms)

    async def _find(self, cycle: Cycle, order: OrderState) -> tuple[Fact, ...]:
        """Return what became of an order; missing only if fills and position show nothing."""
        asked_at = self._now()
        report = await self._gateway.find(self._symbol, order)
        if report is not None:
            return (report,)
        fills = await self._fills(cycle)
        position = await self._gateway.positions(self._symbol)
        known = {fill.trade_id for fill in cycle.fills}
        is_new = any(fill.trade_id not in known for fill in fills.fills)
        if is_new or _may_have_filled(order, cycle, position):
            return (fills, position)
        name = order.client_order_id
        missing = OrderMissing(at_ms=self._now(), client_order_id=name, asked_at_ms=asked_at)
        return (position, missing)

    async def _fills(self, cycle: Cycle) -> FillsRead:
        fills = await self._gateway.fills(
            self._symbol, since_ms=fills_since_ms(cycle), after_trade_id=None
        )
        counted = tuple(
            fill
            for fill in fills
            if fill.time_ms >= cycle.accepted_at_ms or cycle.order(fill.client_order_id) is not None
        )
        return FillsRead(at_ms=self._now(), fills=counted)

    async def _read_since(self, cycle: Cycle) -> tuple[OrderReported, ...]:
        """Return all orders of the cycle that are younger than those saved, whatever they became.

        An order is saved before it is sent, so what was created before the newest one is known.
        """
        ours = [o for o in cycle.orders if o.role is not Role.FOREIGN]
        newest = max((o.created_at_ms for o in ours), default=cycle.accepted_at_ms)
        reports = await self._gateway.orders_since(self._symbol, since_ms=newest - _WELL_BEFORE_MS)
        return tuple(r for r in reports if r.client_order_id.startswith(cycle.client_id_prefix))

    def _now(self) -> int:
        return self._clock.now_ms()


def _unlisted(
    cycle: Cycle, reports: Sequence[OrderReported], asked_at_ms: int
) -> tuple[OrderState, ...]:
    """Return the orders that should rest and are not among the open ones."""
    listed = {report.client_order_id for report in reports}
    return tuple(
        order
        for order in cycle.orders
        if order.is_resting and order.changed_at_ms < asked_at_ms
        if not order.is_in_flight and order.client_order_id not in listed
    )


def _differs(cycle: Cycle, position: PositionChecked) -> bool:
    held = (position.long.quantity, position.short.quantity)
    return held != (cycle.long.quantity, cycle.short.quantity)


def _may_have_filled(order: OrderState, cycle: Cycle, position: PositionChecked) -> bool:
    """Return whether the order's side differs from the fills in the direction of the order."""
    is_long = order.position_side is PositionSide.LONG
    report, leg = (position.long, cycle.long) if is_long else (position.short, cycle.short)
    moved = report.quantity - leg.quantity
    return moved > 0 if order.is_opening else moved < 0

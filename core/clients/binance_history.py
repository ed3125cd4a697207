"""Past orders, executions and funding of the account, read page by page."""

from typing import TypeVar

from core.clients.rest_ask import ask, read_call, understood
from core.clients.rest_call import RestTransport
from core.domain.cycle import Fill
from core.errors import ExchangeUnavailable, RequestRefused
from core.ports import FundingRecord, IncomeRecord
from core.schemas import binance_rest as rest
from core.translate.account import funding_record, income_record, user_trade

Listed = TypeVar("Listed", bound=rest.PlainOrder | rest.AlgoOrder)

NO_SUCH_ORDER = -2013
PAGE = 1000  # the most rows that one answer of the exchange's lists has
WEEK_MS = 7 * 24 * 3600 * 1000  # the longest time window of those lists
KEPT_MS = 89 * 24 * 3600 * 1000  # executions and funding are kept for three months
_MOST_PAGES = 200
_NAMES_KEPT = 50_000
# A trade whose order the exchange does not know this long after it: reads do not lag that much.
_ORDER_FORGOTTEN_MS = 60_000


class History:
    """Reads lists that are longer than one answer. The order numbers in them get their names."""

    def __init__(self, transport: RestTransport) -> None:
        self._transport = transport
        self._client_ids: dict[tuple[str, int], str] = {}  # symbol, order number → client id

    def remember(self, order: rest.PlainOrder) -> None:
        """Keep the client id of an order, which the list of executions does not name."""
        if len(self._client_ids) >= _NAMES_KEPT:
            self._client_ids.clear()  # they can be asked again
        self._client_ids[order.symbol, order.order_id] = order.client_order_id

    async def fills(
        self, symbol: str, *, since_ms: int, after_trade_id: int | None
    ) -> tuple[Fill, ...]:
        """Return executions after a trade id or, without one, since a time, oldest first."""
        if after_trade_id is None:
            trades = await self._trades_since(symbol, since_ms)
        else:
            trades = await self._trades_from(symbol, after_trade_id + 1)
        unique = {trade.id: trade for trade in trades if trade.symbol == symbol}
        fills: list[Fill] = []
        for _, trade in sorted(unique.items()):
            client_order_id = await self._client_id_of(trade)
            with understood():
                fills.append(user_trade(trade, client_order_id))
        return tuple(fills)

    async def orders(self, symbol: str, since_ms: int) -> list[rest.PlainOrder]:
        """Return the ordinary orders created since a time that the exchange still knows."""
        return await self._listed("allOrders", list[rest.PlainOrder], symbol, since_ms)

    async def algos(self, symbol: str, since_ms: int) -> list[rest.AlgoOrder]:
        """Return the conditional orders created since a time that the exchange still knows."""
        return await self._listed("allAlgoOrders", list[rest.AlgoOrder], symbol, since_ms)

    async def funding(self, symbol: str | None, *, since_ms: int) -> tuple[FundingRecord, ...]:
        """Return funding payments of a symbol, or of all (None), since a time, oldest first."""
        rows = await self._income_since(symbol, "FUNDING_FEE", since_ms)
        return tuple(funding_record(row) for row in rows)

    async def income(self, symbol: str, *, since_ms: int) -> tuple[IncomeRecord, ...]:
        """Return all that changed the account's money since a time, oldest first."""
        rows = await self._income_since(symbol, None, since_ms)
        return tuple(income_record(row) for row in rows)

    async def _income_since(
        self, symbol: str | None, kind: str | None, since_ms: int
    ) -> list[rest.IncomeRow]:
        found: dict[tuple[str, int], rest.IncomeRow] = {}
        for start_ms in self._weeks_since(since_ms):
            found |= await self._income_from(symbol, kind, start_ms, start_ms + WEEK_MS - 1)
        return sorted(found.values(), key=lambda row: (row.time, row.tran_id))

    async def _trades_since(self, symbol: str, since_ms: int) -> list[rest.UserTrade]:
        """Read in windows of seven days; from the first trade found on, by trade id."""
        for start_ms in self._weeks_since(since_ms):
            end_ms = start_ms + WEEK_MS - 1
            window = {"startTime": str(start_ms), "endTime": str(end_ms)}
            trades = await self._trades(symbol, window)
            if trades and len(trades) < PAGE and end_ms > self._transport.now_ms():
                return trades
            if trades:
                return trades + await self._trades_from(symbol, max(t.id for t in trades) + 1)
        return []

    async def _trades_from(self, symbol: str, trade_id: int) -> list[rest.UserTrade]:
        trades: list[rest.UserTrade] = []
        for _ in range(_MOST_PAGES):
            page = await self._trades(symbol, {"fromId": str(trade_id)})
            trades += page
            if len(page) < PAGE:
                return trades
            trade_id = max(trade.id for trade in page) + 1
        raise ExchangeUnavailable(f"{symbol}: more than {_MOST_PAGES} pages of executions")

    async def _trades(self, symbol: str, which: dict[str, str]) -> list[rest.UserTrade]:
        parameters = {"symbol": symbol, "limit": str(PAGE)} | which
        call = read_call("userTrades", parameters, weight=5, is_urgent=True)
        return await ask(self._transport, list[rest.UserTrade], call)

    async def _listed(
        self, path: str, kind: type[list[Listed]], symbol: str, since_ms: int
    ) -> list[Listed]:
        found: list[Listed] = []
        for start_ms in self._weeks_since(since_ms):
            end_ms = start_ms + WEEK_MS - 1
            found += await self._between(path, kind, symbol, start_ms, end_ms)
        return found

    def _weeks_since(self, since_ms: int) -> range:
        """Return the beginnings of the windows from a time, or from what is still kept, to now."""
        now_ms = self._transport.now_ms()
        return range(max(since_ms, now_ms - KEPT_MS), now_ms + 1, WEEK_MS)

    async def _between(
        self, path: str, kind: type[list[Listed]], symbol: str, start_ms: int, end_ms: int
    ) -> list[Listed]:
        """Return what a list shows of a time; where that is more than a page holds, its halves."""
        parameters = {
            "symbol": symbol,
            "startTime": str(start_ms),
            "endTime": str(end_ms),
            "limit": str(PAGE),
        }
        call = read_call(path, parameters, weight=5, is_urgent=True)
        page = await ask(self._transport, kind, call)
        if len(page) < PAGE or start_ms >= end_ms:
            return page
        middle_ms = (start_ms + end_ms) // 2
        return [
            *await self._between(path, kind, symbol, start_ms, middle_ms),
            *await self._between(path, kind, symbol, middle_ms + 1, end_ms),
        ]

    async def _client_id_of(self, trade: rest.UserTrade) -> str:
        known = self._client_ids.get((trade.symbol, trade.order_id))
        if known is not None:
            return known
        parameters = {"symbol": trade.symbol, "orderId": str(trade.order_id)}
        try:
            call = read_call("order", parameters, is_urgent=True)
            record = await ask(self._transport, rest.PlainOrder, call)
        except RequestRefused as refused:
            if refused.code != NO_SUCH_ORDER:
                raise
        else:
            self.remember(record)
            return record.client_order_id
        if self._transport.now_ms() - trade.time < _ORDER_FORGOTTEN_MS:
            raise ExchangeUnavailable(f"{trade.symbol}: order {trade.order_id} is not told yet")
        return f"order-{trade.order_id}"  # not ours: our own are kept for 90 days

    async def _income_from(
        self, symbol: str | None, kind: str | None, start_ms: int, end_ms: int
    ) -> dict[tuple[str, int], rest.IncomeRow]:
        found: dict[tuple[str, int], rest.IncomeRow] = {}
        for _ in range(_MOST_PAGES):
            parameters = {
                **({} if symbol is None else {"symbol": symbol}),
                **({} if kind is None else {"incomeType": kind}),
                "startTime": str(start_ms),
                "endTime": str(end_ms),
                "limit": str(PAGE),
            }
            page = await ask(
                self._transport, list[rest.IncomeRow], read_call("income", parameters, weight=30)
            )
            found |= {(row.income_type, row.tran_id): row for row in page}
            if len(page) < PAGE:
                return found
            start_ms = max(row.time for row in page)
        raise ExchangeUnavailable(f"{symbol or 'account'}: more than {_MOST_PAGES} pages of income")

"""The account on Binance USDⓈ-M futures as `AccountGateway`: which requests answer which question.

What a request means is here; how it travels is the transport's matter (`binance_rest.BinanceRest`
over HTTP, the simulation's in memory). Weights are the exchange's, see the pages of each endpoint.
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures
"""

import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal

import structlog

from core.clients.binance_history import NO_SUCH_ORDER, PAGE, WEEK_MS, History
from core.clients.rest_ask import ask, read_call, understood
from core.clients.rest_call import Call, RestTransport
from core.domain.cycle import Fill, OrderReported, OrderState, PositionChecked, Request, Role
from core.domain.settings import SymbolRules
from core.errors import ExchangeUnavailable, RequestRefused
from core.ports import Balance, BestPrices, FundingRecord, IncomeRecord, SymbolConfig
from core.schemas import binance_rest as rest
from core.translate.account import ONE_WAY_MODE, balance_of, position_checked
from core.translate.orders import (
    algo_cancelled,
    algo_order,
    amendment_unchanged,
    child_order_id,
    plain_order,
    triggered_from_child,
    triggered_order,
)
from core.translate.requests import amend_parameters, place_parameters
from core.translate.symbols import symbol_rules
from core.translate.words import Untranslatable

# Requests about these orders may use the part of the rate limits that is kept for them.
URGENT_ROLES = frozenset(
    {
        Role.TAKE_PROFIT,
        Role.GUARD,
        Role.HEDGE_STOP,
        Role.HEDGE_STOP_MARKET,
        Role.CLOSE_LONG,
        Role.CLOSE_SHORT,
    }
)
# What an account without a discount pays, until the account's own rates are read.
DEFAULT_MAKER_RATE, DEFAULT_TAKER_RATE = Decimal("0.0002"), Decimal("0.0005")

_FORGOTTEN_MS = 3 * 24 * 3600 * 1000  # an order that ended unfilled has no record after this
_NO_CHANGE_OF_ORDER = -5027
_NO_CHANGE_OF_MARGIN_TYPE = -4046
_NO_CHANGE_OF_POSITION_MODE = -4059
_log = structlog.get_logger(__name__)


class BinanceGateway:
    """`AccountGateway` and the exchange's `Clock`; see `core.ports` for the errors."""

    def __init__(self, transport: RestTransport) -> None:
        self._transport = transport
        self._history = History(transport)
        self._rates: dict[str, rest.CommissionRate] = {}

    # --- the clock, the connection ---

    def now_ms(self) -> int:
        """Return the exchange's clock, milliseconds UTC."""
        return self._transport.now_ms()

    async def sync_clock(self) -> None:
        """Measure the exchange's clock against ours."""
        await self._transport.sync_clock()

    async def close(self) -> None:
        """Give up all connections."""
        await self._transport.close()

    # --- orders ---

    async def place(self, symbol: str, order: OrderState) -> OrderReported:
        """Send a new order with the order's target price and quantity."""
        parameters = place_parameters(symbol, order)
        if order.is_algo:
            call = self._order_call("post", "algoOrder", parameters, order)
            algo = await ask(self._transport, rest.AlgoOrder, call)
            with understood(changes=True):
                return algo_order(algo, at_ms=self.now_ms(), answers=Request.PLACE)
        call = self._order_call("post", "order", parameters, order)
        return await self._plain(call, Request.PLACE)

    async def amend(self, symbol: str, order: OrderState) -> OrderReported:
        """Change a LIMIT order to its target price and target total quantity."""
        parameters = amend_parameters(symbol, order)
        try:
            call = self._order_call("put", "order", parameters, order)
            return await self._plain(call, Request.AMEND)
        except RequestRefused as refused:
            if refused.code != _NO_CHANGE_OF_ORDER:
                raise
            return amendment_unchanged(order, at_ms=self.now_ms())

    async def cancel(self, symbol: str, order: OrderState) -> OrderReported:
        """Cancel; a triggered algo order through its child order."""
        if order.is_algo and not order.is_triggered:
            parameters = {"clientAlgoId": order.client_order_id}
            call = self._order_call("delete", "algoOrder", parameters, order)
            await ask(self._transport, rest.AlgoCancelled, call)
            return algo_cancelled(order, at_ms=self.now_ms())
        parameters = {"symbol": symbol, "origClientOrderId": order.client_order_id}
        return await self._plain(
            self._order_call("delete", "order", parameters, order), Request.CANCEL
        )

    async def find(self, symbol: str, order: OrderState) -> OrderReported | None:
        """Return what became of the order; None if its record and all lists show nothing of it.

        None means that every read succeeded; it is not yet proof of absence, since reads lag.
        """
        if order.is_algo:
            return await self._find_algo(symbol, order)
        return await self._find_plain(symbol, order)

    async def open_orders(self, symbol: str | None) -> tuple[tuple[str, OrderReported], ...]:
        """Return (symbol, report) of all open ordinary and algo orders; None: of the account."""
        asked_at_ms = self.now_ms()
        algos = {o.client_algo_id: o for o in await self._open_algos(symbol)}
        reports: list[tuple[str, OrderReported]] = []
        for plain in await self._open_plain(symbol):
            # In both lists: it triggered between the two reads, and the ordinary one knows more.
            parent = algos.pop(plain.client_order_id, None)
            if parent is None:
                report = self._plain_report(plain, asked_at_ms)
            else:
                report = self._triggered_report(parent, plain, asked_at_ms)
            reports.append((plain.symbol, report))
        for algo in algos.values():
            reports.append((algo.symbol, self._algo_report(algo, asked_at_ms)))
        return tuple(reports)

    async def orders_since(self, symbol: str, *, since_ms: int) -> tuple[OrderReported, ...]:
        """Return all orders created since a time, ordinary and algo, oldest first."""
        asked_at_ms = self.now_ms()
        algos = {algo.client_algo_id: algo for algo in await self._history.algos(symbol, since_ms)}
        reports: list[tuple[int, OrderReported]] = []
        for plain in await self._history.orders(symbol, since_ms):
            parent = algos.pop(plain.client_order_id, None)
            if parent is None:
                reports.append((plain.time, self._plain_report(plain, asked_at_ms)))
            else:
                report = self._triggered_report(parent, plain, asked_at_ms)
                reports.append((parent.create_time, report))
        for algo in algos.values():
            reports.append((algo.create_time, self._algo_report(algo, asked_at_ms)))
        return tuple(report for _, report in sorted(reports, key=lambda pair: pair[0]))

    # --- positions and fills ---

    async def positions(self, symbol: str) -> PositionChecked:
        """Return both sides of the symbol, also at 0; a missing row is ExchangeUnavailable."""
        asked_at_ms = self.now_ms()
        # Version 3 leaves flat symbols out, so that absence could be taken for flat.
        call = read_call("positionRisk", {"symbol": symbol}, weight=5, version=2, is_urgent=True)
        rows = await ask(self._transport, list[rest.PositionRow], call)
        with understood():
            return position_checked(rows, symbol, at_ms=self.now_ms(), asked_at_ms=asked_at_ms)

    async def all_positions(self) -> Mapping[str, PositionChecked]:
        """Return both sides of every symbol, also at 0; one with a missing row is left out."""
        asked_at_ms = self.now_ms()
        by_symbol: dict[str, list[rest.PositionRow]] = {}
        for row in await self._all_position_rows():
            by_symbol.setdefault(row.symbol, []).append(row)
        if {row.position_side for rows in by_symbol.values() for row in rows} == {"BOTH"}:
            raise ExchangeUnavailable(ONE_WAY_MODE)
        checked: dict[str, PositionChecked] = {}
        for symbol, rows in by_symbol.items():
            with contextlib.suppress(Untranslatable):
                checked[symbol] = position_checked(
                    rows, symbol, at_ms=self.now_ms(), asked_at_ms=asked_at_ms
                )
        return checked

    async def all_positions_flat(self) -> bool:
        """Return whether no symbol has a position."""
        return not any(row.position_amt for row in await self._all_position_rows())

    async def _all_position_rows(self) -> list[rest.PositionRow]:
        call = read_call("positionRisk", weight=5, version=2, is_urgent=True)
        rows = await ask(self._transport, list[rest.PositionRow], call)
        if not rows:
            raise ExchangeUnavailable("the list of positions is empty, flat ones included")
        return rows

    async def fills(
        self, symbol: str, *, since_ms: int, after_trade_id: int | None
    ) -> tuple[Fill, ...]:
        """Return executions after a trade id or, without one, since a time, oldest first."""
        return await self._history.fills(symbol, since_ms=since_ms, after_trade_id=after_trade_id)

    async def balance(self, asset: str) -> Balance:
        """Return wallet and available balance of one asset."""
        call = read_call("balance", weight=5, version=3)
        rows = await ask(self._transport, list[rest.BalanceRow], call)
        with understood():
            return balance_of(rows, asset)

    async def funding(self, symbol: str | None, *, since_ms: int) -> tuple[FundingRecord, ...]:
        """Return funding payments of a symbol, or of all (None), since a time, oldest first."""
        return await self._history.funding(symbol, since_ms=since_ms)

    async def income(self, symbol: str, *, since_ms: int) -> tuple[IncomeRecord, ...]:
        """Return all that changed the account's money since a time, oldest first."""
        return await self._history.income(symbol, since_ms=since_ms)

    # --- prices and rules ---

    async def mark_price(self, symbol: str) -> Decimal:
        """Return the mark price."""
        call = read_call("premiumIndex", {"symbol": symbol}, is_signed=False, is_urgent=True)
        price = (await ask(self._transport, rest.PremiumIndex, call)).mark_price
        return _price(price, symbol)

    async def best_prices(self, symbol: str) -> BestPrices:
        """Return the best bid and ask. An empty side is ExchangeUnavailable."""
        call = read_call("ticker/bookTicker", {"symbol": symbol}, weight=2, is_signed=False)
        ticker = await ask(self._transport, rest.BookTicker, call)
        return BestPrices(
            bid=_price(ticker.bid_price, symbol), ask=_price(ticker.ask_price, symbol)
        )

    async def rules(self, symbol: str) -> SymbolRules:
        """Return the symbol's current rules and fee rates."""
        info = await ask(
            self._transport, rest.ExchangeInfo, read_call("exchangeInfo", is_signed=False)
        )
        brackets = await self._brackets(symbol)
        rates_call = read_call("commissionRate", {"symbol": symbol}, weight=20)
        self._rates[symbol] = await ask(self._transport, rest.CommissionRate, rates_call)
        for listed in info.symbols:
            if listed.symbol == symbol:
                with understood():
                    return self._rules_of(listed, brackets.get(symbol))
        raise ExchangeUnavailable(f"{symbol} is not listed")

    async def all_rules(self, symbols: Sequence[str] | None) -> tuple[SymbolRules, ...]:
        """Return the rules of these symbols (None: of every perpetual), fee rates as last read.

        A symbol whose rules cannot be read is left out: it cannot be traded.
        """
        info = await ask(
            self._transport, rest.ExchangeInfo, read_call("exchangeInfo", is_signed=False)
        )
        brackets = await self._brackets(None)
        found: list[SymbolRules] = []
        for listed in info.symbols:
            if listed.contract_type != "PERPETUAL" and symbols is None:
                continue
            if symbols is not None and listed.symbol not in symbols:
                continue
            try:
                found.append(self._rules_of(listed, brackets.get(listed.symbol)))
            except Untranslatable as error:
                _log.warning("symbol rules not usable", symbol=listed.symbol, error=str(error))
        return tuple(found)

    # --- the account's settings ---

    async def symbol_config(self, symbol: str) -> SymbolConfig:
        """Return leverage and margin type in force."""
        call = read_call("symbolConfig", {"symbol": symbol}, weight=5)
        for row in await ask(self._transport, list[rest.SymbolConfigRow], call):
            if row.symbol == symbol:
                return SymbolConfig(leverage=row.leverage, margin_type=row.margin_type)
        raise ExchangeUnavailable(f"{symbol}: no configuration in the answer")

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the symbol's leverage, for both sides."""
        await self._change("leverage", {"symbol": symbol, "leverage": str(leverage)})

    async def set_margin_type(self, symbol: str, margin_type: str) -> None:
        """Set CROSSED or ISOLATED; already so is success."""
        parameters = {"symbol": symbol, "marginType": margin_type}
        await self._change("marginType", parameters, is_done=_NO_CHANGE_OF_MARGIN_TYPE)

    async def is_hedge_mode(self) -> bool:
        """Return whether the account keeps LONG and SHORT apart."""
        call = read_call("positionSide/dual", weight=30)
        return (await ask(self._transport, rest.PositionMode, call)).dual_side_position

    async def set_hedge_mode(self) -> None:
        """Switch the account to Hedge Mode; refused while anything is open."""
        parameters = {"dualSidePosition": "true"}
        await self._change("positionSide/dual", parameters, is_done=_NO_CHANGE_OF_POSITION_MODE)

    # --- the account stream's key ---

    async def start_listen_key(self) -> str:
        """Return the account's listen key, new or prolonged. It is never deleted: others use it."""
        call = Call(method="post", path="listenKey", is_signed=False, is_urgent=True)
        key = (await ask(self._transport, rest.ListenKey, call)).listen_key
        if not key:
            raise ExchangeUnavailable("the exchange gave no listen key")
        return key

    async def keep_listen_key(self) -> None:
        """Prolong the listen key by an hour; RequestRefused (-1125) if there is none any more."""
        call = Call(method="put", path="listenKey", is_signed=False, is_urgent=True)
        await ask(self._transport, rest.Nothing, call)

    # --- how orders are looked up ---

    async def _find_plain(self, symbol: str, order: OrderState) -> OrderReported | None:
        asked_at_ms = self.now_ms()
        record = await self._plain_record(symbol, {"origClientOrderId": order.client_order_id})
        if record is not None:
            return self._plain_report(record, asked_at_ms)
        asked_at_ms = self.now_ms()
        for listed in await self._open_plain(symbol):
            if listed.client_order_id == order.client_order_id:
                return self._plain_report(listed, asked_at_ms)
        return None

    async def _find_algo(self, symbol: str, order: OrderState) -> OrderReported | None:
        """Look in the record, then in the lists, then for the child order under the same id.

        The record alone was seen to be denied (-2013) for an order that was open.
        """
        asked_at_ms = self.now_ms()
        algo = await self._algo_record(order) or await self._algo_in_lists(symbol, order)
        if algo is None:
            asked_at_ms = self.now_ms()
            child = await self._plain_record(symbol, {"origClientOrderId": order.client_order_id})
            if child is None:
                return None
            with understood():
                return triggered_from_child(
                    order, child, at_ms=self.now_ms(), asked_at_ms=asked_at_ms
                )
        report = self._algo_report(algo, asked_at_ms)
        if not report.status.is_terminal and (
            report.exchange_order_id is not None or report.executed is None
        ):
            child = await self._child_of(symbol, algo)
            if child is not None:
                return self._triggered_report(algo, child, asked_at_ms)
            if self._is_child_forgotten(algo):
                return None
        return report

    def _is_child_forgotten(self, algo: rest.AlgoOrder) -> bool:
        """Return whether the child order ended so long ago that its record is gone, unfilled."""
        return (
            algo.algo_status == "FINISHED"
            and self.now_ms() - max(algo.create_time, algo.update_time) > _FORGOTTEN_MS
        )

    async def _algo_record(self, order: OrderState) -> rest.AlgoOrder | None:
        call = read_call("algoOrder", {"clientAlgoId": order.client_order_id}, is_urgent=True)
        try:
            return await ask(self._transport, rest.AlgoOrder, call)
        except RequestRefused as refused:
            if refused.code == NO_SUCH_ORDER:
                return None
            raise

    async def _algo_in_lists(self, symbol: str, order: OrderState) -> rest.AlgoOrder | None:
        """Return it from the open or the past orders; of several with its id, the newest."""
        past = read_call(
            "allAlgoOrders",
            {"symbol": symbol, "limit": str(PAGE)} | self._window_of(order),
            weight=5,
            is_urgent=True,
        )
        listed = [
            *await self._open_algos(symbol),
            *await ask(self._transport, list[rest.AlgoOrder], past),
        ]
        found = [algo for algo in listed if algo.client_algo_id == order.client_order_id]
        # Open ones come first, and `max` takes the first of equals: a stale past entry loses.
        return max(found, key=lambda algo: algo.create_time, default=None)

    def _window_of(self, order: OrderState) -> dict[str, str]:
        """Return a time window with the order's creation; none for one of the last seven days."""
        start_ms = order.created_at_ms - 60_000
        if not order.created_at_ms or self.now_ms() - start_ms < WEEK_MS:
            return {}
        return {"startTime": str(start_ms), "endTime": str(start_ms + WEEK_MS - 1)}

    async def _child_of(self, symbol: str, algo: rest.AlgoOrder) -> rest.PlainOrder | None:
        number = child_order_id(algo.actual_order_id)
        if number is not None:
            return await self._plain_record(symbol, {"orderId": str(number)})
        return await self._plain_record(symbol, {"origClientOrderId": algo.client_algo_id})

    async def _plain_record(self, symbol: str, which: dict[str, str]) -> rest.PlainOrder | None:
        call = read_call("order", {"symbol": symbol} | which, is_urgent=True)
        try:
            return await ask(self._transport, rest.PlainOrder, call)
        except RequestRefused as refused:
            if refused.code == NO_SUCH_ORDER:
                return None
            raise

    async def _open_plain(self, symbol: str | None) -> list[rest.PlainOrder]:
        return await ask(self._transport, list[rest.PlainOrder], _list_call("openOrders", symbol))

    async def _open_algos(self, symbol: str | None) -> list[rest.AlgoOrder]:
        return await ask(
            self._transport, list[rest.AlgoOrder], _list_call("openAlgoOrders", symbol)
        )

    # --- one request ---

    def _order_call(
        self, method: str, path: str, parameters: dict[str, str], order: OrderState
    ) -> Call:
        is_cancel = method == "delete"
        return Call(
            method=method,
            path=path,
            parameters=parameters,
            weight=1 if is_cancel else 0,
            is_order=not is_cancel,
            is_urgent=is_cancel or order.role in URGENT_ROLES,
            timestamp_ms=order.requested_at_ms,
        )

    async def _plain(self, call: Call, answers: Request) -> OrderReported:
        order = await ask(self._transport, rest.PlainOrder, call)
        self._history.remember(order)
        with understood(changes=True):
            return plain_order(order, at_ms=self.now_ms(), answers=answers)

    async def _change(
        self, path: str, parameters: dict[str, str], *, is_done: int | None = None
    ) -> None:
        try:
            await ask(
                self._transport, rest.Nothing, Call(method="post", path=path, parameters=parameters)
            )
        except RequestRefused as refused:
            if refused.code != is_done:
                raise

    async def _brackets(self, symbol: str | None) -> dict[str, rest.SymbolBrackets]:
        parameters = {} if symbol is None else {"symbol": symbol}
        call = read_call("leverageBracket", parameters)
        rows = await ask(self._transport, list[rest.SymbolBrackets], call)
        return {row.symbol: row for row in rows}

    def _plain_report(self, order: rest.PlainOrder, asked_at_ms: int) -> OrderReported:
        self._history.remember(order)
        with understood():
            return plain_order(order, at_ms=self.now_ms(), asked_at_ms=asked_at_ms)

    def _algo_report(self, order: rest.AlgoOrder, asked_at_ms: int) -> OrderReported:
        with understood():
            return algo_order(order, at_ms=self.now_ms(), asked_at_ms=asked_at_ms)

    def _triggered_report(
        self, algo: rest.AlgoOrder, child: rest.PlainOrder, asked_at_ms: int
    ) -> OrderReported:
        self._history.remember(child)
        with understood():
            return triggered_order(algo, child, at_ms=self.now_ms(), asked_at_ms=asked_at_ms)

    def _rules_of(
        self, listed: rest.SymbolInfo, brackets: rest.SymbolBrackets | None
    ) -> SymbolRules:
        rates = self._rates.get(listed.symbol)
        return symbol_rules(
            listed,
            brackets=brackets,
            maker_rate=DEFAULT_MAKER_RATE if rates is None else rates.maker_commission_rate,
            taker_rate=DEFAULT_TAKER_RATE if rates is None else rates.taker_commission_rate,
        )


def _list_call(path: str, symbol: str | None) -> Call:
    if symbol is None:
        return read_call(path, weight=40, is_urgent=True)  # without it nobody is watched
    return read_call(path, {"symbol": symbol}, is_urgent=True)


def _price(price: Decimal, symbol: str) -> Decimal:
    if not price.is_finite() or price <= 0:
        raise ExchangeUnavailable(f"{symbol}: the exchange has no price ({price})")
    return price

"""The whole paper exchange without sockets, clocks or chance: the same calls, the same events.

`request` is its REST side, `trade` its market, `drain` its streams. The simulation uses it in
virtual time; `paper.app` puts sockets around it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from paper import errors, events, ledger
from paper.desk import Desk
from paper.errors import InconsistentError, RefusedError
from paper.events import Event
from paper.forced import Forced
from paper.market_streams import MarketStreams
from paper.matching import Ids, Matching
from paper.options import Options, changed
from paper.params import Params, missing
from paper.reports import ledger_report
from paper.routes import ROUTES, Route
from paper.rules import BUILT_IN, SymbolRules
from paper.state import (
    ZERO,
    AlgoOrder,
    AlgoStatus,
    Market,
    OrderStatus,
    PlainOrder,
    PositionSide,
    Side,
    State,
)
from paper.tape import AggTrade, Tape

DEFAULT_WINDOW_MS = 5000
AHEAD_MS = 1000
PRESENT_MS = 60_000  # a market that is less than this away lives in the present
SNAPSHOT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; a refusal has the body {"code": …, "msg": …}."""

    status: int
    body: Any


class World:
    """One account on one exchange. Every method that changes something takes the time, in ms."""

    _state: State
    _outbox: list[Event]
    _frozen: "World | None"  # the picture that lagging reads are answered from
    _frozen_until_ms: int
    _matching: Matching
    _desk: Desk
    _forced: Forced
    _tape: Tape
    _streams: MarketStreams
    _market_ms: int  # the market's time when it was last heard of
    _seconds: int

    def __init__(
        self,
        *,
        now_ms: int,
        symbols: Iterable[str | SymbolRules] = (),
        wallet: Decimal = Decimal(10000),
        spread_ticks: int = 0,
        maker_fee: Decimal = Decimal("0.0002"),
        taker_fee: Decimal = Decimal("0.0005"),
        dual_side: bool = True,
        child_first: bool = False,
        account_first: bool = True,
        forgetful_algo_query: bool = False,
        max_open_algos: int = 200,
        **more: Any,
    ) -> None:
        """Open an exchange with the named or given symbols; none named: all built-in ones.

        `more` are further fields of `paper.options.Options`, where each is described.
        """
        rules = [BUILT_IN[s] if isinstance(s, str) else s for s in symbols or BUILT_IN]
        options = Options(
            maker_fee=maker_fee,
            taker_fee=taker_fee,
            spread_ticks=spread_ticks,
            child_first=child_first,
            account_first=account_first,
            forgetful_algo_query=forgetful_algo_query,
            max_open_algos=max_open_algos,
            **more,
        )
        state = State(
            options=options,
            rules={r.symbol: r for r in rules},
            markets={r.symbol: Market() for r in rules},
            now_ms=now_ms,
            dual_side=dual_side,
        )
        for symbol in state.rules:
            for position_side in PositionSide:
                ledger.leg(state.books, symbol, position_side)
        ledger.deposit(state.books, wallet, now_ms)
        self._adopt(state)

    # --- the exchange ----------------------------------------------------------------------

    def request(self, method: str, path: str, params: Mapping[str, str], now_ms: int) -> Answer:
        """Answer one REST request. Its key and signature are the caller's matter.

        A `timestamp` among the parameters is judged against `now_ms`, so that a request that was
        delayed on its way is refused like on the exchange.
        """
        self._now(now_ms)
        route = ROUTES.get((method, path))
        if route is None:
            text = f"Path {path}, Method {method} is invalid"
            return Answer(status=404, body={"code": -5000, "msg": text})
        refused = check_timing(params, now_ms, self._state.options.longest_window_ms)
        if refused is not None:
            return refused
        frozen = self._frozen_for(route, now_ms)
        if frozen is not None:
            return frozen.request(method, path, params, now_ms)
        try:
            return Answer(status=200, body=route.handler(self._desk, Params(params), now_ms))
        except RefusedError as refusal:
            return _refusal(refusal)

    def trade(
        self,
        symbol: str,
        price: Decimal,
        quantity: Decimal,
        *,
        is_buyer_maker: bool = False,
        time_ms: int,
        now_ms: int,
        ids: Ids | None = None,
    ) -> None:
        """Let somebody else trade. `time_ms` is the market's time, `now_ms` the account's.

        `ids` are the numbers of a recorded trade; without them it gets the next ones.
        """
        self._now(now_ms)
        self._require(symbol)
        if price <= 0 or quantity <= 0:
            raise ValueError(f"{symbol}: a trade of {quantity} at {price}")
        self._market_ms = time_ms
        numbers = self._matching.trade(
            symbol,
            price,
            quantity,
            is_buyer_maker=is_buyer_maker,
            time_ms=time_ms,
            now_ms=now_ms,
            ids=ids,
        )
        traded = AggTrade(*numbers[:1], price, quantity, *numbers[1:], time_ms, is_buyer_maker)
        self._tape.record(symbol, traded)
        self._streams.traded(symbol, traded, time_ms)
        self._forced.look_after(symbol, now_ms)

    def tick(self, now_ms: int, market_ms: int | None = None) -> None:
        """Let a second pass: prices go out, funding falls due, keys and orders run out."""
        self._now(now_ms)
        time_ms = self._market_ms = now_ms if market_ms is None else market_ms
        self._seconds += 1
        for symbol, market in self._state.markets.items():
            if market.mark is not None:
                self._forced.settle_due(symbol, time_ms, now_ms)
                next_ms = self._next_funding(symbol)
                self._emit(events.mark_price(symbol, market, next_ms, time_ms))
        self._streams.second(time_ms, self._next_funding, third=self._seconds % 3 == 0)
        for order in self._matching.book.open_orders():
            if 0 < order.good_till_ms <= now_ms:
                self._matching.expire(order, now_ms, expiry="0", status=OrderStatus.EXPIRED)
        for algo in self._matching.book.armed_algos():
            if 0 < algo.good_till_ms <= now_ms:
                self._matching.end_algo(algo, AlgoStatus.EXPIRED, now_ms)
        if self._state.listen_key and now_ms >= self._state.listen_key_until_ms:
            self.expire_listen_key(now_ms)
        self.pulse(now_ms, time_ms)

    def pulse(self, now_ms: int, market_ms: int | None = None) -> None:
        """Let 100 ms pass: what streams tell at intervals, and the dead man's switch."""
        for symbol, countdown in list(self._state.countdowns.items()):
            if countdown.due_ms <= now_ms:
                del self._state.countdowns[symbol]
                self._cancel_all(symbol, now_ms)
        self._streams.pulse(now_ms, self._market_time(now_ms) if market_ms is None else market_ms)

    def listen(self, names: Iterable[str]) -> None:
        """Say which market streams somebody listens to; most are made only then."""
        self._streams.want(names)

    def drain(self) -> list[Event]:
        """Return the events since the last call, in order."""
        if self._matching.moved:
            moved, self._matching.moved = self._matching.moved, set()
            self._streams.book_moved(moved, self._market_ms)
        drained, self._outbox = self._outbox, []
        return drained

    # --- hooks of tests and of the control interface ---------------------------------------

    def set_mark(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Set the mark price; from then on it no longer follows the last trade."""
        self._now(now_ms)
        self._require(symbol)
        self._matching.move_mark(symbol, price, now_ms)
        self._forced.look_after(symbol, now_ms)

    def set_index(
        self, symbol: str, index: Decimal, rate: Decimal, next_funding_ms: int, now_ms: int
    ) -> None:
        """Take over what another exchange says of index price and funding."""
        self._require(symbol)
        self._state.markets[symbol].index = index
        self._forced.take_over(symbol, rate, next_funding_ms, now_ms)

    def set_liquidity(self, symbol: str, quantity: Decimal | None) -> None:
        """Say how much takers still find at the best price; None: all they ask for."""
        self._require(symbol)
        self._state.markets[symbol].liquidity = quantity

    def outside_market(
        self, symbol: str, side: str, position_side: str, quantity: Decimal, now_ms: int
    ) -> str:
        """Place a person's MARKET order; return its client id. Raises RefusedError."""
        return self._outside(symbol, side, position_side, quantity, None, now_ms)

    def outside_limit(
        self,
        symbol: str,
        side: str,
        position_side: str,
        quantity: Decimal,
        price: Decimal,
        now_ms: int,
    ) -> str:
        """Place a person's LIMIT order; return its client id. Raises RefusedError."""
        return self._outside(symbol, side, position_side, quantity, price, now_ms)

    def outside_cancel(self, client_id: str, now_ms: int) -> None:
        """Cancel an open order, plain or conditional, the way a person does in the app."""
        self._now(now_ms)
        plain, algo = self._find_open(client_id)
        if plain is not None:
            self._matching.cancel(plain, now_ms)
        elif algo is not None:
            self._matching.end_algo(algo, AlgoStatus.CANCELED, now_ms)

    def expire(self, client_id: str, now_ms: int, *, self_trade: bool = False) -> None:
        """End an open order on the exchange's account, by self-trade prevention or otherwise."""
        self._now(now_ms)
        plain, algo = self._find_open(client_id)
        if plain is not None:
            status = OrderStatus.EXPIRED_IN_MATCH if self_trade else OrderStatus.EXPIRED
            expiry = "1" if self_trade else "4"
            self._matching.expire(plain, now_ms, expiry=expiry, status=status)
        elif algo is not None:
            self._matching.end_algo(algo, AlgoStatus.EXPIRED, now_ms)

    def adl(self, symbol: str, position_side: str, quantity: Decimal, now_ms: int) -> None:
        """Auto-deleverage part of a leg at the mark price, without commission."""
        self._now(now_ms)
        self._require(symbol)
        leg = ledger.leg(self._state.books, symbol, PositionSide(position_side))
        self._forced.adl(leg, quantity, now_ms)

    def liquidate(self, now_ms: int) -> None:
        """Liquidate the account: all orders end, all legs are closed at the mark price."""
        self._now(now_ms)
        self._forced.liquidate(now_ms)

    def settle(self, symbol: str, now_ms: int) -> None:
        """Delist a symbol: its orders end, both legs are closed at the mark price."""
        self._now(now_ms)
        self._require(symbol)
        self._forced.settle(symbol, now_ms)
        self.set_status(symbol, "CLOSE")

    def funding(self, symbol: str, rate: Decimal, now_ms: int) -> None:
        """Settle funding on both legs of a symbol; a positive rate is paid by LONG."""
        self._now(now_ms)
        self._require(symbol)
        self._forced.settle_funding(symbol, rate, now_ms, self._market_time(now_ms))
        self._forced.look_after(symbol, now_ms)

    def freeze_reads(self, until_ms: int) -> None:
        """Answer account reads from the present picture until `until_ms`: reads lag writes."""
        self._frozen = World.restore(self.snapshot())
        self._frozen_until_ms = until_ms

    def change_options(self, **changes: Any) -> None:
        """Change how the exchange behaves from now on; raises ValueError like `changed`."""
        self._state.options = changed(self._state.options, changes)

    def set_status(self, symbol: str, status: str) -> None:
        """Change the status of a symbol, as in a trading halt."""
        self._require(symbol)
        self._state.rules[symbol] = replace(self._state.rules[symbol], status=status)

    def skip_market_numbers(self, count: int) -> None:
        """Number trades and book changes past `count` that may have been told and are forgotten."""
        for market in self._state.markets.values():
            market.next_trade_id += count
            market.next_aggregate_id += count
            market.update_id += count

    def thaw_reads(self) -> None:
        """Answer account reads from the real picture again."""
        self._frozen = None

    # --- looking inside --------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Return the state, to be looked at and not changed."""
        return self._state

    @property
    def listen_key(self) -> str:
        """Return the active listen key, empty for none."""
        return self._state.listen_key

    def last(self, symbol: str) -> Decimal | None:
        """Return the last price of a symbol."""
        return self._state.markets[symbol].last

    def position(self, symbol: str, position_side: str) -> Decimal:
        """Return the quantity of a leg, never negative for LONG and SHORT."""
        amount = ledger.leg(self._state.books, symbol, PositionSide(position_side)).amount
        return -amount if position_side == "SHORT" else amount

    def ledger(self) -> dict[str, Any]:
        """Return what this exchange's books say, JSON-able, amounts as text."""
        return ledger_report(self._state)

    def check(self) -> None:
        """Raise InconsistentError unless money, legs, orders and reservations add up."""
        ledger.check(self._state.books, self._state.orders)
        for symbol in self._state.rules:
            for position_side, side in (
                (PositionSide.LONG, Side.SELL),
                (PositionSide.SHORT, Side.BUY),
            ):
                if self._matching.book.closable(symbol, position_side, side) < 0:
                    raise InconsistentError(f"{symbol} {position_side}: more reserved than held")
        open_ids = {o.order_id for o in self._matching.book.open_orders()}
        if open_ids != {o.order_id for o in self._state.orders.values() if o.is_open}:
            raise InconsistentError("the index of open orders is wrong")

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, JSON-able. Undrained events are not part of it."""
        state = msgspec.to_builtins(self._state, str_keys=True)
        return {"version": SNAPSHOT_VERSION, "state": state}

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> "World":
        """Return the world of a snapshot. Raises ValueError when it is not one."""
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise ValueError(f"snapshot version {snapshot.get('version')!r} is not supported")
        try:
            state = msgspec.convert(snapshot.get("state"), State, str_keys=True)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a snapshot of the paper exchange: {error}") from error
        world = cls.__new__(cls)
        world._adopt(state)
        return world

    # --- inside ----------------------------------------------------------------------------

    def _adopt(self, state: State) -> None:
        self._state = state
        books = state.books
        books.held = [s for s, legs in books.legs.items() if any(x.amount for x in legs.values())]
        self._outbox = []
        self._market_ms = state.now_ms
        self._seconds = 0
        self._tape = Tape(len(state.rules))
        self._frozen = None
        self._frozen_until_ms = 0
        self._matching = Matching(state, self._emit)
        self._streams = MarketStreams(state, self._matching.book, self._tape, self._emit)
        self._desk = Desk(
            state=state,
            matching=self._matching,
            emit=self._emit,
            tape=self._tape,
            settle_streams=lambda: self._streams.settle(self._market_ms),
            market_ms=self._market_time,
        )
        self._forced = Forced(self._desk, self._emit, self._streams)

    def _emit(self, event: Event) -> None:
        self._outbox.append(event)

    def _now(self, now_ms: int) -> None:
        self._state.now_ms = max(self._state.now_ms, now_ms)

    def _require(self, symbol: str) -> None:
        if symbol not in self._state.rules:
            raise ValueError(f"unknown symbol {symbol!r}")

    def _frozen_for(self, route: Route, now_ms: int) -> "World | None":
        if self._frozen is not None and now_ms >= self._frozen_until_ms:
            self._frozen = None
        return self._frozen if route.is_account_read else None

    def _market_time(self, now_ms: int) -> int:
        """Return the market's time: a recording's where one plays, else the account's."""
        is_present = abs(self._market_ms - now_ms) < PRESENT_MS
        return now_ms if is_present else self._market_ms

    def _next_funding(self, symbol: str) -> int:
        due = self._state.markets[symbol].next_funding_ms
        return due or self._desk.next_funding_ms(self._market_ms)

    def _cancel_all(self, symbol: str, now_ms: int) -> None:
        for order in self._matching.book.open_orders(symbol):
            self._matching.cancel(order, now_ms)
        if self._state.options.countdown_cancels_algos:
            for algo in self._matching.book.armed_algos(symbol):
                self._matching.end_algo(algo, AlgoStatus.CANCELED, now_ms)

    def expire_listen_key(self, now_ms: int) -> None:
        key, self._state.listen_key = self._state.listen_key, ""
        self._emit(
            Event(
                channel="account",
                stream="listenKeyExpired",
                data={"e": "listenKeyExpired", "E": now_ms, "listenKey": key},
            )
        )

    def _outside(
        self,
        symbol: str,
        side: str,
        position_side: str,
        quantity: Decimal,
        price: Decimal | None,
        now_ms: int,
    ) -> str:
        self._now(now_ms)
        self._require(symbol)
        leg_side, order_side = PositionSide(position_side), Side(side)
        order = PlainOrder(
            order_id=0,
            client_id=f"web_{self._desk.serial():08d}",
            symbol=symbol,
            side=order_side,
            position_side=leg_side,
            type="MARKET" if price is None else "LIMIT",
            time_in_force="GTC",
            price=ZERO if price is None else price,
            quantity=quantity,
            reduce_only=self._desk.is_closing(order_side, leg_side),
            created_ms=now_ms,
            updated_ms=now_ms,
            queue=0,
        )
        self._matching.admission.admit(order)
        self._matching.place(order, now_ms)
        return order.client_id

    def _find_open(self, client_id: str) -> tuple[PlainOrder | None, AlgoOrder | None]:
        plain = self._matching.book.find_plain(client_id)
        if plain is not None and plain.is_open:
            return plain, None
        algo = self._matching.book.find_algo(client_id)
        if algo is not None and algo.status is AlgoStatus.NEW:
            return None, algo
        raise RefusedError(*errors.UNKNOWN_ORDER)


def check_timing(params: Mapping[str, str], now_ms: int, longest_window_ms: int) -> Answer | None:
    """Return the refusal of a request whose timestamp is malformed, too old or too new."""
    reader = Params(params)
    try:
        timestamp, window = reader.integer("timestamp"), reader.integer("recvWindow")
    except RefusedError as refusal:
        return _refusal(refusal)
    if timestamp is None:
        return None
    if window is not None and not 0 < window <= longest_window_ms:
        return _refusal(RefusedError(-1131, f"recvWindow must be less than {longest_window_ms}."))
    if timestamp >= now_ms + AHEAD_MS:
        text = "Timestamp for this request was 1000ms ahead of the server's time."
        return _refusal(RefusedError(-1021, text))
    if now_ms - timestamp > (window or DEFAULT_WINDOW_MS):
        text = "Timestamp for this request is outside of the recvWindow."
        return _refusal(RefusedError(-1021, text))
    return None


def missing_parameter(name: str) -> Answer:
    """Return the answer to a request that lacks a mandatory parameter."""
    return _refusal(missing(name))


def _refusal(refusal: RefusedError) -> Answer:
    return Answer(status=refusal.status, body={"code": refusal.code, "msg": refusal.text})

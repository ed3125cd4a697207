"""The index of what is open: which orders rest, which wait for their trigger, what they reserve."""

from collections import defaultdict
from decimal import Decimal

from paper import ledger
from paper.state import (
    ZERO,
    AlgoOrder,
    AlgoStatus,
    PlainOrder,
    PositionSide,
    Side,
    State,
)


class Book:
    """Derived from `State` and kept in step with it by `Matching`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: dict[str, dict[int, PlainOrder]] = defaultdict(dict)
        self._armed: dict[str, dict[int, AlgoOrder]] = defaultdict(dict)
        self._latest: dict[str, PlainOrder] = {}
        self._latest_algo: dict[str, AlgoOrder] = {}
        for order in state.orders.values():
            self._latest[order.client_id] = order
            if order.is_open:
                self._open[order.symbol][order.order_id] = order
        for algo in state.algos.values():
            self._latest_algo[algo.client_id] = algo
            if algo.status is AlgoStatus.NEW:
                self._armed[algo.symbol][algo.algo_id] = algo

    def add(self, order: PlainOrder) -> None:
        """Take in a new plain order."""
        self._latest[order.client_id] = order
        self._open[order.symbol][order.order_id] = order

    def remove(self, order: PlainOrder) -> None:
        """Let go of a plain order that is over."""
        self._open[order.symbol].pop(order.order_id, None)

    def arm(self, algo: AlgoOrder) -> None:
        """Take in a new conditional order."""
        self._latest_algo[algo.client_id] = algo
        self._armed[algo.symbol][algo.algo_id] = algo

    def disarm(self, algo: AlgoOrder) -> None:
        """Let go of a conditional order that triggered or ended."""
        self._armed[algo.symbol].pop(algo.algo_id, None)

    def open_orders(self, symbol: str | None = None) -> list[PlainOrder]:
        """Return the open plain orders, oldest first."""
        if symbol is not None:
            return list(self._open[symbol].values())
        return [order for orders in self._open.values() for order in orders.values()]

    def armed_algos(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Return the untriggered conditional orders, oldest first."""
        if symbol is not None:
            return list(self._armed[symbol].values())
        return [algo for algos in self._armed.values() for algo in algos.values()]

    def is_idle(self, symbol: str) -> bool:
        """Return whether nothing of this symbol waits for a price."""
        return not self._open.get(symbol) and not self._armed.get(symbol)

    def find_plain(self, client_id: str) -> PlainOrder | None:
        """Return the latest plain order of this client id."""
        return self._latest.get(client_id)

    def find_algo(self, client_id: str) -> AlgoOrder | None:
        """Return the latest conditional order of this client id."""
        return self._latest_algo.get(client_id)

    def is_taken(self, client_id: str, *, by_algo: bool) -> bool:
        """Return whether an open order bears this client id: of either kind where they share."""
        shared = self._state.options.shared_ids
        plain, algo = self._latest.get(client_id), self._latest_algo.get(client_id)
        is_plain = plain is not None and plain.is_open and (shared or not by_algo)
        is_algo = algo is not None and algo.status is AlgoStatus.NEW and (shared or by_algo)
        return is_plain or is_algo

    def closable(
        self, symbol: str, position_side: PositionSide, side: Side, *, without: int | None = None
    ) -> Decimal:
        """Return what a closing order may still take: the leg less what resting orders reserve."""
        amount = ledger.leg(self._state.books, symbol, position_side).amount
        held = amount if side is Side.SELL else -amount
        reserved = sum(
            (
                o.remaining
                for o in self._open[symbol].values()
                if o.reduce_only
                and o.position_side is position_side
                and o.side is side
                and o.order_id != without
            ),
            ZERO,
        )
        return max(ZERO, held) - reserved

    def notional(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the notional of open buys and sells, as the order event reports it."""
        bids, asks = ZERO, ZERO
        for order in self._open[symbol].values():
            if order.side is Side.BUY:
                bids += order.price * order.remaining
            else:
                asks += order.price * order.remaining
        return bids, asks

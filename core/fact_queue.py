"""Facts that wait for their turn, in the order of their arrival."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.domain.cycle import Fact, TradePrice

_MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Queued:
    """A fact and the cycle that it is about; None: found out when its turn comes."""

    fact: Fact
    cycle_id: int | None
    done: asyncio.Event | None = None
    ends_first_check: bool = False  # with it, all is known that a stale database may lack


class FactQueue:
    """Gives facts out as they came, those of one cycle together."""

    def __init__(self) -> None:
        self._waiting: deque[Queued] = deque()

    def __len__(self) -> int:
        """Return how many facts wait."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Queued]:
        """Yield what waits, in order."""
        return iter(self._waiting)

    def put(self, queued: Queued) -> None:
        """Let a fact wait behind all others."""
        self._waiting.append(queued)

    def take(
        self, owner_of: Callable[[Queued], int | None]
    ) -> tuple[int | None, tuple[Queued, ...]]:
        """Take the next facts that belong to one cycle, with its id; others stay behind them."""
        owner = owner_of(self._waiting[0])
        batch: list[Queued] = []
        while self._waiting and len(batch) < _MOST_AT_ONCE:
            if owner_of(self._waiting[0]) != owner:
                break
            batch.append(self._waiting.popleft())
        return owner, tuple(batch)

    def fold_trades(self) -> int:
        """Fold waiting trades into highest, lowest and last, in their order; return how many."""
        trades = [q.fact for q in self._waiting if isinstance(q.fact, TradePrice)]
        if not trades:
            return 0
        highest = max(trades, key=lambda trade: trade.price)
        lowest = min(trades, key=lambda trade: trade.price)
        kept = {id(trade) for trade in (highest, lowest, trades[-1])}
        self._waiting = deque(
            q for q in self._waiting if not isinstance(q.fact, TradePrice) or id(q.fact) in kept
        )
        return len(trades)

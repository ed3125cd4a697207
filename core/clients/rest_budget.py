"""How much one process may ask of the exchange, whose limits belong to the account and the IP.

A request that does not fit is not made: it raises `RateLimited` at once, since waiting here would
let an order's timestamp grow old. The last part of every limit is kept for orders that protect or
close. What others use of the same limits is learnt from the answers' headers.
"""

from collections.abc import Mapping

from core.errors import RateLimited

# The exchange's limits; exchangeInfo lists the same.
WEIGHT_PER_MINUTE = 2400
ORDERS_PER_MINUTE = 1200
ORDERS_PER_TEN_SECONDS = 300
RESERVED_PERCENT = 30  # of every limit, for protecting and closing

_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 1_000, 60_000
_FIRST_BAN_MS, _LONGEST_BAN_MS = 120_000, 3_600_000
_MINUTE_MS, _TEN_SECONDS_MS = 60_000, 10_000


class Budget:
    """Counts what was asked in the exchange's own windows (whole minutes, whole ten seconds)."""

    def __init__(self, *, share_percent: int) -> None:
        assert 0 < share_percent <= 100, f"a share of {share_percent} %"
        self._weight = _Window(_MINUTE_MS, WEIGHT_PER_MINUTE, share_percent, "request weight")
        self._orders = (
            _Window(_MINUTE_MS, ORDERS_PER_MINUTE, share_percent, "orders a minute"),
            _Window(_TEN_SECONDS_MS, ORDERS_PER_TEN_SECONDS, share_percent, "orders in 10 s"),
        )
        self._stopped_until_ms = 0
        self._orders_stopped_until_ms = 0
        self._pauses = 0  # in a row without being told how long

    def take(self, *, weight: int, is_order: bool, is_urgent: bool, now_ms: int) -> None:
        """Count one request. Raises RateLimited if it must not be made now."""
        stopped_until = self._stopped_until_ms
        if is_order:
            stopped_until = max(stopped_until, self._orders_stopped_until_ms)
        if now_ms < stopped_until:
            raise RateLimited(
                retry_after_ms=stopped_until - now_ms, text="the exchange asked us to stop"
            )
        # What weighs nothing (an order) is not kept waiting by reads that used the weight up.
        wanted = [(self._weight, weight)] if weight else []
        if is_order:
            wanted += [(window, 1) for window in self._orders]
        for window, amount in wanted:
            window.check(amount, is_urgent=is_urgent, now_ms=now_ms)
        for window, amount in wanted:
            window.used += amount

    def observe(self, headers: Mapping[str, str], now_ms: int) -> None:
        """Learn from an answer's headers what everybody together has used."""
        self._weight.observe(headers.get("X-MBX-USED-WEIGHT-1M"), now_ms)
        for window, unit in zip(self._orders, ("1M", "10S"), strict=True):
            window.observe(headers.get(f"X-MBX-ORDER-COUNT-{unit}"), now_ms)

    def stop(self, *, told_ms: int | None, is_ban: bool, only_orders: bool, now_ms: int) -> int:
        """Send nothing for a while, after 429 or 418; return for how long.

        Without being told how long, each further pause is twice the one before. Requests that were
        under way together are refused together: that is one pause.
        """
        stopped_until = self._orders_stopped_until_ms if only_orders else self._stopped_until_ms
        if told_ms is None:
            if now_ms >= stopped_until:
                self._pauses += 1
            first, longest = (
                (_FIRST_BAN_MS, _LONGEST_BAN_MS) if is_ban else (_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS)
            )
            told_ms = min(longest, first * 2 ** min(max(0, self._pauses - 1), 16))
        until_ms = now_ms + told_ms
        if only_orders:
            self._orders_stopped_until_ms = max(self._orders_stopped_until_ms, until_ms)
        else:
            self._stopped_until_ms = max(self._stopped_until_ms, until_ms)
        return told_ms

    def succeeded(self) -> None:
        """Forget the pauses: the exchange answers again."""
        self._pauses = 0


class _Window:
    """One limit: our share of it, and all of it."""

    def __init__(self, length_ms: int, limit: int, share_percent: int, name: str) -> None:
        self.used = 0
        self._by_all = 0
        self._number = -1
        self._length_ms = length_ms
        self._limit = limit
        self._share = max(1, limit * share_percent // 100)
        self._name = name

    def check(self, amount: int, *, is_urgent: bool, now_ms: int) -> None:
        self._turn(now_ms)
        part = 100 if is_urgent else 100 - RESERVED_PERCENT
        ours = self.used + amount <= self._share * part // 100
        everybodys = max(self._by_all, self.used) + amount <= self._limit * part // 100
        if not (ours and everybodys):
            left_ms = self._length_ms - now_ms % self._length_ms
            raise RateLimited(retry_after_ms=left_ms, text=f"our share of {self._name} is used up")

    def observe(self, text: str | None, now_ms: int) -> None:
        self._turn(now_ms)
        if text is not None and text.isdecimal():
            self._by_all = max(self._by_all, int(text))

    def _turn(self, now_ms: int) -> None:
        number = now_ms // self._length_ms
        if number != self._number:
            self._number, self.used, self._by_all = number, 0, 0

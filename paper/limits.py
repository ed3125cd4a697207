"""Rate limits: request weight per address, orders per account, 429 and then 418.

Windows are those of the clock, as on the exchange. How soon 429 turns into a ban is not
documented: here after ten more requests in the same minute, for two minutes at first and twice as
long each time, up to three days.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from paper.options import Options
from paper.routes import Route
from paper.world import Answer

MINUTE_MS, TEN_SECONDS_MS = 60_000, 10_000
PATIENCE = 10  # requests beyond the limit in one minute that only get 429
FUNDING_REQUESTS, FUNDING_WINDOW_MS = 500, 5 * MINUTE_MS  # of fundingRate and fundingInfo together
FIRST_BAN_MS, LONGEST_BAN_MS = 2 * MINUTE_MS, 3 * 24 * 3600 * 1000


@dataclass(slots=True)
class _Address:
    """What one address has used and how long it is banned."""

    minute: int = -1
    weight: int = 0
    beyond: int = 0
    banned_until_ms: int = 0
    bans: int = 0
    funding_window: int = -1
    funding_requests: int = 0


@dataclass(slots=True, kw_only=True)
class Limits:
    """Counts requests; refuses them only where `is_enforced`."""

    is_enforced: bool = False
    _addresses: dict[str, _Address] = field(default_factory=lambda: defaultdict(_Address))
    _orders: dict[int, tuple[int, int]] = field(default_factory=dict)  # length: window, count

    def count(
        self,
        address: str,
        route: Route,
        params: Mapping[str, str],
        options: Options,
        now_ms: int,
    ) -> tuple[dict[str, str], Answer | None]:
        """Count one request; return its headers, and its refusal when it is one too many."""
        caller = self._addresses[address]
        minute = now_ms // MINUTE_MS
        if caller.minute != minute:
            caller.minute, caller.weight, caller.beyond = minute, 0, 0
        if self.is_enforced and now_ms < caller.banned_until_ms:
            return _retry(options, caller.banned_until_ms - now_ms), _banned(address, caller)
        caller.weight += route.weigh(params, options)
        headers = {"X-MBX-USED-WEIGHT-1M": str(caller.weight)}
        if self.is_enforced and caller.weight > options.weight_limit:
            caller.beyond += 1
            if caller.beyond > PATIENCE:
                self._ban(caller, now_ms)
                return _retry(options, caller.banned_until_ms - now_ms), _banned(address, caller)
            text = (
                f"Too many requests; current limit is {options.weight_limit} request weight per "
                "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
            wait_ms = MINUTE_MS - now_ms % MINUTE_MS
            return headers | _retry(options, wait_ms), _too_many(-1003, text)
        if route.shares_funding_limit:
            return headers, self._count_funding(caller, now_ms)
        if not any(route.orders):
            return headers, None
        return self._count_orders(headers, route.orders, options, now_ms)

    def _count_funding(self, caller: _Address, now_ms: int) -> Answer | None:
        window = now_ms // FUNDING_WINDOW_MS
        if caller.funding_window != window:
            caller.funding_window, caller.funding_requests = window, 0
        caller.funding_requests += 1
        if not self.is_enforced or caller.funding_requests <= FUNDING_REQUESTS:
            return None
        text = f"Too many requests; current limit is {FUNDING_REQUESTS} requests per 5 MINUTE."
        return _too_many(-1003, text)

    def _count_orders(
        self, headers: dict[str, str], counts: tuple[int, int], options: Options, now_ms: int
    ) -> tuple[dict[str, str], Answer | None]:
        allowed = {
            "10S": (TEN_SECONDS_MS, options.orders_ten_seconds, "10 SECOND"),
            "1M": (MINUTE_MS, options.orders_minute, "1 MINUTE"),
        }
        used = {}
        for length, *_ in allowed.values():
            window, orders = self._orders.get(length, (-1, 0))
            used[length] = orders if window == now_ms // length else 0
        for (length, limit, name), count in zip(allowed.values(), counts, strict=True):
            used[length] += count
            if self.is_enforced and used[length] > limit:
                text = f"Too many new orders; current limit is {limit} orders per {name}."
                wait_ms = length - now_ms % length
                return headers | _retry(options, wait_ms), _too_many(-1015, text)
        for name, (length, *_) in allowed.items():
            self._orders[length] = (now_ms // length, used[length])
            headers[f"X-MBX-ORDER-COUNT-{name}"] = str(used[length])
        return headers, None

    def _ban(self, caller: _Address, now_ms: int) -> None:
        length_ms = min(FIRST_BAN_MS * 2**caller.bans, LONGEST_BAN_MS)
        caller.bans += 1
        caller.banned_until_ms = now_ms + length_ms


def _retry(options: Options, wait_ms: int) -> dict[str, str]:
    return {"Retry-After": str(-(-wait_ms // 1000))} if options.retry_after else {}


def _too_many(code: int, text: str) -> Answer:
    return Answer(status=429, body={"code": code, "msg": text})


def _banned(address: str, caller: _Address) -> Answer:
    text = (
        f"Way too many requests; IP({address}) banned until {caller.banned_until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    return Answer(status=418, body={"code": -1003, "msg": text})

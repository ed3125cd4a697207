"""Faults that the control interface orders, at once, by chance or on a schedule.

A request fault is matched against method, path and client id and acts either before the request
takes effect or after it: an answer lost 'after' is an order that exists unbeknownst. A stream fault
is matched against route and stream. All chance comes from a fault's own seed, and everything that
is done to anybody is logged with it, so that a run can be repeated.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from paper.errors import NO_SUCH_ORDER

RequestAction = Literal["delay", "lose", "hold", "refuse", "error", "stale", "partial"]
StreamAction = Literal["late", "drop", "duplicate", "reorder"]
Deed = Literal["close", "silence", "expire-key", "skew", "maintenance"]
Action = Literal[
    "delay", "lose", "hold", "refuse", "error", "stale", "partial",
    "late", "drop", "duplicate", "reorder",
    "close", "silence", "expire-key", "skew", "maintenance",
]  # fmt: skip
When = Literal["before", "after"]

STREAM_ACTIONS = ("late", "drop", "duplicate", "reorder")
DEEDS = ("close", "silence", "expire-key", "skew", "maintenance")
MAX_LOG = 10_000
_CLIENT_ID_NAMES = ("newClientOrderId", "origClientOrderId", "clientAlgoId")

UNKNOWN_OUTCOME = "Unknown error, please check your request or try again later."
THROTTLED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
    "Please try again."
)
_TIMEOUT = (
    "Timeout waiting for response from backend server. Send status unknown; execution status "
    "unknown."
)
ERRORS: dict[str, tuple[int, int, str]] = {  # name: status, code (0: a page of HTML), text
    "unknown": (503, -1000, UNKNOWN_OUTCOME),
    "unavailable": (503, -1000, "Service Unavailable."),
    "throttled": (503, -1008, THROTTLED),
    "internal": (503, -1001, "Internal error; unable to process your request. Please try again."),
    "bus": (400, -1006, "An unexpected response was received from the message bus. "
            "Execution status unknown."),
    "timeout": (408, -1007, _TIMEOUT),
    "waf": (403, 0, ""),
    "gateway": (502, 0, ""),
    "html": (200, 0, ""),
    "limit": (429, -1003, "Too many requests; current limit is 2400 request weight per 1 MINUTE. "
              "Please use WebSocket Streams for live updates to avoid polling the API."),
    "banned": (418, -1003, "Way too many requests; IP banned until {until}. Please use WebSocket "
               "Streams for live updates to avoid bans."),
    "orders": (429, -1015, "Too many new orders; current limit is 300 orders per 10 SECOND."),
    "maintenance": (503, -1016, "This service is no longer available."),
    "unauthorised": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "timestamp": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    "engine-window": (400, -5028, "Timestamp for this request is outside of the ME recvWindow."),
    "no-order": (400, *NO_SUCH_ORDER),
    "margin": (400, -2019, "Margin is insufficient."),
    "reduce-only": (400, -2022, "ReduceOnly Order is rejected."),
    "reject": (400, -2010, "NEW_ORDER_REJECTED"),
}  # fmt: skip


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault as it is ordered; empty strings match everything."""

    action: Action
    when: When = "after"
    method: str = ""
    path: str = ""  # a part of the path
    client_id: str = ""  # a part of the client id
    count: int = 1
    delay_ms: int = 0  # delay, late, skew: how much; stale, silence, maintenance: for how long
    how: Literal["reset", "503"] = "reset"  # lose: what the client sees instead of the answer
    status: int = 400  # refuse: what it is told
    code: int = -1000
    msg: str = "An unknown error occurred while processing the request."
    error: str = ""  # error: a name of `ERRORS`
    part: float = 0.5  # partial: how much of a taker's order finds something
    route: Literal["", "public", "market", "private"] = ""  # of streams
    stream: str = ""  # a part of the stream's name or of the account event's type
    chance: float = 1.0  # that a fault which matches also acts
    seed: int = 0
    in_ms: int = 0  # it begins this much later
    for_ms: int = 0  # and ends this much after that; 0: when it is used up

    def matches(self, method: str, path: str, params: Mapping[str, str]) -> bool:
        """Return whether this fault hits the request."""
        ids = [params[name] for name in _CLIENT_ID_NAMES if params.get(name)]
        return (
            self.count > 0
            and self.action not in STREAM_ACTIONS
            and self.method in ("", method)
            and self.path in path
            and (not self.client_id or any(self.client_id in one for one in ids))
            and not (self.error == "throttled" and is_exempt(method, path, params))
        )

    def matches_stream(self, route: str, stream: str) -> bool:
        """Return whether this fault hits a message."""
        is_stream = self.count > 0 and self.action in STREAM_ACTIONS
        return is_stream and self.route in ("", route) and self.stream in stream

    def check(self) -> None:
        """Raise ValueError where the fields contradict each other."""
        if self.action == "error" and self.error not in ERRORS:
            raise ValueError(f"error must be one of {', '.join(ERRORS)}")
        if not 0 <= self.chance <= 1 or not 0 <= self.part <= 1:
            raise ValueError("chance and part lie between 0 and 1")


class Schedule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag="schedule",
               tag_field="action"):  # fmt: skip
    """Faults at random times: about one every `every_ms`, for `for_ms`, drawn by `seed`."""

    seed: int
    every_ms: int
    for_ms: int
    faults: list[Fault]

    def plan(self) -> list[Fault]:
        """Return the faults with the times at which they begin; the same for the same seed."""
        if self.every_ms <= 0 or not self.faults:
            raise ValueError("a schedule needs faults and every_ms above 0")
        chance, planned, at_ms = random.Random(self.seed), [], 0.0
        while (at_ms := at_ms + chance.expovariate(1 / self.every_ms)) < self.for_ms:
            fault = chance.choice(self.faults)
            seed = chance.randrange(2**31)
            planned.append(msgspec.structs.replace(fault, in_ms=round(at_ms), seed=seed))
        return planned


def is_exempt(method: str, path: str, params: Mapping[str, str]) -> bool:
    """Return whether the system-level protection never throttles a request."""
    if method != "POST" or path not in (
        "/fapi/v1/order",
        "/fapi/v1/batchOrders",
        "/fapi/v1/order/test",
    ):
        return True
    pair = (params.get("positionSide"), params.get("side"))
    is_reducing = "true" in (params.get("reduceOnly"), params.get("closePosition"))
    return is_reducing or pair in (("LONG", "SELL"), ("SHORT", "BUY"))


@dataclass(slots=True)
class _Armed:
    """A fault with its window and its dice."""

    fault: Fault
    from_ms: int
    to_ms: int | None
    chance: random.Random

    def acts(self, now_ms: int) -> bool:
        if now_ms < self.from_ms or (self.to_ms is not None and now_ms >= self.to_ms):
            return False
        return self.fault.chance >= 1 or self.chance.random() < self.fault.chance


@dataclass(slots=True)
class Faults:
    """The faults that are waiting for their request, message or time."""

    held: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    _armed: list[_Armed] = field(default_factory=list)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _logged: int = 0

    def add(self, fault: Fault, now_ms: int = 0) -> None:
        """Order a fault. Raises ValueError for one that makes no sense."""
        fault.check()
        self._released = asyncio.Event() if self._released.is_set() else self._released
        begin = now_ms + fault.in_ms
        end = begin + fault.for_ms if fault.for_ms else None
        self._armed.append(_Armed(fault, begin, end, random.Random(fault.seed)))

    @property
    def disturbs_streams(self) -> bool:
        """Return whether messages need to be looked at one by one."""
        return any(one.fault.action in STREAM_ACTIONS for one in self._armed)

    def take(
        self, method: str, path: str, params: Mapping[str, str], now_ms: int = 0
    ) -> Fault | None:
        """Return the first fault that hits this request, used up by one."""
        for one in self._armed:
            is_hit = one.fault.matches(method, path, params) and one.fault.action not in DEEDS
            if is_hit and one.acts(now_ms):
                ids = [params[name] for name in _CLIENT_ID_NAMES if params.get(name)]
                return self._use(one, now_ms, " ".join([method, path, *ids]))
        return None

    def take_stream(self, route: str, stream: str, now_ms: int) -> Fault | None:
        """Return the first fault that hits this message, used up by one."""
        for one in self._armed:
            if one.fault.matches_stream(route, stream) and one.acts(now_ms):
                return self._use(one, now_ms, f"/{route} {stream}")
        return None

    def due(self, now_ms: int) -> list[Fault]:
        """Return the deeds whose time has come, used up; forget what has run out."""
        done = []
        for one in list(self._armed):
            if one.fault.action in DEEDS and one.acts(now_ms):
                done.append(self._use(one, now_ms, ""))
            elif one.to_ms is not None and now_ms >= one.to_ms:
                self._armed.remove(one)
        return done

    async def hold(self) -> None:
        """Wait until the held answers are released."""
        self.held += 1
        try:
            await self._released.wait()
        finally:
            self.held -= 1

    def release(self) -> None:
        """Let every held answer go."""
        self._released.set()

    def clear(self) -> None:
        """Forget all faults and let held answers go; the log stays."""
        self._armed.clear()
        self.release()

    def note(self, action: str, seed: int, what: str, now_ms: int) -> None:
        """Write into the log what was done."""
        self._logged += 1
        entry = {"number": self._logged, "at_ms": now_ms, "action": action, "seed": seed}
        self.log.append(entry | {"hit": what})
        del self.log[:-MAX_LOG]

    def report(self) -> dict[str, Any]:
        """Return what is waiting and what was done, JSON-able."""
        waiting = [msgspec.to_builtins(one.fault) for one in self._armed]
        return {"waiting": waiting, "held": self.held, "log": self.log}

    def _use(self, one: _Armed, now_ms: int, what: str) -> Fault:
        fault = one.fault
        fault.count -= 1
        if not fault.count:
            self._armed.remove(one)
        self.note(f"{fault.action} {fault.error}".strip(), fault.seed, what, now_ms)
        return fault

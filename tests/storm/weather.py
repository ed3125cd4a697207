"""What the exchange does to us in a storm: every fault that it knows, drawn by a seed.

A fault says so only before the request took effect where a real exchange's answer would be final
(a refusal); where the outcome stays open (-1007, a 503 'Unknown error', a reset) it may have.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.integration.e2e.world import World

Fault = Mapping[str, object]

FAULT_EVERY_S = 0.6  # in the mean, while a front passes
FRONT_S, CALM_S = (8.0, 25.0), (3.0, 10.0)
UNUSED_FOR_MS = 15_000  # a fault that found nothing to hit is forgotten
BAN_MS = 120_000
SILENT_AFTER_S = 6  # the storm's STREAM_TIMEOUT: shorter than some silences of `_silence`

# An answer that leaves the outcome open may come before or after the deed.
OPEN_OUTCOMES = ("unknown", "timeout", "bus", "html")
UNANSWERED = ("lose", *(f"error {name}" for name in OPEN_OUTCOMES))
# These say that nothing was done.
REFUSALS = (
    *("unavailable", "throttled", "internal", "waf", "limit", "orders", "maintenance"),
    *("unauthorised", "timestamp", "engine-window"),
)
ORDER_REFUSALS = ("margin", "reject")
# What only some orders can be told, by a part of their client id.
REFUSED_ROLES = (
    ("-hg", -2021, "Order would immediately trigger."),
    ("-hs", -2021, "Order would immediately trigger."),
    ("-gd", -2021, "Order would immediately trigger."),
    ("-hs", -4045, "Reach max stop order limit."),
    ("-cl", -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    ("-cs", -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    ("-cl", -2022, "ReduceOnly Order is rejected."),
    ("-tp", -4016, "Limit price can't be higher than the cap."),
    ("-lv", -1111, "Precision is over the maximum defined for this asset."),
)
ROLES = ("", "", "", "-en", "-lv", "-tp", "-hg", "-hs", "-gd", "-cl", "-cs")
READS = ("", "", "rder", "positionRisk", "userTrades", "bookTicker")
ACCOUNT_EVENTS = ("ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "")


class Weather:
    """Orders faults from a thread of its own until it is told to clear up."""

    def __init__(self, world: World, seed: int) -> None:
        """Prepare; nothing happens before `begin`."""
        self.hits: Counter[str] = Counter()  # what was done to us, by kind
        self.unanswered: Counter[str] = Counter()  # placements, by the role in their client id
        self.bans: list[tuple[int, int]] = []  # from, to; on the exchange's clock
        self._world = world
        self._dice = Random(f"weather {seed}")
        self._over = threading.Event()
        self._seen = 0
        self._thread = threading.Thread(target=self._rage, name="weather", daemon=True)

    def begin(self) -> None:
        """Let it storm."""
        self._thread.start()

    def clear_up(self) -> None:
        """End everything, and wait until it has ended."""
        self._over.set()
        self._thread.join()
        self._world.calm()
        self.count()

    def ban(self) -> None:
        """Answer everything with 418 for two minutes."""
        now_ms = int(self._world.control("state")["now_ms"])
        self.bans.append((now_ms, now_ms + BAN_MS))
        text = "Way too many requests; IP banned."
        self._world.fault(
            "refuse", when="before", status=418, code=-1003, msg=text, count=10**6, for_ms=BAN_MS
        )

    def count(self) -> None:
        """Add what was done since the last time."""
        for entry in self._world.control("faults")["log"]:
            if entry["number"] > self._seen:
                self._seen = entry["number"]
                self.hits[entry["action"]] += 1
                placed = re.search(r"^POST \S+rder tb-\w+-([a-z]+)", entry["hit"])
                if placed and entry["action"] in UNANSWERED:
                    self.unanswered[placed[1]] += 1

    def _rage(self) -> None:
        dice, is_front = self._dice, True
        left = dice.uniform(*FRONT_S)
        strikes = 0
        while not self._over.is_set():
            pause = dice.expovariate(1 / FAULT_EVERY_S)
            self._over.wait(pause)
            left -= pause
            if left <= 0:
                is_front = not is_front
                left = dice.uniform(*(FRONT_S if is_front else CALM_S))
            if is_front:
                self._strike()
                strikes += 1
                if strikes % 50 == 0:
                    self.count()  # the exchange keeps the last ten thousand only

    def _strike(self) -> None:
        kinds, weights = zip(*KINDS, strict=True)
        kind: Callable[[Random], Fault] = self._dice.choices(kinds, weights)[0]
        fault = {"seed": self._dice.randrange(2**31), **kind(self._dice)}
        self._world.control("faults", fault)
        if fault["action"] == "hold":
            threading.Timer(self._dice.uniform(0.5, 6), self._release).start()
        if fault["action"] == "skew":
            threading.Timer(self._dice.uniform(1, 8), self._set_clock).start()

    def _release(self) -> None:
        if not self._over.is_set():
            self._world.control("faults/release", {})

    def _set_clock(self) -> None:
        if not self._over.is_set():
            self._world.fault("skew", delay_ms=0)


# --- Kinds of faults ---


def _on_requests(dice: Random) -> dict[str, Any]:
    method = dice.choice(["", "POST", "POST", "PUT", "DELETE", "GET"])
    if method == "GET":
        what = {"path": dice.choice(READS)}
    elif dice.random() < 0.05:
        what = {}  # a key for the stream, a clock: anything
    else:
        what = {"path": "rder", "client_id": dice.choice(ROLES)}
    return {"method": method, "count": dice.choice([1, 1, 1, 2, 3]), "for_ms": UNUSED_FOR_MS} | what


def _moment(dice: Random) -> dict[str, str]:
    return {"when": dice.choice(["before", "after", "after"])}


def _lose(dice: Random) -> Fault:
    how = dice.choice(["reset", "503"])
    return {"action": "lose", "how": how, **_moment(dice), **_on_requests(dice)}


def _open_outcome(dice: Random) -> Fault:
    error = dice.choice(OPEN_OUTCOMES)
    return {"action": "error", "error": error, **_moment(dice), **_on_requests(dice)}


def _leave_market_unanswered(dice: Random) -> Fault:
    """The dearest of all: a MARKET order fills, and its sender is told that nobody knows."""
    where = {"method": "POST", "client_id": dice.choice(["-en", "-en", "-hm", "-cl", "-cs"])}
    error = dice.choice(["unknown", "timeout"])
    return {"action": "error", "error": error, "when": "after", **where, "for_ms": UNUSED_FOR_MS}


def _refuse(dice: Random) -> Fault:
    error = dice.choice(REFUSALS)
    return {"action": "error", "error": error, "when": "before", **_on_requests(dice)}


def _refuse_order(dice: Random) -> Fault:
    error, role = dice.choice(ORDER_REFUSALS), dice.choice(["-en", "-lv", "-hg", "-tp", "-cl"])
    where = {"method": "POST", "client_id": role, "for_ms": UNUSED_FOR_MS}
    return {"action": "error", "error": error, "when": "before", **where}


def _refuse_role(dice: Random) -> Fault:
    role, code, text = dice.choice(REFUSED_ROLES)
    where = {"method": "POST", "client_id": role, "for_ms": UNUSED_FOR_MS}
    return {"action": "refuse", "when": "before", "code": code, "msg": text, **where}


def _do_not_find(dice: Random) -> Fault:
    where = {"method": "GET", "path": "/order", "for_ms": UNUSED_FOR_MS}
    return {"action": "error", "error": "no-order", "when": "before", **where}


def _delay(dice: Random) -> Fault:
    late = {"delay_ms": dice.choice([100, 800, 2_500, 5_000])}
    return {"action": "delay", **late, **_moment(dice), **_on_requests(dice)}


def _hold(dice: Random) -> Fault:
    return {"action": "hold", **_moment(dice), **_on_requests(dice), "count": 1}


def _partial(dice: Random) -> Fault:
    where = {"method": "POST", "client_id": dice.choice(["-en", "-cl", "-cs", "-hm"])}
    return {"action": "partial", "part": dice.uniform(0.2, 0.9), **where, "for_ms": UNUSED_FOR_MS}


def _stale(dice: Random) -> Fault:
    return {"action": "stale", "delay_ms": dice.choice([500, 2_000, 4_000])}


def _spoil_account(dice: Random) -> Fault:
    action = dice.choice(["late", "drop", "drop", "duplicate", "reorder"])
    what = {"route": "private", "stream": dice.choice(ACCOUNT_EVENTS)}
    much = {"count": dice.choice([1, 2, 5]), "delay_ms": dice.choice([50, 800, 4_000])}
    return {"action": action, **what, **much, "for_ms": UNUSED_FOR_MS}


def _spoil_market(dice: Random) -> Fault:
    action = dice.choice(["late", "drop", "duplicate", "reorder"])
    much = {"count": dice.choice([5, 20]), "delay_ms": dice.choice([50, 800])}
    return {"action": action, "route": "market", **much, "for_ms": UNUSED_FOR_MS}


def _close(dice: Random) -> Fault:
    return {"action": "close", "route": dice.choice(["", "market", "private", "private"])}


def _silence(dice: Random) -> Fault:
    route = dice.choice(["market", "private", "private"])
    return {"action": "silence", "route": route, "delay_ms": dice.choice([2_000, 9_000, 20_000])}


def _expire_key(dice: Random) -> Fault:
    return {"action": "expire-key"}


def _skew(dice: Random) -> Fault:
    return {"action": "skew", "delay_ms": dice.choice([-800, 700, 1_500, 6_000])}


def _maintain(dice: Random) -> Fault:
    return {"action": "maintenance", "delay_ms": dice.choice([1_000, 4_000])}


KINDS: tuple[tuple[Callable[[Random], Fault], float], ...] = (
    (_lose, 14),
    (_open_outcome, 12),
    (_leave_market_unanswered, 8),
    (_refuse, 8),
    (_refuse_order, 4),
    (_refuse_role, 5),
    (_do_not_find, 3),
    (_delay, 8),
    (_hold, 4),
    (_partial, 4),
    (_stale, 4),
    (_spoil_account, 14),
    (_spoil_market, 4),
    (_close, 1),
    (_silence, 1),
    (_expire_key, 1),
    (_skew, 1),
    (_maintain, 0.7),
)

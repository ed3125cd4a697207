"""Why an alarm was raised: every alarm has to have a cause that really happened.

`Evidence` is what was done to the cycle from outside (people, the exchange, refusals); `cause_of`
holds an alarm against it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from core.domain.alarms import Alarm
from core.domain.cycle import Cycle
from core.domain.refusals import Refusal, refusal
from simulation.oracle import figures_of, name_of

_MANY = 3  # ended or refused so often in a row


@dataclass(slots=True)
class Evidence:
    """What happened from outside since the cycle began."""

    seen: dict[str, int] = field(default_factory=dict)  # what → when it happened last, ms
    codes: dict[tuple[str, int], list[int]] = field(default_factory=dict)  # by role code, number
    of_order: dict[str, list[int]] = field(default_factory=dict)  # by client id
    neighbours: list["Evidence"] = field(default_factory=list)  # of the account's other symbols

    def new_cycle(self, since_ms: int) -> None:
        """Forget what happened before a cycle began; what may still work is kept."""
        self.codes.clear()
        self.of_order.clear()
        self.seen = {
            what: at_ms
            for what, at_ms in self.seen.items()
            if at_ms >= since_ms or what.startswith("kept-")
        }

    def happened(self, what: str, at_ms: int) -> None:
        """Take note of an event."""
        self.seen[what] = at_ms

    def refused(self, client_order_id: str, code: int) -> None:
        """Take note of a refusal that we were told of; the account's concerns every symbol."""
        if refusal(code) is Refusal.ACCOUNT:
            for neighbour in self.neighbours:
                neighbour.seen["kept-account-refused"] = 0
        self.codes.setdefault(name_of(client_order_id), []).append(code)
        self.of_order.setdefault(client_order_id, []).append(code)

    def has(self, *names: str) -> bool:
        """Return whether one of these happened."""
        return any(name in self.seen for name in names)

    def was_refused(self, role: str, number: int, *why: Refusal) -> bool:
        """Return whether an order of that role was refused (for one of these reasons)."""
        codes = self.codes.get((role, number), [])
        return any(not why or refusal(code) in why for code in codes)


def cause_of(cycle: Cycle, alarm: Alarm, evidence: Evidence) -> str | None:
    """Return the cause of an alarm; None: nothing that happened explains it."""
    for prefix, find in _CAUSES:
        if alarm.key.startswith(prefix):
            return find(cycle, alarm.key, evidence)
    return None


def _number(key: str) -> int:
    return int(key.rsplit("-", 1)[1])


def _withdrawn(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    number, figures = _number(key), figures_of(cycle)
    if evidence.was_refused("lv", number, Refusal.FOR_GOOD):
        return "refused for good"
    if evidence.has("expired"):
        return "ended by the exchange"
    is_unfit = figures is None or number in figures.unfit()
    return "does not fit" if is_unfit else None


def _hedge_failed(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    if any(role in ("hg", "hm") for role, _ in evidence.codes):
        return "refused"
    if evidence.has("expired", "liquidation"):
        return "ended by the exchange"
    figures = figures_of(cycle)
    if figures is None or not figures.account.is_plain:
        return "not to be judged"
    opened = len({n for n, made in figures.account.hedges.items() if n and made.sold})
    trigger = figures.trigger(opened + 1, cycle.hedge_triggers)
    if trigger is not None and figures.can_hedge(opened, trigger):
        ended = [o for o in cycle.orders if name_of(o.client_order_id)[0] in ("hg", "hm")]
        is_rejected = any(o.ended_by == "exchange" for o in ended)
        return "rejected at its trigger" if is_rejected else None
    return "no hedge is left" if trigger is None or opened or cycle.grid is None else "does not fit"


def _hedge_watched(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    number = _number(key)
    why = (Refusal.PRICE_BOUND, Refusal.STOP_LIMIT, Refusal.MARGIN)
    if evidence.was_refused("hg", number, *why):
        return "may not rest"
    return "ended by the exchange" if evidence.has("expired") else None


def _account(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    codes = (code for found in evidence.codes.values() for code in found)
    is_own = any(refusal(code) is Refusal.ACCOUNT for code in codes)
    return "refused" if is_own or evidence.has("kept-account-refused") else None


def _refused_order(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    name = key.removeprefix("refused-").removeprefix("cancel-")
    return "refused" if name in evidence.of_order else None


def _margin(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    why = (Refusal.MARGIN, Refusal.STOP_LIMIT)
    return "refused" if evidence.was_refused("lv", _number(key), *why) else None


def _cancelled(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    return "a person" if f"by-hand-{key.removeprefix('cancelled-')}" in evidence.seen else None


def _ended(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    if evidence.has("expired", "thin", "liquidation"):
        return "ended by the exchange"
    codes = (code for found in evidence.codes.values() for code in found)
    return "refused" if any(refusal(code) is Refusal.PRICE_BOUND for code in codes) else None


def _near_liquidation(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
    return None if cycle.policy.min_liquidation_distance is None else "watched, and near"


def _one_of(*names: str) -> Callable[[Cycle, str, Evidence], str | None]:
    def find(cycle: Cycle, key: str, evidence: Evidence) -> str | None:
        return next((name for name in names if name in evidence.seen), None)

    return find


# Prefix of the alarm's key → what explains it; the first that fits counts.
_CAUSES: tuple[tuple[str, Callable[[Cycle, str, Evidence], str | None]], ...] = (
    ("withdrawn-", _withdrawn),
    ("hedge-failed", _hedge_failed),
    ("hedge-watched-", _hedge_watched),
    ("hedge-refused-", lambda c, k, e: "refused" if _hedge_failed(c, k, e) == "refused" else None),
    ("account-refused", _account),
    ("refused-", _refused_order),
    ("margin-", _margin),
    ("cancelled-", _cancelled),
    ("ended-", _ended),
    ("outside-short-", _one_of("hand")),
    ("outside-", _one_of("kept-fills-hidden")),
    ("short-without-stop", _one_of("hand")),
    ("short-closed-", _one_of("hand", "adl", "liquidation", "kept-hand")),
    ("foreign-", _one_of("hand", "adl", "liquidation", "kept-hand")),
    ("late-", _one_of("haunted")),
    ("near-liquidation", _near_liquidation),
    ("left-over", _one_of("hand", "adl")),
    ("missing-", _one_of("kept-hidden")),
    ("forgotten-", _one_of("kept-hidden")),
)

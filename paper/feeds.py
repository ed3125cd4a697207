"""Where the market's trades come from: a seeded scenario, a recording, or nobody but the operator.

A feed is an iterator of ticks in order of `at_ms`, the time since it started; the app waits for
each and hands it to the world.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from paper.rules import SymbolRules

SCENARIO, REPLAY, MANUAL, LIVE = "scenario", "replay", "manual", "live"


class FeedError(Exception):
    """A feed that cannot be had; the text is one line for the person who asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One trade of the market. `time_ms` is the recording's time, None for 'now'."""

    at_ms: float
    symbol: str
    price: Decimal
    quantity: Decimal
    is_buyer_maker: bool
    time_ms: int | None = None
    ids: tuple[int, int, int] | None = None  # of a recorded aggregated trade: own, first, last


class Holding(NamedTuple):
    """What the account holds of a symbol, as far as a scenario looks at it."""

    long: Decimal
    short: Decimal
    long_entry: Decimal


Look = Callable[[str], Holding]
Ticks = Iterator[Tick]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPlan:
    """A feed that was asked for, checked as far as text can be."""

    kind: str
    scenario: str = ""
    paths: tuple[Path, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None


def parse_plan(feed: str, from_text: str, to_text: str) -> FeedPlan:
    """Return the plan for `scenario[:NAME]`, `replay:PATH[,PATH…]`, `live` or `manual`.

    Raises:
        FeedError: the feed is unknown, or FROM and TO are no times in order.
    """
    kind, _, rest = feed.partition(":")
    if kind in (MANUAL, LIVE) and not rest:
        return FeedPlan(kind=kind)
    if kind == SCENARIO:
        return FeedPlan(kind=kind, scenario=rest or "tour")
    if kind == REPLAY and rest:
        paths = tuple(Path(part).expanduser() for part in rest.split(",") if part)
        from_ms, to_ms = parse_time("FROM", from_text), parse_time("TO", to_text)
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise FeedError(f"FROM {from_text} is not before TO {to_text}")
        return FeedPlan(kind=kind, paths=paths, from_ms=from_ms, to_ms=to_ms)
    raise FeedError(f"unknown feed {feed!r}: scenario[:NAME], replay:PATH[,PATH], live or manual")


def parse_time(name: str, text: str) -> int | None:
    """Return ISO text (UTC unless it says otherwise) or milliseconds as milliseconds."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) >= 12:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FeedError(f"{name} {text!r} is neither an ISO time nor milliseconds") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def to_tick(price: Decimal, rules: SymbolRules) -> Decimal:
    """Return `price` on the symbol's price grid, at least one tick."""
    return max(rules.tick, (price / rules.tick).to_integral_value() * rules.tick)


def to_step(quantity: Decimal, rules: SymbolRules) -> Decimal:
    """Return `quantity` in whole steps, rounded down, at least one."""
    return max(rules.step, quantity // rules.step * rules.step)

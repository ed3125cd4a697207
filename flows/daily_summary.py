"""The summary of each day, told once, by one of the monitors."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby

import structlog

from core.clients.sql_summaries import DayFigures, SqlSummaries
from core.errors import StoreError
from core.money import ZERO, shown
from core.ports import Notice, Topic

LOOK_EVERY_S = 30.0

_log = structlog.get_logger(__name__)


async def tell_each_day(
    summaries: SqlSummaries,
    *,
    at: time,
    zone: tzinfo,
    now_ms: Callable[[], int],
    look_every_s: float = LOOK_EVERY_S,
) -> None:
    """Tell of each day that is over once the next one's clock is past `at`, for ever."""
    told: date | None = None
    while True:
        day = day_to_tell(now_ms(), at=at, zone=zone)
        if day is not None and day != told:
            try:
                await tell_day(summaries, day, zone=zone, now_ms=now_ms())
            except StoreError as error:
                _log.warning("daily summary waits for the database", error=str(error))
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("daily summary failed; tried again")
            else:
                told = day
        await asyncio.sleep(look_every_s)


async def tell_day(
    summaries: SqlSummaries,
    day: date,
    *,
    zone: tzinfo,
    now_ms: int,
) -> None:
    """Tell of a day unless another process does, or did."""
    since_ms, until_ms = bounds_ms(day, zone)
    figures = await summaries.day_figures(since_ms=since_ms, until_ms=until_ms)
    await summaries.tell_summary(day.isoformat(), summary_of(day, figures, at_ms=now_ms))


def day_to_tell(now_ms: int, *, at: time, zone: tzinfo) -> date | None:
    """Return the day that is over and due to be told of; None before its time."""
    now = datetime.fromtimestamp(now_ms / 1000, tz=zone)
    return now.date() - timedelta(days=1) if now.time() >= at else None


def bounds_ms(day: date, zone: tzinfo) -> tuple[int, int]:
    """Return when the day begins and ends there, milliseconds UTC; not all have 24 hours."""
    begin, end = (
        datetime.combine(midnight, time(), tzinfo=zone).astimezone(UTC)
        for midnight in (day, day + timedelta(days=1))
    )
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)


def summary_of(day: date, figures: DayFigures, *, at_ms: int) -> Notice:
    """Return what is told of a day: the result by symbol, the sum, and what stands open."""
    lines = [*_results(figures)] or ["no cycle ended"]
    lines.append(f"open cycles: {figures.open_cycles}")
    lines.append(f"alarms not settled: {figures.raised_alarms}")
    return Notice(
        kind="daily-summary",
        symbol="",
        cycle=None,
        title=f"Summary of {day.isoformat()}",
        text="\n".join(lines),
        severity=None,
        at_ms=at_ms,
        topic=Topic.CYCLE,
    )


def _results(figures: DayFigures) -> Iterator[str]:
    sums: dict[str, Decimal] = {}
    for symbol, results in groupby(figures.results, key=lambda result: result.symbol):
        ended = list(results)
        asset, net = ended[0].quote_asset, sum((r.net_pnl for r in ended), ZERO)
        sums[asset] = sums.get(asset, ZERO) + net
        yield _line(symbol, net, asset, f" ({len(ended)} cycle{'s' if len(ended) > 1 else ''})")
    for asset, net in sums.items():
        yield _line("in all", net, asset, "")


def _line(what: str, net: Decimal, asset: str, more: str) -> str:
    return f"{what}: net {shown(net)} {asset}".rstrip() + more

"""Each day is summed up once, at its time, by one process."""

import asyncio
from datetime import UTC, date, datetime, time
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import pytest
import structlog.testing

from core.clients.db_async import make_engine
from core.clients.notices import Notices
from core.clients.sql_store import SqlCycleStore
from core.clients.sql_summaries import DayFigures, Result, SqlSummaries
from core.errors import StoreUnavailable
from flows.daily_summary import bounds_ms, day_to_tell, summary_of, tell_day, tell_each_day
from tests.integration.store_worlds import begun, changed
from tests.integration.tellers import Told
from tests.integration.test_safety import earned
from tests.unit.samples import sample_rules

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 11, 27)


def ms(year: int, month: int, day: int, hour: int, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


DUE = {  # moment: day to be told of
    "before its time": (ms(2026, 11, 28, 6, 59), None),
    "at its time": (ms(2026, 11, 28, 7), DAY),
    "late": (ms(2026, 11, 28, 22, 59), DAY),
    "the next day has begun there": (ms(2026, 11, 28, 23), None),
}


@pytest.mark.parametrize(("now_ms", "day"), DUE.values(), ids=DUE.keys())
def test_when_a_day_is_due(now_ms: int, day: date | None) -> None:
    assert day_to_tell(now_ms, at=time(8), zone=BERLIN) == day


def test_days_have_the_hours_that_the_zone_gives_them() -> None:
    assert bounds_ms(DAY, BERLIN) == (ms(2026, 11, 26, 23), ms(2026, 11, 27, 23))
    assert bounds_ms(date(2026, 3, 29), BERLIN) == (ms(2026, 3, 28, 23), ms(2026, 3, 29, 22))


def test_it_tells_each_symbol_and_the_sum_of_each_asset() -> None:
    figures = DayFigures(
        results=(
            Result(symbol="BTCUSDT", quote_asset="USDT", net_pnl=D("1.50")),
            Result(symbol="BTCUSDT", quote_asset="USDT", net_pnl=D("-0.25")),
            Result(symbol="ETHUSDC", quote_asset="USDC", net_pnl=D("2")),
            Result(symbol="ETHUSDT", quote_asset="USDT", net_pnl=D("-3")),
        ),
        open_cycles=1,
        raised_alarms=2,
    )
    notice = summary_of(DAY, figures, at_ms=5)
    assert notice.title == "Summary of 2026-11-27"
    assert notice.text.splitlines() == [
        "BTCUSDT: net 1.25 USDT (2 cycles)",
        "ETHUSDC: net 2 USDC (1 cycle)",
        "ETHUSDT: net -3 USDT (1 cycle)",
        "in all: net -1.75 USDT",
        "in all: net 2 USDC",
        "open cycles: 1",
        "alarms not settled: 2",
    ]
    nothing = DayFigures(results=(), open_cycles=0, raised_alarms=0)
    assert summary_of(DAY, nothing, at_ms=5).text.startswith("no cycle ended\n")


async def test_one_process_of_several_tells_it_once(migrated_url: str) -> None:
    store = SqlCycleStore(make_engine(migrated_url))
    await store.save_rules([sample_rules()], read_at_ms=1)
    begin_ms, end_ms = bounds_ms(DAY, UTC)
    for number, at_ms in enumerate([begin_ms - 1, begin_ms, end_ms - 1, end_ms]):
        cycle = await begun(store, key=f"k{number}")
        await store.update(cycle.cycle_id, earned(f"{number + 1}.5", at_ms), lease=None)
    cycle = await begun(store, key="open")
    await store.update(cycle.cycle_id, changed(), lease=None)
    told = Told()
    notices = Notices([told])
    processes = [SqlSummaries(make_engine(migrated_url), notices=notices) for _ in range(3)]
    await asyncio.gather(*(tell_day(each, DAY, zone=UTC, now_ms=7) for each in processes))
    notice = told.wait()
    assert notice.text.splitlines() == [
        "BTCUSDT: net 6 USDT (2 cycles)",
        "in all: net 6 USDT",
        "open cycles: 1",
        "alarms not settled: 0",
    ]
    await tell_day(processes[0], DAY, zone=UTC, now_ms=8)
    await tell_day(processes[0], date(2026, 11, 28), zone=UTC, now_ms=9)
    notices.close()
    assert told.titles == ["Summary of 2026-11-27", "Summary of 2026-11-28"]
    for each in (store, *processes):
        await each.close()


async def test_it_is_told_day_after_day_and_waits_for_the_database(
    migrated_url: str,
) -> None:
    told = Told()
    now = [ms(2026, 11, 28, 7, 59)]

    class Away(SqlSummaries):
        failures = 2

        async def day_figures(self, *, since_ms: int, until_ms: int) -> DayFigures:
            if self.failures:
                type(self).failures -= 1
                raise StoreUnavailable("away") if self.failures else ZeroDivisionError
            return await super().day_figures(since_ms=since_ms, until_ms=until_ms)

    summaries = Away(make_engine(migrated_url), notices=Notices([told]))
    with structlog.testing.capture_logs() as logs:
        telling = asyncio.create_task(
            tell_each_day(
                summaries,
                at=time(8),
                zone=UTC,
                now_ms=lambda: now[0],
                look_every_s=0,
            )
        )
        now[0] = ms(2026, 11, 28, 8)
        assert (await asyncio.to_thread(told.wait)).title == "Summary of 2026-11-27"
        now[0] = ms(2026, 11, 29, 9)
        assert (await asyncio.to_thread(told.wait)).title == "Summary of 2026-11-28"
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    assert [line["event"] for line in logs] == [
        "daily summary waits for the database",
        "daily summary failed; tried again",
    ]
    assert len(told.titles) == 2
    await summaries.close()

"""What scheduled work reads of past days, and what the retention deletes, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from config import Settings
from core.clients import sql_history
from core.clients.db_async import make_engine
from core.clients.sql_history import Forgotten
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import CloseReason, Cycle, Ledger, Phase
from core.domain.webhook import WebhookStatus
from core.queries.tables import CYCLE, FACT, FILL, WEBHOOK
from flows import jobs
from tests.integration.store_worlds import PAYLOAD, START_MS, a_fill, begun, changed, funded
from tests.unit.samples import sample_rules

NOW = datetime.fromtimestamp(START_MS / 1000, tz=UTC)
DAY_MS = 24 * 3600 * 1000
D = Decimal


@dataclass
class History:
    """A database with a past."""

    settings: Settings
    store: SqlCycleStore

    def keeping(self, days: int) -> Settings:
        return self.settings.model_copy(update={"retention_days": days})

    async def cycle(self, key: str, *, ended_ms: int | None, **changes: Any) -> Cycle:
        """Store a cycle with a fill and a journal of three facts and its beginning."""
        cycle = await begun(self.store, key=key, symbol=f"{key.upper()}USDT", alert_id=key)
        fill = a_fill(key=key)
        await self.store.update(cycle.cycle_id, changed(fills=(fill,)), lease=None)
        await self.store.update(cycle.cycle_id, funded(1), lease=None)
        last = changes
        if ended_ms is not None:
            last = {"phase": Phase.ENDED, "ended_at_ms": ended_ms} | changes
        return (await self.store.update(cycle.cycle_id, changed(**last), lease=None)).cycle

    async def count(self, table: Any) -> int:
        async with self.store.reading() as connection:
            counted = await connection.execute(select(func.count()).select_from(table))
            return int(counted.scalar_one())

    async def payloads(self) -> list[Any]:
        wanted = select(WEBHOOK.c.payload).order_by(WEBHOOK.c.id)
        async with self.store.reading() as connection:
            return list((await connection.execute(wanted)).scalars())

    async def alert(self, status: WebhookStatus, *, days_ago: int, **more: Any) -> int:
        received_at_ms = START_MS - days_ago * DAY_MS
        return await self.store.record_webhook(
            PAYLOAD, received_at_ms=received_at_ms, status=status, **more
        )


@pytest.fixture
async def history(migrated_url: str) -> AsyncIterator[History]:
    store = SqlCycleStore(make_engine(migrated_url))
    yield History(Settings(db_connection_str=SecretStr(migrated_url)), store)
    await store.close()


def earned(realised: str, commissions: str, funding: str) -> dict[str, Any]:
    """Return what makes a cycle's figures."""
    ledger = replace(Ledger(), realised=D(realised), commissions=D(commissions))
    return {"ledger": ledger, "funding": D(funding), "close_reason": CloseReason.TAKE_PROFIT}


async def test_a_day_is_reported_exactly_from_its_first_to_its_last_millisecond(
    history: History,
) -> None:
    midnight = START_MS - START_MS % DAY_MS
    figures = earned("0.1", "0.123456789012345678", "-0.2")
    for key, ended_ms in {
        "aa": midnight - 1,
        "bb": midnight,
        "cc": midnight + DAY_MS - 1,
        "dd": midnight + DAY_MS,
        "ee": None,
    }.items():
        await history.cycle(key, ended_ms=ended_ms, **figures)
    await history.store.save_rules([sample_rules()], read_at_ms=START_MS)
    day = datetime.fromtimestamp(midnight / 1000, tz=UTC).date()
    report = await jobs.report_day(history.settings, day=day)
    assert [(line.symbol, line.reason) for line in report.lines] == [
        ("BBUSDT", "take_profit"),
        ("CCUSDT", "take_profit"),
    ]
    (sums,) = report.totals().values()
    assert sums.net_pnl == 2 * (D("0.1") - D("0.2") - D("0.123456789012345678"))
    assert (await jobs.report_day(history.settings, day=date(2020, 1, 1))).lines == ()


async def test_old_journals_go_and_everything_that_was_traded_stays(history: History) -> None:
    old = await history.cycle("aa", ended_ms=START_MS - 91 * DAY_MS)
    await history.cycle("bb", ended_ms=START_MS - 89 * DAY_MS)
    await history.cycle("cc", ended_ms=None)
    forgotten = await jobs.forget_old(history.keeping(90), now=NOW)
    assert forgotten == Forgotten(facts=4, payloads=1)
    assert await history.count(FACT) == 4 + 3, "the ones of the other two"
    kept = {"symbol": "BTCUSDT.P", "open": {"amount": "0.004"}}
    assert await history.payloads() == [{}, kept, kept]
    assert await history.count(FILL) == await history.count(CYCLE) == 3
    assert await history.store.load(old.cycle_id) == old
    assert await history.store.find_accepted_alert("aa") is not None, "its id stays used"
    assert await jobs.forget_old(history.keeping(90), now=NOW) == Forgotten()


async def test_zero_days_keep_everything(history: History) -> None:
    await history.cycle("aa", ended_ms=START_MS - 9_000 * DAY_MS)
    assert await jobs.forget_old(history.keeping(0), now=NOW) == Forgotten()
    assert await history.count(FACT) == 4


async def test_what_is_left_between_two_batches_can_be_replayed(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_history, "FACTS_AT_ONCE", 3)
    cycle = await history.cycle("aa", ended_ms=START_MS - 91 * DAY_MS)
    async with jobs._history(history.settings) as database:
        (journal,) = await database.old_journals(ended_before_ms=START_MS - 90 * DAY_MS)
        assert await database.forget(journal) == Forgotten(facts=3)
        assert await history.store.begun_as(cycle.cycle_id) is not None
        assert await history.store.journal(cycle.cycle_id) == ()
        assert await database.forget(journal) == Forgotten(facts=1, payloads=1)
        assert await database.forget(journal) == Forgotten()
        assert await database.old_journals(ended_before_ms=START_MS) == ()


async def test_old_alerts_that_came_to_nothing_go(history: History) -> None:
    gone = [
        await history.alert(status, days_ago=91)
        for status in (WebhookStatus.REFUSED, WebhookStatus.SKIPPED, WebhookStatus.TIMED_OUT)
    ]
    gone.append(await history.alert(WebhookStatus.REFUSED, days_ago=93, secret_id=1))
    last = await history.alert(WebhookStatus.REFUSED, days_ago=92, secret_id=1)
    kept = [
        await history.alert(WebhookStatus.REFUSED, days_ago=89),
        await history.alert(WebhookStatus.ACCEPTED, days_ago=91),
        await history.alert(WebhookStatus.PROCESSING, days_ago=91),
    ]
    forgotten = await jobs.forget_old(history.keeping(90), now=NOW)
    assert forgotten == Forgotten(webhooks=4)
    for number in gone:
        assert await history.store.webhook(number) is None
    for number in (*kept, last):
        assert await history.store.webhook(number) is not None


def test_the_sum_of_batches() -> None:
    total = Forgotten(facts=3) + Forgotten(facts=1, payloads=1) + Forgotten(webhooks=2)
    assert total == Forgotten(facts=4, payloads=1, webhooks=2)
    assert jobs.described_forgotten(total) == (
        "deleted: 4 facts and the text of 1 alerts of ended cycles, 2 alerts that began none"
    )

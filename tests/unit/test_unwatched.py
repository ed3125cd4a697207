"""An open cycle that no monitor holds: told once, after a minute, and anew the next time."""

import asyncio
from collections.abc import Collection

import pytest
import structlog.testing

from core import unwatched
from core.clients.alert_store import LEASE_MS
from core.clients.memory_store import MemoryCycleStore
from core.domain.alarms import Alarm, AlarmKind
from core.errors import StoreUnavailable
from core.unwatched import Unwatched
from tests.integration.store_worlds import START_MS, begun


class Room:
    """A store and one or two processes that look at it, in time that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.store = MemoryCycleStore(now_ms=lambda: START_MS + int(self.now_s * 1000))
        self.looking, self.other = (
            Unwatched(
                self.store,
                now_ms=lambda: START_MS + int(self.now_s * 1000),
                monotonic_s=lambda: self.now_s,
            )
            for _ in range(2)
        )

    async def look(self, *after_s: float) -> None:
        """Let both look after each of these seconds."""
        for seconds in after_s:
            self.now_s += seconds
            await self.looking.look()
            await self.other.look()

    async def hold(self, symbol: str = "BTCUSDT") -> None:
        """Let a monitor hold the symbol for a lease's time, without a check."""
        assert await self.store.acquire_lease(symbol, "m") is not None

    async def alarms(self) -> list[tuple[str, str, int]]:
        """Return what stands: symbol, kind, count."""
        return [(a.symbol, a.kind, a.count) for a in await self.store.raised_alarms(10)]


TOLD = [("BTCUSDT", "unwatched", 1)]


async def test_it_is_told_once_by_whoever_looks_first() -> None:
    room = Room()
    await begun(room.store)
    await room.look(0, 30, 29)
    assert await room.alarms() == []
    with structlog.testing.capture_logs() as logs:
        await room.look(1, 15, 3600)
    assert await room.alarms() == TOLD
    assert [line["event"] for line in logs] == ["nobody watches an open cycle"]


async def test_a_monitor_that_was_away_for_less_is_no_news() -> None:
    room = Room()
    await begun(room.store)
    await room.look(0, 50)
    await room.hold()
    await room.look(0, LEASE_MS / 1000, 50)
    assert await room.alarms() == []


async def test_one_that_is_there_again_settles_it_and_the_next_time_is_told_anew() -> None:
    room = Room()
    await begun(room.store)
    await room.look(0, 60)
    assert await room.alarms() == TOLD
    await room.hold()
    await room.look(1)
    assert await room.alarms() == []
    await room.look(LEASE_MS / 1000, 60)
    assert await room.alarms() == TOLD


async def test_one_that_a_person_has_settled_is_not_told_again() -> None:
    room = Room()
    await begun(room.store)
    await room.look(0, 60)
    await room.store.settle_alarms(None, by="ann")
    await room.look(15, 3600)
    assert await room.alarms() == []


async def test_what_has_no_cycle_needs_no_monitor() -> None:
    room = Room()
    await room.hold("ETHUSDT")
    await room.look(0, 3600)
    assert await room.alarms() == []


async def test_an_alarm_from_before_a_restart_is_settled_too_and_no_other() -> None:
    room = Room()
    await begun(room.store)
    await begun(room.store, key="k2", symbol="ETHUSDT")
    await room.look(0, 60)
    assert len(await room.alarms()) == 2
    for kind in (AlarmKind.UNCHECKED, AlarmKind.UNLISTED):
        await room.store.raise_alarm("BTCUSDT", Alarm(kind=kind, text="", at_ms=1))
    await room.hold()
    room.looking = Unwatched(room.store, now_ms=lambda: 0, monotonic_s=lambda: room.now_s)
    await room.looking.look()
    assert await room.alarms() == [
        ("BTCUSDT", "unlisted", 1),
        ("BTCUSDT", "unchecked", 1),
        ("ETHUSDT", "unwatched", 1),
    ]


async def test_after_an_outage_of_the_database_monitors_get_their_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    await begun(room.store)
    monkeypatch.setattr(unwatched, "LOOK_EVERY_S", 0)
    looks, enough = iter(["", "away", "", "bug", ""]), asyncio.Event()

    async def leased(symbols: Collection[str]) -> frozenset[str]:
        room.now_s += 40
        match next(looks, None):
            case "away":
                raise StoreUnavailable("away")
            case "bug":
                raise ZeroDivisionError
            case None:
                enough.set()
                await asyncio.Event().wait()
        assert await room.alarms() == []
        return frozenset()

    monkeypatch.setattr(room.store, "leased", leased)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(room.looking.run())
        await enough.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [line["event"] for line in logs] == [
        "who is watched cannot be looked at",
        "who is watched was not looked at; tried again",
        "nobody watches an open cycle",
    ]
    assert await room.alarms() == TOLD

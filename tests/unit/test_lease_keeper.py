"""Who may decide for a symbol, and who may send: leases that are late, lost, or taken meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from core.clients.memory_store import MemoryCycleStore, Moment
from core.domain.alarms import AlarmKind
from core.domain.cycle import Cycle
from core.engine import Desk, Surroundings
from core.errors import StoreUnavailable
from core.lease_keeper import STOP_SENDING_AFTER_S, LeaseKeeper
from core.ports import Lease, OrderGateway
from simulation.loop import VirtualClock, run

BTC, ETH = "BTCUSDT", "ETHUSDT"


class SlowStore(MemoryCycleStore):
    """A store whose calls may take their time, after they took effect."""

    def __init__(self) -> None:
        super().__init__(now_ms=VirtualClock().now_ms)
        self.load_s = 0.0
        self.renew_s = 0.0

    async def load_open(self, symbols: Sequence[str], *, ended_after_ms: int) -> tuple[Cycle, ...]:
        await asyncio.sleep(self.load_s)
        return await super().load_open(symbols, ended_after_ms=ended_after_ms)

    async def renew_leases(self, leases: Sequence[Lease]) -> tuple[Lease, ...]:
        ours = await super().renew_leases(leases)
        await asyncio.sleep(self.renew_s)
        return ours


class Monitor:
    """A keeper with its desks, and what it was seen to do."""

    def __init__(self, store: SlowStore, *symbols: str) -> None:
        self.desks: dict[str, Desk] = {}
        self.started: list[str] = []
        self.ended: list[str] = []
        self.keeper = LeaseKeeper(
            store=store,
            owner="me",
            desks=self.desks,
            on_start=lambda desk: self.started.append(desk.symbol),
            on_end=self.ended.append,
            seconds=asyncio.get_running_loop().time,
        )
        self.around = Surroundings(
            gateway=cast(OrderGateway, None),  # nothing is sent
            store=store,
            clock=VirtualClock(),
            may_send=self.keeper.may_send,
        )
        self.symbols = symbols


@asynccontextmanager
async def watching(store: SlowStore, *symbols: str) -> AsyncIterator[Monitor]:
    """Let a monitor watch."""
    monitor = Monitor(store, *symbols)
    work = [monitor.keeper.renew(), *(monitor.keeper.watch(s, monitor.around) for s in symbols)]
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield monitor
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def away(*operations: str) -> Callable[[str, Moment], None]:
    """Return a failure hook: the database is away for these."""

    def fail(operation: str, moment: Moment) -> None:
        if operation in operations:
            raise StoreUnavailable("away")

    return fail


def play(story: Callable[[SlowStore], Coroutine[object, object, None]]) -> None:
    """Run a story in virtual time."""

    async def main() -> None:
        await story(SlowStore())

    run(main())


def test_a_lease_is_kept_for_as_long_as_it_is_renewed() -> None:
    async def story(store: SlowStore) -> None:
        async with watching(store, BTC, ETH) as monitor:
            await asyncio.sleep(120)
            assert sorted(monitor.started) == [BTC, ETH]
            assert monitor.ended == []
            assert await store.acquire_lease(BTC, "other") is None
            assert monitor.keeper.may_send(BTC)
            assert not monitor.keeper.may_send("XRPUSDT")
        assert await store.acquire_lease(BTC, "other") is not None, "given back at the end"

    play(story)


def test_a_lease_is_renewed_while_its_cycles_are_loaded() -> None:
    async def story(store: SlowStore) -> None:
        store.load_s = 40
        async with watching(store, BTC) as monitor:
            for _ in range(39):
                await asyncio.sleep(1)
                assert await store.acquire_lease(BTC, "other") is None
            await asyncio.sleep(2)
            assert monitor.started == [BTC]
            assert monitor.keeper.may_send(BTC)

    play(story)


def test_who_cannot_renew_sends_nothing_ten_seconds_later_and_goes_on_when_it_can() -> None:
    async def story(store: SlowStore) -> None:
        async with watching(store, BTC) as monitor:
            await asyncio.sleep(5.1)  # renewed at 5.0
            store.fail = away("renew_leases")
            await asyncio.sleep(STOP_SENDING_AFTER_S - 0.2)
            assert monitor.keeper.may_send(BTC)
            await asyncio.sleep(0.2)
            assert not monitor.keeper.may_send(BTC)
            store.fail = away()
            await asyncio.sleep(5)
            assert monitor.keeper.may_send(BTC)
            assert monitor.ended == [], "the lease was still its own"

    play(story)


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    async def story(store: SlowStore) -> None:
        store.renew_s = 9
        async with watching(store, BTC) as monitor:
            await asyncio.sleep(14.1)  # asked for at 5, answered at 14
            assert monitor.keeper.may_send(BTC)
            await asyncio.sleep(0.95)
            assert not monitor.keeper.may_send(BTC)

    play(story)


def test_a_lease_that_another_took_ends_the_desk_and_what_is_in_hand() -> None:
    async def story(store: SlowStore) -> None:
        async with watching(store, BTC, ETH) as monitor:
            await asyncio.sleep(1)
            store._leases[BTC].lease = Lease(symbol=BTC, owner="other", epoch=2)
            await asyncio.sleep(4.05)  # the renewal
            assert not monitor.keeper.may_send(BTC)
            assert monitor.keeper.may_send(ETH)
            await asyncio.sleep(0.1)
            assert monitor.ended == [BTC]
            assert list(monitor.desks) == [ETH]
            await asyncio.sleep(30)  # the other one did not renew
            assert store._leases[BTC].lease == Lease(symbol=BTC, owner="me", epoch=3)
            assert monitor.started.count(BTC) == 2

    play(story)


def test_a_lease_lost_while_loading_begins_nothing() -> None:
    async def story(store: SlowStore) -> None:
        store.load_s = 8
        async with watching(store, BTC) as monitor:
            await asyncio.sleep(1)
            store._leases[BTC].lease = Lease(symbol=BTC, owner="other", epoch=2)
            await asyncio.sleep(7.5)
            assert monitor.started == []
            assert monitor.ended == [BTC]

    play(story)


def test_a_renewal_asked_for_before_does_not_end_the_desk_of_a_later_lease() -> None:
    async def story(store: SlowStore) -> None:
        async with watching(store, BTC) as monitor:
            await asyncio.sleep(1)
            store.renew_s = 3
            store._leases[BTC].lease = Lease(symbol=BTC, owner="other", epoch=2)
            await asyncio.sleep(5)  # under way: its answer names nobody
            monitor.desks[BTC].fail(StoreUnavailable("away"))
            store._leases[BTC].expires_at_ms = 0
            await asyncio.sleep(1.5)
            assert monitor.started == [BTC, BTC]
            await asyncio.sleep(1)  # the answer is there
            assert monitor.ended == [BTC]
            assert monitor.keeper.may_send(BTC)

    play(story)


def test_what_nobody_foresaw_is_told_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(desk: Desk) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Desk, "run", fails)

    async def story(store: SlowStore) -> None:
        async with watching(store, BTC) as monitor:
            await asyncio.sleep(10)
            assert monitor.started == [BTC] * 4, "after 1, 2 and 5 s"
            (alarm,) = await store.raised_alarms(5)
            assert (alarm.kind, alarm.symbol, alarm.cycle_id) == (
                AlarmKind.SYMBOL_STOPPED,
                BTC,
                None,
            )

    play(story)

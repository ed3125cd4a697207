"""The kill switch, the limits over all cycles and the alarms, as every store keeps them."""

import asyncio
from dataclasses import replace
from decimal import Decimal as D

import pytest

from core.clients.db_async import make_engine
from core.clients.notices import Notices
from core.clients.sql_store import SqlCycleStore
from core.domain.alarms import Alarm, AlarmKind, Severity
from core.domain.cycle import CloseReason, Cycle, Leg, Phase
from core.domain.guards import DAY_MS, Guards
from core.domain.ledger import fold
from core.domain.step import Step
from core.errors import GuardRefused
from core.ports import StepFunction
from tests.integration.store_worlds import (
    PAYLOAD,
    START_MS,
    StoreWorld,
    begun,
    changed,
    ended,
    new_cycle,
)
from tests.integration.tellers import Told

MIDNIGHT_MS = START_MS - START_MS % DAY_MS


async def begin(
    world: StoreWorld,
    key: str,
    symbol: str,
    guards: Guards,
    *,
    at_ms: int = START_MS,
    by_other: bool = False,
) -> Cycle:
    """Begin a cycle under these guards, as the first process or another."""
    store = world.other if by_other else world.store
    webhook_id = await store.record_webhook(PAYLOAD, received_at_ms=at_ms, symbol=symbol)
    cycle = replace(new_cycle(key=key, symbol=symbol), accepted_at_ms=at_ms)
    return await store.begin_cycle(webhook_id, cycle, guards=guards)


def earned(net_pnl: str, at_ms: int, **changes: object) -> StepFunction:
    """Return a step that ends the cycle with this result."""
    ledger = replace(fold((), (), new_cycle().rules, {}), realised=D(net_pnl))
    return changed(at_ms, ledger=ledger, phase=Phase.ENDED, ended_at_ms=at_ms, **changes)


class TestTheKillSwitch:
    async def test_lets_no_cycle_begin_in_any_process_until_it_is_taken_back(
        self, world: StoreWorld
    ) -> None:
        assert await world.other.killed() is None
        assert await world.store.kill_trading(by="ann")
        thrown = await world.other.killed()
        assert thrown is not None
        assert thrown.by == "ann"
        with pytest.raises(GuardRefused, match="no cycle is opened since ann threw it"):
            await begin(world, "k1", "BTCUSDT", Guards(), by_other=True)
        assert await world.other.open_symbols() == ()
        assert await world.other.revive_trading()
        assert await world.store.killed() is None
        await begin(world, "k1", "BTCUSDT", Guards())

    async def test_thrown_twice_it_keeps_who_threw_it_first(self, world: StoreWorld) -> None:
        await world.store.kill_trading(by="ann")
        assert not await world.other.kill_trading(by="bob")
        thrown = await world.store.killed()
        assert thrown is not None
        assert thrown.by == "ann"
        assert await world.store.revive_trading()
        assert not await world.other.revive_trading()

    async def test_touches_nothing_that_is_open(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        await world.store.kill_trading(by="ann")
        assert await world.other.open_cycle("BTCUSDT") == cycle
        await world.store.update(cycle.cycle_id, ended(), lease=None)


class TestLimits:
    async def test_hold_for_all_that_begin_at_the_same_instant_in_two_processes(
        self, world: StoreWorld
    ) -> None:
        symbols = [f"S{number}USDT" for number in range(8)]
        outcomes = await asyncio.gather(
            *(
                begin(world, symbol, symbol, Guards(max_open_cycles=3), by_other=bool(number % 2))
                for number, symbol in enumerate(symbols)
            ),
            return_exceptions=True,
        )
        opened = [outcome for outcome in outcomes if isinstance(outcome, Cycle)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, GuardRefused)]
        assert (len(opened), len(refused)) == (3, 5), outcomes
        assert len(await world.store.open_symbols()) == 3

    async def test_count_what_open_cycles_may_hold(self, world: StoreWorld) -> None:
        one = D(9000)  # (300 + 600) × 10
        await begin(world, "k1", "AUSDT", Guards(max_total_notional=one))
        with pytest.raises(GuardRefused, match="may hold 9000 already: 18000 together"):
            await begin(world, "k2", "BUSDT", Guards(max_total_notional=2 * one - 1))
        await begin(world, "k3", "CUSDT", Guards(max_total_notional=2 * one))

    async def test_an_ended_cycle_gives_its_place_back(self, world: StoreWorld) -> None:
        guards = Guards(max_open_cycles=1, max_total_notional=D(9000))
        first = await begin(world, "k1", "AUSDT", guards)
        with pytest.raises(GuardRefused):
            await begin(world, "k2", "BUSDT", guards)
        await world.store.update(first.cycle_id, ended(), lease=None)
        await begin(world, "k3", "BUSDT", guards)

    async def test_the_loss_of_a_day_counts_from_midnight_utc(self, world: StoreWorld) -> None:
        guards = Guards(max_daily_loss=D(50))
        for number, (result, at_ms) in enumerate(
            [("-100", MIDNIGHT_MS - 1), ("-30.5", MIDNIGHT_MS), ("-19.4", START_MS)]
        ):
            cycle = await begun(world.store, key=f"k{number}", symbol=f"S{number}USDT")
            await world.store.update(cycle.cycle_id, earned(result, at_ms), lease=None)
        last = await begin(world, "k7", "AUSDT", guards)  # 49.9 are lost
        await world.store.update(last.cycle_id, earned("-0.1", START_MS), lease=None)
        with pytest.raises(GuardRefused, match="since midnight UTC came to -50,"):
            await begin(world, "k8", "BUSDT", guards)
        await begin(world, "k9", "CUSDT", guards, at_ms=MIDNIGHT_MS + DAY_MS)

    async def test_what_open_cycles_have_booked_as_lost_counts(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        ledger = replace(fold((), (), cycle.rules, {}), realised=D(-50))
        await world.store.update(cycle.cycle_id, changed(ledger=ledger), lease=None)
        with pytest.raises(GuardRefused, match="open ones stand at a loss of 50"):
            await begin(world, "k2", "ETHUSDT", Guards(max_daily_loss=D(50)))

    @pytest.mark.parametrize("reason", [CloseReason.ENTRY_FAILED, CloseReason.ENTRY_EXPIRED])
    async def test_what_never_traded_starts_no_cool_down(
        self, world: StoreWorld, reason: CloseReason
    ) -> None:
        guards = Guards(symbol_cooldown_ms=60_000)
        traded = await begun(world.store)
        await world.store.update(traded.cycle_id, earned("1", START_MS), lease=None)
        with pytest.raises(GuardRefused, match="ended 59 s ago; 1 s are left"):
            await begin(world, "k2", "BTCUSDT", guards, at_ms=START_MS + 59_000)
        await begin(world, "k3", "ETHUSDT", guards, at_ms=START_MS + 59_000)
        failed = await begin(world, "k4", "BTCUSDT", guards, at_ms=START_MS + 60_000)
        end = earned("0", START_MS + 60_000, close_reason=reason)
        await world.store.update(failed.cycle_id, end, lease=None)
        await begin(world, "k5", "BTCUSDT", guards, at_ms=START_MS + 60_000)


async def test_what_open_cycles_stand_at_counts_as_a_loss_at_the_last_price_shown(
    migrated_url: str,
) -> None:
    store = SqlCycleStore(make_engine(migrated_url))
    cycle = await begun(store)
    bought = Leg(quantity=D("0.01"), entry=D(60000))
    ledger = replace(cycle.ledger, long=bought, commissions=D(3))
    step = await store.update(cycle.cycle_id, changed(ledger=ledger), lease=None)
    await store.show_prices([(step.cycle, D(55000))])
    state = await store.account_state(
        Guards(max_daily_loss=D(1)), symbol="ETHUSDT", now_ms=START_MS
    )
    # Bought for 600, worth 550; 3 paid, 0.07 % of 550 to be paid.
    assert [exposure.net_pnl for exposure in state.open_cycles] == [D("-53.385")]
    await store.close()


def raising(
    kind: AlarmKind, about: object = "", text: str = "see", **changes: object
) -> StepFunction:
    """Return a step that raises an alarm."""

    def step(cycle: Cycle) -> Step:
        after = replace(cycle, **changes)  # type: ignore[arg-type]  # a builder's shorthand
        after = after.with_alarm(kind, f"see {about}", START_MS + 5, about=about)
        return Step(before=cycle, cycle=after, facts=())

    return step


class TestAlarms:
    async def test_of_a_kind_are_counted_in_one_until_it_is_settled(
        self, world: StoreWorld
    ) -> None:
        cycle = await begun(world.store)
        for about in (1, 2, 2):
            await world.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, about), lease=None)
        await world.store.update(cycle.cycle_id, raising(AlarmKind.FOREIGN), lease=None)
        foreign, margin = await world.other.raised_alarms(10)
        assert (margin.kind, margin.count, margin.text) == ("margin", 2, "see 2")
        assert (margin.symbol, margin.cycle_id) == ("BTCUSDT", cycle.cycle_id)
        assert (margin.severity, margin.raised_at_ms) == (Severity.WARNING, START_MS + 5)
        assert margin.action.startswith("Free margin")
        assert (foreign.kind, foreign.count) == ("foreign", 1)
        assert await world.other.raised_alarms(1) == (foreign,)
        assert await world.other.count_raised_alarms() == 2

    async def test_settled_are_gone_and_what_comes_anew_is_another(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        await world.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 1), lease=None)
        (alarm,) = await world.other.raised_alarms(10)
        assert await world.other.settle_alarms(alarm.alarm_id, by="ann") == 1
        assert await world.other.settle_alarms(alarm.alarm_id, by="ann") == 0
        assert await world.store.raised_alarms(10) == ()
        # The same cause is old news, another one is not.
        await world.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 1), lease=None)
        assert await world.store.raised_alarms(10) == ()
        await world.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 2), lease=None)
        (again,) = await world.store.raised_alarms(10)
        assert (again.alarm_id != alarm.alarm_id, again.count) == (True, 1)

    async def test_all_at_once(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        for kind in (AlarmKind.MARGIN, AlarmKind.FOREIGN):
            await world.store.update(cycle.cycle_id, raising(kind), lease=None)
        assert await world.other.settle_alarms(None, by="ann") == 2
        assert await world.store.count_raised_alarms() == 0

    async def test_the_end_settles_what_it_makes_pointless(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        for kind in (AlarmKind.MARGIN, AlarmKind.FOREIGN):
            await world.store.update(cycle.cycle_id, raising(kind), lease=None)
        end = raising(AlarmKind.LEFT_OVER, phase=Phase.ENDED, ended_at_ms=START_MS + 9)
        await world.store.update(cycle.cycle_id, end, lease=None)
        kinds = [alarm.kind for alarm in await world.other.raised_alarms(10)]
        assert kinds == ["left-over", "foreign"]

    async def test_are_remembered_by_their_cycle(self, world: StoreWorld) -> None:
        cycle = await begun(world.store)
        step = await world.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 1), lease=None)
        await world.store.settle_alarms(None, by="ann")
        assert await world.other.load(cycle.cycle_id) == step.cycle


class TestNotices:
    """What people hear of alarms: once for each that is new, after its commit."""

    async def test_of_new_alarms_once_committed(self, migrated_url: str) -> None:
        told = Told()
        notices = Notices([told])
        store = SqlCycleStore(make_engine(migrated_url), notices=notices)
        cycle = await begun(store)

        def failing(before: Cycle) -> Step:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.update(cycle.cycle_id, failing, lease=None)
        for about in (1, 2):  # the second is counted only
            await store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, about), lease=None)
        await store.settle_alarms(None, by="ann")
        await store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 3), lease=None)
        notices.close()
        assert told.titles == ["BTCUSDT: margin"] * 2
        first = told.wait()
        assert (first.kind, first.cycle, first.at_ms) == ("margin", "k1", START_MS + 5)
        await store.close()

    async def test_of_a_symbol_as_such(self, migrated_url: str) -> None:
        told = Told()
        notices = Notices([told])
        store = SqlCycleStore(make_engine(migrated_url), notices=notices)
        stopped = Alarm(kind=AlarmKind.SYMBOL_STOPPED, text="a bug", at_ms=START_MS)
        for symbol in ("AUSDT", "AUSDT", "BUSDT"):
            await store.raise_alarm(symbol, stopped)
        raised = await store.raised_alarms(10)
        assert [(a.symbol, a.cycle_id, a.count) for a in raised] == [
            ("BUSDT", None, 1),
            ("AUSDT", None, 2),
        ]
        notices.close()
        assert told.titles == ["AUSDT: symbol-stopped", "BUSDT: symbol-stopped"]
        assert told.wait().cycle is None
        await store.close()

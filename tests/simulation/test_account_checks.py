"""The checks of a whole account, in virtual time: their weight, and what they tell a person."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from core.account_checks import ACCOUNT_WEIGHT, WEIGHT_A_MINUTE, AccountChecks
from core.domain.alarms import Alarm, AlarmKind
from core.domain.cycle import Cycle
from core.engine import Desk, Surroundings
from core.ports import Lease
from paper.rules import BUILT_IN
from simulation.faults import Fault, FaultKind
from simulation.invariants import open_names
from simulation.loop import run
from tests.simulation.stage import SYMBOL, Market, Stage, alert

D = Decimal
NAMES = tuple(f"COIN{number:03}USDT" for number in range(200))
HOUR_S = 3_600


@dataclass(slots=True)
class Records:
    """What the checks write down."""

    market: Market
    checks: dict[str, bool] = field(default_factory=dict)
    alarms: list[tuple[str, Alarm]] = field(default_factory=list)

    async def record_checks(self, results: Mapping[Lease, bool]) -> tuple[Lease, ...]:
        self.checks |= {lease.symbol: is_good for lease, is_good in results.items()}
        return ()

    async def open_cycle(self, symbol: str) -> Cycle | None:
        return await self.market.store.open_cycle(symbol)

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        self.alarms.append((symbol, alarm))

    @property
    def told(self) -> list[tuple[str, AlarmKind]]:
        return [(symbol, alarm.kind) for symbol, alarm in self.alarms]


class Unchecked(Stage):
    """A stage whose desk is checked with the whole account, not by itself."""

    async def _watch(self) -> None:
        await asyncio.get_running_loop().create_future()


class Account:
    """An exchange of many symbols, a desk for each, and the checks of them all."""

    def __init__(self, *symbols: str) -> None:
        self.market = Market(*symbols)
        self.records = Records(self.market)
        self.unheard: set[str] = set()  # of these the streams tell nothing
        around = Surroundings(
            gateway=self.market.gateway, store=self.market.store, clock=self.market.clock
        )
        self.desks = {
            symbol: Desk(symbol, around, lease=Lease(symbol=symbol, owner="me", epoch=1))
            for symbol in symbols
        }
        self.checks = AccountChecks(
            gateway=self.market.gateway,
            store=self.records,
            clock=self.market.clock,
            desks=self.desks,
            is_heard=lambda symbol: symbol not in self.unheard,
        )

    async def enter(self, stack: AsyncExitStack, symbol: str, number: int) -> Stage:
        """Open a cycle on a symbol."""
        stage = Unchecked(alert(symbol=symbol), market=self.market, key=f"c{number:09}")
        await stack.enter_async_context(stage)
        await stage.enter("60000")
        stage.desk.lease = await self.market.store.acquire_lease(symbol, "me")
        self.desks[symbol] = stage.desk
        return stage

    async def weigh(self) -> Counter[str]:
        """Return what one round of checks weighs, by path."""
        before = len(self.market.gateway.sent)
        assert await self.checks.run()
        weights: Counter[str] = Counter()
        for call in self.market.gateway.sent[before:]:
            weights[call.path] += call.weight
        return weights


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Let the exchange list two hundred symbols."""
    for name in NAMES:
        monkeypatch.setitem(BUILT_IN, name, replace(BUILT_IN[SYMBOL], symbol=name))
    return NAMES


def test_two_hundred_symbols_with_forty_cycles_stay_within_the_budget(
    many: tuple[str, ...],
) -> None:
    async def main() -> tuple[list[Counter[str]], Account]:
        account = Account(*many)
        async with AsyncExitStack() as stack:
            for number, symbol in enumerate(many[:40]):
                await account.enter(stack, symbol, number)
            quiet = await account.weigh()
            account.market.world.funding(many[7], D("0.0001"), account.market.clock.now_ms())
            account.market.streams.pump()
            now_s = account.market.clock.now_ms() // 1000
            await asyncio.sleep(HOUR_S - now_s % HOUR_S + 130)  # a settlement, and its lag
            settled = await account.weigh()
            await asyncio.sleep(60)
            return [quiet, settled, await account.weigh()], account

    (quiet, settled, after), account = run(main())
    picture = {"positionRisk": 5, "openOrders": 40, "openAlgoOrders": 40}
    assert quiet == picture
    assert settled == picture | {"income": 30}, "funding is read once for all cycles"
    assert after == picture
    assert sum(picture.values()) == ACCOUNT_WEIGHT
    assert account.checks.apart_s * WEIGHT_A_MINUTE >= 60 * ACCOUNT_WEIGHT
    assert set(account.records.checks.values()) == {True}
    assert len(account.records.checks) == 200
    funded = account.desks[NAMES[7]].open_cycle
    assert funded is not None
    assert funded.funding == D("-0.024")


def test_a_position_that_nobody_opened_is_told_once_and_not_touched() -> None:
    async def main() -> Account:
        account = Account(SYMBOL)
        market = account.market
        market.streams.trade(SYMBOL, D(60000))
        market.world.outside_market(SYMBOL, "BUY", "LONG", D("0.02"), market.clock.now_ms())
        for wait in (0, 1, 60, 60):
            await asyncio.sleep(wait)
            assert await account.checks.run()
            if wait <= 1:
                assert account.records.alarms == [], "a cycle may be just beginning"
        assert market.world.position(SYMBOL, "LONG") == D("0.02")
        assert not any(call.changes for call in market.gateway.sent)
        return account

    records = run(main()).records
    assert records.told == [(SYMBOL, AlarmKind.UNCLAIMED)]
    assert records.alarms[0][1].text == "LONG 0.02, SHORT 0"
    assert records.checks == {SYMBOL: True}


def test_orders_with_our_names_that_no_cycle_knows_are_told_too() -> None:
    async def main() -> Account:
        account = Account(SYMBOL)
        async with Unchecked(alert(), market=account.market) as stage:
            await stage.enter("60000")
            stage.store._cycles.clear()  # a backup from before the cycle was restored
            stage.store._open.clear()
            for _ in range(3):
                await account.checks.run()
                await asyncio.sleep(60)
            assert len(open_names(stage.world, SYMBOL)) == 2
            assert stage.world.position(SYMBOL, "LONG") == D("0.004")
        return account

    ((_, alarm),) = run(main()).records.alarms
    assert alarm.text == (
        "LONG 0.004, SHORT 0, open orders with our names: tb-aaaaaaaaaa-lv1-1, tb-aaaaaaaaaa-tp0-1"
    )


def test_a_symbol_that_cannot_be_read_is_not_watched_and_told_when_it_lasts() -> None:
    async def main() -> Account:
        account = Account(SYMBOL, "ETHUSDT")
        bad = Fault(kind=FaultKind.ANSWERED, method="get", path="positionRisk", status=200,
                    body=b"[]", count=8)  # fmt: skip
        account.market.gateway.faults.add(bad)
        for minute in range(5):
            is_answered = await account.checks.run()
            assert is_answered is (minute == 4)
            assert set(account.records.checks.values()) == {is_answered}
            assert len(account.records.alarms) == (2 if minute >= 3 else 0)
            await asyncio.sleep(60)
        return account

    told = run(main()).records.told
    assert sorted(told) == [("BTCUSDT", AlarmKind.UNCHECKED), ("ETHUSDT", AlarmKind.UNCHECKED)]


def test_a_symbol_of_which_the_streams_tell_nothing_is_told_too_when_it_lasts() -> None:
    async def main() -> Account:
        account = Account(SYMBOL, "ETHUSDT")
        for hour in range(2):
            account.unheard = {"ETHUSDT"}
            for minute in range(5):
                assert await account.checks.run()
                assert account.records.checks == {SYMBOL: True, "ETHUSDT": False}
                assert len(account.records.alarms) == hour + (minute >= 3)
                await asyncio.sleep(60)
            account.unheard = set()
            assert await account.checks.run()
            assert account.records.checks == {SYMBOL: True, "ETHUSDT": True}
        return account

    for symbol, alarm in run(main()).records.alarms:
        assert (symbol, alarm.kind) == ("ETHUSDT", AlarmKind.UNCHECKED)
        assert alarm.text == "the streams tell nothing of it"


def test_one_way_mode_is_named(many: tuple[str, ...]) -> None:
    async def main(*symbols: str) -> Account:
        account = Account(*symbols)
        account.market.world.state.dual_side = False
        for _ in range(5):
            assert not await account.checks.run()
            await asyncio.sleep(60)
        return account

    for count in (2, 13):
        alarms = run(main(*many[:count])).records.alarms
        assert len(alarms) == count
        assert all("one-way mode" in alarm.text for _, alarm in alarms)

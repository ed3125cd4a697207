"""Accounts in virtual time: monitors with leases, frozen with requests in hand, and limits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from core.clients.memory_store import Moment as StoreMoment
from core.domain.cycle import Phase, Role
from core.domain.guards import NO_GUARDS, Guards
from core.domain.settings import Policy
from simulation import events as e
from simulation.account import Account, SharedStage
from simulation.account_player import AccountPlayer
from simulation.invariants import Broken
from simulation.loop import run
from simulation.run import ACCOUNT_EVERY, play_again, play_seed
from tests.simulation.stage import alert

D = Decimal
BTC, ETH = "BTCUSDT", "ETHUSDT"
SMALL = alert(extramarg=D(0), offset_short=None, sl_short=None)
BTC_PRICE, ETH_PRICE = D(60_000), D(3_000)


class Play:
    """An account, played by hand."""

    def __init__(self, account: Account, stages: list[SharedStage]) -> None:
        self.account = account
        self.player = AccountPlayer(account, stages)
        self.btc, self.eth = stages

    async def trade(self, price: Decimal, *, symbol: str = BTC) -> None:
        """Let the market trade."""
        trade = e.Trade(price=price, quantity=D(1_000_000))
        await self.player.play(e.On(symbol=symbol, event=trade))

    async def enter(self, *, symbol: str = BTC) -> None:
        """Let an alert come, and all come to rest."""
        amount = D("0.004") if symbol == BTC else D("0.08")
        settings = replace(SMALL, symbol=symbol, amount=amount)
        await self.player.play(e.On(symbol=symbol, event=e.Alert(settings=settings)))
        await self.wait(12)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self.player.play(e.Wait(ms=round(seconds * 1000)))

    def holder(self, symbol: str = BTC) -> int:
        """Return the number of the monitor that decides for the symbol."""
        holder = self.account.holder(symbol)
        assert holder is not None
        return self.account.monitors.index(holder)


@asynccontextmanager
async def _playing(guards: Guards, policy: Policy) -> AsyncIterator[Play]:
    async with AsyncExitStack() as stack:
        account = Account(BTC, ETH, monitors=2, guards=guards, policy=policy)
        stages = [SharedStage(symbol, account) for symbol in (BTC, ETH)]
        for stage in stages:
            await stack.enter_async_context(stage)
        stack.push_async_callback(account.clear_away)
        played = Play(account, stages)
        await played.trade(BTC_PRICE)
        await played.trade(ETH_PRICE, symbol=ETH)
        await played.wait(8)  # checked, so watched
        yield played


def play(
    story: Callable[[Play], Coroutine[object, object, None]],
    *,
    guards: Guards = NO_GUARDS,
    distance: str | None = None,
) -> None:
    """Play a story to its end, as every history's."""
    policy = Policy(min_liquidation_distance=None if distance is None else D(distance))

    async def main() -> None:
        async with _playing(guards, policy) as played:
            await story(played)
            await played.player.play(e.End())

    run(main())


def test_a_second_monitor_takes_over_once_the_lease_of_a_frozen_one_has_run_out() -> None:
    async def story(played: Play) -> None:
        await played.enter()
        first, steps = played.holder(), len(played.btc.steps)
        await played.player.play(e.Freeze(monitor=first, ms=40_000))
        await played.trade(D(59_700))  # level 1 fills, and nobody decides
        await played.wait(9)
        assert not played.btc.is_alive
        assert len(played.btc.steps) == steps
        await played.wait(12)
        assert played.holder() == 1 - first
        assert played.btc.cycle.long.quantity == D("0.010")
        await played.wait(30)
        assert played.holder() == 1 - first, "the first one waits now"

    play(story)


def test_what_a_frozen_monitor_had_in_hand_is_sent_by_the_one_that_took_over_and_not_again() -> (
    None
):
    async def story(played: Play) -> None:
        await played.enter()
        first = played.holder()
        await played.trade(D(59_700))
        in_hand: list[str] = []
        while not in_hand:
            await asyncio.sleep(0.001)
            in_hand = [o.client_order_id for o in played.btc.cycle.orders if o.is_in_flight]
        await played.player.play(e.Freeze(monitor=first, ms=40_000))
        await played.wait(60)
        orders = played.account.world.state.orders.values()
        for name in in_hand:
            assert sum(order.client_id == name for order in orders) == 1

    play(story)


def test_who_cannot_renew_holds_its_requests_back_until_it_can() -> None:
    async def story(played: Play) -> None:
        await played.enter()
        first = played.holder()
        played.account.freeze(played.account.monitors[1 - first], ms=60_000)
        failing = e.LoseDatabase(
            operation="renew_leases", count=3, moment=StoreMoment.BEFORE_COMMIT
        )
        await played.player.play(failing)
        await played.wait(14)  # of the three that fail, one would be due at 5, 10 and 15 s
        sent = sum(call.changes for call in played.account.gateway.sent)
        await played.trade(D(59_700))
        await played.wait(0.5)
        waiting = [o for o in played.btc.cycle.orders if o.role is Role.LEVEL and not o.is_over]
        assert sum(call.changes for call in played.account.gateway.sent) == sent
        assert [order.number for order in waiting] == [2], "wanted, and written down"
        await played.wait(12)
        assert sum(call.changes for call in played.account.gateway.sent) > sent

    play(story)


def test_with_the_clock_set_ahead_the_old_epoch_decides_nothing_more() -> None:
    async def story(played: Play) -> None:
        await played.enter()
        first = played.holder()
        await played.player.play(e.SetDatabaseClock(ms=3_600_000))
        await played.wait(4)
        assert played.holder() in (first, 1 - first)
        await played.trade(D(59_700))
        await played.wait(20)
        assert played.btc.cycle.long.quantity == D("0.010")
        await played.player.play(e.SetDatabaseClock(ms=-7_200_000))
        await played.wait(20)

    play(story)


@pytest.mark.parametrize(
    ("guards", "said"),
    [
        (Guards(max_open_cycles=1), "MAX_OPEN_CYCLES"),
        (Guards(max_total_notional=D(5_999)), "MAX_TOTAL_NOTIONAL"),
    ],
)
def test_what_is_open_on_one_symbol_counts_for_another(guards: Guards, said: str) -> None:
    async def story(played: Play) -> None:
        await played.enter()
        assert played.btc.cycle.phase is Phase.TRADING
        await played.enter(symbol=ETH)
        assert played.eth.newest is None
        assert any(said in line for line in played.account.told)

    play(story, guards=guards)


def test_the_kill_switch_is_thrown_while_alerts_are_under_way() -> None:
    async def story(played: Play) -> None:
        for symbol, amount in ((BTC, D("0.004")), (ETH, D("0.08"))):
            settings = replace(SMALL, symbol=symbol, amount=amount)
            await played.player.play(e.On(symbol=symbol, event=e.Alert(settings=settings)))
        await played.player.play(e.ThrowSwitch(is_on=True))
        await played.wait(12)
        assert played.btc.newest is None
        assert played.eth.newest is None
        await played.player.play(e.ThrowSwitch(is_on=False))
        await played.enter()
        assert played.btc.cycle.is_open

    play(story)


def test_a_limit_that_is_not_kept_is_found_as_the_cycle_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.clients.memory_store.guard_refusals", lambda *a, **k: ())

    async def story(played: Play) -> None:
        await played.enter()
        await played.enter(symbol=ETH)

    with pytest.raises(Broken, match="no cycle begins against a limit: ETHUSDT"):
        play(story, guards=Guards(max_open_cycles=1))


def test_an_account_from_a_file_is_the_same_history(tmp_path: Path) -> None:
    seed = 5 * ACCOUNT_EVERY
    drawn = play_seed(seed)
    assert len(drawn.history.symbols) >= 1
    e.save(drawn.history, tmp_path / "account.json")
    loaded = e.load(tmp_path / "account.json")
    assert loaded == drawn.history
    again = play_again(loaded)
    assert again.told == drawn.told
    assert not again.failure

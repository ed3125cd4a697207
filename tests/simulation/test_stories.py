"""Whole cycles in virtual time: each story and each race, told once without any disturbance."""

import asyncio
from decimal import Decimal

import pytest

from core.domain.cycle import CloseReason, Phase
from core.narration import net_pnl
from simulation.invariants import prove_ended, watch
from simulation.loop import run
from tests.simulation.stage import Market, Stage, alert
from tests.simulation.stories import RACES, STORIES, Story, play

D = Decimal
ALL = {**STORIES, **RACES}


@pytest.mark.parametrize("story", ALL.values(), ids=ALL.keys())
def test_it_ends_as_told_with_the_exchange_s_own_figures(story: Story) -> None:
    cycle = play(story).cycle
    assert (cycle.close_reason, net_pnl(cycle)) == (story.reason, D(story.net))


def test_the_worked_example_places_and_moves_just_these_orders() -> None:
    told = play(STORIES["whole grid, hedge, closed by net PNL"]).told
    assert [line.split("  (")[0] for line in told] == [
        "take-profit placed: SELL 0.004 at 60300",
        "level 1 placed: BUY 0.006 at 59700",
        "level 1 filled 0.006: LONG 0.01 at 59820, SHORT 0",
        "take-profit moved: SELL 0.01 at 60119.1",
        "level 2 placed: BUY 0.012 at 59103",
        "level 2 filled 0.012: LONG 0.022 at 59428.90909091, SHORT 0",
        "hedge 1 placed: SELL 0.103 at 57805",
        "level 3 placed: BUY 0.024 at 57920.9",
        "take-profit moved: SELL 0.022 at 59726.1",
        "level 3 filled 0.024: LONG 0.046 at 58642.12173913, SHORT 0",
        "take-profit moved: SELL 0.046 at 58935.4",
        "hedge 1 triggered",
        "hedge 1 filled 0.103: LONG 0.046 at 58642.12173913, SHORT 0.103 at 57805",
        "hedge stop-loss 1 placed: BUY all at 58094.1",
        "closing (pnl)",
        "take-profit cancelled",
        "close of SHORT placed: BUY 0.103 at market",
        "close of SHORT filled 0.103: LONG 0.046 at 58642.12173913, SHORT 0",
        "hedge stop-loss 1 ended by the exchange",
        "close of LONG placed: SELL 0.046 at market",
        "close of LONG filled 0.046: LONG 0, SHORT 0",
        "closed (pnl): realised 13.0774, fees 7.82751502, funding 0, net 5.24988498 USDT",
    ]


def test_the_same_story_is_told_the_same_way_every_time() -> None:
    story = RACES["both closes fill in parts"]
    assert play(story, seed=7).told == play(story, seed=7).told


def test_two_symbols_live_side_by_side_on_one_account() -> None:
    ether = alert(
        symbol="ETHUSDT", amount=D("0.1"), deposit=D(300), extramarg=D(0), offset_short=None
    )

    async def main() -> tuple[Stage, Stage]:
        market = Market("BTCUSDT", "ETHUSDT")
        async with (
            Stage(alert(), market=market) as btc,
            Stage(ether, market=market, key="bbbbbbbbbb") as eth,
        ):
            watch(btc)
            watch(eth)
            await asyncio.gather(btc.enter("60000"), eth.enter("3000"))
            await asyncio.gather(btc.walk("59700", "59103"), eth.walk("2985", "3000"))
            await asyncio.gather(btc.walk("59726.1"), eth.walk("2960", "2980", "2990", "3010"))
            await btc.finish()
            await eth.finish()
            prove_ended(btc)
            prove_ended(eth)
        return btc, eth

    btc, eth = run(main())
    assert net_pnl(btc.cycle) == D(STORIES["averaged, then the take-profit"].net)
    assert (eth.cycle.phase, eth.cycle.close_reason) == (Phase.ENDED, CloseReason.TAKE_PROFIT)


def test_a_second_cycle_on_the_symbol_follows_the_first_on_clean_ground() -> None:
    async def main() -> Stage:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.walk("60300")
            await stage.finish()
            prove_ended(stage)
            first = stage.cycle
            stage.key = "bbbbbbbbbb"
            await stage.enter("60300")
            assert stage.cycle.cycle_id != first.cycle_id
            await stage.walk("60601.5")
            await stage.settle()
            assert stage.cycle.phase is Phase.ENDED
        return stage

    assert run(main()).cycle.close_reason is CloseReason.TAKE_PROFIT

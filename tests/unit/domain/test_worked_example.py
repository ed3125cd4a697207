"""The strategy's worked example, digit for digit: BTCUSDT, entry of 0.004 filled at 60000.0."""

from decimal import Decimal

import pytest

from core.domain import thresholds
from core.domain.cycle import CloseReason, Phase
from core.domain.hedging import margin_left
from core.domain.strategy import band
from tests.builders import Story, dec


def test_the_ladder_hung_from_the_fill() -> None:
    grid = Story().entered().cycle.grid
    assert grid is not None
    assert [(lv.price, lv.quantity) for lv in grid.levels] == [
        (dec("59700.0"), dec("0.006")),
        (dec("59103.0"), dec("0.012")),
        (dec("57920.9"), dec("0.024")),
    ]
    assert grid.levels[2].exact_price == dec("57920.94")
    assert grid.total_notional == dec("2697.5376")
    assert (grid.hedge_trigger, grid.hedge_quantity) == (dec("57805.0"), dec("0.103"))


def test_what_rests_after_each_fill() -> None:
    story = Story().entered()
    assert story.open == {"take_profit": "0.004 @ 60300.0", "level 1": "0.006 @ 59700.0"}
    story.averaged(1)
    assert story.open == {"take_profit": "0.010 @ 60119.1", "level 2": "0.012 @ 59103.0"}
    story.averaged(2)
    assert story.open == {
        "take_profit": "0.022 @ 59726.1",
        "level 3": "0.024 @ 57920.9",
        "hedge 1": "0.103 @ 57805.0",
    }
    story.averaged(3)
    assert story.open == {"take_profit": "0.046 @ 58935.4", "hedge 1": "0.103 @ 57805.0"}


@pytest.mark.parametrize(
    ("levels", "entry"),
    [((), "60000"), ((1,), "59820"), ((1, 2), "59428.9090"), ((1, 2, 3), "58642.1217")],
)
def test_average_entry_after_each_level(levels: tuple[int, ...], entry: str) -> None:
    story = Story().entered().averaged(*levels)
    assert f"{story.cycle.long.entry:.12f}".startswith(entry)


def test_a_partly_filled_take_profit_keeps_its_total_and_a_level_adds_to_it() -> None:
    story = Story().entered().averaged(1).forget()
    story.fill("take_profit", quantity="0.003").settle()
    assert story.asked == []
    story.fill("level 2").settle()
    assert story.cycle.long.quantity == dec("0.019")
    assert story.open["take_profit"].startswith("0.022 @ ")


def test_the_hedge_and_the_price_at_which_the_whole_pays() -> None:
    cycle = Story().entered().averaged(1, 2, 3).fill("hedge 1", "57800.0").settle().cycle
    assert cycle.ledger.commissions == dec("3.58820752")
    assert thresholds.net_pnl_slope(cycle) == dec("-0.0571043")
    assert f"{thresholds.net_pnl(cycle, dec('56953.2')):.8f}" == "0.00157372"
    assert f"{thresholds.net_pnl(cycle, dec('56953.3')):.8f}" == "-0.00413671"


@pytest.mark.parametrize(("price", "phase"), [("56953.3", "trading"), ("56953.2", "closing")])
def test_the_cycle_closes_at_the_first_tick_that_pays(price: str, phase: str) -> None:
    story = Story().entered().hedged("57800.0")
    limits = band(story.cycle)
    assert limits.low is not None
    assert dec("56953.2") < limits.low < dec("56953.3")
    story.trade(price)
    assert story.cycle.phase == phase
    assert story.cycle.close_reason == (CloseReason.PNL if phase == "closing" else None)


def test_stopped_out_the_second_hedge_is_smaller_and_lower() -> None:
    story = Story().entered().hedged("57800.0")
    assert story.open["hedge_stop 1"] == "all @ 58089.0"
    story.fill("hedge_stop 1", "58090.0").settle()
    hedge = story.cycle.ledger.hedges[0]
    assert (hedge.realised, hedge.commissions) == (dec("-29.870"), dec("5.9683350"))
    assert margin_left(story.cycle) == dec("564.161665")
    assert story.open["hedge 2"] == "0.097 @ 57684.4"


TRAILING = [  # trade, S after it, the guard's place, phase
    ("60179.9", None, None, Phase.TRADING),
    ("60180", "60119.82", "60060.1", Phase.TRADING),
    ("60250", "60189.75", "60069.3", Phase.TRADING),
    ("60290", "60229.71", "60109.2", Phase.TRADING),
    ("60229.7", "60229.71", "60109.2", Phase.CLOSING),
]


def test_trailing_after_the_entry_alone() -> None:
    story = Story(trail_1="0.3", trail_2="0.1", trail_step="0.05").entered()
    assert f"{thresholds.long_break_even(story.cycle):.4f}" == "60060.0300"
    assert thresholds.activation_price(story.cycle) == dec("60180")
    for price, stop, guard, phase in TRAILING:
        story.trade(price)
        expected = None if stop is None else Decimal(stop)
        assert story.cycle.trailing_stop == expected, price
        assert thresholds.guard_price(story.cycle) == (guard and Decimal(guard)), price
        assert story.cycle.phase is phase, price
    assert story.cycle.close_reason is CloseReason.TRAILING

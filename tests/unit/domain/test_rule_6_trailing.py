"""Rule 6: trailing the LONG side, with a guard on the exchange."""

from typing import Any

import pytest

from core.domain.cycle import (
    CloseReason,
    OperatorAction,
    OrderMissing,
    Phase,
    PriceSeen,
    ReportedStatus,
)
from core.domain.strategy import band
from tests.builders import T0, Story, dec


def trailing(**settings: Any) -> Story:
    """Return the worked example's trailing story, its entry filled."""
    asked = {"trail_1": "0.3", "trail_2": "0.1", "trail_step": "0.05", **settings}
    return Story(**asked).entered()


class TestStarting:
    def test_at_the_activation_price_the_take_profit_goes_and_the_guard_comes(self) -> None:
        story = trailing().forget().trade("60180")
        assert story.asked == ["cancel take_profit", "place guard all @ 60060.1"]
        assert story.settle().open["guard"] == "all @ 60060.1"
        assert "take_profit" not in story.open

    def test_not_below_it(self) -> None:
        assert trailing().trade("60179.9").cycle.trailing_stop is None

    def test_not_while_the_stop_would_lie_below_the_break_even(self) -> None:
        story = trailing(trail_1="0.1", trail_2="0.1").trade("60120")  # S would be 60059.88
        assert story.cycle.trailing_stop is None
        assert story.trade("60120.2").cycle.trailing_stop == dec("60060.0798")

    @pytest.mark.parametrize("settings", [{"trail_1": "0"}, {"trail_1": "0.6"}])
    def test_off_or_beyond_the_take_profit_never(self, settings: dict[str, Any]) -> None:
        assert trailing(**settings).trade("60299.9").cycle.trailing_stop is None

    def test_levels_and_the_hedges_trigger_stay_in_place(self) -> None:
        story = trailing(grid_ahead=3).trade("60180").settle()
        assert {"level 1", "level 2", "level 3", "hedge 1"} <= set(story.open)

    def test_a_take_profit_that_fills_meanwhile_is_the_exit(self) -> None:
        story = trailing().trade("60180").fill("take_profit")
        assert story.cycle.close_reason is CloseReason.TAKE_PROFIT

    def test_a_take_profit_that_fills_in_part_meanwhile_leaves_the_rest_trailing(self) -> None:
        story = trailing().trade("60180").fill("take_profit", quantity="0.001")
        story.settle()
        assert story.cycle.trailing_stop == dec("60119.82")
        assert set(story.open) == {"guard", "level 1"}


class TestMoving:
    @pytest.mark.parametrize(
        ("price", "stop"),
        [
            ("60210.1", "60119.82"),  # S' = 60149.8899, below the step's 60149.87991? above: moves
            ("60210", "60119.82"),
            ("60250", "60189.75"),
        ],
    )
    def test_by_the_step_at_least(self, price: str, stop: str) -> None:
        expected = "60149.8899" if price == "60210.1" else stop
        assert trailing().trade("60180", price).cycle.trailing_stop == dec(expected)

    def test_the_trade_that_moves_it_is_not_tested_against_it(self) -> None:
        story = trailing(trail_2="0", trail_1="0.3").trade("60180", "60250")
        assert (story.cycle.phase, story.cycle.trailing_stop) == (Phase.TRADING, dec("60250"))

    def test_the_same_price_again_does_not_move_it_and_is_tested(self) -> None:
        story = trailing(trail_2="0", trail_step="0").trade("60180", "60180")
        assert story.cycle.close_reason is CloseReason.TRAILING

    def test_a_guard_that_was_sent_anew_counts_from_when_it_was_taken(self) -> None:
        story = trailing().trade("60180")
        story.answer(story.order("take_profit")).lose("guard").forget()
        name = story.order("guard").client_order_id
        for after_ms in (8_000, 9_000):  # proven absent
            asked_at_ms = T0 + after_ms
            story.now_ms = asked_at_ms
            story.tell(
                OrderMissing(at_ms=asked_at_ms, client_order_id=name, asked_at_ms=asked_at_ms)
            )
        story.answer(story.order("guard")).forget()
        story.trade("60400")
        assert story.asked == []
        assert story.steps[-1].wake_at_ms == T0 + 9_000 + 5_000

    def test_the_guard_follows_at_most_every_5_seconds(self) -> None:
        story = trailing().trade("60180").settle().forget()
        story.now_ms += 1_000
        story.trade("60250")
        assert story.asked == []
        assert story.steps[-1].wake_at_ms == story.order("guard").created_at_ms + 5_000
        story.now_ms += 3_000
        story.trade("60400")
        assert story.asked == []
        story.settle()
        assert story.asked == ["cancel guard", "place guard all @ 60218.9"]


class TestEnding:
    @pytest.mark.parametrize("price", ["60119.8", "60100", "60060.1"])
    def test_a_trade_at_the_stop_closes(self, price: str) -> None:
        story = trailing().trade("60180", price)
        assert story.cycle.close_reason is CloseReason.TRAILING

    def test_a_trade_above_it_does_nothing(self) -> None:
        assert trailing().trade("60180", "60119.9").cycle.phase is Phase.TRADING

    def test_a_gap_below_the_break_even_without_a_guard_goes_back_to_the_take_profit(self) -> None:
        story = trailing(trail_guard=False).trade("60180").settle().trade("60060.0").settle()
        assert (story.cycle.phase, story.cycle.trailing_stop) == (Phase.TRADING, None)
        assert story.open["take_profit"] == "0.004 @ 60300.0"

    def test_a_gap_below_a_guard_that_rests_is_the_guards(self) -> None:
        story = trailing().trade("60180").settle().trade("60000")
        assert story.cycle.trailing_stop is not None
        assert story.cycle.phase is Phase.TRADING
        story.fill("guard", "59990")
        assert story.cycle.close_reason is CloseReason.TRAILING

    def test_a_gap_below_a_guard_that_was_rejected_goes_back_to_the_take_profit(self) -> None:
        story = trailing().trade("60180").settle().trade("60000")
        story.end("guard", ReportedStatus.REJECTED).trade("60000").settle()
        assert story.open["take_profit"] == "0.004 @ 60300.0"

    def test_a_level_that_fills_ends_it(self) -> None:
        story = trailing().trade("60180").settle().fill("level 1").settle()
        assert story.cycle.trailing_stop is None
        assert story.open["take_profit"] == "0.010 @ 60119.1"
        assert "guard" not in story.open

    def test_a_part_sold_does_not(self) -> None:
        story = trailing(amount="0.007").trade("60180").settle()
        story.position("0.004")
        story.now_ms += 3_000
        story.position("0.004")
        assert story.cycle.long.quantity == dec("0.004")
        assert story.cycle.trailing_stop == dec("60119.82")

    def test_the_guard_and_the_trailing_close_together_end_well(self) -> None:
        story = trailing().trade("60180").settle().trade("60119.8").forget()
        assert story.order("close_long").is_in_flight
        story.fill("guard", "60060").refuse("close_long", -2022).settle()
        assert story.cycle.long.quantity == dec("0")
        assert story.proven_flat().cycle.phase is Phase.ENDED

    def test_the_guard_stays_while_the_cycle_closes(self) -> None:
        story = trailing().trade("60180").settle().trade("60119.8").forget().settle()
        assert "guard" in story.open
        assert story.fill("close_long", "60119").settle().open.get("guard") is None


class TestTheGuard:
    def test_none_if_not_asked_for(self) -> None:
        assert "guard" not in trailing(trail_guard=False).trade("60180").settle().open

    def test_it_lies_at_the_break_even_at_least(self) -> None:
        assert trailing().trade("60180").settle().open["guard"] == "all @ 60060.1"

    def test_its_trigger_passed_it_is_not_repeated_before_the_next_trade(self) -> None:
        story = trailing().trade("60180").refuse("guard", -2021).settle().forget()
        story.tell(PriceSeen(at_ms=story.now_ms, price=dec("60190"))).wait(60_000)
        assert story.asked == []
        limits = band(story.cycle)
        assert limits.low == limits.high == dec("60190")
        story.trade("60190")
        assert story.asked == ["place guard all @ 60060.1"]

    def test_above_the_market_it_waits_for_the_market(self) -> None:
        story = trailing().trade("60180").refuse("guard", -1111).forget()
        story.tell(PriceSeen(at_ms=story.now_ms, price=dec("60060.1"))).wait(1_000)
        assert [a for a in story.asked if "guard" in a] == []
        limits = band(story.cycle)
        assert limits.high is not None
        assert limits.high < dec("60060.2")
        story.tell(PriceSeen(at_ms=story.now_ms, price=dec("60150"))).wait(1_000)
        assert "place guard all @ 60060.1" in story.asked

    def test_above_the_market_one_that_rests_stays(self) -> None:
        story = trailing().trade("60180").settle().forget()
        story.tell(PriceSeen(at_ms=story.now_ms, price=dec("60060.1"))).settle()
        assert story.asked == []
        assert "guard" in story.open

    def test_if_it_fills_that_is_the_exit(self) -> None:
        story = trailing().trade("60180").settle().fill("guard", "60060")
        assert story.cycle.close_reason is CloseReason.TRAILING

    def test_busy_for_the_moment_it_is_repeated(self) -> None:
        story = trailing().trade("60180").refuse("guard", -1008).forget().wait(200)
        assert story.asked == ["place guard all @ 60060.1"]


def test_what_the_operator_sees() -> None:
    story = trailing()
    assert story.cycle.activation_price == dec("60180")
    assert story.cycle.old_activation_price is None
    story.averaged(1)
    assert story.cycle.activation_price == dec("59999.46")
    assert story.cycle.old_activation_price == dec("60180")


def test_a_long_that_the_operator_closes_does_not_trail() -> None:
    story = trailing().operator(OperatorAction.CLOSE_LONG).trade("60200")
    assert story.cycle.trailing_stop is None

"""Rule 3's guard: averaging stops where the exchange's liquidation price has come near."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.asks import Ask, ReadPosition, asks
from core.domain.cycle import OperatorAction, Phase
from core.domain.strategy import apply_all, band
from tests.builders import Story, dec

NOT_NEAR = ("50000", "0")  # 60000 is 16.67 % above it


def watched(distance: str | None = "10", **settings: Any) -> Story:
    """Return a story after its entry, the price at 60000, whose liquidation price is watched."""
    story = Story(min_liquidation_distance=distance, **settings).entered()
    return story.trade("60000")


def asks_for_it(story: Story) -> bool:
    return Ask(question=ReadPosition()) in asks(story.cycle)


class TestReading:
    """The exchange's price stands for what was held when it was read."""

    def test_it_is_asked_for_after_the_entry_and_not_again_once_it_is_known(self) -> None:
        story = watched()
        assert asks_for_it(story)
        assert not asks_for_it(story.position(liquidation=NOT_NEAR))

    def test_every_fill_makes_it_old(self) -> None:
        story = watched().position(liquidation=NOT_NEAR).averaged(1)
        assert asks_for_it(story)
        assert band(story.cycle).low == band(replace(story.cycle, liquidation=None)).low
        assert not asks_for_it(story.position(liquidation=NOT_NEAR))

    def test_without_a_limit_nothing_is_asked_or_kept(self) -> None:
        story = watched(None)
        assert not asks_for_it(story)
        assert story.position(liquidation=("59999", "0")).cycle.liquidation is None
        assert story.alarms == ()

    def test_without_a_price_it_waits_for_one(self) -> None:
        story = watched()
        story.cycle = replace(story.cycle, last_price=None)
        assert not asks_for_it(story)
        assert story.position(liquidation=NOT_NEAR).cycle.liquidation is None

    def test_hands_off_it_is_not_asked_for(self) -> None:
        story = watched().operator(OperatorAction.HANDS_OFF)
        assert not asks_for_it(story)
        story.position(liquidation=("59999", "0"))
        assert (story.alarms, story.cycle.withdrawn) == ((), ())

    def test_while_closing_it_is_not_asked_for(self) -> None:
        assert not asks_for_it(watched().operator(OperatorAction.CLOSE))

    def test_where_there_is_none_nothing_is_near(self) -> None:
        story = watched().position().trade("1000")
        assert not asks_for_it(story)
        assert not story.cycle.is_near_liquidation


NEAR = {  # liquidation prices of LONG and SHORT, a price that is near, one that is not
    "below the market": (("50000", "0"), "55555.5", "55555.6"),
    "below the market, gapped through": (("50000", "0"), "49000", "55555.6"),
    "above the market": (("0", "70000"), "63636.4", "63636.3"),
    "one price for both sides": (("70000", "70000"), "63636.4", "63636.3"),
    "each side has its own: the lower": (("50000", "70000"), "55555.5", "55555.6"),
    "each side has its own: the upper": (("50000", "70000"), "63636.4", "63636.3"),
}


@pytest.mark.parametrize(("told", "near", "far"), NEAR.values(), ids=NEAR.keys())
class TestATrade:
    """10 % of the price: the liquidation price / 0.9 below the market, / 1.1 above it."""

    def story(self, told: tuple[str, str]) -> Story:
        # A take-profit far away and no hedge: nothing else happens between these prices.
        return watched(tp="30", extramarg="0").position(liquidation=told)

    def test_near_withdraws_what_is_not_filled_with_an_alarm(
        self, told: tuple[str, str], near: str, far: str
    ) -> None:
        story = self.story(told).forget().trade(near)
        assert story.alarms == ("near-liquidation",)
        assert story.cycle.withdrawn == (1, 2, 3)
        assert "cancel level 1" in story.asked
        assert story.cycle.phase is Phase.TRADING

    def test_far_does_nothing(self, told: tuple[str, str], near: str, far: str) -> None:
        story = self.story(told).trade(far)
        assert (story.alarms, story.cycle.withdrawn) == ((), ())

    def test_the_band_lets_it_through(self, told: tuple[str, str], near: str, far: str) -> None:
        story = self.story(told)
        limits = band(story.cycle)
        assert limits.low is None or limits.high is None or limits.low < limits.high
        is_dropped = (limits.low is None or dec(near) > limits.low) and (
            limits.high is None or dec(near) < limits.high
        )
        assert not is_dropped


class TestAfterwards:
    def near(self) -> Story:
        return watched().position(liquidation=("55000", "0"))

    def test_a_read_alone_shows_that_it_is_near(self) -> None:
        story = self.near()
        assert story.alarms == ("near-liquidation",)
        (alarm,) = story.cycle.alarms
        assert alarm.text == (
            "the price 60000 is within 10 % of the liquidation price 55000; levels 1, 2, 3 are "
            "withdrawn"
        )

    def test_the_exits_go_on_and_the_hedge_is_armed(self) -> None:
        story = self.near().settle()
        assert story.open == {"take_profit": "0.004 @ 60300.0", "hedge 1": "0.103 @ 57805.0"}

    def test_it_is_told_once_while_it_stays_near(self) -> None:
        story = self.near().position(liquidation=("55001", "0")).trade("59000")
        assert story.alarms == ("near-liquidation",)

    def test_it_is_told_again_when_it_comes_back(self) -> None:
        story = self.near().position(liquidation=NOT_NEAR)
        assert not story.cycle.is_near_liquidation
        story.position(liquidation=("55000", "0"))
        assert story.alarms == ("near-liquidation", "near-liquidation-1")
        assert story.cycle.alarms[-1].text.endswith("of the liquidation price 55000")

    def test_what_was_withdrawn_stays_so(self) -> None:
        story = self.near().position(liquidation=NOT_NEAR).settle()
        assert story.cycle.withdrawn == (1, 2, 3)

    def test_it_bounds_the_band_no_more(self) -> None:
        story = self.near()
        assert band(story.cycle) == band(replace(story.cycle, liquidation=None))

    def test_the_journal_gives_it_again(self) -> None:
        story = self.near().settle()
        facts = tuple(fact for step in story.steps for fact in step.facts)
        assert apply_all(story.steps[0].before, facts) == story.cycle

"""Rule 3: the first `grid_ahead` levels, in order, that are neither filled nor withdrawn."""

import pytest

from core.domain.cycle import MarkRead, OperatorAction, ReportedStatus, RulesRead
from core.domain.levels import levels_left
from tests.builders import T0, Story, btc_rules, dec


def levels(story: Story) -> dict[str, str]:
    return {name: text for name, text in story.open.items() if name.startswith("level")}


@pytest.mark.parametrize(
    ("ahead", "filled", "rest"),
    [
        (1, (), [1]),
        (2, (), [1, 2]),
        (2, (1,), [2, 3]),
        (2, (1, 2), [3]),
        (2, (2,), [1, 3]),
        (100, (), [1, 2, 3]),
        (1, (1, 2, 3), []),
    ],
)
def test_which_levels_rest(ahead: int, filled: tuple[int, ...], rest: list[int]) -> None:
    story = Story(grid_ahead=ahead).entered().averaged(*filled)
    assert list(levels(story)) == [f"level {number}" for number in rest]


def test_without_levels_only_take_profit_and_hedge_rest() -> None:
    story = Story(grid_long="", mg_long="").entered()
    assert story.open == {"take_profit": "0.004 @ 60300.0", "hedge 1": "0.100 @ 59880.0"}


def test_no_level_before_the_entry_is_over() -> None:
    story = Story().fill("entry", "60000", "0.003").settle()
    assert levels(story) == {}


def test_a_level_cancelled_by_a_person_is_withdrawn_and_the_next_one_rests() -> None:
    story = Story().entered().end("level 1", ReportedStatus.CANCELED).settle()
    assert levels(story) == {"level 2": "0.012 @ 59103.0"}
    assert story.cycle.withdrawn == (1,)
    assert story.alarms == ("cancelled-tb-c1-lv1-1",)


def test_a_level_ended_by_the_exchange_is_placed_again_three_times_in_a_row_at_most() -> None:
    story = Story().entered()
    for attempt in (1, 2):
        story.end("level 1", ReportedStatus.EXPIRED).settle()
        assert story.order("level 1").attempt == attempt + 1
    story.end("level 1", ReportedStatus.EXPIRED).settle()
    assert levels(story) == {"level 2": "0.012 @ 59103.0"}
    assert story.alarms == ("withdrawn-1",)


def test_what_a_level_had_bought_before_it_ended_is_not_bought_again() -> None:
    story = Story().entered().fill("level 1", quantity="0.002")
    story.end("level 1", ReportedStatus.EXPIRED).settle()
    assert levels(story) == {"level 1": "0.004 @ 59700.0"}
    story.averaged(1)
    assert levels(story) == {"level 2": "0.012 @ 59103.0"}
    assert story.cycle.long.quantity == dec("0.010")


def test_the_first_trade_at_h1_withdraws_the_levels_that_wait_and_no_other() -> None:
    story = Story().entered().trade("57805.1")
    assert levels_left(story.cycle) == (1, 2, 3)
    story.trade("57805.0")
    assert levels_left(story.cycle) == (1,)
    assert story.cycle.withdrawn == (2, 3)
    assert story.settle().open["hedge 1"] == "0.103 @ 57805.0"


def test_a_gap_below_several_levels_and_h1_hedges_at_once() -> None:
    story = Story().entered().trade("57000").forget()
    story.refuse("hedge 1", -2021)
    assert story.asked == ["place hedge_market 1 0.103 @ MARKET"]
    story.fill("hedge_market 1", "57000").fill("level 1").settle()
    assert story.open == {"take_profit": "0.010 @ 60119.1", "hedge_stop 1": "all @ 57285.0"}


def test_a_level_refused_after_h1_was_passed_is_not_tried_again() -> None:
    story = Story().fill("entry", "60000").trade("57805.0")
    assert levels_left(story.cycle) == (1,)
    story.refuse("level 1", -2019)
    assert story.cycle.withdrawn == (1, 2, 3)


def test_without_a_possible_hedge_h1_means_nothing() -> None:
    story = Story(extramarg="0").entered().trade("50000")
    assert levels_left(story.cycle) == (1, 2, 3)


def test_h1_means_nothing_once_the_operator_wants_no_hedge() -> None:
    story = Story().entered().operator(OperatorAction.CLOSE_SHORT).trade("50000")
    assert levels_left(story.cycle) == (1, 2, 3)


def test_a_hedge_that_opens_withdraws_the_levels_that_wait() -> None:
    story = Story().entered().averaged(1, 2).fill("hedge 1", "57800", "0.001")
    assert levels_left(story.cycle) == (3,)  # it rests
    story.end("level 3", ReportedStatus.EXPIRED)
    assert levels_left(story.cycle) == ()


def test_refused_for_the_markets_bound_it_is_sent_at_the_bound() -> None:
    story = Story().fill("entry", "60000").refuse("level 1", -4016)
    assert story.settle().open["level 1"] == "0.006 @ 59700.0"
    story = Story().fill("entry", "60000").refuse("level 1", -4016).forget()
    story.tell(MarkRead(at_ms=T0, price=dec("56000.07"))).wait(200)
    assert "place level 1 0.006 @ 58800.0" in story.asked
    story.fill("level 1", "56000").settle()
    assert story.cycle.mark_price is None  # level 2 is tried at its own price again
    assert story.open["level 2"] == "0.012 @ 59103.0"


class TestRefused:
    def test_for_margin_it_is_tried_every_30_seconds_and_reported_once(self) -> None:
        story = Story().fill("entry", "60000").refuse("level 1", -2019).forget()
        for waited in (30_000, 60_000):
            story.now_ms = T0 + waited - 1
            story.tell()
            assert not story.order("level 1").is_in_flight
            story.now_ms = T0 + waited
            story.tell()
            story.refuse("level 1", -2019)
        assert story.alarms == ("margin-1",)

    def test_for_margin_it_is_tried_at_every_fill(self) -> None:
        story = Story().fill("entry", "60000").settle()
        story.fill("level 1").refuse("level 2", -2027).forget()
        story.answer(story.order("take_profit")).fill("take_profit", quantity="0.001")
        assert story.order("level 2").is_in_flight

    def test_for_good_the_filters_are_refreshed_and_it_is_tried_once_more(self) -> None:
        story = Story().fill("entry", "60000").refuse("level 1", -4014).forget()
        assert story.cycle.rules_are_stale
        assert story.asked == []
        story.tell(RulesRead(at_ms=T0, rules=btc_rules(tick_size="7", step_size="0.005")))
        assert story.asked == ["place level 1 0.005 @ 59696"]
        story.refuse("level 1", -4014)
        assert story.cycle.withdrawn == (1,)
        assert "withdrawn-1" in story.alarms

    def test_refreshed_filters_that_do_not_come_hold_nothing_up_for_long(self) -> None:
        story = Story().fill("entry", "60000").refuse("level 1", -4014).forget().wait(5_000)
        assert story.asked == ["place level 1 0.006 @ 59700.0"]

    def test_for_the_moment_it_is_tried_later_and_later(self) -> None:
        story = Story().fill("entry", "60000")
        for pause in (200, 400, 800, 1_600, 3_200, 5_000, 5_000):
            story.refuse("level 1", -1008)
            assert story.order("level 1").retry_at_ms == story.now_ms + pause
            story.wait(pause)
        assert story.order("level 1").attempt == 1

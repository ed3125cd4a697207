"""Rule 5: the stop-loss of an open SHORT."""

from dataclasses import replace

import pytest

from core.domain.cycle import EndedBy, OperatorAction, Phase, ReportedStatus
from tests.builders import Story, dec


def stops(story: Story) -> dict[str, str]:
    return {name: text for name, text in story.open.items() if name.startswith("hedge_stop")}


def opened(quantity: str = "0.05", price: str = "57800") -> Story:
    """Return a story whose hedge has just begun to fill."""
    return Story().entered().averaged(1, 2).forget().fill("hedge 1", price, quantity)


def test_it_is_placed_on_the_hedges_first_fill() -> None:
    assert "place hedge_stop 1 all @ 58089.0" in opened("0.001").asked


def test_it_stays_while_the_hedge_is_filling() -> None:
    story = opened().settle().forget().fill("hedge 1", "57000", "0.05").settle()
    assert story.asked == []
    assert stops(story) == {"hedge_stop 1": "all @ 58089.0"}


def test_it_is_replaced_if_the_completed_hedge_asks_for_another_trigger() -> None:
    story = opened().settle().forget().fill("hedge 1", "57000")
    assert story.asked == ["cancel hedge_stop 1"]
    story.answer(story.order("hedge_stop 1"))
    assert story.asked[1:] == ["place hedge_stop 1 all @ 57675.3"]
    assert story.settle().order("hedge_stop 1").attempt == 2


def test_it_stays_if_the_completed_hedge_asks_for_the_same() -> None:
    story = opened().settle().forget().fill("hedge 1", "57800").settle()
    assert story.asked == []


class TestWhileNoneRests:
    def test_a_trade_at_its_trigger_closes_short_by_market(self) -> None:
        story = opened().refuse("hedge_stop 1", -1111).forget().trade("58088.9")
        assert story.asked == []
        story.trade("58089.0")
        assert story.asked == ["place hedge_stop_market 1 0.050 @ MARKET"]

    def test_its_trigger_passed_short_is_closed_by_market_at_once(self) -> None:
        story = opened().forget().refuse("hedge_stop 1", -2021)
        assert story.asked == ["place hedge_stop_market 1 0.050 @ MARKET"]

    def test_that_close_counts_as_stopped_out(self) -> None:
        story = Story().entered().averaged(1, 2).fill("hedge 1", "57800")
        story.refuse("hedge_stop 1", -2021).fill("hedge_stop_market 1", "58095").settle()
        assert list(stops(story)) == []
        assert "hedge 2" in story.open
        assert not story.cycle.short_stop_due

    def test_a_trade_below_its_trigger_closes_nothing(self) -> None:
        story = opened().forget().trade("58088.9")
        assert not story.cycle.short_stop_due

    def test_one_on_its_way_comes_to_rest_beside_the_close(self) -> None:
        story = opened().trade("58089.0")
        story.answer(story.order("hedge_stop 1"))
        assert stops(story) == {
            "hedge_stop 1": "all @ 58089.0",
        }
        assert story.order("hedge_stop_market 1").is_in_flight


def test_while_it_rests_a_trade_above_it_is_left_to_the_exchange() -> None:
    story = opened().settle().forget().trade("58200")
    assert story.asked == []
    assert not story.cycle.short_stop_due


def test_an_earlier_hedges_stop_goes_before_the_next_hedges_is_placed() -> None:
    story = Story().entered().hedged()
    # The first hedge is closed by a person, the exchange's news of its stop are late.
    story.position(short="0")
    story.now_ms += 3_000
    story.position(short="0").operator(OperatorAction.ALLOW_HEDGES)
    story.answer(story.order("hedge 2")).forget()
    story.fill("hedge 2", "57000")
    assert story.asked == []  # its cancellation is under way
    story.answer(story.order("hedge_stop 1"))
    assert story.asked == ["place hedge_stop 2 all @ 57285.0"]


def test_without_sl_short_a_persons_short_raises_an_alarm_and_has_no_stop() -> None:
    story = Story(extramarg="0", sl_short=None).entered().position(short="0.01")
    story.now_ms += 3_000
    story.position(short="0.01").settle()
    assert stops(story) == {}
    assert "short-without-stop" in story.alarms


def test_a_stop_whose_settings_are_gone_is_kept() -> None:
    story = opened().settle()
    story.cycle = replace(story.cycle, settings=replace(story.cycle.settings, sl_short=None))
    assert story.tell().asked[-1] == "place hedge_stop 1 all @ 58089.0"
    assert stops(story) == {"hedge_stop 1": "all @ 58089.0"}


@pytest.mark.parametrize("status", [ReportedStatus.CANCELED, ReportedStatus.EXPIRED])
def test_ended_by_others_it_is_placed_again(status: ReportedStatus) -> None:
    story = opened().settle().end("hedge_stop 1", status).settle()
    assert stops(story) == {"hedge_stop 1": "all @ 58089.0"}
    assert story.order("hedge_stop 1").attempt == 2


def test_one_that_goes_with_its_side_was_nobodys_doing() -> None:
    story = Story().entered().hedged().operator(OperatorAction.HANDS_OFF).position(short="0")
    story.now_ms += 3_000
    story.position(short="0").end("hedge_stop 1", ReportedStatus.CANCELED)
    assert story.order("hedge_stop 1").ended_by is EndedBy.EXCHANGE
    assert not [key for key in story.alarms if key.startswith("cancelled-")]


def test_ended_by_the_exchange_three_times_it_is_placed_later_and_later_without_end() -> None:
    story = opened().settle()
    pauses: list[int] = []
    for _ in range(6):
        before = story.now_ms
        story.end("hedge_stop 1", ReportedStatus.EXPIRED).settle()
        pauses.append(story.now_ms - before)
    assert pauses == [0, 0, 1_000, 2_000, 4_000, 8_000]
    assert "ended-hedge_stop-1" in story.alarms


class TestNoSlotForIt:
    def test_it_takes_the_guards(self) -> None:
        story = Story(trail_1="0.3", trail_2="0.1").entered().trade("60290").settle()
        assert "guard" in story.open
        story.position(short="0.01")
        story.now_ms += 3_000
        story.position(short="0.01", entry="59000").forget().refuse("hedge_stop", -4045)
        assert story.asked == ["cancel guard"]
        story.settle()
        assert stops(story) == {"hedge_stop": "all @ 59295.0"}
        assert not story.cycle.stop_needs_slot


def test_stop_loss_and_net_pnl_close_together_send_one_order() -> None:
    story = opened("0.103").forget().refuse("hedge_stop 1", -2021).trade("56000")
    assert story.cycle.phase is Phase.CLOSING
    closes = [text for text in story.asked if "SHORT" in text or "_short" in text or "stop" in text]
    assert closes == ["place hedge_stop_market 1 0.103 @ MARKET"]


def test_the_operators_close_replaces_the_stop_losss_own() -> None:
    story = (
        opened("0.103").operator(OperatorAction.CLOSE_SHORT).forget().refuse("hedge_stop 1", -2021)
    )
    assert story.asked == []
    assert story.order("close_short 1").is_in_flight
    story.fill("close_short 1", "57900").settle()
    assert story.cycle.short.quantity == dec("0")

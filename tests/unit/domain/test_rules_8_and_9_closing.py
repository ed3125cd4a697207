"""Rules 8 and 9: LONG = 0 for whatever reason, and the closing phase."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.asks import ReadMark, asks
from core.domain.cycle import (
    CloseReason,
    EndedBy,
    FillsRead,
    FundingPaid,
    Kind,
    MarkRead,
    OperatorAction,
    OrderReported,
    Phase,
    PositionSide,
    ReportedStatus,
    Role,
    Side,
    TradePrice,
)
from core.domain.rules import wanted
from core.domain.wishes import close_failures
from tests.builders import Story, a_fill, btc_rules, dec


def by_foreign(story: Story, name: str, quantity: str, **changes: object) -> Story:
    """Let an order that is not ours sell LONG; its fill is told with it."""
    fill = a_fill(900, name, quantity, "59900", side=Side.SELL, time_ms=story.now_ms)
    fields: dict[str, object] = {
        "at_ms": story.now_ms,
        "client_order_id": name,
        "status": ReportedStatus.FILLED,
        "side": Side.SELL,
        "position_side": PositionSide.LONG,
        "kind": Kind.MARKET,
        "price": None,
        "quantity": dec(quantity),
        "executed": dec(quantity),
        "average_price": dec("59900"),
        "fill": fill,
    }
    return story.tell(OrderReported(**(fields | changes)))  # type: ignore[arg-type] # a builder


def closing(**settings: Any) -> Story:
    """Return a hedged story that the operator has just closed."""
    return Story(**settings).entered().hedged().forget().operator(OperatorAction.CLOSE)


class TestLongIsGone:
    @pytest.mark.parametrize(
        ("closed_by", "reason"),
        [
            ("web_123", CloseReason.OUTSIDE),
            ("settlement_autoclose-1", CloseReason.OUTSIDE),
            ("adl_autoclose", CloseReason.ADL),
            ("adl_autoclose-77", CloseReason.ADL),
            ("autoclose-1790000000", CloseReason.LIQUIDATION),
        ],
    )
    def test_by_others(self, closed_by: str, reason: CloseReason) -> None:
        story = by_foreign(Story().entered(), closed_by, "0.004")
        assert story.cycle.close_reason is reason
        assert {"cancel take_profit", "cancel level 1"} <= set(story.asked)

    def test_by_the_take_profit(self) -> None:
        story = Story().entered().fill("take_profit")
        assert story.cycle.close_reason is CloseReason.TAKE_PROFIT

    def test_by_something_that_nobody_could_show(self) -> None:
        story = Story().entered().position("0")
        story.now_ms += 3_000
        assert story.position("0").cycle.close_reason is CloseReason.OUTSIDE

    def test_nothing_is_bought_or_hedged_any_more(self) -> None:
        story = Story().entered().averaged(1, 2).fill("take_profit").settle()
        assert story.open == {}
        assert story.proven_flat().cycle.phase is Phase.ENDED


class TestClosing:
    def test_only_the_protection_stays_until_flat(self) -> None:
        story = closing()
        assert story.asked == ["cancel take_profit", "place close_short 1 0.103 @ MARKET"]
        story.settle()
        assert story.open == {
            "hedge_stop 1": "all @ 58089.0",
            "close_short 1": "0.103",
            "close_long": "0.046",
        }

    def test_long_waits_for_the_orders_that_reserve_it(self) -> None:
        story = closing()
        assert "place close_long 0.046 @ MARKET" not in story.asked
        story.answer(story.order("take_profit"))
        assert "place close_long 0.046 @ MARKET" in story.asked

    def test_a_take_profit_of_which_nothing_is_known_is_not_waited_for(self) -> None:
        story = Story().fill("entry", "60000").lose("take_profit").operator(OperatorAction.CLOSE)
        assert "place close_long 0.004 @ MARKET" in story.asked

    def test_a_take_profit_that_was_never_placed_is_not_waited_for(self) -> None:
        story = Story().fill("entry", "60000").refuse("take_profit", -1008)
        story.operator(OperatorAction.CLOSE)
        assert "place close_long 0.004 @ MARKET" in story.asked
        assert story.order("take_profit").ended_by is EndedBy.WITHDRAWN

    def test_a_level_that_fills_meanwhile_is_closed_too(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE).fill("level 1").settle()
        story.fill("close_long", "59800")
        if story.cycle.long.quantity:
            story.settle().fill("close_long", "59800")
        assert story.cycle.long.quantity == dec("0")
        assert story.settle().proven_flat().cycle.phase is Phase.ENDED

    def test_it_is_split_by_what_one_market_order_may_carry_again_until_flat(self) -> None:
        story = Story(rules=btc_rules(market_max_quantity="0.02"), extramarg="0")
        story.entered().averaged(1, 2, 3).operator(OperatorAction.CLOSE).forget().settle()
        parts: list[str] = []
        while story.cycle.long.quantity:
            parts.append(story.open["close_long"])
            story.fill("close_long", "57900").settle()
        assert parts == ["0.020", "0.020", "0.006"]

    def test_a_part_that_filled_is_no_failure(self) -> None:
        story = Story(rules=btc_rules(market_max_quantity="0.003"), extramarg="0").entered()
        story.operator(OperatorAction.CLOSE).settle().fill("close_long", "60000")
        assert story.order("close_long").attempt == 2
        assert close_failures(story.cycle, Role.CLOSE_LONG, 0) == 0

    def test_a_market_order_on_its_way_is_not_cancelled_it_ends_by_itself(self) -> None:
        story = Story().fill("entry", "60000", "0.002").settle().forget()
        story.operator(OperatorAction.CLOSE)
        assert story.asked == ["cancel take_profit"]
        story.end("entry", ReportedStatus.EXPIRED).settle()
        assert story.open == {"close_long": "0.002"}

    def test_the_first_reason_stands(self) -> None:
        story = closing().operator(OperatorAction.SIGNAL_CLOSE)
        assert story.cycle.close_reason is CloseReason.OPERATOR

    def test_a_signal_closes_as_such(self) -> None:
        story = Story().entered().operator(OperatorAction.SIGNAL_CLOSE)
        assert story.cycle.close_reason is CloseReason.SIGNAL

    def test_trades_change_nothing_any_more_but_the_last_price(self) -> None:
        story = closing()
        before = story.cycle
        story.tell(TradePrice(at_ms=story.now_ms, price=dec("1")))
        assert replace(story.cycle, last_price=None) == replace(before, last_price=None)

    def test_a_stop_on_its_way_is_kept(self) -> None:
        story = Story().entered().averaged(1, 2).fill("hedge 1", "57800")
        story.operator(OperatorAction.CLOSE)
        story.answer(story.order("hedge_stop 1"))
        assert "hedge_stop 1" in story.open
        assert "cancel hedge_stop 1" not in story.asked


class TestNoCounterparty:
    def test_an_expired_remainder_goes_by_limit_at_the_bound(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE).settle().forget()
        story.fill("close_long", "59900", "0.001").end("close_long", ReportedStatus.EXPIRED)
        story.tell(MarkRead(at_ms=story.now_ms, price=dec("59800.03"))).wait(199)
        assert story.asked == []  # a book this thin is not hit again and again without a pause
        story.wait(1)
        assert story.asked == ["place close_long 0.003 @ 56810.1"]
        assert story.order("close_long").kind is Kind.LIMIT_IOC

    def test_a_bound_for_each_try_is_read_in_time(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE).settle()
        story.end("close_long", ReportedStatus.EXPIRED)
        ask = next(a for a in asks(story.cycle) if isinstance(a.question, ReadMark))
        assert ask.every_ms <= 200  # the first pause of rule 9

    def test_short_is_bought_at_the_upper_bound(self) -> None:
        story = closing().refuse("close_short 1", -4131).forget()
        story.tell(MarkRead(at_ms=story.now_ms, price=dec("57800.03"))).wait(200)
        assert "place close_short 1 0.103 @ 60690.0" in story.asked

    def test_later_and_later_without_end_with_an_alarm_after_three(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE).settle()
        pauses: list[int] = []
        for _ in range(8):
            before = story.now_ms
            story.end("close_long", ReportedStatus.EXPIRED).settle()
            pauses.append(story.now_ms - before)
        assert pauses == [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]
        assert "ended-close_long-0" in story.alarms

    def test_refused_again_and_again_it_is_the_same_with_an_alarm_after_three(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE)
        story.answer(story.order("take_profit"))
        for refused in (1, 2, 3):
            story.refuse("close_long", -4131)
            assert any(key.startswith("refused-") for key in story.alarms) is (refused == 3)
            story.wait(5_000)

    def test_quantity_reserved_by_a_resting_order_is_tried_again(self) -> None:
        story = Story().entered().operator(OperatorAction.CLOSE)
        story.answer(story.order("take_profit")).refuse("close_long", -2022).forget().wait(200)
        assert "place close_long 0.004 @ MARKET" in story.asked


class TestForeignOrders:
    @pytest.mark.parametrize(
        ("side", "position_side"),
        [
            (Side.BUY, PositionSide.LONG),
            (Side.SELL, PositionSide.LONG),
            (Side.SELL, PositionSide.SHORT),
        ],
    )
    def test_they_are_left_alone_while_the_cycle_trades_and_cancelled_when_it_closes(
        self, side: Side, position_side: PositionSide
    ) -> None:
        story = Story().entered()
        for name in ("web_1", "web_2"):
            by_foreign(
                story,
                name,
                "0.001",
                status=ReportedStatus.OPEN,
                side=side,
                position_side=position_side,
                kind=Kind.LIMIT,
                price=dec("61000"),
                executed=dec("0"),
                fill=None,
            )
        story.settle()
        assert {"foreign 1", "foreign 2"} <= set(story.open)
        story.operator(OperatorAction.CLOSE)
        assert {"cancel foreign 1", "cancel foreign 2"} <= set(story.asked)

    def test_one_that_is_over_and_did_nothing_is_no_news(self) -> None:
        story = Story().entered()
        before = story.cycle
        by_foreign(
            story, "web_1", "0.001", status=ReportedStatus.CANCELED, executed=dec("0"), fill=None
        )
        assert story.cycle == before


class TestOneSide:
    def test_long_alone_takes_back_what_reserves_it_and_rule_8_closes_the_rest(self) -> None:
        story = Story().entered().hedged().forget().operator(OperatorAction.CLOSE_LONG)
        assert story.asked == ["cancel take_profit"]
        story.answer(story.order("take_profit")).fill("close_long", "57900")
        assert story.cycle.close_reason is CloseReason.OPERATOR
        assert "place close_short 1 0.103 @ MARKET" in story.asked

    def test_long_alone_before_the_entry_filled_is_not_forgotten(self) -> None:
        story = Story().operator(OperatorAction.CLOSE_LONG).fill("entry", "60000")
        assert story.asked == ["place close_long 0.004 @ MARKET"]
        story.fill("close_long", "60000")
        assert story.cycle.close_reason is CloseReason.OPERATOR
        assert story.settle().proven_flat().cycle.phase is Phase.ENDED

    def test_long_alone_before_the_entry_was_taken_sends_it_no_more(self) -> None:
        story = Story().refuse("entry", -1008).operator(OperatorAction.CLOSE_LONG).wait(5_000)
        assert story.asked == []
        assert story.proven_flat().cycle.close_reason is CloseReason.ENTRY_FAILED

    def test_long_alone_cancels_foreign_sells(self) -> None:
        story = Story().entered()
        for name, side in (("web_1", Side.SELL), ("web_2", Side.BUY)):
            by_foreign(
                story,
                name,
                "0.001",
                status=ReportedStatus.OPEN,
                side=side,
                kind=Kind.LIMIT,
                price=dec("61000"),
                executed=dec("0"),
                fill=None,
            )
        story.settle().forget().operator(OperatorAction.CLOSE_LONG)
        assert "cancel foreign 1" in story.asked
        assert "cancel foreign 2" not in story.asked

    def test_long_alone_cancels_levels_and_hedge_but_not_a_shorts_stop(self) -> None:
        story = Story().entered().averaged(1, 2).operator(OperatorAction.CLOSE_LONG)
        assert {"cancel level 3", "cancel hedge 1"} <= set(story.asked)

    def test_short_alone_leaves_long_as_it_is(self) -> None:
        story = Story().entered().hedged().forget().operator(OperatorAction.CLOSE_SHORT)
        assert story.asked == ["place close_short 1 0.103 @ MARKET"]
        story.fill("close_short 1", "57900").settle()
        assert story.open == {"take_profit": "0.046 @ 58935.4"}

    def test_a_side_that_is_flat_already_needs_nothing(self) -> None:
        story = Story().operator(OperatorAction.CLOSE_SHORT)
        assert not story.cycle.close_short_asked
        assert story.cycle.phase is Phase.ENTERING


class TestTheEnd:
    def flat(self) -> Story:
        return Story().entered().fill("take_profit").settle()

    def test_two_reads_at_least_2_seconds_apart(self) -> None:
        story = self.flat()
        story.now_ms += 10
        story.position("0", "0")
        story.now_ms += 1_999
        assert story.position("0", "0").cycle.phase is Phase.CLOSING
        story.now_ms += 1
        assert story.position("0", "0").cycle.phase is Phase.ENDED
        assert story.cycle.ended_at_ms == story.now_ms

    def test_not_before_every_order_is_over(self) -> None:
        story = Story().entered().fill("take_profit")
        story.now_ms += 10
        story.position("0", "0")
        story.now_ms += 3_000
        assert story.position("0", "0").cycle.phase is Phase.CLOSING

    def test_reads_requested_before_the_last_order_was_over_prove_nothing(self) -> None:
        story = self.flat()
        story.position("0", "0")  # in the same millisecond
        story.now_ms += 3_000
        assert story.position("0", "0").cycle.phase is Phase.CLOSING

    def test_a_read_in_between_that_shows_something_begins_anew(self) -> None:
        story = self.flat()
        story.now_ms += 10
        story.position("0", "0").position("0.001")
        story.now_ms += 2_500
        assert story.position("0", "0").cycle.phase is Phase.CLOSING

    def test_an_order_that_came_and_went_in_between_begins_it_anew(self) -> None:
        story = self.flat()
        story.now_ms += 10
        story.position("0", "0")
        story.now_ms += 1_000
        stray = {"kind": Kind.LIMIT, "price": dec("61000"), "executed": dec("0"), "fill": None}
        by_foreign(story, "web_1", "0.001", status=ReportedStatus.OPEN, **stray)
        story.settle()
        assert story.order("foreign 1").is_over
        story.now_ms += 2_000
        assert story.position("0", "0").cycle.phase is Phase.CLOSING
        story.now_ms += 2_000
        assert story.position("0", "0").cycle.phase is Phase.ENDED

    def test_less_than_a_step_left_over_ends_with_an_alarm(self) -> None:
        story = Story().entered()
        story.cycle = replace(story.cycle, rules=btc_rules(step_size="0.01"))
        story.operator(OperatorAction.CLOSE).settle()
        assert "close_long" not in story.open
        for _ in range(2):
            story.now_ms += 3_000
            story.position()
        assert (story.cycle.phase, story.alarms) == (Phase.ENDED, ("left-over",))

    def test_after_it_facts_change_nothing(self) -> None:
        story = self.flat().proven_flat()
        before = story.cycle
        story.tell(TradePrice(at_ms=1, price=dec("1"))).operator(OperatorAction.CLOSE)
        by_foreign(story, "web_1", "0.004", side=Side.BUY)
        assert story.cycle == before
        assert story.asked[-1:] != ["place close_long 0.004 @ MARKET"]

    def test_funding_booked_late_is_still_counted(self) -> None:
        story = self.flat().proven_flat()
        story.tell(FundingPaid(at_ms=1, transaction_id=7, amount=dec("-0.1")))
        assert (story.cycle.funding, story.cycle.phase) == (dec("-0.1"), Phase.ENDED)


class TestAfterTheEnd:
    def late_level(self, *, by_read: bool) -> Story:
        story = Story().entered().fill("take_profit").settle().proven_flat().forget()
        level = story.order("level 1")
        fill = a_fill(99, level.client_order_id, "0.006", "59700", time_ms=story.now_ms)
        if by_read:
            stranger = a_fill(100, "web_9", "1", "59700", time_ms=story.now_ms)
            return story.tell(FillsRead(at_ms=story.now_ms, fills=(fill, stranger)))
        return story.report(level, ReportedStatus.FILLED, executed=dec("0.006"), fill=fill)

    @pytest.mark.parametrize("by_read", [True, False])
    def test_a_late_fill_of_an_order_of_ours_is_closed_with_an_alarm(self, by_read: bool) -> None:
        story = self.late_level(by_read=by_read)
        assert story.cycle.phase is Phase.CLOSING
        assert story.asked == ["place close_long 0.006 @ MARKET"]
        assert story.alarms[-1].startswith("late-")
        story.fill("close_long", "59700")
        assert story.proven_flat().cycle.phase is Phase.ENDED

    def test_an_order_of_ours_that_lives_after_all_is_cancelled(self) -> None:
        story = Story().fill("entry", "60000").refuse("level 1", -1111).refuse("take_profit", -1008)
        story.operator(OperatorAction.CLOSE).fill("close_long", "60000").settle().proven_flat()
        assert story.cycle.ended_at_ms is not None
        story.report(story.order("level 1"), ReportedStatus.OPEN, price=dec("59700"))
        assert story.cycle.phase is Phase.CLOSING
        assert story.asked[-1] == "cancel level 1"

    def test_news_of_ours_that_bring_nothing_leave_it_ended(self) -> None:
        story = Story().entered().fill("take_profit").settle().proven_flat()
        story.report(story.order("level 1"), ReportedStatus.CANCELED)
        assert story.cycle.phase is Phase.ENDED


def test_an_ended_cycle_wants_nothing() -> None:
    story = Story().entered().operator(OperatorAction.CLOSE).settle()
    story.fill("close_long", "60000").settle().proven_flat()
    assert story.cycle.phase is Phase.ENDED
    assert wanted(story.cycle) == ()

"""Section 7: what a refusal means, by code and by role."""

import pytest

from core.domain.asks import (
    ReadBalance,
    ReadFills,
    ReadMark,
    ReadOpenOrders,
    ReadPosition,
    ReadRules,
    asks,
    unpriced_assets,
)
from core.domain.cycle import (
    AccountRefused,
    FillsRead,
    MarkRead,
    OperatorAction,
    OrderMissing,
    PositionSide,
    ReportedStatus,
    RulesRead,
    Side,
)
from core.domain.refusals import Refusal, refusal
from tests.builders import T0, Story, a_fill, btc_rules, dec

CODES = {
    Refusal.FOR_GOOD: (-1111, -4014, -4023, -4164, -1121, -1102, -9999, -418_000),
    Refusal.MARGIN: (-2019, -2027, -2018, -4050),
    Refusal.STOP_LIMIT: (-4045,),
    Refusal.PRICE_BOUND: (-4016, -4024, -4131),
    Refusal.MOMENT: (-1008, -503, -1015, -1003, -1001, -4117, -5043),
    Refusal.CLOCK: (-1021, -5028),
    Refusal.TRIGGER_PASSED: (-2021, -4142),
    Refusal.CLOSE_RESERVED: (-2022, -4118, -4130, -2024),
    Refusal.DUPLICATE: (-4116,),
    Refusal.UNKNOWN_ORDER: (-2011, -2013),
    Refusal.NO_CHANGE: (-5027,),
    Refusal.ACCOUNT: (-1022, -2014, -2015, -4061, -4109, -401, -403),
    Refusal.HALTED: (-4108, -4140, -4141, -5024),
}


@pytest.mark.parametrize(("why", "codes"), CODES.items(), ids=[str(why) for why in CODES])
def test_what_codes_mean(why: Refusal, codes: tuple[int, ...]) -> None:
    assert {refusal(code) for code in codes} == {why}


class TestTheAccount:
    """-2015 and its like: no entry, level or hedge until a read succeeds; protection is tried."""

    def refused(self) -> Story:
        story = Story().entered()
        story.now_ms += 5_000
        return story.fill("level 1").refuse("level 2", -2015).forget()

    def test_nothing_new_is_placed_but_what_protects(self) -> None:
        story = self.refused().wait(60_000)
        assert story.asked == []
        story.answer(story.order("take_profit")).end("take_profit", ReportedStatus.CANCELED)
        assert story.asked == ["place take_profit 0.010 @ 60119.1"]
        assert "account-refused" in story.alarms

    def test_a_read_that_succeeds_later_lets_it_go_on(self) -> None:
        story = self.refused()
        assert ReadPosition() in {a.question for a in asks(story.cycle)}
        story.now_ms += 30_000
        story.position()
        assert "place level 2 0.012 @ 59103.0" in story.asked

    def test_a_look_up_that_succeeds_counts_as_well(self) -> None:
        story = self.refused()
        story.now_ms += 30_000
        name = story.order("take_profit").client_order_id
        story.tell(OrderMissing(at_ms=story.now_ms, client_order_id=name, asked_at_ms=story.now_ms))
        assert "place level 2 0.012 @ 59103.0" in story.asked

    def test_a_read_asked_before_does_not(self) -> None:
        story = self.refused()
        story.now_ms -= 1
        story.position()
        assert story.cycle.account_refused_at_ms

    def test_a_refusal_of_another_symbols_request_counts_here_too(self) -> None:
        story = Story().fill("entry", "60000").refuse("level 1", -1008).forget()
        story.tell(AccountRefused(at_ms=story.now_ms)).wait(5_000)
        assert [a for a in story.asked if "level" in a] == []

    @pytest.mark.parametrize("name", ["hedge 1", "hedge_market 1"])
    def test_a_hedge_waits_too(self, name: str) -> None:
        story = Story().entered().averaged(1).fill("level 2")
        if name == "hedge_market 1":
            story.refuse("hedge 1", -2021)
        story.refuse(name, -2015).forget()
        story.now_ms += 30_000
        story.position()
        assert any(name in text for text in story.asked)


PROTECTING = ["take_profit", "hedge_stop 1", "close_long"]


def protecting(name: str) -> Story:
    """Return a story in which the placing of a protecting order was just asked for."""
    if name == "hedge_stop 1":
        return Story().entered().averaged(1, 2).fill("hedge 1", "57800")
    if name == "take_profit":
        return Story().fill("entry", "60000")
    story = Story().entered().operator(OperatorAction.CLOSE)
    return story.answer(story.order("take_profit")).answer(story.order("level 1"))


class TestProtection:
    @pytest.mark.parametrize("name", PROTECTING)
    @pytest.mark.parametrize("code", [-1111, -2019, -2015])
    def test_is_tried_later_and_later_without_end_with_an_alarm(self, name: str, code: int) -> None:
        story = protecting(name)
        pauses: list[int] = []
        for _ in range(9):
            story.refuse(name, code)
            pauses.append(story.order(name).retry_at_ms - story.now_ms)
            story.now_ms = story.order(name).retry_at_ms
            story.wait(0)
        assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
        assert [key for key in story.alarms if key.startswith("refused-")] != []
        assert story.order(name).attempt == 1

    @pytest.mark.parametrize("name", PROTECTING)
    def test_busy_for_the_moment_it_is_tried_soon(self, name: str) -> None:
        story = protecting(name)
        for pause in (200, 400, 800, 1_600, 3_200, 5_000, 5_000):
            story.refuse(name, -503)
            assert story.order(name).retry_at_ms - story.now_ms == pause
            story.wait(pause)

    @pytest.mark.parametrize("name", PROTECTING)
    def test_refused_for_good_the_filters_are_refreshed_first(self, name: str) -> None:
        story = protecting(name).refuse(name, -4014).forget()
        assert ReadRules() in {a.question for a in asks(story.cycle)}
        story.tell(RulesRead(at_ms=story.now_ms, rules=btc_rules(tick_size="0.5")))
        assert any(name in text for text in story.asked)
        assert not story.cycle.rules_are_stale

    def test_a_clock_that_differs_is_no_reason_to_hurry(self) -> None:
        story = protecting("take_profit").refuse("take_profit", -1021)
        assert story.order("take_profit").retry_at_ms == story.now_ms + 200


class TestQuestions:
    def questions(self, story: Story) -> set[object]:
        return {a.question for a in asks(story.cycle)}

    def test_nothing_to_ask_while_all_is_known(self) -> None:
        assert asks(Story().entered().cycle) == ()

    def test_reserved_quantity_is_looked_into(self) -> None:
        story = protecting("close_long").refuse("close_long", -2022)
        assert {ReadOpenOrders(), ReadFills(), ReadPosition()} <= self.questions(story)

    def test_bounds_need_the_mark_price_until_it_is_read(self) -> None:
        story = protecting("close_long").refuse("close_long", -4131)
        assert ReadMark() in self.questions(story)
        story.tell(MarkRead(at_ms=story.now_ms, price=dec("60000")))
        assert ReadMark() not in self.questions(story)

    def test_an_expired_close_needs_it_too_while_something_is_left(self) -> None:
        story = protecting("close_long").end("close_long", ReportedStatus.EXPIRED)
        assert ReadMark() in self.questions(story)

    def test_the_fallback_needs_the_balance_while_the_cycle_trades(self) -> None:
        story = Story().entered().averaged(1, 2).end("hedge 1", ReportedStatus.REJECTED)
        assert ReadBalance() in self.questions(story)
        assert ReadBalance() not in self.questions(story.operator(OperatorAction.CLOSE))

    def test_totals_without_fills_need_them_also_after_the_end(self) -> None:
        story = Story()
        story.report(
            story.order("entry"), ReportedStatus.FILLED, executed=dec("0.004"), average=dec("60000")
        )
        assert ReadFills() in self.questions(story)
        ended = Story().refuse("entry", -2019)
        assert asks(ended.cycle) == ()

    def test_a_doubtful_position_is_read_again_with_the_fills(self) -> None:
        story = Story().entered().position("0.002")
        assert {ReadFills(), ReadPosition()} == self.questions(story)

    def test_an_order_that_ends_by_itself_is_asked_about_if_its_end_is_not_told(self) -> None:
        story = protecting("close_long")
        story.answer(story.order("close_long"))
        (ask,) = asks(story.cycle)
        assert ask.not_before_ms == story.now_ms + 2_000

    def test_a_triggered_one_too(self) -> None:
        story = Story().entered().averaged(1, 2)
        story.report(story.order("hedge 1"), ReportedStatus.TRIGGERED)
        (ask,) = asks(story.cycle)
        assert ask.not_before_ms == story.now_ms + 2_000

    def test_one_that_reads_do_not_show_is_asked_about_again(self) -> None:
        story = Story().entered()
        name = story.order("level 1").client_order_id
        story.tell(OrderMissing(at_ms=T0, client_order_id=name, asked_at_ms=T0))
        (ask,) = asks(story.cycle)
        assert ask.not_before_ms == T0 + 2_000

    def test_flat_is_read_until_it_is_proven(self) -> None:
        story = Story().entered().fill("take_profit").settle()
        (ask,) = asks(story.cycle)
        assert (ask.question, ask.not_before_ms) == (ReadPosition(), 0)
        story.now_ms += 10
        (ask,) = asks(story.position("0", "0").cycle)
        assert ask.not_before_ms == story.now_ms + 2_000

    def test_flat_is_not_read_while_the_fills_still_hold_something(self) -> None:
        story = Story().entered().averaged().operator(OperatorAction.HANDS_OFF)
        story.operator(OperatorAction.CLOSE)
        for name in ("take_profit", "level 1"):
            story.end(name, ReportedStatus.CANCELED)
        assert all(order.is_over for order in story.cycle.orders)
        assert asks(story.cycle) == ()

    def test_an_ended_cycle_has_a_last_look_at_what_executed_after_it(self) -> None:
        story = Story().entered().fill("take_profit").settle().proven_flat()
        (ask,) = asks(story.cycle)
        ended_at_ms = story.cycle.ended_at_ms
        assert ended_at_ms is not None
        assert (ask.question, ask.not_before_ms) == (ReadFills(), ended_at_ms + 50_000)
        assert asks(Story().refuse("entry", -2019).cycle) == ()  # nothing of it can execute

    def test_a_side_that_moved_without_a_known_execution_needs_them_once(self) -> None:
        story = Story().entered()
        moved_at_ms = story.now_ms + 5_000
        story.now_ms += 6_000
        assert self.questions(story.position(updated_at_ms=moved_at_ms)) == {ReadFills()}
        story.tell(FillsRead(at_ms=story.now_ms, fills=()))  # without those known: it says nothing
        assert self.questions(story) == {ReadFills()}
        story.tell(FillsRead(at_ms=story.now_ms, fills=story.cycle.fills))
        assert self.questions(story.position(updated_at_ms=moved_at_ms)) == set()

    def test_a_close_of_more_than_is_known_asks_for_what_opened_it(self) -> None:
        story = Story().entered().hedged()
        story.fill("hedge_stop 1", "58089", "0.206")  # a person had sold as much again, unheard
        assert story.cycle.ledger.is_over_closed
        assert ReadFills() in self.questions(story)
        opened = a_fill(
            0, "web_x", "0.103", "57900", side=Side.SELL, position_side=PositionSide.SHORT
        )
        story.tell(FillsRead(at_ms=story.now_ms, fills=(opened, *story.cycle.fills)))
        explained = story.cycle.ledger
        assert not explained.is_over_closed
        assert ReadFills() not in self.questions(story)

    def test_such_a_side_keeps_the_end_from_being_proven(self) -> None:
        story = Story().entered().fill("take_profit").settle()
        moved_at_ms = story.now_ms + 1
        for _ in range(3):
            story.now_ms += 2_000
            story.position("0", "0", updated_at_ms=moved_at_ms)
        assert story.cycle.is_open
        story.tell(FillsRead(at_ms=story.now_ms, fills=story.cycle.fills))
        assert not story.proven_flat().cycle.is_open

    def test_assets_whose_price_is_needed(self) -> None:
        story = Story()
        fill = a_fill(
            1, story.order("entry").client_order_id, "0.004", "60000", commission="1", asset="BNB"
        )
        story.tell(FillsRead(at_ms=T0, fills=(fill,)))
        assert unpriced_assets(story.cycle) == ("BNB",)

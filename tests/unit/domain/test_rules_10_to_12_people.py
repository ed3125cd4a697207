"""Rules 10 to 12: outside changes, the operator's pause and hands off, and what never happens."""

import pytest

from core.domain.cycle import (
    CloseReason,
    FillsRead,
    OperatorAction,
    OrderMissing,
    Phase,
    PositionChecked,
    PriceSeen,
    ReportedStatus,
    Side,
    SideReport,
)
from core.domain.strategy import Band, apply_all, band
from tests.builders import T0, Story, a_fill, dec


class TestOutsideChanges:
    def test_a_difference_is_believed_when_two_reads_3_seconds_apart_agree(self) -> None:
        story = Story().entered().position("0.003")
        assert story.cycle.suspect is not None
        story.now_ms += 2_999
        assert story.position("0.003").cycle.long.quantity == dec("0.004")
        story.now_ms += 1
        story.position("0.003")
        assert story.cycle.long.quantity == dec("0.003")
        assert story.cycle.long.entry == dec("60000")
        assert story.alarms == ("outside-LONG-1",)
        story.now_ms += 1_000
        story.tell()
        assert story.asked[-1] == "amend take_profit 0.003 @ 60300.0"

    def test_two_reads_that_disagree_prove_nothing(self) -> None:
        story = Story().entered().position("0.003")
        story.now_ms += 3_000
        assert story.position("0.002").cycle.long.quantity == dec("0.004")
        story.now_ms += 3_000
        assert story.position("0.002").cycle.long.quantity == dec("0.002")

    def test_a_read_that_agrees_with_the_fills_clears_the_doubt(self) -> None:
        story = Story().entered().position("0.003").position("0.004")
        assert story.cycle.suspect is None

    def test_nothing_is_believed_while_a_request_is_unresolved(self) -> None:
        story = Story().entered()
        story.now_ms += 5_000
        story.fill("level 1").lose("level 2").position("0.022")
        story.now_ms += 3_000
        assert story.position("0.022").cycle.suspect is None
        assert story.cycle.long.quantity == dec("0.010")

    def test_nor_while_the_executions_of_a_known_total_are_being_read(self) -> None:
        story = Story().entered()
        profit = story.order("take_profit")
        story.report(profit, ReportedStatus.OPEN, executed=dec("0.001"))
        for _ in range(2):  # the reads lag behind
            story.now_ms += 3_000
            story.position("0.004")
        assert story.cycle.long.quantity == dec("0.003")

    def test_more_of_it_is_booked_at_the_price_that_explains_the_reported_entry(self) -> None:
        story = Story().entered().position("0.006", entry="59000")
        story.now_ms += 3_000
        story.position("0.006", entry="59000")
        assert story.cycle.long.quantity == dec("0.006")
        assert story.cycle.long.entry == dec("59000")

    @pytest.mark.parametrize(
        ("sold", "after_ms", "left"),
        [
            ("0.003", 0, []),  # the very executions that nobody could show
            ("0.001", 0, ["0.002"]),  # one of them
            ("0.001", 5_000, ["0.003"]),  # another one, later
        ],
    )
    def test_executions_that_explain_it_later_take_its_place(
        self, sold: str, after_ms: int, left: list[str]
    ) -> None:
        story = Story().entered().position("0.001")
        story.now_ms += 3_000
        story.position("0.001")
        fill = a_fill(
            9, "web_1", sold, "60100", side=Side.SELL, time_ms=story.now_ms - 1 + after_ms
        )
        held = dec("0.001") if not after_ms else dec(0)
        story.tell(FillsRead(at_ms=story.now_ms + after_ms, fills=(fill,)))
        assert story.cycle.long.quantity == held
        assert [f.quantity for f in story.cycle.fills if f.is_adjustment] == [dec(q) for q in left]

    def test_both_sides_at_once(self) -> None:
        story = Story().entered().hedged().position("0.040", "0.100")
        story.now_ms += 3_000
        story.position("0.040", "0.100")
        assert (story.cycle.long.quantity, story.cycle.short.quantity) == (
            dec("0.040"),
            dec("0.100"),
        )

    @pytest.mark.parametrize(
        ("asked_ms", "updated_ms", "is_old"),
        [
            (-1, 0, True),
            (1, -1, True),
            (1, 0, False),
            (1, 1, False),
            (60_000, -1, True),
            (60_001, -1, False),  # the exchange's clock was set back between the fill and that
        ],
    )
    def test_a_read_older_than_a_fill_is_ignored(
        self, asked_ms: int, updated_ms: int, is_old: bool
    ) -> None:
        story = Story().entered()
        story.now_ms += 5_000
        story.fill("level 1").settle()
        filled = story.cycle.fills[-1].time_ms
        flat = SideReport(quantity=dec(0), entry=dec(0), updated_at_ms=0)
        long = SideReport(
            quantity=dec("0.004"),
            entry=dec("60000"),
            updated_at_ms=filled + updated_ms if updated_ms else 0,
        )
        asked = filled + asked_ms
        story.tell(PositionChecked(at_ms=story.now_ms, asked_at_ms=asked, long=long, short=flat))
        assert (story.cycle.suspect is None) is is_old

    def test_an_execution_that_is_not_ours_is_counted_with_an_alarm(self) -> None:
        story = Story().entered()
        fill = a_fill(50, "web_1", "0.002", "59000", time_ms=T0 + 1)
        story.tell(FillsRead(at_ms=T0 + 1, fills=(fill, fill)))
        assert story.cycle.long.quantity == dec("0.006")
        assert story.alarms == ("foreign-web_1",)
        assert story.cycle.order("web_1") is not None

    def test_an_execution_from_before_the_alert_is_not_the_cycles(self) -> None:
        story = Story().entered()
        fill = a_fill(1_000, "web_1", "0.002", "59000", time_ms=T0 - 1)
        assert story.tell(FillsRead(at_ms=T0, fills=(fill,))).cycle.long.quantity == dec("0.004")

    def test_a_foreign_order_known_by_a_fill_first_lives_on_when_its_report_comes(self) -> None:
        story = Story().entered()
        fill = a_fill(50, "web_1", "0.001", "60100", side=Side.SELL, time_ms=T0 + 1)
        story.tell(FillsRead(at_ms=T0 + 1, fills=(fill,)))
        order = story.order("foreign 1")
        story.report(
            order,
            ReportedStatus.OPEN,
            price=dec("60100"),
            quantity=dec("0.002"),
            executed=dec("0.001"),
        )
        assert story.open["foreign 1"] == "0.002 @ 60100"
        story.report(story.order("foreign 1"), ReportedStatus.CANCELED)
        assert story.order("foreign 1").is_over
        story.report(story.order("foreign 1"), ReportedStatus.OPEN)  # old news
        assert story.order("foreign 1").is_over


@pytest.mark.parametrize("name", ["take_profit", "guard"])
def test_protection_cancelled_by_a_person_is_placed_again_and_reported(name: str) -> None:
    story = Story(trail_1="0.3", trail_2="0.1").entered()
    if name == "guard":
        story.trade("60180").settle()
    before = story.open[name]
    story.end(name, ReportedStatus.CANCELED).settle()
    assert story.open[name] == before
    assert story.order(name).attempt == 2
    assert any(key.startswith("cancelled-") for key in story.alarms)


def test_a_persons_cancel_is_not_one_of_three_ends_by_the_exchange() -> None:
    story = Story().entered()
    for status in (ReportedStatus.EXPIRED, ReportedStatus.EXPIRED, ReportedStatus.CANCELED):
        story.end("take_profit", status).settle()
    story.end("take_profit", ReportedStatus.EXPIRED).settle()
    assert not [key for key in story.alarms if key.startswith("ended-")]


def test_an_order_that_ended_by_our_cancel_is_nobody_elses_doing() -> None:
    story = Story().entered().operator(OperatorAction.CLOSE).settle()
    assert story.alarms == ()


class TestPause:
    def test_no_level_or_hedge_is_placed_and_those_resting_stay(self) -> None:
        story = Story(grid_ahead=2).entered().operator(OperatorAction.PAUSE).averaged(1).settle()
        assert story.open == {"take_profit": "0.010 @ 60119.1", "level 2": "0.012 @ 59103.0"}
        story.operator(OperatorAction.RESUME).settle()
        assert {"level 2", "level 3", "hedge 1"} <= set(story.open)

    def test_a_resting_hedge_stays(self) -> None:
        story = Story().entered().averaged(1, 2).operator(OperatorAction.PAUSE).settle()
        assert {"hedge 1", "level 3"} <= set(story.open)

    def test_stop_loss_trailing_and_closing_go_on(self) -> None:
        story = Story().entered().averaged(1, 2).operator(OperatorAction.PAUSE)
        story.fill("hedge 1", "57800").settle()
        assert "hedge_stop 1" in story.open
        assert story.trade("50000").cycle.close_reason is CloseReason.PNL

    def test_the_entry_goes_on(self) -> None:
        story = Story().operator(OperatorAction.PAUSE)
        assert story.entered().open == {"take_profit": "0.004 @ 60300.0"}


class TestCancel:
    def test_the_levels_left_are_withdrawn_and_the_exits_stay(self) -> None:
        story = Story(extramarg="0").entered().averaged(1)
        story.operator(OperatorAction.CANCEL_LEVELS).settle()
        assert story.open == {"take_profit": "0.010 @ 60119.1"}
        assert story.cycle.withdrawn == (2, 3)
        assert story.alarms == ()

    def test_the_hedge_is_then_wanted_below_the_last_level_laid(self) -> None:
        story = Story().entered().operator(OperatorAction.CANCEL_LEVELS).settle()
        assert set(story.open) == {"take_profit", "hedge 1"}

    def test_before_the_ladder_is_laid_none_will_be(self) -> None:
        story = Story(extramarg="0").operator(OperatorAction.CANCEL_LEVELS).entered().settle()
        assert story.open == {"take_profit": "0.004 @ 60300.0"}
        assert story.cycle.withdrawn == (1, 2, 3)


class TestHandsOff:
    def test_nothing_is_sent_and_fills_are_still_recorded(self) -> None:
        story = Story().entered().operator(OperatorAction.HANDS_OFF).forget().fill("level 1")
        story.trade("50000", "70000").tell(PriceSeen(at_ms=T0, price=dec("90000"))).settle()
        assert story.asked == []
        assert story.cycle.long.quantity == dec("0.010")
        assert story.cycle.phase is Phase.TRADING
        assert band(story.cycle) == Band(low=None, high=None)

    def test_the_market_above_a_missing_take_profit_closes_nothing(self) -> None:
        story = Story().entered().operator(OperatorAction.HANDS_OFF)
        story.end("take_profit", ReportedStatus.CANCELED)
        story.tell(PriceSeen(at_ms=T0, price=dec("61000")))
        assert story.cycle.phase is Phase.TRADING

    def test_it_ends_by_the_operators_word(self) -> None:
        story = Story().entered().operator(OperatorAction.HANDS_OFF).fill("level 1")
        story.operator(OperatorAction.HANDS_ON).settle()
        assert story.open == {"take_profit": "0.010 @ 60119.1", "level 2": "0.012 @ 59103.0"}

    def test_it_ends_by_the_proof_that_all_is_over(self) -> None:
        story = Story().entered().operator(OperatorAction.HANDS_OFF)
        story.end("level 1", ReportedStatus.CANCELED).fill("take_profit")
        assert story.proven_flat().cycle.phase is Phase.ENDED

    @pytest.mark.parametrize("action", [OperatorAction.RESUME, OperatorAction.HANDS_ON])
    def test_ending_what_never_began_changes_nothing(self, action: OperatorAction) -> None:
        story = Story().entered().averaged(1, 2)
        before = story.cycle
        assert story.operator(action).cycle == before


class TestMissingOrders:
    def missing(self, story: Story, name: str, *, after_ms: int) -> Story:
        story.now_ms += after_ms
        order = story.order(name)
        return story.tell(
            OrderMissing(
                at_ms=story.now_ms,
                client_order_id=order.client_order_id,
                asked_at_ms=story.now_ms,
            )
        )

    def test_absence_is_a_reason_to_ask_and_after_three_reads_for_an_alarm(self) -> None:
        story = Story().entered()
        for _ in range(2):
            self.missing(story, "level 1", after_ms=2_000)
            assert story.alarms == ()
        self.missing(story, "level 1", after_ms=2_000)
        assert story.alarms == ("missing-tb-c1-lv1-1",)
        assert not story.order("level 1").is_over

    def test_reads_too_close_together_count_as_one(self) -> None:
        story = Story().entered()
        for _ in range(5):
            self.missing(story, "level 1", after_ms=300)
        assert story.order("level 1").absent_reads == 1

    def test_three_days_after_its_creation_it_is_over_with_an_alarm(self) -> None:
        story = Story().entered()
        story.now_ms += 3 * 24 * 3600 * 1000
        for _ in range(3):
            self.missing(story, "level 1", after_ms=2_000)
        assert story.alarms == ("forgotten-tb-c1-lv1-1",)
        assert story.order("level 1").attempt == 2  # and it is wanted again

    def test_on_the_operators_word_a_younger_one_is_too(self) -> None:
        story = Story().entered().operator(OperatorAction.FORGET_MISSING)
        for _ in range(3):
            self.missing(story, "level 1", after_ms=2_000)
        assert story.alarms == ("forgotten-tb-c1-lv1-1",)

    def test_one_that_is_reported_again_was_never_gone(self) -> None:
        story = Story().entered()
        for _ in range(2):
            self.missing(story, "level 1", after_ms=2_000)
        story.report(story.order("level 1"), ReportedStatus.OPEN)
        assert story.order("level 1").absent_reads == 0

    def test_one_that_is_over_or_unknown_is_no_news(self) -> None:
        story = Story().entered().fill("level 1")
        before = story.cycle
        facts = tuple(
            OrderMissing(at_ms=story.now_ms, client_order_id=name, asked_at_ms=story.now_ms)
            for name in ("tb-c1-lv1-1", "tb-c1-xx9-9")
        )
        assert apply_all(before, facts) == before

"""Rule 4: the SHORT that stands ready below the last level, and its ways to the market."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.domain.cycle import (
    BalanceRead,
    CloseReason,
    FillsRead,
    OperatorAction,
    Phase,
    PositionSide,
    ReportedStatus,
    RulesRead,
    Side,
)
from core.domain.hedging import hedges_done, margin_left
from core.domain.settings import Bracket, OnHedgeFailed
from tests.builders import Story, a_fill, btc_rules, dec

BRACKETS = (
    Bracket(
        initial_leverage=10,
        notional_cap=dec("5000"),
        maintenance_rate=dec("0.01"),
        cumulative=dec("0"),
    ),
)


def hedges(story: Story) -> dict[str, str]:
    return {name: text for name, text in story.open.items() if name.startswith("hedge")}


def passed(**settings: Any) -> Story:
    """Return a story whose hedge was refused because its trigger was passed."""
    story = Story(**settings).entered().averaged(1).fill("level 2")
    return story.forget().refuse("hedge 1", -2021)


def balance(story: Story, available: str) -> Story:
    return story.tell(BalanceRead(at_ms=story.now_ms, available=dec(available)))


class TestArming:
    @pytest.mark.parametrize(
        ("ahead", "filled", "is_armed"),
        [(1, (1,), False), (1, (1, 2), True), (3, (), True), (2, (), False), (2, (1,), True)],
    )
    def test_as_soon_as_every_level_is_filled_or_among_those_wanted_now(
        self, ahead: int, filled: tuple[int, ...], is_armed: bool
    ) -> None:
        story = Story(grid_ahead=ahead).entered().averaged(*filled)
        assert bool(hedges(story)) is is_armed

    def test_whether_the_exchange_took_the_last_level_or_not(self) -> None:
        story = Story().entered().averaged(1).fill("level 2")
        story.refuse("level 3", -2019).answer(story.order("hedge 1"))
        assert hedges(story) == {"hedge 1": "0.103 @ 57805.0"}

    @pytest.mark.parametrize(
        "settings", [{"extramarg": "0"}, {"offset_short": None}, {"max_hedges": 0}]
    )
    def test_never_when_none_was_asked_for(self, settings: dict[str, Any]) -> None:
        story = Story(**settings).entered().averaged(1, 2, 3)
        assert hedges(story) == {}
        assert story.alarms == ()

    def test_never_below_the_least_that_is_worth_it(self) -> None:
        story = Story(extramarg="1.09", rules=btc_rules(step_size="0.0001", min_notional="1"))
        story.entered()
        assert story.alarms == ("hedge-failed",)

    def test_the_trigger_is_capped_at_the_long_entry_once_and_then_stays(self) -> None:
        story = Story(entry_price="70000", grid_long="1", mg_long="1").entered("60000")
        assert story.cycle.grid is not None
        assert story.cycle.grid.hedge_trigger == dec("69161.4")
        assert story.cycle.hedge_triggers == (dec("60000.0"),)
        story.fill("level 1", "59000").settle()
        assert story.cycle.hedge_triggers == (dec("60000.0"),)

    def test_its_quantity_is_cut_to_what_one_market_order_may_carry(self) -> None:
        story = Story(rules=btc_rules(market_max_quantity="0.05")).entered().averaged(1, 2)
        assert hedges(story) == {"hedge 1": "0.050 @ 57805.0"}

    def test_every_further_one_lies_offset_pluse_below_and_may_lie_above(self) -> None:
        story = Story(offset_pluse="-0.1").entered().hedged("57790")
        story.fill("hedge_stop 1", "58090").settle()
        assert hedges(story)["hedge 2"].endswith("@ 57847.7")  # 57790 × 1.001, rounded down

    def test_below_the_trigger_where_the_one_before_filled_above_it(self) -> None:
        story = Story().entered().hedged("57900").fill("hedge_stop 1", "58190").settle()
        assert hedges(story)["hedge 2"].endswith("@ 57689.3")  # 57805.0 × 0.998, rounded down


class TestItsTriggerPassed:
    def test_it_goes_by_market_at_once(self) -> None:
        assert passed().asked == ["place hedge_market 1 0.103 @ MARKET"]

    def test_it_then_counts_as_hedge_1(self) -> None:
        story = passed().fill("hedge_market 1", "57000").settle()
        assert hedges(story) == {"hedge_stop 1": "all @ 57285.0"}
        assert hedges_done(story.cycle) == 1

    def test_busy_for_the_moment_it_is_repeated_as_planned(self) -> None:
        story = passed().refuse("hedge_market 1", -1008).wait(200)
        assert story.asked == ["place hedge_market 1 0.103 @ MARKET"] * 2

    def test_without_a_counterparty_in_bounds_it_is_repeated(self) -> None:
        story = passed().refuse("hedge_market 1", -4131).wait(200)
        assert story.asked == ["place hedge_market 1 0.103 @ MARKET"] * 2

    def test_a_pause_in_between_begins_it_anew_at_its_trigger(self) -> None:
        story = Story().entered().averaged(1).fill("level 2")
        story.operator(OperatorAction.PAUSE).refuse("hedge 1", -2021).settle()
        assert "hedge_market 1" not in story.open
        story.forget()
        story.operator(OperatorAction.RESUME)
        assert story.asked == ["place hedge 1 0.103 @ 57805.0"]


class TestRefusedForMargin:
    def test_rejected_at_its_trigger_it_goes_once_more_with_what_the_balance_carries(self) -> None:
        story = Story().entered().averaged(1, 2).trade("57805").forget()
        story.end("hedge 1", ReportedStatus.REJECTED)
        assert story.asked == []
        balance(story, "300")  # 0.95 × 300 × 10 / 57805
        assert story.asked == ["place hedge_market 1 0.049 @ MARKET"]
        story.fill("hedge_market 1", "57800").settle()
        assert story.cycle.hedge_fallback is None
        assert story.cycle.short.quantity == dec("0.049")

    def test_never_more_than_planned(self) -> None:
        story = Story().entered().averaged(1, 2).end("hedge 1", ReportedStatus.REJECTED).forget()
        assert balance(story, "5000").asked == ["place hedge_market 1 0.103 @ MARKET"]

    def test_never_beyond_the_brackets_room(self) -> None:
        story = Story(rules=btc_rules(brackets=BRACKETS)).entered().averaged(1, 2)
        story.trade("57805").end("hedge 1", ReportedStatus.REJECTED).forget()
        balance(story, "5000")  # 5000 / 57805 − 0.022
        assert story.asked == ["place hedge_market 1 0.064 @ MARKET"]

    def test_refused_by_market_it_is_the_same(self) -> None:
        story = passed().refuse("hedge_market 1", -2019)
        balance(story, "300")  # 0.95 × 300 × 10 / 59103, the price of level 2's fill
        assert story.asked[1:] == ["place hedge_market 1 0.048 @ MARKET"]
        assert story.order("hedge_market 1").attempt == 2

    def test_ended_unfilled_by_market_it_is_the_same(self) -> None:
        story = passed().end("hedge_market 1", ReportedStatus.EXPIRED)
        assert story.cycle.hedge_fallback is not None

    @pytest.mark.parametrize("code", [-2019, -4164])
    def test_refused_twice_there_is_no_hedge(self, code: int) -> None:
        story = balance(passed().refuse("hedge_market 1", -2019), "300")
        story.refuse("hedge_market 1", code)
        assert (story.cycle.hedge_failed, story.alarms) == (True, ("hedge-failed",))
        story.settle().trade("50000").settle()
        assert hedges(story) == {}

    def test_ended_unfilled_twice_there_is_no_hedge(self) -> None:
        story = balance(passed().refuse("hedge_market 1", -2019), "300")
        story.end("hedge_market 1", ReportedStatus.EXPIRED)
        assert story.cycle.hedge_failed

    @pytest.mark.parametrize("available", ["0", "-5", "6"])
    def test_a_balance_that_carries_none_is_no_hedge(self, available: str) -> None:
        story = balance(passed().refuse("hedge_market 1", -2019), available)
        assert story.alarms == ("hedge-failed",)

    def test_a_balance_that_nobody_asked_for_changes_nothing(self) -> None:
        story = Story().entered()
        before = story.cycle
        assert balance(story, "1").cycle == before

    def test_the_policy_may_be_to_close(self) -> None:
        story = passed(on_hedge_failed=OnHedgeFailed.CLOSE).refuse("hedge_market 1", -2019)
        assert balance(story, "0").cycle.close_reason is CloseReason.HEDGE_FAILED


class TestItMayNotRest:
    @pytest.mark.parametrize("code", [-4045, -2019, -4024, -4016])
    def test_it_is_watched_here_and_sent_by_market_at_its_trigger(self, code: int) -> None:
        story = Story().entered().averaged(1).fill("level 2").refuse("hedge 1", code).forget()
        assert story.alarms == ("hedge-watched-1",)
        story.settle().trade("57805.1").settle()
        assert [text for text in story.asked if "hedge" in text] == []
        story.trade("57805.0")
        assert story.asked[-1] == "place hedge_market 1 0.103 @ MARKET"

    def test_a_trigger_passed_already_is_not_waited_for(self) -> None:
        story = Story().entered().averaged(1).fill("level 2").trade("57800").forget()
        story.refuse("hedge 1", -4045)
        assert story.asked == ["place hedge_market 1 0.103 @ MARKET"]

    def test_the_next_hedge_is_tried_as_a_stop_again(self) -> None:
        story = Story().entered().averaged(1).fill("level 2").refuse("hedge 1", -4045)
        story.trade("57805").fill("hedge_market 1", "57800").settle()
        story.fill("hedge_stop 1", "58090").settle()
        assert "hedge 2" in hedges(story)

    def test_a_later_one_is_watched_where_no_level_is_left(self) -> None:
        story = Story().entered().hedged().fill("hedge_stop 1", "58090").refuse("hedge 2", -4045)
        story.trade("57684.5").settle().forget().trade("57684.4")
        assert story.asked == ["place hedge_market 2 0.097 @ MARKET"]


class TestEndedByOthers:
    def test_a_person_who_cancels_it_gets_no_other_until_he_says_so(self) -> None:
        story = Story().entered().averaged(1, 2).end("hedge 1", ReportedStatus.CANCELED).settle()
        assert hedges(story) == {}
        story.operator(OperatorAction.ALLOW_HEDGES).settle()
        assert hedges(story) == {"hedge 1": "0.103 @ 57805.0"}
        assert story.order("hedge 1").attempt == 2

    def test_the_exchange_before_its_trigger_it_is_placed_again_then_watched(self) -> None:
        story = Story().entered().averaged(1, 2)
        for attempt in (2, 3):
            story.end("hedge 1", ReportedStatus.EXPIRED).settle()
            assert story.order("hedge 1").attempt == attempt
        story.end("hedge 1", ReportedStatus.EXPIRED).settle()
        assert (hedges(story), story.cycle.hedge_watched) == ({}, 1)

    def test_the_exchange_after_its_price_was_passed_it_goes_by_market(self) -> None:
        story = Story().entered().averaged(1, 2).trade("57800")
        story.end("hedge 1", ReportedStatus.EXPIRED)
        assert story.cycle.hedge_fallback is not None


class TestFilling:
    def test_its_own_unfinished_order_is_not_cancelled(self) -> None:
        story = Story().entered().averaged(1, 2).fill("hedge 1", "57800", "0.05").settle()
        assert hedges(story) == {"hedge 1": "0.103 @ 57805.0", "hedge_stop 1": "all @ 58089.0"}
        assert hedges_done(story.cycle) == 0

    def test_a_remainder_that_expired_is_let_go(self) -> None:
        story = Story().entered().averaged(1, 2).fill("hedge 1", "57800", "0.05").settle()
        story.end("hedge 1", ReportedStatus.EXPIRED).settle()
        assert hedges(story) == {"hedge_stop 1": "all @ 58089.0"}
        assert (hedges_done(story.cycle), story.cycle.hedge_fallback) == (1, None)

    def test_a_persons_short_takes_its_place(self) -> None:
        story = Story().entered().averaged(1, 2).position(short="0.01")
        story.now_ms += 3_000
        story.position(short="0.01", entry="59000").settle()
        assert hedges(story) == {"hedge_stop": "all @ 59295.0"}
        assert hedges_done(story.cycle) == 0


class TestTheNextOne:
    def test_none_after_max_hedges(self) -> None:
        story = Story(max_hedges=1).entered().hedged().fill("hedge_stop 1", "58090").settle()
        assert story.alarms == ("hedge-failed",)
        assert story.open == {"take_profit": "0.046 @ 58935.4"}

    def test_none_after_max_hedges_closes_if_told_so(self) -> None:
        story = Story(max_hedges=1, on_hedge_failed=OnHedgeFailed.CLOSE).entered().hedged()
        story.fill("hedge_stop 1", "58090")
        assert story.cycle.close_reason is CloseReason.HEDGE_FAILED

    def test_until_the_margin_is_spent(self) -> None:
        story = Story(sl_short="20", extramarg="120", max_hedges=20).entered().hedged()
        margins: list[Decimal] = []
        while not story.cycle.hedge_failed:
            number = hedges_done(story.cycle)
            story.fill(f"hedge_stop {number}").settle()
            margins.append(margin_left(story.cycle))
            if not story.cycle.hedge_failed:
                story.fill(f"hedge {number + 1}").settle()
        assert margins == sorted(margins, reverse=True)
        assert margins[-1] * 10 < 50  # MIN_NOTIONAL
        assert story.cycle.phase is Phase.TRADING

    def test_a_hedge_that_won_costs_no_margin(self) -> None:
        story = Story().entered().hedged("57800").operator(OperatorAction.CLOSE_SHORT)
        story.fill("close_short 1", "57000").settle()
        assert margin_left(story.cycle) == dec("600")

    @pytest.mark.parametrize("how", ["close_short 1", "person"])
    def test_none_after_a_person_closed_short_until_he_says_so(self, how: str) -> None:
        story = Story().entered().hedged()
        if how == "person":
            story.position(short="0")
            story.now_ms += 3_000
            story.position(short="0").settle()
            assert any(key.startswith("short-closed-") for key in story.alarms)
        else:
            story.operator(OperatorAction.CLOSE_SHORT).fill(how, "57900").settle()
        assert hedges(story) == {}
        assert not story.cycle.close_short_asked
        story.operator(OperatorAction.ALLOW_HEDGES).settle()
        assert list(hedges(story)) == ["hedge 2"]

    def test_its_trigger_waits_until_the_price_of_the_stop_loss_is_known(self) -> None:
        story = Story().entered().hedged()
        stop = story.order("hedge_stop 1")
        story.report(stop, ReportedStatus.FILLED, executed=dec("0.103"), quantity=dec("0.103"))
        assert (story.cycle.short.quantity, story.cycle.ledger.is_priced) == (dec(0), False)
        assert len(story.cycle.hedge_triggers) == 1
        assert story.alarms == ()
        story.report(
            stop,
            ReportedStatus.FILLED,
            executed=dec("0.103"),
            average=dec("58090"),
            quantity=dec("0.103"),
        )
        assert story.settle().open["hedge 2"] == "0.097 @ 57684.4"

    def test_none_is_given_up_while_the_price_of_the_last_one_is_not_known(self) -> None:
        story = Story().entered().averaged(1, 2).fill("hedge 1", "57800", "0.05").settle()
        # The rest of it is known as a total only, and SHORT is stopped out before it is read.
        story.report(story.order("hedge 1"), ReportedStatus.FILLED, executed=dec("0.103"))
        story.fill("hedge_stop 1", "58090").settle()
        assert (story.cycle.short.quantity, story.cycle.ledger.is_priced) == (dec(0), False)
        assert story.alarms == ()
        name = story.order("hedge 1").client_order_id
        rest = a_fill(
            90,
            name,
            "0.053",
            "57800",
            side=Side.SELL,
            position_side=PositionSide.SHORT,
            time_ms=story.now_ms,
        )
        stop = story.cycle.fills[-1]
        story.cycle = replace(
            story.cycle, fills=(*story.cycle.fills[:-1], replace(stop, trade_id=91))
        )
        story.tell(FillsRead(at_ms=story.now_ms, fills=(rest,))).settle()
        assert hedges(story) == {"hedge 2": "0.097 @ 57684.4"}


class TestRefusedForGood:
    def test_the_filters_are_refreshed_and_it_is_tried_once_more(self) -> None:
        story = Story().entered().averaged(1).fill("level 2").refuse("hedge 1", -4014).forget()
        story.answer(story.order("level 3")).answer(story.order("take_profit"))
        story.tell(RulesRead(at_ms=story.now_ms, rules=btc_rules(tick_size="10")))
        assert story.asked == ["place hedge 1 0.103 @ 57800"]
        story.refuse("hedge 1", -4014)
        assert story.alarms == ("hedge-refused-1", "hedge-failed")

    def test_by_market_too(self) -> None:
        story = passed().refuse("hedge_market 1", -1111).forget().wait(5_000)
        assert "place hedge_market 1 0.103 @ MARKET" in story.asked
        assert story.refuse("hedge_market 1", -1111).cycle.hedge_failed

    def test_refreshed_filters_do_not_take_a_resting_hedge_away(self) -> None:
        story = Story().entered().averaged(1, 2).forget()
        story.tell(RulesRead(at_ms=story.now_ms, rules=btc_rules(min_notional="9999")))
        assert story.asked == []
        assert story.alarms == ()

    def test_refreshed_filters_that_leave_none_raise_an_alarm(self) -> None:
        story = Story().entered()
        story.tell(RulesRead(at_ms=story.now_ms, rules=btc_rules(min_notional="9999")))
        assert story.alarms == ("hedge-failed",)


def test_never_without_long() -> None:
    story = Story().entered().averaged(1, 2).fill("take_profit")
    assert story.cycle.phase is Phase.CLOSING
    assert "cancel hedge 1" in story.asked


@pytest.mark.parametrize("code", [-4045, -2021, -4014, -2019])
def test_refused_when_the_cycle_closes_already_it_is_no_matter(code: int) -> None:
    story = Story().entered().averaged(1).fill("level 2").operator(OperatorAction.CLOSE)
    story.refuse("hedge 1", code).settle()
    assert "hedge-failed" not in story.alarms
    assert "hedge-watched-1" not in story.alarms
    assert hedges(story) == {}


def test_its_fallback_refused_when_the_cycle_closes_already_is_no_matter() -> None:
    story = balance(passed().refuse("hedge_market 1", -2019), "300")
    story.operator(OperatorAction.CLOSE).refuse("hedge_market 1", -2019)
    assert story.alarms == ()


def test_a_hedge_that_triggers_while_the_take_profit_fills_is_closed_at_once() -> None:
    story = Story().entered().averaged(1, 2).fill("take_profit").forget()
    story.fill("hedge 1", "57800")
    assert "place close_short 1 0.103 @ MARKET" in story.asked
    story.fill("close_short 1", "57810").settle()
    assert story.proven_flat().cycle.phase is Phase.ENDED


def test_offset_pluse_unknown_there_is_no_second_trigger() -> None:
    story = Story().entered().hedged()
    settings = replace(story.cycle.settings, offset_pluse=None)
    story.cycle = replace(story.cycle, settings=settings)
    story.fill("hedge_stop 1", "58090").settle()
    assert story.alarms == ("hedge-failed",)

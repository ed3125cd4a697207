"""Rule 1, the entry, and what section 3 says about the time after the fill."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.cycle import (
    CloseReason,
    FillsRead,
    OperatorAction,
    Phase,
    ReportedStatus,
    Request,
    RequestNotSent,
)
from core.domain.diff import decide
from core.domain.settings import OnHedgeFailed
from tests.builders import T0, Story, a_fill, begun, btc_rules, dec


def not_sent(story: Story, retry_at_ms: int) -> Story:
    name = story.order("entry").client_order_id
    return story.tell(
        RequestNotSent(at_ms=story.now_ms, client_order_id=name, retry_at_ms=retry_at_ms)
    )


def test_the_entry_is_sent_again_while_its_time_lasts() -> None:
    story = not_sent(Story(), T0 + 14_000)
    assert story.steps[-1].wake_at_ms == T0 + 14_000
    story.wait(14_000)
    assert story.asked == ["place entry 0.004 @ MARKET"]


def test_the_entry_is_never_sent_later_than_15_seconds_after_the_alert() -> None:
    story = not_sent(Story(), T0 + 16_000).wait(15_000)
    assert story.asked == []
    assert (story.cycle.phase, story.cycle.close_reason) == (
        Phase.ENDED,
        CloseReason.ENTRY_EXPIRED,
    )


def test_not_even_when_nothing_told_the_cycle_that_time_has_passed() -> None:
    cycle = begun()
    cycle = cycle.with_order(replace(cycle.orders[0], request=Request.NONE))
    assert len(decide(cycle, T0 + 14_999).requests) == 1
    assert decide(cycle, T0 + 15_000).requests == ()


def test_an_entry_under_way_does_not_expire() -> None:
    story = Story().lose("entry").wait(20_000)
    assert story.cycle.phase is Phase.ENTERING


@pytest.mark.parametrize("code", [-1111, -2019, -4131, -2015, -4164])
def test_a_refused_entry_ends_the_cycle_at_once(code: int) -> None:
    cycle = Story().refuse("entry", code).cycle
    assert (cycle.phase, cycle.close_reason) == (Phase.ENDED, CloseReason.ENTRY_FAILED)
    assert cycle.ended_at_ms == T0


def test_refused_while_a_person_holds_something_it_is_closed_first() -> None:
    story = Story()
    fill = a_fill(5, "web_1", "0.002", "60000", time_ms=T0 + 1)
    story.tell(FillsRead(at_ms=T0 + 1, fills=(fill,))).refuse("entry", -2019).settle()
    assert (story.cycle.phase, story.cycle.close_reason) == (
        Phase.CLOSING,
        CloseReason.ENTRY_FAILED,
    )
    assert "place close_long 0.002 @ MARKET" in story.asked


def test_an_entry_that_found_no_counterparty_ends_after_two_flat_reads() -> None:
    story = Story().end("entry", ReportedStatus.EXPIRED)
    assert (story.cycle.phase, story.cycle.close_reason) == (
        Phase.CLOSING,
        CloseReason.ENTRY_FAILED,
    )
    assert story.proven_flat().cycle.phase is Phase.ENDED


def test_partly_filled_the_cycle_goes_on_with_what_was_filled() -> None:
    story = Story().fill("entry", "60000", "0.003").settle()
    assert (story.cycle.phase, story.cycle.grid) == (Phase.ENTERING, None)
    assert story.open["take_profit"] == "0.003 @ 60300.0"
    story.end("entry", ReportedStatus.EXPIRED).settle()
    assert story.cycle.phase is Phase.TRADING
    assert story.open["level 1"] == "0.004 @ 59700.0"  # 0.003 × 1.5, rounded down


def test_an_operator_who_closes_before_the_entry_was_sent_again_takes_it_back() -> None:
    story = not_sent(Story(), T0 + 5_000)
    story.operator(OperatorAction.CLOSE)
    assert story.order("entry").is_over
    assert story.proven_flat().cycle.phase is Phase.ENDED


def test_the_grid_waits_until_the_fill_has_a_price() -> None:
    story = Story()
    story.report(story.order("entry"), ReportedStatus.FILLED, executed=dec("0.004"))
    assert story.cycle.long.quantity == dec("0.004")
    assert (story.cycle.phase, story.asked) == (Phase.ENTERING, [])
    story.report(
        story.order("entry"), ReportedStatus.FILLED, executed=dec("0.004"), average=dec("60000")
    )
    story.settle()
    assert story.cycle.phase is Phase.TRADING
    assert story.open == {"take_profit": "0.004 @ 60300.0", "level 1": "0.006 @ 59700.0"}


def test_with_an_entry_price_the_grid_hangs_from_it_and_the_take_profit_from_the_fill() -> None:
    story = Story(entry_price="59000").entered("59500")
    assert story.open["level 1"] == "0.006 @ 58705.0"
    assert story.open["take_profit"] == "0.004 @ 59797.5"


AFTER_THE_FILL = {  # settings: levels withdrawn, h₁
    "all fit": ({}, (), "57805.0"),
    "beyond the funds, from the last one up": ({"deposit": "131"}, (3,), "58984.7"),
    "beyond the funds, two": ({"deposit": "70"}, (2, 3), "59580.6"),
    "beyond the funds, all: h₁ below the last one laid": (
        {"deposit": "30"},
        (1, 2, 3),
        "57805.0",
    ),
    "below MIN_NOTIONAL": ({"mg_long": "0.2|10|2"}, (1,), "57805.0"),
}


@pytest.mark.parametrize(
    ("settings", "withdrawn", "trigger"), AFTER_THE_FILL.values(), ids=AFTER_THE_FILL.keys()
)
def test_levels_that_do_not_fit_the_real_fill_are_withdrawn_and_reported(
    settings: dict[str, Any], withdrawn: tuple[int, ...], trigger: str
) -> None:
    cycle = Story(**settings).entered().cycle
    assert cycle.withdrawn == withdrawn
    assert {f"withdrawn-{n}" for n in withdrawn} <= {a.key for a in cycle.alarms}
    assert cycle.grid is not None
    assert cycle.grid.hedge_trigger == dec(trigger)


@pytest.mark.parametrize(
    ("policy", "phase"), [(OnHedgeFailed.HOLD, Phase.TRADING), (OnHedgeFailed.CLOSE, Phase.CLOSING)]
)
def test_a_hedge_that_does_not_fit_after_the_fill_raises_an_alarm_or_closes(
    policy: OnHedgeFailed, phase: Phase
) -> None:
    story = Story(on_hedge_failed=policy, rules=btc_rules(min_notional="200"), extramarg="19")
    story.entered()
    assert "hedge-failed" in story.alarms
    assert story.cycle.phase is phase
    assert story.cycle.close_reason == (
        CloseReason.HEDGE_FAILED if phase is Phase.CLOSING else None
    )


def test_of_two_levels_on_one_price_the_later_is_withdrawn() -> None:
    story = Story(grid_long="0.5|0.00001|2", deposit="1000").entered("60000.1")
    assert story.cycle.withdrawn == (2,)
    assert story.averaged(1).open["level 3"] == "0.024 @ 58506.0"


def test_a_ladder_too_large_to_calculate_is_reported_and_the_position_still_protected() -> None:
    story = Story(mg_long="99999999999999|99999999999999|2").entered()
    assert {"no-grid", "hedge-failed"} <= set(story.alarms)
    assert story.open == {"take_profit": "0.004 @ 60300.0"}


def test_a_ladder_that_leaves_no_room_for_a_trigger_fails_the_hedge() -> None:
    story = Story(grid_long="99.99|99.99", mg_long="2|2").entered()
    assert "hedge-failed" in story.alarms


def test_max_hedges_of_0_is_no_failure() -> None:
    story = Story(max_hedges=0).entered().averaged(1, 2, 3)
    assert story.alarms == ()
    assert story.open == {"take_profit": "0.046 @ 58935.4"}


def test_refused_for_the_moment_it_is_tried_within_its_time_and_then_expires() -> None:
    story = Story()
    while story.order("entry").is_in_flight:
        story.refuse("entry", -1008)
        story.now_ms = story.order("entry").retry_at_ms
        story.wait(0)
    assert story.asked[0] == "place entry 0.004 @ MARKET"
    assert len(story.asked) > 4
    assert story.cycle.close_reason is CloseReason.ENTRY_EXPIRED
    assert all(step.cycle.orders[0].requested_at_ms < T0 + 15_000 for step in story.steps)

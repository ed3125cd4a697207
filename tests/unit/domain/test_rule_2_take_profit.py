"""Rule 2: one limit sell for the whole LONG side, amended in place."""

from collections.abc import Callable

import pytest

from core.domain.cycle import (
    CloseReason,
    Kind,
    OrderReported,
    Phase,
    PositionSide,
    PriceSeen,
    ReportedStatus,
    Request,
    Side,
)
from tests.builders import T0, Story, btc_rules, dec


def foreign(
    story: Story, name: str = "web_1", *, quantity: str = "0.001", **changes: object
) -> Story:
    """Let a person place a sell of LONG."""
    fields: dict[str, object] = {
        "at_ms": story.now_ms,
        "client_order_id": name,
        "status": ReportedStatus.OPEN,
        "side": Side.SELL,
        "position_side": PositionSide.LONG,
        "kind": Kind.LIMIT,
        "price": dec("61000"),
        "quantity": dec(quantity),
        "executed": dec(0),
        "average_price": None,
    }
    return story.tell(OrderReported(**(fields | changes)))  # type: ignore[arg-type] # a builder


CASES: dict[str, tuple[Callable[[Story], object], str | None]] = {
    "the entry filled": (lambda s: s, "0.004 @ 60300.0"),
    "its own partial fills change nothing": (
        lambda s: s.fill("take_profit", quantity="0.001"),
        "0.004 @ 60300.0",
    ),
    "a partly filled level moves it": (
        lambda s: s.fill("level 1", quantity="0.002"),
        "0.006 @ 60199.5",
    ),
    "what a person offers to sell is left out": (lambda s: foreign(s), "0.003 @ 60300.0"),
    "a person's stop order offers nothing yet": (
        lambda s: foreign(s, kind=Kind.STOP_MARKET),
        "0.004 @ 60300.0",
    ),
    "a person's buy order offers nothing": (
        lambda s: foreign(s, side=Side.BUY),
        "0.004 @ 60300.0",
    ),
    "a person offers all of it": (lambda s: foreign(s, quantity="0.004"), None),
    "a person's offer is over": (
        lambda s: foreign(foreign(s), status=ReportedStatus.CANCELED),
        "0.004 @ 60300.0",
    ),
    "a person sold a part": (
        lambda s: foreign(s, status=ReportedStatus.FILLED, executed=dec("0.001")),
        "0.003 @ 60300.0",
    ),
}


@pytest.mark.parametrize(("happens", "rests"), CASES.values(), ids=CASES.keys())
def test_what_rests(happens: Callable[[Story], object], rests: str | None) -> None:
    story = Story().entered()
    happens(story)
    story.settle()
    assert story.open.get("take_profit") == rests


def test_no_more_than_one_order_may_carry() -> None:
    story = Story(rules=btc_rules(max_quantity="0.009", market_max_quantity="0.009")).entered()
    assert story.averaged(1).open["take_profit"] == "0.009 @ 60119.1"


def test_one_that_the_exchange_cut_when_it_took_it_is_known_as_it_is_and_grows() -> None:
    """A person's offer, not known yet, reserved a part: the answer says how much was taken."""
    story = Story().fill("entry", "60000")
    order = story.order("take_profit")
    story.report(order, ReportedStatus.OPEN, quantity=dec("0.003"), answers=Request.PLACE)
    assert story.order("take_profit").quantity == dec("0.003")
    story.forget().wait(1_000)
    assert story.asked == ["amend take_profit 0.004 @ 60300.0"]


def test_it_is_amended_at_most_once_a_second() -> None:
    story = Story().entered().forget()
    story.now_ms = T0 + 400
    story.fill("level 1", quantity="0.002")
    assert story.asked == []
    assert story.steps[-1].wake_at_ms == T0 + 1_000
    story.now_ms = T0 + 700
    story.fill("level 1", quantity="0.004")
    story.now_ms = T0 + 1_000
    story.tell()
    assert "amend take_profit 0.010 @ 60119.1" in story.asked


def test_an_amendment_unanswered_is_left_alone_and_the_newest_target_wins_after_it() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").forget()
    story.now_ms += 5_000
    story.answer(story.order("level 2")).fill("level 2")
    assert [a for a in story.asked if "take_profit" in a] == []
    story.answer(story.order("take_profit"))
    assert "amend take_profit 0.022 @ 59726.1" in story.asked


def test_an_amendment_told_by_a_read_is_believed_only_when_no_late_one_can_come() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").lose("take_profit")
    for waited, in_flight in ((2_000, True), (8_000, False)):
        order = story.order("take_profit")
        asked = order.requested_at_ms + waited
        story.report(order, ReportedStatus.OPEN, asked_at_ms=asked)  # as before the amendment
        assert story.order("take_profit").is_in_flight is in_flight, waited
    assert story.order("take_profit").quantity == dec("0.004")
    story.wait(10_000)
    assert story.asked[-1] == "amend take_profit 0.010 @ 60119.1"


def test_an_old_answer_does_not_answer_a_newer_amendment() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1")
    first = story.order("take_profit")
    price, quantity = first.target_price, first.target_quantity
    # The stream was faster than the answer.
    story.report(first, ReportedStatus.OPEN, price=price, quantity=quantity)
    story.now_ms += 5_000
    story.answer(story.order("level 2")).fill("level 2")
    answers = Request.AMEND
    story.report(first, ReportedStatus.OPEN, price=price, quantity=quantity, answers=answers)
    assert story.order("take_profit").request is Request.AMEND


def test_refused_for_good_the_amendment_becomes_cancel_and_place() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").forget().refuse("take_profit", -5026)
    assert story.asked == ["cancel take_profit"]
    story.answer(story.order("take_profit"))
    assert story.asked[1:] == ["place take_profit 0.010 @ 60119.1"]
    assert story.order("take_profit").attempt == 2


REPEATED = [(-1008, 200), (-503, 200), (-1021, 200), (-2015, 1_000), (-2022, 200), (-5024, 1_000)]


@pytest.mark.parametrize(("code", "after_ms"), REPEATED)
def test_refused_for_the_moment_the_amendment_is_repeated(code: int, after_ms: int) -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").forget().refuse("take_profit", code)
    story.now_ms += 1_000
    story.tell()
    assert story.order("take_profit").retry_at_ms == story.now_ms - 1_000 + after_ms
    assert story.asked == ["amend take_profit 0.010 @ 60119.1"]


def test_refused_as_no_change_it_is_where_it_should_be() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1").refuse("take_profit", -5027)
    assert story.open["take_profit"] == "0.010 @ 60119.1"
    assert not story.order("take_profit").is_in_flight


def test_an_amendment_below_what_filled_meanwhile_cancels_and_is_nobody_elses_doing() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1")
    order = story.order("take_profit")
    story.report(
        order,
        ReportedStatus.CANCELED,
        price=order.target_price,
        quantity=order.target_quantity,
        answers=Request.AMEND,
    )
    assert story.alarms == ()
    assert story.settle().open["take_profit"] == "0.010 @ 60119.1"


def test_the_market_above_it_when_it_is_to_be_placed_closes_the_cycle_instead() -> None:
    story = Story().tell(PriceSeen(at_ms=T0, price=dec("60300")))
    story.fill("entry", "60000")
    assert story.cycle.close_reason is CloseReason.TAKE_PROFIT
    assert story.asked == ["place close_long 0.004 @ MARKET"]


def test_the_market_above_it_while_it_rests_is_left_to_the_exchange() -> None:
    story = Story().entered().tell(PriceSeen(at_ms=T0, price=dec("60400")))
    assert story.cycle.phase is Phase.TRADING


def test_while_its_placing_is_refused_a_trade_above_it_closes() -> None:
    story = Story().fill("entry", "60000").refuse("take_profit", -1111).trade("60299.9")
    assert story.cycle.phase is Phase.TRADING
    story.trade("60300.0")
    assert story.cycle.close_reason is CloseReason.TAKE_PROFIT


def test_refused_because_the_market_is_far_above_it_closes() -> None:
    story = Story().fill("entry", "60000").refuse("take_profit", -4024)
    assert story.cycle.close_reason is CloseReason.TAKE_PROFIT


def test_a_level_that_fills_while_the_amendment_is_in_flight_is_added_after_it() -> None:
    story = Story().entered()
    story.now_ms += 5_000
    story.fill("level 1", quantity="0.001").fill("level 1", quantity="0.005").settle()
    assert story.open["take_profit"] == "0.010 @ 60119.1"


def test_it_is_told_how_much_stands_behind_it() -> None:
    story = Story().entered().averaged(1)
    assert story.order("take_profit").reason == (
        "rule 2: LONG 0.01 at 59820 + 0.5 %, 0 of it already sold"
    )


def test_it_stays_while_the_price_of_another_order_s_fill_is_being_read() -> None:
    story = Story().entered().hedged()
    before = story.open["take_profit"]
    stop = story.order("hedge_stop 1")
    story.report(stop, ReportedStatus.FILLED, executed=dec("0.103"), quantity=dec("0.103"))
    assert not story.cycle.ledger.is_priced
    assert story.settle().open["take_profit"] == before

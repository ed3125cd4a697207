"""One turn of the loop: what is journalled, what is sent, and when to look again."""

from core.domain.cycle import Fact, PriceSeen, RequestsDecided, TimePassed, TradePrice
from core.domain.step import is_inside_band, take_step
from tests.builders import T0, Story, dec


def trades(*prices: str) -> list[Fact]:
    return [TradePrice(at_ms=T0, price=dec(price)) for price in prices]


def test_trades_inside_the_band_leave_the_last_of_them_as_a_price_seen() -> None:
    step = take_step(Story().entered().cycle, trades("60001", "60002", "60003"), now_ms=T0)
    assert step.facts == (PriceSeen(at_ms=T0, price=dec("60003")),)
    assert step.changes_nothing
    assert step.cycle.last_price == dec("60003")


def test_a_trade_outside_it_counts_where_it_stands() -> None:
    step = take_step(Story().entered().cycle, trades("60001", "57805", "57900"), now_ms=T0)
    assert [type(fact) for fact in step.facts] == [
        PriceSeen,
        TradePrice,
        PriceSeen,
        RequestsDecided,
    ]
    assert not step.changes_nothing
    assert step.cycle.levels_stopped


def test_the_band_is_taken_as_it_stands_when_the_trades_turn_comes() -> None:
    cycle = Story(trail_1="0.3", trail_2="0.1").entered().cycle
    assert is_inside_band(cycle, TradePrice(at_ms=T0, price=dec("60119.8")))
    step = take_step(cycle, trades("60180", "60119.8"), now_ms=T0)
    assert step.cycle.close_reason == "trailing"


def test_requests_are_decided_at_one_moment_which_the_journal_keeps() -> None:
    story = Story().fill("entry", "60000")
    assert story.steps[-1].facts[-1] == RequestsDecided(at_ms=story.now_ms)
    assert {order.requested_at_ms for order in story.requests} == {story.now_ms}


def test_where_only_facts_may_be_recorded_nothing_is_sent() -> None:
    cycle = Story().fill("entry", "60000").cycle
    passed = TimePassed(at_ms=T0 + 1)
    step = take_step(cycle, [passed], now_ms=T0 + 1, may_request=False)
    assert (step.requests, step.facts) == ((), (passed,))

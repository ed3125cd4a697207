"""An execution is known, its price is not yet: nothing that protects may go away meanwhile."""

from core.domain.cycle import FillsRead, OperatorAction, PositionSide, ReportedStatus, Side
from tests.builders import Story, a_fill, dec


def hedged_without_a_price() -> Story:
    """Return a story whose hedge went by MARKET; the answer told its total and no price."""
    story = Story().entered().averaged(1).fill("level 2").refuse("hedge 1", -2021).settle()
    assert "hedge_market 1" in story.open
    story.forget()
    market = story.order("hedge_market 1")
    return story.report(market, ReportedStatus.FILLED, executed=market.quantity)


def test_exits_stay_and_nothing_new_is_asked_for() -> None:
    story = hedged_without_a_price()
    assert not story.cycle.ledger.is_priced
    assert story.asked == []
    assert "take_profit" in story.open


def test_once_the_fills_were_read_the_rules_go_on() -> None:
    story = hedged_without_a_price()
    market = story.order("hedge_market 1")
    assert market.quantity is not None
    fill = a_fill(
        99,
        market.client_order_id,
        f"{market.quantity:f}",
        "57700",
        side=Side.SELL,
        position_side=PositionSide.SHORT,
        is_maker=False,
    )
    story.tell(FillsRead(at_ms=story.now_ms, fills=(fill,)))
    assert story.cycle.short.entry == dec("57700")
    assert "place hedge_stop 1 all @ 57988.5" in story.asked


def test_the_operators_close_of_a_side_goes_on() -> None:
    story = hedged_without_a_price()
    story.operator(OperatorAction.CLOSE_SHORT)
    assert [text for text in story.asked if text.startswith("place close_short")]

"""Orders that the cycle does not know: its own after a restore, an earlier or a later cycle's."""

import pytest

from core.domain.asks import FindOrder, asks
from core.domain.cycle import (
    ClientOrderId,
    EndedBy,
    FillsRead,
    Kind,
    OperatorAction,
    OrderReported,
    Phase,
    PositionSide,
    ReportedStatus,
    Role,
    Side,
    client_order_id,
    parse_client_order_id,
)
from tests.builders import T0, Story, a_fill, dec


def reported(story: Story, name: str, **changes: object) -> Story:
    """Tell an order that the cycle does not know; a resting level unless said otherwise."""
    fields: dict[str, object] = {
        "at_ms": story.now_ms,
        "client_order_id": name,
        "status": ReportedStatus.OPEN,
        "side": Side.BUY,
        "position_side": PositionSide.LONG,
        "kind": Kind.LIMIT,
        "price": dec("59103.0"),
        "quantity": dec("0.012"),
        "executed": dec(0),
        "average_price": None,
    }
    return story.tell(OrderReported(**(fields | changes)))  # type: ignore[arg-type] # a builder


def executed(story: Story, name: str, quantity: str, price: str, **changes: object) -> Story:
    """Read an execution of an order that the cycle does not know."""
    fill = a_fill(9, name, quantity, price, time_ms=story.now_ms, **changes)  # type: ignore[arg-type] # a builder
    return story.tell(FillsRead(at_ms=story.now_ms, fills=(fill,)))


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.FOREIGN])
def test_a_client_id_says_what_it_was_made_of(role: Role) -> None:
    text = client_order_id(key="0k2m", role=role, number=12, attempt=3)
    assert parse_client_order_id(text) == ClientOrderId(key="0k2m", role=role, number=12, attempt=3)


@pytest.mark.parametrize("text", ["web_1", "tb-", "tb-c1-xx0-1", "tb-c1-lv1", "autoclose-1", ""])
def test_other_ids_say_nothing(text: str) -> None:
    assert parse_client_order_id(text) is None


class TestItsOwn:
    def test_what_rests_takes_its_place(self) -> None:
        story = Story().entered()
        reported(story, "tb-c1-lv2-1")
        assert story.order("level 2").is_resting
        assert story.open["level 2"] == "0.012 @ 59103.0"
        assert story.alarms == ("restored",)

    def test_what_filled_is_not_placed_again(self) -> None:
        story = Story().entered().forget()
        story.fill("level 1")
        story.forget()
        reported(story, "tb-c1-lv2-1", status=ReportedStatus.FILLED, executed=dec("0.012"))
        executed(story, "tb-c1-lv2-1", "0.012", "59103.0")
        assert story.cycle.long.quantity == dec("0.022")
        assert [a for a in story.asked if "level 2" in a] == []

    def test_the_attempt_of_one_that_came_to_nothing_is_taken(self) -> None:
        story = Story().entered()
        for attempt in (2, 3):
            reported(story, f"tb-c1-tp0-{attempt}", status=ReportedStatus.CANCELED, side=Side.SELL)
        assert {o.ended_by for o in story.cycle.of(Role.TAKE_PROFIT)} == {None, EndedBy.US}
        story.end("take_profit", ReportedStatus.CANCELED)
        story.report(next(story.cycle.of(Role.TAKE_PROFIT)), ReportedStatus.CANCELED)
        assert story.order("take_profit").attempt == 4

    def test_one_that_closes_all_has_no_quantity_of_its_own(self) -> None:
        story = Story().entered().hedged()
        name = "tb-c1-gd0-4"
        reported(
            story, name, kind=Kind.STOP_MARKET, side=Side.SELL, status=ReportedStatus.TRIGGERED
        )
        guard = story.cycle.order(name)
        assert guard is not None
        assert (guard.close_position, guard.quantity) == (True, None)

    @pytest.mark.parametrize(("price", "trigger"), [("57700", "57700"), (None, "57805.0")])
    def test_a_hedge_is_armed_as_the_exchange_shows_it(
        self, price: str | None, trigger: str
    ) -> None:
        story = Story().entered()
        reported(
            story,
            "tb-c1-hg1-1" if price else "tb-c1-hm1-1",
            kind=Kind.STOP_MARKET if price else Kind.MARKET,
            side=Side.SELL,
            position_side=PositionSide.SHORT,
            price=None if price is None else dec(price),
            quantity=dec("0.103"),
        )
        assert story.cycle.hedge_triggers == (dec(trigger),)
        assert [o.number for o in story.cycle.of(Role.FOREIGN)] == []

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("tb-c1-lv2-1", Kind.LIMIT), ("tb-c1-cl0-1", Kind.MARKET)],
    )
    def test_known_from_an_execution_alone_it_is_looked_up(self, name: str, kind: Kind) -> None:
        story = Story().entered().operator(OperatorAction.PAUSE).fill("level 1").settle()
        is_level = kind is Kind.LIMIT
        side, quantity = (Side.BUY, "0.002") if is_level else (Side.SELL, "0.001")
        executed(story, name, quantity, "59103", side=side)
        order = story.cycle.order(name)
        assert order is not None
        assert (order.kind, order.quantity, order.executed) == (kind, None, dec(quantity))
        assert FindOrder(client_order_id=name) in [ask.question for ask in asks(story.cycle)]
        if is_level:
            story.now_ms += 1
            reported(story, name, executed=dec("0.002"), asked_at_ms=story.now_ms)
            assert story.order("level 2").quantity == dec("0.012")
        assert [a.question for a in asks(story.cycle)] == (
            [] if is_level else [FindOrder(client_order_id=name)]
        )

    def test_of_a_stop_the_execution_tells_that_it_triggered(self) -> None:
        story = Story().entered()
        executed(
            story, "tb-c1-hg1-1", "0.1", "57800", side=Side.SELL, position_side=PositionSide.SHORT
        )
        hedge = story.order("hedge 1")
        assert (hedge.is_triggered, story.cycle.short.quantity) == (True, dec("0.1"))
        assert FindOrder(client_order_id="tb-c1-hg1-1") in [a.question for a in asks(story.cycle)]


class TestAnEarlierCycles:
    def test_it_is_counted_and_taken_back(self) -> None:
        story = Story().entered().forget()
        reported(story, "tb-c0-lv2-1")
        assert story.alarms == ("foreign-tb-c0-lv2-1",)
        assert story.asked == ["cancel foreign 1"]

    def test_one_that_came_to_nothing_is_none(self) -> None:
        story = Story().entered()
        reported(story, "tb-c0-lv2-1", status=ReportedStatus.CANCELED)
        assert list(story.cycle.of(Role.FOREIGN)) == []


class TestALaterCycles:
    """This one had ended by then, and the database does not know."""

    def test_nothing_of_it_is_counted_and_nothing_is_sent(self) -> None:
        story = Story().entered().forget()
        reported(story, "tb-c2-lv2-1")
        executed(story, "tb-c2-en0-1", "0.004", "60000")
        story.now_ms += 60_000
        story.position("0.004").trade("61000", "50000").operator(OperatorAction.HANDS_ON)
        assert story.cycle.long.quantity == dec("0.004")
        assert list(story.cycle.of(Role.FOREIGN)) == []
        assert story.alarms == ("outlived",)
        assert story.asked == []

    def test_this_one_ends_when_its_own_orders_and_fills_say_so(self) -> None:
        story = Story().entered()
        executed(story, "tb-c2-en0-1", "0.009", "60000")
        story.end("level 1", ReportedStatus.CANCELED)
        assert story.cycle.phase is Phase.TRADING
        story.fill("take_profit")
        assert (story.cycle.phase, story.cycle.ended_at_ms) == (Phase.ENDED, T0)

    def test_and_not_before(self) -> None:
        story = Story().entered()
        reported(story, "tb-c2-tp0-1", status=ReportedStatus.CANCELED)
        story.fill("take_profit")
        assert story.cycle.phase is Phase.CLOSING  # its level has not been seen to be over
        story.position("0.009")
        assert story.cycle.flat_read_at_ms is None
        assert story.cycle.suspect is None

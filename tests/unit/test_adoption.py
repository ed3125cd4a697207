"""Whether a position may be taken on, and the cycle that comes of it."""

import pytest

from core.adoption import Adoption, AdoptionPicture, plan_adoption
from core.domain.cycle import (
    Kind,
    OrderReported,
    PositionChecked,
    PositionSide,
    ReportedStatus,
    Side,
    SideReport,
)
from core.domain.settings import Bracket, Policy
from core.errors import AlertInvalid
from core.ports import BestPrices, SymbolConfig
from tests.builders import T0, Story, btc_rules, dec, example_settings

RULES = btc_rules(
    brackets=(
        Bracket(
            initial_leverage=20,
            notional_cap=dec("50000"),
            maintenance_rate=dec("0.01"),
            cumulative=dec(0),
        ),
    )
)


def an_order(name: str) -> OrderReported:
    return OrderReported(
        at_ms=T0,
        client_order_id=name,
        status=ReportedStatus.OPEN,
        side=Side.SELL,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=dec("61000"),
        quantity=dec("0.004"),
        executed=dec(0),
        average_price=None,
    )


def planned(
    *,
    long: str = "0.004",
    entry: str = "60000",
    short: str = "0",
    bid: str = "60000",
    leverage: int = 10,
    orders: tuple[str, ...] = (),
    **settings: object,
) -> Adoption:
    sides = (
        SideReport(quantity=dec(quantity), entry=dec(price), updated_at_ms=T0)
        for quantity, price in ((long, entry), (short, "0"))
    )
    return plan_adoption(
        example_settings(**settings),
        RULES,
        AdoptionPicture(
            prices=BestPrices(bid=dec(bid), ask=dec(bid) + 1),
            config=SymbolConfig(leverage=leverage, margin_type="CROSSED"),
            position=PositionChecked(at_ms=T0, asked_at_ms=T0, long=next(sides), short=next(sides)),
            open_orders=tuple(an_order(name) for name in orders),
        ),
        policy=Policy(),
        key="c1",
        now_ms=T0,
    )


def test_the_rules_go_on_from_the_position_as_after_an_entry_and_nothing_is_bought_for_it() -> None:
    story = Story(planned().cycle)
    story.tell().wait(0)
    assert story.asked == [
        "place take_profit 0.004 @ 60300.0",
        "place level 1 0.006 @ 59700.0",
    ]
    story.settle().averaged(1)
    assert story.cycle.long.entry == dec("59820")
    assert story.open["take_profit"] == "0.010 @ 60119.1"


def test_the_ladder_may_be_laid_from_another_price() -> None:
    adoption = planned(entry="70000", bid="60000", entry_price="60000", tp="20")
    assert adoption.grid.levels[0].price == dec("59700")
    assert adoption.grid.take_profit == dec("84000")


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "flat": ({"long": "0"}, "there is no LONG"),
    "a SHORT": ({"short": "0.1"}, "a SHORT cannot be taken on"),
    "dust": ({"long": "0.0004"}, "no multiple of the step"),
    "another leverage": ({"leverage": 20}, "the symbol is set to 20"),
    "more than the deposit carries": ({"long": "0.06"}, "more than deposit"),
    "below the smallest order": (
        {"long": "0.001", "entry": "40000", "bid": "39990"},
        "less than the minimum",
    ),
    "a level above the market": ({"bid": "59700"}, "level 1 would lie at 59700, not below"),
    "a hedge above the market": (
        {"bid": "59800", "grid_long": "", "mg_long": ""},
        "the hedge's trigger would lie at 59880, not below",
    ),
    "beyond its take-profit": ({"bid": "60300"}, "closed at once (take_profit)"),
    "beyond its largest loss": (
        {"bid": "59000", "entry_price": "58900", "max_loss": "3"},
        "closed at once (max_loss)",
    ),
}


@pytest.mark.parametrize(("what", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_the_reason(what: dict[str, object], reason: str) -> None:
    with pytest.raises(AlertInvalid) as refused:
        planned(**what)  # type: ignore[arg-type] # by name
    assert reason in str(refused.value)


def test_open_orders_are_named() -> None:
    assert planned(orders=("web_1", "tb-c0-tp0-1")).warnings == (
        "order web_1 is not ours: it stays, and is counted",
        "order tb-c0-tp0-1 of a cycle that is not known here will be cancelled",
    )

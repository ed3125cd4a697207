"""Strategy, section 3: what must hold before an entry, each clause with its numbers."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.domain.cycle import (
    Kind,
    OrderReported,
    PositionChecked,
    PositionSide,
    ReportedStatus,
    Request,
    Role,
    Side,
    SideReport,
)
from core.domain.settings import Policy, SymbolRules
from core.entry_checks import (
    EntryPicture,
    EntryPlan,
    begun_cycle,
    plan_entry,
    require_hedge_mode,
)
from core.errors import AlertInvalid, SymbolInUse
from core.ports import Balance, BestPrices, SymbolConfig
from tests.unit.samples import bracket, sample_rules, sample_settings

D = Decimal
RULES = replace(sample_rules(), brackets=(bracket(125, "50000", "0.004", "0"),))


def side(quantity: str = "0") -> SideReport:
    """Return one side of a reported position."""
    return SideReport(quantity=D(quantity), entry=D(0), updated_at_ms=0)


def resting(name: str) -> OrderReported:
    """Return a person's limit order."""
    return OrderReported(
        at_ms=1,
        client_order_id=name,
        status=ReportedStatus.OPEN,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=D(50000),
        quantity=D("0.01"),
        executed=D(0),
        average_price=None,
    )


def picture(
    *,
    bid: str = "59999.9",
    ask: str = "60000",
    long: str = "0",
    short: str = "0",
    orders: tuple[OrderReported, ...] = (),
    conditional_orders: int = 0,
    wallet: str = "10000",
    available: str = "10000",
    open_cycles_margin: str = "0",
    is_cross_margin: bool = True,
) -> EntryPicture:
    """Return a quiet exchange with changes."""
    position = PositionChecked(at_ms=1, asked_at_ms=1, long=side(long), short=side(short))
    return EntryPicture(
        prices=BestPrices(bid=D(bid), ask=D(ask)),
        config=SymbolConfig(leverage=20, margin_type="CROSSED"),
        is_cross_margin=is_cross_margin,
        position=position,
        open_orders=orders,
        conditional_orders=conditional_orders,
        balance=Balance(wallet=D(wallet), available=D(available)),
        open_cycles_margin=D(open_cycles_margin),
    )


def plan(
    seen: EntryPicture | None = None,
    *,
    rules: SymbolRules = RULES,
    lack_of_funds_warns: bool = False,
    **alert: Any,
) -> EntryPlan:
    """Return the plan for the sample alert with changes."""
    return plan_entry(
        sample_settings(**alert),
        rules,
        picture() if seen is None else seen,
        policy=Policy(),
        lack_of_funds_warns=lack_of_funds_warns,
    )


def refusal(*args: Any, **kwargs: Any) -> dict[str, str]:
    """Return each field that is refused with its reason."""
    with pytest.raises(AlertInvalid) as refused:
        plan(*args, **kwargs)
    return {error.field: error.reason for error in refused.value.errors}


def test_a_quiet_exchange_lets_the_worked_example_in() -> None:
    entry = plan()
    assert entry.quantity == D("0.004")
    assert entry.warnings == ()
    # The ladder is laid from the price that the entry may cost at most.
    assert entry.grid.entry_price == D("60120")


# --- The symbol must be free ---


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (picture(long="0.010"), "LONG 0.010"),
        (picture(short="0.002"), "SHORT 0.002"),
        (picture(orders=(resting("by-hand"),)), "order by-hand"),
        (picture(long="1", orders=(resting("a"), resting("b"))), "LONG 1, order a, order b"),
    ],
)
def test_a_symbol_in_use_is_left_alone(seen: EntryPicture, found: str) -> None:
    with pytest.raises(SymbolInUse, match=found):
        plan(seen)


def test_a_symbol_in_use_is_said_before_anything_else() -> None:
    with pytest.raises(SymbolInUse):
        plan(picture(long="1", available="0"))


def test_one_way_mode_is_no_place_for_a_hedge() -> None:
    require_hedge_mode(True)
    with pytest.raises(AlertInvalid, match="Hedge Mode"):
        require_hedge_mode(False)


# --- The grid at the pre-check price ---


def test_an_amount_in_quote_is_divided_by_the_ask_and_its_margin() -> None:
    # 241 / 60120 = 0.0040086; at the ask itself it would be 0.0040166: the same step here ...
    amount: dict[str, Any] = {"open__amountType": "quote"}
    assert plan(open__amount="241", **amount).quantity == D("0.004")
    # ... but 300.3 / 60000 = 0.005005 is a step more than 300.3 / 60120 = 0.004995.
    assert plan(open__amount="300.3", **amount).quantity == D("0.004")


def test_an_amount_in_quote_ignores_the_entry_price() -> None:
    changes: dict[str, Any] = {
        "open__amountType": "quote",
        "open__amount": "300.3",
        "open__entry_price": "59990",
    }
    assert plan(**changes).quantity == D("0.004")


def test_funds_count_the_entry_at_the_ask_and_its_margin() -> None:
    # The ladder below 60000 needs 240 + 2457.5376; with the entry at 60120 it is 240.48 + ….
    changes: dict[str, Any] = {"open__entry_price": "60000", "settings__deposit": "269.76"}
    reason = refusal(**changes)["settings.deposit"]
    assert "2698.0176" in reason
    assert "269.76 × leverage 10 = 2697.60" in reason
    assert plan(open__entry_price="60000", settings__deposit="269.81").quantity == D("0.004")


def test_the_minimum_notional_of_the_entry_holds_at_the_ask_too() -> None:
    # 0.004 × 60120 = 240.48 would do, 0.004 × 60000 = 240 does not.
    rules = replace(RULES, min_notional=D("240.2"))
    assert "less than the minimum notional 240.2" in refusal(rules=rules)["open.amount"]
    assert plan(rules=replace(RULES, min_notional=D(240))).quantity == D("0.004")


def test_a_violation_is_told_once_and_under_the_field_that_causes_it() -> None:
    with pytest.raises(AlertInvalid) as refused:
        plan(open__amount="0.0001")
    fields = [error.field for error in refused.value.errors]
    assert "open.amount" in fields
    assert len(refused.value.errors) == len(set(refused.value.errors))


def test_an_amount_with_more_steps_than_can_be_counted_is_refused() -> None:
    rules = replace(RULES, step_size=D("1e-17"))
    assert "more steps" in refusal(rules=rules, open__amount="999999999999999")["open.amount"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"settings__extramarg": "1", "settings__offset_short": "0.2"}, "settings.extramarg"),
        ({"settings__grid_long": "0.5|99.9|2"}, "settings.grid_long"),
        ({"settings__tp": "9999999"}, "settings.tp"),
    ],
)
def test_each_violation_names_its_field(changes: dict[str, Any], field: str) -> None:
    assert field in refusal(**changes)


BY_QUOTE: dict[str, Any] = {"open__amountType": "quote"}
REFUSED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    # name: (rules, alert, "field = value … what would do")
    "too little deposit": (
        {},
        {"settings__deposit": "250"},
        "settings.deposit = 250: … ; a deposit of 270.3 or more carries it",
    ),
    "an entry below the minimum notional": (
        {"min_notional": "250"},
        {"settings__deposit": "600"},
        "open.amount = 0.004: … ; an amount of 0.005 or more does",
    ),
    "an entry by quote below the minimum notional": (
        {"min_notional": "250"},
        {"open__amount": "250", "settings__deposit": "600", **BY_QUOTE},
        "open.amount = 250: … ; an amount of 300.6 or more does",
    ),
    "an entry below the minimum of MARKET orders": (
        {"market_min_quantity": "0.006"},
        {"settings__deposit": "600"},
        "open.amount = 0.004: … ; an amount of 0.006 or more does",
    ),
    "a hedge below the minimum notional": (
        {"min_notional": "100"},
        {"settings__extramarg": "6"},
        "settings.extramarg = 6: … ; 11.59 or more does",
    ),
    "a hedge of less than 11": (
        {
            "min_notional": "5",
            "min_quantity": "0.0001",
            "market_min_quantity": "0.0001",
            "step_size": "0.0001",
            "market_step_size": "0.0001",
        },
        {"settings__extramarg": "1"},
        "settings.extramarg = 1: … ; 1.1 or more does",
    ),
}


@pytest.mark.parametrize(("rules", "alert", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_shows_the_value_and_names_one_that_fits(
    rules: dict[str, str], alert: dict[str, Any], told: str
) -> None:
    changed = replace(sample_rules(**rules), brackets=RULES.brackets)
    with pytest.raises(AlertInvalid) as refused:
        plan(rules=changed, **alert)
    beginning, end = told.split(" … ")
    texts = [str(error) for error in refused.value.errors if str(error).endswith(end)]
    assert texts
    assert texts[0].startswith(beginning)
    # What is named does fit, and the next smaller number does not.
    field = beginning.split(" = ")[0].replace(".", "__")
    number = D(next(word for word in end.split() if word[0].isdigit()))
    plan(rules=changed, **{**alert, field: f"{number:f}"})
    step = D("0.001") if "amount = 0.0" in told else D("0.01")
    with pytest.raises(AlertInvalid):
        plan(rules=changed, **{**alert, field: f"{number - step:f}"})


WITHOUT_A_NUMBER: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "level too small": (
        {"min_notional": "60"},
        {"settings__mg_long": "0.25|2|2"},
        "settings.mg_long = 0.25|2|2: … ; raise open.amount or mg_long",
    ),
    "level too large": (
        {"max_quantity": "0.02"},
        {},
        "settings.mg_long = 1.5|2|2: … ; lower open.amount or mg_long",
    ),
    "two levels on one price": (
        {"tick_size": "1000"},
        {"settings__grid_long": "1.1|0.1|2"},
        "settings.grid_long = 1.1|0.1|2: … the price of the level above",
    ),
    "take-profit too high": (
        {"max_price": "60200"},
        {},
        "settings.tp = 0.5: … is outside 500 … 60200",
    ),
    "entry above the maximum of MARKET orders": (
        {"market_max_quantity": "0.003"},
        {},
        "open.amount = 0.004: … for MARKET orders",
    ),
    "all levels together too large": (
        {"max_quantity": "0.045"},
        {},
        "open.amount = 0.004: … more than one order may carry (0.045)",
    ),
    "a hedge's trigger that rounds to 0": (
        {"min_price": "0", "min_notional": "0"},
        {"settings__grid_long": "0.5|1|99.9999999"},
        "settings.extramarg = 600: … make grid_long or offset_short smaller",
    ),
    "numbers too large": (
        {},
        {"settings__mg_long": "99999999999999|99999999999999|2"},
        "settings = amount 0.004, mg_long 99999999999999|99999999999999|2: … or tp smaller",
    ),
}


@pytest.mark.parametrize(
    ("rules", "alert", "told"), WITHOUT_A_NUMBER.values(), ids=WITHOUT_A_NUMBER.keys()
)
def test_a_refusal_shows_the_value_where_no_number_can_be_named(
    rules: dict[str, str], alert: dict[str, Any], told: str
) -> None:
    changed = replace(sample_rules(**rules), brackets=RULES.brackets)
    with pytest.raises(AlertInvalid) as refused:
        plan(rules=changed, **alert)
    beginning, end = told.split(" … ", 1)
    texts = [str(error) for error in refused.value.errors]
    assert [one for one in texts if one.startswith(beginning) and one.endswith(end)], texts


# --- entry_price ---


def test_an_entry_price_far_above_the_market_is_refused() -> None:
    assert plan(open__entry_price="60120").quantity == D("0.004")
    assert (
        "at most best ask 60000 × 1.002 = 60120"
        in refusal(open__entry_price="60120.1")["open.entry_price"]
    )


def test_level_1_must_lie_below_the_best_bid() -> None:
    # Level 1 lies 0.5 % below: at 59700 from 60000.
    seen = picture(bid="59700", ask="60000")
    reason = refusal(seen, open__entry_price="60000")["open.entry_price"]
    assert "level 1 would lie at 59700.0, not below the best bid 59700" in reason
    allowed = plan(picture(bid="59700.1"), open__entry_price="60000")
    assert allowed.grid.levels[0].price == D("59700.0")


def test_without_levels_the_hedges_trigger_must_lie_below_the_best_bid() -> None:
    bare: dict[str, Any] = {
        "settings__order_quan": "0",
        "settings__grid_long": "",
        "settings__mg_long": "",
    }
    # 0.2 % below 60000 is 59880.
    reason = refusal(picture(bid="59880"), open__entry_price="60000", **bare)["open.entry_price"]
    assert "the hedge's trigger would lie at 59880.0" in reason
    allowed = plan(picture(bid="59880.1"), open__entry_price="60000", **bare)
    assert allowed.grid.hedge_trigger == D("59880.0")


def test_without_levels_and_hedge_nothing_must_lie_below_the_bid() -> None:
    bare: dict[str, Any] = {
        "settings__order_quan": "0",
        "settings__grid_long": "",
        "settings__mg_long": "",
    }
    allowed = plan(picture(bid="1"), open__entry_price="60000", settings__extramarg="0", **bare)
    assert allowed.grid.levels == ()


# --- Leverage, funds, room ---


def test_long_and_hedge_together_must_fit_the_bracket() -> None:
    # LONG 240.48 + 2462.4516 of levels below 60120 = 2702.9316, hedge 57920.7 × 0.103 = 5965.8321.
    fits = replace(RULES, brackets=(bracket(10, "8668.7637", "0.01", "0"),))
    assert plan(rules=fits).quantity == D("0.004")
    short = replace(RULES, brackets=(bracket(10, "8668.7636", "0.01", "0"),))
    reason = refusal(rules=short)["open.leverage"]
    assert reason == (
        "LONG 2702.9316 + hedge 5965.8321 USDT is more than the 8668.7636 that BTCUSDT allows at "
        "this leverage"
    )


def test_without_brackets_nothing_is_sent() -> None:
    assert "not known" in refusal(rules=replace(RULES, brackets=()))["open.leverage"]


def test_the_available_balance_must_cover_both_margins() -> None:
    assert plan(picture(available="900")).warnings == ()
    reason = refusal(picture(available="899.99"))["settings.deposit"]
    assert reason == "deposit + extramarg is 900 USDT, the account has 899.99 available"


def test_lack_of_funds_may_be_a_warning() -> None:
    entry = plan(picture(available="899.99"), lack_of_funds_warns=True)
    assert any("899.99 available" in text for text in entry.warnings)


def test_more_margin_promised_than_the_wallet_holds_is_a_warning() -> None:
    assert plan(picture(wallet="10000", open_cycles_margin="9100")).warnings == ()
    (warning,) = plan(picture(wallet="10000", open_cycles_margin="9100.01")).warnings
    assert "10000.01 USDT, the wallet holds 10000" in warning


def test_three_conditional_orders_must_still_fit_the_account() -> None:
    assert plan(picture(conditional_orders=197)).quantity == D("0.004")
    assert "room for 3 more" in refusal(picture(conditional_orders=198))["account"]


def test_everything_wrong_is_told_at_once() -> None:
    seen = picture(available="1", conditional_orders=200)
    found = refusal(seen, rules=replace(RULES, brackets=()), open__entry_price="70000")
    assert set(found) == {"account", "open.leverage", "settings.deposit", "open.entry_price"}


def test_with_isolated_margin_the_wallet_says_nothing_of_liquidation() -> None:
    # A wallet that a cross position would have used up by the hedge's trigger.
    small: dict[str, Any] = {"wallet": "40", "available": "900"}
    crossed = plan(picture(**small))
    isolated = plan(picture(**small, is_cross_margin=False))
    assert any("liquidated" in text for text in crossed.warnings)
    assert not any("liquidated" in text for text in isolated.warnings)


# --- The cycle that begins ---


def test_a_cycle_begins_with_its_entry_about_to_be_sent() -> None:
    cycle = begun_cycle(
        sample_settings(), RULES, quantity=D("0.004"), policy=Policy(), key="k1", now_ms=5_000
    )
    entry = cycle.entry_order
    assert entry is not None
    assert cycle.orders == (entry,)
    assert (entry.role, entry.kind, entry.side) == (Role.ENTRY, Kind.MARKET, Side.BUY)
    assert (entry.request, entry.requested_at_ms) == (Request.PLACE, 5_000)
    assert (entry.target_quantity, entry.client_order_id) == (D("0.004"), "tb-k1-en0-1")
    assert cycle.accepted_at_ms == 5_000

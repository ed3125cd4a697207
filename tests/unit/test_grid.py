"""The grid: the worked example digit for digit, the modes, every violation, and its properties."""

import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.settings import AmountType, SymbolRules
from core.grid import (
    Grid,
    ViolationCode,
    calculate_grid_orders,
    entry_quantity_for,
    hedge_fits,
    hedge_quantity,
)
from core.money import ceil_tick, floor_tick, percent_above, to_wire
from tests.unit.samples import BRACKETS, sample_rules, sample_settings

P0 = Decimal("60000.0")


def lay(
    rules: SymbolRules | None = None,
    *,
    at: str = "60000.0",
    quantity: str | None = None,
    fill: str | None = None,
    **changes: Any,
) -> Grid:
    return calculate_grid_orders(
        sample_settings(**changes),
        Decimal(at),
        rules or sample_rules(),
        None if quantity is None else Decimal(quantity),
        entry_fill_price=None if fill is None else Decimal(fill),
    )


class TestWorkedExample:
    def test_levels(self) -> None:
        grid = lay()
        assert [
            (
                level.number,
                to_wire(level.exact_price.normalize()),
                to_wire(level.price),
                to_wire(level.exact_quantity.normalize()),
                to_wire(level.quantity),
                to_wire(level.average_price.normalize())[:10],
            )
            for level in grid.levels
        ] == [
            (1, "59700", "59700.0", "0.006", "0.006", "59820"),
            (2, "59103", "59103.0", "0.012", "0.012", "59428.9090"),
            (3, "57920.94", "57920.9", "0.024", "0.024", "58642.1217"),
        ]
        assert grid.violations == ()
        assert grid.level(3) is grid.levels[2]

    def test_entry(self) -> None:
        grid = lay()
        assert (grid.entry_price, grid.entry_fill_price) == (P0, P0)
        assert grid.entry_quantity == Decimal("0.004")
        assert to_wire(grid.entry_break_even)[:10] == "60060.0300"

    def test_take_profit_of_the_entry_and_after_level_1(self) -> None:
        grid = lay()
        assert to_wire(grid.take_profit) == "60300.0"
        after = percent_above(grid.level(1).average_price, Decimal("0.5"))
        assert to_wire(ceil_tick(after, Decimal("0.1"))) == "60119.1"

    def test_funds(self) -> None:
        grid = lay()
        assert grid.total_notional == Decimal("2697.5376")
        assert grid.notional_left == Decimal("302.4624")

    def test_funds_of_a_smaller_deposit(self) -> None:
        (violation,) = lay(settings__deposit="250").violations
        assert violation.code is ViolationCode.FUNDS
        assert violation.level is None
        assert "2697.5376" in violation.text
        assert "2500" in violation.text

    def test_hedge(self) -> None:
        grid = lay()
        assert grid.hedge_trigger is not None
        assert to_wire(grid.hedge_trigger) == "57805.0"
        assert grid.hedge_quantity == Decimal("0.103")

    def test_second_hedge(self) -> None:
        trigger = floor_tick(Decimal("57800.0") * Decimal("0.998"), Decimal("0.1"))
        assert to_wire(trigger) == "57684.4"
        quantity = hedge_quantity(
            margin=Decimal("564.161665"), leverage=10, trigger=trigger, symbol=sample_rules()
        )
        assert quantity == Decimal("0.097")


class TestModes:
    def test_offset_counts_every_level_from_the_entry(self) -> None:
        grid = lay(settings__grid_mode="offset")
        assert [to_wire(level.price) for level in grid.levels] == ["59700.0", "59400.0", "58800.0"]
        assert grid.hedge_trigger == Decimal("58682.4")

    def test_percent_adds_to_the_quantity_before(self) -> None:
        grid = lay(settings__mg_mode="percent", settings__mg_long="50|100|100")
        assert [level.quantity for level in grid.levels] == [
            level.quantity for level in lay().levels
        ]

    def test_quantities_keep_full_precision_from_level_to_level(self) -> None:
        grid = lay(settings__mg_long="1.4|1.4|1.4")
        # 0.0056, 0.00784, 0.010976; rounding each level first would make the last one 0.009.
        assert [str(level.quantity) for level in grid.levels] == ["0.005", "0.007", "0.010"]

    def test_prices_keep_full_precision_from_level_to_level(self) -> None:
        rules = sample_rules(tick_size="100")
        grid = lay(rules, settings__grid_long="0.9|0.9|0.9")
        # 59460, 58924.86, 58394.53…; rounding first would make level 2 58800 and level 3 58200.
        assert [level.price for level in grid.levels] == [59400, 58900, 58300]

    def test_the_executed_quantity_replaces_the_asked_one(self) -> None:
        grid = lay(quantity="0.003")
        assert [str(level.quantity) for level in grid.levels] == ["0.004", "0.009", "0.018"]

    def test_quote_amount_buys_whole_steps(self) -> None:
        grid = lay(open__amountType="quote", open__amount="299")
        assert grid.entry_quantity == Decimal("0.004")
        settings = sample_settings(open__amountType="quote", open__amount="299")
        assert settings.amount_type is AmountType.QUOTE
        assert entry_quantity_for(settings, Decimal(60120), sample_rules()) == Decimal("0.004")

    def test_base_amount_is_cut_to_the_step(self) -> None:
        assert lay(open__amount="0.0049").entry_quantity == Decimal("0.004")

    def test_a_given_entry_price_hangs_the_ladder_and_not_the_costs(self) -> None:
        grid = lay(at="58000.0", fill="60000.0")
        assert to_wire(grid.level(1).price) == "57710.0"
        assert to_wire(grid.take_profit) == "60300.0"
        assert grid.level(1).average_price == (
            240 + Decimal("57710.0") * Decimal("0.006")
        ) / Decimal("0.010")
        notionals = [level.price * level.quantity for level in grid.levels]
        assert grid.total_notional == 240 + sum(notionals)

    def test_without_levels_the_hedge_hangs_from_the_entry(self) -> None:
        grid = lay(settings__order_quan=0, settings__grid_long=None, settings__mg_long=None)
        assert grid.levels == ()
        assert grid.total_notional == 240
        assert grid.hedge_trigger == Decimal("59880.0")
        assert grid.violations == ()

    def test_without_a_hedge(self) -> None:
        grid = lay(settings__extramarg="0")
        assert grid.hedge_trigger is None
        assert grid.hedge_quantity is None
        assert grid.violations == ()

    def test_the_hedge_is_cut_to_one_market_order(self) -> None:
        grid = lay(sample_rules(market_max_quantity="0.05"))
        assert grid.hedge_quantity == Decimal("0.05")
        assert grid.violations == ()

    def test_a_limit_of_zero_is_no_limit(self) -> None:
        assert lay(sample_rules(max_price="0", min_price="0")).violations == ()


class TestBreakEven:
    """A close by MARKET at the break-even pays back every commission, and not a cent more."""

    @pytest.mark.parametrize("number", [0, 1, 2, 3])
    def test_break_even(self, number: int) -> None:
        grid, rules = lay(), sample_rules()
        levels = grid.levels[:number]
        held = grid.entry_quantity + sum(level.quantity for level in levels)
        cost = P0 * grid.entry_quantity * (1 + rules.taker_rate)
        cost += sum(level.price * level.quantity * (1 + rules.maker_rate) for level in levels)
        price = levels[-1].break_even if levels else grid.entry_break_even
        assert abs(price * held * (1 - rules.taker_rate) - cost) < Decimal("1e-18")


# name: (rules, changes of the alert, [(code, level, what the text says)])
VIOLATIONS: dict[
    str, tuple[dict[str, Any], dict[str, Any], list[tuple[ViolationCode, int | None, str]]]
] = {
    "entry below the minimum quantity": (
        {"min_quantity": "0.005"},
        {},
        [(ViolationCode.LOT, 0, "entry: quantity 0.004 is outside 0.005 … 1000")],
    ),
    "entry above the maximum of MARKET orders": (
        {"market_max_quantity": "0.003"},
        {"settings__extramarg": "0"},
        [(ViolationCode.MARKET_LOT, 0, "quantity 0.004 is outside 0.001 … 0.003")],
    ),
    "entry below the minimum of MARKET orders": (
        {"market_min_quantity": "0.005"},
        {},
        [(ViolationCode.MARKET_LOT, 0, "quantity 0.004 is outside 0.005 … 120")],
    ),
    "entry off the step of MARKET orders": (
        {"market_step_size": "0.003"},
        {},
        [(ViolationCode.MARKET_LOT, 0, "in steps of 0.003")],
    ),
    "entry below the minimum notional": (
        {"min_notional": "250"},
        {},
        [(ViolationCode.NOTIONAL, 0, "0.004 at 60000.0 is 240.0000 USDT, less than")],
    ),
    "entry that rounds to nothing": (
        {},
        {"open__amount": "0.0009", "settings__extramarg": "0", "settings__mg_long": "10|2|2"},
        [
            (ViolationCode.LOT, 0, "quantity 0.000"),
            (ViolationCode.MARKET_LOT, 0, "quantity 0.000"),
            (ViolationCode.NOTIONAL, 0, "0.000 at 60000.0"),
            (ViolationCode.LOT, 1, "level 1: quantity 0.000"),
            (ViolationCode.NOTIONAL, 1, "level 1"),
            (ViolationCode.LOT, 2, "level 2: quantity 0.000"),
            (ViolationCode.NOTIONAL, 2, "level 2"),
            (ViolationCode.LOT, 3, "level 3: quantity 0.000"),
            (ViolationCode.NOTIONAL, 3, "level 3"),
        ],
    ),
    "level below the minimum price": (
        {"min_price": "58000"},
        {"settings__extramarg": "0"},
        [(ViolationCode.PRICE, 3, "level 3: price 57920.9 is outside 58000 … 1000000")],
    ),
    "hedge below the minimum price": (
        {"min_price": "57900"},
        {},
        [(ViolationCode.HEDGE, None, "trigger 57805.0 is below the lowest price 57900")],
    ),
    "take-profit above the maximum price": (
        {"max_price": "60200"},
        {},
        [(ViolationCode.PRICE, None, "take-profit: price 60300.0 is outside 500 … 60200")],
    ),
    "level above the maximum quantity": (
        {"max_quantity": "0.02"},
        {"settings__mg_long": "1.5|2|2"},
        [
            (ViolationCode.LOT, 3, "level 3: quantity 0.024 is outside 0.001 … 0.02"),
            (ViolationCode.LOT, None, "take-profit: all levels together are 0.046"),
        ],
    ),
    "take-profit above the maximum quantity": (
        {"max_quantity": "0.045"},
        {},
        [(ViolationCode.LOT, None, "0.046, more than one order may carry (0.045)")],
    ),
    "quantities on the very bounds are fine": (
        {
            "min_quantity": "0.004",
            "max_quantity": "0.046",
            "market_min_quantity": "0.004",
            "market_max_quantity": "0.103",
        },
        {},
        [],
    ),
    "an entry of all that one MARKET order may carry is fine": (
        {"market_max_quantity": "0.004"},
        {"settings__extramarg": "100"},
        [],
    ),
    "prices on the very bounds are fine": (
        {"min_price": "57805", "max_price": "60300", "min_notional": "240"},
        {},
        [],
    ),
    "a level of just the minimum notional or more is fine": (
        {},
        {"settings__mg_long": "0.25|2|2"},
        [],
    ),
    "level of less than the minimum notional": (
        {"min_notional": "60"},
        {"settings__mg_long": "0.25|2|2"},
        [(ViolationCode.NOTIONAL, 1, "level 1: 0.001 at 59700.0 is 59.7000 USDT")],
    ),
    "two levels on one price": (
        {"tick_size": "1000"},
        {"settings__grid_long": "1.1|0.1|2"},
        [(ViolationCode.SAME_PRICE, 2, "level 2: rounds to 59000, the price of the level above")],
    ),
    "prices that round to 0": (
        {"min_price": "0", "min_notional": "0"},
        {"settings__grid_long": "0.5|1|99.9999999"},
        [
            (ViolationCode.PRICE, 3, "level 3: price 0.0 is outside"),
            (ViolationCode.HEDGE, None, "its trigger rounds to 0"),
        ],
    ),
    "hedge of less than 11": (
        {},
        {"settings__extramarg": "1.09"},
        [(ViolationCode.HEDGE, None, "extramarg × leverage is 10.90 USDT, at least 11 is needed")],
    ),
    "hedge below the minimum notional": (
        {"min_notional": "100"},
        {"settings__extramarg": "6"},
        [(ViolationCode.HEDGE, None, "hedge: 0.001 at 57805.0 is below the minimum")],
    ),
    "hedge that rounds to nothing": (
        {},
        {"settings__extramarg": "5"},
        [(ViolationCode.HEDGE, None, "hedge: 0.000 at 57805.0 is below the minimum")],
    ),
    "numbers too large for the arithmetic": (
        {},
        {"settings__mg_long": "99999999999999|99999999999999|2"},
        [(ViolationCode.TOO_LARGE, None, "too large to calculate with")],
    ),
}


@pytest.mark.parametrize(("rules", "changes", "found"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violations(
    rules: dict[str, Any],
    changes: dict[str, Any],
    found: list[tuple[ViolationCode, int | None, str]],
) -> None:
    grid = lay(sample_rules(**rules), **changes)
    assert [(v.code, v.level) for v in grid.violations] == [(code, at) for code, at, _ in found]
    for violation, (_, _, text) in zip(grid.violations, found, strict=True):
        assert text in violation.text


def test_a_grid_that_cannot_be_laid_offers_nothing_to_trade() -> None:
    huge = lay(
        settings__mg_long="99999999999999|99999999999999|2", fill="61000.0", quantity="0.004"
    )
    assert huge.entry_quantity == 0
    assert huge.levels == ()
    assert huge.hedge_trigger is None
    assert huge.entry_fill_price == 61000


class TestHedgeFits:
    @pytest.mark.parametrize(
        ("quantity", "price", "fits"),
        [("0.001", "60000", True), ("0.0009", "60000", False), ("0.001", "49999", False)],
    )
    def test_minimum_quantity_and_notional(self, quantity: str, price: str, fits: bool) -> None:
        assert hedge_fits(Decimal(quantity), Decimal(price), sample_rules()) is fits

    def test_the_market_minimum_counts_too(self) -> None:
        rules = sample_rules(market_min_quantity="0.01")
        assert not hedge_fits(Decimal("0.009"), Decimal(60000), rules)


class TestSymbolRules:
    def test_without_brackets_nothing_is_known(self) -> None:
        assert sample_rules().max_leverage is None
        assert sample_rules().notional_cap(10) is None

    def test_the_highest_bracket_that_allows_the_leverage(self) -> None:
        rules = sample_rules(brackets=BRACKETS)
        assert rules.max_leverage == 125
        assert rules.notional_cap(125) == 5000
        assert rules.notional_cap(21) == 5000
        assert rules.notional_cap(20) == 100000
        assert rules.notional_cap(126) is None


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Grid, SymbolRules, dict[str, Any]]:
    count = draw(st.integers(min_value=0, max_value=12))
    percents = st.decimals(min_value="0.01", max_value="20", places=2)
    growths = st.decimals(min_value="0.1", max_value="3", places=2)
    offsets = draw(st.lists(percents, min_size=count, max_size=count, unique=True))
    mode = draw(st.sampled_from(["step", "offset"]))
    if mode == "offset":
        offsets.sort()
    changes: dict[str, Any] = {
        "open__amount": str(draw(st.decimals(min_value="0.001", max_value="2", places=4))),
        "settings__deposit": str(draw(st.integers(min_value=1, max_value=10**5))),
        "settings__extramarg": str(draw(st.integers(min_value=0, max_value=10**5))),
        "settings__order_quan": count,
        "settings__grid_mode": mode,
        "settings__grid_long": "|".join(map(str, offsets)) or None,
        "settings__mg_long": "|".join(
            map(str, draw(st.lists(growths, min_size=count, max_size=count)))
        )
        or None,
    }
    rules = sample_rules(
        tick_size=draw(st.sampled_from(["0.1", "0.25", "7", "0.0001"])),
        step_size=draw(st.sampled_from(["0.001", "0.0003", "0.5"])),
        min_notional=draw(st.sampled_from(["0", "5", "100"])),
    )
    price = draw(st.decimals(min_value="50", max_value="100000", places=2))
    return lay(rules, at=str(price), **changes), rules, changes


@given(ladders())
def test_every_price_is_on_the_tick_and_every_quantity_on_the_step(
    ladder: tuple[Grid, SymbolRules, dict[str, Any]],
) -> None:
    grid, rules, _ = ladder
    prices = [level.price for level in grid.levels] + [grid.take_profit]
    quantities = [level.quantity for level in grid.levels] + [grid.entry_quantity]
    if grid.hedge_trigger is not None and grid.hedge_quantity is not None:
        prices.append(grid.hedge_trigger)
        quantities.append(grid.hedge_quantity)
    assert all(price % rules.tick_size == 0 for price in prices)
    assert all(
        quantity % rules.step_size == 0 or quantity == rules.market_max_quantity
        for quantity in quantities
    )


@given(ladders())
def test_a_grid_without_violations_keeps_every_promise(
    ladder: tuple[Grid, SymbolRules, dict[str, Any]],
) -> None:
    grid, rules, changes = ladder
    prices = [level.price for level in grid.levels]
    falling = all(high > low for high, low in itertools.pairwise(prices))
    total = grid.entry_price * grid.entry_quantity
    total += sum(level.price * level.quantity for level in grid.levels)
    budget = Decimal(changes["settings__deposit"]) * 10
    assert grid.total_notional == total
    assert grid.notional_left == budget - total
    codes = {violation.code for violation in grid.violations}
    assert (ViolationCode.FUNDS in codes) == (total > budget)
    assert (ViolationCode.SAME_PRICE in codes) == (not falling)
    if not grid.violations:
        assert total <= budget
        assert all(
            level.price * level.quantity >= rules.min_notional and level.price >= rules.min_price
            for level in grid.levels
        )
        assert (grid.hedge_trigger is None) == (changes["settings__extramarg"] == "0")
        if grid.hedge_trigger is not None and prices:
            assert grid.hedge_trigger <= prices[-1]
        averages = [grid.entry_price, *(level.average_price for level in grid.levels)]
        assert all(high > low for high, low in itertools.pairwise(averages))

"""What is legal but probably not meant, once the ladder is laid."""

from decimal import Decimal
from typing import Any

import pytest

from core.domain.settings import Policy, SymbolRules
from core.domain.warnings import Leg, liquidation_price, settings_warnings
from core.grid import calculate_grid_orders
from tests.unit.samples import BRACKETS, bracket, sample_rules, sample_settings

NO_LEVELS: dict[str, Any] = {
    "settings__order_quan": 0,
    "settings__grid_long": None,
    "settings__mg_long": None,
}


def warnings_of(
    rules: SymbolRules | None = None, wallet: str | None = None, **changes: Any
) -> tuple[str, ...]:
    rules = rules or sample_rules()
    settings = sample_settings(**changes)
    grid = calculate_grid_orders(settings, Decimal("60000.0"), rules)
    return settings_warnings(
        settings,
        grid,
        rules,
        policy=Policy(),
        wallet=None if wallet is None else Decimal(wallet),
    )


SILENT: dict[str, dict[str, Any]] = {
    "the worked example": {},
    "a take-profit just above the fees": {"settings__tp": "0.08"},
    "trailing that starts below the take-profit": {
        "settings__trail_1": "0.3",
        "settings__trail_2": "0.1",
    },
    "trailing switched off": {"settings__trail_2": "0.45"},
    "no hedge, so no target to reach": {"settings__extramarg": "0"},
    "hedges switched off": {"settings__max_hedges": 0, "settings__extramarg": "250"},
    "LONG so much larger that rising to the stop-loss is enough": {
        "settings__extramarg": "10",
        "settings__order_quan": 1,
        "settings__grid_long": "0.01",
        "settings__mg_long": "1",
        "settings__offset_short": "0.01",
        "settings__sl_short": "5",
    },
}


@pytest.mark.parametrize("changes", SILENT.values(), ids=SILENT.keys())
def test_nothing_to_say(changes: dict[str, Any]) -> None:
    assert warnings_of(**changes) == ()


SPOKEN: dict[str, tuple[dict[str, Any], str]] = {
    "tp below the fees": (
        {"settings__tp": "0.06"},
        "tp 0.06 does not cover the fees: after the entry, the take-profit at 60036.0 earns "
        "-0.0240288 USDT",
    ),
    "trailing that fees push above the take-profit": (
        {"settings__trail_1": "0.3", "settings__trail_2": "0.45"},
        # b / (1 − 0.0045) = 60331.5…, the take-profit is at 60300.0
        "trailing could only start at 60331.52",
    ),
    "SHORT of about LONG": (
        # 0.046 LONG, SHORT floor_step(2660 / 57805) = 0.046: fees are all that moves
        {"settings__extramarg": "266"},
        "pnl_target is out of reach: the hedge's stop-loss at 58094.1 comes first; it needs SHORT "
        "clearly larger than LONG (SHORT 0.046, LONG 0.046): raise extramarg",
    ),
    "SHORT smaller than LONG": (
        {"settings__extramarg": "100"},
        "(SHORT 0.017, LONG 0.046)",
    ),
    "a target beyond all that the hedge can earn": (
        {"settings__pnl_target": "100000"},
        "pnl_target is out of reach",
    ),
    "a target that takes a crash": (
        {"settings__pnl_target": "1700"},
        "more than 50 % below the hedge's trigger 57805.0 (SHORT 0.103, LONG 0.046)",
    ),
}


@pytest.mark.parametrize(("changes", "text"), SPOKEN.values(), ids=SPOKEN.keys())
def test_something_to_say(changes: dict[str, Any], text: str) -> None:
    (warning,) = warnings_of(**changes)
    assert text in warning


def test_the_price_named_is_where_the_net_pnl_meets_the_target() -> None:
    (warning,) = warnings_of(settings__pnl_target="1700")
    price = Decimal(warning.split("reached only at ")[1].split(",")[0])
    full_cost = Decimal("2697.5376") + Decimal("0.12") + Decimal("2457.5376") * Decimal("0.0002")
    short = Decimal("0.103") * Decimal("57805.0") * Decimal("0.9995")
    pnl = short - full_cost - Decimal("0.0571043") * price
    assert abs(pnl - 1700) < Decimal("1e-8")


@pytest.mark.parametrize(("trail_1", "said"), [("0.495", 0), ("0.4951", 1)])
def test_trailing_may_start_one_tick_below_the_take_profit(trail_1: str, said: int) -> None:
    # With a tick of 3 the take-profit is 60300, the last price below it 60297 = 60000 + 0.495 %.
    changes = {"settings__trail_1": trail_1, "settings__order_quan": 0}
    bare = NO_LEVELS | changes
    assert len(warnings_of(sample_rules(tick_size="3"), **bare)) == said


def test_a_refused_grid_needs_no_warnings() -> None:
    assert warnings_of(settings__deposit="1", settings__tp="0.01") == ()


class TestLiquidation:
    rules = sample_rules(brackets=BRACKETS)

    def test_unknown_wallet_or_brackets(self) -> None:
        assert warnings_of(self.rules) == ()
        assert warnings_of(wallet="1") == ()

    def test_a_wallet_that_carries_it(self) -> None:
        assert warnings_of(self.rules, wallet="900") == ()

    def test_long_alone(self) -> None:
        (warning,) = warnings_of(self.rules, wallet="40")
        assert warning.startswith(
            "LONG would be liquidated by the time the price is at the hedge's trigger 57805.0"
        )
        price = Decimal(warning.split("price ")[-1].split(")")[0])
        paid = Decimal("2697.5376") + Decimal("0.12") + Decimal("2457.5376") * Decimal("0.0002")
        expected = (paid - 40) / (Decimal("0.046") * (1 - Decimal("0.004")))
        assert abs(price - expected) < Decimal("1e-8")

    @pytest.mark.parametrize(("more", "said"), [("0", 1), ("0.0000001", 0)])
    def test_the_wallet_that_just_carries_long(self, more: str, said: int) -> None:
        price, quantity = Decimal("57805.0"), Decimal("0.046")
        paid = Decimal("2697.5376") + Decimal("0.12") + Decimal("2457.5376") * Decimal("0.0002")
        needed = quantity * price * Decimal("0.004") + paid - quantity * price
        # The average entry is a division: its last digits are not worth a test.
        wallet = f"{needed - Decimal('0.00000001') + Decimal(more):f}"
        assert len(warnings_of(self.rules, wallet=wallet, settings__max_hedges=0)) == said

    def test_both_sides(self) -> None:
        # LONG alone needs 10.64 at h₁, SHORT then another 29.5 and its commission.
        (warning,) = warnings_of(self.rules, wallet="60")
        assert warning.startswith("both sides would be liquidated")

    @pytest.mark.parametrize(("more", "said"), [("0", 1), ("0.0000001", 0)])
    def test_the_wallet_that_just_carries_both(self, more: str, said: int) -> None:
        price, long, short = Decimal("57805.0"), Decimal("0.046"), Decimal("0.103")
        paid = Decimal("2697.5376") + Decimal("0.12") + Decimal("2457.5376") * Decimal("0.0002")
        paid += short * price * Decimal("0.0005")
        needed = long * price * Decimal("0.004") + short * price * Decimal("0.01") - 30
        needed += paid - long * price
        wallet = f"{needed - Decimal('0.00000001') + Decimal(more):f}"
        assert len(warnings_of(self.rules, wallet=wallet)) == said

    def test_hedges_switched_off(self) -> None:
        assert warnings_of(self.rules, wallet="60", settings__max_hedges=0) == ()

    def test_without_a_hedge_the_last_level_counts(self) -> None:
        (warning,) = warnings_of(self.rules, wallet="40", settings__extramarg="0")
        assert "at the last level 57920.9" in warning

    def test_the_entry_alone_has_nothing_below_it(self) -> None:
        assert warnings_of(self.rules, wallet="1", settings__extramarg="0", **NO_LEVELS) == ()

    def test_a_notional_beyond_the_last_bracket_takes_the_last(self) -> None:
        small = sample_rules(brackets=(bracket(125, "10", "0.5", "0"),))
        (warning,) = warnings_of(small, wallet="900")
        assert warning.startswith("LONG would be liquidated")


class TestLiquidationPrice:
    """wallet + Σ(uPNL) = Σ(maintenance) at the price that comes out."""

    low, high = BRACKETS
    none = Leg(quantity=Decimal(0), entry=Decimal(0))

    def test_long_alone(self) -> None:
        long = Leg(quantity=Decimal("0.1"), entry=Decimal(60000))
        price = liquidation_price(
            wallet=Decimal(600),
            long=long,
            short=self.none,
            long_bracket=self.high,
            short_bracket=self.low,
        )
        assert price is not None
        margin = 600 + (price - 60000) * Decimal("0.1")
        maintenance = price * Decimal("0.1") * Decimal("0.01") - 30
        assert abs(margin - maintenance) < Decimal("1e-20")
        assert price < 60000

    def test_a_larger_short_is_liquidated_above(self) -> None:
        long = Leg(quantity=Decimal("0.05"), entry=Decimal(60000))
        short = Leg(quantity=Decimal("0.1"), entry=Decimal(58000))
        price = liquidation_price(
            wallet=Decimal(600),
            long=long,
            short=short,
            long_bracket=self.low,
            short_bracket=self.high,
        )
        assert price is not None
        margin = 600 + (price - 60000) * Decimal("0.05") + (58000 - price) * Decimal("0.1")
        maintenance = price * (Decimal("0.05") * Decimal("0.004") + Decimal("0.001")) - 30
        assert abs(margin - maintenance) < Decimal("1e-20")
        assert price > 58000

    @pytest.mark.parametrize(
        ("wallet", "long", "short"),
        [("7000", "0.1", "0"), ("600", "0", "0")],
        ids=["the wallet outlasts a price of 0", "nothing is open"],
    )
    def test_none(self, wallet: str, long: str, short: str) -> None:
        price = liquidation_price(
            wallet=Decimal(wallet),
            long=Leg(quantity=Decimal(long), entry=Decimal(60000)),
            short=Leg(quantity=Decimal(short), entry=Decimal(60000)),
            long_bracket=self.low,
            short_bracket=self.low,
        )
        assert price is None

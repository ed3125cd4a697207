"""MIN_LIQUIDATION_DISTANCE before the entry: the nearest place of the ladder, by the estimate."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from core.domain.settings import Policy
from core.entry_checks import EntryPicture, plan_entry
from core.errors import AlertInvalid
from tests.unit.samples import sample_settings
from tests.unit.test_entry_checks import RULES, picture


def refusals(distance: str | None, seen: EntryPicture, **alert: Any) -> list[str]:
    """Return what is said against the sample alert under this limit."""
    limit = None if distance is None else D(distance)
    try:
        plan_entry(
            sample_settings(**alert),
            RULES,
            seen,
            policy=Policy(min_liquidation_distance=limit),
            lack_of_funds_warns=True,
        )
    except AlertInvalid as refused:
        return [str(error) for error in refused.errors]
    return []


UNHEDGED: dict[str, Any] = {"settings__extramarg": "0"}
CASES = {  # wallet, margins of others, cross?, changes of the alert: the nearest place, how near
    "the hedge is the larger side, and ends above": (
        picture(wallet="400"),
        {},
        "with the price at 57920.7 (after hedge 1) the estimated liquidation price is 63534.0",
        "9.69",
    ),
    "what others may lose does not stand behind it": (
        picture(wallet="1300", open_cycles_margin="900"),
        {},
        "with the price at 57920.7 (after hedge 1) the estimated liquidation price is 63534.0",
        "9.69",
    ),
    "a wallet that carries nothing": (
        picture(wallet="100", open_cycles_margin="200"),
        {},
        "with the price at 60120 (after entry) the estimated liquidation price is 85492.0",
        "-42.2",
    ),
    "isolated: each side for itself, LONG just before the hedge": (
        picture(is_cross_margin=False),
        {},
        "with the price at 57920.7 (at the hedge's trigger, before it opens) the estimated "
        "liquidation price is 53095.8",
        "8.33",
    ),
    "no hedge: after the last level": (
        picture(wallet="200"),
        {"extramarg": "0"},
        "with the price at 58036.7 (after level 3) the estimated liquidation price is 54643.4",
        "5.85",
    ),
}


@pytest.mark.parametrize(("seen", "alert", "where", "away"), CASES.values(), ids=CASES.keys())
def test_the_nearest_place_is_named(
    seen: EntryPicture, alert: dict[str, str], where: str, away: str
) -> None:
    changes = {f"settings__{name}": value for name, value in alert.items()}
    over = D(away) + D("0.01")
    (text,) = refusals(str(max(over, D("0.01"))), seen, **changes)
    assert text.startswith("MIN_LIQUIDATION_DISTANCE = ")
    assert where in text
    assert f", {away} % away" in text
    if D(away) > 0:
        assert refusals(str(D(away) - D("0.01")), seen, **changes) == []


def test_a_full_wallet_lets_everything_in() -> None:
    assert refusals("90", picture(wallet="100000"), **UNHEDGED) == []


def test_with_a_hedge_a_little_smaller_than_long_it_is_a_rising_price_that_ends_it() -> None:
    """What must be kept for both sides rises with the price, faster than the profit."""
    alert = {"open__amount": "0.03", "settings__deposit": "2500", "settings__extramarg": "1993"}
    assert refusals("90", picture(wallet="100000"), **alert) == []


def test_without_a_limit_nothing_is_looked_at() -> None:
    assert refusals(None, picture(wallet="1")) == []


def test_a_hedge_that_would_be_liquidated_at_every_price_is_refused_for_what_comes_before() -> None:
    (text,) = refusals("1", picture(wallet="100", open_cycles_margin="4000"))
    assert text.startswith("MIN_LIQUIDATION_DISTANCE = 1 %: with the price at 60120 (after entry)")


def test_a_ladder_that_is_refused_anyway_is_refused_for_that() -> None:
    texts = refusals("50", replace(picture(wallet="200")), settings__deposit="250")
    assert not [text for text in texts if text.startswith("MIN_LIQ")]

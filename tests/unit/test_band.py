"""The fast path's band: what it drops could not have mattered."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.band import Band

prices = st.decimals(min_value="0.00000001", max_value="10000000", places=8)


def test_a_new_band_holds_everything_and_knows_no_price() -> None:
    band = Band()
    assert band.last_price is None
    assert band.holds("0.0001")
    assert band.holds("99999999")


def test_a_trade_at_a_bound_is_let_through_and_noted_like_any_other() -> None:
    band = Band()
    band.set(D("59000.1"), D("61000.3"))
    assert [band.holds(text) for text in ("59000.1", "59000.2", "61000.2", "61000.3")] == [
        False,
        True,
        True,
        False,
    ]
    assert band.last_price == D("61000.3")
    band.holds("60000")
    assert band.last_price == D(60000)


def test_without_a_bound_on_a_side_nothing_there_is_let_through() -> None:
    band = Band()
    band.set(None, D(10))
    assert band.holds("0.00000001")
    assert not band.holds("10")
    band.set(D(10), None)
    assert not band.holds("0.00000001")
    assert band.holds("99999999")


def test_all_trades_can_be_wanted() -> None:
    band = Band()
    band.want_all()
    assert not any(band.holds(text) for text in ("1", "60000", "0.1"))


def test_what_is_no_number_is_an_error_and_not_the_last_price() -> None:
    band = Band()
    band.holds("5")
    with pytest.raises(ValueError, match="cheap"):
        band.holds("cheap")
    assert band.last_price == D(5)


@given(low=prices, high=prices, price=prices)
def test_nothing_at_or_outside_the_exact_bounds_is_ever_dropped(low: D, high: D, price: D) -> None:
    band = Band()
    band.set(low, high)
    if band.holds(f"{price:f}"):
        assert low < price < high


@given(low=prices, step=st.integers(min_value=-3, max_value=3))
def test_prices_closer_than_a_float_can_tell_are_let_through(low: D, step: int) -> None:
    band = Band()
    band.set(low, None)
    near = low + step * D("1e-20")
    if near <= low:
        assert not band.holds(f"{near:f}")

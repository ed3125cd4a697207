"""Rounding and printing of prices and quantities."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import (
    ceil_tick,
    floor_step,
    floor_tick,
    percent_above,
    percent_below,
    round_to_tick,
    shown,
    to_wire,
)

FLOORS = {  # name: (value, tick, floor, ceiling)
    "on the grid it stays": ("60300.0", "0.1", "60300.0", "60300.0"),
    "between two ticks": ("57920.94", "0.1", "57920.9", "57921.0"),
    "a tick that is no power of ten": ("10.3", "0.25", "10.25", "10.50"),
    "a tick above one": ("1234", "5", "1230", "1235"),
    "a tick of three, whose quotient never ends": ("2", "3", "0", "3"),
    "a value below one tick": ("0.04", "0.1", "0", "0.1"),
    "a division's last digit below the tick": ("0.29999999999999999999", "0.1", "0.3", "0.3"),
    "a division's last digit above the tick": ("0.30000000000000000001", "0.1", "0.3", "0.3"),
    "a real difference is kept": ("0.3000001", "0.1", "0.3", "0.4"),
    "zero": ("0", "0.1", "0", "0"),
}


@pytest.mark.parametrize(("value", "tick", "floor", "ceiling"), FLOORS.values(), ids=FLOORS.keys())
def test_rounding_to_the_grid(value: str, tick: str, floor: str, ceiling: str) -> None:
    assert floor_tick(Decimal(value), Decimal(tick)) == Decimal(floor)
    assert floor_step(Decimal(value), Decimal(tick)) == Decimal(floor)
    assert ceil_tick(Decimal(value), Decimal(tick)) == Decimal(ceiling)


def test_the_rounding_mode_is_the_callers() -> None:
    modes = {ROUND_FLOOR: "0.2", ROUND_CEILING: "0.3", ROUND_HALF_EVEN: "0.2"}
    for mode, expected in modes.items():
        rounded = round_to_tick(Decimal("0.25"), Decimal("0.1"), rounding=mode)
        assert rounded == Decimal(expected)


def test_too_many_digits_are_an_error_and_not_a_wrong_price() -> None:
    with pytest.raises(InvalidOperation):
        floor_tick(Decimal("1e25"), Decimal("0.1"))


def test_a_tick_of_zero_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="tick must be positive"):
        floor_tick(Decimal(1), Decimal(0))


def test_percentages_are_written_as_in_the_payload() -> None:
    assert percent_above(Decimal(60000), Decimal("0.5")) == Decimal("60300.0")
    assert percent_below(Decimal(60000), Decimal("0.5")) == Decimal("59700.0")


WIRE = {"0.00000001": "0.00000001", "1E-8": "0.00000001", "1E+3": "1000", "60300.0": "60300.0"}


@pytest.mark.parametrize(("amount", "text"), WIRE.items())
def test_the_wire_has_no_exponents(amount: str, text: str) -> None:
    assert to_wire(Decimal(amount)) == text


@given(
    value=st.decimals(min_value=0, max_value=10**9, places=8),
    tick=st.sampled_from(["0.1", "0.00001", "0.25", "0.5", "5", "3", "0.007"]).map(Decimal),
)
def test_the_grid_point_is_the_nearest_on_its_side(value: Decimal, tick: Decimal) -> None:
    floor, ceiling = floor_tick(value, tick), ceil_tick(value, tick)
    # What is closer to a grid point than 1e-9 of a tick lies on it.
    slack = tick / 10**9
    assert floor % tick == 0
    assert ceiling % tick == 0
    assert floor <= value + slack
    assert value < floor + tick + slack
    assert ceiling - floor in (0, tick)
    assert floor_tick(floor, tick) == floor
    assert ceil_tick(ceiling, tick) == ceiling


SHOWN = {  # name: (value, text)
    "no zeros at its end": ("0.0040", "0.004"),
    "no point without decimals": ("59820.00000000", "59820"),
    "zeros that are no decimals": ("1200", "1200"),
    "no exponent": ("1E-8", "0.00000001"),
    "eight decimals at most": ("49561.83043478260869565217391", "49561.83043478"),
    "a small negative number": ("-0.000000001", "0"),
    "zero": ("0E-18", "0"),
}


@pytest.mark.parametrize(("value", "text"), SHOWN.values(), ids=SHOWN.keys())
def test_a_number_is_shown_as_a_person_reads_it(value: str, text: str) -> None:
    assert shown(Decimal(value)) == text

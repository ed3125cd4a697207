"""Days made of chance, each from its seed: random alerts, markets, faults, deaths and people.

A seed that fails tells the whole day again: `live_through(seed)`. What it showed then becomes a
story of its own, because a seed means another day as soon as anything about days changes.
"""

import pytest

from tests.simulation.days import live_through

SEEDS = range(120)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_ends_with_the_exchange_s_own_figures(seed: int) -> None:
    live_through(seed)


def test_the_same_seed_is_the_same_day() -> None:
    first, again = live_through(17), live_through(17)
    assert (first.told, first.cycle) == (again.told, again.cycle)

"""The distance to liquidation, watched against the exchange's own liquidation price."""

from decimal import Decimal as D

import pytest

from core.domain.cycle import CloseReason, Role
from core.domain.settings import Policy
from simulation.invariants import prove_ended, watch
from simulation.loop import run
from tests.simulation.stage import Stage, alert

# LONG 2.2 BTC after two levels: the paper account's 10000 end about 8 % below.
LARGE = alert(
    amount=D("0.4"),
    leverage=50,
    deposit=D(10_000),
    extramarg=D(0),
    offset_short=None,
    sl_short=None,
)


async def two_levels_down_and_up(distance: str | None) -> Stage:
    policy = Policy(min_liquidation_distance=None if distance is None else D(distance))
    async with Stage(LARGE, policy=policy) as stage:
        watch(stage)
        await stage.enter("60000")
        await stage.walk("59700", "59103")
        await stage.walk("59000", "57920.9", "58500", "60300")
        await stage.finish()
        prove_ended(stage)
    return stage


@pytest.mark.parametrize(
    ("distance", "filled", "alarms"),
    [
        (None, [1, 2, 3], []),
        ("2", [1, 2, 3], []),
        ("10", [1, 2], ["near-liquidation"]),
    ],
)
def test_nothing_more_is_bought_where_liquidation_has_come_near(
    distance: str | None, filled: list[int], alarms: list[str]
) -> None:
    cycle = run(two_levels_down_and_up(distance)).cycle
    levels = [order.number for order in cycle.of(Role.LEVEL) if order.executed]
    assert (levels, [alarm.key for alarm in cycle.alarms]) == (filled, alarms)
    assert cycle.close_reason is CloseReason.TAKE_PROFIT

"""When a check's finding is held against the account stream."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from core.domain.cycle import Kind, OrderReported, PositionSide, ReportedStatus, Side
from core.told_executions import GAP_IS_READ_WITHIN_S, ToldExecutions

LATER = 1_000.0  # long after every connect
FOUND = OrderReported(
    at_ms=2_000,
    client_order_id="tb-key-lv1-1",
    status=ReportedStatus.FILLED,
    side=Side.BUY,
    position_side=PositionSide.LONG,
    kind=Kind.LIMIT,
    price=D(100),
    quantity=D(2),
    executed=D(2),
    average_price=D(100),
    asked_at_ms=1_900,
)
TOLD_IN_PART = replace(FOUND, executed=D(1), asked_at_ms=None)


@pytest.mark.parametrize(
    ("found", "is_expected"),
    [
        pytest.param(FOUND, True, id="an execution that was never told"),
        pytest.param(replace(FOUND, executed=D(0)), False, id="nothing was executed"),
        pytest.param(replace(FOUND, executed=None), False, id="the answer does not say"),
        pytest.param(replace(FOUND, asked_at_ms=None), False, id="the stream's own news"),
        pytest.param(
            replace(FOUND, status=ReportedStatus.TRIGGERED), False, id="its child tells it"
        ),
    ],
)
def test_what_the_stream_has_yet_to_tell(found: OrderReported, is_expected: bool) -> None:
    told = ToldExecutions()
    assert told.should_follow(found, LATER) is is_expected


def test_what_was_told_in_part_has_yet_to_be_told() -> None:
    told = ToldExecutions()
    told.told(TOLD_IN_PART)
    assert told.should_follow(FOUND, LATER)
    told.told(replace(FOUND, asked_at_ms=None))
    assert not told.should_follow(FOUND, LATER)


def test_what_happened_before_the_connect_could_not_be_told() -> None:
    told = ToldExecutions()
    assert told.should_follow(FOUND, LATER)
    told.connected(LATER)
    assert not told.should_follow(FOUND, LATER + GAP_IS_READ_WITHIN_S - 0.1)
    assert told.should_follow(FOUND, LATER + GAP_IS_READ_WITHIN_S)


def test_orders_of_an_ended_cycle_are_forgotten() -> None:
    told = ToldExecutions()
    told.told(FOUND)
    told.forget("tb-other-")
    assert not told.should_follow(FOUND, LATER)
    told.forget("tb-key-")
    assert told.should_follow(FOUND, LATER)

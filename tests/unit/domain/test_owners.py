"""Which cycle news belong to, where several are remembered: the open one, and those just ended."""

from dataclasses import replace

import pytest

from core.domain.cycle import Cycle, Fact, OrderReported, Phase, ReportedStatus, TimePassed
from core.domain.owners import is_of_unknown_cycle, owner_of_fact
from tests.builders import T0, Story

STORY = Story()
ENTRY = STORY.order("entry")
ENDED = replace(STORY.cycle, cycle_id=1, key="aaa", phase=Phase.ENDED)
OPEN = replace(STORY.cycle, cycle_id=2, key="bbb")


def order(client_order_id: str) -> OrderReported:
    """Return news of that order."""
    return OrderReported(
        at_ms=T0,
        client_order_id=client_order_id,
        status=ReportedStatus.OPEN,
        side=ENTRY.side,
        position_side=ENTRY.position_side,
        kind=ENTRY.kind,
        price=None,
        quantity=None,
        executed=None,
        average_price=None,
    )


TIME = TimePassed(at_ms=T0)
CASES: dict[str, tuple[Fact, list[Cycle], int | None]] = {
    "an order of the open cycle": (order("tb-bbb-lv1-1"), [ENDED, OPEN], 2),
    "one of an ended cycle, and none is open": (order("tb-aaa-lv1-1"), [ENDED], 1),
    "one of an ended cycle: the open one counts it": (order("tb-aaa-lv1-1"), [ENDED, OPEN], 2),
    "one of a cycle that was not loaded yet": (order("tb-ccc-lv1-1"), [ENDED, OPEN], None),
    "a stranger's: the open one counts it": (order("web_1"), [ENDED, OPEN], 2),
    "a stranger's, and none is open": (order("web_1"), [ENDED], None),
    "what names no order": (TIME, [ENDED, OPEN], 2),
    "what names no order, and none is open": (TIME, [ENDED], None),
}


@pytest.mark.parametrize(("fact", "known", "owner"), CASES.values(), ids=CASES.keys())
def test_the_owner_of_news(fact: Fact, known: list[Cycle], owner: int | None) -> None:
    assert owner_of_fact(fact, known) == owner


@pytest.mark.parametrize(
    ("name", "is_unknown"),
    [("tb-aaa-lv1-1", False), ("tb-ccc-lv1-1", True), ("tb-aa-lv1-1", True), ("web_1", False)],
)
def test_only_our_names_can_be_of_an_unknown_cycle(name: str, is_unknown: bool) -> None:
    assert is_of_unknown_cycle(name, [ENDED, OPEN]) is is_unknown

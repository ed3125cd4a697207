"""When funding has to be read, and which payments are a cycle's."""

from dataclasses import replace
from decimal import Decimal

import pytest

from core.domain.cycle import Cycle
from core.funding import SETTLED_EVERY_MS, FundingReads, uncounted_payments
from core.ports import FundingRecord
from tests.builders import begun

MINUTE_MS = 60_000
SETTLED = 500_000 * SETTLED_EVERY_MS  # a whole hour


def accepted(at_ms: int) -> Cycle:
    """Return a cycle whose alert was accepted then."""
    return replace(begun(), accepted_at_ms=at_ms)


OLD, NEW = accepted(SETTLED - 10 * MINUTE_MS), accepted(SETTLED + 10 * MINUTE_MS)
NOW = SETTLED + 30 * MINUTE_MS


class TestAReadIsDue:
    """Only while something is not accounted for: it costs as much as thirty positions."""

    def test_after_a_settlement_that_a_cycle_has_seen(self) -> None:
        assert FundingReads().due_since([OLD], NOW) == OLD.accepted_at_ms

    def test_not_for_a_cycle_that_began_after_it(self) -> None:
        assert FundingReads().due_since([NEW], NOW) is None

    def test_for_one_that_began_seconds_after_it_which_may_pay_still(self) -> None:
        just_after = accepted(SETTLED + 1_000)
        assert FundingReads().due_since([just_after], NOW) == just_after.accepted_at_ms

    def test_not_again_once_it_was_read_late_enough_for_the_list_to_have_it(self) -> None:
        reads = FundingReads()
        reads.read(SETTLED + 3 * MINUTE_MS)
        assert reads.due_since([OLD], NOW) is None

    def test_again_where_it_was_read_before_the_list_could_have_it(self) -> None:
        reads = FundingReads()
        reads.read(SETTLED + MINUTE_MS)
        assert reads.due_since([OLD], NOW) == OLD.accepted_at_ms

    def test_whenever_a_payment_was_told_until_it_is_read(self) -> None:
        reads = FundingReads()
        reads.told()
        assert reads.due_since([NEW], NOW) == NEW.accepted_at_ms
        reads.read(NOW)
        assert reads.due_since([NEW], NOW) is None

    def test_from_an_hour_before_the_last_read_on(self) -> None:
        reads = FundingReads()
        reads.read(SETTLED - 5 * MINUTE_MS)
        ancient = accepted(0)
        assert reads.due_since([ancient], NOW) == SETTLED - 5 * MINUTE_MS - SETTLED_EVERY_MS

    def test_of_several_cycles_from_the_oldest_on(self) -> None:
        older = accepted(OLD.accepted_at_ms - MINUTE_MS)
        assert FundingReads().due_since([OLD, older], NOW) == older.accepted_at_ms

    def test_never_without_a_cycle(self) -> None:
        reads = FundingReads()
        reads.told()
        assert reads.due_since([], NOW) is None


@pytest.mark.parametrize(
    ("time_ms", "known", "is_counted"),
    [
        pytest.param(SETTLED, (), True, id="while it is open"),
        pytest.param(SETTLED, (7,), False, id="counted already"),
        pytest.param(OLD.accepted_at_ms - 1, (), False, id="before it"),
        pytest.param(NOW + 1, (), False, id="after its end"),
        pytest.param(NOW, (), True, id="in the moment of its end"),
    ],
)
def test_a_payment_counts(time_ms: int, known: tuple[int, ...], is_counted: bool) -> None:
    cycle = replace(OLD, ended_at_ms=NOW, funding_ids=known)
    record = FundingRecord(
        transaction_id=7, symbol=cycle.symbol, amount=Decimal("-0.1"), time_ms=time_ms
    )
    paid = uncounted_payments(cycle, [record], at_ms=NOW)
    assert [(p.transaction_id, p.amount) for p in paid] == [(7, Decimal("-0.1"))] * is_counted

"""Funding payments of one symbol: when to read them, and which of them a cycle has yet to count."""

from collections.abc import Iterable

from core.domain.cycle import Cycle, FundingPaid
from core.ports import FundingRecord

SETTLED_EVERY_MS = 3_600_000  # at most: on whole hours, every fourth or eighth of them mostly
_MAY_LAG_MS = 120_000  # until a payment is listed; a position seconds old may still pay


class FundingReads:
    """Says when payments have to be read.

    A read costs as much as thirty positions: it is made while a settlement, or the news of a
    payment, is not accounted for.
    """

    def __init__(self) -> None:
        self._is_told = False
        self._read_at_ms = 0

    def told(self) -> None:
        """Take note that something was paid, or received, since the last read."""
        self._is_told = True

    def read(self, asked_at_ms: int) -> None:
        """Take note of a read that was answered."""
        self._is_told = False
        self._read_at_ms = asked_at_ms

    def due_since(self, cycles: Iterable[Cycle], now_ms: int) -> int | None:
        """Return from when on the payments of these cycles have to be read; None: none is due."""
        read_from = self._read_at_ms - SETTLED_EVERY_MS
        due = [cycle for cycle in cycles if self._is_due(cycle, now_ms)]
        return min((max(cycle.accepted_at_ms, read_from) for cycle in due), default=None)

    def _is_due(self, cycle: Cycle, now_ms: int) -> bool:
        settled_at = now_ms - now_ms % SETTLED_EVERY_MS
        is_touched = cycle.accepted_at_ms < settled_at + _MAY_LAG_MS
        is_read = self._read_at_ms > settled_at + _MAY_LAG_MS
        return self._is_told or (is_touched and not is_read)


def uncounted_payments(
    cycle: Cycle, records: Iterable[FundingRecord], *, at_ms: int
) -> tuple[FundingPaid, ...]:
    """Return the payments on the cycle's symbol in its time that it has not counted yet."""
    return tuple(
        FundingPaid(at_ms=at_ms, transaction_id=record.transaction_id, amount=record.amount)
        for record in records
        if cycle.was_open_at(record.time_ms) and record.transaction_id not in cycle.funding_ids
    )

"""Whether the account stream tells the executions that checks by REST find. Pure.

A stream that is connected and silent looks like a quiet account; what gives it away is an execution
that only a check found. But what happened before it was connected, it could not tell.
"""

from decimal import Decimal
from typing import Final

from core.domain.cycle import OrderReported, ReportedStatus
from core.money import ZERO

# What a check finds sooner after a connect may be of the time before: reads lag behind.
GAP_IS_READ_WITHIN_S: Final = 15.0


class ToldExecutions:
    """The executed totals that the stream told, by client order id."""

    def __init__(self) -> None:
        self._told: dict[str, Decimal] = {}
        self._gap_is_read_at_s = 0.0

    def connected(self, now_s: float) -> None:
        """Take note that the stream tells everything from now on (seconds, any steady clock)."""
        self._gap_is_read_at_s = now_s + GAP_IS_READ_WITHIN_S

    def told(self, report: OrderReported) -> None:
        """Take note of what the stream told, or need not tell any more."""
        self._told[report.client_order_id] = report.executed or ZERO

    def should_follow(self, found: OrderReported, now_s: float) -> bool:
        """Return whether the stream has yet to tell an execution that a check found."""
        was_asked = found.asked_at_ms is not None and found.status is not ReportedStatus.TRIGGERED
        return was_asked and now_s >= self._gap_is_read_at_s and not self._is_told(found)

    def forget(self, prefix: str) -> None:
        """Forget the orders whose client ids begin with `prefix`."""
        self._told = {n: q for n, q in self._told.items() if not n.startswith(prefix)}

    def _is_told(self, found: OrderReported) -> bool:
        return self._told.get(found.client_order_id, ZERO) >= (found.executed or ZERO)

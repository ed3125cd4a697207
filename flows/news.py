"""Which flow handles a turn of a desk: the one that is named after its news."""

from core.domain.cycle import Fact, OrderReported
from core.engine import Desk
from flows.order_cancel_flow import order_cancel_flow
from flows.order_filled_flow import order_filled_flow
from flows.order_new_flow import order_new_flow
from flows.positions_flow import positions_flow


async def handle_by_flow(desk: Desk, facts: tuple[Fact, ...]) -> None:
    """Let the flow that is named after the news handle it."""
    reports = [fact for fact in facts if isinstance(fact, OrderReported)]
    if not reports:
        await positions_flow(desk, facts)
    elif any(r.executed or r.fill is not None for r in reports):
        await order_filled_flow(desk, facts)
    elif any(r.status.is_terminal for r in reports):
        await order_cancel_flow(desk, facts)
    else:
        await order_new_flow(desk, facts)

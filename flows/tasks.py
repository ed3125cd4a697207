"""The two tasks that every order flow is made of, and the tags that name what a run is about."""

from core.domain.cycle import Fact, OrderState
from core.engine import Desk
from flows.runtime import task


@task
async def record_and_decide(desk: Desk, facts: tuple[Fact, ...]) -> tuple[OrderState, ...]:
    """Save what the facts make of their cycle in one transaction; return the requests to send."""
    return await desk.record_and_decide(facts)


@task
async def send_request(desk: Desk, order: OrderState) -> None:
    """Carry one request out; what came of it is the desk's next fact."""
    await desk.send(order)


def desk_tags(desk: Desk, facts: tuple[Fact, ...]) -> tuple[str, ...]:
    """Return the tags of a run for a desk: its symbol and its open cycle."""
    cycle = desk.open_cycle
    symbol = f"symbol:{desk.symbol}"
    return (symbol,) if cycle is None else (symbol, f"cycle:{cycle.key}")

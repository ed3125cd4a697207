"""An order of the symbol was accepted, or is known to rest: what follows from it?"""

from core.domain.cycle import Fact
from core.engine import Desk
from flows.runtime import flow
from flows.tasks import desk_tags, record_and_decide, send_request


@flow(tags_of=desk_tags)
async def order_new_flow(desk: Desk, facts: tuple[Fact, ...]) -> None:
    """Record the news and decide, then send each request in a task of its own."""
    for order in await record_and_decide(desk, facts):
        desk.keep(send_request.submit(desk, order))

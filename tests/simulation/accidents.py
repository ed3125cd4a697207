"""What the accidents are made of: a world in which one happens, and the proof of its end."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal

from core.domain.cycle import Cycle, Role
from core.domain.settings import CycleSettings
from simulation.faults import Fault, FaultKind
from simulation.invariants import prove_ended, watch
from simulation.loop import run
from tests.simulation.stage import SYMBOL, Stage, alert

D = Decimal
ZERO = D(0)
MINUTES = 60
HOURS = 60 * MINUTES
DAYS = 24 * HOURS


def lived(
    path: Callable[[Stage], Awaitable[None]], settings: CycleSettings | None = None, **options: bool
) -> Stage:
    """Live through an accident and prove that the cycle ended with the exchange's own books."""

    async def main() -> Stage:
        async with Stage(settings or alert()) as stage:
            stage.world.change_options(**options)
            watch(stage)
            await path(stage)
            await stage.finish()
            prove_ended(stage)
        return stage

    return run(main())


def alarms(cycle: Cycle) -> list[str]:
    """Return the causes of the cycle's alarms."""
    return [alarm.key for alarm in cycle.alarms]


def refusals(stage: Stage, role: Role) -> set[int]:
    """Return the codes with which the exchange refused orders of a role at any time."""
    orders = [order for step in stage.steps for order in step.cycle.of(role)]
    return {order.refusal_code for order in orders if order.refusal_code is not None}


def record_of(stage: Stage, name: str) -> dict[str, object]:
    """Return an order's record as the exchange shows it."""
    asked = {"symbol": SYMBOL, "origClientOrderId": name}
    body = stage.world.request("GET", "/fapi/v1/order", asked, stage.clock.now_ms()).body
    assert isinstance(body, dict)
    return body


def answered(body: dict[str, object], *, method: str, client_id: str) -> Fault:
    """Return the fault that answers a request with `body`; it takes no effect."""
    return Fault(
        kind=FaultKind.ANSWERED,
        method=method,
        client_id=client_id,
        status=200,
        body=json.dumps(body).encode(),
    )

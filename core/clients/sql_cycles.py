"""A cycle as it stands in the database: read whole, written by its changes.

Every function works inside the transaction of its caller.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from core import queries
from core.clients import rows
from core.clients.alert_store import CYCLE_ENDED
from core.domain.alarms import GUIDES, Alarm
from core.domain.cycle import Cycle, Fill, OrderState
from core.domain.ledger import in_trade_order
from core.domain.step import Step
from core.queries.tables import Rows

# Alarms that have no meaning any more once their cycle has ended.
SETTLED_BY_THE_END = [kind.value for kind, guide in GUIDES.items() if not guide.outlives_cycle]


class KnownCycles:
    """Cycles as they were committed, by version: those that nobody wrote since need no reading."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._cycles: dict[int, tuple[int, Cycle]] = {}

    def get(self, cycle_id: int, version: int) -> Cycle | None:
        """Return the cycle if it is known as of this version."""
        known = self._cycles.get(cycle_id)
        return known[1] if known is not None and known[0] == version else None

    def keep(self, version: int, cycle: Cycle) -> None:
        """Remember a cycle as of a version that is committed."""
        self._cycles.pop(cycle.cycle_id, None)
        self._cycles[cycle.cycle_id] = (version, cycle)
        while len(self._cycles) > self._limit:
            del self._cycles[next(iter(self._cycles))]

    def forget(self, cycle_id: int) -> None:
        """Forget a cycle that is being written."""
        self._cycles.pop(cycle_id, None)


async def read_cycles(
    connection: AsyncConnection, statement: Rows, known: KnownCycles
) -> tuple[Cycle, ...]:
    """Return the cycles that a statement selects, reading those that are not known."""
    versions = {row.id: row.version for row in await connection.execute(statement)}
    cycles = {cycle_id: known.get(cycle_id, version) for cycle_id, version in versions.items()}
    unknown = [cycle_id for cycle_id, cycle in cycles.items() if cycle is None]
    for cycle in await _read(connection, unknown) if unknown else ():
        known.keep(versions[cycle.cycle_id], cycle)
        cycles[cycle.cycle_id] = cycle
    return tuple(cycle for cycle in cycles.values() if cycle is not None)


async def _read(connection: AsyncConnection, ids: Sequence[int]) -> list[Cycle]:
    orders: dict[int, list[OrderState]] = {cycle_id: [] for cycle_id in ids}
    fills: dict[int, list[Fill]] = {cycle_id: [] for cycle_id in ids}
    for row in (await connection.execute(queries.cycles.orders_of(ids))).mappings():
        orders[row["cycle_id"]].append(rows.to_order(row))
    for row in (await connection.execute(queries.cycles.fills_of(ids))).mappings():
        fills[row["cycle_id"]].append(rows.to_fill(row))
    return [
        rows.to_cycle(
            row,
            orders=orders[row["id"]],
            fills=in_trade_order(fills[row["id"]]),
        )
        for row in (await connection.execute(queries.cycles.states_of(ids))).mappings()
    ]


async def insert_cycle(connection: AsyncConnection, webhook_id: int, cycle: Cycle) -> Cycle:
    """Write a cycle that begins, with all that belongs to it; return it with its id."""
    values = rows.new_cycle_values(cycle, webhook_id=webhook_id)
    cycle_id = await inserted_id(connection, queries.cycles.insert_cycle(values))
    begun = replace(cycle, cycle_id=cycle_id)
    belongs = {"cycle_id": begun.cycle_id, "symbol": begun.symbol}
    await _save_orders(connection, belongs, (), begun.orders)
    await _save_fills(connection, belongs, (), begun.fills)
    await _save_alarms(connection, belongs, (), begun.alarms)
    sides = rows.position_values(begun).items()
    updated_at = rows.moment(begun.accepted_at_ms)
    positions = [
        {**belongs, "position_side": side, **shown, "updated_at": updated_at}
        for side, shown in sides
    ]
    await execute_each(connection, queries.cycles.insert_positions(), positions)
    first = {"cycle_id": begun.cycle_id, "number": 0, **rows.begun_values(begun)}
    await execute_each(connection, queries.cycles.insert_facts(), [first])
    return begun


async def save_step(
    connection: AsyncConnection, step: Step, *, version: int, journal_length: int
) -> tuple[Alarm, ...]:
    """Write what a step changed; the cycle's row is locked. Return the alarms to be told of."""
    before, cycle = step.before, step.cycle
    at_ms = max((fact.at_ms for fact in step.facts), default=cycle.accepted_at_ms)
    values = rows.cycle_values(cycle, changed_at_ms=at_ms)
    values |= {"version": version, "journal_length": journal_length + len(step.facts)}
    await connection.execute(queries.cycles.update_cycle(cycle.cycle_id, values))
    belongs = {"cycle_id": cycle.cycle_id, "symbol": cycle.symbol}
    await _save_orders(connection, belongs, before.orders, cycle.orders)
    await _save_fills(connection, belongs, before.fills, cycle.fills)
    raised = await _save_alarms(connection, belongs, before.alarms, cycle.alarms)
    await _save_positions(connection, before, cycle, at_ms)
    facts = [
        {"cycle_id": cycle.cycle_id, "number": number, **rows.fact_values(fact)}
        for number, fact in enumerate(step.facts, start=journal_length + 1)
    ]
    await execute_each(connection, queries.cycles.insert_facts(), facts)
    if before.is_open and not cycle.is_open:
        at = rows.moment(at_ms)
        await connection.execute(
            queries.operator.finish_operator_actions_of(cycle.cycle_id, CYCLE_ENDED, at=at)
        )
        await connection.execute(
            queries.alarms.settle_alarms_of(
                cycle.cycle_id, cycle.symbol, SETTLED_BY_THE_END, at=at, by=CYCLE_ENDED
            )
        )
    return raised


async def _save_orders(
    connection: AsyncConnection,
    belongs: rows.Values,
    before: Sequence[OrderState],
    after: Sequence[OrderState],
) -> None:
    known = {order.client_order_id: order for order in before}
    assert known.keys() <= {order.client_order_id for order in after}, "no order is forgotten"
    new, changed = [], []
    for order in after:
        if order.client_order_id not in known:
            new.append({**belongs, **rows.order_values(order)})
        elif order != known[order.client_order_id]:
            named = {
                "of_cycle": belongs["cycle_id"],
                "of_client_order_id": order.client_order_id,
            }
            changed.append(named | rows.order_values(order))
    await execute_each(connection, queries.cycles.insert_orders(), new)
    await execute_each(connection, queries.cycles.update_order(), changed)


async def _save_fills(
    connection: AsyncConnection,
    belongs: rows.Values,
    before: Sequence[Fill],
    after: Sequence[Fill],
) -> None:
    if before is after:
        return
    known, wanted = set(before), set(after)
    gone = [{**belongs, **rows.fill_values(fill)} for fill in before if fill not in wanted]
    new = [{**belongs, **rows.fill_values(fill)} for fill in after if fill not in known]
    await execute_each(connection, queries.cycles.delete_fill(), gone)
    await execute_each(connection, queries.cycles.insert_fills(), new)


async def _save_alarms(
    connection: AsyncConnection,
    belongs: rows.Values,
    before: Sequence[Alarm],
    after: Sequence[Alarm],
) -> tuple[Alarm, ...]:
    new = [alarm for alarm in after if alarm not in before] if before is not after else []
    return tuple([alarm for alarm in new if await raise_alarm(connection, belongs, alarm)])


async def raise_alarm(connection: AsyncConnection, belongs: rows.Values, alarm: Alarm) -> bool:
    """Count the alarm in the one of its kind that is raised already, or add it; was it added?

    Args:
        connection: in a transaction.
        belongs: its `cycle_id` (None: of the symbol as such) and `symbol`.
        alarm: the cause.
    """
    values = rows.alarm_values(alarm)
    counted = queries.alarms.count_alarm(
        belongs["cycle_id"],
        belongs["symbol"],
        values["kind"],
        text=values["text"],
        at=values["last_at"],
    )
    if (await connection.execute(counted)).rowcount:
        return False
    await connection.execute(queries.alarms.insert_alarm(belongs | values))
    return True


async def _save_positions(
    connection: AsyncConnection, before: Cycle, cycle: Cycle, at_ms: int
) -> None:
    shown_before, shown = rows.position_values(before), rows.position_values(cycle)
    changed = [
        {"of_cycle": cycle.cycle_id, "of_side": side, **values, "updated_at": rows.moment(at_ms)}
        for side, values in shown.items()
        if values != shown_before[side]
    ]
    await execute_each(connection, queries.cycles.update_position(), changed)


async def execute_each(
    connection: AsyncConnection, statement: Any, values: Sequence[rows.Values]
) -> None:
    """Execute a statement once for each set of values."""
    if values:
        await connection.execute(statement, values)


async def inserted_id(connection: AsyncConnection, statement: Any) -> int:
    """Insert one row and return its number."""
    result = await connection.execute(statement)
    key = result.inserted_primary_key
    assert key is not None, "one row was inserted"
    return int(key[0])

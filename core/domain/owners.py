"""Which cycle of the symbol a fact is about, where nobody said so.

Orders of ours name their cycle in their client ids. What is a stranger's is the open cycle's: it
counts what people do on its symbol. So is an order of a cycle that has ended, if another is open by
then; an order of a cycle that is not known here waits until that cycle is loaded.
"""

from collections.abc import Collection

from core.domain.cycle import CLIENT_ID_PREFIX, Cycle, Fact, OrderReported


def open_one(cycles: Collection[Cycle]) -> Cycle | None:
    """Return the cycle that is open; there is at most one."""
    return next((cycle for cycle in cycles if cycle.is_open), None)


def owner_of_fact(fact: Fact, cycles: Collection[Cycle]) -> int | None:
    """Return the id of the fact's cycle; None: of none that is known."""
    if isinstance(fact, OrderReported):
        return owner_of_order(fact.client_order_id, cycles)
    current = open_one(cycles)
    return None if current is None else current.cycle_id


def owner_of_order(client_order_id: str, cycles: Collection[Cycle]) -> int | None:
    """Return the id of the order's cycle; None: of none that is known."""
    current = open_one(cycles)
    for cycle in cycles:
        is_its = client_order_id.startswith(cycle.client_id_prefix)
        if is_its and (cycle.is_open or current is None):
            return cycle.cycle_id
    if current is None or is_of_unknown_cycle(client_order_id, cycles):
        return None
    return current.cycle_id


def is_of_unknown_cycle(client_order_id: str, cycles: Collection[Cycle]) -> bool:
    """Return whether it is an order of ours whose cycle is not among these."""
    is_ours = client_order_id.startswith(CLIENT_ID_PREFIX)
    return is_ours and not any(client_order_id.startswith(c.client_id_prefix) for c in cycles)

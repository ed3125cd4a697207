"""What must be true of a cycle: after each step, whenever all is quiet, and in the end.

Everything is compared with the exchange's own books, never with ours alone.
"""

from collections import Counter
from decimal import Decimal

from core.domain.cycle import Cycle, Fill, Phase, Role
from core.domain.step import Step
from core.domain.strategy import apply_all
from paper.state import AlgoStatus, Leg
from paper.world import World
from tests.simulation.stage import Stage

ZERO = Decimal(0)


# --- In the end ---


def prove_ended(stage: Stage) -> None:
    """Check that the cycle is over and its books are the exchange's, to the last digit."""
    cycle = stage.cycle
    story = "\n".join(stage.told[-30:])
    assert cycle.phase is Phase.ENDED, f"not ended: {stage.resting()}\n{story}"
    assert all(order.is_over for order in cycle.orders)
    assert open_names(stage.world, stage.symbol) == [], story
    assert stage.world.position(stage.symbol, "LONG") == ZERO
    assert stage.world.position(stage.symbol, "SHORT") == ZERO
    prove_books(stage)


def prove_books(stage: Stage) -> None:
    """Check fills, orders, realised PNL and fees against the exchange's, and the journal."""
    cycle, report = stage.cycle, stage.world.ledger()
    ours = {f.trade_id: _figures(f) for f in cycle.fills}
    theirs = {
        fill["trade_id"]: (
            fill["side"],
            *(Decimal(fill[name]) for name in ("quantity", "price", "commission")),
        )
        for fill in report["fills"]
        if fill["symbol"] == stage.symbol
    }
    assert ours == theirs
    assert not any(fill.is_adjustment for fill in cycle.fills)
    legs = [leg for leg in report["legs"] if leg["symbol"] == stage.symbol]
    assert cycle.ledger.realised == sum((Decimal(leg["realised"]) for leg in legs), ZERO)
    assert cycle.ledger.commissions == sum((Decimal(leg["commission"]) for leg in legs), ZERO)
    assert cycle.funding == sum((Decimal(leg["funding"]) for leg in legs), ZERO)
    prove_orders(stage)
    prove_journal(stage)


def prove_orders(stage: Stage) -> None:
    """Check each order's total against the exchange's, and that none was placed twice."""
    orders = [o for o in stage.world.ledger()["orders"] if o["symbol"] == stage.symbol]
    names = Counter(order["clientOrderId"] for order in orders)
    assert [name for name, count in names.items() if count > 1] == [], "doubled"
    for order in orders:
        known = stage.cycle.order(order["clientOrderId"])
        executed = Decimal(order["executed"])
        assert known is not None or not executed, f"unknown: {order}"
        assert known is None or known.executed == executed, f"{known} {order}"


def prove_journal(stage: Stage) -> None:
    """Check that the journal alone leads to the saved state."""
    stored = stage.store._cycles[stage.cycle_id]
    assert apply_all(stored.begun_as, tuple(stored.facts)) == stored.cycle


# --- Whenever all is quiet ---


def prove_protected(stage: Stage) -> None:
    """Check that a position has its exits on the exchange, for just its quantity."""
    cycle, world = stage.cycle, stage.world
    long, short = (world.position(stage.symbol, side) for side in ("LONG", "SHORT"))
    story = "\n".join(stage.told[-30:])
    assert (cycle.long.quantity, cycle.short.quantity) == (long, short), story
    if cycle.phase is not Phase.TRADING or cycle.is_hands_off:
        return
    if long and cycle.trailing_stop is None and not cycle.close_long_asked:
        _prove_take_profit(stage, story)
    if short and cycle.settings.sl_short is not None and not cycle.close_short_asked:
        _prove_stop_loss(stage, story)


def _prove_take_profit(stage: Stage, story: str) -> None:
    state, settings = stage.world.state, stage.cycle.settings
    sells = [
        o
        for o in state.orders.values()
        if o.symbol == stage.symbol and o.is_open and (o.side, o.position_side) == ("SELL", "LONG")
    ]
    offered = sum((order.remaining for order in sells), ZERO)
    long = stage.world.position(stage.symbol, "LONG")
    assert offered == long, f"{offered} of {long} are offered\n{story}"
    price = _leg(stage, "LONG").entry * (1 + settings.tp / 100)
    for order in sells:
        if order.client_id.startswith("tb-"):
            assert price <= order.price < price + stage.cycle.rules.tick_size, story


def _prove_stop_loss(stage: Stage, story: str) -> None:
    algos = stage.world.state.algos.values()
    stops = [a for a in algos if a.status is AlgoStatus.NEW and "-hs" in a.client_id]
    assert len(stops) == 1, f"SHORT without its stop-loss\n{story}"
    assert stage.cycle.settings.sl_short is not None
    price = _leg(stage, "SHORT").entry * (1 + stage.cycle.settings.sl_short / 100)
    assert price <= stops[0].trigger < price + stage.cycle.rules.tick_size, story
    assert stops[0].close_position


def _leg(stage: Stage, side: str) -> Leg:
    legs = stage.world.state.books.legs[stage.symbol]
    return next(leg for leg in legs.values() if leg.position_side == side)


# --- After each step ---


def watch(stage: Stage) -> None:
    """Have the invariants checked after each step of the stage."""
    stage.after_step.append(lambda step: _check_step(stage, step))


def _check_step(stage: Stage, step: Step) -> None:
    cycle = step.cycle
    _check_budget(cycle)
    _check_roles(stage)
    _check_fills(cycle)
    before, now = step.before.trailing_stop, cycle.trailing_stop
    if before is not None and now is not None:
        assert now >= before, "the trailing stop fell"
    if cycle.phase is Phase.ENDED:
        assert all(order.is_over for order in cycle.orders)


def _check_budget(cycle: Cycle) -> None:
    """LONG within deposit × leverage, SHORT within extramarg × leverage, at the orders' prices."""
    settings = cycle.settings
    opened = sum((f.price * f.quantity for f in cycle.fills if _is_entry(cycle, f)), ZERO)
    levels: dict[int, Decimal] = {}
    for order in cycle.of(Role.LEVEL):
        notional = (order.price or ZERO) * (order.quantity or ZERO)
        levels[order.number] = max(notional, levels.get(order.number, ZERO))
    assert opened + sum(levels.values()) <= settings.deposit * settings.leverage
    for number in levels:
        assert cycle.grid is not None
        bought = sum((o.executed for o in cycle.of(Role.LEVEL, number)), ZERO)
        assert bought <= cycle.grid.level(number).quantity, f"level {number} doubled"
    hedges = [o for role in (Role.HEDGE, Role.HEDGE_MARKET) for o in cycle.of(role)]
    for number in {o.number for o in hedges}:
        trigger = cycle.hedge_triggers[number - 1]
        sold = sum((o.executed for o in hedges if o.number == number), ZERO)
        assert sold * trigger <= settings.extramarg * settings.leverage, f"hedge {number} doubled"


def _is_entry(cycle: Cycle, fill: Fill) -> bool:
    order = cycle.order(fill.client_order_id)
    return order is not None and order.role is Role.ENTRY


def _check_roles(stage: Stage) -> None:
    """At most one order per role and number rests on the exchange."""
    names = Counter(
        name.rsplit("-", 1)[0]
        for name in open_names(stage.world, stage.symbol)
        if name.startswith(f"tb-{stage.key}-")
    )
    assert [name for name, count in names.items() if count > 1] == []


def _check_fills(cycle: Cycle) -> None:
    trades = Counter(fill.trade_id for fill in cycle.fills if not fill.is_adjustment)
    assert all(count == 1 for count in trades.values())


# --- The exchange's books ---


def open_names(world: World, symbol: str) -> list[str]:
    """Return the client ids of what is open on the exchange."""
    return [name for name, _ in open_orders(world, symbol)]


def open_orders(world: World, symbol: str) -> list[tuple[str, Decimal]]:
    """Return client id and remaining quantity of what is open on the exchange."""
    state = world.state
    plain = [o for o in state.orders.values() if o.symbol == symbol and o.is_open]
    algos = [a for a in state.algos.values() if a.symbol == symbol and a.status is AlgoStatus.NEW]
    return [(o.client_id, o.remaining) for o in plain] + [(a.client_id, ZERO) for a in algos]


def _figures(fill: Fill) -> tuple[str | Decimal, ...]:
    return (fill.side.value, fill.quantity, fill.price, fill.commission)

"""What the operator's command line shows, as lines that people read. Pure."""

from datetime import UTC, datetime

from core.adoption import Adoption
from core.domain.alarms import RaisedAlarm
from core.domain.cycle import Cycle, OrderState
from core.domain.guards import Kill
from core.domain.webhook import AlertSecret
from core.money import shown
from core.narration import net_pnl, shown_sides


def described_secret(secret: AlertSecret) -> str:
    """Return one line about a secret: whose it is, whether it is valid, when it was used."""
    is_valid, used_ms = secret.revoked_at_ms is None, secret.last_used_at_ms
    return ", ".join(
        (
            f"{secret.secret_id}  {secret.name}: {'valid' if is_valid else 'REVOKED'}",
            *(("may close all",) if secret.may_close_all else ()),
            f"made {_date(secret.created_at_ms)} by {secret.created_by}",
            "never used" if used_ms is None else f"last used {_date(used_ms)}",
        )
    )


def described_cycle(cycle: Cycle) -> list[str]:
    """Return an open cycle as lines: what it holds, what it earned, what rests on the book."""
    marks = [
        text
        for is_so, text in ((cycle.is_paused, "paused"), (cycle.is_hands_off, "hands off"))
        if is_so
    ]
    reason = f" ({cycle.close_reason})" if cycle.close_reason is not None else ""
    earned = f"so far {shown(net_pnl(cycle))} {cycle.rules.quote_asset}"
    return [
        f"cycle {cycle.key}: {', '.join([cycle.phase + reason, *marks])}",
        f"{shown_sides(cycle)}, {earned}",
        *(f"order {_order(order)}" for order in cycle.orders if not order.is_over),
    ]


def described_alarm(alarm: RaisedAlarm) -> str:
    """Return one line about an alarm: what happened, and what to do."""
    times = f" ({alarm.count} times)" if alarm.count > 1 else ""
    return (
        f"ALARM {alarm.alarm_id} {alarm.symbol} {alarm.kind}, {alarm.severity}, "
        f"{_date(alarm.last_at_ms)}{times}: {alarm.text}. {alarm.action}"
    )


def described_kill(thrown: Kill) -> str:
    """Return one line about the kill switch that is on."""
    since = _date(thrown.at_ms)
    return f"KILLED since {since} by {thrown.by}: no cycle is opened until operate.py kill --undo"


def described_adoption(found: Adoption) -> list[str]:
    """Return how a cycle that takes a position on would look, as lines."""
    grid, cycle = found.grid, found.cycle
    held = f"{shown(grid.entry_quantity)} at {shown(grid.entry_fill_price)}"
    levels = [
        f"level {level.number}: buy {shown(level.quantity)} at {shown(level.price)}"
        for level in grid.levels
    ]
    hedge = []
    if grid.hedge_trigger is not None and grid.hedge_quantity is not None:
        hedge = [f"hedge: sell {shown(grid.hedge_quantity)} SHORT at {shown(grid.hedge_trigger)}"]
    return [
        f"{cycle.symbol}: LONG {held}",
        f"take-profit: sell all at {shown(grid.take_profit)}",
        *levels,
        *hedge,
        *(f"note: {warning}" for warning in found.warnings),
    ]


def _order(order: OrderState) -> str:
    quantity = "all" if order.quantity is None else shown(order.quantity)
    price = "market" if order.price is None else shown(order.price)
    number = f" {order.number}" if order.number else ""
    done = f", {shown(order.executed)} filled" if order.executed else ""
    return f"{order.role}{number}: {order.side} {quantity} at {price}{done} [{order.status}]"


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")

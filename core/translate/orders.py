"""Answers to order requests and records of orders, as news of the domain."""

from core.domain.cycle import Kind, OrderReported, OrderState, ReportedStatus, Request
from core.money import ZERO
from core.schemas import binance_rest as rest
from core.translate import words


def plain_order(
    order: rest.PlainOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return the news in an ordinary order's answer or record."""
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=words.plain_status(order.status),
        side=words.side(order.side),
        position_side=words.position_side(order.position_side, order.side),
        kind=words.plain_kind(order.type, order.time_in_force),
        price=order.price or None,
        quantity=order.orig_qty,
        executed=order.executed_qty,
        average_price=words.average(order.avg_price, order.executed_qty),
        exchange_order_id=order.order_id,
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def algo_order(
    order: rest.AlgoOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return the news in a conditional order's answer or record.

    `exchange_order_id` is its child order's, once it has one; never the algo service's own number.
    """
    status = words.algo_status(order.algo_status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_algo_id,
        status=status,
        side=words.side(order.side),
        position_side=words.position_side(order.position_side, order.side),
        kind=Kind.STOP_MARKET,
        price=order.trigger_price or None,
        quantity=None if order.close_position else order.quantity,
        # What rests or ended untriggered has executed nothing; else the child order knows.
        executed=None if status is ReportedStatus.TRIGGERED else ZERO,
        average_price=None,
        exchange_order_id=child_order_id(order.actual_order_id),
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def triggered_order(
    algo: rest.AlgoOrder,
    child: rest.PlainOrder,
    *,
    at_ms: int,
    asked_at_ms: int | None = None,
    answers: Request | None = None,
) -> OrderReported:
    """Return a conditional order's news with the totals and the end of its child order."""
    status = words.plain_status(child.status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=algo.client_algo_id,
        status=ReportedStatus.TRIGGERED if status is ReportedStatus.OPEN else status,
        side=words.side(algo.side),
        position_side=words.position_side(algo.position_side, algo.side),
        kind=Kind.STOP_MARKET,
        price=algo.trigger_price or None,
        quantity=child.orig_qty,  # also of close-position orders: known since it triggered
        executed=child.executed_qty,
        average_price=words.average(child.avg_price, child.executed_qty),
        exchange_order_id=child.order_id,
        asked_at_ms=asked_at_ms,
        answers=answers,
    )


def triggered_from_child(
    order: OrderState, child: rest.PlainOrder, *, at_ms: int, asked_at_ms: int
) -> OrderReported:
    """Return a conditional order's news where only its child order could be found."""
    status = words.plain_status(child.status)
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.TRIGGERED if status is ReportedStatus.OPEN else status,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=child.orig_qty,
        executed=child.executed_qty,
        average_price=words.average(child.avg_price, child.executed_qty),
        exchange_order_id=child.order_id,
        asked_at_ms=asked_at_ms,
    )


def algo_cancelled(order: OrderState, *, at_ms: int) -> OrderReported:
    """Return the news in the success answer to our cancel of a conditional order.

    The answer names the order and nothing else; only an untriggered one can be cancelled this way.
    """
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.CANCELED,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=order.quantity,
        executed=ZERO,
        average_price=None,
        answers=Request.CANCEL,
    )


def amendment_unchanged(order: OrderState, *, at_ms: int) -> OrderReported:
    """Return the news in -5027 (no need to modify): the order already is as asked for."""
    return OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_order_id,
        status=ReportedStatus.OPEN,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.target_price,
        quantity=order.target_quantity,
        executed=None,
        average_price=None,
        exchange_order_id=order.exchange_order_id,
        answers=Request.AMEND,
    )


def child_order_id(text: str | int | None) -> int | None:
    """Return the number of a conditional order's child order, None before it has one."""
    return int(text) if text else None

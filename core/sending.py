"""One request to the exchange: started in time or not at all, and what came of it as a fact."""

from dataclasses import replace

from core.domain.cycle import (
    Fact,
    OrderRefused,
    OrderState,
    OutcomeUnknown,
    Request,
    RequestNotSent,
    Role,
)
from core.domain.refusals import HTTP_UNAVAILABLE
from core.domain.rules import ENTRY_DEADLINE_MS
from core.errors import ExchangeUnavailable, RateLimited, RequestRefused, RequestTooLate
from core.errors import OutcomeUnknown as NoAnswer
from core.ports import Clock, OrderGateway

START_WITHIN_MS = 2_000  # a request is not started later than this after its intent


async def carry_out(gateway: OrderGateway, clock: Clock, symbol: str, order: OrderState) -> Fact:
    """Send the request that stands on the order, unless it is too old; return what came of it."""
    name = order.client_order_id
    if _is_too_late(order, clock.now_ms()):
        return not_sent(order, clock.now_ms())
    call = {
        Request.PLACE: gateway.place,
        Request.AMEND: gateway.amend,
        Request.CANCEL: gateway.cancel,
    }[order.request]
    try:
        report = await call(symbol, order)
    except RequestRefused as error:
        return _refused(order, clock.now_ms(), code=error.code, text=error.text)
    except RateLimited as error:
        return not_sent(order, clock.now_ms(), wait_ms=error.retry_after_ms)
    except RequestTooLate:
        return not_sent(order, clock.now_ms())
    except ExchangeUnavailable as error:
        return _refused(order, clock.now_ms(), code=HTTP_UNAVAILABLE, text=str(error))
    except NoAnswer:
        return OutcomeUnknown(
            at_ms=clock.now_ms(), client_order_id=name, requested_at_ms=order.requested_at_ms
        )
    return replace(report, answers=order.request)


def not_sent(order: OrderState, now_ms: int, *, wait_ms: int = 0) -> RequestNotSent:
    """Return that the request was not started, and may be again after `wait_ms`."""
    return RequestNotSent(
        at_ms=now_ms,
        client_order_id=order.client_order_id,
        retry_at_ms=now_ms + wait_ms,
        requested_at_ms=order.requested_at_ms,
    )


def _is_too_late(order: OrderState, now_ms: int) -> bool:
    """Return whether the request must not be started any more; the entry's 15 s are rule 1's."""
    is_entry = order.role is Role.ENTRY  # created when its alert was accepted
    is_expired = is_entry and now_ms >= order.created_at_ms + ENTRY_DEADLINE_MS
    return is_expired or now_ms > order.requested_at_ms + START_WITHIN_MS


def _refused(order: OrderState, now_ms: int, *, code: int, text: str) -> OrderRefused:
    return OrderRefused(
        at_ms=now_ms,
        client_order_id=order.client_order_id,
        request=order.request,
        code=code,
        text=text,
        requested_at_ms=order.requested_at_ms,
    )

"""One request to the exchange: every outcome is a fact, and none is started too late."""

from dataclasses import replace

import pytest

from core.domain.cycle import (
    Fact,
    OrderRefused,
    OrderReported,
    OrderState,
    OutcomeUnknown,
    ReportedStatus,
    Request,
    RequestNotSent,
)
from core.errors import ExchangeUnavailable, RateLimited, RequestRefused, RequestTooLate
from core.errors import OutcomeUnknown as NoAnswer
from core.money import ZERO
from core.sending import carry_out
from tests.builders import T0, StoppedClock, Story


class OneAnswer:
    """Answers every request in the one way it was told; counts them."""

    def __init__(self, answer: OrderReported | Exception) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    async def place(self, symbol: str, order: OrderState) -> OrderReported:
        """Answer a placement."""
        return self._say(order)

    async def amend(self, symbol: str, order: OrderState) -> OrderReported:
        """Answer an amendment."""
        return self._say(order)

    async def cancel(self, symbol: str, order: OrderState) -> OrderReported:
        """Answer a cancellation."""
        return self._say(order)

    def _say(self, order: OrderState) -> OrderReported:
        self.asked.append(order.request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


ENTRY = Story().order("entry")
NAME = ENTRY.client_order_id


def refused(code: int, text: str) -> OrderRefused:
    return OrderRefused(
        at_ms=T0,
        client_order_id=NAME,
        request=Request.PLACE,
        code=code,
        text=text,
        requested_at_ms=T0,
    )


OUTCOMES: dict[str, tuple[Exception, Fact]] = {
    "refused: with code and text": (
        RequestRefused(code=-2019, text="Margin is insufficient.", http_status=400),
        refused(-2019, "Margin is insufficient."),
    ),
    "throttled: not sent, and when it may be": (
        RateLimited(retry_after_ms=700),
        RequestNotSent(at_ms=T0, client_order_id=NAME, retry_at_ms=T0 + 700, requested_at_ms=T0),
    ),
    "too late to be sent: not sent": (
        RequestTooLate("too late"),
        RequestNotSent(at_ms=T0, client_order_id=NAME, retry_at_ms=T0, requested_at_ms=T0),
    ),
    "not taken: refused for the moment": (
        ExchangeUnavailable("no connection"),
        refused(-503, "no connection"),
    ),
    "no answer: unknown": (
        NoAnswer("time-out"),
        OutcomeUnknown(at_ms=T0, client_order_id=NAME, requested_at_ms=T0),
    ),
}


@pytest.mark.parametrize(("error", "fact"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_every_outcome_of_a_request_is_a_fact(error: Exception, fact: Fact) -> None:
    gateway = OneAnswer(error)
    assert await carry_out(gateway, StoppedClock(), "BTCUSDT", ENTRY) == fact  # type: ignore[arg-type] # orders only
    assert gateway.asked == [Request.PLACE]


@pytest.mark.parametrize("request_", [Request.PLACE, Request.AMEND, Request.CANCEL])
async def test_a_success_says_what_it_answers(request_: Request) -> None:
    report = OrderReported(
        at_ms=T0,
        client_order_id=NAME,
        status=ReportedStatus.OPEN,
        side=ENTRY.side,
        position_side=ENTRY.position_side,
        kind=ENTRY.kind,
        price=None,
        quantity=ENTRY.quantity,
        executed=ZERO,
        average_price=None,
    )
    gateway = OneAnswer(report)
    order = replace(ENTRY, request=request_)
    fact = await carry_out(gateway, StoppedClock(), "BTCUSDT", order)  # type: ignore[arg-type] # orders only
    assert fact == replace(report, answers=request_)
    assert gateway.asked == [request_]


@pytest.mark.parametrize(("after_ms", "is_sent"), [(2_000, True), (2_001, False)])
async def test_no_request_is_started_later_than_2_s_after_its_intent(
    after_ms: int, is_sent: bool
) -> None:
    gateway = OneAnswer(NoAnswer("time-out"))
    fact = await carry_out(gateway, StoppedClock(after_ms), "BTCUSDT", ENTRY)  # type: ignore[arg-type] # orders only
    assert bool(gateway.asked) is is_sent
    assert isinstance(fact, OutcomeUnknown if is_sent else RequestNotSent)


@pytest.mark.parametrize(("after_ms", "is_sent"), [(14_999, True), (15_000, False)])
async def test_the_entry_is_not_started_15_s_after_its_alert_however_young_its_intent(
    after_ms: int, is_sent: bool
) -> None:
    gateway = OneAnswer(NoAnswer("time-out"))
    entry = replace(ENTRY, requested_at_ms=T0 + 14_500)
    await carry_out(gateway, StoppedClock(after_ms), "BTCUSDT", entry)  # type: ignore[arg-type] # orders only
    assert bool(gateway.asked) is is_sent

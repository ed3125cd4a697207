"""What an answer that is not a success means for the caller: the table behind every request.

The exchange's status, code and text become one error of `core.errors`. For a request that changes
something, what may have been carried out is `OutcomeUnknown`; for a read, all of that is
`ExchangeUnavailable`, since nothing was learnt and nothing happened.
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
"""

import re
from dataclasses import dataclass

import msgspec

from core.domain.refusals import HTTP_FORBIDDEN, HTTP_UNAUTHORIZED, HTTP_UNAVAILABLE
from core.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
)
from core.schemas.binance_rest import ErrorBody

# The gateway asked the matching engine and got no clear answer: it may have been carried out.
# -1001 and 503 "Internal error" are documented as failures; for orders we look before we repeat.
_UNCLEAR_CODES = frozenset({-1000, -1001, -1006, -1007})
_TOO_MANY_REQUESTS, _TOO_MANY_ORDERS = -1003, -1015
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RestAnswer:
    """An HTTP answer as it came."""

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Return whether the exchange did what was asked."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The exchange asks us to send nothing; `told_ms` is None where it did not say how long."""

    told_ms: int | None
    is_ban: bool
    only_orders: bool
    text: str


def stop_of(answer: RestAnswer, now_ms: int) -> Stop | None:
    """Return for how long the answer asks us to stop, if it does."""
    error = _error_body(answer.body)
    code = 0 if error is None else error.code
    if answer.status not in (418, 429) and code not in (_TOO_MANY_REQUESTS, _TOO_MANY_ORDERS):
        return None
    text = _text(answer, error)
    banned = _BANNED_UNTIL.search(text)
    told_ms: int | None = None
    if banned is not None:
        told_ms = max(0, int(banned[1]) - now_ms)
    elif answer.retry_after is not None and answer.retry_after.isdecimal():
        told_ms = int(answer.retry_after) * 1000
    only_orders = code == _TOO_MANY_ORDERS and answer.status != 418
    return Stop(told_ms=told_ms, is_ban=answer.status == 418, only_orders=only_orders, text=text)


def error_of(answer: RestAnswer, *, changes: bool) -> ExchangeError:
    """Return the error for an answer that is no success and asks for no stop."""
    error = _error_body(answer.body)
    text = _text(answer, error)
    is_unclear = error is not None and error.code in _UNCLEAR_CODES
    if is_unclear or answer.status == 408:
        return no_answer(text, changes=changes)
    if error is not None and error.code < 0 and (answer.status < 500 or error.code == -1008):
        return RequestRefused(code=error.code, text=text, http_status=answer.status)
    if answer.status == 401:
        return RequestRefused(code=HTTP_UNAUTHORIZED, text=text, http_status=401)
    if answer.status == 403:
        return RequestRefused(code=HTTP_FORBIDDEN, text=text, http_status=403)
    if answer.status == 503 and "service unavailable" in text.lower():
        if changes:
            return RequestRefused(code=HTTP_UNAVAILABLE, text=text, http_status=503)
        return ExchangeUnavailable(text)
    return no_answer(f"HTTP {answer.status} {text}", changes=changes)


def rate_limited(stop: Stop, pause_ms: int) -> RateLimited:
    """Return the error for an answer that asked us to stop."""
    return RateLimited(retry_after_ms=pause_ms, text=stop.text)


def no_answer(text: str, *, changes: bool) -> ExchangeError:
    """Return the error for a request whose effect nobody told."""
    return OutcomeUnknown(text) if changes else ExchangeUnavailable(text)


def _error_body(body: bytes) -> ErrorBody | None:
    try:
        return msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _text(answer: RestAnswer, error: ErrorBody | None) -> str:
    text = answer.body.decode(errors="replace") if error is None else error.msg
    return text[:_TEXT_LIMIT] or f"HTTP {answer.status} without a text"

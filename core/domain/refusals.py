"""What the exchange's error codes mean for an order: a table, by what has to happen next."""

from enum import StrEnum

from core.domain.cycle import OrderState


class Refusal(StrEnum):
    """Why a request was refused, by consequence."""

    FOR_GOOD = "for_good"  # wrong as it is; asking again the same way is useless
    MARGIN = "margin"
    STOP_LIMIT = "stop_limit"  # too many conditional orders on the account
    PRICE_BOUND = "price_bound"
    MOMENT = "moment"  # busy, throttled: later
    CLOCK = "clock"  # arrived too late: not placed, ask anew
    TRIGGER_PASSED = "trigger_passed"
    CLOSE_RESERVED = "close_reserved"  # resting orders already offer what is to be closed
    DUPLICATE = "duplicate"  # the client id is in use: it exists
    UNKNOWN_ORDER = "unknown_order"
    NO_CHANGE = "no_change"
    ACCOUNT = "account"  # keys, permissions, mode: nothing new for any symbol
    HALTED = "halted"  # the symbol is not traded now: halted, settled or about to be delisted


BELOW_LOWEST_PRICE = -4024

# Source: the exchange's error-code page for USDⓈ-M futures (as of November 2026).
_BY_CODE: dict[int, Refusal] = {
    -1001: Refusal.MOMENT,
    -1003: Refusal.MOMENT,
    -1008: Refusal.MOMENT,
    -1015: Refusal.MOMENT,
    -1016: Refusal.MOMENT,
    -4117: Refusal.MOMENT,  # stop order is triggering
    -5043: Refusal.MOMENT,  # an amendment is pending
    -1021: Refusal.CLOCK,
    -5028: Refusal.CLOCK,
    -2019: Refusal.MARGIN,
    -2018: Refusal.MARGIN,
    -2027: Refusal.MARGIN,
    -4050: Refusal.MARGIN,
    -4051: Refusal.MARGIN,
    -4045: Refusal.STOP_LIMIT,
    -4016: Refusal.PRICE_BOUND,
    BELOW_LOWEST_PRICE: Refusal.PRICE_BOUND,
    -4131: Refusal.PRICE_BOUND,
    -2021: Refusal.TRIGGER_PASSED,
    -4142: Refusal.TRIGGER_PASSED,
    -2022: Refusal.CLOSE_RESERVED,
    -4118: Refusal.CLOSE_RESERVED,
    -4130: Refusal.CLOSE_RESERVED,  # a close-position stop of that direction rests already
    -2024: Refusal.CLOSE_RESERVED,  # less is held than is to be closed
    -4116: Refusal.DUPLICATE,
    -2011: Refusal.UNKNOWN_ORDER,
    -2013: Refusal.UNKNOWN_ORDER,
    -5027: Refusal.NO_CHANGE,
    -1002: Refusal.ACCOUNT,
    -1022: Refusal.ACCOUNT,
    -2014: Refusal.ACCOUNT,
    -2015: Refusal.ACCOUNT,
    -4061: Refusal.ACCOUNT,
    -4109: Refusal.ACCOUNT,
    -4108: Refusal.HALTED,
    -4140: Refusal.HALTED,
    -4141: Refusal.HALTED,
    -5024: Refusal.HALTED,
}

# HTTP statuses that come without a code of their own; the gateway hands them on as negative codes.
HTTP_UNAVAILABLE = -503
HTTP_FORBIDDEN = -403
HTTP_UNAUTHORIZED = -401
_BY_STATUS = {
    HTTP_UNAVAILABLE: Refusal.MOMENT,
    HTTP_FORBIDDEN: Refusal.ACCOUNT,
    HTTP_UNAUTHORIZED: Refusal.ACCOUNT,
}


def refusal(code: int) -> Refusal:
    """Return what `code` means; a code not in the table is a refusal for good."""
    return _BY_CODE.get(code) or _BY_STATUS.get(code) or Refusal.FOR_GOOD


def is_refused(order: OrderState, *reasons: Refusal) -> bool:
    """Return whether the order's last request was refused for one of these reasons."""
    return order.refusal_code is not None and refusal(order.refusal_code) in reasons

"""The exchange's refusals."""


class RefusedError(Exception):
    """A request that the exchange refuses; its attributes are what goes on the wire."""

    def __init__(self, code: int, text: str, *, status: int = 400) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.status = status


class InconsistentError(AssertionError):
    """The books do not add up: a bug of this program, never the fault of a request."""


MARGIN_INSUFFICIENT = (-2019, "Margin is insufficient.")
REDUCE_ONLY_REJECTED = (-2022, "ReduceOnly Order is rejected.")
CLOSE_COVERED = (
    -4118,
    "ReduceOnly Order Failed. Please check your existing position and open orders.",
)
WOULD_TRIGGER = (-2021, "Order would immediately trigger.")
POSITION_TOO_LARGE = (-2027, "Exceeded the maximum allowable position at current leverage.")
UNKNOWN_ORDER = (-2011, "Unknown order sent.")
NO_SUCH_ORDER = (-2013, "Order does not exist.")
EMPTY_BOOK = (-1112, "No orders on book for symbol.")

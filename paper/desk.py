"""What every request handler works with: the state, the matching and the outbox."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from paper import margin
from paper.errors import RefusedError
from paper.events import Event
from paper.matching import Matching
from paper.params import Params
from paper.rules import SymbolRules
from paper.state import PositionSide, Side, State
from paper.tape import Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The inside of the exchange, as request handlers see it."""

    state: State
    matching: Matching
    emit: Callable[[Event], None]
    tape: Tape
    settle_streams: Callable[[], None]  # tell the depth streams all that has changed so far
    market_ms: Callable[[int], int]  # the market's time at a moment of the account's

    def rules(self, params: Params) -> SymbolRules:
        """Return the rules of the request's symbol; raise when it is missing or unknown."""
        return self.rules_of(params.required("symbol"))

    def rules_of(self, symbol: str) -> SymbolRules:
        """Return the rules of a symbol; raise -1121 when it is unknown."""
        rules = self.state.rules.get(symbol)
        if rules is None:
            raise RefusedError(-1121, "Invalid symbol.")
        return rules

    def symbols(self, params: Params) -> list[str]:
        """Return the request's symbol, or all of them."""
        if params.text("symbol") is None:
            return list(self.state.rules)
        return [self.rules(params).symbol]

    def serial(self) -> int:
        """Return the next of the numbers from which the exchange makes up names."""
        self.state.next_serial += 1
        return self.state.next_serial

    def available(self) -> Decimal:
        """Return what is free for new orders; may be negative."""
        return margin.available(self.state, self.matching.book.open_orders())

    def is_closing(self, side: Side, position_side: PositionSide) -> bool:
        """Return whether Hedge Mode takes this pair as a close."""
        return (side, position_side) in (
            (Side.SELL, PositionSide.LONG),
            (Side.BUY, PositionSide.SHORT),
        )

    def next_funding_ms(self, now_ms: int) -> int:
        """Return the next full interval, eight hours by default."""
        interval = self.state.options.funding_interval_ms
        return (now_ms // interval + 1) * interval

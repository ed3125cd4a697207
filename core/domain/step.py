"""One turn of the loop as data: what was known, what was learnt, what is known now, what to send."""

from dataclasses import dataclass, replace

from core.domain.cycle import Cycle, Fact, OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of applying facts to a cycle; the store saves it, the engine sends its requests."""

    before: Cycle
    cycle: Cycle
    facts: tuple[Fact, ...]
    requests: tuple[OrderState, ...] = ()  # each with `request`, targets and timestamp set
    wake_at_ms: int | None = None  # when a command that had to wait is due

    @property
    def changes_nothing(self) -> bool:
        """Return whether there is nothing worth a transaction; a new last price alone is not."""
        return replace(self.before, last_price=None) == replace(self.cycle, last_price=None)

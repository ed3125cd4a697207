"""Who may decide and who may send, by the rules of leases alone: what monitors are held to.

Written from the description of the rules (docs/architecture.md), sharing nothing with the code that
keeps leases: all it looks at are the rows, and which process changed them when. Every change of a
lease is judged when it is committed, every step when it was, every request as it leaves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.clients.memory_store import Moment
from core.ports import Lease
from simulation.invariants import require
from simulation.loop import this_process

LASTS_MS = 15_000
CLOCK_SET_BACK_MS = LASTS_MS + 1_000  # no lease has so much left, unless the clock was set back
SENDS_WITHIN_S = 10.0  # of the last renewal
_TAKES = ("acquire_lease", "renew_leases")


@dataclass(frozen=True, slots=True)
class _Row:
    lease: Lease
    until_ms: int


class LeaseWatch:
    """Watches the leases of all symbols."""

    def __init__(
        self,
        *,
        rows: Callable[[], Mapping[str, tuple[Lease, int]]],
        database_ms: Callable[[], int],
        seconds: Callable[[], float],
    ) -> None:
        """Watch what `rows` are; `seconds` is time as it really passes, whatever clocks say."""
        self.grants = 0
        self._rows = rows
        self._database_ms = database_ms
        self._seconds = seconds
        self._known: dict[str, _Row] = {}
        self._asked_at: dict[str, float] = {}  # by owner
        self._renewed_at: dict[tuple[str, str], float] = {}  # by owner and symbol

    def asked(self, operation: str, moment: Moment) -> None:
        """Take note of a transaction that begins, and judge one that was committed."""
        if moment is Moment.AFTER_COMMIT:
            self._judge_rows()
        elif operation in _TAKES:
            self._asked_at[_owner()] = self._seconds()

    def answered(self, operation: str) -> None:
        """Take note that whoever asked was told of the success."""
        owner = _owner()
        for symbol, row in self._known.items() if operation in _TAKES else ():
            if row.lease.owner == owner and row.until_ms == self._database_ms() + LASTS_MS:
                self._renewed_at[owner, symbol] = self._asked_at[owner]

    def holds(self, symbol: str, lease: Lease | None) -> bool:
        """Return whether this is the lease that the symbol's row has."""
        row = self._rows().get(symbol)
        return row is not None and row[0] == lease

    def require_decider(self, symbol: str, lease: Lease | None) -> None:
        """Check that a step that was saved is its holder's."""
        text = f"{lease} decided, {self._rows().get(symbol)} holds"
        require(self.holds(symbol, lease), "one monitor decides for a symbol", text)

    def require_renewed(self, symbol: str) -> None:
        """Check that who sends something for the symbol has renewed its lease lately."""
        owner = _owner()
        if not owner:
            return  # the API needs none: it sends what it has just begun
        renewed_at = self._renewed_at.get((owner, symbol))
        age_s = None if renewed_at is None else self._seconds() - renewed_at
        name = "who has not renewed for 10 s starts no request"
        require(age_s is not None and age_s < SENDS_WITHIN_S, name, f"{owner} {symbol}: {age_s} s")

    def _judge_rows(self) -> None:
        for symbol, (lease, until_ms) in self._rows().items():
            known, row = self._known.get(symbol), _Row(lease, until_ms)
            if known == row:
                continue
            self._known[symbol] = row
            if known is not None and known.lease == lease:
                name = "a lease is renewed by its holder"
                require(lease.owner == _owner(), name, f"{lease} by {_owner()!r}")
            elif not lease.owner:
                self._judge_return(symbol, known)
            else:
                self._judge_grant(symbol, known, row)

    def _judge_return(self, symbol: str, known: _Row | None) -> None:
        is_its = known is not None and known.lease.owner == _owner()
        require(is_its, "a lease is given back by its holder", f"{known} by {_owner()!r}")

    def _judge_grant(self, symbol: str, known: _Row | None, row: _Row) -> None:
        self.grants += 1
        now_ms, before = self._database_ms(), 0
        if known is not None:
            before, left_ms = known.lease.epoch, known.until_ms - now_ms
            is_over = not known.lease.owner or left_ms <= 0 or left_ms > CLOCK_SET_BACK_MS
            text = f"{symbol}: {known.lease} had {left_ms} ms left"
            require(is_over, "a lease lasts until it has run out", text)
        text = f"{row.lease} after epoch {before}"
        require(row.lease.epoch == before + 1, "each holder has the next epoch", text)
        require(row.until_ms == now_ms + LASTS_MS, "a lease lasts 15 s", row.until_ms - now_ms)


def _owner() -> str:
    process = this_process()
    return "" if process is None else process.name

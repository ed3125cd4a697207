"""Every error of ours, split by what the caller does next.

TradeboxError
├── ConfigInvalid            stop: tell the operator every variable that is wrong
├── StartRefused             stop: tell the operator why, and what to do
├── AlertInvalid             answer: name every field that is wrong; nothing was traded
├── AlertTimedOut            answer: send the alert again later; nothing will come of this one
├── AlertForbidden           answer: this sender may not ask for it; nothing was done
├── GuardRefused             answer: a limit of the account says no; nothing was traded
├── SymbolPaused             answer: no cycle is opened on the symbol for now; nothing was traded
├── SymbolUnwatched          answer: send the alert again later; nothing was traded
├── SymbolInUse              answer: somebody else's position or order is there; nothing was traded
├── ExchangeError
│   ├── RequestRefused       the exchange said no: decide by role and code (strategy, section 7)
│   ├── RateLimited          it was not processed: ask again after `retry_after_ms`
│   ├── RequestTooLate       it was not sent, its timestamp is too old: decide anew
│   ├── OutcomeUnknown       it may have been processed: find out before asking again
│   └── ExchangeUnavailable  it was not sent or not taken: ask again later
├── NoticeUndelivered        log it: people look at the alarms elsewhere too
└── StoreError
    ├── StoreUnavailable     the database is away: decide nothing, send nothing
    ├── CommitUnclear        the commit may have happened: send nothing, read the row again
    ├── LeaseLost            another monitor decides now: discard what is in memory
    ├── SymbolBusy           the symbol has an open cycle: nothing was stored for this one
    ├── DuplicateAlert       an alert of this id was accepted before: nothing was stored
    ├── AlertClosed          the alert was given up meanwhile: nothing may be opened for it
    └── StoreConflict        what was to be written contradicts the rows: a bug, ask a person
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with one named value; `value` is text, shortened, and never a secret."""

    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        return f"{self.field} = {self.value}: {self.reason}"


class TradeboxError(Exception):
    """Base of all errors that are ours to handle."""


class ConfigInvalid(TradeboxError):
    """The environment or the `.env` file is wrong; `errors` lists all of it at once."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        lines = [f"  {error}" for error in self.errors]
        super().__init__("\n".join(["The configuration cannot be used:", *lines]))


class StartRefused(TradeboxError):
    """The monitor must not run like this; the text says why and what to do."""


class AlertInvalid(TradeboxError):
    """The alert is not one that we can act on; `errors` lists all of it at once."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(str(error) for error in self.errors))


class AlertTimedOut(TradeboxError):
    """Nothing had begun for the alert when it had to be answered, and nothing will."""


class AlertForbidden(TradeboxError):
    """The alert's secret does not allow what the alert asks for."""


class GuardRefused(TradeboxError):
    """The kill switch, or limits over all cycles, say no; `errors` lists all that do."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(str(error) for error in self.errors))


class SymbolPaused(TradeboxError):
    """A person, or an alert, asked that no cycle be opened on the symbol."""


class SymbolUnwatched(TradeboxError):
    """No monitor looks after the symbol, so nothing may be opened on it now."""


class SymbolInUse(TradeboxError):
    """A position or an order that is not ours is on the symbol; it is never taken over."""


class ExchangeError(TradeboxError):
    """A request to the exchange did not give what was asked for."""


class RequestRefused(ExchangeError):
    """The exchange answered and refused; nothing happened there."""

    def __init__(self, *, code: int, text: str, http_status: int) -> None:
        self.code = code  # the exchange's own, e.g. -2019
        self.text = text
        self.http_status = http_status
        super().__init__(f"{code}: {text} (HTTP {http_status})")


class RateLimited(ExchangeError):
    """The request was not processed, because too many were made."""

    def __init__(self, *, retry_after_ms: int, text: str = "too many requests") -> None:
        self.retry_after_ms = retry_after_ms  # how long to send nothing
        self.text = text
        super().__init__(f"{text} (wait {retry_after_ms} ms)")


class RequestTooLate(ExchangeError):
    """The request was not sent, because its intent is older than a request may start."""


class OutcomeUnknown(ExchangeError):
    """The request may or may not have been carried out: no answer, or one that says nothing."""


class ExchangeUnavailable(ExchangeError):
    """The request certainly was not carried out: no connection, or 'service unavailable'."""


class StoreError(TradeboxError):
    """The database did not do what was asked."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or is too busy; nothing was written."""


class CommitUnclear(StoreError):
    """The connection broke during COMMIT, so that what was written is not known."""


class LeaseLost(StoreError):
    """The symbol's lease is no longer ours, or its epoch has moved on; nothing was written."""


class SymbolBusy(StoreError):
    """The symbol already has an open cycle; `holder` is the webhook that started it, if known."""

    def __init__(self, symbol: str, *, holder: str | None = None) -> None:
        self.symbol = symbol
        self.holder = holder
        by = f", started by webhook {holder}" if holder else ""
        super().__init__(f"{symbol} has an open cycle{by}")


class DuplicateAlert(StoreError):
    """An alert with this id, or of this content, was accepted before, as the webhook `first`."""

    def __init__(self, alert_id: str | None, *, first: str) -> None:
        self.alert_id = alert_id  # None: it has the same content
        self.first = first
        which = "an alert of the same content" if alert_id is None else f"alert {alert_id}"
        super().__init__(f"{which} was accepted before, as webhook {first}")


class AlertClosed(StoreError):
    """The webhook is no longer being processed (it timed out), so no cycle may begin for it."""

    def __init__(self, webhook_id: int, *, status: str) -> None:
        self.webhook_id = webhook_id
        self.status = status
        super().__init__(f"webhook {webhook_id} is {status}, no longer being processed")


class StoreConflict(StoreError):
    """A row that must be unique is there already, as another cycle's; nothing was written."""


class NoticeUndelivered(TradeboxError):
    """A channel did not take a notice; it is not tried again."""

"""What the webhook and the panel need from the store, beyond what the engine needs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from core.domain.alarms import Alarm, RaisedAlarm
from core.domain.cycle import Cycle, OperatorAction
from core.domain.guards import NO_GUARDS, AccountState, Guards, Kill
from core.domain.settings import SymbolRules
from core.domain.webhook import AlertContent, AlertSecret, Webhook, WebhookStatus
from core.ports import CycleStore

LEASE_MS = 15_000  # three renewals of 5 s: one may be lost, and one may be slow
_CLOCK_JITTER_MS = 1_000
UNLISTED = "UNLISTED"  # status of a symbol that the exchange lists no longer
CYCLE_ENDED = "the cycle had ended"  # result of an operator's request that came too late


def is_lease_held(*, expires_at_ms: int, now_ms: int) -> bool:
    """Return whether a lease lasts still.

    None lasts longer than `LEASE_MS`: one that seems to was made before the clock was set back, and
    nobody is to wait an hour for a holder that may be dead. (A second of it is a clock's jitter.)
    """
    return now_ms < expires_at_ms <= now_ms + LEASE_MS + _CLOCK_JITTER_MS


class AlertStore(CycleStore, Protocol):
    """The cycles' store as the API sees it. One call is one transaction; see `CycleStore`."""

    async def record_webhook(
        self,
        payload: Mapping[str, object],
        *,
        received_at_ms: int,
        symbol: str | None = None,
        alert_id: str | None = None,
        secret_id: int | None = None,
        status: WebhookStatus = WebhookStatus.PROCESSING,
        http_status: int | None = None,
        outcome: str = "",
        warnings: Sequence[str] = (),
    ) -> int:
        """Store an alert, without its secret, before anything is done about it; return its id."""
        ...

    async def webhook(self, webhook_id: int) -> Webhook | None:
        """Return a stored alert."""
        ...

    async def finish_webhook(
        self,
        webhook_id: int,
        *,
        status: WebhookStatus,
        http_status: int,
        outcome: str,
        warnings: Sequence[str] = (),
    ) -> WebhookStatus:
        """Record the answer; return the status, which stays if it was final before."""
        ...

    async def begin_cycle(
        self,
        webhook_id: int,
        cycle: Cycle,
        *,
        warnings: Sequence[str] = (),
        content: AlertContent | None = None,
        guards: Guards = NO_GUARDS,
    ) -> Cycle:
        """Store the cycle with its orders and mark the alert accepted; return it with its id.

        After this the entry may be sent. Only one cycle begins at a time, whoever begins it, so
        that the guards hold for all together.

        Raises:
            GuardRefused: the kill switch is thrown, or a limit over all cycles says no.
            AlertClosed: the alert is no longer being processed.
            DuplicateAlert: an alert with the same id, or content, was accepted before.
            SymbolBusy: the symbol has an open cycle.
        """
        ...

    async def account_state(self, guards: Guards, *, symbol: str, now_ms: int) -> AccountState:
        """Return what these guards look at for a new cycle on the symbol."""
        ...

    async def killed(self) -> Kill | None:
        """Return who threw the kill switch, and when; None: nobody."""
        ...

    async def kill_trading(self, *, by: str) -> bool:
        """Throw the kill switch: once this returns no cycle begins; False if it was thrown."""
        ...

    async def revive_trading(self) -> bool:
        """Take the kill switch back; False if it was not thrown."""
        ...

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        """Raise (or count) an alarm of a symbol as such."""
        ...

    async def raised_alarms(self, limit: int) -> tuple[RaisedAlarm, ...]:
        """Return the newest alarms that nobody has settled."""
        ...

    async def count_raised_alarms(self) -> int:
        """Return how many alarms nobody has settled."""
        ...

    async def settle_alarms(self, alarm_id: int | None, *, by: str) -> int:
        """Settle one alarm, or all (None); return how many."""
        ...

    async def forgotten_webhooks(self, *, received_before_ms: int) -> tuple[int, ...]:
        """Return alerts received before this that still count as being processed."""
        ...

    async def abandon_webhook(
        self, webhook_id: int, *, http_status: int | None, outcome: str
    ) -> bool:
        """Give an alert up; False if its cycle has begun or it is final: then it is too late."""
        ...

    async def find_accepted_alert(self, alert_id: str) -> int | None:
        """Return the webhook that was accepted with this alert id."""
        ...

    async def find_accepted_content(self, content: AlertContent) -> int | None:
        """Return the webhook that was accepted with this content, lately."""
        ...

    async def busy_webhook(self, symbol: str) -> int | None:
        """Return the webhook whose cycle is open on the symbol."""
        ...

    async def is_watched(self, symbol: str) -> bool:
        """Return whether a monitor holds the symbol's lease and its last check succeeded."""
        ...

    async def watched(self, symbols: Collection[str]) -> frozenset[str]:
        """Return which of these symbols are watched."""
        ...

    async def leased(self, symbols: Collection[str]) -> frozenset[str]:
        """Return for which of these symbols a monitor holds the lease, watched or not."""
        ...

    async def open_symbols(self) -> tuple[str, ...]:
        """Return every symbol that has an open cycle."""
        ...

    async def paused_by(self, symbol: str) -> str | None:
        """Return who asked that no cycle be opened on the symbol; None: nobody."""
        ...

    async def pause_symbol(self, symbol: str, *, asked_by: str, asked_at_ms: int) -> bool:
        """Let no cycle be opened on the symbol any more; False if so it was."""
        ...

    async def resume_symbol(self, symbol: str) -> bool:
        """Let cycles be opened on the symbol again; False if so it was."""
        ...

    async def add_secret(
        self, name: str, digest: str, *, may_close_all: bool, created_by: str, created_at_ms: int
    ) -> int:
        """Keep the digest of a source's new secret; return its number."""
        ...

    async def secrets(self) -> tuple[AlertSecret, ...]:
        """Return all secrets of alerts, revoked ones included."""
        ...

    async def revoke_secret(self, secret_id: int, *, at_ms: int) -> bool:
        """Take a secret out of use; False if there is none, or it was."""
        ...

    async def load(self, cycle_id: int) -> Cycle | None:
        """Return a cycle by its id."""
        ...

    async def open_cycle(self, symbol: str) -> Cycle | None:
        """Return the symbol's open cycle."""
        ...

    async def cycle_by_key(self, key: str) -> Cycle | None:
        """Return the cycle whose client order ids begin with this key."""
        ...

    async def cycle_by_client_order_id(self, client_order_id: str) -> Cycle | None:
        """Return the cycle that an order of ours belongs to."""
        ...

    async def cycle_of_webhook(self, webhook_id: int) -> Cycle | None:
        """Return the cycle that an alert began."""
        ...

    async def begun_as(self, cycle_id: int) -> Cycle | None:
        """Return the cycle as it began: applying its journal to it gives what it is now."""
        ...

    async def open_cycles_margin(self) -> Decimal:
        """Return deposit plus extramarg, summed over all open cycles (quote)."""
        ...

    async def ask_operator(
        self, cycle_id: int, action: OperatorAction, *, asked_by: str, asked_at_ms: int
    ) -> int | None:
        """Ask the monitor to act on a cycle; None if the cycle is not open."""
        ...

    async def operator_result(self, action_id: int) -> str | None:
        """Return what became of an operator's request; None while it waits."""
        ...

    async def show_prices(self, prices: Sequence[tuple[Cycle, Decimal]]) -> None:
        """Show people what each cycle is worth at its price; nothing is decided from it."""
        ...

    async def save_rules(
        self,
        rules: Sequence[SymbolRules],
        *,
        read_at_ms: int,
        with_fees: bool = True,
        is_whole_list: bool = False,
    ) -> None:
        """Store rules as read from the exchange; brackets that are not known keep the stored ones.

        Args:
            rules: one per symbol.
            read_at_ms: when they were read.
            with_fees: False keeps the fee rates that are stored.
            is_whole_list: the exchange lists no others: those stored are no longer traded.
        """
        ...

    async def rules(self, symbol: str) -> SymbolRules | None:
        """Return the stored rules of one symbol."""
        ...

    async def all_rules(self) -> tuple[SymbolRules, ...]:
        """Return all stored rules, by symbol."""
        ...


def merged_rules(known: SymbolRules, read: SymbolRules, *, with_fees: bool) -> SymbolRules:
    """Return the rules as read, with what was not read taken from those known."""
    return replace(
        read,
        brackets=read.brackets or known.brackets,
        maker_rate=read.maker_rate if with_fees else known.maker_rate,
        taker_rate=read.taker_rate if with_fees else known.taker_rate,
    )

"""The store in memory: the same promises as the database's, for tests and the simulation.

A call takes effect at one instant, between its two pauses, as a transaction does at its commit. The
failure hook is asked before that instant (raise StoreUnavailable: nothing happened) and after it
(raise CommitUnclear: it did happen). Time is the clock that was handed in, which may be virtual.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from core.clients.alert_store import CYCLE_ENDED, LEASE_MS, UNLISTED, is_lease_held, merged_rules
from core.clients.clean import MAX_SYMBOL, clean_id, clean_payload, clean_text
from core.clients.memory_safety import FailureHook as FailureHook
from core.clients.memory_safety import MemorySafety
from core.clients.memory_safety import Moment as Moment
from core.clients.memory_safety import never_fails as never_fails
from core.domain.cycle import Cycle, Fact, OperatorAction, Role
from core.domain.guards import NO_GUARDS, Guards, guard_refusals
from core.domain.settings import SymbolRules
from core.domain.step import Step
from core.domain.webhook import AlertContent, AlertSecret, Webhook, WebhookStatus
from core.errors import (
    AlertClosed,
    DuplicateAlert,
    GuardRefused,
    LeaseLost,
    StoreConflict,
    SymbolBusy,
)
from core.money import ZERO
from core.ports import Lease, OperatorRequest, StepFunction


@dataclass(slots=True, kw_only=True)
class _StoredCycle:
    cycle: Cycle
    begun_as: Cycle
    webhook_id: int
    facts: list[Fact] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _StoredLease:
    lease: Lease
    expires_at_ms: int
    last_check_ok: bool = False


@dataclass(slots=True, kw_only=True)
class _StoredRequest:
    request: OperatorRequest
    result: str | None = None


class MemoryCycleStore(MemorySafety):
    """An `AlertStore` (and so a `CycleStore`) that forgets everything with the process.

    Attributes:
        fail: the failure hook; may be exchanged at any time.
        latency_s: how long a call pauses before and again after it takes effect.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        fail: FailureHook = never_fails,
        latency_s: float = 0.0,
    ) -> None:
        super().__init__(now_ms=now_ms, fail=fail, latency_s=latency_s)
        self._cycles: dict[int, _StoredCycle] = {}
        self._keys: set[str] = set()
        self._open: dict[str, int] = {}  # symbol → its open cycle
        self._trades: dict[tuple[str, int], int] = {}  # symbol, trade id → cycle
        self._webhooks: dict[int, Webhook] = {}
        self._leases: dict[str, _StoredLease] = {}
        self._requests: dict[int, _StoredRequest] = {}
        self._contents: dict[str, int] = {}  # digest → the webhook accepted last with it
        self._paused: dict[str, str] = {}  # symbol → who asked for it
        self._secrets: dict[int, AlertSecret] = {}
        self._rules: dict[str, SymbolRules] = {}

    # --- CycleStore ---

    async def load_open(self, symbols: Sequence[str], *, ended_after_ms: int) -> tuple[Cycle, ...]:
        """Return the open cycles of these symbols, and those ended after the given time."""
        await self._begin("load_open")
        return tuple(
            stored.cycle
            for stored in self._cycles.values()
            if stored.cycle.symbol in symbols
            and (stored.cycle.is_open or (stored.cycle.ended_at_ms or 0) > ended_after_ms)
        )

    async def update(self, cycle_id: int, step: StepFunction, *, lease: Lease | None) -> Step:
        """Apply `step` to the cycle and keep what it gives; see `CycleStore.update`."""
        await self._begin("update")
        if lease is not None:
            self._require_lease(lease)
        stored = self._stored(cycle_id)
        result = step(stored.cycle)
        if result.changes_nothing:
            return result
        self._require_unique(result.cycle, before=stored.cycle)
        self._keep_alarms(stored.cycle.alarms, result.cycle)
        self._keep(stored, result.cycle)
        stored.facts.extend(result.facts)
        if not result.cycle.is_open:
            self._close_requests(cycle_id)
        await self._commit("update")
        return result

    async def journal(self, cycle_id: int) -> tuple[Fact, ...]:
        """Return the cycle's facts in the order in which they were applied."""
        await self._begin("journal")
        return tuple(self._stored(cycle_id).facts)

    async def acquire_lease(self, symbol: str, owner: str) -> Lease | None:
        """Take (or renew, as the same owner) the symbol's lease; None while another holds it."""
        await self._begin("acquire_lease")
        now_ms = self._now_ms()
        held = self._leases.get(symbol)
        if held is not None and is_lease_held(expires_at_ms=held.expires_at_ms, now_ms=now_ms):
            if held.lease.owner != owner:
                return None
            held.expires_at_ms = now_ms + LEASE_MS
        else:
            epoch = 1 if held is None else held.lease.epoch + 1
            lease = Lease(symbol=symbol, owner=owner, epoch=epoch)
            held = self._leases[symbol] = _StoredLease(lease=lease, expires_at_ms=now_ms + LEASE_MS)
        await self._commit("acquire_lease")
        return held.lease

    async def renew_leases(self, leases: Sequence[Lease]) -> tuple[Lease, ...]:
        """Renew; return those still ours."""
        await self._begin("renew_leases")
        ours = tuple(lease for lease in leases if self._is_held(lease))
        for lease in ours:
            self._leases[lease.symbol].expires_at_ms = self._now_ms() + LEASE_MS
        await self._commit("renew_leases")
        return ours

    async def release_lease(self, lease: Lease) -> None:
        """Give the symbol back at once."""
        await self._begin("release_lease")
        if self._is_held(lease):
            held = self._leases[lease.symbol]
            held.lease = replace(lease, owner="")
            held.expires_at_ms = self._now_ms()
            held.last_check_ok = False
        await self._commit("release_lease")

    async def record_checks(self, results: Mapping[Lease, bool]) -> tuple[Lease, ...]:
        """Record for each symbol whether its check succeeded; return the leases that are over."""
        await self._begin("record_checks")
        ours = {lease: is_good for lease, is_good in results.items() if self._is_held(lease)}
        for lease, is_good in ours.items():
            self._leases[lease.symbol].last_check_ok = is_good
        await self._commit("record_checks")
        return tuple(lease for lease in results if lease not in ours)

    async def operator_requests(self, symbols: Sequence[str]) -> tuple[OperatorRequest, ...]:
        """Return the waiting operator actions of open cycles, oldest first."""
        await self._begin("operator_requests")
        return tuple(
            stored.request
            for stored in self._requests.values()
            if stored.result is None and stored.request.symbol in symbols
        )

    async def finish_operator_request(self, action_id: int, result: str) -> None:
        """Record what became of an operator action."""
        await self._begin("finish_operator_request")
        stored = self._requests.get(action_id)
        if stored is not None and stored.result is None:
            stored.result = clean_text(result)
        await self._commit("finish_operator_request")

    # --- Alerts ---

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
        """Store an alert and return its id; see `AlertStore.record_webhook`."""
        await self._begin("record_webhook")
        webhook_id = len(self._webhooks) + 1
        self._webhooks[webhook_id] = Webhook(
            webhook_id=webhook_id,
            payload=clean_payload(payload),
            status=status,
            received_at_ms=received_at_ms,
            symbol=None if symbol is None else clean_text(symbol, limit=MAX_SYMBOL),
            alert_id=clean_id(alert_id),
            secret_id=secret_id,
            http_status=http_status,
            outcome=clean_text(outcome),
            warnings=tuple(clean_text(warning) for warning in warnings),
        )
        await self._commit("record_webhook")
        return webhook_id

    async def webhook(self, webhook_id: int) -> Webhook | None:
        """Return a stored alert."""
        await self._begin("webhook")
        return self._webhooks.get(webhook_id)

    async def finish_webhook(
        self,
        webhook_id: int,
        *,
        status: WebhookStatus,
        http_status: int,
        outcome: str,
        warnings: Sequence[str] = (),
    ) -> WebhookStatus:
        """Record the answer; a final status stays. See `AlertStore.finish_webhook`."""
        await self._begin("finish_webhook")
        webhook = self._webhook(webhook_id)
        told = tuple(clean_text(warning) for warning in warnings)
        self._webhooks[webhook_id] = replace(
            webhook,
            status=webhook.status if webhook.status.is_final else status,
            http_status=http_status,
            outcome=clean_text(outcome),
            warnings=told or webhook.warnings,
        )
        await self._commit("finish_webhook")
        return self._webhooks[webhook_id].status

    async def begin_cycle(
        self,
        webhook_id: int,
        cycle: Cycle,
        *,
        warnings: Sequence[str] = (),
        content: AlertContent | None = None,
        guards: Guards = NO_GUARDS,
    ) -> Cycle:
        """Store the cycle and mark the alert accepted; see `AlertStore.begin_cycle`."""
        await self._begin("begin_cycle")
        webhook = self._webhook(webhook_id)
        if webhook.status is not WebhookStatus.PROCESSING:
            raise AlertClosed(webhook_id, status=webhook.status)
        now_ms = cycle.accepted_at_ms
        state = self._account_state(cycle.symbol, now_ms)
        if refusals := guard_refusals(guards, cycle.settings, state, now_ms=now_ms):
            raise GuardRefused(refusals)
        first = self._accepted(webhook.alert_id)
        if webhook.alert_id is not None and first is not None:
            raise DuplicateAlert(webhook.alert_id, first=str(first))
        if content is not None and (first := self._accepted_content(content)) is not None:
            raise DuplicateAlert(None, first=str(first))
        begun = replace(cycle, cycle_id=len(self._cycles) + 1)
        if begun.key in self._keys:
            raise StoreConflict(f"the key {begun.key} belongs to another cycle")
        self._require_unique(begun, before=None)
        stored = _StoredCycle(cycle=begun, begun_as=begun, webhook_id=webhook_id)
        self._cycles[begun.cycle_id] = stored
        self._keys.add(begun.key)
        self._keep_alarms((), begun)
        self._keep(stored, begun)
        if content is not None:
            self._contents[content.digest] = webhook_id
        told = tuple(clean_text(warning) for warning in warnings)
        self._webhooks[webhook_id] = replace(
            webhook, status=WebhookStatus.ACCEPTED, warnings=told or webhook.warnings
        )
        await self._commit("begin_cycle")
        return begun

    async def forgotten_webhooks(self, *, received_before_ms: int) -> tuple[int, ...]:
        """Return alerts received before this that still count as being processed."""
        await self._begin("forgotten_webhooks")
        return tuple(
            webhook_id
            for webhook_id, webhook in self._webhooks.items()
            if not webhook.status.is_final and webhook.received_at_ms < received_before_ms
        )

    async def abandon_webhook(
        self, webhook_id: int, *, http_status: int | None, outcome: str
    ) -> bool:
        """Give an alert up, unless its cycle has begun; see `AlertStore.abandon_webhook`."""
        await self._begin("abandon_webhook")
        webhook = self._webhook(webhook_id)
        if webhook.status.is_final:
            return False
        self._webhooks[webhook_id] = replace(
            webhook,
            status=WebhookStatus.TIMED_OUT,
            http_status=http_status,
            outcome=clean_text(outcome),
        )
        await self._commit("abandon_webhook")
        return True

    async def find_accepted_alert(self, alert_id: str) -> int | None:
        """Return the webhook that was accepted with this alert id."""
        await self._begin("find_accepted_alert")
        return self._accepted(clean_id(alert_id))

    async def find_accepted_content(self, content: AlertContent) -> int | None:
        """Return the webhook that was accepted with this content, lately."""
        await self._begin("find_accepted_content")
        return self._accepted_content(content)

    async def busy_webhook(self, symbol: str) -> int | None:
        """Return the webhook whose cycle is open on the symbol."""
        await self._begin("busy_webhook")
        cycle_id = self._open.get(symbol)
        return None if cycle_id is None else self._cycles[cycle_id].webhook_id

    async def is_watched(self, symbol: str) -> bool:
        """Return whether a monitor holds the symbol's lease and its last check succeeded."""
        await self._begin("is_watched")
        return self._is_watched(symbol)

    async def watched(self, symbols: Collection[str]) -> frozenset[str]:
        """Return which of these symbols are watched."""
        await self._begin("watched")
        return frozenset(symbol for symbol in symbols if self._is_watched(symbol))

    async def leased(self, symbols: Collection[str]) -> frozenset[str]:
        """Return for which of these symbols a monitor holds the lease, watched or not."""
        await self._begin("leased")
        return frozenset(symbol for symbol in symbols if self._is_leased(symbol))

    def _is_watched(self, symbol: str) -> bool:
        return self._is_leased(symbol) and self._leases[symbol].last_check_ok

    def _is_leased(self, symbol: str) -> bool:
        held = self._leases.get(symbol)
        if held is None:
            return False
        return is_lease_held(expires_at_ms=held.expires_at_ms, now_ms=self._now_ms())

    async def open_symbols(self) -> tuple[str, ...]:
        """Return every symbol that has an open cycle."""
        await self._begin("open_symbols")
        return tuple(sorted(self._open))

    async def paused_by(self, symbol: str) -> str | None:
        """Return who asked that no cycle be opened on the symbol; None: nobody."""
        await self._begin("paused_by")
        return self._paused.get(symbol)

    async def pause_symbol(self, symbol: str, *, asked_by: str, asked_at_ms: int) -> bool:
        """Let no cycle be opened on the symbol any more; False if so it was."""
        await self._begin("pause_symbol")
        is_new = symbol not in self._paused
        self._paused.setdefault(symbol, clean_text(asked_by, limit=128))
        await self._commit("pause_symbol")
        return is_new

    async def resume_symbol(self, symbol: str) -> bool:
        """Let cycles be opened on the symbol again; False if so it was."""
        await self._begin("resume_symbol")
        was_paused = self._paused.pop(symbol, None) is not None
        await self._commit("resume_symbol")
        return was_paused

    async def add_secret(
        self, name: str, digest: str, *, may_close_all: bool, created_by: str, created_at_ms: int
    ) -> int:
        """Keep the digest of a source's new secret; return its number."""
        await self._begin("add_secret")
        secret_id = len(self._secrets) + 1
        self._secrets[secret_id] = AlertSecret(
            secret_id=secret_id,
            name=clean_text(name, limit=64),
            digest=digest,
            may_close_all=may_close_all,
            created_by=clean_text(created_by, limit=128),
            created_at_ms=created_at_ms,
        )
        await self._commit("add_secret")
        return secret_id

    async def secrets(self) -> tuple[AlertSecret, ...]:
        """Return all secrets of alerts, revoked ones included."""
        await self._begin("secrets")
        return tuple(
            replace(secret, last_used_at_ms=self._last_used_ms(secret.secret_id))
            for secret in self._secrets.values()
        )

    async def revoke_secret(self, secret_id: int, *, at_ms: int) -> bool:
        """Take a secret out of use; False if there is none, or it was."""
        await self._begin("revoke_secret")
        secret = self._secrets.get(secret_id)
        if secret is None or secret.revoked_at_ms is not None:
            return False
        self._secrets[secret_id] = replace(secret, revoked_at_ms=at_ms)
        await self._commit("revoke_secret")
        return True

    # --- Cycles, by other names ---

    async def load(self, cycle_id: int) -> Cycle | None:
        """Return a cycle by its id."""
        return await self._find("load", lambda stored: stored.cycle.cycle_id == cycle_id)

    def newest(self, symbol: str) -> Cycle | None:
        """Return the symbol's newest cycle as saved, for onlookers: at once, never failing."""
        cycles = (stored.cycle for stored in reversed(self._cycles.values()))
        return next((cycle for cycle in cycles if cycle.symbol == symbol), None)

    def cycles_of(self, symbol: str) -> tuple[Cycle, ...]:
        """Return all cycles of the symbol as saved, oldest first, for onlookers: never failing."""
        return tuple(s.cycle for s in self._cycles.values() if s.cycle.symbol == symbol)

    def leases(self) -> Mapping[str, tuple[Lease, int]]:
        """Return each symbol's last lease and when it runs out, for onlookers: never failing."""
        return {symbol: (held.lease, held.expires_at_ms) for symbol, held in self._leases.items()}

    def told(self, cycle_id: int) -> tuple[Cycle, tuple[Fact, ...]]:
        """Return how a cycle began and its journal, for onlookers: at once, never failing."""
        stored = self._stored(cycle_id)
        return stored.begun_as, tuple(stored.facts)

    async def open_cycle(self, symbol: str) -> Cycle | None:
        """Return the symbol's open cycle."""
        await self._begin("open_cycle")
        cycle_id = self._open.get(symbol)
        return None if cycle_id is None else self._cycles[cycle_id].cycle

    async def cycle_by_key(self, key: str) -> Cycle | None:
        """Return the cycle whose client order ids begin with this key."""
        return await self._find("cycle_by_key", lambda stored: stored.cycle.key == key)

    async def cycle_by_client_order_id(self, client_order_id: str) -> Cycle | None:
        """Return the cycle that an order of ours belongs to."""
        return await self._find(
            "cycle_by_client_order_id",
            lambda stored: client_order_id in _own_orders(stored.cycle),
        )

    async def cycle_of_webhook(self, webhook_id: int) -> Cycle | None:
        """Return the cycle that an alert began."""
        return await self._find("cycle_of_webhook", lambda s: s.webhook_id == webhook_id)

    async def begun_as(self, cycle_id: int) -> Cycle | None:
        """Return the cycle as it began."""
        await self._begin("begun_as")
        stored = self._cycles.get(cycle_id)
        return None if stored is None else stored.begun_as

    async def open_cycles_margin(self) -> Decimal:
        """Return deposit plus extramarg, summed over all open cycles (quote)."""
        await self._begin("open_cycles_margin")
        settings = [self._cycles[cycle_id].cycle.settings for cycle_id in self._open.values()]
        return sum((each.deposit + each.extramarg for each in settings), ZERO)

    # --- Operator ---

    async def ask_operator(
        self, cycle_id: int, action: OperatorAction, *, asked_by: str, asked_at_ms: int
    ) -> int | None:
        """Ask the monitor to act on a cycle; None if the cycle is not open."""
        await self._begin("ask_operator")
        stored = self._cycles.get(cycle_id)
        if stored is None or not stored.cycle.is_open:
            return None
        action_id = len(self._requests) + 1
        request = OperatorRequest(
            action_id=action_id,
            cycle_id=cycle_id,
            symbol=stored.cycle.symbol,
            action=action,
            asked_at_ms=asked_at_ms,
        )
        self._requests[action_id] = _StoredRequest(request=request)
        await self._commit("ask_operator")
        return action_id

    async def operator_result(self, action_id: int) -> str | None:
        """Return what became of an operator's request; None while it waits."""
        await self._begin("operator_result")
        stored = self._requests.get(action_id)
        return None if stored is None else stored.result

    async def show_prices(self, prices: Sequence[tuple[Cycle, Decimal]]) -> None:
        """Do nothing: there are no people here."""
        await self._begin("show_prices")

    # --- Rules ---

    async def save_rules(
        self,
        rules: Sequence[SymbolRules],
        *,
        read_at_ms: int,
        with_fees: bool = True,
        is_whole_list: bool = False,
    ) -> None:
        """Store rules as read from the exchange; see `AlertStore.save_rules`."""
        await self._begin("save_rules")
        for read in rules:
            known = self._rules.get(read.symbol)
            self._rules[read.symbol] = (
                read if known is None else merged_rules(known, read, with_fees=with_fees)
            )
        if is_whole_list:
            listed = {read.symbol for read in rules}
            for symbol in self._rules.keys() - listed:
                self._rules[symbol] = replace(self._rules[symbol], status=UNLISTED)
        await self._commit("save_rules")

    async def rules(self, symbol: str) -> SymbolRules | None:
        """Return the stored rules of one symbol."""
        await self._begin("rules")
        return self._rules.get(symbol)

    async def all_rules(self) -> tuple[SymbolRules, ...]:
        """Return all stored rules, by symbol."""
        await self._begin("all_rules")
        return tuple(self._rules[symbol] for symbol in sorted(self._rules))

    # --- Within a call ---

    def _all_cycles(self) -> Iterable[Cycle]:
        return (stored.cycle for stored in self._cycles.values())

    async def _find(self, operation: str, fits: Callable[[_StoredCycle], bool]) -> Cycle | None:
        await self._begin(operation)
        return next((stored.cycle for stored in self._cycles.values() if fits(stored)), None)

    def _stored(self, cycle_id: int) -> _StoredCycle:
        stored = self._cycles.get(cycle_id)
        if stored is None:
            raise StoreConflict(f"there is no cycle {cycle_id}")
        return stored

    def _webhook(self, webhook_id: int) -> Webhook:
        webhook = self._webhooks.get(webhook_id)
        if webhook is None:
            raise StoreConflict(f"there is no webhook {webhook_id}")
        return webhook

    def _accepted(self, alert_id: str | None) -> int | None:
        return next(
            (
                webhook.webhook_id
                for webhook in self._webhooks.values()
                if webhook.alert_id == alert_id and webhook.status is WebhookStatus.ACCEPTED
            ),
            None,
        )

    def _accepted_content(self, content: AlertContent) -> int | None:
        webhook_id = self._contents.get(content.digest)
        if webhook_id is None:
            return None
        is_recent = self._webhooks[webhook_id].received_at_ms >= content.since_ms
        return webhook_id if is_recent else None

    def _last_used_ms(self, secret_id: int) -> int | None:
        with_it = (w for w in self._webhooks.values() if w.secret_id == secret_id)
        return max((webhook.received_at_ms for webhook in with_it), default=None)

    def _is_held(self, lease: Lease) -> bool:
        held = self._leases.get(lease.symbol)
        return held is not None and held.lease == lease

    def _require_lease(self, lease: Lease) -> None:
        if not self._is_held(lease):
            raise LeaseLost(f"{lease.symbol}: epoch {lease.epoch} of {lease.owner} is over")

    def _require_unique(self, cycle: Cycle, *, before: Cycle | None) -> None:
        """Refuse what the database's unique indexes would refuse."""
        holder = self._open.get(cycle.symbol, cycle.cycle_id)
        if cycle.is_open and holder != cycle.cycle_id:
            raise SymbolBusy(cycle.symbol, holder=str(self._cycles[holder].webhook_id))
        for fill in () if before and before.fills is cycle.fills else cycle.fills:
            owner = self._trades.get((cycle.symbol, fill.trade_id), cycle.cycle_id)
            if owner != cycle.cycle_id and not fill.is_adjustment:
                raise StoreConflict(f"trade {fill.trade_id} belongs to cycle {owner}")

    def _keep(self, stored: _StoredCycle, cycle: Cycle) -> None:
        if stored.cycle.fills is not cycle.fills or stored.cycle is cycle:
            real = (fill for fill in cycle.fills if not fill.is_adjustment)
            self._trades.update({(cycle.symbol, fill.trade_id): cycle.cycle_id for fill in real})
        stored.cycle = cycle
        if cycle.is_open:
            self._open[cycle.symbol] = cycle.cycle_id
        elif self._open.get(cycle.symbol) == cycle.cycle_id:
            del self._open[cycle.symbol]

    def _close_requests(self, cycle_id: int) -> None:
        for stored in self._requests.values():
            if stored.request.cycle_id == cycle_id and stored.result is None:
                stored.result = CYCLE_ENDED


def _own_orders(cycle: Cycle) -> set[str]:
    return {order.client_order_id for order in cycle.orders if order.role is not Role.FOREIGN}

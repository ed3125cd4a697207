"""What is looked at before an alert does anything: its symbol's rules, and what is in its way.

The checks that need the exchange's account come after these (`core.entry_checks`).
"""

from collections.abc import AsyncIterator

from core.domain.guards import guard_refusals
from core.domain.settings import CycleSettings, SymbolRules
from core.domain.webhook import AlertContent
from core.errors import (
    AlertInvalid,
    DuplicateAlert,
    ExchangeError,
    GuardRefused,
    SymbolBusy,
    SymbolPaused,
    SymbolUnwatched,
    TradeboxError,
)
from core.schemas.webhook import Alert, AlertKind, symbol_errors
from flows.positions_flow import Entries


class AlertChecks:
    """Checks alerts against what is stored; the exchange is asked for rules that are not."""

    def __init__(self, entries: Entries) -> None:
        """Check alerts that `entries` are made for."""
        self._entries = entries
        self._store = entries.store

    async def valid_rules(self, alert: Alert) -> SymbolRules | None:
        """Return the symbol's rules; AlertInvalid if what is asked of it is not possible."""
        try:
            rules = await self._rules(alert.symbol)
        except ExchangeError:
            if alert.kind is AlertKind.SKIPPED:
                return None  # nothing is going to be traded: no reason to turn the alert away
            raise
        errors = symbol_errors(alert, rules)
        if errors:
            raise AlertInvalid(errors)
        return rules

    async def require_tradable_or_open(self, alert: Alert) -> None:
        """Raise AlertInvalid for a symbol that has no cycle, and on which none could be opened."""
        if await self._store.open_cycle(alert.symbol) is None:
            await self.valid_rules(alert)

    async def require_new(self, alert: Alert, content: AlertContent | None) -> None:
        """Raise DuplicateAlert for what was accepted before; `begin_cycle` decides a tie."""
        first = None
        if alert.alert_id is not None:
            first = await self._store.find_accepted_alert(alert.alert_id)
        elif content is not None:
            first = await self._store.find_accepted_content(content)
        if first is not None:
            raise DuplicateAlert(alert.alert_id, first=str(first))

    async def obstacles(self, settings: CycleSettings) -> AsyncIterator[TradeboxError]:
        """Yield what keeps this cycle from being opened now; `begin_cycle` judges guards again."""
        symbol, guards, now_ms = settings.symbol, self._entries.guards, self._entries.clock.now_ms()
        state = await self._store.account_state(guards, symbol=symbol, now_ms=now_ms)
        refusals = guard_refusals(guards, settings, state, now_ms=now_ms)
        if state.kill is not None:
            yield GuardRefused(refusals)
        paused_by = await self._store.paused_by(symbol)
        if paused_by is not None:
            yield SymbolPaused(f"{symbol} is paused, by {paused_by}; resume it first")
        if not await self._store.is_watched(symbol):
            yield SymbolUnwatched(
                f"no monitor watches {symbol} now; nothing was opened: add it to SYMBOLS and "
                f"restart, or start a monitor with --symbols {symbol}"
            )
        holder = await self._store.busy_webhook(symbol)
        if holder is not None:
            yield SymbolBusy(symbol, holder=str(holder))
        if refusals and state.kill is None:
            yield GuardRefused(refusals)

    async def _rules(self, symbol: str) -> SymbolRules | None:
        """Return the symbol's rules as stored, else as listed by the exchange; None: unlisted."""
        stored = await self._store.rules(symbol)
        if stored is not None and stored.brackets:
            return stored
        gateway = self._entries.gateway
        listed = await gateway.all_rules([symbol])
        if listed:
            now_ms = self._entries.clock.now_ms()
            await self._store.save_rules(listed, read_at_ms=now_ms, with_fees=stored is None)
        return listed[0] if listed else None

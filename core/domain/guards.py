"""Limits over all cycles of the account that keep a new one from being opened. Pure.

They are judged twice: when an alert comes, to answer at once, and again inside the transaction that
begins its cycle, where the database lets one at a time through.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.domain.settings import CycleSettings
from core.errors import FieldError
from core.money import ZERO, shown

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The installation's limits; None or 0 is off. Quote units: USDT and USDC count alike."""

    max_total_notional: Decimal | None = None
    max_open_cycles: int | None = None
    max_daily_loss: Decimal | None = None  # > 0
    symbol_cooldown_ms: int = 0

    @property
    def look_at_open_cycles(self) -> bool:
        """Return whether any of them depends on what is open."""
        limits = (self.max_total_notional, self.max_open_cycles, self.max_daily_loss)
        return any(limit is not None for limit in limits)


NO_GUARDS: Final = Guards()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The kill switch, thrown."""

    by: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What an open cycle counts for."""

    symbol: str
    notional: Decimal  # quote: the most that rule 12 lets it hold, both sides together
    net_pnl: Decimal  # quote: if closed at the last price; before there is one, what is booked


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """What the guards look at, at one moment."""

    kill: Kill | None = None
    open_cycles: tuple[Exposure, ...] = ()
    ended_net_pnl: Decimal = ZERO  # quote: of the cycles that ended since midnight UTC
    symbol_ended_at_ms: int | None = None  # the symbol's last cycle that had traded


def most_notional(*, deposit: Decimal, extramarg: Decimal, leverage: int) -> Decimal:
    """Return the most that a cycle may hold by rule 12, LONG and SHORT together (quote)."""
    return (deposit + extramarg) * leverage


def day_start_ms(now_ms: int) -> int:
    """Return the last midnight UTC."""
    return now_ms - now_ms % DAY_MS


def guard_refusals(
    guards: Guards, settings: CycleSettings, state: AccountState, *, now_ms: int
) -> tuple[FieldError, ...]:
    """Return everything that stands against a new cycle, each with its numbers.

    Args:
        guards: the installation's limits.
        settings: of the cycle that is asked for.
        state: the account's cycles, without the new one.
        now_ms: the exchange's clock.
    """
    if state.kill is not None:
        return (_killed(state.kill),)
    return tuple(
        error
        for errors in (
            _total_notional(guards, settings, state),
            _open_cycles(guards, state),
            _daily_loss(guards, state),
            _cooldown(guards, settings, state, now_ms),
        )
        for error in errors
    )


def _killed(kill: Kill) -> FieldError:
    return FieldError(
        field="kill switch",
        value="on",
        reason=f"no cycle is opened since {kill.by} threw it; operate.py kill --undo takes it back",
    )


def _total_notional(
    guards: Guards, settings: CycleSettings, state: AccountState
) -> Iterator[FieldError]:
    limit = guards.max_total_notional
    open_now = sum((cycle.notional for cycle in state.open_cycles), ZERO)
    asked = most_notional(
        deposit=settings.deposit, extramarg=settings.extramarg, leverage=settings.leverage
    )
    if limit is not None and open_now + asked > limit:
        yield FieldError(
            field="MAX_TOTAL_NOTIONAL",
            value=shown(limit),
            reason=(
                f"(deposit + extramarg) × leverage is {shown(asked)}, and the open cycles may hold "
                f"{shown(open_now)} already: {shown(open_now + asked)} together"
            ),
        )


def _open_cycles(guards: Guards, state: AccountState) -> Iterator[FieldError]:
    limit, count = guards.max_open_cycles, len(state.open_cycles)
    if limit is not None and count >= limit:
        symbols = ", ".join(sorted(cycle.symbol for cycle in state.open_cycles))
        yield FieldError(
            field="MAX_OPEN_CYCLES",
            value=str(limit),
            reason=f"{count} cycles are open: {symbols}" if count > 1 else f"open: {symbols}",
        )


def _daily_loss(guards: Guards, state: AccountState) -> Iterator[FieldError]:
    limit = guards.max_daily_loss
    open_losses = sum((min(ZERO, cycle.net_pnl) for cycle in state.open_cycles), ZERO)
    result = state.ended_net_pnl + open_losses
    if limit is not None and result <= -limit:
        yield FieldError(
            field="MAX_DAILY_LOSS",
            value=shown(limit),
            reason=(
                f"cycles that ended since midnight UTC came to {shown(state.ended_net_pnl)}, open "
                f"ones stand at a loss of {shown(-open_losses)}: {shown(result)} together; "
                "no cycle is opened before midnight UTC, or before that changes"
            ),
        )


def _cooldown(
    guards: Guards, settings: CycleSettings, state: AccountState, now_ms: int
) -> Iterator[FieldError]:
    ended_at = state.symbol_ended_at_ms
    if not guards.symbol_cooldown_ms or ended_at is None:
        return
    if now_ms >= ended_at + guards.symbol_cooldown_ms:
        return
    left_s = -(-(ended_at + guards.symbol_cooldown_ms - now_ms) // 1000)  # rounded up
    yield FieldError(
        field="SYMBOL_COOLDOWN",
        value=f"{guards.symbol_cooldown_ms // 1000} s",
        reason=(
            f"the last cycle of {settings.symbol} ended {(now_ms - ended_at) // 1000} s ago; "
            f"{left_s} s are left"
        ),
    )

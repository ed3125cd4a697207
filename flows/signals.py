"""Alerts that do not open: close (and `flat`, where it closes), cancel, pause, resume, close_all.

Each is a request to the monitor, and may be repeated: what is asked for twice happens once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from core.clients.alert_store import AlertStore
from core.domain.cycle import OperatorAction
from core.errors import AlertForbidden
from core.schemas.webhook import Alert, AlertKind
from flows.positions_flow import close_positions

SIGNALS: Final = (
    AlertKind.CLOSE,
    AlertKind.CANCEL,
    AlertKind.PAUSE,
    AlertKind.RESUME,
    AlertKind.CLOSE_ALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of a signal."""

    is_accepted: bool  # False: there was nothing to act on
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """An alert that does not open, and what is needed to act on it."""

    store: AlertStore
    alert: Alert
    asked_by: str
    asked_at_ms: int
    may_close_all: bool


async def carry_out_signal(signal: Signal) -> Asked:
    """Ask for what the alert says; with `test`, only say what would be asked for.

    Raises:
        AlertForbidden: the sender may not close everything.
    """
    alert = signal.alert
    if alert.kind is AlertKind.CLOSE_ALL and not signal.may_close_all:
        raise AlertForbidden("close_all needs a secret that was made with --may-close-all")
    if alert.is_test:
        return await _tested(signal)
    return await _CARRIED_OUT[alert.kind](signal)


async def _tested(signal: Signal) -> Asked:
    store, alert = signal.store, signal.alert
    symbols = await store.open_symbols()
    if alert.kind is not AlertKind.CLOSE_ALL:
        symbols = (alert.symbol,) if alert.symbol in symbols else ()
    found = f"the open cycle of {', '.join(symbols)}" if symbols else "no open cycle"
    return Asked(is_accepted=True, text=f"test: {alert.kind} would find {found}; nothing was done")


async def _close(signal: Signal) -> Asked:
    symbol = signal.alert.symbol
    number = await _close_symbol(signal, symbol)
    if number is None:
        return _nothing_open(symbol)
    return _asked(f"to close the cycle of {symbol}", number)


async def _close_all(signal: Signal) -> Asked:
    numbers = {
        symbol: await _close_symbol(signal, symbol) for symbol in await signal.store.open_symbols()
    }
    asked = [f"{symbol} (request {n})" for symbol, n in numbers.items() if n is not None]
    if not asked:
        return Asked(is_accepted=False, text="no cycle is open")
    text = f"the monitor is asked to close the cycles of {', '.join(asked)}"
    return Asked(is_accepted=True, text=text)


async def _cancel(signal: Signal) -> Asked:
    symbol = signal.alert.symbol
    number = await _ask(signal, OperatorAction.CANCEL_LEVELS)
    if number is None:
        return _nothing_open(symbol)
    return _asked(f"to withdraw the unfilled levels of {symbol}", number)


async def _pause(signal: Signal) -> Asked:
    symbol = signal.alert.symbol
    is_new = await signal.store.pause_symbol(
        symbol, asked_by=signal.asked_by, asked_at_ms=signal.asked_at_ms
    )
    number = await _ask(signal, OperatorAction.PAUSE)
    text = f"{symbol} is paused" if is_new else f"{symbol} was paused already"
    return Asked(is_accepted=True, text=text + _of_open_cycle(number))


async def _resume(signal: Signal) -> Asked:
    symbol = signal.alert.symbol
    was_paused = await signal.store.resume_symbol(symbol)
    number = await _ask(signal, OperatorAction.RESUME)
    text = f"{symbol} is resumed" if was_paused else f"{symbol} was not paused"
    return Asked(is_accepted=True, text=text + _of_open_cycle(number))


async def _close_symbol(signal: Signal, symbol: str) -> int | None:
    return await close_positions(
        signal.store,
        symbol,
        close_long=True,
        close_short=True,
        asked_by=signal.asked_by,
        asked_at_ms=signal.asked_at_ms,
        is_signal=True,
    )


async def _ask(signal: Signal, action: OperatorAction) -> int | None:
    cycle = await signal.store.open_cycle(signal.alert.symbol)
    if cycle is None:
        return None
    return await signal.store.ask_operator(
        cycle.cycle_id, action, asked_by=signal.asked_by, asked_at_ms=signal.asked_at_ms
    )


def _asked(what: str, number: int) -> Asked:
    return Asked(is_accepted=True, text=f"the monitor is asked {what} (request {number})")


def _nothing_open(symbol: str) -> Asked:
    return Asked(is_accepted=False, text=f"{symbol} has no open cycle")


def _of_open_cycle(number: int | None) -> str:
    return "" if number is None else f"; the monitor is told for its open cycle (request {number})"


_CARRIED_OUT: Final[dict[AlertKind, Callable[[Signal], Awaitable[Asked]]]] = {
    AlertKind.CLOSE: _close,
    AlertKind.FLAT: _close,
    AlertKind.CANCEL: _cancel,
    AlertKind.PAUSE: _pause,
    AlertKind.RESUME: _resume,
    AlertKind.CLOSE_ALL: _close_all,
}

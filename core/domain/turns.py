"""The turns that several rules give a cycle: it closes, its hedge fails, levels are withdrawn."""

from collections.abc import Iterable
from dataclasses import replace

from core.domain.alarms import AlarmKind
from core.domain.cycle import CloseReason, Cycle, Phase


def close(cycle: Cycle, reason: CloseReason) -> Cycle:
    """Return the cycle closing for `reason`; the first reason stands."""
    if cycle.phase in (Phase.CLOSING, Phase.ENDED):
        return cycle
    return replace(cycle, phase=Phase.CLOSING, close_reason=reason, flat_read_at_ms=None)


def fail_hedge(cycle: Cycle, text: str, at_ms: int) -> Cycle:
    """Return the cycle without the hedge asked for: alarm once; `strategy` closes if told to."""
    if cycle.phase is not Phase.TRADING:
        return cycle  # none is wanted any more
    is_told = cycle.hedge_failed
    cycle = replace(cycle, hedge_failed=True, hedge_fallback=None)
    if is_told:
        return cycle
    return cycle.with_another_alarm(AlarmKind.HEDGE_FAILED, f"no hedge: {text}", at_ms)


def withdraw_levels(cycle: Cycle, numbers: Iterable[int]) -> Cycle:
    """Return the cycle whose levels of these numbers will not be placed (again)."""
    withdrawn = tuple(sorted({*cycle.withdrawn, *numbers}))
    return cycle if withdrawn == cycle.withdrawn else replace(cycle, withdrawn=withdrawn)


def back_off_ms(times: int, *, first: int, most: int) -> int:
    """Return `first` doubled with every time after the first, up to `most`."""
    return int(min(most, first * 2 ** min(max(0, times - 1), 20)))


def quick_ms(times: int) -> int:
    """Return the pause after the n-th refusal that will pass soon: 0.2 → 5 s."""
    return back_off_ms(times, first=200, most=5_000)


def slow_ms(times: int) -> int:
    """Return the pause after the n-th refusal of what is never given up: 1 → 60 s."""
    return back_off_ms(times, first=1_000, most=60_000)

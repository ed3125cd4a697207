"""The limits over all cycles: what is refused, and with which numbers."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from core.domain.guards import (
    DAY_MS,
    NO_GUARDS,
    AccountState,
    Exposure,
    Guards,
    Kill,
    day_start_ms,
    guard_refusals,
)
from tests.unit.samples import sample_settings

NOW_MS = 20_000 * DAY_MS + 3_600_000
ASKED = sample_settings()  # (300 + 600) × 10 = 9000


def exposure(symbol: str, notional: str = "1000", net_pnl: str = "0") -> Exposure:
    return Exposure(symbol=symbol, notional=D(notional), net_pnl=D(net_pnl))


NOTHING = AccountState()
TWO_OPEN = AccountState(open_cycles=(exposure("ETHUSDT"), exposure("ADAUSDT", "2000")))
LOST_TODAY = AccountState(ended_net_pnl=D(-60))
LOSING = AccountState(
    open_cycles=(exposure("ETHUSDT", net_pnl="-45.5"), exposure("ADAUSDT", net_pnl="70")),
    ended_net_pnl=D("-4.5"),
)
JUST_ENDED = AccountState(symbol_ended_at_ms=NOW_MS - 30_500)

ALLOWED = {
    "nothing is limited": (NO_GUARDS, TWO_OPEN),
    "the notional just fits": (Guards(max_total_notional=D(12_000)), TWO_OPEN),
    "one cycle more is allowed": (Guards(max_open_cycles=3), TWO_OPEN),
    "the loss is a cent short of the limit": (Guards(max_daily_loss=D("60.01")), LOST_TODAY),
    "what open cycles have gained does not make up for losses, nor counts as one": (
        Guards(max_daily_loss=D("50.01")),
        LOSING,
    ),
    "a gain today makes up for an open loss": (
        Guards(max_daily_loss=D(1)),
        replace(LOSING, ended_net_pnl=D(45)),
    ),
    "the symbol never had a cycle": (Guards(symbol_cooldown_ms=60_000), NOTHING),
    "the cool-down is just over": (Guards(symbol_cooldown_ms=30_500), JUST_ENDED),
}


@pytest.mark.parametrize(("guards", "state"), ALLOWED.values(), ids=ALLOWED.keys())
def test_allowed(guards: Guards, state: AccountState) -> None:
    assert guard_refusals(guards, ASKED, state, now_ms=NOW_MS) == ()


REFUSED = {
    "the notional of all together": (
        Guards(max_total_notional=D(11_999)),
        TWO_OPEN,
        "MAX_TOTAL_NOTIONAL = 11999: (deposit + extramarg) × leverage is 9000, and the open cycles "
        "may hold 3000 already: 12000 together",
    ),
    "the notional of this one alone": (
        Guards(max_total_notional=D("8999.5")),
        NOTHING,
        "MAX_TOTAL_NOTIONAL = 8999.5: (deposit + extramarg) × leverage is 9000, and the open "
        "cycles may hold 0 already: 9000 together",
    ),
    "too many cycles": (
        Guards(max_open_cycles=2),
        TWO_OPEN,
        "MAX_OPEN_CYCLES = 2: 2 cycles are open: ADAUSDT, ETHUSDT",
    ),
    "one open is all that is allowed": (
        Guards(max_open_cycles=1),
        AccountState(open_cycles=(exposure("ETHUSDT"),)),
        "MAX_OPEN_CYCLES = 1: open: ETHUSDT",
    ),
    "exactly the loss of a day": (
        Guards(max_daily_loss=D(60)),
        LOST_TODAY,
        "MAX_DAILY_LOSS = 60: cycles that ended since midnight UTC came to -60, open ones stand at "
        "a loss of 0: -60 together; no cycle is opened before midnight UTC, or before that changes",
    ),
    "ended and open losses together": (
        Guards(max_daily_loss=D(50)),
        LOSING,
        "MAX_DAILY_LOSS = 50: cycles that ended since midnight UTC came to -4.5, open ones stand "
        "at a loss of 45.5: -50 together; no cycle is opened before midnight UTC, or before that "
        "changes",
    ),
    "the symbol cools down": (
        Guards(symbol_cooldown_ms=60_000),
        JUST_ENDED,
        "SYMBOL_COOLDOWN = 60 s: the last cycle of BTCUSDT ended 30 s ago; 30 s are left",
    ),
    "the symbol cools down for a millisecond more": (
        Guards(symbol_cooldown_ms=30_501),
        JUST_ENDED,
        "SYMBOL_COOLDOWN = 30 s: the last cycle of BTCUSDT ended 30 s ago; 1 s are left",
    ),
    "the kill switch": (
        NO_GUARDS,
        AccountState(kill=Kill(by="ann", at_ms=1)),
        "kill switch = on: no cycle is opened since ann threw it; operate.py kill --undo takes it "
        "back",
    ),
}


@pytest.mark.parametrize(("guards", "state", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(guards: Guards, state: AccountState, text: str) -> None:
    refusals = guard_refusals(guards, ASKED, state, now_ms=NOW_MS)
    assert [str(refusal) for refusal in refusals] == [text]


def test_everything_that_stands_against_it_is_named_at_once() -> None:
    guards = Guards(
        max_total_notional=D(1),
        max_open_cycles=1,
        max_daily_loss=D(1),
        symbol_cooldown_ms=60_000,
    )
    state = replace(LOSING, symbol_ended_at_ms=NOW_MS)
    fields = [refusal.field for refusal in guard_refusals(guards, ASKED, state, now_ms=NOW_MS)]
    assert fields == ["MAX_TOTAL_NOTIONAL", "MAX_OPEN_CYCLES", "MAX_DAILY_LOSS", "SYMBOL_COOLDOWN"]


@pytest.mark.parametrize("into_the_day_ms", [0, 1, DAY_MS - 1])
def test_a_day_begins_at_midnight_utc(into_the_day_ms: int) -> None:
    midnight = 20_000 * DAY_MS
    assert day_start_ms(midnight + into_the_day_ms) == midnight


@pytest.mark.parametrize(
    ("guards", "looks"),
    [
        (NO_GUARDS, False),
        (Guards(symbol_cooldown_ms=1), False),
        (Guards(max_open_cycles=1), True),
        (Guards(max_total_notional=D(1)), True),
        (Guards(max_daily_loss=D(1)), True),
    ],
)
def test_open_cycles_are_looked_at_only_where_a_limit_needs_them(
    guards: Guards, looks: bool
) -> None:
    assert guards.look_at_open_cycles is looks

"""The memory store's kill switch, guards and alarms: what `sql_safety` is for a database."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum

from core.clients.clean import clean_text
from core.domain.alarms import GUIDES, Alarm, AlarmKind, RaisedAlarm
from core.domain.cycle import CloseReason, Cycle
from core.domain.guards import AccountState, Exposure, Guards, Kill, day_start_ms, most_notional
from core.domain.thresholds import net_pnl
from core.money import ZERO


class Moment(StrEnum):
    """When the failure hook is asked."""

    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"


FailureHook = Callable[[str, Moment], None]  # name of the method; raises what the caller shall see


def never_fails(operation: str, moment: Moment) -> None:
    """Let everything succeed."""


class MemorySafety:
    """The part of the store that people, health and new alerts ask; see `sql_safety`."""

    def __init__(self, *, now_ms: Callable[[], int], fail: FailureHook, latency_s: float) -> None:
        self.fail = fail
        self.latency_s = latency_s
        self._now_ms = now_ms
        self._kill: Kill | None = None
        self._raised: dict[int, RaisedAlarm] = {}
        self._alarm_count = 0

    async def account_state(self, guards: Guards, *, symbol: str, now_ms: int) -> AccountState:
        """Return what these guards look at for a new cycle on the symbol."""
        await self._begin("account_state")
        return self._account_state(symbol, now_ms)

    async def killed(self) -> Kill | None:
        """Return who threw the kill switch, and when; None: nobody."""
        await self._begin("killed")
        return self._kill

    async def kill_trading(self, *, by: str) -> bool:
        """Throw the kill switch: once this returns no cycle begins; False if it was thrown."""
        await self._begin("kill_trading")
        is_new = self._kill is None
        self._kill = self._kill or Kill(by=clean_text(by, limit=128), at_ms=self._now_ms())
        await self._commit("kill_trading")
        return is_new

    async def revive_trading(self) -> bool:
        """Take the kill switch back; False if it was not thrown."""
        await self._begin("revive_trading")
        was_killed, self._kill = self._kill is not None, None
        await self._commit("revive_trading")
        return was_killed

    async def raise_alarm(self, symbol: str, alarm: Alarm) -> None:
        """Raise (or count) an alarm of a symbol as such."""
        await self._begin("raise_alarm")
        self._raise(symbol, None, alarm)
        await self._commit("raise_alarm")

    async def raised_alarms(self, limit: int) -> tuple[RaisedAlarm, ...]:
        """Return the newest alarms that nobody has settled."""
        await self._begin("raised_alarms")
        return tuple(reversed(self._raised.values()))[:limit]

    async def count_raised_alarms(self) -> int:
        """Return how many alarms nobody has settled."""
        await self._begin("count_raised_alarms")
        return len(self._raised)

    async def settle_alarms(self, alarm_id: int | None, *, by: str) -> int:
        """Settle one alarm, or all (None); return how many."""
        await self._begin("settle_alarms")
        settled = [number for number in self._raised if alarm_id in (None, number)]
        for number in settled:
            del self._raised[number]
        await self._commit("settle_alarms")
        return len(settled)

    # --- Within a call ---

    def _all_cycles(self) -> Iterable[Cycle]:
        raise NotImplementedError

    def _account_state(self, symbol: str, now_ms: int) -> AccountState:
        cycles = tuple(self._all_cycles())
        ended = [cycle for cycle in cycles if cycle.ended_at_ms is not None]
        since = day_start_ms(now_ms)
        today = [_booked(cycle) for cycle in ended if (cycle.ended_at_ms or 0) >= since]
        ends = [cycle.ended_at_ms or 0 for cycle in ended if _has_traded(cycle, symbol)]
        return AccountState(
            kill=self._kill,
            open_cycles=tuple(_exposure(cycle) for cycle in cycles if cycle.is_open),
            ended_net_pnl=sum(today, ZERO),
            symbol_ended_at_ms=max(ends, default=None),
        )

    def _keep_alarms(self, before: Sequence[Alarm], cycle: Cycle) -> None:
        """Raise what is new, counted by kind; settle what the end of the cycle settles."""
        for alarm in cycle.alarms:
            if alarm not in before:
                self._raise(cycle.symbol, cycle.cycle_id, alarm)
        if not cycle.is_open:
            over = [
                number
                for number, raised in self._raised.items()
                if raised.cycle_id == cycle.cycle_id and not _outlives(raised)
            ]
            for number in over:
                del self._raised[number]

    def _raise(self, symbol: str, cycle_id: int | None, alarm: Alarm) -> None:
        belongs = (symbol, cycle_id, alarm.kind)
        for number, raised in self._raised.items():
            if (raised.symbol, raised.cycle_id, raised.kind) == belongs:
                self._raised[number] = replace(
                    raised, count=raised.count + 1, text=alarm.text, last_at_ms=alarm.at_ms
                )
                return
        self._alarm_count += 1
        self._raised[self._alarm_count] = RaisedAlarm(
            alarm_id=self._alarm_count,
            symbol=symbol,
            cycle_id=cycle_id,
            kind=alarm.kind.value,
            severity=alarm.guide.severity,
            text=clean_text(alarm.text),
            action=alarm.guide.action,
            count=1,
            raised_at_ms=alarm.at_ms,
            last_at_ms=alarm.at_ms,
        )

    async def _begin(self, operation: str) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        self.fail(operation, Moment.BEFORE_COMMIT)

    async def _commit(self, operation: str) -> None:
        self.fail(operation, Moment.AFTER_COMMIT)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)


def _booked(cycle: Cycle) -> Decimal:
    return cycle.ledger.realised + cycle.funding - cycle.ledger.commissions


def _has_traded(cycle: Cycle, symbol: str) -> bool:
    never = (CloseReason.ENTRY_EXPIRED, CloseReason.ENTRY_FAILED)
    return cycle.symbol == symbol and cycle.close_reason not in never


def _exposure(cycle: Cycle) -> Exposure:
    settings, price = cycle.settings, cycle.last_price
    is_flat = not (cycle.long.quantity or cycle.short.quantity)
    return Exposure(
        symbol=cycle.symbol,
        notional=most_notional(
            deposit=settings.deposit, extramarg=settings.extramarg, leverage=settings.leverage
        ),
        net_pnl=_booked(cycle) if price is None or is_flat else net_pnl(cycle, price),
    )


def _outlives(raised: RaisedAlarm) -> bool:
    return GUIDES[AlarmKind(raised.kind)].outlives_cycle

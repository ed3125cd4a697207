"""Plays the events of an account's history: its symbols, its monitors, its limits."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from core.domain.cycle import Cycle, Phase, Role
from simulation import events as e
from simulation.account import Account, SharedStage
from simulation.invariants import require
from simulation.limits import told_distance
from simulation.player import CLEARS_WITHIN_S, TO_CLOSE, Player

CHECKED_WITHIN_S = 6.0  # a check that was asked for, of a few symbols
# A liquidation price is read once a minute; what funding and fees moved it by since is not judged.
CLEARLY = Decimal("0.995")


class AccountPlayer:
    """Plays events on an account; each may raise `Broken`."""

    def __init__(self, account: Account, stages: Sequence[SharedStage]) -> None:
        self.account = account
        self.players = {stage.symbol: Player(stage, also=self._judge_alone) for stage in stages}
        evidence = [player.watcher.evidence for player in self.players.values()]
        for player in self.players.values():
            player.everywhere = evidence
            own = player.watcher.evidence
            own.neighbours = [each for each in evidence if each is not own]

    @property
    def cycles(self) -> int:
        """Return how many cycles ended and were proven."""
        return sum(player.cycles for player in self.players.values())

    @property
    def steps(self) -> int:
        """Return how many steps the engine took."""
        return sum(player.steps for player in self.players.values())

    @property
    def looks(self) -> int:
        """Return how often all was quiet and in its place."""
        return sum(player.looks for player in self.players.values())

    @property
    def told(self) -> list[str]:
        """Return what happened, for people."""
        return self.account.told

    async def play(self, event: e.Event) -> None:
        """Let one event happen, then look at everything."""
        match event:
            case e.On(symbol=symbol, event=of_one):
                await self.players[symbol].play(of_one)
            case e.Wait(ms=ms):
                await asyncio.sleep(ms / 1000)
            case e.Freeze(monitor=number, ms=ms):
                self.account.freeze(self.account.monitors[number], ms=ms)
            case e.SetDatabaseClock(ms=ms):
                self.account.clock_set_ms += ms
            case e.SlowDatabase(latency_ms=latency_ms, ms=ms):
                self.account.slow_down(latency_ms, ms=ms)
            case e.ThrowSwitch(is_on=is_on):
                await self.account.throw_switch(is_on=is_on)
            case e.ClearUp():
                await self._clear_up()
            case e.End():
                await self._end()
            case _:
                await next(iter(self.players.values())).play(event)
        self.account.raise_failure()
        for player in self.players.values():
            player.stage.raise_failure()
            player.watcher.look()

    async def _clear_up(self) -> None:
        """Let nothing go wrong, on any symbol, until all is at rest."""
        players = self.players.values()
        for player in players:
            player.calm()
        for seconds in CLEARS_WITHIN_S:
            await asyncio.sleep(seconds)
            for player in players:
                await player.stage.settle(0)
            if all(player.is_at_rest() for player in players):
                break
        for player in players:
            player.prove_rest()
        if self.account.policy.min_liquidation_distance is not None:
            await self._check_distances()

    async def _end(self) -> None:
        """Let the operator close what is open, prove the books, and let people go home."""
        players = self.players.values()
        await self._clear_up()
        for action in TO_CLOSE:
            if any([await player.ask_if_open(action) for player in players]):
                await asyncio.sleep(1)
        await self._clear_up()
        for player in players:
            player.prove_end()
            player.go_home()

    # --- The distance to liquidation ---

    async def _check_distances(self) -> None:
        """Have every position read once more, and judge how near liquidation is."""
        for monitor in self.account.monitors:
            monitor.check_now.set()
        await asyncio.sleep(CHECKED_WITHIN_S)
        for player in self.players.values():
            cycle = player.stage.newest
            if cycle is not None and player.watcher.is_quiet():
                self._judge(cycle)

    def _judge_alone(self, cycle: Cycle) -> None:
        """Judge a cycle that a trade has met at rest, if just that is held in the account."""
        world = self.account.world
        held = {
            (symbol, side): quantity
            for symbol in self.players
            for side in ("LONG", "SHORT")
            if (quantity := world.position(symbol, side))
        }
        known = {"LONG": cycle.long.quantity, "SHORT": cycle.short.quantity}
        if held == {(cycle.symbol, side): quantity for side, quantity in known.items() if quantity}:
            self._judge(cycle)

    def _judge(self, cycle: Cycle) -> None:
        """Check that averaging has ended where the exchange says that liquidation is near."""
        limit = cycle.policy.min_liquidation_distance
        if limit is None or cycle.phase is not Phase.TRADING or cycle.is_hands_off:
            return
        told = told_distance(self.account.world, cycle.symbol, self.account.clock.now_ms())
        if told is None or told > limit * CLEARLY:
            return
        name, text = "averaging ends where liquidation is near (rule 3)", f"{told} % of {limit}"
        is_told = any(alarm.key.startswith("near-liquidation") for alarm in cycle.alarms)
        require(is_told, name, f"{text}: no alarm")
        resting = [o for o in cycle.of(Role.LEVEL) if o.is_resting and not o.is_in_flight]
        require(not resting, name, f"{text}: {resting} rest")

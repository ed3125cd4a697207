"""Plays the events of a history on a stage, one after the other, and has everything checked.

Both the dice, while they draw, and a history from a file are played by this code alone, so that
what was recorded happens again.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import assert_never

from core.clients.memory_store import Moment as StoreMoment
from core.domain.cycle import Cycle, OperatorAction, Phase
from core.domain.refusals import Refusal, is_refused
from core.errors import CommitUnclear, StoreUnavailable
from paper.errors import RefusedError
from simulation import events as e
from simulation.faults import Fault
from simulation.invariants import Watcher, open_names, prove_books, require, watch
from simulation.oracle import Verdict, figures_of, judge
from simulation.stage import Stage
from simulation.streams import Weather

# How long all may take to come to rest in clear weather, step by step: back-offs grow to a minute,
# and what no event told is found by the check a minute later.
CLEARS_WITHIN_S = (4, 8, 65, 150, 150, 150)
TO_CLOSE = (OperatorAction.HANDS_ON, OperatorAction.RESUME, OperatorAction.CLOSE)
HOUR_MS = 3_600_000
_JUDGED_WITHIN_S = 0.001  # no answer and no account event is that fast


class Player:
    """Plays events on a stage; each may raise `Broken`."""

    def __init__(self, stage: Stage, *, also: Callable[[Cycle], None] = lambda cycle: None) -> None:
        """Play on a stage; `also` judges a cycle that a trade met at rest, and that goes on."""
        self.stage = stage
        self.watcher: Watcher = watch(stage, knows_causes=True)
        self.everywhere = [self.watcher.evidence]  # of all symbols of the account
        self._also = also
        self.cycles = 0  # ended and proven
        self.events = 0
        self._proven_id = 0

    @property
    def steps(self) -> int:
        """Return how many steps the engine took."""
        return len(self.stage.steps)

    @property
    def looks(self) -> int:
        """Return how often all was quiet and in its place."""
        return self.watcher.looks

    @property
    def told(self) -> list[str]:
        """Return what happened, for people."""
        return self.stage.told

    async def play(self, event: e.Event) -> None:
        """Let one event happen, then look at everything."""
        assert not isinstance(event, e.OfAccount), f"{event} is of an account's history"
        self.events += 1
        try:
            await self._happen(event)
        except RefusedError as refusal:  # a person asked for what the exchange does not do
            self.stage.tell(f"by hand: {refusal}")
        self.stage.streams.pump()
        self.stage.raise_failure()
        self.watcher.look()

    async def _happen(self, event: e.OfOneSymbol) -> None:  # noqa: C901 - one flat table
        stage, now_ms = self.stage, self.stage.clock.now_ms()
        match event:
            case e.Wait(ms=ms):
                await asyncio.sleep(ms / 1000)
            case e.Alert():
                self._alert(event)
            case e.Trade(price=price, quantity=quantity):
                await self._trade(price, quantity)
            case e.Liquidity(quantity=quantity):
                stage.world.set_liquidity(stage.symbol, quantity)
                self._saw("thin")
            case e.Disturb():
                self._disturb(event)
            case e.NewWeather():
                stage.streams.weather = Weather(
                    delay_ms=(event.low_ms, event.high_ms),
                    keeps_order=event.keeps_order,
                    doubled=event.doubled,
                    lost=event.lost,
                )
            case e.BreakOff(ms=ms):
                stage.market.disconnect()
                asyncio.get_running_loop().call_later(ms / 1000, stage.market.connect)
            case e.Lag(ms=ms):
                stage.world.freeze_reads(now_ms + ms)
                self._saw_everywhere("kept-hidden", "kept-fills-hidden")
            case e.Kill(down_ms=down_ms):
                await self._kill(down_ms)
            case e.KillSoon(steps=steps, moment=moment):
                stage.die_in(steps, moment)
            case e.LoseDatabase():
                self._lose_database(event)
            case e.ClearUp():
                await self._clear_up()
            case e.End():
                await self._end()
            case _:
                await self._happen_outside(event, now_ms)

    async def _happen_outside(  # noqa: C901 - one flat table
        self, event: e.FromOutside, now_ms: int
    ) -> None:
        """Let people and the exchange itself do something."""
        stage = self.stage
        match event:
            case e.Ask(action=action):
                self._saw(f"asked-{action}")
                await stage.request(action)
            case e.CancelByHand(order=part):
                self._cancel_by_hand(part, now_ms)
            case e.Expire(order=part, is_self_trade=is_own):
                for name in self._open(part):
                    self._saw("expired")
                    stage.world.expire(name, now_ms, self_trade=is_own)
            case e.TradeByHand():
                self._trade_by_hand(event, now_ms)
            case e.Fund(rate=rate):
                await asyncio.sleep((HOUR_MS - now_ms % HOUR_MS) / 1000)
                stage.world.funding(stage.symbol, rate, stage.clock.now_ms())
            case e.Deleverage(side=side, quantity=quantity):
                if stage.world.position(stage.symbol, side):
                    self._saw("adl")
                    stage.world.adl(stage.symbol, side, quantity, now_ms)
            case e.Liquidate():
                self._saw_everywhere("liquidation")
                stage.world.liquidate(now_ms)
            case e.Haunt(order=part, quantity=quantity):
                self._haunt(part, quantity, now_ms)
            case _:
                assert_never(event)

    def _saw(self, *names: str) -> None:
        for name in names:
            self.watcher.evidence.happened(name, self.stage.clock.now_ms())

    def _saw_everywhere(self, *names: str) -> None:
        for evidence in self.everywhere:
            for name in names:
                evidence.happened(name, self.stage.clock.now_ms())

    # --- The API ---

    def _alert(self, event: e.Alert) -> None:
        stage = self.stage
        if stage.newest is not None and stage.newest.is_open and stage.is_quiet:
            return  # 409, and nothing changes
        task = stage.start(self._answer(event))
        if event.dies_after_ms is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(event.dies_after_ms / 1000, task.cancel)

    async def _answer(self, event: e.Alert) -> None:
        await self.stage.open_by_alert(event.settings)

    # --- The market ---

    async def _trade(self, price: Decimal, quantity: Decimal) -> None:
        """Trade; what a cycle at rest makes of it is known beforehand."""
        stage, verdict = self.stage, self._foreseen(price)
        deaths = stage.deaths
        stage.streams.trade(stage.symbol, price, quantity)
        if verdict is not None:
            await asyncio.sleep(_JUDGED_WITHIN_S)
            if stage.is_alive and stage.deaths == deaths:
                self._check(verdict, price)

    def _foreseen(self, price: Decimal) -> Verdict | None:
        cycle = self.stage.newest
        if cycle is None or cycle.phase is not Phase.TRADING or not self.watcher.is_quiet():
            return None
        streams = self.stage.streams
        if not streams.is_connected or self.stage.dies_at is not None:
            return None
        if not streams.is_still or self.stage.market.is_failing or not cycle.ledger.is_priced:
            return None
        figures = figures_of(cycle)
        return None if figures is None else judge(cycle, figures, price)

    def _check(self, verdict: Verdict, price: Decimal) -> None:
        cycle, name = self.stage.cycle, "a trade does what the rules say (rules 3, 6 and 7)"
        closed = cycle.close_reason if cycle.phase is not Phase.TRADING else None
        text = f"at {price}: {verdict}, but {cycle.phase} {closed} S {cycle.trailing_stop}"
        require(closed == verdict.reason, name, text)
        if closed is None:
            require(cycle.trailing_stop == verdict.trailing_stop, name, text)
        if closed is None:
            self._also(cycle)
        if closed is None and verdict.stops_levels and cycle.grid is not None:
            resting = {o.number for o in cycle.orders if o.role == "level" and not o.is_over}
            full = {o.number for o in cycle.orders if o.role == "level" and o.ended_by == "filled"}
            out = {level.number for level in cycle.grid.levels} - resting - full
            require(out <= set(cycle.withdrawn), name, f"{text}: {out} not withdrawn")

    # --- The wire, the house ---

    def _disturb(self, event: e.Disturb) -> None:
        if event.method in ("", "get"):
            self._saw_everywhere("kept-hidden")
            if event.path in "userTrades":  # or of any path
                self._saw_everywhere("kept-fills-hidden")
        self.stage.gateway.faults.add(
            Fault(
                kind=event.kind,
                method=event.method,
                path=event.path,
                client_id=event.client_id,
                count=event.count,
                delay_ms=event.delay_ms,
                status=event.status,
                body=event.body.encode(),
            )
        )

    async def _kill(self, down_ms: int) -> None:
        stage = self.stage
        if stage.is_alive:
            await stage.kill_desk()
            await asyncio.sleep(down_ms / 1000)
            await stage.restart_desk()

    def _lose_database(self, event: e.LoseDatabase) -> None:
        left = event.count

        def fail(operation: str, moment: StoreMoment) -> None:
            nonlocal left
            if operation != event.operation or moment is not event.moment or not left:
                return
            left -= 1
            is_after = moment is StoreMoment.AFTER_COMMIT
            raise CommitUnclear("on purpose") if is_after else StoreUnavailable("on purpose")

        self.stage.market.fail = fail

    # --- People ---

    def _open(self, part: str) -> list[str]:
        names = open_names(self.stage.world, self.stage.symbol)
        return [name for name in names if part in name][:1]

    def _cancel_by_hand(self, part: str, now_ms: int) -> None:
        for name in self._open(part):
            self._saw(f"by-hand-{name}")
            self.stage.world.outside_cancel(name, now_ms)

    def _trade_by_hand(self, event: e.TradeByHand, now_ms: int) -> None:
        world, symbol = self.stage.world, self.stage.symbol
        self._saw("hand")
        what = (symbol, event.side, event.position_side, event.quantity)
        if event.price is None:
            world.outside_market(*what, now_ms)
        else:
            self._saw("kept-hand")  # it may rest into the next cycle
            world.outside_limit(*what, event.price, now_ms)

    def _haunt(self, part: str, quantity: Decimal, now_ms: int) -> None:
        """Let the exchange execute an order of ours once more, as it was seen to do."""
        stage, cycle = self.stage, self.stage.newest
        if cycle is None or cycle.ended_at_ms is None:
            return
        names = [o.client_order_id for o in cycle.orders if part in o.client_order_id]
        is_watched = now_ms < cycle.ended_at_ms + 50_000
        for name in names[:1] if is_watched else ():
            self._saw("haunted")
            parameters = {
                "symbol": stage.symbol,
                "side": "BUY",
                "positionSide": "LONG",
                "type": "MARKET",
                "quantity": f"{quantity:f}",
                "newClientOrderId": name,
                "timestamp": str(now_ms),
            }
            stage.world.request("POST", "/fapi/v1/order", parameters, now_ms)

    # --- Rest and end ---

    async def _clear_up(self) -> None:
        """Let nothing go wrong; what is held must then have its exits, and no cycle be stuck."""
        self.calm()
        for seconds in CLEARS_WITHIN_S:
            await self.stage.settle(seconds)
            if self.is_at_rest():
                break
        self.prove_rest()

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self.stage.market.calm()
        self.stage.world.set_liquidity(self.stage.symbol, None)

    def prove_rest(self) -> None:
        """Check that nothing is left to be done, or that an alarm says why."""
        stage, cycle = self.stage, self.stage.newest
        if cycle is None or cycle.is_hands_off:
            return
        text = f"{cycle.phase} {stage.told[-10:]}"
        is_named = self._waits_with_an_alarm(cycle)
        require(self.watcher.is_quiet() or is_named, "no cycle is stuck without an alarm", text)
        is_closing = cycle.phase is Phase.CLOSING
        require(not is_closing, "no cycle is stuck without an alarm", text)
        self._prove_newest()

    async def _end(self) -> None:
        """Let the operator close what is open, prove the books, and let people go home."""
        await self._clear_up()
        for action in TO_CLOSE:
            if await self.ask_if_open(action):
                await self.stage.settle(1)
        await self._clear_up()
        self.prove_end()
        self.go_home()

    async def ask_if_open(self, action: OperatorAction) -> bool:
        """Let the operator ask for something if a cycle is open; return whether one is."""
        newest = self.stage.newest
        if newest is None or not newest.is_open:
            return False
        self._saw(f"asked-{action}")
        await self.stage.request(action)
        return True

    def prove_end(self) -> None:
        """Check that the newest cycle has ended, and left nothing."""
        stage = self.stage
        if stage.newest is not None:
            prove_ended_newest = stage.newest.phase is Phase.ENDED
            require(prove_ended_newest, "no cycle is stuck without an alarm", stage.told[-10:])
            if self.watcher.evidence.has("haunted") and not self.watcher.evidence.has("hand"):
                held = stage.world.position(stage.symbol, "LONG")
                require(not held, "what opens after the end is closed (section 4)", held)

    def is_at_rest(self) -> bool:
        """Return whether nothing is under way, and everything in its place."""
        cycle = self.stage.newest
        return cycle is None or (self.watcher.look() and cycle.phase is not Phase.CLOSING)

    def _waits_with_an_alarm(self, cycle: Cycle) -> bool:
        """Return whether all that is missing is refused by the exchange itself, and alarmed."""
        keys = {alarm.key for alarm in cycle.alarms}
        waiting = [o for o in cycle.orders if not o.is_over and not o.is_resting]
        return bool(waiting) and all(
            is_refused(o, Refusal.MARGIN, Refusal.STOP_LIMIT)
            and keys & {f"refused-{o.client_order_id}", f"margin-{o.number}"}
            for o in waiting
        )

    def _prove_newest(self) -> None:
        """Prove the books of the newest cycle, once, when it has ended."""
        cycle = self.stage.newest
        if cycle is None or cycle.is_open or cycle.cycle_id == self._proven_id:
            return
        self._proven_id = cycle.cycle_id
        self.cycles += 1
        is_hidden = self.watcher.evidence.has("kept-fills-hidden")
        if is_hidden and any(fill.is_adjustment for fill in cycle.fills):
            return  # what nobody showed was booked from the position, with an alarm
        prove_books(
            self.stage,
            with_journal=cycle.cycle_id % 4 == 0,
            is_haunted=self.watcher.evidence.has("haunted"),
        )

    def go_home(self) -> None:
        """Let people cancel and close what they did after the cycle had ended."""
        stage, now_ms = self.stage, self.stage.clock.now_ms()
        for name in open_names(stage.world, stage.symbol):
            stage.world.outside_cancel(name, now_ms)
        for side, position_side in (("SELL", "LONG"), ("BUY", "SHORT")):
            held = stage.world.position(stage.symbol, position_side)
            if held:
                stage.world.outside_market(stage.symbol, side, position_side, held, now_ms)

"""One account with several symbols, several monitors and limits over all of it.

An `Account` is a `Market` whose symbols are decided for by monitors that hold leases, and whose API
keeps the limits of the account. What it does is judged where it is committed: whoever changes a
lease, begins a cycle or decides, is held to `leases` and `limits` at that instant.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from decimal import Decimal
from typing import Any

from core.clients.memory_store import FailureHook, MemoryCycleStore
from core.clients.memory_store import Moment as StoreMoment
from core.clients.rest_call import Call
from core.domain.cycle import Cycle
from core.domain.guards import Guards
from core.domain.settings import CycleSettings, Policy
from core.domain.step import Step
from core.engine import Desk
from core.errors import AlertInvalid, GuardRefused
from core.ports import Lease, StepFunction
from core.translate.events import AccountEvent
from flows.positions_flow import Entries
from paper.ledger import cross_wallet
from simulation.invariants import require
from simulation.leases import LeaseWatch
from simulation.limits import Books, is_too_near, opinion
from simulation.monitors import House, Monitor
from simulation.stage import POLL_WITHIN_MS, Market, Stage

TOO_NEAR = "MIN_LIQUIDATION_DISTANCE"


class Account(Market):
    """What exists once: exchange, streams, database, monitors, and the API's limits."""

    def __init__(
        self,
        *symbols: str,
        monitors: int,
        guards: Guards,
        policy: Policy,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """Open an exchange for these symbols; `options` are those of `paper.world.World`."""
        self.clock_set_ms = 0  # how far the database's clock was set ahead
        self.is_killed = False  # the kill switch was thrown, and whoever threw it was told so
        self.is_over = False
        self.told: list[str] = []
        self.leases = LeaseWatch(
            rows=lambda: self.store.leases(),
            database_ms=self.database_ms,
            seconds=asyncio.get_running_loop().time,
        )
        super().__init__(*symbols, seed=seed, **options)
        self.symbols, self.guards, self.policy = symbols, guards, policy
        self.streams.bands = {}  # each monitor has its own
        self.shared_stages: dict[str, SharedStage] = {}
        self.entries = Entries(
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            policy=policy,
            margin_type="CROSSED",
            lack_of_funds_warns=False,
            guards=guards,
            new_key=self._new_key,
        )
        self._seed = seed
        self._begun = 0
        self._started = 0
        self._failure: BaseException | None = None
        self._house = House(
            symbols=symbols,
            gateway=self.gateway,
            store=self.store,
            clock=self.clock,
            is_heard=lambda: self.streams.is_connected,
            room=self,
        )
        self._gone: list[Monitor] = []
        self.monitors = [self._started_monitor() for _ in range(monitors)]

    # --- Monitors ---

    def kill(self, monitor: Monitor, *, down_ms: int) -> None:
        """Kill a monitor; another process takes its place after a while."""
        if monitor.is_dead:
            return
        monitor.kill()
        self._gone.append(monitor)
        self._outside(down_ms, lambda: self._replace(monitor))
        self._moved_all()

    def freeze(self, monitor: Monitor, *, ms: int) -> None:
        """Stop a monitor for a while, with whatever it has in hand."""
        if not monitor.is_running:
            return
        monitor.process.freeze()
        self._outside(ms, lambda: self._thaw(monitor))
        self._moved_all()

    def holder(self, symbol: str) -> Monitor | None:
        """Return the monitor that decides for a symbol; None: none, or it does not run."""
        for monitor in self.monitors:
            desk = monitor.desks.get(symbol)
            if desk is not None and monitor.is_running and self.leases.holds(symbol, desk.lease):
                return monitor
        return None

    def slow_down(self, latency_ms: int, *, ms: int) -> None:
        """Let the database be slow for a while."""
        self.store.latency_s = latency_ms / 1000
        self._outside(ms, self._speed_up)

    def _speed_up(self) -> None:
        self.store.latency_s = 0.0

    async def clear_away(self) -> None:
        """Let all that still runs end."""
        self.is_over = True
        for monitor in (*self.monitors, *self._gone):
            await monitor.clear_away()

    def _started_monitor(self) -> Monitor:
        self._started += 1
        monitor = Monitor(self._house, owner=f"monitor-{self._started}")
        monitor.start()
        return monitor

    def _replace(self, monitor: Monitor) -> None:
        if not self.is_over:
            self.monitors[self.monitors.index(monitor)] = self._started_monitor()

    def _thaw(self, monitor: Monitor) -> None:
        if not monitor.is_dead:
            monitor.process.thaw()
            self._moved_all()

    def _outside(self, ms: int, act: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(ms / 1000, act, context=Context())  # whoever asked may not live to see it

    # --- What monitors tell (`monitors.Room`) ---

    def stepped(self, monitor: Monitor, symbol: str, step: Step) -> None:
        """Judge a step of one of their desks, and end the monitor if it is the time."""
        stage = self.shared_stages[symbol]
        if not self.leases.holds(symbol, monitor.desks[symbol].lease):
            return  # it was told of its commit so late that another may have gone on from there
        try:
            stage.note(step)
        except AssertionError as broken:  # the monitor would begin anew, and hide it
            stage.fail(broken)
        if stage.dies_now(step):
            self.kill(monitor, down_ms=1_000)

    def moved(self, symbol: str) -> None:
        """Count that a symbol has another desk, or none."""
        if symbol in self.shared_stages:
            self.shared_stages[symbol].deaths += 1

    def broke(self, error: BaseException) -> None:
        """Take note of what must not happen; the first one counts."""
        self._failure = self._failure or error

    def raise_failure(self) -> None:
        """Raise what went wrong unseen, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _moved_all(self) -> None:
        for symbol in self.symbols:
            self.moved(symbol)

    # --- Limits ---

    async def throw_switch(self, *, is_on: bool) -> None:
        """Throw the kill switch, or take it back."""
        if not is_on:
            self.is_killed = False
            await self.store.revive_trading()
            return
        await self.store.kill_trading(by="a person")
        self.is_killed = True

    def judge_refusal(self, settings: CycleSettings, refused: Sequence[str]) -> None:
        """Check that the limits which refused an alert really stand against it, and no other."""
        found = opinion(
            self.guards,
            Books(world=self.world, cycles=self._cycles()),
            settings,
            is_killed=self.is_killed,
            now_ms=self.clock.now_ms(),
        )
        wrong = found.disagrees(refused)
        text = f"{settings.symbol}: refused for {sorted(refused)}, not {sorted(found.against)}"
        require(not wrong, "an alert is refused for the limits that stand against it", text)

    def is_near(self, settings: CycleSettings) -> bool | None:
        """Return whether the ladder comes too near to liquidation; None: it cannot be said."""
        distance, price = self.policy.min_liquidation_distance, self.world.last(settings.symbol)
        if distance is None:
            return False
        if price is None:
            return None
        others = [c.settings for c in self._cycles() if c.is_open and c.symbol != settings.symbol]
        set_aside = sum((s.deposit + s.extramarg for s in others), Decimal(0))
        return is_too_near(
            settings,
            self.shared_stages[settings.symbol].rules,
            ask=price,
            behind=cross_wallet(self.world.state.books) - set_aside,
            distance=distance,
        )

    def _judge_beginning(self) -> None:
        """Check that nothing stood against the cycle that was just begun."""
        newest = max(self._cycles(), key=lambda cycle: cycle.cycle_id)
        found = opinion(
            self.guards,
            Books(world=self.world, cycles=tuple(c for c in self._cycles() if c is not newest)),
            newest.settings,
            is_killed=self.is_killed,
            now_ms=newest.accepted_at_ms,
        )
        text = f"{newest.symbol}: {sorted(found.against)}"
        require(not found.against, "no cycle begins against a limit", text)

    def _cycles(self) -> tuple[Cycle, ...]:
        return tuple(c for symbol in self.symbols for c in self.store.cycles_of(symbol))

    def _new_key(self, now_ms: int) -> str:
        self._begun += 1
        return f"s{self._seed:07d}n{self._begun:03d}"

    # --- Wires ---

    def database_ms(self) -> int:
        """Return the database's clock."""
        return super().database_ms() + self.clock_set_ms

    def sending(self, call: Call) -> None:
        """Judge whether whoever sends something may."""
        symbol = call.parameters.get("symbol") or self._symbol_of(call.parameters)
        if call.changes and symbol is not None and not self.is_over:
            self._judged(lambda: self.leases.require_renewed(symbol))

    def _symbol_of(self, parameters: Mapping[str, str]) -> str | None:
        """Return the symbol of the conditional order that a call names; it says no other."""
        name = parameters.get("clientAlgoId")
        algos = self.world.state.algos.values()
        return next((algo.symbol for algo in algos if algo.client_id == name), None)

    def connect(self) -> None:
        """Let the streams tell again; every monitor checks everything."""
        if not self.streams.is_connected:
            self.streams.is_connected = True
            for monitor in self.monitors:
                monitor.connected()

    def look_for_news(self) -> None:
        """Let every monitor look for new cycles and requests of people within half a second."""
        for number, monitor in enumerate(self.monitors):
            delay_ms = (self._begun * 37 + number * 211) % POLL_WITHIN_MS
            self._outside(delay_ms, monitor.poll_now.set)

    def _stored(self, operation: str, moment: StoreMoment) -> None:
        if self.is_over:
            return
        self._judged(lambda: self.leases.asked(operation, moment))
        is_committed = moment is StoreMoment.AFTER_COMMIT
        if operation == "begin_cycle" and is_committed:
            self._judged(self._judge_beginning)
        if operation in ("begin_cycle", "ask_operator") and is_committed:
            self.look_for_news()
        self.fail(operation, moment)
        if is_committed:
            self.leases.answered(operation)

    def _make_store(self) -> MemoryCycleStore:
        return _JudgedStore(self, now_ms=self.database_ms, fail=self._stored)

    def deciding(self, symbol: str, lease: Lease) -> None:
        """Judge whether whoever decides for a symbol may, as it is committed."""
        if not self.is_over:
            self._judged(lambda: self.leases.require_decider(symbol, lease))

    def _judged(self, judge: Callable[[], object]) -> None:
        try:
            judge()
        except AssertionError as broken:
            self.broke(broken)

    def _on_event(self, event: AccountEvent) -> None:
        for monitor in self.monitors:
            monitor.hear(event)

    def _on_trade(self, symbol: str, price: Decimal, time_ms: int) -> None:
        for monitor in self.monitors:
            monitor.hear_trade(symbol, price)


class _JudgedStore(MemoryCycleStore):
    """The store, with every decision judged in its transaction."""

    def __init__(self, account: Account, *, now_ms: Callable[[], int], fail: FailureHook) -> None:
        super().__init__(now_ms=now_ms, fail=fail)
        self._account = account

    async def update(self, cycle_id: int, step: StepFunction, *, lease: Lease | None) -> Step:
        """Do as every store does; the step is called in the middle of it."""

        def judged(cycle: Cycle) -> Step:
            taken = step(cycle)
            if lease is not None and not taken.changes_nothing:
                self._account.deciding(cycle.symbol, lease)
            return taken

        return await super().update(cycle_id, judged, lease=lease)


class SharedStage(Stage):
    """One symbol of an account: whoever holds its lease decides for it."""

    def __init__(self, symbol: str, account: Account) -> None:
        """Prepare a stage of the account."""
        super().__init__(symbol, policy=account.policy, market=account)
        self._account = account
        self.told = account.told
        account.shared_stages[symbol] = self

    async def __aenter__(self) -> "SharedStage":
        """Take the account's exchange and API."""
        await super().__aenter__()
        self.entries = self._account.entries
        self.rules = await self.gateway.rules(self.symbol)
        return self

    # --- The API's part ---

    async def open_by_alert(self, settings: CycleSettings) -> Cycle | None:
        """Do as the API does with an alert, whose symbol has to be watched."""
        if not await self.store.is_watched(self.symbol):
            self.tell("alert: nobody watches")
            return None
        was_near = self._account.is_near(settings)
        cycle = await super().open_by_alert(settings)
        if cycle is not None:
            is_near = self._account.is_near(settings)
            text = f"{settings}: estimated {was_near}, then {is_near}"
            is_wrong = was_near is True and is_near is True
            require(not is_wrong, "no ladder comes too near to liquidation", text)
        return cycle

    def _refused(self, settings: CycleSettings, error: Exception) -> None:
        if isinstance(error, GuardRefused):
            names = [refusal.field for refusal in error.errors]
            self._account.judge_refusal(settings, names)
        if isinstance(error, AlertInvalid) and TOO_NEAR in {e.field for e in error.errors}:
            is_far = self._account.is_near(settings) is False
            name = "an alert is refused for the limits that stand against it"
            require(not is_far, name, f"{TOO_NEAR}: {error}")

    # --- The monitor ---

    @property
    def desk(self) -> Desk:
        """Return the desk that decides."""
        holder = self._account.holder(self.symbol)
        assert holder is not None, "nobody decides for the symbol"
        return holder.desks[self.symbol]

    @property
    def is_alive(self) -> bool:
        """Return whether a monitor runs that decides for the symbol."""
        return self._account.holder(self.symbol) is not None

    async def kill_desk(self) -> None:
        """Kill the monitor that decides; another process takes its place after a while."""
        holder = self._account.holder(self.symbol)
        if holder is not None:
            self._account.kill(holder, down_ms=0)

    async def restart_desk(self) -> None:
        """Do nothing: `kill_desk` has seen to it."""

    def request_arrived(self) -> None:
        """Kill the monitor here if it is the time."""
        holder = self._account.holder(self.symbol)
        if self._dies_on_arrival and holder is not None:
            self._dies_on_arrival = False
            self._account.kill(holder, down_ms=1_000)

    def poll_soon(self, *, at_once: bool = False) -> None:
        """Do nothing: the account's monitors are told."""

    def tell(self, text: str) -> None:
        """Write down what happened, in one list for the whole account."""
        self.told.append(f"{self.symbol}: {text}")

    def note(self, step: Step) -> None:
        """Take note of a step, and check the invariants."""
        self._note_step(step)

    def dies_now(self, step: Step) -> bool:
        """Return whether the monitor dies before anything of the step is sent."""
        return self._dies_after(step)

    def _start_desk(self) -> None:
        """Do nothing: the account's monitors start theirs."""

    async def _stop_desk(self) -> None:
        """Do nothing: the account's monitors end theirs."""

    async def _watch(self) -> None:
        """Do nothing: the account's monitors check."""

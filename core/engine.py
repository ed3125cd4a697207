"""The only interpreter of the strategy: fact → transaction → send → the answer is a fact.

One `Desk` per symbol takes facts in order of arrival, one batch at a time: the store locks the
cycle's row, applies the facts, writes state, journal and requests in one commit; only then are the
requests sent, each in a task of its own, and every answer (or its absence) comes back as a fact.
Nothing else remembers anything between steps: after a crash the rows say what is unresolved, and
`asks` says what to find out. A fill, a restart, a reconnect and a periodic check end in the same
loop.

The engine waits only by asyncio and tells the time only by its clock, so that the simulation runs
it on an event loop with virtual time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import assert_never

import structlog

from core.domain import strategy
from core.domain.asks import (
    FindOrder,
    Question,
    ReadBalance,
    ReadFills,
    ReadMark,
    ReadOpenOrders,
    ReadPosition,
    ReadRules,
    asks,
    unpriced_assets,
)
from core.domain.cycle import (
    CLIENT_ID_PREFIX,
    AssetPriced,
    BalanceRead,
    Cycle,
    Fact,
    FillsRead,
    FundingPaid,
    MarkRead,
    OrderMissing,
    OrderReported,
    OrderState,
    Phase,
    PositionChecked,
    PositionSide,
    PriceSeen,
    Role,
    RulesRead,
    TimePassed,
    TradePrice,
    parse_client_order_id,
)
from core.domain.step import Step, take_step
from core.errors import (
    CommitUnclear,
    ExchangeError,
    ExchangeUnavailable,
    RateLimited,
    StoreUnavailable,
    TradeboxError,
)
from core.money import shown
from core.ports import Clock, CycleStore, FundingRecord, Lease, OrderGateway
from core.sending import carry_out, not_sent

log = structlog.get_logger(__name__)

# The exchange takes a request whose timestamp is this far ahead of its clock, so an entry may fill
# before the time at which, by our clock, it was accepted.
CLOCKS_MAY_DIFFER_MS = 1_000
KEEP_ENDED_MS = 60_000  # an ended cycle's late fills are still ours
MOST_WAITING = 10_000  # trades, which are then folded; events, which are never dropped
FUNDING_AT_MOST_EVERY_MS = 3_600_000  # it is settled on whole hours, every fourth or eighth mostly
_FUNDING_MAY_LAG_MS = 120_000  # until a payment is listed; a position seconds old may still pay
_MOST_FACTS_A_STEP = 500
_LOOK_AGAIN_MS = 500  # at a cycle that another process may be writing to
_STORE_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_READ_RETRY_MS = 1_000
_CLOCKS_DIFFER_MS = 60_000  # far more than they do

# Takes a desk and the facts of one turn; by default records, decides and sends. Flows name these.
Handler = Callable[["Desk", tuple[Fact, ...]], Awaitable[None]]


async def handle(desk: "Desk", facts: tuple[Fact, ...]) -> None:
    """Record and decide, then send every request in a task of its own."""
    for order in await desk.record_and_decide(facts):
        desk.spawn(desk.send(order))


def _may_have_filled(order: OrderState, cycle: Cycle, position: PositionChecked) -> bool:
    """Return whether the order's side differs from the fills in the direction of the order."""
    is_long = order.position_side is PositionSide.LONG
    report, leg = (position.long, cycle.long) if is_long else (position.short, cycle.short)
    moved = report.quantity - leg.quantity
    return moved > 0 if order.is_opening else moved < 0


def fills_since_ms(cycle: Cycle) -> int:
    """Return from when on the exchange's list may hold executions of the cycle."""
    return cycle.accepted_at_ms - CLOCKS_MAY_DIFFER_MS


def may_always_send() -> bool:
    """Return True: for worlds without leases."""
    return True


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What a desk works with; entry points and the simulation fill it in."""

    gateway: OrderGateway
    store: CycleStore
    clock: Clock
    handler: Handler = handle
    # Is told the open interval of prices that need not be reported; None: every trade is wanted.
    on_band: Callable[[str, strategy.Band | None], None] = lambda symbol, band: None
    # The last trade of a symbol, those inside the band included; None before the first.
    last_price: Callable[[str], Decimal | None] = lambda symbol: None
    # Is told every step taken, after its commit.
    on_step: Callable[[str, Step], None] = lambda symbol, step: None
    # Is told that an order of ours turned up whose cycle is not known here.
    on_unknown_cycle: Callable[[str, str], None] = lambda symbol, client_order_id: None
    # False once the lease was not renewed for too long: no request is started.
    may_send: Callable[[], bool] = may_always_send


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPicture:
    """Positions and open orders as the exchange lists them at one moment, by symbol."""

    asked_at_ms: int
    positions: Mapping[str, PositionChecked]
    orders: Mapping[str, tuple[OrderReported, ...]]


async def read_account(gateway: OrderGateway, clock: Clock) -> AccountPicture:
    """Return the picture of the whole account, for any number of symbols at the price of one."""
    asked_at = clock.now_ms()
    positions = await gateway.all_positions()
    orders: dict[str, tuple[OrderReported, ...]] = {}
    for symbol, report in await gateway.open_orders(None):
        orders[symbol] = (*orders.get(symbol, ()), report)
    return AccountPicture(asked_at_ms=asked_at, positions=positions, orders=orders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """What is on a symbol without a cycle: nobody here opened it, or no cycle knows it any more."""

    long: Decimal
    short: Decimal
    our_orders: tuple[str, ...]  # client ids that only we give

    def __str__(self) -> str:
        """Return it as a person reads it."""
        names = ", ".join(self.our_orders[:5]) + (", …" if len(self.our_orders) > 5 else "")
        orders = f", open orders with our names: {names}" if names else ""
        return f"LONG {shown(self.long)}, SHORT {shown(self.short)}{orders}"


@dataclass(frozen=True, slots=True)
class _Queued:
    """A fact and the cycle that it is about; None: found out when its turn comes."""

    fact: Fact
    cycle_id: int | None
    done: asyncio.Event | None = None
    ends_first_check: bool = False  # with it, all is known that a stale database may lack


@dataclass(slots=True)
class _Asking:
    task: asyncio.Task[None] | None = None
    last_ms: int = 0
    not_before_ms: int = 0


@dataclass(slots=True)
class _Memory:
    """What a desk knows only until it is reloaded."""

    cycles: dict[int, Cycle] = field(default_factory=dict)
    asking: dict[Question, _Asking] = field(default_factory=dict)
    wake_at_ms: int | None = None
    is_funding_told: bool = False
    funding_read_at_ms: int = 0


class Desk:
    """All that happens for one symbol, one step at a time."""

    def __init__(self, symbol: str, around: Surroundings, *, lease: Lease | None = None) -> None:
        self.symbol = symbol
        self.lease = lease
        self.folded_trades = 0  # trades that were folded because too many waited
        self._around = around
        self._facts: deque[_Queued] = deque()
        self._orphans: list[tuple[int, OrderReported]] = []
        self._news = asyncio.Event()
        self._memory = _Memory()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stepping = False
        self._batch_owner: int | None = None
        self._failure: TradeboxError | None = None
        self._may_request = True
        self._is_checked = True

    # --- From outside ---

    @property
    def open_cycle(self) -> Cycle | None:
        """Return the cycle that is open on the symbol, as last saved."""
        return next((c for c in self._memory.cycles.values() if c.is_open), None)

    @property
    def is_idle(self) -> bool:
        """Return whether nothing waits, nothing is under way and nothing has to be asked."""
        return not self._facts and not self._tasks and not self._is_stepping

    def take_over(self, cycle: Cycle) -> None:
        """Take on a cycle that this process did not see begin.

        What is saved may be older than what the exchange did, and a database restored from a backup
        is: nothing is requested before a check has told every order and fill since then.
        """
        self._is_checked = self._is_checked and not cycle.is_open
        self.adopt(cycle)

    def adopt(self, cycle: Cycle) -> None:
        """Take a cycle on (or its newer state), as loaded from the store."""
        self._memory.cycles[cycle.cycle_id] = cycle
        self._memory.asking.clear()
        if not cycle.is_open:  # whoever saw it end may not have lived to ask
            self.spawn(self._check_last_funding(cycle))
        orphans, self._orphans = self._orphans, []
        for _, report in orphans:
            self.tell(report)
        self.tell(TimePassed(at_ms=self._now()), cycle_id=cycle.cycle_id)

    def knows(self, cycle_id: int) -> bool:
        """Return whether the cycle was taken on."""
        return cycle_id in self._memory.cycles

    def tell(self, fact: Fact, *, cycle_id: int | None = None) -> None:
        """Queue a fact; it is applied in order of arrival, and trades behind it wait for it."""
        if not self._facts and not self._is_stepping:
            self._around.on_band(self.symbol, None)
        self._facts.append(_Queued(fact, cycle_id))
        self._news.set()

    def reported(self, report: OrderReported) -> bool:
        """Queue news of the account stream; False if more wait than it can be trusted with."""
        self.tell(report)
        if len(self._facts) <= MOST_WAITING:
            return True
        self._fold_trades()  # those are no events
        return len(self._facts) <= MOST_WAITING

    async def tell_and_wait(self, fact: Fact, *, cycle_id: int) -> None:
        """Queue a fact and return once its step was saved."""
        done = asyncio.Event()
        self.tell(fact, cycle_id=cycle_id)
        self._facts[-1] = _Queued(fact, cycle_id, done)
        await done.wait()

    def traded(self, price: Decimal, at_ms: int) -> None:
        """Queue a market trade at or outside the band; beyond the bound they are folded."""
        if len(self._facts) >= MOST_WAITING:
            self._fold_trades()
        self.tell(TradePrice(at_ms=at_ms, price=price))

    async def run(self) -> None:
        """Work until cancelled. Raises LeaseLost; what is unexpected is the caller's to restart."""
        try:
            while True:
                await self._wait_for_news()
                if self._failure is not None:
                    raise self._failure
                await self._turn()
        finally:
            await self.stop()

    def fail(self, error: TradeboxError) -> None:
        """Make `run` end with this error at its next turn: what is in memory counts no more."""
        self._failure = error
        self._news.set()

    async def wind_down(self, seconds: float) -> None:
        """Decide nothing new, and give what is under way some time to be answered and recorded."""
        self._may_request = False
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.is_idle and asyncio.get_running_loop().time() < deadline:
            pending = tuple(self._tasks)
            if not pending:
                await asyncio.sleep(0.01)
                continue
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Cancel what is under way; its outcome stays unresolved on the rows."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._memory.asking.clear()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` beside the desk's own loop, kept and waited for at the end."""
        self.keep(asyncio.get_running_loop().create_task(work))

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to work that was started elsewhere; it is waited for, and cancelled, as ours."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    # --- One turn ---

    async def record_and_decide(self, facts: tuple[Fact, ...]) -> tuple[OrderState, ...]:
        """Save what these facts make of their cycle in one transaction; return what to send."""
        cycle = self._memory.cycles.get(self._batch_owner or 0)
        if cycle is None:
            self._keep_orphans(facts)
            return ()
        now_ms, preview = self._now(), self._step(cycle, facts)
        is_shared = cycle.phase is Phase.ENTERING  # the API may have written to it
        if preview.changes_nothing and not is_shared:
            step = preview
        else:
            step = await self._update(cycle, facts, preview, now_ms)
        self._memory.cycles[cycle.cycle_id] = step.cycle
        if step.wake_at_ms is not None:
            self._wake_at(step.wake_at_ms)
        if cycle.is_open and not step.cycle.is_open:
            self.spawn(self._check_last_funding(step.cycle))
        if not step.changes_nothing:
            self._around.on_step(self.symbol, step)
        return step.requests

    async def send(self, order: OrderState) -> None:
        """Carry one request out and queue what came of it as a fact."""
        cycle_id = self._owner(order.client_order_id)
        self.tell(await self._outcome(order), cycle_id=cycle_id)

    async def _turn(self) -> None:
        self._is_stepping = True
        try:
            while self._facts:
                batch = self._next_batch()
                await self._around.handler(self, tuple(queued.fact for queued in batch))
                for queued in batch:
                    if queued.done is not None:
                        queued.done.set()
            self._ask_and_look_ahead()
        finally:
            self._is_stepping = False
        self._tell_band()

    def _next_batch(self) -> tuple[_Queued, ...]:
        """Take the facts that belong to one cycle; others stay queued behind it."""
        owner = self._owner_of(self._facts[0])
        batch: list[_Queued] = []
        while self._facts and len(batch) < _MOST_FACTS_A_STEP:
            if self._owner_of(self._facts[0]) != owner:
                break
            batch.append(self._facts.popleft())
            self._is_checked = self._is_checked or batch[-1].ends_first_check
        self._batch_owner = owner
        return tuple(batch)

    def _owner_of(self, queued: _Queued) -> int | None:
        """Return the id of the cycle that a fact belongs to; None: of no cycle known here."""
        if queued.cycle_id is not None:
            return queued.cycle_id if queued.cycle_id in self._memory.cycles else None
        fact = queued.fact
        if isinstance(fact, OrderReported):
            return self._owner(fact.client_order_id)
        current = self.open_cycle
        return None if current is None else current.cycle_id

    def _owner(self, client_order_id: str) -> int | None:
        """Return the cycle of an order; a stranger's, or a late one, is the open cycle's."""
        current = self.open_cycle
        for cycle in self._memory.cycles.values():
            is_its = client_order_id.startswith(f"{CLIENT_ID_PREFIX}{cycle.key}-")
            if is_its and (cycle.is_open or current is None):
                return cycle.cycle_id
        if current is None or self._is_unknown(client_order_id):
            return None
        return current.cycle_id

    def _is_unknown(self, client_order_id: str) -> bool:
        """Return whether it is an order of ours whose cycle was not loaded yet."""
        return client_order_id.startswith(CLIENT_ID_PREFIX) and not any(
            client_order_id.startswith(f"{CLIENT_ID_PREFIX}{c.key}-")
            for c in self._memory.cycles.values()
        )

    def _keep_orphans(self, facts: tuple[Fact, ...]) -> None:
        """Keep reports of our orders until their cycle was loaded; it may be seconds old."""
        for fact in facts:
            if isinstance(fact, OrderReported) and self._is_unknown(fact.client_order_id):
                self._orphans.append((self._now(), fact))
                self._around.on_unknown_cycle(self.symbol, fact.client_order_id)

    def _with_price(self, cycle: Cycle, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        """Put the last trade before news that may call for an order (rule 2 asks for it)."""
        price = self._around.last_price(self.symbol)
        if price is None or price == cycle.last_price:
            return facts
        if any(isinstance(fact, TradePrice) for fact in facts):
            return facts
        return (PriceSeen(at_ms=self._now(), price=price), *facts)

    def _step(self, cycle: Cycle, facts: tuple[Fact, ...]) -> Step:
        return take_step(
            cycle,
            self._with_price(cycle, facts),
            now_ms=self._now(),
            may_request=self._may_request and self._is_checked,
        )

    async def _update(
        self, known: Cycle, facts: tuple[Fact, ...], preview: Step, previewed_at_ms: int
    ) -> Step:
        """Write one step, however long the database is away; facts are kept meanwhile.

        `preview` is what it comes to if the row is still what is `known`, and no time has passed.

        After an unclear commit the facts are applied again to what the rows then say: they are
        news, not increments, and requests that were written but not sent resolve as unanswered.
        """

        def step(cycle: Cycle) -> Step:
            is_known = cycle is known and self._now() == previewed_at_ms
            return preview if is_known else self._step(cycle, facts)

        attempt = 0
        while True:
            try:
                return await self._around.store.update(known.cycle_id, step, lease=self.lease)
            except (StoreUnavailable, CommitUnclear) as error:
                pause = _STORE_RETRY_S[min(attempt, len(_STORE_RETRY_S) - 1)]
                attempt += 1
                log.warning(
                    "database away, nothing is decided", symbol=self.symbol, error=str(error)
                )
                await asyncio.sleep(pause)

    # --- Requests ---

    async def _outcome(self, order: OrderState) -> Fact:
        if not self._around.may_send():  # not at once again: the lease takes its time
            return not_sent(order, self._now(), wait_ms=_LOOK_AGAIN_MS)
        return await carry_out(self._around.gateway, self._around.clock, self.symbol, order)

    # --- Questions ---

    def _ask_and_look_ahead(self) -> None:
        """Start every question that is due, and note when the next thing is."""
        if not self._may_request:
            return
        now = self._now()
        for cycle in tuple(self._memory.cycles.values()):
            if cycle.ended_at_ms is not None and now > cycle.ended_at_ms + KEEP_ENDED_MS:
                del self._memory.cycles[cycle.cycle_id]
                continue
            if cycle.phase is Phase.ENTERING:
                self._wake_at(now + _LOOK_AGAIN_MS)
            for ask in asks(cycle):
                asking = self._memory.asking.setdefault(ask.question, _Asking())
                if asking.task is not None:
                    continue
                due = max(ask.not_before_ms, asking.last_ms + ask.every_ms, asking.not_before_ms)
                if due > now:
                    self._wake_at(due)
                    continue
                asking.last_ms = now
                self._start_asking(asking, ask.question, cycle)

    def _start_asking(self, asking: _Asking, question: Question, cycle: Cycle) -> None:
        async def work() -> None:
            try:
                for fact in await self._answer(question, cycle):
                    self.tell(fact, cycle_id=cycle.cycle_id)
            except RateLimited as error:
                asking.not_before_ms = self._now() + error.retry_after_ms
            except ExchangeError as error:
                asking.not_before_ms = self._now() + _READ_RETRY_MS
                log.warning(
                    "question unanswered",
                    symbol=self.symbol,
                    question=type(question).__name__,
                    error=str(error),
                )
            finally:
                asking.task = None
                self._news.set()

        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work())
        asking.task = task
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _answer(self, question: Question, cycle: Cycle) -> tuple[Fact, ...]:
        gateway, symbol = self._around.gateway, self.symbol
        match question:
            case FindOrder(client_order_id=name):
                order = cycle.order(name)
                return () if order is None else await self._find(cycle, order)
            case ReadFills():
                return (await self._read_fills(cycle),)
            case ReadPosition():
                return (await gateway.positions(symbol),)
            case ReadOpenOrders():
                return tuple(report for _, report in await gateway.open_orders(symbol))
            case ReadBalance():
                balance = await gateway.balance(cycle.rules.quote_asset)
                return (BalanceRead(at_ms=self._now(), available=balance.available),)
            case ReadMark():
                return (MarkRead(at_ms=self._now(), price=await gateway.mark_price(symbol)),)
            case ReadRules():
                return (RulesRead(at_ms=self._now(), rules=await gateway.rules(symbol)),)
            case _:
                assert_never(question)

    async def _find(self, cycle: Cycle, order: OrderState) -> tuple[Fact, ...]:
        """Return what became of an order; missing only if fills and position show nothing."""
        asked_at = self._now()
        report = await self._around.gateway.find(self.symbol, order)
        if report is not None:
            return (report,)
        fills = await self._read_fills(cycle)
        position = await self._around.gateway.positions(self.symbol)
        known = {fill.trade_id for fill in cycle.fills}
        is_new = any(fill.trade_id not in known for fill in fills.fills)
        if is_new or _may_have_filled(order, cycle, position):
            return (fills, position)
        name = order.client_order_id
        missing = OrderMissing(at_ms=self._now(), client_order_id=name, asked_at_ms=asked_at)
        return (position, missing)

    async def check_asset_prices(self) -> None:
        """Value commissions that were paid in another asset (BNB); once per cycle and asset."""
        cycle = self.open_cycle
        for asset in () if cycle is None else unpriced_assets(cycle):
            assert cycle is not None
            price = await self._around.gateway.mark_price(f"{asset}{cycle.rules.quote_asset}")
            fact = AssetPriced(at_ms=self._now(), asset=asset, price=price)
            self.tell(fact, cycle_id=cycle.cycle_id)

    async def _read_fills(self, cycle: Cycle) -> FillsRead:
        fills = await self._around.gateway.fills(
            self.symbol, since_ms=fills_since_ms(cycle), after_trade_id=None
        )
        counted = tuple(
            fill
            for fill in fills
            if fill.time_ms >= cycle.accepted_at_ms or cycle.order(fill.client_order_id) is not None
        )
        return FillsRead(at_ms=self._now(), fills=counted)

    # --- The periodic check ---

    async def check(self, picture: AccountPicture | None = None) -> Unclaimed | None:
        """Compare the open cycle with the exchange: positions, open orders, single orders.

        So is one that has just ended: something of it may come to life where no stream tells it.
        Without a picture of the account the symbol's own is read. Returns what is there although no
        cycle is. Raises ExchangeError where the exchange does not answer; then nothing was
        concluded.
        """
        if picture is None:
            picture = await self._read_picture()
        position = picture.positions.get(self.symbol)
        if position is None:
            raise ExchangeUnavailable(f"{self.symbol} is missing in the list of positions")
        known = self._memory.cycles.values()
        cycle = self.open_cycle or max(known, key=lambda c: c.ended_at_ms or 0, default=None)
        if cycle is None:
            return self._unclaimed(picture, position)
        found: list[Fact] = [] if self._is_checked else [*await self._read_since(cycle)]
        found += await self._differences(cycle, picture, position)
        for fact in found:
            self.tell(fact, cycle_id=cycle.cycle_id)
        self.tell(position, cycle_id=cycle.cycle_id)
        self._facts[-1] = _Queued(position, cycle.cycle_id, ends_first_check=True)
        return None

    def _unclaimed(self, picture: AccountPicture, position: PositionChecked) -> Unclaimed | None:
        if self._memory.cycles:
            return None  # it has just ended: what comes late is still its own
        names = [report.client_order_id for report in picture.orders.get(self.symbol, ())]
        ours = tuple(sorted(name for name in names if parse_client_order_id(name) is not None))
        found = Unclaimed(
            long=position.long.quantity, short=position.short.quantity, our_orders=ours
        )
        return found if found.long or found.short or ours else None

    async def _differences(
        self, cycle: Cycle, picture: AccountPicture, position: PositionChecked
    ) -> tuple[Fact, ...]:
        """Return what the exchange lists, and what became of that which it lists no more."""
        reports = picture.orders.get(self.symbol, ())
        found: list[Fact] = list(reports)
        listed = {report.client_order_id for report in reports}
        for order in cycle.orders:
            is_known_open = order.is_resting and order.changed_at_ms < picture.asked_at_ms
            if is_known_open and not order.is_in_flight and order.client_order_id not in listed:
                found += await self._find(cycle, order)
        held = (position.long.quantity, position.short.quantity)
        if held != (cycle.long.quantity, cycle.short.quantity) or not self._is_checked:
            found.append(await self._read_fills(cycle))
        return tuple(found)

    async def _read_since(self, cycle: Cycle) -> tuple[OrderReported, ...]:
        """Return all orders of the cycle that are younger than those saved, whatever they became.

        An order is saved before it is sent, so what was created before the newest one is known.
        """
        ours = [o for o in cycle.orders if o.role is not Role.FOREIGN]
        newest = max((o.created_at_ms for o in ours), default=cycle.accepted_at_ms)
        reports = await self._around.gateway.orders_since(
            self.symbol, since_ms=newest - _CLOCKS_DIFFER_MS
        )
        prefix = f"{CLIENT_ID_PREFIX}{cycle.key}-"
        return tuple(r for r in reports if r.client_order_id.startswith(prefix))

    async def _read_picture(self) -> AccountPicture:
        gateway, asked_at = self._around.gateway, self._now()
        position = await gateway.positions(self.symbol)
        reports = await gateway.open_orders(self.symbol)
        return AccountPicture(
            asked_at_ms=asked_at,
            positions={self.symbol: position},
            orders={self.symbol: tuple(report for _, report in reports)},
        )

    def funding_told(self) -> None:
        """Let the next check read what the account was paid, or paid."""
        self._memory.is_funding_told = True

    async def check_funding(self) -> None:
        """Count the funding payments of the open cycle, and of one that has just ended.

        Raises ExchangeError where the exchange does not answer.
        """
        since, asked_at = self.funding_due_since(), self._now()
        if since is not None:
            records = await self._around.gateway.funding(self.symbol, since_ms=since)
            self.tell_funding(records, asked_at_ms=asked_at)

    def funding_due_since(self) -> int | None:
        """Return from when on payments have to be read; None: all are accounted for.

        A read costs as much as thirty positions: it is made while a settlement, or the news of a
        payment, is not accounted for.
        """
        read_at = self._memory.funding_read_at_ms - FUNDING_AT_MOST_EVERY_MS
        due = [c for c in self._memory.cycles.values() if self._is_funding_due(c)]
        return min((max(cycle.accepted_at_ms, read_at) for cycle in due), default=None)

    def tell_funding(self, records: Sequence[FundingRecord], *, asked_at_ms: int) -> None:
        """Count payments on the symbol that a read since `funding_due_since` has found."""
        self._memory.is_funding_told = False
        self._memory.funding_read_at_ms = asked_at_ms
        for cycle in self._memory.cycles.values():
            self._count_funding(cycle, records)

    def _is_funding_due(self, cycle: Cycle) -> bool:
        now = self._now()
        settled_at = now - now % FUNDING_AT_MOST_EVERY_MS
        is_touched = cycle.accepted_at_ms < settled_at + _FUNDING_MAY_LAG_MS
        is_read = self._memory.funding_read_at_ms > settled_at + _FUNDING_MAY_LAG_MS
        return self._memory.is_funding_told or (is_touched and not is_read)

    def _count_funding(self, cycle: Cycle, records: Sequence[FundingRecord]) -> None:
        for record in records:
            ended_at = cycle.ended_at_ms
            is_within = cycle.accepted_at_ms <= record.time_ms and (
                ended_at is None or record.time_ms <= ended_at
            )
            if is_within and record.transaction_id not in cycle.funding_ids:
                paid = FundingPaid(
                    at_ms=self._now(),
                    transaction_id=record.transaction_id,
                    amount=record.amount,
                )
                self.tell(paid, cycle_id=cycle.cycle_id)

    async def _check_last_funding(self, cycle: Cycle) -> None:
        try:
            records = await self._around.gateway.funding(self.symbol, since_ms=cycle.accepted_at_ms)
            self._count_funding(cycle, records)
        except ExchangeError as error:
            log.warning("funding not read", symbol=self.symbol, error=str(error))

    # --- Waiting ---

    async def _wait_for_news(self) -> None:
        """Return when there is something to do; a timer that ran out becomes a fact itself."""
        self._release_orphans()
        # News leave the timer as it is: they may be of nothing that looks at the time again.
        is_news = bool(self._facts) or await self._is_news_before(self._memory.wake_at_ms)
        if not is_news:
            self._memory.wake_at_ms = None
            if self._memory.cycles:
                self._facts.append(_Queued(TimePassed(at_ms=self._now()), None))
        self._news.clear()

    async def _is_news_before(self, wake_at_ms: int | None) -> bool:
        if wake_at_ms is None:
            return await self._news.wait()
        try:
            async with asyncio.timeout(max(0, wake_at_ms - self._now()) / 1000):
                return await self._news.wait()
        except TimeoutError:
            return False

    def _wake_at(self, at_ms: int) -> None:
        wake = self._memory.wake_at_ms
        self._memory.wake_at_ms = at_ms if wake is None else min(wake, at_ms)

    def _release_orphans(self) -> None:
        """Let reports go whose cycle nobody found for 5 s; the next check sees what they did."""
        now = self._now()
        self._orphans = [(since, r) for since, r in self._orphans if now < since + 5_000]
        if self._orphans:
            self._wake_at(now + _LOOK_AGAIN_MS)

    def _fold_trades(self) -> None:
        """Fold waiting trades into maximum, minimum and last, in the order of their arrival."""
        trades = [q.fact for q in self._facts if isinstance(q.fact, TradePrice)]
        if not trades:
            return
        self.folded_trades += len(trades)
        highest = max(trades, key=lambda t: t.price)
        lowest = min(trades, key=lambda t: t.price)
        kept = {id(trade) for trade in (highest, lowest, trades[-1])}
        self._facts = deque(
            q for q in self._facts if not isinstance(q.fact, TradePrice) or id(q.fact) in kept
        )
        log.warning("trades folded", symbol=self.symbol, count=len(trades))

    def _tell_band(self) -> None:
        cycle = self.open_cycle
        nothing = strategy.Band(low=None, high=None)
        self._around.on_band(self.symbol, nothing if cycle is None else strategy.band(cycle))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
        if not task.cancelled() and task.exception() is not None:
            # Not swallowed: the fact never came, so the row stays unresolved and is asked about.
            log.error("task failed", symbol=self.symbol, exc_info=task.exception())

    def _now(self) -> int:
        return self._around.clock.now_ms()

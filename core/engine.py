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
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog

from core.account_picture import AccountPicture, Unclaimed, unclaimed
from core.domain import strategy
from core.domain.asks import unpriced_assets
from core.domain.cycle import (
    Cycle,
    Fact,
    OrderReported,
    OrderState,
    Phase,
    PriceSeen,
    TimePassed,
    TradePrice,
)
from core.domain.owners import is_of_unknown_cycle, open_one, owner_of_fact, owner_of_order
from core.domain.step import Step, take_step
from core.errors import CommitUnclear, ExchangeError, StoreUnavailable, TradeboxError
from core.fact_queue import FactQueue, Queued
from core.funding import FundingReads, uncounted_payments
from core.inquiries import Inquiries
from core.ports import Clock, CycleStore, FundingRecord, Lease, OrderGateway
from core.sending import carry_out, not_sent
from core.symbol_reads import SymbolReads

log = structlog.get_logger(__name__)

KEEP_ENDED_MS = 60_000  # an ended cycle's late fills are still ours
MOST_WAITING = 10_000  # trades, which are then folded; events, which are never dropped
_ORPHANS_KEPT_MS = 5_000  # ten looks at what began
_LOOK_AGAIN_MS = 500  # at a cycle that another process may be writing to
_STORE_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)

# Takes a desk and the facts of one turn; by default records, decides and sends. Flows name these.
Handler = Callable[["Desk", tuple[Fact, ...]], Awaitable[None]]


async def handle(desk: "Desk", facts: tuple[Fact, ...]) -> None:
    """Record and decide, then send every request in a task of its own."""
    for order in await desk.record_and_decide(facts):
        desk.spawn(desk.send(order))


def may_always_send(symbol: str) -> bool:
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
    # False once the symbol's lease was not renewed for too long: no request is started.
    may_send: Callable[[str], bool] = may_always_send


class Desk:
    """All that happens for one symbol, one step at a time."""

    def __init__(self, symbol: str, around: Surroundings, *, lease: Lease | None = None) -> None:
        self.symbol = symbol
        self.lease = lease
        self._around = around
        self._facts = FactQueue()
        self._orphans: list[tuple[int, OrderReported]] = []
        self._news = asyncio.Event()
        self._cycles: dict[int, Cycle] = {}
        self._wake_at_ms: int | None = None
        self._reads = SymbolReads(symbol, around.gateway, around.clock)
        self._inquiries = Inquiries(
            symbol, self._reads, around.clock, on_answer=self._tell_all, spawn=self.spawn
        )
        self._funding = FundingReads()
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
        return open_one(self._cycles.values())

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
        self._cycles[cycle.cycle_id] = cycle
        self._inquiries.forget()
        if not cycle.is_open:  # whoever saw it end may not have lived to ask
            self.spawn(self._check_last_funding(cycle))
        orphans, self._orphans = self._orphans, []
        for _, report in orphans:
            self.tell(report)
        self.tell(TimePassed(at_ms=self._now()), cycle_id=cycle.cycle_id)

    def knows(self, cycle_id: int) -> bool:
        """Return whether the cycle was taken on."""
        return cycle_id in self._cycles

    def tell(self, fact: Fact, *, cycle_id: int | None = None) -> None:
        """Queue a fact; it is applied in order of arrival, and trades behind it wait for it."""
        self._put(Queued(fact, cycle_id))

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
        self._put(Queued(fact, cycle_id, done))
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
        self._inquiries.forget()

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
        cycle = self._cycles.get(self._batch_owner or 0)
        if cycle is None:
            self._keep_orphans(facts)
            return ()
        now_ms, preview = self._now(), self._step(cycle, facts)
        is_shared = cycle.phase is Phase.ENTERING  # the API may have written to it
        if preview.changes_nothing and not is_shared:
            step = preview
        else:
            step = await self._update(cycle, facts, preview, now_ms)
        self._cycles[cycle.cycle_id] = step.cycle
        if step.wake_at_ms is not None:
            self._wake_at(step.wake_at_ms)
        if cycle.is_open and not step.cycle.is_open:
            self.spawn(self._check_last_funding(step.cycle))
        if not step.changes_nothing:
            self._around.on_step(self.symbol, step)
        return step.requests

    async def send(self, order: OrderState) -> None:
        """Carry one request out and queue what came of it as a fact."""
        cycle_id = owner_of_order(order.client_order_id, self._cycles.values())
        self.tell(await self._outcome(order), cycle_id=cycle_id)

    async def _turn(self) -> None:
        self._is_stepping = True
        try:
            while self._facts:
                self._batch_owner, batch = self._facts.take(self._owner_of)
                self._is_checked = self._is_checked or any(q.ends_first_check for q in batch)
                await self._around.handler(self, tuple(queued.fact for queued in batch))
                for queued in batch:
                    if queued.done is not None:
                        queued.done.set()
            self._ask_and_look_ahead()
        finally:
            self._is_stepping = False
        self._tell_band()

    def _owner_of(self, queued: Queued) -> int | None:
        if queued.cycle_id is not None:
            return queued.cycle_id if queued.cycle_id in self._cycles else None
        return owner_of_fact(queued.fact, self._cycles.values())

    def _keep_orphans(self, facts: tuple[Fact, ...]) -> None:
        """Keep reports of our orders until their cycle was loaded; it may be seconds old."""
        for fact in facts:
            if isinstance(fact, OrderReported) and is_of_unknown_cycle(
                fact.client_order_id, self._cycles.values()
            ):
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
        if not self._around.may_send(self.symbol):  # not at once again: the lease takes its time
            return not_sent(order, self._now(), wait_ms=_LOOK_AGAIN_MS)
        return await carry_out(self._around.gateway, self._around.clock, self.symbol, order)

    # --- What the exchange is asked ---

    def _ask_and_look_ahead(self) -> None:
        """Ask what is due, and note when the next thing is."""
        if not self._may_request:
            return
        now = self._now()
        for cycle in tuple(self._cycles.values()):
            if cycle.ended_at_ms is not None and now > cycle.ended_at_ms + KEEP_ENDED_MS:
                del self._cycles[cycle.cycle_id]
                continue
            if cycle.phase is Phase.ENTERING:
                self._wake_at(now + _LOOK_AGAIN_MS)
            next_ms = self._inquiries.ask(cycle)
            if next_ms is not None:
                self._wake_at(next_ms)

    async def check(self, picture: AccountPicture | None = None) -> Unclaimed | None:
        """Compare the open cycle with the exchange: positions, open orders, single orders.

        So is one that has just ended: something of it may come to life where no stream tells it.
        Without a picture of the account the symbol's own is read. Returns what is there although no
        cycle is. Raises ExchangeError where the exchange does not answer; then nothing was
        concluded.
        """
        if picture is None:
            picture = await self._reads.picture()
        position = picture.position(self.symbol)
        known = self._cycles.values()
        cycle = self.open_cycle or max(known, key=lambda c: c.ended_at_ms or 0, default=None)
        if cycle is None:
            return unclaimed(picture, self.symbol)
        self._tell_all(
            cycle, await self._reads.compare(cycle, picture, is_first=not self._is_checked)
        )
        self._put(Queued(position, cycle.cycle_id, ends_first_check=True))
        return None

    async def check_asset_prices(self) -> None:
        """Value commissions that were paid in another asset (BNB); once per cycle and asset."""
        cycle = self.open_cycle
        for asset in () if cycle is None else unpriced_assets(cycle):
            assert cycle is not None
            self._tell_all(cycle, (await self._reads.asset_price(cycle, asset),))

    def funding_told(self) -> None:
        """Let the next check read what the account was paid, or paid."""
        self._funding.told()

    async def check_funding(self) -> None:
        """Count the funding payments of the open cycle, and of one that has just ended.

        Raises ExchangeError where the exchange does not answer.
        """
        since, asked_at = self.funding_due_since(), self._now()
        if since is not None:
            self.tell_funding(await self._reads.funding(since), asked_at_ms=asked_at)

    def funding_due_since(self) -> int | None:
        """Return from when on payments have to be read; None: all are accounted for."""
        return self._funding.due_since(self._cycles.values(), self._now())

    def tell_funding(self, records: Sequence[FundingRecord], *, asked_at_ms: int) -> None:
        """Count payments on the symbol that a read since `funding_due_since` has found."""
        self._funding.read(asked_at_ms)
        for cycle in self._cycles.values():
            self._tell_all(cycle, uncounted_payments(cycle, records, at_ms=self._now()))

    async def _check_last_funding(self, cycle: Cycle) -> None:
        try:
            records = await self._reads.funding(cycle.accepted_at_ms)
        except ExchangeError as error:
            log.warning("funding not read", symbol=self.symbol, error=str(error))
        else:
            self._tell_all(cycle, uncounted_payments(cycle, records, at_ms=self._now()))

    # --- What waits ---

    def _put(self, queued: Queued) -> None:
        if not self._facts and not self._is_stepping:
            self._around.on_band(self.symbol, None)
        self._facts.put(queued)
        self._news.set()

    def _tell_all(self, cycle: Cycle, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self.tell(fact, cycle_id=cycle.cycle_id)

    async def _wait_for_news(self) -> None:
        """Return when there is something to do; a timer that ran out becomes a fact itself."""
        self._release_orphans()
        # News leave the timer as it is: they may be of nothing that looks at the time again.
        is_news = bool(self._facts) or await self._is_news_before(self._wake_at_ms)
        if not is_news:
            self._wake_at_ms = None
            if self._cycles:
                self._facts.put(Queued(TimePassed(at_ms=self._now()), None))
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
        wake = self._wake_at_ms
        self._wake_at_ms = at_ms if wake is None else min(wake, at_ms)

    def _release_orphans(self) -> None:
        """Let reports go whose cycle nobody found; the next check sees what they did."""
        now = self._now()
        self._orphans = [(since, r) for since, r in self._orphans if now < since + _ORPHANS_KEPT_MS]
        if self._orphans:
            self._wake_at(now + _LOOK_AGAIN_MS)

    def _fold_trades(self) -> None:
        if count := self._facts.fold_trades():
            log.warning("trades folded", symbol=self.symbol, count=count)

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

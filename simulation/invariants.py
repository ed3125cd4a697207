"""What must be true of every cycle: after each step, whenever all is quiet, and in the end.

Everything is compared with the exchange's own books and with `oracle`'s figures, never with the
production code's word alone. `Watcher` checks a stage as it plays; each failure is a `Broken` that
names the invariant.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from core.domain.alarms import Alarm
from core.domain.cycle import (
    CloseReason,
    Cycle,
    Fill,
    OperatorAction,
    OperatorAsked,
    OrderRefused,
    OrderState,
    Phase,
    PositionChecked,
    Request,
    Role,
)
from core.domain.rules import wanted
from core.domain.step import Step
from core.domain.strategy import apply, apply_all
from paper.state import AlgoOrder, AlgoStatus, PlainOrder, PositionSide
from paper.state import Fill as PaperFill
from paper.world import World
from simulation import oracle
from simulation.causes import Evidence, cause_of
from simulation.oracle import Figures, figures_of, name_of
from simulation.stage import Stage

ZERO = Decimal(0)
ENTRY_WITHIN_MS = 15_000  # rule 1
AMENDS_APART_MS = 1_000  # rule 2
GUARDS_APART_MS = 5_000  # rule 6
MOST_ATTEMPTS = 200
DIFFERENCE_APART_MS = 3_000  # section 4: a reported position
READS_APART_MS = 2_000  # section 4: the end
RESENT_AFTER_MS = 8_000  # section 4: a request without an answer is made anew
_OPENING = (Role.LEVEL, Role.HEDGE, Role.HEDGE_MARKET)
_CLOSING = (Role.CLOSE_LONG, Role.CLOSE_SHORT, Role.HEDGE_STOP_MARKET)
_PHASES = {Phase.ENTERING: 0, Phase.TRADING: 1, Phase.CLOSING: 2, Phase.ENDED: 3}


class Broken(AssertionError):
    """An invariant does not hold; `name` says which."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        super().__init__(f"{name}: {text}" if text else name)


def require(holds: bool, name: str, text: object = "") -> None:
    """Raise Broken unless the invariant holds."""
    if not holds:
        raise Broken(name, str(text))


# --- In the end ---


def prove_ended(stage: Stage) -> None:
    """Check that the cycle is over and its books are the exchange's, to the last digit."""
    cycle = stage.cycle
    require(cycle.phase is Phase.ENDED, "a cycle is stuck", f"{cycle.phase} {_resting(cycle)}")
    _check_ended(stage, cycle)
    prove_books(stage)


def prove_books(stage: Stage, *, with_journal: bool = True, is_haunted: bool = False) -> None:
    """Check fills, orders, realised PNL and fees against the exchange's, and the journal.

    `is_haunted`: the exchange itself executed an order twice.
    """
    cycle = stage.cycle
    theirs = {fill.trade_id: fill for fill in fills_of(stage.world, cycle)}
    ours = {fill.trade_id: fill for fill in cycle.fills if not fill.is_adjustment}
    name = "the cycle's ledger is the exchange's"
    require(ours.keys() == theirs.keys(), name, f"fills {ours.keys() ^ theirs.keys()}")
    require(not any(f.is_adjustment for f in cycle.fills), name, "a difference was booked")
    for trade_id, fill in ours.items():
        require(_is_same(fill, theirs[trade_id]), name, f"{fill} {theirs[trade_id]}")
    ledger, told = cycle.ledger, list(theirs.values())
    realised = sum((fill.realised for fill in told), ZERO)
    commissions = sum((fill.commission for fill in told), ZERO)
    require(ledger.realised == realised, name, f"realised {ledger.realised}, told {realised}")
    require(
        ledger.commissions == commissions, name, f"paid {ledger.commissions}, told {commissions}"
    )
    paid = funding_of(stage.world, cycle)
    require(cycle.funding == paid, name, f"funding {cycle.funding}, told {paid}")
    if not is_haunted:
        _prove_orders(stage.world, cycle)
    if with_journal:
        begun_as, facts = stage.store.told(cycle.cycle_id)
        require(apply_all(begun_as, facts) == cycle, "the journal alone leads to the saved state")


def _prove_orders(world: World, cycle: Cycle) -> None:
    """Check each order's total against the exchange's, and that none was placed twice."""
    own = [o for o in world.state.orders.values() if o.client_id.startswith(own_prefix(cycle))]
    names = Counter(order.client_id for order in own if order.executed)
    doubled = [name for name, count in names.items() if count > 1]
    require(not doubled, "no order is sent twice", doubled)
    for order in own:
        known = cycle.order(order.client_id)
        is_known = known is not None and known.executed >= order.executed
        require(is_known or not order.executed, "no fill is lost", f"{known} {order}")


def _check_ended(stage: Stage, cycle: Cycle) -> None:
    name = "an ended cycle has no orders and no position"
    require(all(order.is_over for order in cycle.orders), name, _resting(cycle))
    left = open_names(stage.world, stage.symbol)
    require(not left, name, left)
    is_ours = any(order.executed for order in cycle.orders)
    for side in PositionSide if is_ours else ():  # else it is somebody else's, and stays so
        held = abs(_leg_amount(stage.world, stage.symbol, side))
        require(held < cycle.rules.step_size, name, f"{side} {held}")


# --- Whenever all is quiet ---


def prove_protected(stage: Stage) -> None:
    """Check that a position has its exits on the exchange, for just its quantity."""
    cycle, world = stage.cycle, stage.world
    long, short = (world.position(stage.symbol, side) for side in ("LONG", "SHORT"))
    held = (cycle.long.quantity, cycle.short.quantity)
    is_ours = cycle.is_open or any(order.executed for order in cycle.orders)
    is_same = held == (long, short) or not is_ours  # else it is somebody else's
    require(is_same, "the quantities are the exchange's", f"{held} {long, short}")
    if cycle.phase is not Phase.TRADING or cycle.is_hands_off:
        return
    figures = figures_of(cycle)
    if long and cycle.trailing_stop is None and not cycle.close_long_asked:
        _prove_take_profit(stage, cycle, figures, long)
    if short and cycle.settings.sl_short is not None and not cycle.close_short_asked:
        _prove_stop_loss(stage, cycle, figures)


def prove_wishes(stage: Stage) -> None:
    """Check that ladder, hedge and guard are what the rules ask for, and each has its reason."""
    cycle = stage.cycle
    for wish in wanted(cycle):
        require(bool(wish.reason), "every wanted order has a reason", wish)
    if cycle.phase is not Phase.TRADING:
        return
    require(cycle.long.quantity > 0, "without LONG a cycle closes (rule 8)")
    figures = figures_of(cycle)
    if figures is None or cycle.is_hands_off:
        return
    _prove_ladder(cycle, figures)
    _prove_hedge(cycle, figures)
    _prove_guard(stage, cycle, figures)


def _prove_take_profit(stage: Stage, cycle: Cycle, figures: Figures | None, long: Decimal) -> None:
    name = "LONG has its take-profit, for just its quantity"
    orders = stage.world.state.orders.values()
    sells = [o for o in orders if o.is_open and _is_close_of_long(o, stage.symbol)]
    own = [o for o in sells if o.client_id.startswith(own_prefix(cycle))]
    foreign = sum((o.remaining for o in sells if o not in own), ZERO)
    offered = sum((order.remaining for order in own), ZERO)
    require(len(own) <= 1, name, own)
    require(offered == max(ZERO, long - foreign), name, f"{offered} of {long} − {foreign}")
    if figures is not None:
        prices = [o.price for o in own]
        right = figures.take_profit()
        require(all(price == right for price in prices), name, f"{prices} instead of {right}")


def _prove_stop_loss(stage: Stage, cycle: Cycle, figures: Figures | None) -> None:
    name = "SHORT has one stop-loss that closes it"
    stops = [a for a in _own_algos(stage.world, cycle) if name_of(a.client_id)[0] == "hs"]
    require(len(stops) == 1 and stops[0].close_position, name, stops)
    if figures is not None:
        right = figures.stop_loss()
        require(stops[0].trigger == right, name, f"{stops[0].trigger} instead of {right}")


def _prove_ladder(cycle: Cycle, figures: Figures) -> None:
    name = "the first levels left rest on the book (rule 3)"
    rungs = figures.rungs()
    full = {o.number for o in cycle.of(Role.LEVEL) if o.is_over and o.executed == o.quantity}
    left = [n for n in range(1, len(rungs) + 1) if n not in full and n not in cycle.withdrawn]
    ahead = set(left[: cycle.settings.grid_ahead])
    resting = {o.number for o in cycle.of(Role.LEVEL) if o.is_resting}
    require(resting <= ahead or cycle.levels_stopped, name, f"{resting} rest, {ahead} should")
    if not cycle.is_paused and not cycle.close_long_asked:
        require(ahead <= resting, name, f"{resting} rest, {ahead} should")


def _prove_hedge(cycle: Cycle, figures: Figures) -> None:
    name = "the hedge stands ready (rule 4)"
    resting = [o for o in cycle.of(Role.HEDGE) if o.is_resting]
    require(len(resting) <= 1, name, resting)
    is_out = cycle.is_paused or cycle.close_long_asked or cycle.hedges_stopped
    if is_out or cycle.short.quantity or cycle.hedge_failed or not figures.account.is_plain:
        return
    opened = len({n for n, made in figures.account.hedges.items() if n and made.sold})
    trigger = figures.trigger(opened + 1, cycle.hedge_triggers)
    if trigger is None or trigger <= 0 or not figures.can_hedge(opened, trigger):
        return
    rungs = figures.rungs()
    full = {o.number for o in cycle.of(Role.LEVEL) if o.is_over and o.executed == o.quantity}
    left = [n for n in range(1, len(rungs) + 1) if n not in full and n not in cycle.withdrawn]
    is_due = len(left) <= cycle.settings.grid_ahead
    is_watched = any(a.key == f"hedge-watched-{opened + 1}" for a in cycle.alarms)
    ready = {o.number for o in resting}
    require(ready == ({opened + 1} if is_due else set()) or is_watched, name, (ready, left))


def _prove_guard(stage: Stage, cycle: Cycle, figures: Figures) -> None:
    name = "the guard rests below the trailing stop (rule 6)"
    long, started = figures.account.long, cycle.trailing_entry
    is_same = started is None or abs(long.entry - started) < started / 10**9
    require(is_same, "a new LONG entry ends trailing (rule 6)", f"{long.entry} {started}")
    guards = [a for a in _own_algos(stage.world, cycle) if name_of(a.client_id)[0] == "gd"]
    stop = cycle.trailing_stop
    if stop is None or not cycle.settings.trail_guard:
        require(not guards, name, guards)
        return
    right = figures.guard(stop)
    is_due = cycle.last_price is not None and right < cycle.last_price
    if is_due and not cycle.guard_waits and not cycle.stop_needs_slot:
        is_right = len(guards) == 1 and guards[0].trigger == right and guards[0].close_position
        require(is_right, name, f"{guards} instead of {right}")


# --- After each step ---


def watch(stage: Stage, *, knows_causes: bool = False) -> "Watcher":
    """Have the invariants checked after each step of the stage.

    `knows_causes`: all that is done from outside is told to the watcher's `evidence`, so that every
    alarm and every close can be held against it.
    """
    watcher = Watcher(stage, knows_causes=knows_causes)
    stage.after_step.append(watcher.step)
    return watcher


@dataclass(slots=True)
class _Seen:
    """What is known of the cycle that was watched last."""

    cycle_id: int = 0
    is_paused: bool = False
    is_hands_off: bool = False
    orders: list[PlainOrder] = field(default_factory=list)  # the exchange's, of this cycle
    algos: list[AlgoOrder] = field(default_factory=list)
    fills: set[int] = field(default_factory=set)
    given_up: set[tuple[str, int]] = field(default_factory=set)  # role code, number
    hedges_stopped: bool = False
    amended_ms: int = 0
    guarded_ms: int = 0
    guarded_entry: Decimal | None = None


class Watcher:
    """Checks a stage after each of its steps, and whenever it is asked to look."""

    def __init__(self, stage: Stage, *, knows_causes: bool) -> None:
        self.evidence = Evidence()
        self._knows_causes = knows_causes
        self.looks = 0  # how often everything was found quiet and in its place
        self._stage = stage
        self._seen = _Seen()
        self._last: Cycle | None = None
        self._looked_at: tuple[Cycle, int] | None = None
        self._orders_read = 0
        self._algos_read = 0

    # --- One step ---

    def step(self, step: Step) -> None:
        """Check the invariants after one step of the desk."""
        cycle = step.cycle
        if cycle.cycle_id < self._seen.cycle_id:
            return  # an earlier cycle's late news
        if cycle.cycle_id > self._seen.cycle_id:
            self._seen = _Seen(cycle_id=cycle.cycle_id)
            self._last = None
            self.evidence.new_cycle(cycle.accepted_at_ms)
        if self._last is not None and step.before != self._last:
            # Steps were committed that nobody was told of (a commit without an answer).
            self._seen.is_paused = step.before.is_paused
            self._seen.is_hands_off = step.before.is_hands_off
        self._last = cycle
        self._note(step)
        self._check_exchange(cycle)
        self._check_fills(step)
        self._check_requests(step)
        self._check_course(step)
        for alarm in cycle.alarms[len(step.before.alarms) :]:
            self._check_alarm(cycle, alarm)

    def _note(self, step: Step) -> None:
        for fact in step.facts:
            if isinstance(fact, OrderRefused):
                self.evidence.refused(fact.client_order_id, fact.code)
            elif isinstance(fact, OperatorAsked):
                self._note_asked(fact.action)

    def _note_asked(self, action: OperatorAction) -> None:
        seen = self._seen
        if action in (OperatorAction.PAUSE, OperatorAction.RESUME):
            seen.is_paused = action is OperatorAction.PAUSE
        if action in (OperatorAction.HANDS_OFF, OperatorAction.HANDS_ON):
            seen.is_hands_off = action is OperatorAction.HANDS_OFF
        if action is OperatorAction.ALLOW_HEDGES:
            seen.hedges_stopped = False

    def _check_exchange(self, cycle: Cycle) -> None:
        """Check what the exchange holds of the cycle: never twice, never too much (rule 12)."""
        self._read_orders(cycle)
        seen, settings = self._seen, cycle.settings
        resting = [o for o in seen.orders if o.is_open and o.algo_id is None]
        armed = [a for a in seen.algos if a.status is AlgoStatus.NEW]
        open_ids = [o.client_id for o in resting] + [a.client_id for a in armed]
        names = Counter(name.rsplit("-", 1)[0] for name in open_ids)
        doubled = [name for name, count in names.items() if count > 1]
        require(not doubled, "at most one open order per role and number", doubled)
        if self.evidence.has("haunted"):
            return  # the exchange itself executed more than was asked for
        bought = sum((o.quote + _open_notional(o) for o in seen.orders if _is_buy(o)), ZERO)
        limit = settings.deposit * settings.leverage
        require(bought <= limit, "LONG stays within deposit × leverage", f"{bought} > {limit}")
        self._check_totals(cycle, armed)

    def _check_totals(self, cycle: Cycle, armed: list[AlgoOrder]) -> None:
        settings, name = cycle.settings, "no order is executed twice"
        totals: defaultdict[tuple[str, int], Decimal] = defaultdict(Decimal)
        for order in self._seen.orders:
            totals[name_of(order.client_id)] += order.executed
        entry = cycle.entry_order
        if entry is not None and entry.quantity is not None:
            require(totals["en", 0] <= entry.quantity, name, f"entry {totals['en', 0]}")
        if cycle.grid is not None:
            for level in cycle.grid.levels:
                bought = totals["lv", level.number]
                require(bought <= level.quantity, name, f"level {level.number} bought {bought}")
        limit = settings.extramarg * settings.leverage
        for number, trigger in enumerate(cycle.hedge_triggers, start=1):
            sold = totals["hg", number] + totals["hm", number]
            sold += sum(a.quantity for a in armed if name_of(a.client_id) == ("hg", number))
            text = f"hedge {number}: {sold} at {trigger} > {limit}"
            require(sold * trigger <= limit, "SHORT stays within extramarg × leverage", text)

    def _read_orders(self, cycle: Cycle) -> None:
        state, own = self._stage.world.state, own_prefix(cycle)
        new = list(islice(state.orders.values(), self._orders_read, None))
        self._orders_read += len(new)
        symbol = cycle.symbol
        if any(o.symbol == symbol and o.client_id.startswith("autoclose-") for o in new):
            self.evidence.happened("liquidation", self._stage.clock.now_ms())
        self._seen.orders += [o for o in new if o.client_id.startswith(own)]
        armed = list(islice(state.algos.values(), self._algos_read, None))
        self._algos_read += len(armed)
        self._seen.algos += [a for a in armed if a.client_id.startswith(own)]

    def _check_fills(self, step: Step) -> None:
        """Check that each execution is counted once, with the exchange's own figures."""
        if step.cycle.fills is step.before.fills:
            return
        real = [fill for fill in step.cycle.fills if not fill.is_adjustment]
        booked = len(step.cycle.fills) - len(real)
        if booked > sum(fill.is_adjustment for fill in step.before.fills):
            _check_difference(step)
        require(len({f.trade_id for f in real}) == len(real), "each fill is counted once", real)
        new = [fill for fill in real if fill.trade_id not in self._seen.fills]
        if not new:
            return
        self._seen.fills |= {fill.trade_id for fill in new}
        books, symbol = self._stage.world.state.books, step.cycle.symbol
        told = {f.trade_id: f for f in books.fills[-200:] if f.symbol == symbol}
        for fill in new:
            paper = told.get(fill.trade_id)
            is_same = paper is not None and _is_same(fill, paper)
            require(is_same, "a fill has the exchange's figures", f"{fill} {paper}")

    # --- What is sent ---

    def _check_requests(self, step: Step) -> None:
        cycle = step.cycle
        require(
            not (step.requests and self._seen.is_hands_off), "hands off: nothing is sent (rule 11)"
        )
        figures = figures_of(cycle) if step.requests else None
        for order in step.requests:
            require(bool(order.reason), "every wanted order has a reason", order)
            match order.request:
                case Request.PLACE:
                    self._check_placed(step, order)
                case Request.AMEND:
                    self._check_amended(order)
                case Request.CANCEL:
                    self._check_cancelled(cycle, order)
            if figures is not None and order.request is not Request.CANCEL:
                self._check_figures(cycle, figures, order)

    def _check_placed(self, step: Step, order: OrderState) -> None:
        cycle, seen = step.cycle, self._seen
        if order.role in _OPENING:
            name = f"no {order.role} while it is not wanted"
            require(not seen.is_paused, name, "paused (rule 11)")
            require(cycle.phase is Phase.TRADING, name, f"{cycle.phase} (rule 9)")
            require(cycle.long.quantity > 0, name, "without LONG (rules 8 and 12)")
            require(not cycle.account_refused_at_ms, name, "the account is refused (section 7)")
        if order.role is Role.LEVEL:
            is_near = any(alarm.key.startswith("near-liquidation") for alarm in cycle.alarms)
            require(not is_near, "averaging ends where liquidation came near (rule 3)", order)
        if order.role in (Role.HEDGE, Role.HEDGE_MARKET):
            self._check_hedge_placed(cycle, order)
        if order.role is Role.ENTRY:
            late_ms = order.requested_at_ms - cycle.accepted_at_ms
            require(late_ms <= ENTRY_WITHIN_MS, "an entry is not sent late (rule 1)", late_ms)
        if order.role is Role.GUARD:
            apart_ms = order.requested_at_ms - seen.guarded_ms
            is_first = order.attempt == 1 or order.refusals > 0
            earlier = cycle.order(order.client_order_id.rsplit("-", 1)[0] + f"-{order.attempt - 1}")
            is_move = earlier is not None and earlier.ended_by == "us"
            is_move &= seen.guarded_entry == cycle.trailing_entry  # else it trails anew
            is_paced = is_first or not is_move or apart_ms >= GUARDS_APART_MS
            require(is_paced, "the guard moves every 5 s at most (rule 6)", apart_ms)
            seen.guarded_ms, seen.guarded_entry = order.requested_at_ms, cycle.trailing_entry
        is_given_up = name_of(order.client_order_id) in seen.given_up
        require(not is_given_up, "a level that a person cancelled stays out (rule 10)", order)
        is_few = order.attempt <= MOST_ATTEMPTS or order.role in _CLOSING
        require(is_few, "no storm of attempts", order.client_order_id)
        if order.role is Role.CLOSE_LONG:
            resting = [o for o in cycle.of(Role.TAKE_PROFIT) if o.is_resting]
            require(not resting, "LONG is closed once nothing reserves it (rule 9)", resting)
        before = step.before.order(order.client_order_id)
        if before is not None and before.is_unresolved and order.role not in _CLOSING:
            apart_ms = order.requested_at_ms - before.requested_at_ms
            name = "what got no answer is not sent anew before it is proven absent (section 4)"
            require(apart_ms >= RESENT_AFTER_MS, name, f"{order.client_order_id} {apart_ms}")

    def _check_hedge_placed(self, cycle: Cycle, order: OrderState) -> None:
        other = [
            o
            for o in (*cycle.of(Role.HEDGE), *cycle.of(Role.HEDGE_MARKET))
            if not o.is_over and o.client_order_id != order.client_order_id
        ]
        require(not other, "one hedge at a time (rule 4)", other)
        require(not cycle.short.quantity, "no hedge beside an open SHORT (rule 4)", order)
        require(
            not self._seen.hedges_stopped, "hedges wait for the operator's word (rule 5)", order
        )
        is_within = order.number <= cycle.settings.max_hedges
        require(is_within, "no more than max_hedges (rule 4)", order.number)

    def _check_amended(self, order: OrderState) -> None:
        apart_ms = order.requested_at_ms - self._seen.amended_ms
        is_paced = apart_ms >= AMENDS_APART_MS
        require(is_paced, "the take-profit moves once a second at most (rule 2)", apart_ms)
        self._seen.amended_ms = order.requested_at_ms

    def _check_cancelled(self, cycle: Cycle, order: OrderState) -> None:
        if cycle.phase is not Phase.CLOSING:
            return
        name = "protection stays until flat (rules 9 and 12)"
        if order.role is Role.GUARD:
            require(not cycle.long.quantity, name, order)
        same = [o for o in cycle.of(Role.HEDGE_STOP) if o.is_resting]
        if order.role is Role.HEDGE_STOP and len(same) == 1:
            require(not cycle.short.quantity, name, order)

    def _check_figures(self, cycle: Cycle, figures: Figures, order: OrderState) -> None:
        """Check price and quantity of a request against the rules' formulas."""
        name = f"{order.role} is sent as its rule says"
        price, quantity = order.target_price, order.target_quantity
        match order.role:
            case Role.LEVEL:
                rung = figures.rungs()[order.number - 1]
                bought = sum(
                    (o.executed for o in cycle.of(Role.LEVEL, order.number) if o.is_over), ZERO
                )
                is_bound = price == rung.price or cycle.mark_price is not None
                text = f"{price} {quantity} instead of {rung} − {bought}"
                require(is_bound and quantity == rung.quantity - bought, name, text)
            case Role.TAKE_PROFIT:
                right = figures.take_profit()
                require(price == right, name, f"{price} instead of {right}")
                is_passed = cycle.last_price is not None and cycle.last_price >= right
                is_placed = order.request is Request.PLACE
                require(not (is_placed and is_passed), name, "the market is above: it closes")
            case Role.HEDGE_STOP:
                require(price == figures.stop_loss(), name, f"{price} {figures.stop_loss()}")
            case Role.GUARD if cycle.trailing_stop is not None:
                right = figures.guard(cycle.trailing_stop)
                require(price == right, name, f"{price} instead of {right}")
            case Role.HEDGE | Role.HEDGE_MARKET if figures.account.is_plain:
                self._check_hedge_figures(cycle, figures, order)
            case Role.CLOSE_LONG | Role.CLOSE_SHORT | Role.HEDGE_STOP_MARKET:
                account = figures.account
                side = account.long if order.role is Role.CLOSE_LONG else account.short
                most = min(side.quantity, figures.rules.market_max_quantity)
                require(quantity == most, name, f"{quantity} instead of {most}")

    def _check_hedge_figures(self, cycle: Cycle, figures: Figures, order: OrderState) -> None:
        name, armed = f"{order.role} is sent as its rule says", cycle.hedge_triggers
        exact = figures.trigger(order.number, armed)
        trigger = armed[order.number - 1]
        require(exact is not None and trigger <= exact, name, f"{trigger} above {exact}")
        is_capped = exact is not None and trigger < exact
        if is_capped:  # at the LONG entry of the moment when it was first wanted
            text = f"{trigger} instead of {exact}"
            require(trigger % figures.rules.tick_size == 0, name, text)
            is_high = exact is not None and exact > min(self._entries(cycle))
            require(is_high, name, text)
        if order.role is Role.HEDGE:
            require(order.target_price == trigger, name, f"{order.target_price} not {trigger}")
        planned, quantity = figures.hedge(trigger), order.target_quantity
        is_cut = order.role is Role.HEDGE_MARKET and cycle.hedge_fallback is not None
        assert quantity is not None
        is_right = quantity <= planned if is_cut else quantity == planned
        require(is_right, name, f"{quantity} instead of {planned}")

    @staticmethod
    def _entries(cycle: Cycle) -> list[Decimal]:
        """Return the LONG entries that the cycle has had, rounded down to the tick."""
        tick, fills = cycle.rules.tick_size, sorted(cycle.fills, key=lambda f: f.trade_id)
        accounts = (oracle.account_of(fills[:n]) for n in range(1, len(fills) + 1))
        return [oracle.down(a.long.entry, tick) for a in accounts if a.long.quantity]

    # --- Its course ---

    def _check_course(self, step: Step) -> None:
        before, cycle = step.before, step.cycle
        _check_trailing(step)
        back = _PHASES[cycle.phase] < _PHASES[before.phase]
        is_late = any(a.key.startswith("late-") for a in cycle.alarms)
        require(not back or is_late, "a cycle only moves on", f"{before.phase} → {cycle.phase}")
        if before.phase is not Phase.CLOSING and cycle.phase is Phase.CLOSING:
            self._check_reason(cycle)
        if before.phase is not Phase.ENDED and cycle.phase is Phase.ENDED:
            _check_ended(self._stage, cycle)
        if before.phase is Phase.CLOSING and cycle.phase is Phase.ENDED:
            self._check_proof(step)

    def _check_proof(self, step: Step) -> None:
        """Check that two reads, far enough apart and after everything was over, showed the end."""
        first_ms = step.before.flat_read_at_ms
        reads = [f.asked_at_ms for f in step.facts if isinstance(f, PositionChecked)]
        over_ms = max((o.over_at_ms for o in step.before.orders), default=0)
        is_proven = first_ms is not None and over_ms < first_ms <= max(reads) - READS_APART_MS
        require(is_proven, "two reads prove the end (section 4)", f"{over_ms} {first_ms} {reads}")

    def _check_reason(self, cycle: Cycle) -> None:
        """Check that the reason of a close is one that happened."""
        reason, happened = cycle.close_reason, self.evidence.has
        entry, keys = cycle.entry_order, {alarm.key for alarm in cycle.alarms}
        is_empty = (entry is not None and not entry.executed) or happened("haunted")
        is_failed = "hedge-failed" in keys and cycle.policy.on_hedge_failed == "close"
        explained: dict[CloseReason | None, bool] = {
            CloseReason.OPERATOR: happened("asked-close", "asked-close_long"),
            CloseReason.SIGNAL: happened("asked-signal_close"),
            CloseReason.HEDGE_FAILED: is_failed,
            CloseReason.ADL: happened("adl"),
            CloseReason.LIQUIDATION: happened("liquidation"),
            CloseReason.OUTSIDE: happened("hand", "kept-fills-hidden"),
            CloseReason.MAX_LOSS: cycle.settings.max_loss is not None,
            CloseReason.ENTRY_FAILED: is_empty,
            CloseReason.ENTRY_EXPIRED: is_empty,
            CloseReason.TRAILING: cycle.settings.trail_1 > 0,
        }
        is_so = explained.get(reason, True) or not self._knows_causes
        require(is_so, "a cycle closes for what happened", reason)

    def _check_alarm(self, cycle: Cycle, alarm: Alarm) -> None:
        if alarm.key.startswith("cancelled-"):
            role, number = name_of(alarm.key.removeprefix("cancelled-"))
            if role == "lv":
                self._seen.given_up.add((role, number))
            order = cycle.order(alarm.key.removeprefix("cancelled-"))
            self._seen.hedges_stopped |= role == "hg" and order is not None and not order.executed
        self._seen.hedges_stopped |= alarm.key.startswith("short-closed-")
        if not self._knows_causes:
            return
        cause = cause_of(cycle, alarm, self.evidence)
        require(cause is not None, "every alarm has a cause", f"{alarm.key}: {alarm.text}")

    # --- A look at everything ---

    def is_quiet(self) -> bool:
        """Return whether nothing is under way, here or on the exchange."""
        stage, cycle = self._stage, self._stage.newest
        if cycle is None or not stage.is_quiet:
            return False
        known = {o.client_order_id for o in cycle.orders if o.is_resting}
        if known != set(open_names(stage.world, stage.symbol)):
            return False
        ours = sum(1 for fill in cycle.fills if not fill.is_adjustment)
        if ours == len(cycle.fills) and ours == sum(1 for _ in fills_of(stage.world, cycle)):
            return True
        if ours == len(cycle.fills) and not self.evidence.has("kept-fills-hidden"):
            return False
        # What nobody showed was booked from the position, or came and went and left no trace: the
        # quantities are all there is to compare.
        held = (stage.world.position(stage.symbol, side) for side in ("LONG", "SHORT"))
        return (cycle.long.quantity, cycle.short.quantity) == tuple(held)

    def _check_told(self, cycle: Cycle) -> None:
        """Check that what a person cancelled was reported."""
        keys = {alarm.key for alarm in cycle.alarms}
        for name in (n.removeprefix("by-hand-") for n in self.evidence.seen):
            order = cycle.order(name)
            if order is None or not order.is_over or order.role is Role.FOREIGN:
                continue
            is_told = order.ended_by in ("us", "filled") or f"cancelled-{name}" in keys
            is_gone = order.close_position and order.ended_by == "exchange"  # with its side
            require(is_told or is_gone, "what a person did is reported (rule 10)", order)

    def look(self) -> bool:
        """Check, if all is quiet, that everything is in its place; return whether it was quiet."""
        if not self.is_quiet():
            return False
        self.looks += 1
        self._check_told(self._stage.cycle)
        seen = (self._stage.cycle, len(self._stage.world.state.books.fills))
        before, self._looked_at = self._looked_at, seen
        if before is not None and before[0] is seen[0] and before[1] == seen[1]:
            return True  # nothing is new
        cycle = self._stage.cycle
        if cycle.is_open or self.evidence.seen.get("hand", 0) < (cycle.ended_at_ms or 0):
            prove_protected(self._stage)  # what people bought after its end is theirs
        prove_wishes(self._stage)
        return True


def _check_difference(step: Step) -> None:
    """Check that a difference was booked only after two reads, far enough apart, had agreed."""
    first = step.before.suspect
    reads = [fact.asked_at_ms for fact in step.facts if isinstance(fact, PositionChecked)]
    first_ms = min(reads) if first is None else first.asked_at_ms
    is_agreed = first_ms <= max(reads) - DIFFERENCE_APART_MS
    require(is_agreed, "a difference is believed after two reads (section 4)", (first_ms, reads))


def _check_trailing(step: Step) -> None:
    """Check that S did not fall; ended and begun anew between two facts it may be lower."""
    stop, now = step.before.trailing_stop, step.cycle.trailing_stop
    if stop is None or now is None or now >= stop:
        return
    cycle = step.before
    for fact in step.facts:
        before, cycle = cycle, apply(cycle, fact)
        if before.trailing_stop is not None and cycle.trailing_stop is not None:
            text = f"{cycle.trailing_stop} after {before.trailing_stop}"
            is_kept = cycle.trailing_stop >= before.trailing_stop
            require(is_kept, "the trailing stop never falls", text)


# --- The exchange's books ---


def open_names(world: World, symbol: str) -> list[str]:
    """Return the client ids of what is open on the exchange."""
    return [name for name, _ in open_orders(world, symbol)]


def open_orders(world: World, symbol: str) -> list[tuple[str, Decimal]]:
    """Return client id and remaining quantity of what is open on the exchange."""
    state = world.state
    plain = [o for o in state.orders.values() if o.symbol == symbol and o.is_open]
    algos = [a for a in state.algos.values() if a.symbol == symbol and a.status is AlgoStatus.NEW]
    return [(o.client_id, o.remaining) for o in plain] + [(a.client_id, ZERO) for a in algos]


def own_prefix(cycle: Cycle) -> str:
    return f"tb-{cycle.key}-"


def _own_algos(world: World, cycle: Cycle) -> Iterator[AlgoOrder]:
    for algo in world.state.algos.values():
        if algo.status is AlgoStatus.NEW and algo.client_id.startswith(own_prefix(cycle)):
            yield algo


def fills_of(world: World, cycle: Cycle) -> Iterator[PaperFill]:
    """Yield the executions of the symbol while the cycle was open, and its own later ones."""
    since, own = cycle.accepted_at_ms, own_prefix(cycle)
    until = 2**63 if cycle.ended_at_ms is None else cycle.ended_at_ms
    if not cycle.is_open and not any(order.executed for order in cycle.orders):
        until = 0  # what others did before it came to anything is not its business
    for fill in world.state.books.fills:
        is_its_time = since <= fill.time_ms <= until
        if fill.symbol == cycle.symbol and (is_its_time or fill.client_id.startswith(own)):
            yield fill


def funding_of(world: World, cycle: Cycle) -> Decimal:
    until = cycle.ended_at_ms
    legs = (
        entry
        for entry in world.state.books.entries
        if entry.kind == "FUNDING_FEE"
        and entry.symbol == cycle.symbol
        and entry.time_ms >= cycle.accepted_at_ms
        and (until is None or entry.time_ms <= until)
    )
    return sum((entry.amount for entry in legs), ZERO)


def _leg_amount(world: World, symbol: str, side: PositionSide) -> Decimal:
    return world.state.books.legs[symbol][side].amount


def _is_same(ours: Fill, theirs: PaperFill) -> bool:
    return (ours.side.value, ours.quantity, ours.price, ours.commission, ours.client_order_id) == (
        theirs.side.value,
        theirs.quantity,
        theirs.price,
        theirs.commission,
        theirs.client_id,
    )


def _is_close_of_long(order: PlainOrder, symbol: str) -> bool:
    is_side = (order.side.value, order.position_side.value) == ("SELL", "LONG")
    return is_side and order.symbol == symbol and order.algo_id is None


def _is_buy(order: PlainOrder) -> bool:
    return (order.side.value, order.position_side.value) == ("BUY", "LONG")


def _open_notional(order: PlainOrder) -> Decimal:
    is_priced = order.is_open and order.type == "LIMIT"
    return order.remaining * order.price if is_priced else ZERO


def _resting(cycle: Cycle) -> Iterable[str]:
    return [f"{o.client_order_id} {o.status} {o.request}" for o in cycle.orders if not o.is_over]

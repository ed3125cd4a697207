"""When an entry must be refused, and when averaging must stop: the account's limits once more.

Written from their description (docs/strategy.md), sharing no arithmetic with `core`: what is open
and what it came to is read from the cycles' settings and the exchange's own books, a liquidation
price is found by halving, as the place where what is left no longer covers what must be kept.
Where something is not known to the digit (executions that nobody showed, a market that moved while
an entry was prepared) it says nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.domain.cycle import Cycle
from core.domain.guards import Guards
from core.domain.settings import AmountType, CycleSettings, SymbolRules
from paper.world import World
from simulation.invariants import fills_of, funding_of, own_prefix
from simulation.oracle import HUNDRED, ZERO, Account, Figures, down, figures_of

DAY_MS = 86_400_000
ROOM = Decimal("1.002")  # a MARKET entry may cost so much more than the best ask
HALVINGS = 60
# An estimate within this of the limit is not judged: percent of the price, and a part of it.
UNSURE, UNSURE_PART = Decimal(1), Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Opinion:
    """Which limits stand against a new cycle, by name, and which cannot be judged."""

    against: frozenset[str]
    unsure: frozenset[str] = frozenset()

    def disagrees(self, refused: Iterable[str]) -> frozenset[str]:
        """Return the limits that were judged otherwise."""
        return (self.against ^ frozenset(refused)) - self.unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the limits look at: every cycle of the account as saved, and the exchange."""

    world: World
    cycles: tuple[Cycle, ...]


def opinion(
    limits: Guards, books: Books, settings: CycleSettings, *, is_killed: bool, now_ms: int
) -> Opinion:
    """Return what stands against a new cycle with these settings."""
    if is_killed:
        return Opinion(frozenset({"kill switch"}))
    open_now = [cycle for cycle in books.cycles if cycle.is_open]
    against, unsure = set[str](), set[str]()
    together = sum((_most(cycle.settings) for cycle in open_now), _most(settings))
    if limits.max_total_notional is not None and together > limits.max_total_notional:
        against.add("MAX_TOTAL_NOTIONAL")
    if limits.max_open_cycles is not None and len(open_now) + 1 > limits.max_open_cycles:
        against.add("MAX_OPEN_CYCLES")
    ended_ms = _traded_until(books, settings.symbol)
    if ended_ms is not None and now_ms - ended_ms < limits.symbol_cooldown_ms:
        against.add("SYMBOL_COOLDOWN")
    if limits.max_daily_loss is not None:
        result = _result_of_the_day(books, now_ms)
        if result is None:
            unsure.add("MAX_DAILY_LOSS")
        elif -result >= limits.max_daily_loss:
            against.add("MAX_DAILY_LOSS")
    return Opinion(frozenset(against), frozenset(unsure))


def _most(settings: CycleSettings) -> Decimal:
    return settings.leverage * settings.deposit + settings.leverage * settings.extramarg


def _traded_until(books: Books, symbol: str) -> int | None:
    """Return when the last cycle of the symbol that bought something ended."""
    bought = {fill.client_id for fill in books.world.state.books.fills if fill.symbol == symbol}
    ends = [
        cycle.ended_at_ms
        for cycle in books.cycles
        if cycle.symbol == symbol
        and cycle.ended_at_ms is not None
        and any(name.startswith(own_prefix(cycle)) for name in bought)
    ]
    return max(ends, default=None)


def _result_of_the_day(books: Books, now_ms: int) -> Decimal | None:
    """Return what ended since midnight came to, and what open cycles lose; None: not known."""
    midnight_ms = now_ms // DAY_MS * DAY_MS
    total = ZERO
    for cycle in books.cycles:
        if cycle.ended_at_ms is not None and cycle.ended_at_ms < midnight_ms:
            continue
        result = _result_of(books.world, cycle)
        if result is None:
            return None
        total += min(ZERO, result) if cycle.is_open else result
    return total


def _result_of(world: World, cycle: Cycle) -> Decimal | None:
    fills = list(fills_of(world, cycle))
    known = {fill.trade_id for fill in cycle.fills if not fill.is_adjustment}
    is_whole = len(known) == len(cycle.fills) and known == {fill.trade_id for fill in fills}
    if not is_whole or cycle.funding != funding_of(world, cycle):
        return None
    earned = sum((fill.realised - fill.commission for fill in fills), ZERO) + cycle.funding
    if not cycle.is_open or not (cycle.long.quantity or cycle.short.quantity):
        return earned
    figures = figures_of(cycle)
    if figures is None or cycle.last_price is None:
        return earned if cycle.last_price is None else None
    return figures.pnl(cycle.last_price)


# --- The distance to liquidation ---


@dataclass(frozen=True, slots=True)
class Held:
    """Both sides at one moment: quantities and entries."""

    long: Decimal
    long_entry: Decimal
    short: Decimal = ZERO
    short_entry: Decimal = ZERO


def is_too_near(
    settings: CycleSettings,
    rules: SymbolRules,
    *,
    ask: Decimal,
    behind: Decimal,
    distance: Decimal,
) -> bool | None:
    """Return whether the ladder would bring liquidation nearer than `distance` percent of a price.

    `behind` is what stands behind the cycle (quote). None: too close to the limit to be said.
    """
    nearest = min(_distances(settings, rules, ask * ROOM, behind), default=None)
    if nearest is None:
        return False
    if abs(nearest - distance) <= UNSURE + UNSURE_PART * distance:
        return None
    return nearest < distance


def _distances(
    settings: CycleSettings, rules: SymbolRules, price: Decimal, behind: Decimal
) -> Iterator[Decimal]:
    """Yield how far liquidation is after each order of the whole ladder, in percent."""
    quantity = settings.amount
    if settings.amount_type is AmountType.QUOTE:
        quantity = down(settings.amount / price, rules.step_size)
    figures = Figures(
        settings=settings,
        rules=rules,
        account=Account(),
        exit_cost=ZERO,
        funding=ZERO,
        entry_quantity=quantity,
        entry_average=price,
    )
    cost, paid = price * quantity, price * quantity * rules.taker_rate
    steps = [(price, quantity, cost, paid)]
    for rung in figures.rungs():
        quantity, cost = quantity + rung.quantity, cost + rung.quantity * rung.price
        paid += rung.quantity * rung.price * rules.maker_rate
        steps.append((rung.price, quantity, cost, paid))
    trigger = figures.first_trigger()
    if trigger is not None:
        steps.append((trigger, quantity, cost, paid))
    for at, held, spent, fees in steps:
        yield from _distance(Held(held, spent / held), rules, at, behind - fees)
    if trigger is not None and trigger > 0 and settings.max_hedges:
        short = figures.hedge(trigger)
        fees = paid + short * trigger * rules.taker_rate
        both = Held(quantity, cost / quantity, short, trigger)
        yield from _distance(both, rules, trigger, behind - fees)


def _distance(held: Held, rules: SymbolRules, price: Decimal, behind: Decimal) -> Iterator[Decimal]:
    end = liquidation_of(held, rules, price, behind)
    if end is not None:
        yield abs(price - end) / price * HUNDRED


def liquidation_of(
    held: Held, rules: SymbolRules, price: Decimal, behind: Decimal
) -> Decimal | None:
    """Return the price at which both sides would be liquidated; None: at none."""
    if _left(held, rules, price, behind) <= 0:
        return price
    safe, lost = price, price * 20 if held.short > held.long else ZERO
    if _left(held, rules, lost, behind) > 0:
        return None
    for _ in range(HALVINGS):
        middle = (safe + lost) / 2
        if _left(held, rules, middle, behind) > 0:
            safe = middle
        else:
            lost = middle
    return lost


def _left(held: Held, rules: SymbolRules, price: Decimal, behind: Decimal) -> Decimal:
    """Return what is left at a price over what must be kept."""
    profit = held.long * (price - held.long_entry) + held.short * (held.short_entry - price)
    kept = _kept(held.long * price, rules) + _kept(held.short * price, rules)
    return behind + profit - kept


def _kept(notional: Decimal, rules: SymbolRules) -> Decimal:
    fitting = [b for b in rules.brackets if notional <= b.notional_cap] or [rules.brackets[-1]]
    return max(ZERO, notional * fitting[0].maintenance_rate - fitting[0].cumulative)


def told_distance(world: World, symbol: str, now_ms: int) -> Decimal | None:
    """Return how far the exchange itself says liquidation is, in percent of the last price."""
    parameters = {"symbol": symbol, "timestamp": str(now_ms), "recvWindow": "5000"}
    answer = world.request("GET", "/fapi/v2/positionRisk", parameters, now_ms)
    price = world.last(symbol)
    if price is None:
        return None
    ends = [Decimal(row["liquidationPrice"]) for row in answer.body]
    return min((abs(price - end) / price * HUNDRED for end in ends if end > 0), default=None)

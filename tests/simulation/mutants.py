"""Each rule of the strategy broken on purpose, as small patches of the source.

`make mutants` plays the simulation on each, and each has to be found. `old` occurs exactly once in
its file (a unit test checks that), so that a mutant cannot quietly become none.
"""

from dataclasses import dataclass

DOMAIN = "core/domain/"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken rule: in `file`, `old` becomes `new`; `also` is a second such change."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    also: tuple[str, str] | None = None

    def applied(self, source: str) -> str:
        """Return the source with the rule broken; AssertionError if it is not what it was."""
        for old, new in ((self.old, self.new), *((self.also,) if self.also else ())):
            assert source.count(old) == 1, f"{self.name}: the source has changed"
            source = source.replace(old, new)
        return source


MUTANTS = (
    # --- Rule 1 ---
    Mutant(
        "an entry is sent a minute late",
        "rule 1",
        DOMAIN + "rules.py",
        "ENTRY_DEADLINE_MS = 15_000",
        "ENTRY_DEADLINE_MS = 60_000",
    ),
    Mutant(
        "a partly filled entry counts as failed",
        "rule 1",
        DOMAIN + "strategy.py",
        "    if not entry.executed:\n",
        "    if entry.executed < (entry.quantity or ZERO):\n",
    ),
    # --- Rule 2 ---
    Mutant(
        "the take-profit is rounded down",
        "rule 2",
        DOMAIN + "thresholds.py",
        "return ceil_tick(percent_above(cycle.long.entry, cycle.settings.tp)",
        "return floor_tick(percent_above(cycle.long.entry, cycle.settings.tp)",
    ),
    Mutant(
        "the take-profit forgets what it has sold",
        "rule 2",
        DOMAIN + "rules.py",
        "quantity=executed + remaining,",
        "quantity=remaining,",
    ),
    Mutant(
        "the take-profit is moved without a pause",
        "rule 2",
        DOMAIN + "diff.py",
        "AMEND_APART_MS = 1_000",
        "AMEND_APART_MS = 0",
    ),
    Mutant(
        "a take-profit below the market is placed",
        "rule 2",
        DOMAIN + "strategy.py",
        "    return close(cycle, CloseReason.TAKE_PROFIT) if rules.is_take_profit_due(cycle)",
        "    return cycle if rules.is_take_profit_due(cycle)",
    ),
    Mutant(
        "the take-profit ignores what people offer",
        "rule 2",
        DOMAIN + "rules.py",
        "min(cycle.long.quantity - foreign_sells(cycle), ",
        "min(cycle.long.quantity, ",
    ),
    # --- Rule 3 ---
    Mutant(
        "all levels rest at once",
        "rule 3",
        DOMAIN + "levels.py",
        "levels_left(cycle)[: cycle.settings.grid_ahead]",
        "levels_left(cycle)",
    ),
    Mutant(
        "h₁ leaves the levels waiting",
        "rule 3",
        DOMAIN + "prices.py",
        "        cycle = replace(cycle, levels_stopped=True)\n",
        "        pass\n",
    ),
    Mutant(
        "a level ended early is bought anew as a whole",
        "rule 3",
        DOMAIN + "levels.py",
        "level.quantity - bought",
        "level.quantity",
    ),
    Mutant(
        "levels hang from the rounded price above",
        "rule 3",
        "core/grid.py",
        "        exact_price = percent_below(base, offset)\n",
        "        exact_price = floor_tick(percent_below(base, offset), symbol.tick_size)\n",
    ),
    # --- Rule 4 ---
    Mutant(
        "a hedge forgets what earlier ones lost",
        "rule 4",
        DOMAIN + "hedging.py",
        "return cycle.settings.extramarg - lost",
        "return cycle.settings.extramarg",
    ),
    Mutant(
        "the next hedge hangs from the higher price",
        "rule 4",
        DOMAIN + "hedging.py",
        "base = min(cycle.hedge_triggers",
        "base = max(cycle.hedge_triggers",
    ),
    Mutant(
        "one hedge more than max_hedges",
        "rule 4",
        DOMAIN + "hedging.py",
        "if done >= settings.max_hedges:",
        "if done > settings.max_hedges:",
    ),
    Mutant(
        "the hedge does not wait for the levels",
        "rule 4",
        DOMAIN + "hedging.py",
        "can_hedge(cycle) and levels_left(cycle) == levels_ahead(cycle)",
        "can_hedge(cycle)",
    ),
    Mutant(
        "a trigger already passed opens no hedge",
        "rule 4",
        DOMAIN + "order_refusals.py",
        "return replace(_over(cycle, order, fact), hedge_passed=order.number)",
        "return _over(cycle, order, fact)",
    ),
    # --- Rule 5 ---
    Mutant(
        "no stop-loss for SHORT",
        "rule 5",
        DOMAIN + "rules.py",
        "        *rule_5_hedge_stop(cycle),\n",
        "",
    ),
    Mutant(
        "the stop-loss stays where the first fill put it",
        "rule 5",
        DOMAIN + "hedging.py",
        "            follows=True,\n",
        "            follows=False,\n",
    ),
    Mutant(
        "a stop-loss already passed closes nothing",
        "rule 5",
        DOMAIN + "order_refusals.py",
        "return replace(_over(cycle, order, fact), short_stop_due=True)",
        "return _over(cycle, order, fact)",
    ),
    Mutant(
        "a hedge that a person closed is opened again",
        "rule 5",
        DOMAIN + "strategy.py",
        "    return replace(cycle, hedges_stopped=True)\n",
        "    return cycle\n",
    ),
    # --- Rule 6 ---
    Mutant(
        "the trailing stop gives way to the price",
        "rule 6",
        DOMAIN + "prices.py",
        "        return close(cycle, CloseReason.TRAILING)\n",
        "        return replace(cycle, trailing_stop=proposed)\n",
    ),
    Mutant(
        "trailing sells below the break-even",
        "rule 6",
        DOMAIN + "prices.py",
        "    if price >= thresholds.long_break_even(cycle):\n",
        "    if price:\n",
    ),
    Mutant(
        "trailing starts where it cannot pay",
        "rule 6",
        DOMAIN + "prices.py",
        "if price < activation or proposed < thresholds.long_break_even(cycle):",
        "if price < activation:",
        ("[max(activation, thresholds.long_break_even(cycle) / factor)]", "[activation]"),
    ),
    Mutant(
        "the guard rests below the break-even",
        "rule 6",
        DOMAIN + "thresholds.py",
        "return max(floor_tick(stop * _GUARD_BELOW_STOP, tick), ceil_tick(",
        "return min(floor_tick(stop * _GUARD_BELOW_STOP, tick), ceil_tick(",
    ),
    Mutant(
        "the guard moves without a pause",
        "rule 6",
        DOMAIN + "diff.py",
        "GUARD_MOVES_APART_MS = 5_000",
        "GUARD_MOVES_APART_MS = 0",
    ),
    Mutant(
        "trailing goes on with another entry",
        "rule 6",
        DOMAIN + "strategy.py",
        "        cycle = trailing_ended(cycle)\n",
        "        pass\n",
    ),
    # --- Rule 7 ---
    Mutant(
        "net PNL without commissions",
        "rule 7",
        DOMAIN + "thresholds.py",
        "cycle.ledger.realised + cycle.funding - cycle.ledger.commissions",
        "cycle.ledger.realised + cycle.funding",
    ),
    Mutant(
        "the band forgets net PNL",
        "rule 7",
        DOMAIN + "prices.py",
        "    _add_net_pnl_bounds(cycle, lows, highs)\n",
        "",
    ),
    Mutant(
        "max_loss counts only while hedged",
        "rule 7",
        DOMAIN + "prices.py",
        "if limit is not None and earned < -limit:",
        "if limit is not None and is_hedged and earned < -limit:",
    ),
    # --- Rule 8 ---
    Mutant(
        "a cycle without LONG goes on",
        "rule 8",
        DOMAIN + "strategy.py",
        "        if not cycle.long.quantity:\n            return close(",
        "        if False:\n            return close(",
    ),
    # --- Rule 9 ---
    Mutant(
        "closing takes the protection away first",
        "rule 9",
        DOMAIN + "rules.py",
        "return (*protection, *_close_long(cycle), *_close_short(cycle))",
        "return (*_close_long(cycle), *_close_short(cycle))",
    ),
    Mutant(
        "a close that filled in part is not repeated",
        "rule 9",
        DOMAIN + "rules.py",
        "    if cycle.long.quantity < cycle.rules.step_size or _is_long_reserved(cycle):\n",
        "    if any(o.is_over and o.executed for o in cycle.of(Role.CLOSE_LONG)) or "
        "cycle.long.quantity < cycle.rules.step_size or _is_long_reserved(cycle):\n",
    ),
    Mutant(
        "LONG is sold while the take-profit reserves it",
        "rule 9",
        DOMAIN + "rules.py",
        "    return is_held or foreign_sells(cycle) > 0\n",
        "    return False\n",
    ),
    Mutant(
        "closing leaves people's orders on the book",
        "rule 9",
        DOMAIN + "rules.py",
        "        return rule_9_closing(cycle)\n",
        "        return (*rule_9_closing(cycle), *foreign_orders(cycle))\n",
    ),
    # --- Rule 10 ---
    Mutant(
        "a level that a person cancelled is placed again",
        "rule 10",
        DOMAIN + "order_news.py",
        "            return withdraw_levels(cycle, (order.number,))\n        is_hedge_gone",
        "            return cycle\n        is_hedge_gone",
    ),
    Mutant(
        "what a person cancelled is not reported",
        "rule 10",
        DOMAIN + "order_news.py",
        "        cycle = cycle.with_alarm("
        "AlarmKind.CANCELLED, text, at_ms, about=order.client_order_id)\n",
        "        pass\n",
    ),
    # --- Rule 11 ---
    Mutant(
        "a pause does not stop the levels",
        "rule 11",
        DOMAIN + "levels.py",
        "if not cycle.is_paused or _is_out(cycle, number)",
        "if True",
    ),
    Mutant(
        "hands off, and orders go on",
        "rule 11",
        DOMAIN + "diff.py",
        "if cycle.is_hands_off or not cycle.is_open:",
        "if not cycle.is_open:",
    ),
    # --- Rule 12 ---
    Mutant(
        "a second order while the first has no answer",
        "rule 12",
        DOMAIN + "diff.py",
        "live = [o for o in orders if not o.is_over and not o.is_superseded]",
        "live = [o for o in orders if o.is_resting and not o.is_superseded]",
    ),
    Mutant(
        "the hedge is twice what extramarg carries",
        "rule 12",
        "core/grid.py",
        "floor_step(margin * leverage / trigger, symbol.step_size)",
        "floor_step(2 * margin * leverage / trigger, symbol.step_size)",
    ),
    # --- Section 4: quantities follow from fills ---
    Mutant(
        "totals are added up",
        "section 4, quantities",
        DOMAIN + "order_news.py",
        "    if executed > order.executed:\n        return replace(order, executed=executed,",
        "    if executed:\n        return replace(order, executed=order.executed + executed,",
    ),
    Mutant(
        "each fill counts as often as it is told",
        "section 4, quantities",
        DOMAIN + "order_news.py",
        "    known = {fill.trade_id for fill in cycle.fills if not fill.is_adjustment}\n",
        "    known: set[int] = set()\n",
    ),
    Mutant(
        "fills of others do not count",
        "section 4, quantities",
        DOMAIN + "order_news.py",
        "for fill in fills if fill.trade_id not in known}\n",
        'for fill in fills if fill.trade_id not in known and fill.client_order_id[:3] == "tb-"}\n',
    ),
    Mutant(
        "fills are never asked for",
        "section 4, quantities",
        DOMAIN + "asks.py",
        "    if needs_fills(cycle.orders, cycle.fills) or is_moved or is_reserved:\n",
        "    if False:\n",
    ),
    # --- Section 4: a reported position is a check ---
    Mutant(
        "a difference is believed at once",
        "section 4, position",
        DOMAIN + "positions.py",
        "        return replace(cycle, suspect=suspect, flat_read_at_ms=None)\n",
        "        return _outside_change(replace(cycle, suspect=None), fact)\n",
    ),
    Mutant(
        "a position older than the fills is believed",
        "section 4, position",
        DOMAIN + "positions.py",
        "    if cycle.is_outlived or _is_older_than_fills(cycle, fact):\n",
        "    if cycle.is_outlived:\n",
    ),
    Mutant(
        "an empty answer is flat",
        "section 4, position",
        "core/translate/account.py",
        '    if not {"LONG", "SHORT"} <= sides.keys():\n        raise',
        '    if not {"LONG", "SHORT"} <= sides.keys():\n'
        "        flat = SideReport(quantity=Decimal(0), entry=Decimal(0), updated_at_ms=0)\n"
        "        return PositionChecked("
        "at_ms=at_ms, asked_at_ms=asked_at_ms, long=flat, short=flat)\n"
        "        raise",
    ),
    # --- Section 4: an order is over ---
    Mutant(
        "a triggered order is over",
        "section 4, over",
        DOMAIN + "cycle.py",
        "return self not in (ReportedStatus.OPEN, ReportedStatus.TRIGGERED)",
        "return self is not ReportedStatus.OPEN",
    ),
    Mutant(
        "an order that one read does not show is over",
        "section 4, over",
        DOMAIN + "order_news.py",
        "    if reads < _FORGOTTEN_READS:\n        return cycle.with_order(order)\n",
        "    return cycle.with_order(order_over(order, EndedBy.ABSENT, fact.at_ms))\n",
    ),
    # --- Section 4: who ended it ---
    Mutant(
        "a person's cancel is taken for the exchange's",
        "section 4, who ended it",
        DOMAIN + "order_news.py",
        "ReportedStatus.CANCELED: EndedBy.PERSON,",
        "ReportedStatus.CANCELED: EndedBy.EXCHANGE,",
    ),
    Mutant(
        "the exchange's end is taken for a person's",
        "section 4, who ended it",
        DOMAIN + "order_news.py",
        "ReportedStatus.EXPIRED: EndedBy.EXCHANGE,",
        "ReportedStatus.EXPIRED: EndedBy.PERSON,",
    ),
    # --- Section 4: a request without an answer ---
    Mutant(
        "no answer counts as not sent",
        "section 4, no answer",
        "core/sending.py",
        "        return OutcomeUnknown(\n            at_ms=clock.now_ms(),",
        "        return not_sent(order, clock.now_ms()) or OutcomeUnknown(\n"
        "            at_ms=clock.now_ms(),",
    ),
    Mutant(
        "absence is believed before the request has run out",
        "section 4, no answer",
        DOMAIN + "order_news.py",
        "PROVEN_AFTER_MS = 8_000",
        "PROVEN_AFTER_MS = 0",
    ),
    Mutant(
        "what is unresolved is never found out",
        "section 4, no answer",
        DOMAIN + "asks.py",
        "        *_orders_asked(cycle),\n",
        "",
    ),
    # --- Section 4: the end ---
    Mutant(
        "one read proves the end",
        "section 4, the end",
        DOMAIN + "positions.py",
        "    if cycle.flat_read_at_ms is None or cycle.flat_read_at_ms <= over_since:\n"
        "        return replace(cycle, flat_read_at_ms=fact.asked_at_ms)\n"
        "    if fact.asked_at_ms < cycle.flat_read_at_ms + READS_OF_THE_END_APART_MS:\n"
        "        return cycle\n",
        "",
    ),
    Mutant(
        "a cycle ends with orders still open",
        "section 4, the end",
        DOMAIN + "positions.py",
        "    is_over = all(o.is_over for o in cycle.orders) and fact.asked_at_ms > over_since\n",
        "    is_over = True\n",
    ),
    Mutant(
        "what opens after the end is left alone",
        "section 4, the end",
        DOMAIN + "strategy.py",
        "    return replace(later, phase=Phase.CLOSING, ended_at_ms=None, flat_read_at_ms=None)\n",
        "    return later\n",
    ),
)

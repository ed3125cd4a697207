"""Trailing stops: they follow the best price since their activation at a distance in percent."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from paper.errors import RefusedError
from paper.rules import SymbolRules
from paper.state import AlgoOrder, Side

TYPE = "TRAILING_STOP_MARKET"
LOWEST_RATE, HIGHEST_RATE = Decimal("0.1"), Decimal(20)  # percent; 20 since 2026-10-23


def is_trailing(algo: AlgoOrder) -> bool:
    """Return whether a conditional order is a trailing stop."""
    return algo.type == TYPE


def admit(algo: AlgoOrder, price: Decimal | None) -> None:
    """Raise unless the activation price lies ahead; without one, the latest price is taken."""
    if price is None:
        return
    if not algo.activate_price:
        algo.activate_price = price
        return
    ahead = algo.activate_price < price if algo.side is Side.BUY else algo.activate_price > price
    if not ahead:
        raise RefusedError(-2021, "Order would immediately trigger.")


def follow(algo: AlgoOrder, price: Decimal, rules: SymbolRules) -> bool:
    """Move the trigger after the price; return whether this price activated the order."""
    is_sell = algo.side is Side.SELL
    if not algo.is_activated:
        reached = price >= algo.activate_price if is_sell else price <= algo.activate_price
        if not reached:
            return False
        algo.is_activated = True
        algo.extreme = price
        _set_trigger(algo, rules)
        return True
    better = price > algo.extreme if is_sell else price < algo.extreme
    if better:
        algo.extreme = price
        _set_trigger(algo, rules)
    return False


def _set_trigger(algo: AlgoOrder, rules: SymbolRules) -> None:
    part = algo.callback_rate / 100
    if algo.side is Side.SELL:
        ticks = (algo.extreme * (1 - part) / rules.tick).to_integral_value(ROUND_FLOOR)
    else:
        ticks = (algo.extreme * (1 + part) / rules.tick).to_integral_value(ROUND_CEILING)
    algo.trigger = ticks * rules.tick

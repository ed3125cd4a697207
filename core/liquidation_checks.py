"""How near a ladder would bring liquidation, estimated before anything is bought. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.domain.settings import CycleSettings, SymbolRules
from core.domain.warnings import Leg
from core.errors import FieldError
from core.grid import Grid
from core.money import HUNDRED, ZERO, shown
from core.preview import Rung, estimated_liquidation, is_lost_above_market, preview_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A place on the way down, and where liquidation would be then."""

    place: str
    price: Decimal
    liquidation: Decimal | None
    is_above: bool  # a rising price brings it nearer

    @property
    def distance(self) -> Decimal | None:
        """Return how far liquidation is, in percent of the price; None: there is none."""
        if self.liquidation is None:
            return None
        away = self.price - self.liquidation
        return (-away if self.is_above else away) / self.price * HUNDRED


def liquidation_errors(
    settings: CycleSettings,
    grid: Grid,
    rules: SymbolRules,
    *,
    wallet: Decimal | None,
    min_distance: Decimal | None,
) -> Iterator[FieldError]:
    """Yield what brings liquidation nearer than `min_distance` percent, the nearest place only.

    Args:
        settings: the alert's.
        grid: the ladder laid from them; one with violations is refused anyway.
        rules: the symbol's, brackets included.
        wallet: with cross margin, what stands behind the cycle (quote): the wallet balance less
            what other open cycles may lose; None: each side has its own margin only.
        min_distance: MIN_LIQUIDATION_DISTANCE; None: not looked at.
    """
    if min_distance is None or grid.violations:
        return
    moments = [m for m in _moments(settings, grid, rules, wallet) if m.distance is not None]
    nearest = min(moments, key=lambda m: m.distance or ZERO, default=None)
    if nearest is None or nearest.distance is None or nearest.distance >= min_distance:
        return
    yield FieldError(
        field="MIN_LIQUIDATION_DISTANCE",
        value=f"{shown(min_distance)} %",
        reason=(
            f"with the price at {shown(nearest.price)} ({nearest.place}) the estimated liquidation "
            f"price is {shown(nearest.liquidation or ZERO)}, {shown(round(nearest.distance, 2))} % "
            "away; lower amount, mg_long or leverage, or have more in the wallet"
        ),
    )


def _moments(
    settings: CycleSettings, grid: Grid, rules: SymbolRules, wallet: Decimal | None
) -> Iterator[_Moment]:
    """Yield every order's fill, and the full LONG just before the hedge opens."""
    rungs = preview_of(settings, grid, rules, wallet=wallet).rungs
    long_only = [rung for rung in rungs if not rung.short_quantity]
    for rung in long_only:
        yield _long_alone(rung, rung.price, f"after {rung.place}")
    if grid.hedge_trigger is not None:
        place = "at the hedge's trigger, before it opens"
        yield _long_alone(long_only[-1], grid.hedge_trigger, place)
    for rung in rungs[len(long_only) :]:
        yield _hedged(rung, settings, rules, wallet)


def _long_alone(rung: Rung, price: Decimal, place: str) -> _Moment:
    return _Moment(place=place, price=price, liquidation=rung.liquidation_price, is_above=False)


def _hedged(
    rung: Rung, settings: CycleSettings, rules: SymbolRules, wallet: Decimal | None
) -> _Moment:
    if wallet is not None:
        # Without a price although it lies above nothing is left: LONG alone came too near before.
        return _Moment(
            place="after hedge 1",
            price=rung.price,
            liquidation=rung.liquidation_price,
            is_above=is_lost_above_market(rung, rules),
        )
    short = Leg(quantity=rung.short_quantity, entry=rung.price)
    margin = short.quantity * short.entry / settings.leverage
    end = estimated_liquidation(Leg(quantity=ZERO, entry=ZERO), short, rules, margin)
    return _Moment(place="after hedge 1, SHORT", price=rung.price, liquidation=end, is_above=True)

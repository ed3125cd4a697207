"""The trading rules of symbols, from the exchange's filters, brackets and fees."""

from decimal import Decimal

from core.domain.settings import Bracket, SymbolRules
from core.money import to_wire
from core.schemas import binance_rest as rest
from core.translate.words import Untranslatable


def symbol_rules(
    info: rest.SymbolInfo,
    *,
    brackets: rest.SymbolBrackets | None,
    maker_rate: Decimal,
    taker_rate: Decimal,
) -> SymbolRules:
    """Return the trading rules of one symbol.

    Raises Untranslatable where a filter is missing, or where `minPrice` or `minQty` is not itself
    on the grid, from which the exchange counts: our rounding starts at 0.
    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition
    """
    filters = {entry.filter_type: entry for entry in info.filters}
    try:
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
        market_lot = filters["MARKET_LOT_SIZE"]
        notional, percent = filters["MIN_NOTIONAL"], filters["PERCENT_PRICE"]
    except KeyError as missing:
        raise Untranslatable(f"{info.symbol}: no filter {missing}") from None
    rules = SymbolRules(
        symbol=info.symbol,
        base_asset=info.base_asset,
        quote_asset=info.quote_asset,
        status=info.status,
        tick_size=_positive(price.tick_size, info.symbol, "tickSize"),
        min_price=_known(price.min_price, info.symbol, "minPrice"),
        max_price=_positive(price.max_price, info.symbol, "maxPrice"),
        step_size=_positive(lot.step_size, info.symbol, "stepSize"),
        min_quantity=_known(lot.min_qty, info.symbol, "minQty"),
        max_quantity=_positive(lot.max_qty, info.symbol, "maxQty"),
        market_min_quantity=_known(market_lot.min_qty, info.symbol, "market minQty"),
        market_max_quantity=_positive(market_lot.max_qty, info.symbol, "market maxQty"),
        market_step_size=_positive(market_lot.step_size, info.symbol, "market stepSize"),
        min_notional=_known(notional.notional, info.symbol, "notional"),
        multiplier_up=_positive(percent.multiplier_up, info.symbol, "multiplierUp"),
        multiplier_down=_known(percent.multiplier_down, info.symbol, "multiplierDown"),
        maker_rate=maker_rate,
        taker_rate=taker_rate,
        brackets=_brackets(brackets),
    )
    _check_grid(rules)
    return rules


def _brackets(listed: rest.SymbolBrackets | None) -> tuple[Bracket, ...]:
    rows = () if listed is None else listed.brackets
    return tuple(
        Bracket(
            initial_leverage=row.initial_leverage,
            # JSON may write the amount as 1e5; in the database and on screen it should not.
            notional_cap=Decimal(to_wire(row.notional_cap)),
            maintenance_rate=Decimal(to_wire(row.maint_margin_ratio)),
            cumulative=Decimal(to_wire(row.cum)),
        )
        for row in sorted(rows, key=lambda row: row.notional_cap)
    )


def _known(value: Decimal | None, symbol: str, name: str) -> Decimal:
    if value is None or not value.is_finite() or value < 0:
        raise Untranslatable(f"{symbol}: {name} is {value}")
    return value


def _positive(value: Decimal | None, symbol: str, name: str) -> Decimal:
    known = _known(value, symbol, name)
    if known == 0:
        raise Untranslatable(f"{symbol}: {name} is 0")
    return known


def _check_grid(rules: SymbolRules) -> None:
    for value, grid, name in (
        (rules.min_price, rules.tick_size, "minPrice"),
        (rules.min_quantity, rules.step_size, "minQty"),
        (rules.market_min_quantity, rules.market_step_size, "market minQty"),
    ):
        if value % grid:
            raise Untranslatable(f"{rules.symbol}: {name} {value} is not a multiple of {grid}")

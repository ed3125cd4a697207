"""Symbols out of a file: an answer of exchangeInfo, and one of leverageBracket if there is one."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from paper.rules import BUILT_IN, Bracket, SymbolRules, default_brackets


class SymbolsFileError(Exception):
    """A file of symbols that cannot be used; the text is one line for the operator."""


def read_symbols(path: Path, brackets_path: Path | None = None) -> list[SymbolRules]:
    """Return the USDT- and USDC-margined perpetuals of an exchangeInfo answer.

    A symbol that the brackets' file does not know gets its built-in brackets, or cautious ones. The
    exchange also lists symbols that have no tick or step before they trade; these are left out.

    Raises:
        SymbolsFileError: a file is missing or is not what it should be.
    """
    answer = _load(path)
    brackets = {} if brackets_path is None else _brackets(brackets_path)
    rows = answer.get("symbols") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise SymbolsFileError(f"{path}: no list of symbols in it")
    found = []
    for row in rows:
        try:
            if row.get("contractType", "PERPETUAL") == "PERPETUAL" and not _is_a_plan(row):
                found.append(_rules(row, brackets))
        except (KeyError, TypeError, ValueError, InvalidOperation, AttributeError) as error:
            name = row.get("symbol", "?") if isinstance(row, dict) else "?"
            raise SymbolsFileError(f"{path}: {name}: {error!r}") from error
    if not found:
        raise SymbolsFileError(f"{path}: no perpetuals in it")
    return found


def _load(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SymbolsFileError(f"{path}: {error}") from error


def _brackets(path: Path) -> dict[str, tuple[Bracket, ...]]:
    answer = _load(path)
    try:
        return {
            row["symbol"]: tuple(
                Bracket(
                    leverage=int(one["initialLeverage"]),
                    floor=Decimal(str(one["notionalFloor"])),
                    cap=Decimal(str(one["notionalCap"])),
                    maintenance=Decimal(str(one["maintMarginRatio"])),
                    cum=Decimal(str(one["cum"])),
                )
                for one in row["brackets"]
            )
            for row in answer
        }
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise SymbolsFileError(f"{path}: not an answer of leverageBracket: {error!r}") from error


def _is_a_plan(row: dict[str, Any]) -> bool:
    """Return whether a symbol is announced and its filters are not set yet."""
    sizes = [one.get(name) for one in row["filters"] for name in ("tickSize", "stepSize")]
    return row["status"] == "PENDING_TRADING" and any(
        text is not None and Decimal(text) == 0 for text in sizes
    )


def _rules(row: dict[str, Any], brackets: dict[str, tuple[Bracket, ...]]) -> SymbolRules:
    filters = {one["filterType"]: one for one in row["filters"]}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    market_lot, percent = filters["MARKET_LOT_SIZE"], filters["PERCENT_PRICE"]
    symbol = row["symbol"]
    built_in = BUILT_IN.get(symbol)
    return SymbolRules(
        symbol=symbol,
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        tick=_above_zero(price["tickSize"]),
        step=_above_zero(lot["stepSize"]),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        min_quantity=Decimal(lot["minQty"]),
        max_quantity=Decimal(lot["maxQty"]),
        market_max_quantity=Decimal(market_lot["maxQty"]),
        min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
        price_precision=int(row["pricePrecision"]),
        quantity_precision=int(row["quantityPrecision"]),
        brackets=brackets.get(symbol)
        or (default_brackets() if built_in is None else built_in.brackets),
        multiplier_up=Decimal(percent["multiplierUp"]),
        multiplier_down=Decimal(percent["multiplierDown"]),
        max_orders=int(filters.get("MAX_NUM_ORDERS", {"limit": 200})["limit"]),
        market_take_bound=Decimal(row["marketTakeBound"]),
        trigger_protect=Decimal(row["triggerProtect"]),
        liquidation_fee=Decimal(row["liquidationFee"]),
        onboarded_ms=int(row["onboardDate"]),
        status=row["status"],
    )


def _above_zero(text: str) -> Decimal:
    value = Decimal(text)
    if value <= 0:
        raise ValueError(f"{text} is not above zero")
    return value

"""Trading rules of the built-in symbols: filters, leverage brackets, and the checks they mean."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from paper.errors import RefusedError

D = Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One notional tier. `cap` and `floor` are quote notional of one leg."""

    leverage: int
    floor: Decimal
    cap: Decimal
    maintenance: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """What exchangeInfo and leverageBracket say of one perpetual."""

    symbol: str
    base: str
    tick: Decimal
    step: Decimal
    min_price: Decimal
    max_price: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    price_precision: int
    quantity_precision: int
    brackets: tuple[Bracket, ...]
    multiplier_up: Decimal = Decimal("1.0500")
    multiplier_down: Decimal = Decimal("0.9500")
    max_orders: int = 200
    market_take_bound: Decimal = Decimal("0.05")
    trigger_protect: Decimal = Decimal("0.0500")
    liquidation_fee: Decimal = Decimal("0.012500")
    onboarded_ms: int = 1569398400000
    status: str = "TRADING"
    quote: str = "USDT"

    def bracket_at(self, notional: Decimal) -> Bracket:
        """Return the tier whose maintenance rate applies to a leg of this notional."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]

    def max_notional(self, leverage: int) -> Decimal:
        """Return the largest notional of one leg at `leverage`."""
        return max(b.cap for b in self.brackets if b.leverage >= leverage)

    @property
    def max_leverage(self) -> int:
        """Return the highest leverage of any tier."""
        return max(b.leverage for b in self.brackets)

    def check_price(self, price: Decimal) -> None:
        """Raise unless `price` passes PRICE_FILTER and the precision bound."""
        if price <= 0:
            raise RefusedError(-4001, "Price less than 0.")
        _check_precision(price, self.price_precision)
        if price < self.min_price:
            raise RefusedError(-4013, "Price less than min price.")
        if price > self.max_price:
            raise RefusedError(-4002, "Price greater than max price.")
        if (price - self.min_price) % self.tick:
            raise RefusedError(-4014, "Price not increased by tick size.")

    def check_trigger(self, price: Decimal) -> None:
        """Raise unless `price` may be a trigger price."""
        if price <= 0:
            raise RefusedError(-4006, "Stop price less than zero.")
        _check_precision(price, self.price_precision)
        if price > self.max_price:
            raise RefusedError(-4007, "Stop price greater than max price.")
        if (price - self.min_price) % self.tick:
            raise RefusedError(-4014, "Price not increased by tick size.")

    def check_quantity(self, quantity: Decimal, *, market: bool) -> None:
        """Raise unless `quantity` passes LOT_SIZE (or MARKET_LOT_SIZE) and the precision bound."""
        if quantity <= 0:
            raise RefusedError(-4003, "Quantity less than or equal to zero.")
        _check_precision(quantity, self.quantity_precision)
        if quantity < self.min_quantity:
            raise RefusedError(-4004, "Quantity less than min quantity.")
        if quantity > (self.market_max_quantity if market else self.max_quantity):
            raise RefusedError(-4005, "Quantity greater than max quantity.")
        if (quantity - self.min_quantity) % self.step:
            raise RefusedError(-4023, "Qty not increased by step size.")

    def check_notional(self, price: Decimal, quantity: Decimal) -> None:
        """Raise unless an opening order reaches MIN_NOTIONAL."""
        if price * quantity < self.min_notional:
            raise RefusedError(
                -4164,
                f"Order's notional must be no smaller than {self.min_notional:f} "
                "(unless you choose reduce only).",
            )

    def check_percent_price(self, side: str, price: Decimal, mark: Decimal) -> None:
        """Raise where a limit price crosses PERCENT_PRICE; the filter is one-sided."""
        highest, lowest = mark * self.multiplier_up, mark * self.multiplier_down
        if side == "BUY" and price > highest:
            raise RefusedError(
                -4016, f"Limit price can't be higher than {self.rest_price(highest)}."
            )
        if side == "SELL" and price < lowest:
            raise RefusedError(-4024, f"Limit price can't be lower than {self.rest_price(lowest)}.")

    def rest_price(self, price: Decimal) -> str:
        """Render a price the way REST answers do: padded to the symbol's precision."""
        return f"{price:.{self.price_precision}f}"

    def rest_quantity(self, quantity: Decimal) -> str:
        """Render a quantity the way REST answers do."""
        return f"{quantity:.{self.quantity_precision}f}"

    def exchange_info(self) -> dict[str, Any]:
        """Return this symbol's element of exchangeInfo."""
        lot = {"minQty": f"{self.min_quantity:f}", "stepSize": f"{self.step:f}"}
        return {
            "symbol": self.symbol,
            "pair": self.symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "onboardDate": self.onboarded_ms,
            "status": self.status,
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": self.base,
            "quoteAsset": self.quote,
            "marginAsset": self.quote,
            "pricePrecision": self.price_precision,
            "quantityPrecision": self.quantity_precision,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "underlyingSubType": ["PoW"] if self.base == "BTC" else ["Layer-1"],
            "settlePlan": 0,
            "triggerProtect": f"{self.trigger_protect:f}",
            "liquidationFee": f"{self.liquidation_fee:f}",
            "marketTakeBound": f"{self.market_take_bound:f}",
            "maxMoveOrderLimit": 10000,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": f"{self.min_price:f}",
                    "maxPrice": f"{self.max_price:f}",
                    "tickSize": f"{self.tick:f}",
                },
                {"filterType": "LOT_SIZE", "maxQty": f"{self.max_quantity:f}", **lot},
                {"filterType": "MARKET_LOT_SIZE", "maxQty": f"{self.market_max_quantity:f}", **lot},
                {"filterType": "MAX_NUM_ORDERS", "limit": self.max_orders},
                {"filterType": "MIN_NOTIONAL", "notional": f"{self.min_notional:f}"},
                {
                    "filterType": "PERCENT_PRICE",
                    "multiplierUp": f"{self.multiplier_up:f}",
                    "multiplierDown": f"{self.multiplier_down:f}",
                    "multiplierDecimal": "4",
                },
                {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
            ],
            "orderTypes": [
                "LIMIT",
                "MARKET",
                "STOP",
                "STOP_MARKET",
                "TAKE_PROFIT",
                "TAKE_PROFIT_MARKET",
                "TRAILING_STOP_MARKET",
            ],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
            "permissionSets": ["GRID", "COPY", "DCA"],
        }


def _check_precision(value: Decimal, decimals: int) -> None:
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > decimals:
        raise RefusedError(-1111, "Precision is over the maximum defined for this asset.")


def _brackets(*tiers: tuple[int, int, str]) -> tuple[Bracket, ...]:
    """Build tiers from (leverage, cap, maintenance rate); `cum` follows from them."""
    result: list[Bracket] = []
    floor, rate, cum = D(0), D(0), D(0)
    for leverage, cap, text in tiers:
        if result:
            cum = floor * (D(text) - rate) + cum
        rate = D(text)
        result.append(
            Bracket(leverage=leverage, floor=floor, cap=D(cap), maintenance=rate, cum=cum)
        )
        floor = D(cap)
    return tuple(result)


def default_brackets() -> tuple[Bracket, ...]:
    """Return cautious tiers for a symbol whose own ones are not known."""
    return _SMALL


_MILLION = 1_000_000
_BTC = _brackets(
    (125, 50_000, "0.004"),
    (100, 600_000, "0.005"),
    (75, 3 * _MILLION, "0.0065"),
    (50, 12 * _MILLION, "0.01"),
    (25, 70 * _MILLION, "0.02"),
    (20, 100 * _MILLION, "0.025"),
    (10, 230 * _MILLION, "0.05"),
    (5, 480 * _MILLION, "0.1"),
    (4, 600 * _MILLION, "0.125"),
    (3, 800 * _MILLION, "0.15"),
    (2, 1200 * _MILLION, "0.25"),
    (1, 1800 * _MILLION, "0.5"),
)
_ETH = _brackets(
    (125, 50_000, "0.004"),
    (100, 600_000, "0.005"),
    (75, 3 * _MILLION, "0.0065"),
    (50, 12 * _MILLION, "0.01"),
    (25, 50 * _MILLION, "0.02"),
    (20, 65 * _MILLION, "0.025"),
    (10, 150 * _MILLION, "0.05"),
    (5, 320 * _MILLION, "0.1"),
    (4, 400 * _MILLION, "0.125"),
    (3, 530 * _MILLION, "0.15"),
    (2, 800 * _MILLION, "0.25"),
    (1, 1200 * _MILLION, "0.5"),
)
_SOL = _brackets(
    (100, 20_000, "0.005"),
    (75, 100_000, "0.0065"),
    (50, 800_000, "0.01"),
    (25, 4 * _MILLION, "0.02"),
    (20, 8 * _MILLION, "0.025"),
    (10, 40 * _MILLION, "0.05"),
    (5, 80 * _MILLION, "0.1"),
    (4, 100 * _MILLION, "0.125"),
    (2, 200 * _MILLION, "0.25"),
    (1, 400 * _MILLION, "0.5"),
)
_XRP = _brackets(
    (75, 10_000, "0.005"),
    (50, 20_000, "0.0065"),
    (40, 160_000, "0.01"),
    (25, 800_000, "0.02"),
    (20, 1_600_000, "0.025"),
    (10, 8 * _MILLION, "0.05"),
    (5, 16 * _MILLION, "0.1"),
    (4, 20 * _MILLION, "0.125"),
    (2, 40 * _MILLION, "0.25"),
    (1, 80 * _MILLION, "0.5"),
)
_AVAX = _brackets(
    (75, 5_000, "0.005"),
    (50, 25_000, "0.0065"),
    (40, 80_000, "0.01"),
    (25, 400_000, "0.02"),
    (20, 800_000, "0.025"),
    (10, 4 * _MILLION, "0.05"),
    (5, 8 * _MILLION, "0.1"),
    (4, 10 * _MILLION, "0.125"),
    (2, 20 * _MILLION, "0.25"),
    (1, 50 * _MILLION, "0.5"),
)
_FIL = _brackets(
    (75, 50_000, "0.006"),
    (50, 250_000, "0.01"),
    (40, 350_000, "0.015"),
    (25, 600_000, "0.02"),
    (20, 800_000, "0.025"),
    (10, 3 * _MILLION, "0.05"),
    (5, 6 * _MILLION, "0.1"),
    (4, 10 * _MILLION, "0.125"),
    (2, 20 * _MILLION, "0.25"),
    (1, 30 * _MILLION, "0.5"),
)
_SMALL = _brackets(
    (50, 5_000, "0.015"),
    (20, 25_000, "0.025"),
    (10, 100_000, "0.05"),
    (5, 250_000, "0.1"),
    (4, 1 * _MILLION, "0.125"),
    (2, 2 * _MILLION, "0.25"),
    (1, 5 * _MILLION, "0.5"),
)


def _rules(
    base: str,
    tick: str,
    step: str,
    prices: tuple[str, str],
    quantities: tuple[str, str],
    precision: tuple[int, int],
    notional: str,
    brackets: tuple[Bracket, ...],
) -> SymbolRules:
    return SymbolRules(
        symbol=f"{base}USDT",
        base=base,
        tick=D(tick),
        step=D(step),
        min_price=D(prices[0]),
        max_price=D(prices[1]),
        min_quantity=D(step),
        max_quantity=D(quantities[0]),
        market_max_quantity=D(quantities[1]),
        min_notional=D(notional),
        price_precision=precision[0],
        quantity_precision=precision[1],
        brackets=brackets,
    )


BUILT_IN: dict[str, SymbolRules] = {
    r.symbol: r
    for r in (
        _rules("BTC", "0.10", "0.001", ("556.80", "4529764"), ("1000", "120"), (2, 3), "100", _BTC),
        _rules("ETH", "0.01", "0.001", ("39.86", "306177"), ("10000", "2000"), (2, 3), "20", _ETH),
        _rules("SOL", "0.0100", "0.01", ("0.4200", "6857"), ("1000000", "6000"), (4, 2), "5", _SOL),
        _rules(
            "XRP", "0.0001", "0.1", ("0.0143", "100000"), ("10000000", "2000000"), (4, 1), "5", _XRP
        ),
        _rules(
            "AVAX", "0.0010", "1", ("0.3500", "2403"), ("10000000", "250000"), (4, 0), "5", _AVAX
        ),
        _rules(
            "FIL", "0.001", "0.1", ("0.001", "10000"), ("10000000", "250000"), (3, 1), "5", _FIL
        ),
        _rules(
            "ALGO", "0.0001", "0.1", ("0.0001", "1000"), ("1000000", "800000"), (4, 1), "5", _SMALL
        ),
        _rules(
            "LAYER",
            "0.000100",
            "0.1",
            ("0.000100", "200"),
            ("800000", "80000"),
            (6, 1),
            "5",
            _SMALL,
        ),
    )
}
